/* SPDX-License-Identifier: MIT */
#include "monitor/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FIRST_SIZE 256

/* Room for `len` more bytes and the NUL behind them. */
static bool reserve(struct text *t, size_t len)
{
	size_t size = t->size ? t->size : TEXT_FIRST_SIZE;
	char *bytes;

	if (t->failed)
		return false;
	if (len < t->size - t->len)
		return true;
	while (size - t->len <= len) {
		if (size > SIZE_MAX / 2) {
			t->failed = true;
			return false;
		}
		size *= 2;
	}
	bytes = realloc(t->bytes, size);
	if (!bytes) {
		t->failed = true;
		return false;
	}
	t->bytes = bytes;
	t->size = size;
	return true;
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int len;

	if (!reserve(t, 0))
		return;
	va_start(ap, fmt);
	len = vsnprintf(t->bytes + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (len < 0) {
		t->bytes[t->len] = '\0';
		t->failed = true;
		return;
	}
	if ((size_t)len >= t->size - t->len) {
		t->bytes[t->len] = '\0';
		if (!reserve(t, len))
			return;
		va_start(ap, fmt);
		vsnprintf(t->bytes + t->len, t->size - t->len, fmt, ap);
		va_end(ap);
	}
	t->len += len;
}

void text_append(struct text *t, const char *bytes, size_t len)
{
	if (!reserve(t, len))
		return;
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

void text_append_crlf(struct text *t, const struct text *lines)
{
	size_t start = 0;

	for (size_t i = 0; i < lines->len; i++) {
		if (lines->bytes[i] != '\n')
			continue;
		text_append(t, lines->bytes + start, i - start);
		text_append(t, "\r\n", 2);
		start = i + 1;
	}
	if (start < lines->len)
		text_append(t, lines->bytes + start, lines->len - start);
	t->failed |= lines->failed;
}

void text_free(struct text *t)
{
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}
