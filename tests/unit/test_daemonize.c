/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemonize.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"

/*
 * A process that goes to the background, and then `background` in what comes back.  It says on its
 * standard error whatever anybody says; *said is that, up to the end of all of them.  Returns the
 * status of the foreground process, which is the one that somebody waits for.
 */
static char said[1024];

static int in_background(void (*background)(int rc, const struct error *err))
{
	size_t used = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct error err = { .text = "" };
		int rc;

		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		rc = daemonize_begin(&err);
		background(rc, &err);
		_exit(99);
	}
	close(fds[1]);
	while ((n = read(fds[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void complain(const struct error *err)
{
	dprintf(STDERR_FILENO, "%s\n", err->text);
	_exit(1);
}

/* As a machine that could be started, and that says so if it can. */
static void get_ready(int rc, const struct error *err)
{
	struct error own = { .text = "" };

	if (rc < 0)
		complain(err);
	if (daemonize_ready(&own) < 0)
		complain(&own);
	_exit(0);
}

static void end_with_7(int rc, const struct error *err)
{
	(void)rc;
	(void)err;
	dprintf(STDERR_FILENO, "why\n");
	_exit(7);
}

static void end_with_0(int rc, const struct error *err)
{
	(void)rc;
	(void)err;
	_exit(0);
}

static void be_killed(int rc, const struct error *err)
{
	(void)rc;
	(void)err;
	raise(SIGKILL);
}

START_TEST(test_statuses)
{
	ck_assert_int_eq(in_background(get_ready), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(in_background(end_with_7), 7);
	ck_assert_str_eq(said, "why\n");
	/* An end is not what it was to come to. */
	ck_assert_int_eq(in_background(end_with_0), 1);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(in_background(be_killed), 1);
	ck_assert_str_eq(said, "vmond: --daemonize: the background process died before it was "
			 "ready: Killed\n");
}
END_TEST

/* As a script that has another child, and becomes vmond, which can not start the machine. */
START_TEST(test_children_of_others)
{
	int fds[2], status;
	pid_t pid;
	char byte;

	/* The other child lives until this process closes its end: when vmond's has ended. */
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			close(fds[1]);
			_exit(read(fds[0], &byte, 1) < 0);
		}
		close(fds[0]);
		close(fds[1]);
		daemonize_begin(NULL);
		_exit(3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	close(fds[1]);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

START_TEST(test_begin_fails)
{
	static const struct {
		const char *call;
		unsigned int n;
		const char *said;
	} cases[] = {
		{ "pipe2", 1, "--daemonize: pipe: Cannot allocate memory\n" },
		{ "fork", 1, "--daemonize: fork: Cannot allocate memory\n" },
		{ "fork", 2, "--daemonize: fork: Cannot allocate memory\n" },
		{ "open", 1, "/dev/null: Cannot allocate memory\n" },
		{ "dup2", 1, "/dev/null: Cannot allocate memory\n" },
		{ "dup2", 2, "/dev/null: Cannot allocate memory\n" },
		{ "dup2", 3, "/dev/null: Cannot allocate memory\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* The one that makes the process is the first; so is the dup2() in it. */
		bool is_own = !strcmp(cases[i].call, "fork") || !strcmp(cases[i].call, "dup2");

		call_fail(cases[i].call, cases[i].n + is_own, ENOMEM);
		ck_assert_int_eq(in_background(get_ready), 1);
		ck_assert_str_eq(said, cases[i].said);
	}
	call_fail("fork", 0, 0);
}
END_TEST

/* Each of the calls that a signal may interrupt, once in each process. */
START_TEST(test_interrupted)
{
	static const char *const calls[] = { "read", "waitpid" };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct error err;

			call_fail(calls[i], 1, EINTR);
			_exit(daemonize_begin(&err) < 0 ? 98 : 5);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), 5);
	}
}
END_TEST

Suite *daemonize_suite(void)
{
	Suite *suite = suite_create("daemonize");
	TCase *tc = tcase_create("daemonize");

	tcase_add_test(tc, test_statuses);
	tcase_add_test(tc, test_children_of_others);
	tcase_add_test(tc, test_begin_fails);
	tcase_add_test(tc, test_interrupted);
	suite_add_tcase(suite, tc);
	return suite;
}
