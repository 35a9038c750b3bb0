/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_CANDIDATES_H
#define MONITOR_SHELL_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>

#include "monitor/shell/print.h"

/*
 * Names with what they are about: what can stand at a place of the line, and what a server's human
 * monitor lists as its commands.
 */
struct candidate {
	char *text;
	char *about;            /* NULL: nothing to say; else one line, not escaped */
	char after;             /* what goes behind it: ' ', '=', ',', or 0 for what goes on */
};

struct candidates {
	struct candidate *item;
	size_t count, size;
	bool failed;            /* memory has run out: not all are there, or not with all they are */
};

/* `about` may have several sentences: the first is taken.  Without memory nothing is added. */
void candidates_add(struct candidates *list, const char *text, char after, const char *about);
/* The same with text[len], if it begins with `prefix`. */
void candidates_add_prefixed(struct candidates *list, const char *prefix, const char *text,
			     size_t len, char after, const char *about);
void candidates_sort(struct candidates *list);          /* and each text once */
const struct candidate *candidates_find(const struct candidates *list, const char *text);
void candidates_free(struct candidates *list);

/* Length in bytes, at whole characters, of what all of them begin with; 0 when there are none. */
size_t candidates_common(const struct candidates *list);

/*
 * The list for people: with descriptions if `rows` lines do for that, else in columns, and at most
 * `rows` lines.
 */
void candidates_print(struct text *out, const struct style *style,
		      const struct candidates *list, unsigned int rows);

/*
 * Takes the text of the human monitor's command `help` (or `help info`: then the names of what
 * info can show) apart.
 */
void candidates_parse_help(struct candidates *list, const char *text, bool info);

#endif
