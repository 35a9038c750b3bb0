/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_PRINT_H
#define MONITOR_SHELL_PRINT_H

#include "monitor/json.h"
#include "monitor/text.h"

/*
 * What a server sends, as text for people.  All of it is escaped: see escape.h.  Memory that runs
 * out shows in out->failed.
 */

struct style {
	bool colour;
	unsigned int width;     /* columns of the screen; 0: no limit */
};

/* Kinds of text that have a colour. */
enum paint {
	PAINT_KEY, PAINT_STRING, PAINT_NUMBER, PAINT_WORD, PAINT_HEAD, PAINT_DIM, PAINT_EVENT,
	PAINT_ERROR, PAINT_GOOD, PAINT_CHANGED
};
/* What begins and what ends it; "" without colour. */
const char *paint_begin(const struct style *style, enum paint paint);
const char *paint_end(const struct style *style);
/* A string as escape_line() has it, painted. */
void paint_line(struct text *out, const struct style *style, enum paint paint, const char *s);

void print_space(struct text *out, unsigned int columns);

/*
 * The value of a return: objects as lines of "key: value", lists of objects that are alike as
 * tables, the rest one below the other.  Every line ends in LF; nothing comes for {}.
 *
 * Integers are shown in hexadecimal when the name says that they are the contents of a register, an
 * address or a mask: the registers' own names, ends such as -base, -address and -mask, a value
 * beside the index of an MSR.
 */
void print_value(struct text *out, const struct style *style, const struct json_value *value);

/* JSON in lines, coloured. */
void print_json(struct text *out, const struct style *style, const struct json_value *value);

/* One line: local time, name, data. */
void print_event(struct text *out, const struct style *style, const struct json_value *event);

/* A name or a scalar, without LF.  `name` and `parent` are what hexadecimal goes by, or NULL. */
void print_scalar(struct text *out, const struct style *style, const char *name,
		  const struct json_value *parent, const struct json_value *value);

/* print_table.c: a table, indented; false, and nothing printed, when the rows do not make one. */
bool print_table(struct text *out, const struct style *style, unsigned int indent,
		 const struct json_value *rows, size_t count);

#endif
