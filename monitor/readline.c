/* SPDX-License-Identifier: MIT */
#include "monitor/readline.h"

#include <stdlib.h>
#include <string.h>

#define CTRL(letter) ((letter) - '@')

/* ---- showing ---- */

/* A character of several bytes in UTF-8 is one column. */
static bool begins_column(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

static size_t columns(const char *bytes, size_t len)
{
	size_t count = 0;

	while (len--)
		count += begins_column(*bytes++);
	return count;
}

static void move(struct text *show, size_t count, const char *step)
{
	while (count--)
		text_append(show, step, strlen(step));
}

void readline_show(struct readline *r, bool fresh, struct text *show)
{
	size_t cursor = columns(r->line, r->cursor);

	if (fresh) {
		r->shown_cursor = 0;
		r->changed = r->len;
	}
	if (r->changed) {
		move(show, r->shown_cursor, "\033[D");
		text_append(show, r->line, r->len);
		text_append(show, "\033[K", 3);
		move(show, columns(r->line + r->cursor, r->len - r->cursor), "\033[D");
	} else if (cursor < r->shown_cursor) {
		move(show, r->shown_cursor - cursor, "\033[D");
	} else {
		move(show, cursor - r->shown_cursor, "\033[C");
	}
	r->changed = false;
	r->shown_cursor = cursor;
}

/* ---- editing ---- */

void readline_insert(struct readline *r, const char *bytes, size_t len)
{
	if (len > READLINE_MAX - r->len)
		return;
	memmove(r->line + r->cursor + len, r->line + r->cursor, r->len - r->cursor);
	memcpy(r->line + r->cursor, bytes, len);
	r->len += len;
	r->cursor += len;
	r->changed |= len > 0;
}

/* Removes what is between `from` and `to`, and leaves the cursor there. */
static void remove_range(struct readline *r, size_t from, size_t to)
{
	memmove(r->line + from, r->line + to, r->len - to);
	r->len -= to - from;
	r->cursor = from;
	r->changed |= to > from;
}

static size_t left_of(const struct readline *r, size_t at)
{
	if (at)
		at--;
	while (at && !begins_column(r->line[at]))
		at--;
	return at;
}

static size_t right_of(const struct readline *r, size_t at)
{
	if (at < r->len)
		at++;
	while (at < r->len && !begins_column(r->line[at]))
		at++;
	return at;
}

static size_t word_left_of(const struct readline *r, size_t at)
{
	while (at && r->line[at - 1] == ' ')
		at--;
	while (at && r->line[at - 1] != ' ')
		at--;
	return at;
}

static void recall(struct readline *r, unsigned int index)
{
	const char *line = index < r->nr_history ? r->history[index] : "";

	r->at_history = index;
	r->len = r->cursor = strlen(line);
	memcpy(r->line, line, r->len);
	r->changed = true;
}

static void step_history(struct readline *r, int step)
{
	if (step < 0 ? r->at_history > 0 : r->at_history < r->nr_history)
		recall(r, r->at_history + (unsigned int)step);
}

static void drop_oldest(struct readline *r)
{
	r->history_bytes -= strlen(r->history[0]);
	free(r->history[0]);
	memmove(r->history, r->history + 1, --r->nr_history * sizeof(r->history[0]));
}

/* Not twice the same in a row.  Without memory it is forgotten. */
static void remember_line(struct readline *r)
{
	char *copy;

	if (!r->len || r->len > READLINE_HISTORY_BYTES ||
	    (r->nr_history && !strcmp(r->history[r->nr_history - 1], r->line)))
		return;
	copy = strdup(r->line);
	if (!copy)
		return;
	while (r->nr_history == READLINE_HISTORY ||
	       r->history_bytes + strlen(copy) > READLINE_HISTORY_BYTES)
		drop_oldest(r);
	r->history[r->nr_history++] = copy;
	r->history_bytes += strlen(copy);
}

void readline_next(struct readline *r, bool remember)
{
	if (remember)
		remember_line(r);
	r->at_history = r->nr_history;
	r->len = r->cursor = 0;
	r->shown_cursor = 0;
	r->changed = false;
}

void readline_free(struct readline *r)
{
	while (r->nr_history)
		drop_oldest(r);
}

/* ---- keys ---- */

static void do_escape(struct readline *r, char final)
{
	r->state = KEY_PLAIN;
	switch (final) {
	case 'A':
		step_history(r, -1);
		break;
	case 'B':
		step_history(r, 1);
		break;
	case 'C':
		r->cursor = right_of(r, r->cursor);
		break;
	case 'D':
		r->cursor = left_of(r, r->cursor);
		break;
	case 'H':
		r->cursor = 0;
		break;
	case 'F':
		r->cursor = r->len;
		break;
	case '~':
		if (r->number == 1 || r->number == 7)
			r->cursor = 0;
		else if (r->number == 4 || r->number == 8)
			r->cursor = r->len;
		else if (r->number == 3)
			remove_range(r, r->cursor, right_of(r, r->cursor));
		break;
	default:
		break;
	}
}

/* ESC, then [ or O; parameters, of which the first counts; a final byte (ECMA-48, 5.4). */
static void take_escaped(struct readline *r, char byte)
{
	if (r->state == KEY_ESCAPE) {
		r->number = 0;
		r->state = byte == '[' ? KEY_CSI : byte == 'O' ? KEY_SS3 : KEY_PLAIN;
	} else if (r->state == KEY_CSI && byte >= '0' && byte <= '9') {
		r->number = (r->number * 10 + (unsigned int)(byte - '0')) % 1000;
	} else if (byte >= '@' && byte <= '~') {
		do_escape(r, byte);
	} else if (r->state == KEY_SS3 || byte < ' ' || byte > '~') {
		r->state = KEY_PLAIN;
	}
}

static enum readline_result take_control(struct readline *r, char byte)
{
	switch (byte) {
	case CTRL('A'):
		r->cursor = 0;
		break;
	case CTRL('B'):
		r->cursor = left_of(r, r->cursor);
		break;
	case CTRL('C'):
		return READLINE_ABORT;
	case CTRL('D'):
		if (!r->len)
			return READLINE_END;
		remove_range(r, r->cursor, right_of(r, r->cursor));
		break;
	case CTRL('E'):
		r->cursor = r->len;
		break;
	case CTRL('F'):
		r->cursor = right_of(r, r->cursor);
		break;
	case CTRL('H'):
	case '\177':
		remove_range(r, left_of(r, r->cursor), r->cursor);
		break;
	case '\t':
		return READLINE_COMPLETE;
	case '\n':
	case '\r':
		r->line[r->len] = '\0';
		return READLINE_LINE;
	case CTRL('K'):
		remove_range(r, r->cursor, r->len);
		break;
	case CTRL('N'):
		step_history(r, 1);
		break;
	case CTRL('P'):
		step_history(r, -1);
		break;
	case CTRL('U'):
		remove_range(r, 0, r->cursor);
		break;
	case CTRL('W'):
		remove_range(r, word_left_of(r, r->cursor), r->cursor);
		break;
	case CTRL('['):
		r->state = KEY_ESCAPE;
		break;
	default:
		break;
	}
	return READLINE_MORE;
}

size_t readline_feed(struct readline *r, const char *bytes, size_t len, struct text *show,
		     enum readline_result *result)
{
	size_t used = 0;

	*result = READLINE_MORE;
	while (used < len && *result == READLINE_MORE) {
		char byte = bytes[used++];
		bool second = r->after_cr && byte == '\n';

		r->after_cr = byte == '\r';
		if (second)
			continue;
		if (r->state != KEY_PLAIN)
			take_escaped(r, byte);
		else if ((unsigned char)byte < ' ' || byte == '\177')
			*result = take_control(r, byte);
		else
			readline_insert(r, &byte, 1);
	}
	readline_show(r, false, show);
	return used;
}
