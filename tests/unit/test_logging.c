/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/logging.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"

static const struct {
	const char *text, *escaped;
} cases[] = {
	{ "", "" },
	{ "plain \\ text ~", "plain \\ text ~" },
	{ "a\nb\tc\rd", "a\\nb\\tc\\rd" },
	{ "\x1b[2J\x7f\x01", "\\x1b[2J\\x7f\\x01" },
	/* UTF-8 stays: two, three and four bytes. */
	{ "J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x90\xa7",
	  "J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x90\xa7" },
	/* CSI as one character of Latin 1; a byte alone; cut short; too long a form; surrogate. */
	{ "\xc2\x9b", "\\xc2\\x9b" },
	{ "\x9b\xff", "\\x9b\\xff" },
	{ "\xe2\x82", "\\xe2\\x82" },
	{ "\xc0\x8a\xe0\x83\xbf", "\\xc0\\x8a\\xe0\\x83\\xbf" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
};

START_TEST(test_escape)
{
	char out[256];

	ck_assert_uint_eq(logging_escape(out, sizeof(out), cases[_i].text),
			  strlen(cases[_i].escaped));
	ck_assert_str_eq(out, cases[_i].escaped);
}
END_TEST

START_TEST(test_escape_cuts)
{
	char out[8];

	/* No half escapes, no half characters. */
	ck_assert_uint_eq(logging_escape(out, 8, "12345678"), 7);
	ck_assert_str_eq(out, "1234567");
	ck_assert_uint_eq(logging_escape(out, 8, "1234\x01"), 4);
	ck_assert_str_eq(out, "1234");
	ck_assert_uint_eq(logging_escape(out, 8, "123\x01"), 7);
	ck_assert_uint_eq(logging_escape(out, 8, "123456\xc3\xbc"), 6);
	ck_assert_uint_eq(logging_escape(out, 1, "x"), 0);
	ck_assert_str_eq(out, "");
}
END_TEST

static int saved_stderr, log_fd;

static void setup(void)
{
	int fds[2];

	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	log_fd = fds[0];
}

static void teardown(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_fd);
	log_set_sink(NULL, LOG_LEVEL_INFO);
}

static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(log_fd, text, sizeof(text) - 1);

	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	return text;
}

START_TEST(test_lines)
{
	logging_init(NULL, LOG_LEVEL_INFO);
	log_debug("not shown");
	log_info("it is\x1b %d", 1);
	ck_assert_str_eq(logged(), "vmond: info: it is\\x1b 1\n");
	logging_init("web", LOG_LEVEL_ERROR);
	log_warning("not shown");
	log_error("bad\n");
	ck_assert_str_eq(logged(), "vmond[web]: error: bad\\n\n");
}
END_TEST

/* Nobody reads: nothing waits, and what was lost is counted. */
START_TEST(test_stalled_reader)
{
	char text[8192], last[128] = "";
	unsigned int sent = 0, lost = 0, lines = 0;
	ssize_t n;

	logging_init(NULL, LOG_LEVEL_INFO);
	for (; sent < 10000; sent++)
		log_info("line %u", sent);
	fcntl(log_fd, F_SETFL, O_NONBLOCK);
	while ((n = read(log_fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	ck_assert_uint_lt(lines, sent);
	log_info("there is room again");
	n = read(log_fd, last, sizeof(last) - 1);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(sscanf(last, "vmond: info: there is room again\n"
				"vmond: warning: %u earlier log lines were lost\n", &lost), 1);
	ck_assert_uint_eq(lines + lost, sent);
}
END_TEST

/* A line that can not be written is counted too, and so is the line that tells of it. */
START_TEST(test_writes_fail)
{
	logging_init(NULL, LOG_LEVEL_INFO);
	call_fail("write", 1, EIO);
	log_info("first");
	call_fail("write", 2, EIO);
	log_info("second");
	ck_assert(call_has_failed());
	ck_assert_str_eq(logged(), "vmond: info: second\n");
	log_info("third");
	ck_assert_str_eq(logged(), "vmond: info: third\n"
			 "vmond: warning: 1 earlier log lines were lost\n");
	log_info("fourth");
	ck_assert_str_eq(logged(), "vmond: info: fourth\n");
}
END_TEST

/* What the system's log is told, in place of telling it. */
static char syslog_text[8192];
static int syslog_priority;

void __wrap_syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_openlog(const char *ident, int option, int facility);

void __wrap_syslog(int priority, const char *format, ...)
{
	va_list args;

	syslog_priority = priority;
	va_start(args, format);
	vsnprintf(syslog_text, sizeof(syslog_text), format, args);
	va_end(args);
}

void __wrap_openlog(const char *ident, int option, int facility)
{
	ck_assert_str_eq(ident, "vmond");
	ck_assert_int_eq(option, LOG_PID);
	ck_assert_int_eq(facility, LOG_DAEMON);
}

START_TEST(test_syslog)
{
	logging_init("a %s", LOG_LEVEL_WARNING);
	logging_use_syslog();
	log_info("not shown");
	ck_assert_str_eq(syslog_text, "");
	log_warning("two\nlines, %s", "%n");
	ck_assert_str_eq(syslog_text, "a %s: two\\nlines, %n");
	ck_assert_int_eq(syslog_priority, LOG_WARNING);
	logging_init(NULL, LOG_LEVEL_DEBUG);
	logging_use_syslog();
	log_error("bad");
	ck_assert_str_eq(syslog_text, "bad");
	ck_assert_int_eq(syslog_priority, LOG_ERR);
	log_debug("detail");
	ck_assert_int_eq(syslog_priority, LOG_DEBUG);
}
END_TEST

Suite *logging_suite(void)
{
	Suite *suite = suite_create("logging");
	TCase *tc = tcase_create("escape");

	tcase_add_loop_test(tc, test_escape, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, test_escape_cuts);
	suite_add_tcase(suite, tc);
	tc = tcase_create("stderr");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_lines);
	tcase_add_test(tc, test_stalled_reader);
	tcase_add_test(tc, test_writes_fail);
	tcase_add_test(tc, test_syslog);
	suite_add_tcase(suite, tc);
	return suite;
}
