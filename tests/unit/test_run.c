/* SPDX-License-Identifier: MIT */
#include "daemon/run.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"
#include "tests/unit/system_kvm.h"

/*
 * The whole role run, on the fake kernel: one machine after the other in this process, each with
 * everything that a command line can ask for, and each told to end before it begins.
 */
static char directory[32];
static struct options options;
static int devnull, pipes[2];

static void remove_all(void)
{
	static const char *const names[] = { "monitor", "serial", "pid" };
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
}

static const struct {
	const char *serial, *monitor, *more[3];
} configurations[] = {
	{ "unix:%s/serial", "unix:%s/monitor", { "--paused", "--cpu=host", "--smp=2,sockets=2" } },
	{ "pty", "unix:%s/monitor", { "--paused", "--cpus=2" } },
	{ "file:/dev/null", "unix:%s/monitor", { "--no-shutdown", "--no-reboot", "--cpus=2" } },
	{ "null", "stdio", { "--incoming=defer", "--cpus=2" } },
	{ "stdio", "unix:%s/monitor,mode=readline", { "--paused", "--cpus=2" } },
};

static void parse(unsigned int n)
{
	char monitor[64], port[64], pid[64];
	char *argv[20] = {
		(char *)"--monitor", monitor, (char *)"--serial", port, (char *)"--pidfile", pid,
		(char *)"--memory=2M", (char *)"--name=run", (char *)"--generation-id=auto",
		(char *)"--monitor-allow=uid:0", (char *)"--log-level=error",
	};
	struct error err = { .text = "" };
	int argc = 11;

	snprintf(monitor, sizeof(monitor), configurations[n].monitor, directory);
	snprintf(port, sizeof(port), configurations[n].serial, directory);
	snprintf(pid, sizeof(pid), "%s/pid", directory);
	for (int i = 0; i < 3 && configurations[n].more[i]; i++)
		argv[argc++] = (char *)configurations[n].more[i];
	ck_assert_msg(options_parse(&options, argc, argv, &err) == OPTIONS_OK, "%s", err.text);
}

static void setup(void)
{
	strcpy(directory, "/tmp/vmond-run-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* What is logged is not looked at here, and somebody else has the rest. */
	ck_assert_int_eq(dup2(devnull, STDERR_FILENO), STDERR_FILENO);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(pipes[0], STDIN_FILENO), STDIN_FILENO);
	ck_assert_int_eq(dup2(pipes[1], STDOUT_FILENO), STDOUT_FILENO);
}

static void teardown(void)
{
	close(devnull);
	close(pipes[0]);
	close(pipes[1]);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* From its beginning to its end.  Nothing may be left behind, however it ends. */
static int once(struct error *err)
{
	unsigned int before = open_descriptors();
	struct fake_kvm *fake;
	sigset_t term;
	int rc;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &term, NULL), 0);
	raise(SIGTERM);
	alloc_exempt_begin();
	fake = fake_kvm_new();
	system_kvm_set(fake);
	alloc_exempt_end();
	*err = (struct error){ .code = 0 };
	rc = run_vm(&options, err);
	alloc_exempt_begin();
	ck_assert_str_eq(fake_kvm_violations(fake), "");
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	system_kvm_set(NULL);
	fake_kvm_free(fake);
	/* When it ends, what can not be looked at is left: it may be somebody else's by now. */
	if (rc == 0 && call_has_failed())
		remove_all();
	ck_assert_uint_eq(count_entries(directory), 0);
	ck_assert_uint_eq(open_descriptors(), before);
	/* It said why, in one line. */
	ck_assert_msg(rc == 0 || rc == -1, "%d", rc);
	ck_assert_msg(rc == 0 || (*err->text && !strchr(err->text, '\n')), "%s", err->text);
	alloc_exempt_end();
	return rc;
}

START_TEST(test_no_memory)
{
	struct error err;
	unsigned int n = 0, failures = 0;
	int rc;

	parse(_i);
	ck_assert_int_eq(once(&err), 0);
	do {
		alloc_fail_at(++n);
		rc = once(&err);
		failures += rc < 0;
		if (rc < 0)
			ck_assert_msg(err.code == ENOMEM, "%u: %s", n, err.text);
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_gt(failures, 30);
	options_free(&options);
}
END_TEST

START_TEST(test_calls_fail)
{
	static const struct {
		const char *call;
		unsigned int failures;  /* at least: what a machine can not begin without */
	} cases[] = {
		{ "open", 1 }, { "fstat", 1 }, { "lstat", 1 }, { "pread", 1 }, { "pwrite", 1 },
		{ "ftruncate", 1 }, { "flock", 1 }, { "fchmod", 1 }, { "eventfd", 1 },
		{ "signalfd", 1 }, { "socket", 1 }, { "bind", 1 }, { "listen", 1 },
		{ "event_add", 3 }, { "mmap", 4 }, { "pthread_create", 2 }, { "getrandom", 1 },
	};
	struct error err;

	parse(_i);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned int n = 0, failures = 0;

		do {
			call_fail(cases[i].call, ++n, ENOMEM);
			if (once(&err) < 0) {
				ck_assert_msg(err.code == ENOMEM, "%s %u: %s", cases[i].call, n,
					      err.text);
				failures++;
			}
		} while (call_has_failed());
		call_fail(cases[i].call, 0, 0);
		/* The first has everything that there is. */
		ck_assert_msg(_i || failures >= cases[i].failures, "%s: %u", cases[i].call,
			      failures);
	}
	options_free(&options);
}
END_TEST

Suite *run_suite(void)
{
	Suite *suite = suite_create("run");
	TCase *tc = tcase_create("run");
	int n = sizeof(configurations) / sizeof(configurations[0]);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_no_memory, 0, n);
	tcase_add_loop_test(tc, test_calls_fail, 0, n);
	suite_add_tcase(suite, tc);
	return suite;
}
