/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "monitor/text.h"

/*
 * A line that somebody edits at the far end of a connection, on a terminal in raw mode or by
 * sending it whole.  What is to be shown of it are QEMU's bytes: the cursor goes to the beginning
 * (ESC [ D), the line is written anew, the rest of the old one erased (ESC [ K); but once for each
 * piece of input and not for each byte, so that a long line costs no more than it is long.
 *
 * Keys: the arrows, Home, End, Delete, Backspace, and ^A ^B ^E ^F ^K ^U ^W ^N ^P as in shells; ^C
 * gives the line up, ^D on an empty one is the end.  Other control characters are ignored.
 *
 * Threads: the event loop's.
 */
#define READLINE_MAX            4095    /* bytes of a line; what is more is ignored */
#define READLINE_HISTORY        64      /* lines, the oldest of which go */
#define READLINE_HISTORY_BYTES  16384

struct readline {
	char line[READLINE_MAX + 1];    /* not NUL-terminated before it is complete */
	size_t len, cursor;
	size_t shown_cursor;            /* columns from the beginning, on the terminal */
	bool changed;                   /* since it was last shown */
	bool after_cr;                  /* a line feed now belongs to the last line's end */
	enum { KEY_PLAIN, KEY_ESCAPE, KEY_CSI, KEY_SS3 } state;
	unsigned int number;            /* of an escape sequence */

	char *history[READLINE_HISTORY];
	unsigned int nr_history, at_history;
	size_t history_bytes;
};

enum readline_result {
	READLINE_MORE,                  /* all has been taken */
	READLINE_LINE,                  /* line[] is complete, and NUL-terminated */
	READLINE_ABORT,                 /* and is nothing: ask for another */
	READLINE_END,
	READLINE_COMPLETE,              /* Tab: see readline_insert() */
};

/* `r` is all zeros. */
void readline_free(struct readline *r);

/*
 * Takes bytes up to the first that makes a result, and returns how many; appends to `show` what the
 * terminal is to show.  After READLINE_LINE and READLINE_ABORT the caller calls readline_next().
 */
size_t readline_feed(struct readline *r, const char *bytes, size_t len, struct text *show,
		     enum readline_result *result);
/* An empty line; the last one becomes history if `remember`. */
void readline_next(struct readline *r, bool remember);
/* Inserts text at the cursor, as if it were typed. */
void readline_insert(struct readline *r, const char *bytes, size_t len);
/* Shows the line as it is now; `fresh`, behind a new prompt. */
void readline_show(struct readline *r, bool fresh, struct text *show);

#endif
