/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/json_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/json_oracle.h"
#include "tests/unit/suites.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the parser has called back with; values are kept. */
struct sink {
	struct json_value value[8];
	char error[8][1100];
	unsigned int values, errors;
	unsigned int stop_after;        /* values and errors; 0: never */
};

static bool collect(void *opaque, struct json_value *value, const char *error)
{
	struct sink *sink = opaque;

	if (value && sink->values < COUNT(sink->value)) {
		sink->value[sink->values] = *value;
		value->type = JSON_NULL;
	}
	if (error && sink->errors < COUNT(sink->error))
		snprintf(sink->error[sink->errors], sizeof(sink->error[0]), "%s", error);
	*(value ? &sink->values : &sink->errors) += 1;
	return sink->values + sink->errors != sink->stop_after;
}

static void forget(struct sink *sink)
{
	size_t i;

	for (i = 0; i < COUNT(sink->value); i++)
		json_clear(&sink->value[i]);
	memset(sink, 0, sizeof(*sink));
}

/* Feeds `len` bytes and ends the stream. */
static void parse(struct sink *sink, const char *bytes, size_t len)
{
	struct json_parser *parser = json_parser_new(collect, sink);

	ck_assert_ptr_nonnull(parser);
	memset(sink, 0, sizeof(*sink));
	ck_assert_uint_eq(json_parser_feed(parser, bytes, len), len);
	json_parser_end(parser);
	json_parser_free(parser);
}

static const struct json_value *parse_one(struct sink *sink, const char *text)
{
	parse(sink, text, strlen(text));
	ck_assert_msg(sink->values == 1 && !sink->errors, "%s: %s", text, sink->error[0]);
	return &sink->value[0];
}

START_TEST(test_types)
{
	static const struct {
		const char *text;
		enum json_type type;
		const char *name;
	} cases[] = {
		{ "null", JSON_NULL, "null" }, { "true", JSON_BOOL, "boolean" },
		{ "0", JSON_INT, "integer" }, { "-9223372036854775808", JSON_INT, "integer" },
		{ "9223372036854775807", JSON_INT, "integer" },
		{ "9223372036854775808", JSON_UINT, "integer" },
		{ "18446744073709551615", JSON_UINT, "integer" },
		{ "18446744073709551616", JSON_DOUBLE, "number" },
		{ "-9223372036854775809", JSON_DOUBLE, "number" },
		{ "1.0", JSON_DOUBLE, "number" }, { "1e2", JSON_DOUBLE, "number" },
		{ "\"\"", JSON_STRING, "string" }, { "''", JSON_STRING, "string" },
		{ "[]", JSON_ARRAY, "array" }, { "{}", JSON_OBJECT, "object" },
	};
	struct sink sink;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		ck_assert_int_eq(parse_one(&sink, cases[i].text)->type, cases[i].type);
		ck_assert_str_eq(json_type_name(cases[i].type), cases[i].name);
		forget(&sink);
	}
}
END_TEST

START_TEST(test_numbers)
{
	struct sink sink;

	ck_assert_int_eq(parse_one(&sink, "-0")->integer, 0);
	ck_assert(parse_one(&sink, "-9223372036854775808")->integer == INT64_MIN);
	ck_assert(parse_one(&sink, "9223372036854775807")->integer == INT64_MAX);
	ck_assert(parse_one(&sink, "9223372036854775808")->uinteger == (uint64_t)1 << 63);
	ck_assert(parse_one(&sink, "18446744073709551615")->uinteger == UINT64_MAX);
	ck_assert_double_eq(parse_one(&sink, "18446744073709551616")->real, 0x1p64);
	ck_assert_double_eq(parse_one(&sink, "-12.5E-1")->real, -1.25);
	ck_assert_double_eq(parse_one(&sink, "1e999")->real, INFINITY);
	/* Longer than any buffer that is meant for numbers. */
	ck_assert_double_eq(parse_one(&sink, "0.1000000000000000000000000000000000000000000000"
				      "0000000000000000000000000000000000000000000001")->real,
			    0.1);
}
END_TEST

START_TEST(test_strings)
{
	static const struct {
		const char *text, *bytes;
	} cases[] = {
		{ "\"\"", "" },
		{ "\"a'b\"", "a'b" },
		{ "'a\"b'", "a\"b" },
		{ "'\\'\\\"\\\\\\/'", "'\"\\/" },
		{ "\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t" },
		{ "\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"",
		  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
		  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f" },
		{ "\"a\\u0000b\xc0\x80\"", "a\xc0\x80" "b\xc0\x80" },
		{ "\"\\ufffd\\ud7ff\\ue000\"", "\xef\xbf\xbd\xed\x9f\xbf\xee\x80\x80" },
	};
	const struct json_value *value;
	struct sink sink;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		value = parse_one(&sink, cases[i].text);
		ck_assert_int_eq(value->type, JSON_STRING);
		ck_assert_str_eq(value->string.bytes, cases[i].bytes);
		ck_assert_uint_eq(value->string.len, strlen(cases[i].bytes));
		forget(&sink);
	}
}
END_TEST

START_TEST(test_members)
{
	const struct json_value *object, *list;
	struct sink sink;

	object = parse_one(&sink, "{\"b\": 1, \"a\": [true, {\"c\": \"d\"}], \"\": null}");
	ck_assert_uint_eq(object->object.count, 3);
	ck_assert_str_eq(object->object.member[0].name, "b");
	ck_assert_str_eq(object->object.member[1].name, "a");
	ck_assert_int_eq(json_get(object, "b")->integer, 1);
	ck_assert_int_eq(json_get(object, "")->type, JSON_NULL);
	ck_assert_ptr_null(json_get(object, "c"));
	list = json_get(object, "a");
	ck_assert_uint_eq(list->array.count, 2);
	ck_assert(list->array.item[0].boolean);
	ck_assert_str_eq(json_get(&list->array.item[1], "c")->string.bytes, "d");
	ck_assert_ptr_null(json_get(list, "a"));
	ck_assert_ptr_null(json_get(NULL, "a"));
	forget(&sink);
}
END_TEST

/* Few members or many: found in either way of looking, and no false alarm. */
START_TEST(test_duplicates)
{
	static const int counts[] = { 2, 8, 9, 1000 };
	char *text = malloc(65536);
	struct sink sink;
	size_t i, len;
	int j, twin;

	ck_assert_ptr_nonnull(text);
	for (i = 0; i < COUNT(counts); i++) {
		for (twin = 0; twin < 2; twin++) {
			len = (size_t)sprintf(text, "{");
			for (j = 0; j < counts[i]; j++)
				len += (size_t)sprintf(text + len, "%s\"m%d\": %d", j ? "," : "",
						       twin && j == counts[i] - 1 ? 0 : j * 7, j);
			len += (size_t)sprintf(text + len, "}");
			parse(&sink, text, len);
			ck_assert_uint_eq(sink.values, !twin);
			if (twin)
				ck_assert_str_eq(sink.error[0], "JSON parse error, duplicate key");
			forget(&sink);
		}
	}
	free(text);
}
END_TEST

/* false from the callback stops at once, and nothing is lost or read twice. */
START_TEST(test_stop)
{
	static const char *const text = "1 true[]\"s\"{} nul 2]3\xff\n{}";
	struct json_parser *parser;
	size_t len = strlen(text), done = 0, used;
	unsigned int calls = 0;
	struct sink sink = { 0 };

	parser = json_parser_new(collect, &sink);
	while (done < len) {
		sink.stop_after = sink.values + sink.errors + 1;
		used = json_parser_feed(parser, text + done, len - done);
		done += used;
		calls += sink.values + sink.errors == sink.stop_after;
		ck_assert_uint_ge(sink.stop_after, sink.values + sink.errors);
	}
	ck_assert_uint_eq(calls, 11);
	ck_assert_uint_eq(sink.values, 8);
	ck_assert_uint_eq(sink.errors, 3);
	json_parser_free(parser);
	sink.values = COUNT(sink.value);
	forget(&sink);
}
END_TEST

/* The end of the stream completes what only a next byte would have completed. */
START_TEST(test_end)
{
	static const struct {
		const char *text;
		unsigned int values, errors;
	} cases[] = {
		{ "12", 1, 0 }, { "-1.5e3", 1, 0 }, { "true", 1, 0 }, { "tru", 0, 1 },
		{ "-", 0, 0 },
		{ "1.", 0, 0 }, { "\"a", 0, 0 }, { "[1", 0, 0 }, { "{\"a\":1", 0, 0 }, { "", 0, 0 },
		{ "\xff", 0, 1 },
	};
	struct sink sink;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		parse(&sink, cases[i].text, strlen(cases[i].text));
		ck_assert_msg(sink.values == cases[i].values && sink.errors == cases[i].errors,
			      "%s: %u, %u", cases[i].text, sink.values, sink.errors);
		forget(&sink);
	}
}
END_TEST

/* Feeds text in pieces; so many values must come of it, and `error` unless NULL. */
static void check_limit(const char *text, size_t len, size_t piece, unsigned int values,
			const char *error)
{
	struct sink sink = { 0 };
	struct json_parser *parser = json_parser_new(collect, &sink);
	size_t done, now;

	for (done = 0; done < len; done += now) {
		now = len - done < piece ? len - done : piece;
		ck_assert_uint_eq(json_parser_feed(parser, text + done, now), now);
	}
	json_parser_free(parser);
	ck_assert_uint_eq(sink.values, values);
	ck_assert_uint_eq(sink.errors, !!error);
	if (error)
		ck_assert_str_eq(sink.error[0], error);
	forget(&sink);
}

/* The limits of bytes are exact, whether the bytes come at once or in pieces. */
START_TEST(test_limits)
{
	static const char *const error = "JSON token size limit exceeded";
	size_t max = JSON_MAX_BYTES, piece = _i ? 100000 : SIZE_MAX;
	char *text = malloc(max + 16);

	ck_assert_ptr_nonnull(text);
	memset(text, 'a', max + 16);
	/* A string of one byte less than the limit, and one of the limit. */
	text[0] = text[max - 2] = '"';
	check_limit(text, max - 1, piece, 1, NULL);
	text[max - 2] = 'a';
	text[max - 1] = '"';
	check_limit(text, max, piece, 0, error);
	/* One that does not end is given up at its first byte too many; what follows is new. */
	text[max - 1] = 'a';
	check_limit(text, max + 1, piece, 0, error);
	memcpy(text + max + 1, "[]", 2);
	check_limit(text, max + 3, piece, 1, error);
	/* The strings of one message count together, with its brackets. */
	text[0] = '[';
	text[1] = text[max / 2] = text[max / 2 + 2] = text[max - 3] = '"';
	text[max / 2 + 1] = ',';
	text[max - 2] = ']';
	check_limit(text, max - 1, piece, 1, NULL);
	text[max - 3] = text[max - 2] = 'a';
	text[max - 1] = '"';
	check_limit(text, max, piece, 0, error);
	free(text);
}
END_TEST

START_TEST(test_token_count)
{
	size_t tokens, len = 0;
	char *text = malloc(2 * JSON_MAX_TOKENS);
	struct sink sink;

	ck_assert_ptr_nonnull(text);
	/* "[1,1,...,1 ]" with one token less than the limit, then one more than it. */
	for (tokens = 0; tokens < JSON_MAX_TOKENS - 2; tokens++)
		text[len++] = !tokens ? '[' : tokens % 2 ? '1' : ',';
	text[len++] = ']';
	parse(&sink, text, len);
	ck_assert_uint_eq(sink.values, 1);
	ck_assert_uint_eq(sink.value[0].array.count, (JSON_MAX_TOKENS - 2) / 2);
	forget(&sink);

	len--;
	memcpy(text + len, ",1]", 3);
	parse(&sink, text, len + 3);
	ck_assert_uint_eq(sink.values, 0);
	ck_assert_uint_ge(sink.errors, 1);
	ck_assert_str_eq(sink.error[0], "JSON token count limit exceeded");
	forget(&sink);
	free(text);
}
END_TEST

/* A stray token is shown, but not by the megabyte. */
START_TEST(test_long_stray)
{
	char text[5000];
	struct sink sink;

	memset(text, 'a', sizeof(text));
	text[0] = '"';
	text[sizeof(text) - 1] = '\n';
	parse(&sink, text, sizeof(text));
	ck_assert_uint_eq(sink.errors, 1);
	ck_assert_ptr_nonnull(strstr(sink.error[0], "stray '\"aaaa"));
	ck_assert_ptr_nonnull(strstr(sink.error[0], "aaa...'"));
	ck_assert_uint_lt(strlen(sink.error[0]), 1100);
	forget(&sink);
}
END_TEST

static void expect_text(struct json_writer *w, const char *expected)
{
	ck_assert(!w->failed);
	ck_assert_uint_eq(w->len, strlen(expected));
	ck_assert_msg(!memcmp(w->text, expected, w->len), "%.*s", (int)w->len, w->text);
	json_writer_free(w);
}

static void write_sample(struct json_writer *w)
{
	json_write_object(w, NULL);
	json_write_array(w, "list");
	json_write_int(w, NULL, INT64_MIN);
	json_write_uint(w, NULL, UINT64_MAX);
	json_write_double(w, NULL, 0.1);
	json_write_double(w, NULL, INFINITY);
	json_write_double(w, NULL, -INFINITY);
	json_write_double(w, NULL, NAN);
	json_write_array_end(w);
	json_write_object(w, "empty");
	json_write_object_end(w);
	json_write_bool(w, "no", false);
	json_write_null(w, "nothing");
	json_write_raw(w, "raw", "{\"a\": [1, 2], \"b\": \"}\\\",\"}", 26);
	json_write_string(w, "\"\x01\n", "\xc3\xa9\xf0\x9f\x98\x80\x7f/'");
	json_write_object_end(w);
	json_write_line_end(w);
}

START_TEST(test_write)
{
	struct json_writer w;

	json_writer_init(&w, false);
	write_sample(&w);
	expect_text(&w, "{\"list\": [-9223372036854775808, 18446744073709551615, "
		    "0.10000000000000001, 1e999, -1e999, null], \"empty\": {}, "
		    "\"no\": false, \"nothing\": null, "
		    "\"raw\": {\"a\": [1, 2], \"b\": \"}\\\",\"}, "
		    "\"\\\"\\u0001\\n\": \"\\u00E9\\uD83D\\uDE00\\u007F/'\"}\r\n");
	json_writer_init(&w, true);
	write_sample(&w);
	expect_text(&w, "{\r\n    \"list\": [\r\n        -9223372036854775808,\r\n"
		    "        18446744073709551615,\r\n        0.10000000000000001,\r\n"
		    "        1e999,\r\n        -1e999,\r\n        null\r\n    ],\r\n"
		    "    \"empty\": {\r\n    },\r\n    \"no\": false,\r\n    \"nothing\": null,\r\n"
		    "    \"raw\": {\r\n        \"a\": [\r\n            1,\r\n            2\r\n"
		    "        ],\r\n        \"b\": \"}\\\",\"\r\n    },\r\n"
		    "    \"\\\"\\u0001\\n\": \"\\u00E9\\uD83D\\uDE00\\u007F/'\"\r\n}\r\n");
}
END_TEST

/* Whatever the bytes are, what is written is a JSON string of ASCII. */
START_TEST(test_write_invalid)
{
	static const struct {
		const char *bytes, *written;
	} cases[] = {
		{ "\x80", "\\uFFFD" }, { "\xff\xfe", "\\uFFFD\\uFFFD" }, { "\xc3", "\\uFFFD" },
		{ "\xe2\x82z", "\\uFFFDz" }, { "\xc0\xaf", "\\uFFFD" }, { "\xc0\x80", "\\u0000" },
		{ "\xed\xa0\x80", "\\uFFFD" }, { "\xf4\x90\x80\x80", "\\uFFFD" },
		{ "\xfc\x84\x80\x80\x80\x80z", "\\uFFFDz" }, { "\xef\xbf\xbe", "\\uFFFD" },
		{ "\xf0\x9f\x98\xc3\xa9", "\\uFFFD\\u00E9" },
	};
	char expected[64];
	struct json_writer w;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		json_writer_init(&w, false);
		json_write_string(&w, NULL, cases[i].bytes);
		ck_assert(oracle_accepts(w.text, w.len));
		snprintf(expected, sizeof(expected), "\"%s\"", cases[i].written);
		expect_text(&w, expected);
	}
}
END_TEST

START_TEST(test_round_trip)
{
	static const char *const texts[] = {
		"[1, -1, 1.5, 1e+22, true, false, null, \"\", \"a\\\"\\\\\\u0000\\u00E9\", [], {}]",
		"{\"a\": {\"b\": {\"c\": [[[[]]], {\"d\": \"\\uD83D\\uDE00\"}]}}, \"\": 0}",
		"0.10000000000000001", "18446744073709551615", "\"x\"",
	};
	const struct json_value *value;
	struct json_writer w;
	struct sink sink;
	size_t i;

	for (i = 0; i < COUNT(texts); i++) {
		value = parse_one(&sink, texts[i]);
		json_writer_init(&w, true);
		json_write_value(&w, NULL, value);
		ck_assert(i == 3 || oracle_equal(w.text, w.len, texts[i], strlen(texts[i])));
		json_writer_free(&w);
		json_writer_init(&w, false);
		json_write_value(&w, NULL, value);
		expect_text(&w, texts[i]);
		forget(&sink);
	}
}
END_TEST

START_TEST(test_writer_no_memory)
{
	struct json_writer w;
	bool failed = true;
	unsigned int n, i;

	for (n = 1; failed; n++) {
		json_writer_init(&w, n % 2);
		alloc_fail_at(n);
		for (i = 0; i < 100; i++)
			write_sample(&w);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_int_eq(w.failed, failed);
		ck_assert(!failed || (!w.text && !w.len));
		json_writer_free(&w);
		ck_assert(!w.failed);
	}
	ck_assert_uint_gt(n, 4);
}
END_TEST

Suite *json_suite(void)
{
	Suite *suite = suite_create("json");
	TCase *tc = tcase_create("json");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_types);
	tcase_add_test(tc, test_numbers);
	tcase_add_test(tc, test_strings);
	tcase_add_test(tc, test_members);
	tcase_add_test(tc, test_duplicates);
	tcase_add_test(tc, test_stop);
	tcase_add_test(tc, test_end);
	tcase_add_loop_test(tc, test_limits, 0, 2);
	tcase_add_test(tc, test_token_count);
	tcase_add_test(tc, test_long_stray);
	tcase_add_test(tc, test_write);
	tcase_add_test(tc, test_write_invalid);
	tcase_add_test(tc, test_round_trip);
	tcase_add_test(tc, test_writer_no_memory);
	suite_add_tcase(suite, tc);
	return suite;
}
