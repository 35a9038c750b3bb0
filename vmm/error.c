/* SPDX-License-Identifier: MIT */
#include "vmm/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code ? code : EINVAL;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -1;
}

/* What does not fit is the end of the text, which matters least. */
static void append(struct error *err, const char *text)
{
	size_t used = strlen(err->text);
	size_t len = strnlen(text, sizeof(err->text) - used - 1);

	memcpy(err->text + used, text, len);
	err->text[used + len] = '\0';
}

int error_errno(struct error *err, int code, const char *fmt, ...)
{
	char meaning[128];
	va_list ap;

	if (err) {
		err->code = code ? code : EINVAL;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		append(err, ": ");
		/* The GNU strerror_r, which is the thread-safe one: it may not use the buffer. */
		append(err, strerror_r(code, meaning, sizeof(meaning)));
	}
	return -1;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	struct error old;
	va_list ap;

	if (err) {
		old = *err;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		append(err, ": ");
		append(err, old.text);
	}
	return -1;
}
