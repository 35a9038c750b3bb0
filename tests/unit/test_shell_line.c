/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor/shell/line.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"

/* What is shown above a line that is being edited; the editing itself takes a terminal. */

static struct loop loop;
static struct line *line;
static struct style style;
static int out_fd, saved;

static void setup(void)
{
	static const struct line_hooks hooks;
	struct error err;

	/* No history: there is no place for one. */
	setenv("XDG_STATE_HOME", "/dev/null", 1);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	out_fd = memfd_create("output", MFD_CLOEXEC);
	ck_assert_int_eq(dup2(out_fd, STDOUT_FILENO), STDOUT_FILENO);
	ck_assert_int_eq(loop_init(&loop, false, NULL), 0);
	alloc_fail_at(1);
	ck_assert_ptr_null(line_new(&loop, &hooks, &style, &err));
	ck_assert_str_eq(err.text, "out of memory for the line");
	line = line_new(&loop, &hooks, &style, &err);
	ck_assert_msg(line, "%s", err.text);
}

static void teardown(void)
{
	line_free(line);
	loop_free(&loop);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(out_fd);
}

/* What has come out since the last look. */
static const char *shown(void)
{
	static char text[100];
	static off_t at;
	ssize_t n = pread(out_fd, text, sizeof(text) - 1, at);

	ck_assert_int_ge(n, 0);
	at += n;
	text[n] = '\0';
	return text;
}

START_TEST(test_no_memory)
{
	alloc_fail_at(1);
	line_show(line, "lost\n", 5);
	ck_assert(alloc_has_failed());
	ck_assert_str_eq(shown(), "(5 bytes of output were dropped)\n");
	line_show(line, "here\n", 5);
	ck_assert_str_eq(shown(), "here\n");
}
END_TEST

/* While something else is on the screen there is an end to what is kept. */
START_TEST(test_held)
{
	char *much = malloc(1 << 20);

	memset(much, 'x', 1 << 20);
	line_hold(line);
	line_show(line, "first\n", 6);
	line_show(line, much, 1 << 20);
	line_show(line, "last\n", 5);
	ck_assert_str_eq(shown(), "");
	line_flush(line);
	ck_assert_str_eq(shown(), "first\nlast\n(1048576 bytes of output were dropped)\n");
	free(much);
}
END_TEST

Suite *shell_line_suite(void)
{
	Suite *suite = suite_create("shell_line");
	TCase *tc = tcase_create("shell_line");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_no_memory);
	tcase_add_test(tc, test_held);
	suite_add_tcase(suite, tc);
	return suite;
}
