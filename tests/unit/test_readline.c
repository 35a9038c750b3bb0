/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "monitor/hmp.h"
#include "monitor/readline.h"
#include "tests/unit/suites.h"

/* Keys in, the line out, and what a terminal shows of it. */

static struct readline r;
static struct text show;

static void setup(void)
{
	memset(&r, 0, sizeof(r));
	memset(&show, 0, sizeof(show));
}

static void teardown(void)
{
	readline_free(&r);
	text_free(&show);
}

static enum readline_result type(const char *keys, size_t len)
{
	enum readline_result result = READLINE_MORE;
	size_t used = 0;

	while (used < len && result == READLINE_MORE)
		used += readline_feed(&r, keys + used, len - used, &show, &result);
	ck_assert_uint_eq(used, len);
	return result;
}

/* The bytes that QEMU 7.2 sends for these keys, one at a time. */
START_TEST(test_as_qemu_shows)
{
	static const struct {
		const char *key, *shown;
	} steps[] = {
		{ "i", "i\033[K" },
		{ "n", "\033[Din\033[K" },
		{ "x", "\033[D\033[Dinx\033[K" },
		{ "\177", "\033[D\033[D\033[Din\033[K" },
		{ "\033[D", "\033[D" },
		{ "\001", "\033[D" },
		{ "a", "ain\033[K\033[D\033[D" },
		{ "\033[C", "\033[C" },
		{ "\004", "\033[D\033[Dai\033[K" },
		{ "\b", "\033[D\033[Da\033[K" },
		{ "\003", "" },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		type(steps[i].key, strlen(steps[i].key));
		ck_assert_msg(strcmp(show.len ? show.bytes : "", steps[i].shown) == 0, "%zu: %s", i,
			      show.bytes);
		text_free(&show);
	}
}
END_TEST

static const struct {
	const char *keys, *line;
} edits[] = {
	{ "info status\n", "info status" },
	{ "info status\r", "info status" },
	{ "\n", "" },
	{ "ab\033[Dc\n", "acb" },
	{ "ab\033[D\033[D\033[D\033[Dc\n", "cab" },
	{ "ab\033[C\033[Cc\n", "abc" },
	{ "abc\033[H\033[3~\n", "bc" },
	{ "abc\033[1~x\033[4~y\n", "xabcy" },
	{ "abc\033OHx\033OFy\n", "xabcy" },
	{ "abc\002\002\006x\n", "abxc" },
	{ "abc def\001\033[C\013\n", "a" },
	{ "abc def\002\025\n", "f" },
	{ "one two  \027x\n", "one x" },
	{ "one\027\027\n", "" },
	{ "abc\010\010\010\010\010x\n", "x" },
	{ "ab\033[99;5~c\n", "abc" },           /* keys that mean nothing here */
	{ "ab\033Oqc\033xd\033[\001e\n", "abcde" },
	{ "a\001\002\003", NULL },
	{ "a\033[12345678901234567890~b\n", "ab" },
	{ "\303\244\303\266\177x\n", "\303\244x" },     /* of UTF-8 a whole character */
	{ "\303\244\033[Dx\n", "x\303\244" },
	{ "a\001\002b\005c\n", "bac" },
};

START_TEST(test_edit)
{
	enum readline_result result = type(edits[_i].keys, strlen(edits[_i].keys));

	ck_assert_int_eq(result, edits[_i].line ? READLINE_LINE : READLINE_ABORT);
	if (edits[_i].line)
		ck_assert_str_eq(r.line, edits[_i].line);
}
END_TEST

START_TEST(test_line_ends)
{
	enum readline_result result;

	/* One line each, however it ends, and in whatever pieces that comes. */
	ck_assert_uint_eq(readline_feed(&r, "a\r\nb\n\n", 6, &show, &result), 2);
	ck_assert_int_eq(result, READLINE_LINE);
	readline_next(&r, false);
	ck_assert_uint_eq(readline_feed(&r, "\nb\n\n", 4, &show, &result), 3);
	ck_assert_str_eq(r.line, "b");
	readline_next(&r, false);
	ck_assert_uint_eq(readline_feed(&r, "\n", 1, &show, &result), 1);
	ck_assert_int_eq(result, READLINE_LINE);
	ck_assert_str_eq(r.line, "");
	/* ^D ends an empty line only. */
	readline_next(&r, false);
	ck_assert_int_eq(type("a\004", 2), READLINE_MORE);
	ck_assert_int_eq(type("\177\004", 2), READLINE_END);
}
END_TEST

START_TEST(test_limits)
{
	char keys[2 * READLINE_MAX];

	memset(keys, 'x', sizeof(keys));
	ck_assert_int_eq(type(keys, sizeof(keys)), READLINE_MORE);
	ck_assert_uint_eq(r.len, READLINE_MAX);
	/* As long as what came, not as its square. */
	ck_assert_uint_le(show.len, sizeof(keys));
	text_free(&show);
	type("\001", 1);
	ck_assert_uint_eq(show.len, 3 * READLINE_MAX);
	ck_assert_int_eq(type("y\n", 2), READLINE_LINE);
	ck_assert_uint_eq(strlen(r.line), READLINE_MAX);
	ck_assert_int_eq(r.line[0], 'x');
}
END_TEST

static void enter(const char *line)
{
	ck_assert_int_eq(type(line, strlen(line)), READLINE_LINE);
	readline_next(&r, true);
}

START_TEST(test_history)
{
	char line[READLINE_MAX + 2], expected[16];
	size_t total = 0;
	int i;

	type("\033[A\033[B", 6);
	ck_assert_uint_eq(r.len, 0);
	enter("one\n");
	enter("one\n");
	enter("\n");
	enter("two\n");
	ck_assert_uint_eq(r.nr_history, 2);
	type("x\033[A\020\020", 6);
	ck_assert_int_eq(type("!\n", 2), READLINE_LINE);
	ck_assert_str_eq(r.line, "one!");
	readline_next(&r, true);
	type("\033[A\033[A\033[B\016\n", 11);
	ck_assert_str_eq(r.line, "");
	readline_next(&r, true);

	for (i = 0; i < 2 * READLINE_HISTORY; i++) {
		snprintf(line, sizeof(line), "%d\n", i);
		enter(line);
	}
	ck_assert_uint_eq(r.nr_history, READLINE_HISTORY);
	snprintf(expected, sizeof(expected), "%d", READLINE_HISTORY);
	ck_assert_str_eq(r.history[0], expected);

	/* Nor more bytes than that. */
	memset(line, 'x', READLINE_MAX);
	strcpy(line + READLINE_MAX - 4, "0\n");
	for (i = 0; i < 10; i++) {
		line[0] = (char)('0' + i);
		enter(line);
	}
	for (i = 0; i < (int)r.nr_history; i++)
		total += strlen(r.history[i]);
	ck_assert_uint_eq(total, r.history_bytes);
	ck_assert_uint_le(total, READLINE_HISTORY_BYTES);
	ck_assert_uint_gt(total, READLINE_HISTORY_BYTES - READLINE_MAX);
}
END_TEST

/* Behind a prompt that was printed in the middle of a line. */
START_TEST(test_shown_again)
{
	type("abc\033[D", 6);
	text_free(&show);
	readline_show(&r, true, &show);
	ck_assert_str_eq(show.bytes, "abc\033[K\033[D");
	text_free(&show);
	type("\025\013", 2);
	text_free(&show);
	readline_show(&r, true, &show);
	ck_assert_uint_eq(show.len, 0);
}
END_TEST

static const struct {
	const char *line, *more, *candidates;
} completions[] = {
	{ "info statu", "s ", "status\n" },
	{ "info sta", "t", "stats\nstatus\n" },
	{ "system_", "", "system_powerdown\nsystem_reset\n" },
	{ "system_p", "owerdown ", "system_powerdown\n" },
	{ "migrate_s", "et_", "migrate_set_capability\nmigrate_set_parameter\n" },
	{ "  inf", "o ", "info\n" },
	{ "help info  ver", "sion ", "version\n" },
	{ "help sto", "p ", "stop\n" },
	{ "? sto", "p ", "stop\n" },
	{ "zzz", "", NULL },
	{ "zzz in", "", NULL },
	{ "stop in", "", NULL },
	{ "info status in", "", NULL },
};

START_TEST(test_completion)
{
	struct text candidates = { 0 };
	char more[64];
	size_t len = hmp_complete(completions[_i].line, strlen(completions[_i].line), more,
				  sizeof(more), &candidates);

	ck_assert_uint_eq(len, strlen(completions[_i].more));
	ck_assert_int_eq(memcmp(more, completions[_i].more, len), 0);
	if (completions[_i].candidates)
		ck_assert_str_eq(candidates.bytes, completions[_i].candidates);
	else
		ck_assert_uint_eq(candidates.len, 0);
	text_free(&candidates);
}
END_TEST

Suite *readline_suite(void)
{
	Suite *suite = suite_create("readline");
	TCase *tc = tcase_create("readline");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_as_qemu_shows);
	tcase_add_loop_test(tc, test_edit, 0, sizeof(edits) / sizeof(edits[0]));
	tcase_add_test(tc, test_line_ends);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_history);
	tcase_add_test(tc, test_shown_again);
	tcase_add_loop_test(tc, test_completion, 0, sizeof(completions) / sizeof(completions[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
