/* SPDX-License-Identifier: MIT */
#include "monitor/json_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hexadecimal digits at s, or -1. */
static int hex4(const char *s, const char *end)
{
	int i, code = 0;

	if (end - s < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		int digit = hex_digit(s[i]);

		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/*
 * \uXXXX, or two of them that make a surrogate pair; s is behind the "u".  Returns the code point,
 * or -1, and where to go on.
 */
static int decode_unicode_escape(const char *s, const char *end, const char **next)
{
	int code = hex4(s, end), low;

	*next = end - s < 4 ? end : s + 4;
	if (code < 0xd800 || code > 0xdbff || end - s < 6 || s[4] != '\\' || s[5] != 'u')
		return code;
	low = hex4(s + 6, end);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*next = s + 10;
	return 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
}

/* The character that a backslash and `c` stand for, or 0. */
static char simple_escape(char c)
{
	switch (c) {
	case '"': case '\'': case '\\': case '/':
		return c;
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	}
	return 0;
}

int json_decode_string(struct json_value *value, const char *text, size_t len,
		       char *error, size_t size)
{
	/* Between the quotes; the lexer has seen to it that no backslash is the last byte. */
	const char *s = text + 1, *end = text + len - 1, *run, *from;
	/* No escape and no sequence is shorter than what it stands for. */
	char *bytes = malloc(len), *out = bytes;
	size_t used;
	int code;

	if (!bytes) {
		snprintf(error, size, "out of memory");
		return -1;
	}
	while (s < end) {
		for (run = s; s < end && *s != '\\' && (signed char)*s >= 0; s++)
			;
		memcpy(out, run, (size_t)(s - run));
		out += s - run;
		if (s == end)
			break;

		from = s;
		if (*s != '\\') {
			code = json_utf8_decode(s, (size_t)(end - s), &used);
			if (code < 0) {
				snprintf(error, size, "invalid UTF-8 sequence in string");
				goto fail;
			}
			s += used;
		} else if (s[1] == 'u') {
			code = decode_unicode_escape(s + 2, end, &s);
		} else {
			code = simple_escape(s[1]);
			if (!code) {
				snprintf(error, size, "invalid escape sequence in string");
				goto fail;
			}
			s += 2;
		}
		used = json_utf8_encode(out, code);
		if (!used) {
			/* A closing quote in the way of four digits is shown, as in QEMU. */
			snprintf(error, size, "%.*s is not a valid Unicode character",
				 s == end && s - from < 6 ? (int)(s - from) + 1 : (int)(s - from),
				 from);
			goto fail;
		}
		out += used;
	}
	*out = '\0';
	value->type = JSON_STRING;
	value->string.bytes = bytes;
	value->string.len = (size_t)(out - bytes);
	return 0;

fail:
	free(bytes);
	return -1;
}

int json_decode_number(struct json_value *value, bool is_integer, const char *text, size_t len,
		       char *error, size_t size)
{
	char buffer[64], *copy = buffer;

	/* The C library wants a NUL behind the last digit. */
	if (len >= sizeof(buffer)) {
		copy = malloc(len + 1);
		if (!copy) {
			snprintf(error, size, "out of memory");
			return -1;
		}
	}
	memcpy(copy, text, len);
	copy[len] = '\0';

	errno = 0;
	if (is_integer) {
		value->type = JSON_INT;
		value->integer = strtoll(copy, NULL, 10);
		if (errno == ERANGE && copy[0] != '-') {
			errno = 0;
			value->type = JSON_UINT;
			value->uinteger = strtoull(copy, NULL, 10);
		}
	}
	if (!is_integer || errno == ERANGE) {
		value->type = JSON_DOUBLE;
		value->real = strtod(copy, NULL);
	}
	if (copy != buffer)
		free(copy);
	return 0;
}
