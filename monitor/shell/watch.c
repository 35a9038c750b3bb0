/* SPDX-License-Identifier: MIT */
#include "monitor/shell/watch.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/shell_internal.h"

#define SEPARATORS      " \t=,:[]()"
#define TAB_COLUMNS     8

/* The length of the word at the beginning of s[len]; 0 when that begins with a separator. */
static size_t word_length(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && !strchr(SEPARATORS, s[n]))
		n++;
	return n;
}

/* Takes the next word off a line: *s and *len behind it.  NULL at its end. */
static const char *next_word(const char **s, size_t *len, size_t *word_len)
{
	const char *word;

	while (*len && !word_length(*s, 1)) {
		++*s;
		--*len;
	}
	word = *len ? *s : NULL;
	*word_len = word_length(*s, *len);
	*s += *word_len;
	*len -= *word_len;
	return word;
}

static void mark_line(struct text *out, const struct style *style, const char *before,
		      size_t before_len, const char *now, size_t len)
{
	const char *end, *word, *old;
	size_t n, old_len;

	for (;;) {
		end = now;
		word = next_word(&now, &len, &n);
		text_append(out, end, (word ? word : now) - end);
		if (!word)
			return;
		old = before ? next_word(&before, &before_len, &old_len) : NULL;
		if (!before || (old && old_len == n && memcmp(old, word, n) == 0)) {
			text_append(out, word, n);
		} else {
			text_printf(out, "%s", paint_begin(style, PAINT_CHANGED));
			text_append(out, word, n);
			text_printf(out, "%s", paint_end(style));
		}
	}
}

/* A line with its tabs as spaces, and cut. */
static void cut(struct text *out, const char *line, size_t len, unsigned int width)
{
	unsigned int column;
	size_t i;

	for (i = 0; i < len; i++) {
		column = line[i] == '\t' ? escape_columns(out->bytes, out->len) : 0;
		if (line[i] == '\t')
			text_printf(out, "%*s", (int)(TAB_COLUMNS - column % TAB_COLUMNS), "");
		else
			text_append(out, line + i, 1);
	}
	if (width)
		out->len = escape_fit(out->bytes, out->len, width);
}

void watch_mark(struct text *out, const struct style *style, const char *before, const char *now,
		unsigned int rows)
{
	struct text line = { 0 }, old = { 0 };
	const char *was = before ? before : "";
	size_t len, was_len;

	for (; *now && rows; rows--) {
		len = strcspn(now, "\n");
		was_len = strcspn(was, "\n");
		line.len = old.len = 0;
		cut(&line, now, len, style->width);
		cut(&old, was, was_len, style->width);
		if (line.len)
			mark_line(out, style, before ? (old.len ? old.bytes : "") : NULL, old.len,
				  line.bytes, line.len);
		text_printf(out, "\n");
		now += len + (now[len] == '\n');
		was += was_len + (was[was_len] == '\n');
	}
	text_free(&line);
	text_free(&old);
}

/* What is on the screen meanwhile, and the terminal's modes from before. */
struct screen {
	struct termios before;
	char *last;             /* what was shown last */
};

static void enter_screen(struct screen *screen)
{
	struct termios modes;

	tcgetattr(STDIN_FILENO, &screen->before);
	modes = screen->before;
	modes.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	modes.c_cc[VMIN] = 1;
	modes.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &modes);
	/* The other screen, without its cursor. */
	fputs("\033[?1049h\033[?25l", stdout);
}

static void leave_screen(struct screen *screen)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen->before);
}

static void draw(struct shell *sh, struct screen *screen, const char *line, double seconds,
		 struct text *now)
{
	/* Without colours what has changed is marked all the same. */
	struct style style = { .colour = true };
	struct text out = { 0 };
	time_t t = time(NULL);
	unsigned int rows = shell_measure(sh);
	struct tm local;
	char head[256];

	/* Some lines do not say how large their terminals are. */
	style.width = sh->style.width ? sh->style.width : 80;
	rows = rows ? rows : 24;
	localtime_r(&t, &local);
	snprintf(head, sizeof(head), "every %g s: %.100s   %02d:%02d:%02d   (any key ends it)",
		 seconds, line, local.tm_hour, local.tm_min, local.tm_sec);
	text_printf(&out, "\033[H\033[J%s%.*s%s\n", paint_begin(&style, PAINT_DIM),
		    (int)style.width, head, paint_end(&style));
	watch_mark(&out, &style, screen->last, now->bytes ? now->bytes : "",
		   rows > 3 ? rows - 2 : 1);
	if (!out.failed)
		fwrite(out.bytes, 1, out.len, stdout);
	fflush(stdout);
	text_free(&out);
	free(screen->last);
	screen->last = now->bytes;
}

/* Waits for the next time; false: it is to end. */
static bool pause_for(struct shell *sh, struct screen *screen, double seconds)
{
	uint64_t deadline = loop_now_ms() + (uint64_t)(seconds * 1000);
	unsigned int what;
	char keys[64];

	for (;;) {
		what = loop_wait(&sh->loop, server_fd(sh->server), server_wants_write(sh->server),
				 STDIN_FILENO, loop_left_ms(deadline));
		if (what & LOOP_KEY) {
			(void)!read(STDIN_FILENO, keys, sizeof(keys));
			return false;
		}
		if (what & (LOOP_INTERRUPT | LOOP_END))
			return false;
		if (what & LOOP_SUSPEND) {
			leave_screen(screen);
			loop_suspend();
			enter_screen(screen);
			return true;
		}
		if (what & LOOP_SOCKET)
			server_process(sh->server, NULL);
		if (what & (LOOP_TIMEOUT | LOOP_RESIZE) || server_fd(sh->server) < 0)
			return true;
	}
}

static int repeat(struct shell *sh, const char *line, double seconds)
{
	const bool colour = sh->style.colour;
	struct screen screen = { 0 };
	int rc;

	line_hold(sh->line);
	enter_screen(&screen);
	do {
		struct text now = { 0 };

		sh->capture = &now;
		sh->style.colour = false;
		rc = shell_execute(sh, line, NULL);
		sh->capture = NULL;
		sh->style.colour = colour;
		draw(sh, &screen, line, seconds, &now);
	} while (rc != SHELL_GONE && sh->server && pause_for(sh, &screen, seconds));
	free(screen.last);
	leave_screen(&screen);
	line_flush(sh->line);
	if (rc == SHELL_GONE || !sh->server)
		return shell_complain(sh, "watch: the connection is gone");
	return SHELL_DONE;
}

int watch_command(struct shell *sh, const struct words *words, const char *line)
{
	double seconds = 1;
	const char *inner;
	size_t first = 1;
	char *end;

	if (!sh->interactive || sh->sourcing || sh->capture)
		return shell_complain(sh, "watch: needs a terminal, and nothing around it");
	if (words->count > 2 && strcmp(words->word[1].text, "-n") == 0) {
		seconds = strtod(words->word[2].text, &end);
		if (*end || !(seconds >= 0.1 && seconds <= 3600))
			return shell_complain(sh, "watch -n %s: not a number of seconds from 0.1 "
					      "to 3600", words->word[2].text);
		first = 3;
	}
	if (words->count <= first)
		return shell_complain(sh, "watch: which command?");
	inner = words->word[first].text;
	if (strcmp(inner, "quit") == 0 || strcmp(inner, "exit") == 0 ||
	    strcmp(inner, "quit-shell") == 0)
		return shell_complain(sh, "watch: %s is nothing to look at", inner);
	return repeat(sh, line + words->word[first].start, seconds);
}
