/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/print.h"
#include "monitor/shell/progress.h"
#include "monitor/shell/watch.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/shell_fixture.h"
#include "tests/unit/suites.h"

static const struct style plain, narrow = { .width = 20 }, coloured = { .colour = true };

static void setup(void)
{
	ck_assert_ptr_nonnull(setlocale(LC_CTYPE, "C.UTF-8"));
	escape_use_utf8(true);
}

static void check_escape(void (*escape)(struct text *, const char *, size_t), const char *s,
			 size_t len, const char *expected)
{
	struct text text = { 0 };

	escape(&text, s, len);
	ck_assert_str_eq(text.bytes, expected);
	text_free(&text);
}

#define LINE(s, expected)  check_escape(escape_line, s, sizeof(s) - 1, expected)
#define BLOCK(s, expected) check_escape(escape_block, s, sizeof(s) - 1, expected)

START_TEST(test_escape)
{
	LINE("plain ~", "plain ~");
	LINE("a\nb\tc\rd", "a\\nb\\tc\\rd");
	LINE("\033]0;title\007\177", "\\x1b]0;title\\x07\\x7f");
	LINE("\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac");
	/* C1 controls, direction, no width, surrogates, what is no UTF-8, U+0000 as C0 80. */
	LINE("\xc2\x9b", "\\u009b");
	LINE("\xe2\x80\xae", "\\u202e");
	LINE("\xe2\x80\x8b", "\\u200b");
	LINE("\xf3\xa0\x80\x81", "\\U000e0001");
	LINE("\xff\xed\xa0\x80", "\\xff\\xed\\xa0\\x80");
	LINE("\xc0\x80", "\\x00");
	BLOCK("a\r\nb\tc\033\rd\r", "a\nb\tc\\x1b\\rd\\r");
	escape_use_utf8(false);
	LINE("\xc3\xa4", "\\u00e4");
}
END_TEST

START_TEST(test_columns)
{
	ck_assert_uint_eq(escape_columns("abc", 3), 3);
	ck_assert_uint_eq(escape_columns("\xc3\xa4", 2), 1);
	ck_assert_uint_eq(escape_columns("\xe4\xb8\xad", 3), 2);
}
END_TEST

static void check_value(const struct style *style, const char *json, const char *expected)
{
	struct json_value value = shell_fixture_value(json);
	struct text text = { 0 };

	print_value(&text, style, &value);
	ck_assert(!text.failed);
	ck_assert_str_eq(text.len ? text.bytes : "", expected);
	text_free(&text);
	json_clear(&value);
}

START_TEST(test_objects)
{
	check_value(&plain, "{}", "");
	check_value(&plain, "[]", "[]\n");
	check_value(&plain, "5", "5\n");
	check_value(&plain, "'a\\u001bb'", "a\\x1bb\n");
	check_value(&plain, "'a\\nb\\u001b'", "a\nb\\x1b\n");
	check_value(&plain, "{'status': 'paused', 'n': 0.1, 'u': 18446744073709551615}",
		    "status: paused\nn:      0.1\nu:      18446744073709551615\n");
	check_value(&plain, "{'qemu': {'major': 7}, 'empty': {}, 's': '', 'l': [1, 2], 'e': []}",
		    "qemu:\n  major: 7\nempty: {}\ns:     \"\"\nl:     1, 2\ne:     []\n");
	check_value(&plain, "{'a\\u001b': null, 'b': true}", "a\\x1b: null\nb:     true\n");
	check_value(&plain, "{'human-readable-text': 'a\\r\\nb\\r\\n'}", "a\nb\n");
	check_value(&plain, "{'t': 'a\\nb', 'u': 1}", "t:\na\nb\nu: 1\n");
	check_value(&coloured, "{'a': 1}", "\033[36ma\033[0m: \033[33m1\033[0m\n");
}
END_TEST

START_TEST(test_hex)
{
	check_value(&plain, "{'rax': 255, 'gs-base': -1, 'cr3': 0, 'size': 255, 'RIP': 16}",
		    "rax:     0xff\ngs-base: 0xffffffffffffffff\ncr3:     0x0\nsize:    255\n"
		    "RIP:     0x10\n");
	check_value(&plain, "{'index': 16, 'value': 17}", "index: 0x10\nvalue: 0x11\n");
	check_value(&plain, "{'index': 16, 'size': 17}", "index: 16\nsize:  17\n");
	check_value(&plain, "{'base': 16, 'limit': 65535}", "base:  0x10\nlimit: 0xffff\n");
	check_value(&plain, "{'limit': 65535}", "limit: 65535\n");
	check_value(&plain, "{'db': [0, 16]}", "db: 0x0, 0x10\n");
}
END_TEST

START_TEST(test_tables)
{
	check_value(&plain, "[{'n': 1, 'name': 'a', 'props': {'core-id': 0}},"
		    " {'n': 20, 'name': 'long name', 'extra': [1, 2]}]",
		    "name        n  props.core-id  extra\n"
		    "a           1              0  -\n"
		    "long name  20              -  1, 2\n");
	check_value(&plain, "[{'a': '\xe4\xb8\xad', 'b': 'x'}, {'a': 'y', 'b': '\\u001b'}]",
		    "a   b\n\xe4\xb8\xad  x\ny   \\x1b\n");
	/* Not alike, or too wide: one below the other. */
	check_value(&plain, "[{'a': [{'b': 1}]}, {'a': 2}]", "a:\n  b\n  1\n\na: 2\n");
	check_value(&narrow, "[{'a': 'aaaaaaaaaa', 'b': 'bbbbbbbbbb'}, {'a': 'c'}]",
		    "a: aaaaaaaaaa\nb: bbbbbbbbbb\n\na: c\n");
	check_value(&plain, "[{'x\\u001b': 1}]", "x\\x1b: 1\n");
	check_value(&plain, "['a', 5, null]", "a\n5\nnull\n");
}
END_TEST

/* Every depth the parser lets through, without a line as long as it is deep. */
START_TEST(test_deep)
{
	enum { DEPTH = 1000 };
	char json[DEPTH * 6 + 20] = "";
	struct json_value value;
	struct text text = { 0 };

	for (int i = 0; i < DEPTH; i++)
		strcat(json, i % 2 ? "[1, " : "{'a':");
	strcat(json, "1");
	for (int i = DEPTH - 1; i >= 0; i--)
		strcat(json, i % 2 ? "]" : "}");
	value = shell_fixture_value(json);
	print_value(&text, &plain, &value);
	ck_assert(!text.failed);
	ck_assert_uint_lt(text.len, 200000);
	text_free(&text);
	json_clear(&value);
}
END_TEST

START_TEST(test_json)
{
	struct json_value value = shell_fixture_value("{'a': ['b\\\"\\u001b', -1, true], 'c': {}}");
	struct text text = { 0 };

	print_json(&text, &plain, &value);
	ck_assert_str_eq(text.bytes, "{\n    \"a\": [\n        \"b\\\"\\u001B\",\n        -1,\n"
			 "        true\n    ],\n    \"c\": {\n    }\n}\n");
	text_free(&text);
	print_json(&text, &coloured, &value);
	ck_assert_ptr_nonnull(strstr(text.bytes, "\033[36m\"a\"\033[0m: ["));
	ck_assert_ptr_nonnull(strstr(text.bytes, "\033[32m\"b\\\"\\u001B\"\033[0m,"));
	text_free(&text);
	json_clear(&value);
}
END_TEST

static void check_event(const char *json, const char *expected)
{
	struct json_value value = shell_fixture_value(json);
	struct text text = { 0 };

	print_event(&text, &plain, &value);
	ck_assert_str_eq(text.bytes, expected);
	text_free(&text);
	json_clear(&value);
}

START_TEST(test_events)
{
	setenv("TZ", "XXX-2", 1);
	tzset();
	check_event("{'event': 'STOP', 'timestamp': {'seconds': 3600, 'microseconds': 12999}}",
		    "03:00:00.012 STOP\n");
	check_event("{'event': 'RESET', 'data': {'guest': true, 'reason': 'a b'},"
		    " 'timestamp': {'seconds': -1, 'microseconds': -1}}",
		    "--:--:--.--- RESET guest=true reason=a b\n");
	check_event("{'event': 'X\\u001b', 'data': {'a': {'b': 1}, 'c': [{'d': '\\u001b'}]}}",
		    "--:--:--.--- X\\x1b a.b=1 "
		    "{\"a\": {\"b\": 1}, \"c\": [{\"d\": \"\\u001B\"}]}\n");
	check_event("{'event': 'Y', 'data': 5}", "--:--:--.--- Y 5\n");
}
END_TEST

static void check_marks(const char *before, const char *now, const char *expected)
{
	struct style style = { .colour = true, .width = 20 };
	struct text text = { 0 };

	watch_mark(&text, &style, before, now, 3);
	ck_assert_str_eq(text.bytes, expected);
	text_free(&text);
}

#define MARK(s) "\033[7m" s "\033[0m"

START_TEST(test_marks)
{
	check_marks(NULL, "RAX=1 RBX=2\n", "RAX=1 RBX=2\n");
	check_marks("RAX=1 RBX=2\n", "RAX=1 RBX=2\n", "RAX=1 RBX=2\n");
	check_marks("RAX=1 RBX=2\n", "RAX=1 RBX=3\n", "RAX=1 RBX=" MARK("3") "\n");
	check_marks("a\n", "a\nb c\n", "a\n" MARK("b") " " MARK("c") "\n");
	check_marks("", "a", MARK("a") "\n");
	check_marks("a b\n", "a\n", "a\n");
	/* Cut at the width, and at the number of lines. */
	check_marks(NULL, "1\tabcdefghijklmnopqrstuvwxyz\n2\n3\n4\n",
		    "1       abcdefghijkl\n2\n3\n");
	/* A tab goes to the next column that is a multiple of 8, whatever characters are there. */
	check_marks(NULL, "\u00e4\u00f6\u00fc\tx\ty\n", "\u00e4\u00f6\u00fc     x       y\n");
}
END_TEST

static struct progress read_progress(enum work_kind kind, const char *json)
{
	struct progress p = { .looked_ms = 1000, .moved = 0 };
	struct json_value value = shell_fixture_value(json);

	progress_read(&p, kind, &value, "j0", 2000);
	json_clear(&value);
	return p;
}

START_TEST(test_progress)
{
	struct progress p;
	struct text text = { 0 };
	struct style style = { .width = 80 };

	p = read_progress(WORK_MIGRATION, "{}");
	ck_assert_int_eq(p.state, PROGRESS_NONE);
	p = read_progress(WORK_MIGRATION, "{'status': 'failed', 'error-desc': 'no'}");
	ck_assert_int_eq(p.state, PROGRESS_FAILED);
	ck_assert_str_eq(p.reason, "no");
	p = read_progress(WORK_MIGRATION, "{'status': 'cancelled'}");
	ck_assert_int_eq(p.state, PROGRESS_FAILED);
	p = read_progress(WORK_JOB, "[{'id': 'j1', 'status': 'running'}]");
	ck_assert_int_eq(p.state, PROGRESS_DONE);
	p = read_progress(WORK_JOB, "[{'id': 'j0', 'status': 'concluded', 'error': 'disk'}]");
	ck_assert_int_eq(p.state, PROGRESS_FAILED);
	p = read_progress(WORK_DUMP, "{'status': 'active', 'completed': 5, 'total': 4}");
	ck_assert_int_eq(p.state, PROGRESS_RUNNING);
	ck_assert_uint_eq(p.done, 4);

	/* Nothing but job-complete or job-finalize gets these further. */
	p = read_progress(WORK_JOB, "[{'id': 'j0', 'status': 'ready'}]");
	ck_assert_int_eq(p.state, PROGRESS_DONE);
	p = read_progress(WORK_JOB, "[{'id': 'j0', 'status': 'pending'}]");
	ck_assert_int_eq(p.state, PROGRESS_DONE);

	p = read_progress(WORK_MIGRATION, "{'status': 'active', 'ram': {'total': 104857600,"
			  " 'remaining': 78643200, 'transferred': 26214400}}");
	progress_print_bar(&text, &style, "migrate", &p);
	ck_assert_str_eq(text.bytes, "migrate: [####>............]  25%  25.0 MiB of 100.0 MiB  "
			 "25.0 MiB/s  0:03 left");
	ck_assert_uint_lt(text.len, style.width);
	text_free(&text);
	p = read_progress(WORK_MIGRATION, "{'status': 'setup'}");
	progress_print_bar(&text, &style, "migrate", &p);
	ck_assert_str_eq(text.bytes, "migrate: setup");
	text_free(&text);
	p = read_progress(WORK_MIGRATION, "{'status': '\\u001b[m'}");
	progress_print_bar(&text, &style, "migrate", &p);
	ck_assert_str_eq(text.bytes, "migrate: \\x1b[m");
	text_free(&text);
}
END_TEST

static void read_event(struct progress *p, enum work_kind kind, const char *json)
{
	struct json_value value = shell_fixture_value(json);

	progress_read_event(p, kind, &value, "j0");
	json_clear(&value);
}

START_TEST(test_progress_events)
{
	struct progress p;

	p = read_progress(WORK_DUMP, "{'status': 'failed', 'completed': 0, 'total': 4}");
	read_event(&p, WORK_DUMP, "{'result': {}}");
	ck_assert_str_eq(p.reason, "failed");
	read_event(&p, WORK_DUMP, "{'result': {}, 'error': 'no space'}");
	ck_assert_str_eq(p.reason, "no space");
	/* A job that is gone: whether it has failed was told before. */
	p = read_progress(WORK_JOB, "[]");
	read_event(&p, WORK_JOB, "{'id': 'j1', 'status': 'aborting'}");
	read_event(&p, WORK_JOB, "{'id': 'j0', 'status': 'running'}");
	ck_assert_int_eq(p.state, PROGRESS_DONE);
	read_event(&p, WORK_JOB, "{'id': 'j0', 'status': 'aborting'}");
	ck_assert_int_eq(p.state, PROGRESS_FAILED);
}
END_TEST

START_TEST(test_no_memory)
{
	struct json_value value = shell_fixture_value("[{'a': 1, 'b': {'c': 'x'}}, {'d': [1]}]");
	unsigned int n;
	bool failed;

	for (n = 1;; n++) {
		struct text text = { 0 };

		alloc_fail_at(n);
		print_value(&text, &coloured, &value);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		text_free(&text);
		if (!failed)
			break;
	}
	ck_assert_uint_gt(n, 1);
	json_clear(&value);
}
END_TEST

Suite *shell_print_suite(void)
{
	Suite *suite = suite_create("shell_print");
	TCase *tcase = tcase_create("print");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, test_escape);
	tcase_add_test(tcase, test_columns);
	tcase_add_test(tcase, test_objects);
	tcase_add_test(tcase, test_hex);
	tcase_add_test(tcase, test_tables);
	tcase_add_test(tcase, test_deep);
	tcase_add_test(tcase, test_json);
	tcase_add_test(tcase, test_events);
	tcase_add_test(tcase, test_marks);
	tcase_add_test(tcase, test_progress);
	tcase_add_test(tcase, test_progress_events);
	tcase_add_test(tcase, test_no_memory);
	suite_add_tcase(suite, tcase);
	return suite;
}
