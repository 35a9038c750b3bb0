/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_ESCAPE_H
#define MONITOR_SHELL_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "monitor/text.h"

/*
 * What a server sends may hold bytes that a guest has chosen, and a terminal obeys some of them.
 * Everything that comes over the wire passes here before it is shown.
 */

/*
 * Whether the terminal takes UTF-8; not before it is said.  Else everything but ASCII is escaped.
 * Set once, before anything is shown.
 */
void escape_use_utf8(bool utf8);

/*
 * Appends `s` as one line: control characters, characters that change the direction of text or can
 * not be seen, and bytes that are no UTF-8 come as escapes such as \n, \x1b and \u202e.
 */
void escape_line(struct text *out, const char *s, size_t len);

/* The same, but lines stay lines (CR in front of LF goes), and tabs stay tabs. */
void escape_block(struct text *out, const char *s, size_t len);

/* Columns that escaped text without tabs takes on the terminal. */
unsigned int escape_columns(const char *s, size_t len);

/* Columns that a string takes when it is shown as escape_line() has it. */
unsigned int escape_line_columns(const char *s);

/* How much of such text, at whole characters, goes into so many columns. */
size_t escape_fit(const char *s, size_t len, unsigned int columns);

#endif
