/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_ALLOC_FAIL_H
#define TESTS_UNIT_ALLOC_FAIL_H

#include <stdbool.h>

/*
 * Memory that runs out on demand: what malloc(), calloc(), realloc(), reallocarray(), strdup(),
 * strndup(), asprintf() and event_new() are asked for, by the linker's --wrap.  Other allocations
 * of shared libraries are not concerned, nor is what Check does.  Each thread has its own count.
 */

/* The n-th allocation from here on fails, counted from 1, and only that one; 0: none. */
void alloc_fail_at(unsigned int n);

/* Whether it has failed.  A loop over n ends at the first that has not. */
bool alloc_has_failed(void);

/*
 * Between these nothing of this thread fails or counts, nor do calls (call_fail.h): the kernel's
 * memory is another.
 */
void alloc_exempt_begin(void);
void alloc_exempt_end(void);
bool alloc_is_exempt(void);

#endif
