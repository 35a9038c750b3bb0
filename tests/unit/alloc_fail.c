/* SPDX-License-Identifier: MIT */
#include "tests/unit/alloc_fail.h"

#include <errno.h>
#include <stddef.h>

static __thread unsigned int countdown;
static __thread bool failed, exempt;

void *__real_calloc(size_t nmemb, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_calloc(size_t nmemb, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

void alloc_fail_at(unsigned int n)
{
	countdown = n;
	failed = false;
}

bool alloc_has_failed(void)
{
	return failed;
}

void alloc_exempt_begin(void)
{
	exempt = true;
}

void alloc_exempt_end(void)
{
	exempt = false;
}

static bool fails_now(void)
{
	if (exempt || !countdown || --countdown)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_calloc(size_t nmemb, size_t size)
{
	return fails_now() ? NULL : __real_calloc(nmemb, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
	return fails_now() ? NULL : __real_realloc(ptr, size);
}
