/* SPDX-License-Identifier: MIT */
#include "monitor/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/json_internal.h"

#define INDENT 4

void json_writer_init(struct json_writer *w, bool pretty)
{
	memset(w, 0, sizeof(*w));
	w->pretty = pretty;
}

void json_writer_free(struct json_writer *w)
{
	free(w->text);
	json_writer_init(w, w->pretty);
}

/* Out of line: it is for the few pieces that need more than there is. */
static __attribute__((noinline)) char *grow(struct json_writer *w, size_t more)
{
	size_t size = w->size ? w->size : 256;
	char *text;

	if (w->failed)
		return NULL;
	while (size - w->len < more) {
		if (size > SIZE_MAX / 2)
			goto fail;
		size *= 2;
	}
	text = realloc(w->text, size);
	if (!text)
		goto fail;
	w->text = text;
	w->size = size;
	return text + w->len;

fail:
	free(w->text);
	w->text = NULL;
	w->len = w->size = 0;
	w->failed = true;
	return NULL;
}

/* Room for `more` bytes behind the text, or NULL; the caller moves w->len. */
static inline char *reserve(struct json_writer *w, size_t more)
{
	/* One that has failed has neither text nor room. */
	return more <= w->size - w->len ? w->text + w->len : grow(w, more);
}

static void put(struct json_writer *w, const char *bytes, size_t len)
{
	char *out = reserve(w, len);

	if (!out)
		return;
	memcpy(out, bytes, len);
	w->len += len;
}

static void put_char(struct json_writer *w, char c)
{
	put(w, &c, 1);
}

static void put_newline(struct json_writer *w)
{
	size_t indent = (size_t)w->depth * INDENT;
	char *out = reserve(w, 2 + indent);

	if (!out)
		return;
	memcpy(out, "\r\n", 2);
	memset(out + 2, ' ', indent);
	w->len += 2 + indent;
}

/* The bytes that stand for themselves inside a string: printable ASCII but for " and \. */
static const bool plain[256] = {
	[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... '~'] = true,
};

/* Writes a character that does not stand for itself to out[12]; returns the length. */
static size_t escape(char *out, int code)
{
	static const char letter[] = { '\b', 'b', '\f', 'f', '\n', 'n', '\r', 'r', '\t', 't',
				       '"', '"', '\\', '\\' };
	size_t i;

	for (i = 0; i < sizeof(letter); i += 2) {
		if (code == letter[i]) {
			out[0] = '\\';
			out[1] = letter[i + 1];
			return 2;
		}
	}
	if (code < 0)
		code = 0xfffd;
	if (code > 0xffff) {
		code -= 0x10000;
		return (size_t)sprintf(out, "\\u%04X\\u%04X",
				       0xd800u + ((unsigned int)code >> 10),
				       0xdc00u + ((unsigned int)code & 0x3ff));
	}
	return (size_t)sprintf(out, "\\u%04X", (unsigned int)code);
}

static void put_string(struct json_writer *w, const char *s, size_t len)
{
	const char *end = s + len, *run;
	char escaped[16];
	size_t used;

	put_char(w, '"');
	while (s < end && !w->failed) {
		for (run = s; s < end && plain[(unsigned char)*s]; s++)
			;
		put(w, run, (size_t)(s - run));
		if (s == end)
			break;
		put(w, escaped, escape(escaped, json_utf8_decode(s, (size_t)(end - s), &used)));
		s += used;
	}
	put_char(w, '"');
}

/* What stands before a value: the comma after its predecessor, and its name. */
static void begin_value(struct json_writer *w, const char *name)
{
	if (w->need_comma)
		put_char(w, ',');
	if (w->pretty && w->depth)
		put_newline(w);
	else if (w->need_comma)
		put_char(w, ' ');
	w->need_comma = true;
	if (name) {
		put_string(w, name, strlen(name));
		put(w, ": ", 2);
	}
}

static void open_container(struct json_writer *w, const char *name, char bracket)
{
	begin_value(w, name);
	put_char(w, bracket);
	w->depth++;
	w->need_comma = false;
}

static void close_container(struct json_writer *w, char bracket)
{
	w->depth--;
	if (w->pretty)
		put_newline(w);
	put_char(w, bracket);
	w->need_comma = true;
}

void json_write_object(struct json_writer *w, const char *name)
{
	open_container(w, name, '{');
}

void json_write_object_end(struct json_writer *w)
{
	close_container(w, '}');
}

void json_write_array(struct json_writer *w, const char *name)
{
	open_container(w, name, '[');
}

void json_write_array_end(struct json_writer *w)
{
	close_container(w, ']');
}

static void put_word(struct json_writer *w, const char *name, const char *word)
{
	begin_value(w, name);
	put(w, word, strlen(word));
}

void json_write_null(struct json_writer *w, const char *name)
{
	put_word(w, name, "null");
}

void json_write_bool(struct json_writer *w, const char *name, bool value)
{
	put_word(w, name, value ? "true" : "false");
}

static void put_decimal(struct json_writer *w, const char *name, uint64_t value, bool minus)
{
	char digits[24], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	if (minus)
		*--p = '-';
	begin_value(w, name);
	put(w, p, (size_t)(digits + sizeof(digits) - p));
}

void json_write_int(struct json_writer *w, const char *name, int64_t value)
{
	put_decimal(w, name, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0);
}

void json_write_uint(struct json_writer *w, const char *name, uint64_t value)
{
	put_decimal(w, name, value, false);
}

void json_write_double(struct json_writer *w, const char *name, double value)
{
	char text[32];

	if (isnan(value))
		snprintf(text, sizeof(text), "null");
	else if (isinf(value))
		snprintf(text, sizeof(text), value < 0 ? "-1e999" : "1e999");
	else
		snprintf(text, sizeof(text), "%.17g", value);
	put_word(w, name, text);
}

void json_write_string(struct json_writer *w, const char *name, const char *value)
{
	json_write_string_len(w, name, value, strlen(value));
}

void json_write_string_len(struct json_writer *w, const char *name, const char *value, size_t len)
{
	begin_value(w, name);
	put_string(w, value, len);
}

/* The length of the string that starts with the quote at s. */
static size_t string_length(const char *s, const char *end)
{
	const char *p = s + 1;

	while (p < end && *p != '"')
		p += *p == '\\' && end - p > 1 ? 2 : 1;
	return (size_t)(p < end ? p + 1 - s : end - s);
}

/* Breaks compact JSON into lines. */
static void put_pretty(struct json_writer *w, const char *json, size_t len)
{
	const char *end = json + len;
	bool opened = false;

	while (json < end && !w->failed) {
		size_t used = *json == '"' ? string_length(json, end) : 1;
		char c = *json;

		if (c == ']' || c == '}') {
			w->depth--;
			put_newline(w);
		} else if (opened && c != ' ') {
			put_newline(w);
		}
		if (c != ' ')
			put(w, json, used);
		opened = (opened && c == ' ') || c == '[' || c == '{' || c == ',';
		if (c == '[' || c == '{')
			w->depth++;
		else if (c == ':')
			put_char(w, ' ');
		json += used;
	}
}

void json_write_raw(struct json_writer *w, const char *name, const char *json, size_t len)
{
	begin_value(w, name);
	if (w->pretty)
		put_pretty(w, json, len);
	else
		put(w, json, len);
}

void json_write_line_end(struct json_writer *w)
{
	put(w, "\r\n", 2);
	w->need_comma = false;
}

void json_write_value(struct json_writer *w, const char *name, const struct json_value *value)
{
	size_t i;

	switch (value->type) {
	case JSON_NULL:
		json_write_null(w, name);
		break;
	case JSON_BOOL:
		json_write_bool(w, name, value->boolean);
		break;
	case JSON_INT:
		json_write_int(w, name, value->integer);
		break;
	case JSON_UINT:
		json_write_uint(w, name, value->uinteger);
		break;
	case JSON_DOUBLE:
		json_write_double(w, name, value->real);
		break;
	case JSON_STRING:
		json_write_string_len(w, name, value->string.bytes, value->string.len);
		break;
	case JSON_ARRAY:
		json_write_array(w, name);
		for (i = 0; i < value->array.count; i++)
			json_write_value(w, NULL, &value->array.item[i]);
		json_write_array_end(w);
		break;
	case JSON_OBJECT:
		json_write_object(w, name);
		for (i = 0; i < value->object.count; i++)
			json_write_value(w, value->object.member[i].name,
					 &value->object.member[i].value);
		json_write_object_end(w);
		break;
	}
}
