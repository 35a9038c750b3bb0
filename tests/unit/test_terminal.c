/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/terminal.h"
#include "tests/unit/suites.h"

/* The terminal's modes, with a process that leads a session of its own on it. */

static int master, slave;
static struct termios before;

static void setup(void)
{
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(master, 0);
	ck_assert(grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(slave, 0);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
}

static void teardown(void)
{
	close(slave);
	close(master);
}

static bool is_as_before(void)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	return now.c_iflag == before.c_iflag && now.c_lflag == before.c_lflag &&
	       now.c_cflag == before.c_cflag && !memcmp(now.c_cc, before.c_cc, sizeof(now.c_cc));
}

/* Takes the terminal, and tells by the pipe that it has it. */
static void take_terminal(int tell)
{
	struct rlimit none = { 0, 0 };
	int fd;

	setrlimit(RLIMIT_CORE, &none);
	setsid();
	/* Whoever leads a session and has no terminal yet gets this one. */
	fd = open(ptsname(master), O_RDWR);
	if (fd < 0 || !terminal_take(fd, true) || !terminal_grab())
		_exit(1);
	if (write(tell, "", 1) != 1)
		_exit(2);
}

/* By which signal it has ended. */
static int end_by(int sig)
{
	int tell[2], wait[2], status;
	char byte;
	pid_t pid;

	ck_assert(pipe(tell) == 0 && pipe(wait) == 0);
	pid = fork();
	if (pid == 0) {
		close(wait[1]);
		signal(SIGUSR2, SIG_IGN);
		signal(sig, SIG_DFL);   /* Check has a use for some */
		take_terminal(tell[1]);
		(void)!read(wait[0], &byte, 1);
		raise(SIGUSR2);
		raise(sig);
		_exit(3);
	}
	ck_assert_int_eq(read(tell[0], &byte, 1), 1);
	ck_assert(!is_as_before());
	close(wait[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(wait[0]);
	close(tell[0]);
	close(tell[1]);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static const int fatal[] = { SIGQUIT, SIGABRT, SIGALRM, SIGUSR1, SIGXCPU, SIGTRAP, SIGSYS };

START_TEST(test_fatal_signals)
{
	ck_assert_int_eq(end_by(fatal[_i]), fatal[_i]);
	ck_assert(is_as_before());
}
END_TEST

START_TEST(test_no_terminal)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert(!terminal_take(fd, false));
	ck_assert(!terminal_grab());
	terminal_release();
	close(fd);
}
END_TEST

Suite *terminal_suite(void)
{
	Suite *suite = suite_create("terminal");
	TCase *tc = tcase_create("terminal");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_fatal_signals, 0, sizeof(fatal) / sizeof(fatal[0]));
	tcase_add_test(tc, test_no_terminal);
	suite_add_tcase(suite, tc);
	return suite;
}
