/* SPDX-License-Identifier: MIT */
#include "monitor/shell/line.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "monitor/shell/history.h"

/*
 * libedit asks for one character at a time, get_char(), and everything else is served meanwhile.
 * To show something above the line, get_char() returns a key that is bound to redraw(): libedit
 * then clears what it has drawn, puts the cursor to its beginning, and asks for the prompt, which
 * is the moment to print.  Both keys are of characters that the terminal takes for itself.
 */
#define KEY_REDRAW  034         /* ^\ */
#define KEY_CANCEL  003         /* ^C */
#define MAX_PENDING (1 << 20)   /* of text that waits to be shown; what is more is lost */

/* What the keys so far have begun: nothing may come between. */
enum sequence {
	SEQUENCE_NONE, SEQUENCE_ESCAPE, SEQUENCE_CSI, SEQUENCE_QUOTED, SEQUENCE_SEARCH
};

struct line {
	struct loop *loop;
	struct line_hooks hooks;
	struct style *style;
	EditLine *el;
	History *history;
	char *history_path;

	char input[256];        /* read and not taken yet */
	size_t input_len, input_at;
	mbstate_t decoding;
	enum sequence sequence;

	bool reading;           /* inside el_gets() */
	bool held;              /* line_hold() */
	bool redrawing;         /* the next prompt comes behind what is pending */
	bool stale;             /* the prompt */
	bool cancelled, ended;
	size_t lost;            /* bytes that did not fit into `pending` */
	struct text pending, prompt;
};

static struct line *line_of(EditLine *el)
{
	void *data = NULL;

	el_get(el, EL_CLIENTDATA, &data);
	return data;
}

static void write_pending(struct line *line)
{
	if (line->pending.len)
		fwrite(line->pending.bytes, 1, line->pending.len, stdout);
	if (line->lost)
		fprintf(stdout, "(%zu bytes of output were dropped)\n", line->lost);
	line->pending.len = line->lost = 0;
}

void line_show(struct line *line, const char *text, size_t len)
{
	bool room = line->pending.len + len <= MAX_PENDING;

	if (room)
		text_append(&line->pending, text, len);
	if (!room || line->pending.failed)
		line->lost += len;
	line->pending.failed = false;
	if (!line->reading && !line->held)
		line_flush(line);
}

void line_flush(struct line *line)
{
	line->held = false;
	if (line->reading)
		return;
	write_pending(line);
	fflush(stdout);
}

void line_hold(struct line *line)
{
	line->held = true;
}

void line_refresh(struct line *line)
{
	line->stale = true;
}

static char *get_prompt(EditLine *el)
{
	struct line *line = line_of(el);

	if (line->redrawing)
		write_pending(line);
	line->redrawing = false;
	line->prompt.len = 0;
	line->prompt.failed = false;
	line->hooks.prompt(line->hooks.opaque, &line->prompt);
	return line->prompt.len ? line->prompt.bytes : (char *)"> ";
}

static unsigned char redraw(EditLine *el, int key)
{
	struct line *line = line_of(el);

	(void)key;
	line->redrawing = true;
	line->stale = false;
	return CC_REDISPLAY;
}

/* Ends the line at its end, marked, and without it counting. */
static unsigned char cancel(EditLine *el, int key)
{
	const LineInfo *info = el_line(el);
	struct line *line = line_of(el);

	(void)key;
	line->cancelled = true;
	el_cursor(el, (int)(info->lastchar - info->cursor));
	el_insertstr(el, "^C");
	el_push(el, "\n");
	return CC_REFRESH;
}

static void follow_sequence(struct line *line, wchar_t c)
{
	switch (line->sequence) {
	case SEQUENCE_ESCAPE:
		line->sequence = c == L'[' || c == L'O' ? SEQUENCE_CSI : SEQUENCE_NONE;
		return;
	case SEQUENCE_CSI:
		if (c >= 0x40 && c <= 0x7e)
			line->sequence = SEQUENCE_NONE;
		return;
	case SEQUENCE_QUOTED:
		line->sequence = SEQUENCE_NONE;
		return;
	case SEQUENCE_SEARCH:
		/* ^R, ^S, ^W and the erasing keys go on searching. */
		if (c >= 0x20 || c == 022 || c == 023 || c == 027 || c == 010 || c == 0177)
			return;
		break;
	case SEQUENCE_NONE:
		break;
	}
	line->sequence = c == 033 ? SEQUENCE_ESCAPE : c == 026 ? SEQUENCE_QUOTED :
			 c == 022 || c == 023 ? SEQUENCE_SEARCH : SEQUENCE_NONE;
}

/* The next character out of `input`; false when it is not all there. */
static bool decode(struct line *line, wchar_t *c)
{
	size_t n;

	while (line->input_at < line->input_len) {
		n = mbrtowc(c, line->input + line->input_at, 1, &line->decoding);
		line->input_at++;
		if (n == 0 || n == 1) {
			*c = n ? *c : 0;
			return true;
		}
		if (n == (size_t)-1)    /* no character: passed over */
			memset(&line->decoding, 0, sizeof(line->decoding));
	}
	return false;
}

/* False at the end of input. */
static bool read_keys(struct line *line)
{
	ssize_t n = read(STDIN_FILENO, line->input, sizeof(line->input));

	line->input_at = 0;
	line->input_len = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static void suspend(struct line *line)
{
	el_set(line->el, EL_PREP_TERM, 0);
	loop_suspend();
	el_set(line->el, EL_PREP_TERM, 1);
	line->stale = true;
}

/* Waits for something, and serves it.  Returns a key that stands for it, or 0. */
static int serve(struct line *line)
{
	bool write = false;
	int socket = line->hooks.socket(line->hooks.opaque, &write);
	unsigned int what = loop_wait(line->loop, socket, write, STDIN_FILENO, -1);

	if (what & LOOP_END)
		line->ended = true;
	if (what & LOOP_SUSPEND)
		suspend(line);
	if (what & LOOP_RESIZE) {
		el_resize(line->el);
		line->stale = true;
	}
	if (what & LOOP_SOCKET)
		line->hooks.socket_ready(line->hooks.opaque);
	if (what & LOOP_INTERRUPT)
		return KEY_CANCEL;
	if (what & LOOP_KEY)
		line->ended |= !read_keys(line);
	return 0;
}

static int get_char(EditLine *el, wchar_t *c)
{
	struct line *line = line_of(el);
	int key;

	fflush(stdout);
	for (;;) {
		if (decode(line, c)) {
			follow_sequence(line, *c);
			return 1;
		}
		if (line->ended)
			return 0;
		if (line->sequence == SEQUENCE_NONE &&
		    (line->pending.len || line->lost || line->stale)) {
			*c = KEY_REDRAW;
			return 1;
		}
		key = serve(line);
		if (key) {
			line->sequence = SEQUENCE_NONE;
			*c = key;
			return 1;
		}
	}
}

static void print_candidates(struct line *line, const struct completion *completion)
{
	struct text list = { 0 };
	struct style style = *line->style;
	int rows = 0, columns = 0;

	el_get(line->el, EL_GETTC, "li", &rows, NULL);
	el_get(line->el, EL_GETTC, "co", &columns, NULL);
	if (columns > 0)
		style.width = columns;
	/* Room stays for the line itself, and for what was there before. */
	candidates_print(&list, &style, &completion->list, rows > 8 ? rows - 4 : 4);
	if (list.len && !list.failed)
		line_show(line, list.bytes, list.len);
	text_free(&list);
}

/* Puts text in the place of line[start] up to the cursor. */
static void replace(struct line *line, const char *buffer, size_t start, size_t cursor,
		    const struct text *text)
{
	size_t there = cursor - start, chars;
	char *old;

	if (text->len >= there && memcmp(buffer + start, text->bytes, there) == 0) {
		el_insertstr(line->el, text->bytes + there);
		return;
	}
	old = strndup(buffer + start, there);
	if (!old)
		return;
	chars = mbstowcs(NULL, old, 0);
	free(old);
	el_deletestr(line->el, (int)(chars == (size_t)-1 ? there : chars));
	el_insertstr(line->el, text->bytes);
}

static unsigned char complete(EditLine *el, int key)
{
	const LineInfo *info = el_line(el);
	struct line *line = line_of(el);
	struct completion completion;
	struct text text = { 0 };
	size_t cursor = info->cursor - info->buffer, common;
	unsigned char result = CC_ERROR;
	char *buffer;

	(void)key;
	buffer = strndup(info->buffer, info->lastchar - info->buffer);
	if (!buffer)
		return CC_ERROR;
	line->hooks.complete(line->hooks.opaque, buffer, cursor, &completion);
	common = candidates_common(&completion.list);
	if (completion.list.count) {
		const struct candidate *first = &completion.list.item[0];

		complete_quote(&text, &completion, first->text, common);
		if (completion.list.count == 1 && first->after) {
			if (completion.quote && first->after == ' ')
				text_append(&text, &completion.quote, 1);
			text_append(&text, &first->after, 1);
		}
		result = CC_REFRESH;
		if (!text.failed && text.len > cursor - completion.start) {
			replace(line, buffer, completion.start, cursor, &text);
		} else if (completion.list.count > 1) {
			print_candidates(line, &completion);
			result = redraw(el, 0);
		}
	}
	text_free(&text);
	free(buffer);
	candidates_free(&completion.list);
	return result;
}

static void enter(void *opaque, const char *text)
{
	struct line *line = opaque;
	HistEvent ev;

	history(line->history, &ev, H_ENTER, text);
}

static int open_history(struct line *line, struct error *err)
{
	HistEvent ev;

	line->history = history_init();
	if (!line->history || history(line->history, &ev, H_SETSIZE, HISTORY_LINES) < 0)
		return error_set(err, ENOMEM, "out of memory for the history");
	history(line->history, &ev, H_SETUNIQUE, 1);
	line->history_path = history_path();
	history_load(line->history_path, enter, line);
	return 0;
}

static void bind_keys(EditLine *el)
{
	el_set(el, EL_EDITOR, "emacs");
	el_set(el, EL_ADDFN, "vmonsh-complete", "Complete", complete);
	el_set(el, EL_ADDFN, "vmonsh-redraw", "Show what has come in, and draw anew", redraw);
	el_set(el, EL_ADDFN, "vmonsh-cancel", "Give the line up", cancel);
	el_set(el, EL_BIND, "^I", "vmonsh-complete", NULL);
	el_set(el, EL_BIND, "\\034", "vmonsh-redraw", NULL);
	el_set(el, EL_BIND, "\\003", "vmonsh-cancel", NULL);
	el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_set(el, EL_BIND, "\\033[1;5C", "em-next-word", NULL);
	el_set(el, EL_BIND, "\\033[1;5D", "ed-prev-word", NULL);
	el_set(el, EL_BIND, "\\033[3~", "ed-delete-next-char", NULL);
	el_set(el, EL_BIND, "\\033[H", "ed-move-to-beg", NULL);
	el_set(el, EL_BIND, "\\033[F", "ed-move-to-end", NULL);
}

struct line *line_new(struct loop *loop, const struct line_hooks *hooks, struct style *style,
		      struct error *err)
{
	struct line *line = calloc(1, sizeof(*line));

	if (!line) {
		error_set(err, ENOMEM, "out of memory for the line");
		return NULL;
	}
	*line = (struct line){ .loop = loop, .hooks = *hooks, .style = style };
	line->el = el_init("vmonsh", stdin, stdout, stderr);
	if (!line->el) {
		error_set(err, ENOTTY, "the terminal can not be used; TERM says which it is");
	} else if (open_history(line, err) == 0) {
		el_set(line->el, EL_CLIENTDATA, line);
		el_set(line->el, EL_SIGNAL, 0);
		el_set(line->el, EL_PROMPT_ESC, get_prompt, '\1');
		el_set(line->el, EL_HIST, history, line->history);
		el_set(line->el, EL_GETCFN, get_char);
		bind_keys(line->el);
		el_source(line->el, NULL);
		return line;
	}
	line_free(line);
	return NULL;
}

void line_free(struct line *line)
{
	if (!line)
		return;
	if (line->el)
		el_end(line->el);
	if (line->history)
		history_end(line->history);
	free(line->history_path);
	text_free(&line->pending);
	text_free(&line->prompt);
	free(line);
}

/* Without the end, and without the spaces that completion leaves there. */
static char *take_line(struct line *line, const char *text)
{
	size_t len = strcspn(text, "\n");
	char *copy;

	while (len && text[len - 1] == ' ')
		len--;
	copy = strndup(text, len);
	if (copy && *copy && *copy != ' ') {
		enter(line, copy);
		history_append(line->history_path, copy);
	}
	return copy;
}

char *line_read(struct line *line)
{
	const char *text;
	int len;

	do {
		line->cancelled = false;
		line->sequence = SEQUENCE_NONE;
		write_pending(line);
		line->reading = true;
		line->stale = false;
		text = el_gets(line->el, &len);
		line->reading = false;
		line_flush(line);
		if (!text || len <= 0)
			return NULL;
	} while (line->cancelled);
	return take_line(line, text);
}

void line_print_history(struct line *line, struct text *out)
{
	HistEvent ev;
	int n = 0, rc;

	for (rc = history(line->history, &ev, H_LAST); rc == 0;
	     rc = history(line->history, &ev, H_PREV))
		text_printf(out, "%5d  %s\n", ++n, ev.str);
}
