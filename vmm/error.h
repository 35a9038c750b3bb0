/* SPDX-License-Identifier: MIT */
#ifndef VMM_ERROR_H
#define VMM_ERROR_H

#include <stddef.h>

/*
 * The one way errors travel through vmond.
 *
 * A function that can fail takes a `struct error *` as its last argument and returns -1 (or NULL)
 * after filling it; on success it leaves it alone.  The text is one line without a newline that
 * names the offender and, where there is one, the way out.  The structure lives on the caller's
 * stack, so reporting an error can not itself run out of memory.  `err` may be NULL where the
 * caller does not care.
 */
struct error {
	int code;               /* an errno value, never 0 once set */
	char text[496];
};

/* Fills *err and returns -1, so that `return error_set(err, EINVAL, "...")` reads well. */
int error_set(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), with ": " and the meaning of `code` put behind the text. */
int error_errno(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<text>: " in front of what *err already says.  Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
