/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/json.h"
#include "monitor/shell/args.h"
#include "monitor/shell/complete.h"
#include "monitor/shell/escape.h"
#include "monitor/shell/print.h"
#include "monitor/shell/progress.h"
#include "monitor/shell/schema.h"
#include "monitor/shell/values.h"
#include "monitor/shell/watch.h"
#include "monitor/shell/words.h"
#include "tests/fuzz/fuzz.h"

/*
 * libFuzzer: what a server sends, as the monitor shell shows it and uses it.  The first line is
 * what somebody types, the rest are the server's bytes.  Nothing that a terminal obeys may come
 * out, and a schema may say what it likes.
 */

static const struct style plain, narrow = { .width = 30 };

/* Lines and tabs, and no byte else that is not text. */
static void check_text(struct text *text)
{
	size_t i;

	CHECK(!text->failed);
	for (i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->bytes[i];

		CHECK((c >= 0x20 && c < 0x7f) || c == '\n' || c == '\t');
	}
	text_free(text);
}

static void print_all(const struct json_value *value)
{
	struct text text = { 0 };
	struct progress progress = { 0 };
	enum work_kind kind;

	print_value(&text, &plain, value);
	check_text(&text);
	print_value(&text, &narrow, value);
	check_text(&text);
	print_json(&text, &plain, value);
	check_text(&text);
	print_event(&text, &plain, value);
	check_text(&text);
	for (kind = WORK_MIGRATION; kind <= WORK_JOB; kind++) {
		progress_read(&progress, kind, value, "job", 1000);
		progress_read(&progress, kind, value, "job", 2000);
		CHECK(progress.done <= progress.total || !progress.total);
		progress_read_event(&progress, kind, value, "job");
		progress_print_bar(&text, &narrow, "x", &progress);
		check_text(&text);
	}
}

static void use_string(const struct json_value *value)
{
	struct candidates list = { 0 };
	struct text text = { 0 };

	candidates_parse_help(&list, value->string.bytes, false);
	candidates_parse_help(&list, value->string.bytes, true);
	candidates_print(&text, &narrow, &list, 10);
	check_text(&text);
	candidates_free(&list);
	escape_block(&text, value->string.bytes, value->string.len);
	if (text.bytes) {
		struct text marked = { 0 };

		watch_mark(&marked, &narrow, "a b\nc", text.bytes, 5);
		check_text(&marked);
	}
	check_text(&text);
}

/* Completes the line, and makes a command of it, by what the value says as a schema. */
static void use_schema(struct json_value *value, const char *line, size_t len)
{
	struct schema *schema = schema_new(value, NULL);
	struct complete_source source = { .schema = schema };
	struct completion completion;
	struct text text = { 0 };
	struct words words;
	size_t i;

	complete_line(&completion, &source, line, len);
	CHECK(completion.start <= len);
	candidates_print(&text, &narrow, &completion.list, 10);
	check_text(&text);
	candidates_free(&completion.list);
	for (i = 0; schema_entry(schema, i); i++)
		schema_print_type(&text, schema, schema_entry(schema, i));
	check_text(&text);
	CHECK(words_split(&words, line, len, NULL) == 0);
	if (words.count) {
		struct json_writer w;

		json_writer_init(&w, false);
		json_write_object(&w, NULL);
		args_write(&w, schema, schema_find_meta(schema, words.word[0].text, "command"),
			   &words, 1, NULL);
		json_writer_free(&w);
	}
	words_free(&words);
	schema_free(schema);
}

struct typed {
	const char *line;
	size_t len;
};

static bool take(void *opaque, struct json_value *value, const char *error)
{
	const struct typed *typed = opaque;

	if (error)
		return true;
	print_all(value);
	if (value->type == JSON_STRING)
		use_string(value);
	if (value->type == JSON_ARRAY)
		use_schema(value, typed->line, typed->len);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data, *end = memchr(data, '\n', size);
	struct json_parser *parser;
	struct typed typed = { bytes, end ? (size_t)(end - bytes) : 0 };

	/* A line that is typed has no NUL, and names no files. */
	if (!end || memchr(bytes, '\0', typed.len) || memchr(bytes, '/', typed.len))
		return 0;
	parser = json_parser_new(take, &typed);
	CHECK(parser);
	json_parser_feed(parser, end + 1, size - typed.len - 1);
	json_parser_end(parser);
	json_parser_free(parser);
	return 0;
}
