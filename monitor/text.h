/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_TEXT_H
#define MONITOR_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Text that grows: what an HMP command prints.  Lines end in LF here; the edge turns that into what
 * the client wants.  A missing allocation is remembered in `failed`, and the text stays as it is
 * from then on.
 */
struct text {
	char *bytes;            /* NUL-terminated once anything was printed, else NULL */
	size_t len, size;
	bool failed;
};

void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_append(struct text *t, const char *bytes, size_t len);
/* Appends text whose lines end in LF with such that end in CRLF. */
void text_append_crlf(struct text *t, const struct text *lines);
void text_free(struct text *t);

#endif
