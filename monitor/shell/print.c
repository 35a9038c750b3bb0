/* SPDX-License-Identifier: MIT */
#include "monitor/shell/print.h"

#include <string.h>
#include <time.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/values.h"

#define STEP        2
#define MAX_INDENT  64          /* deeper things stand no further right */
#define LIST_WIDTH  100         /* a longer list of scalars gets a line for each */

static void print_at(struct text *out, const struct style *style, unsigned int indent,
		     const struct json_value *value);

static unsigned int deeper(unsigned int indent)
{
	return indent < MAX_INDENT ? indent + STEP : indent;
}

/* A list that goes on one line behind its name. */
static bool is_short(const char *name, const struct json_value *list)
{
	static const struct style plain;
	struct text line = { 0 };
	bool fits = list->array.count <= LIST_WIDTH / 3 + 1;
	size_t i;

	for (i = 0; i < list->array.count && fits; i++)
		fits = value_is_scalar(&list->array.item[i]);
	if (fits) {
		print_scalar(&line, &plain, name, NULL, list);
		fits = line.len <= LIST_WIDTH;
		text_free(&line);
	}
	return fits;
}

static bool is_inline(const struct json_member *member)
{
	const struct json_value *value = &member->value;

	if (value->type == JSON_OBJECT)
		return !value->object.count;
	return value->type != JSON_ARRAY || is_short(member->name, value);
}

/* A string of several lines keeps them. */
static bool is_text(const struct json_value *value)
{
	return value->type == JSON_STRING && memchr(value->string.bytes, '\n', value->string.len);
}

static void print_text(struct text *out, const struct json_value *value)
{
	escape_block(out, value->string.bytes, value->string.len);
	if (out->len && out->bytes[out->len - 1] != '\n')
		text_printf(out, "\n");
}

static void print_member(struct text *out, const struct style *style, unsigned int indent,
			 unsigned int width, const struct json_value *object,
			 const struct json_member *member)
{
	print_space(out, indent);
	paint_line(out, style, PAINT_KEY, member->name);
	text_printf(out, ":");
	if (is_text(&member->value)) {
		text_printf(out, "\n");
		print_text(out, &member->value);
	} else if (is_inline(member)) {
		print_space(out, width - escape_line_columns(member->name) + 1);
		print_scalar(out, style, member->name, object, &member->value);
		text_printf(out, "\n");
	} else {
		text_printf(out, "\n");
		print_at(out, style, deeper(indent), &member->value);
	}
}

static void print_object(struct text *out, const struct style *style, unsigned int indent,
			 const struct json_value *object)
{
	unsigned int width = 0, columns;
	size_t i;

	for (i = 0; i < object->object.count; i++) {
		if (!is_inline(&object->object.member[i]))
			continue;
		columns = escape_line_columns(object->object.member[i].name);
		if (columns > width)
			width = columns;
	}
	for (i = 0; i < object->object.count; i++)
		print_member(out, style, indent, width, object, &object->object.member[i]);
}

static void print_array(struct text *out, const struct style *style, unsigned int indent,
			const struct json_value *array)
{
	bool after_object = false;
	size_t i;

	if (array->array.count &&
	    print_table(out, style, indent, array->array.item, array->array.count))
		return;
	for (i = 0; i < array->array.count; i++) {
		const struct json_value *item = &array->array.item[i];

		if (after_object)
			text_printf(out, "\n");
		after_object = !value_is_scalar(item);
		print_at(out, style, item->type == JSON_ARRAY ? deeper(indent) : indent, item);
	}
}

static void print_at(struct text *out, const struct style *style, unsigned int indent,
		     const struct json_value *value)
{
	if (value->type == JSON_OBJECT && value->object.count) {
		print_object(out, style, indent, value);
	} else if (value->type == JSON_ARRAY && value->array.count) {
		print_array(out, style, indent, value);
	} else {
		print_space(out, indent);
		print_scalar(out, style, NULL, NULL, value);
		text_printf(out, "\n");
	}
}

void print_value(struct text *out, const struct style *style, const struct json_value *value)
{
	const struct json_value *inside = json_get(value, "human-readable-text");

	if (value->type == JSON_OBJECT && value->object.count == 1 && inside)
		value = inside;
	if (value->type == JSON_STRING)
		print_text(out, value);
	else if (value->type != JSON_OBJECT || value->object.count)
		print_at(out, style, 0, value);
}

/* One token of JSON as json_write_value() has it: at most a string, a word or a number. */
static size_t token_length(const char *s, size_t len)
{
	size_t n = 1;

	if (*s == '"') {
		while (n < len && s[n] != '"')
			n += s[n] == '\\' ? 2 : 1;
		return n < len ? n + 1 : len;
	}
	if (strchr("{}[],: \r\n", *s))
		return 1;
	while (n < len && !strchr("{}[],: \r\n", s[n]))
		n++;
	return n;
}

static void paint_token(struct text *out, const struct style *style, const char *s, size_t len,
			bool name)
{
	enum paint paint = PAINT_WORD;

	if (*s == '"')
		paint = name ? PAINT_KEY : PAINT_STRING;
	else if (*s == '-' || (*s >= '0' && *s <= '9'))
		paint = PAINT_NUMBER;
	text_printf(out, "%s", paint_begin(style, paint));
	text_append(out, s, len);
	text_printf(out, "%s", paint_end(style));
}

/* The writer's text is ASCII without control characters, whatever the value holds. */
void print_json(struct text *out, const struct style *style, const struct json_value *value)
{
	struct json_writer w;
	size_t at, len;

	json_writer_init(&w, true);
	json_write_value(&w, NULL, value);
	out->failed |= w.failed;
	for (at = 0; at < w.len; at += len) {
		const char *s = w.text + at;

		len = token_length(s, w.len - at);
		if (*s == '\r')
			continue;
		if (len == 1 && strchr("{}[],: \n", *s))
			text_append(out, s, 1);
		else
			paint_token(out, style, s, len, at + len < w.len && s[len] == ':');
	}
	text_printf(out, "\n");
	json_writer_free(&w);
}

struct flat {
	struct text *out;
	const struct style *style;
	bool some;
};

static void print_leaf(void *opaque, const char *path, const struct json_value *parent,
		       const struct json_value *leaf)
{
	struct flat *flat = opaque;

	text_printf(flat->out, "%s", flat->some ? " " : "");
	paint_line(flat->out, flat->style, PAINT_KEY, path);
	text_printf(flat->out, "=");
	print_scalar(flat->out, flat->style, path, parent, leaf);
	flat->some = true;
}

/* An event's data: "guest=true reason=guest-shutdown", without LF. */
static void print_flat(struct text *out, const struct style *style, const struct json_value *value)
{
	struct flat flat = { .out = out, .style = style };
	struct json_writer w;

	if (value->type != JSON_OBJECT) {
		print_scalar(out, style, NULL, NULL, value);
		return;
	}
	if (value_flatten(value, 8, print_leaf, &flat))
		return;
	/* Lists of objects: what does not fit the form comes as JSON behind it. */
	json_writer_init(&w, false);
	json_write_value(&w, NULL, value);
	text_printf(out, "%s", flat.some ? " " : "");
	if (!w.failed)
		text_append(out, w.text, w.len);
	json_writer_free(&w);
}

void print_event(struct text *out, const struct style *style, const struct json_value *event)
{
	const struct json_value *stamp = json_get(event, "timestamp"), *data;
	const char *name = value_string(event, "event");
	uint64_t seconds = value_uint(stamp, "seconds", UINT64_MAX);
	time_t time = (time_t)seconds;
	struct tm local;

	text_printf(out, "%s", paint_begin(style, PAINT_DIM));
	/* The server's clock may fail: -1. */
	if (seconds <= INT32_MAX * (uint64_t)4 && localtime_r(&time, &local))
		text_printf(out, "%02d:%02d:%02d.%03u", local.tm_hour, local.tm_min, local.tm_sec,
			    (unsigned int)(value_uint(stamp, "microseconds", 0) / 1000 % 1000));
	else
		text_printf(out, "--:--:--.---");
	text_printf(out, "%s ", paint_end(style));
	paint_line(out, style, PAINT_EVENT, name ? name : "?");
	data = json_get(event, "data");
	if (data && (data->type != JSON_OBJECT || data->object.count)) {
		text_printf(out, " ");
		print_flat(out, style, data);
	}
	text_printf(out, "\n");
}
