/* SPDX-License-Identifier: MIT */
#include "tests/unit/alloc_fail.h"

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>

static __thread unsigned int countdown;
static __thread bool failed, exempt;

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

bool alloc_is_exempt(void)
{
	return exempt;
}

static bool fails_now(void)
{
	if (exempt || !countdown || --countdown)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

#define MAY_FAIL(type, name, parameters, ...)                           \
	type __real_##name parameters;                                  \
	type __wrap_##name parameters;                                  \
	type __wrap_##name parameters                                   \
	{                                                               \
		return fails_now() ? NULL : __real_##name(__VA_ARGS__); \
	}

MAY_FAIL(void *, malloc, (size_t size), size)
MAY_FAIL(void *, calloc, (size_t nmemb, size_t size), nmemb, size)
MAY_FAIL(void *, realloc, (void *ptr, size_t size), ptr, size)
MAY_FAIL(void *, reallocarray, (void *ptr, size_t nmemb, size_t size), ptr, nmemb, size)
MAY_FAIL(char *, strdup, (const char *s), s)
MAY_FAIL(char *, strndup, (const char *s, size_t n), s, n)
MAY_FAIL(struct event *, event_new, (struct event_base *base, evutil_socket_t fd, short events,
	 event_callback_fn fn, void *arg), base, fd, events, fn, arg)

int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list args;
	int len;

	if (fails_now())
		return -1;
	va_start(args, format);
	len = vasprintf(text, format, args);
	va_end(args);
	return len;
}

/* Check tells of every assertion, whether it holds or not. */
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

void __wrap__mark_point(const char *file, int line)
{
	bool before = exempt;

	exempt = true;
	__real__mark_point(file, line);
	exempt = before;
}

/* It does not return. */
void __real__ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
	__attribute__((noreturn));
void __wrap__ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

void __wrap__ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	char text[1024] = "";
	va_list args;

	exempt = true;
	va_start(args, msg);
	if (msg)
		vsnprintf(text, sizeof(text), msg, args);
	va_end(args);
	__real__ck_assert_failed(file, line, expr, msg ? "%s" : NULL, text);
}
