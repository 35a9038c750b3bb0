/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_LINE_H
#define MONITOR_SHELL_LINE_H

#include "monitor/shell/complete.h"
#include "monitor/shell/loop.h"
#include "monitor/shell/print.h"

/*
 * The line being edited, by libedit, with a history that outlives the session.  While it waits for
 * a key it serves the server too, and what that has to say is shown above the line.
 */
struct line;

struct line_hooks {
	/* The server's socket for loop_wait(): -1 when there is none. */
	int (*socket)(void *opaque, bool *write);
	void (*socket_ready)(void *opaque);
	/* The prompt.  `out` is empty; \1 stands around what takes no columns. */
	void (*prompt)(void *opaque, struct text *out);
	void (*complete)(void *opaque, const char *line, size_t cursor,
			 struct completion *completion);
	void *opaque;
};

struct line *line_new(struct loop *loop, const struct line_hooks *hooks, struct style *style,
		      struct error *err);
void line_free(struct line *line);

/* Reads a line, without its end; the caller frees it.  NULL: nothing more comes. */
char *line_read(struct line *line);

/* Text that ends in LF, for above the line; shown at once when no line is being read. */
void line_show(struct line *line, const char *text, size_t len);
/* What line_show() has been given while it was held, see line_hold(), comes out. */
void line_flush(struct line *line);
/* Until line_flush(), line_show() keeps what it is given: the screen is used for something else. */
void line_hold(struct line *line);
/* The prompt has changed. */
void line_refresh(struct line *line);

/* The lines entered so far, numbered, oldest first. */
void line_print_history(struct line *line, struct text *out);

#endif
