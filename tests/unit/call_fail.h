/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CALL_FAIL_H
#define TESTS_UNIT_CALL_FAIL_H

#include <stdbool.h>

/*
 * Calls of the C library and of libevent that fail on demand, by the linker's --wrap.  Which ones
 * there are is in call_fail.c; another one is added there and to CALLS_THAT_MAY_FAIL in Makefile.am.
 * KVM's requests have the fake kernel for that, and memory has alloc_fail.h.
 */

/*
 * The n-th call of `name` from here on, by whatever thread, counted from 1, is not carried out, but
 * fails with the errno value `code`; only that one.  n 0: none does.  One name at a time.  (close()
 * is carried out, too, as a kernel does that could not write what was left.)
 */
void call_fail(const char *name, unsigned int n, int code);

/* Whether it has failed. */
bool call_has_failed(void);

/* The same, and if `name` is NULL, alloc_fail_at(): for lists of both. */
void fail_at(const char *name, unsigned int n, int code);

/* Whether that has failed.  From here on nothing does, and it is asked for once. */
bool fail_end(void);

/* From here on fopen() takes what has the same name in this directory; NULL: what it is asked for. */
void call_fopen_in(const char *directory);

#endif
