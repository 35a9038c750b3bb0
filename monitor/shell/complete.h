/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_COMPLETE_H
#define MONITOR_SHELL_COMPLETE_H

#include "monitor/shell/candidates.h"
#include "monitor/shell/schema.h"

/* Where completion gets what it does not know by itself; each may be NULL. */
struct complete_source {
	const struct schema *schema;
	const struct candidates *local;                 /* the shell's own commands */
	void *opaque;
	/* The server's human monitor's commands, or what its info can show. */
	const struct candidates *(*hmp)(void *opaque, bool info);
	/* Carries out a QMP command with one string argument (or none: NULL). */
	bool (*ask)(void *opaque, const char *command, const char *name, const char *value,
		    struct json_value *returned);
};

/* A completion: what to put in the place of line[start] up to the cursor. */
struct completion {
	size_t start;
	struct candidates list;
	char quote;             /* the open quote that the word began with; else 0 */
};

/* What can stand where the cursor is in line[cursor].  The caller frees the list. */
void complete_line(struct completion *completion, const struct complete_source *source,
		   const char *line, size_t cursor);

/*
 * Text for the line: of the first `len` bytes of a candidate, with what is special in a line taken
 * out of its meaning.
 */
void complete_quote(struct text *out, const struct completion *completion, const char *s,
		    size_t len);

/* complete_value.c: the candidates for the value of an argument. */
struct words;
void complete_argument(struct completion *completion, const struct complete_source *source,
		       const struct json_value *command, const struct words *words);

/* complete_value.c: files that begin with `prefix`. */
void complete_file(struct completion *completion, const char *prefix);

#endif
