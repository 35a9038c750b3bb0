/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/pidfile.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"

static char directory[] = "/tmp/vmond-pidfile-XXXXXX";
static char path[64];
static struct pidfile pidfile;

static void setup(void)
{
	strcpy(strrchr(directory, '-') + 1, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/pid", directory);
	pidfile = PIDFILE_NONE;
}

static void teardown(void)
{
	pidfile_remove(&pidfile);
	unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void put(const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

static const char *contents(void)
{
	static char text[64];
	FILE *file = fopen(path, "r");

	ck_assert_ptr_nonnull(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static const char *own_pid(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "%d\n", getpid());
	return text;
}

static void refused(const char *reason)
{
	struct error err;
	char text[256];

	ck_assert_int_eq(pidfile_create(&pidfile, path, &err), -1);
	snprintf(text, sizeof(text), "--pidfile %s: %s", path, reason);
	ck_assert_str_eq(err.text, text);
	ck_assert_int_eq(pidfile.fd, -1);
}

START_TEST(test_life)
{
	struct stat st;

	ck_assert_int_eq(pidfile_create(&pidfile, path, NULL), 0);
	ck_assert_str_eq(contents(), own_pid());
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777 & ~0644, 0);
	pidfile_remove(&pidfile);
	ck_assert_int_eq(access(path, F_OK), -1);
	pidfile_remove(&pidfile);
}
END_TEST

START_TEST(test_stale)
{
	static const char *const stale[] = { "", "1", "12345", "99999999999\n" };

	for (size_t i = 0; i < sizeof(stale) / sizeof(stale[0]); i++) {
		put(stale[i]);
		ck_assert_int_eq(pidfile_create(&pidfile, path, NULL), 0);
		ck_assert_str_eq(contents(), own_pid());
		pidfile_remove(&pidfile);
	}
}
END_TEST

START_TEST(test_in_use)
{
	struct pidfile first = PIDFILE_NONE;
	char reason[64];

	ck_assert_int_eq(pidfile_create(&first, path, NULL), 0);
	snprintf(reason, sizeof(reason), "in use by process %d", getpid());
	refused(reason);
	ck_assert_str_eq(contents(), own_pid());
	pidfile_remove(&first);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(test_named_by_mistake)
{
	static const char *const others[] = { "root:x:0:0\n", "12\n34\n", "\n", "12 \n", "-1\n" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		put(others[i]);
		refused("holds something other than a process id; remove it or name another file");
		ck_assert_str_eq(contents(), others[i]);
	}
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refused("not a regular file");
	unlink(path);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	refused("Too many levels of symbolic links");
}
END_TEST

START_TEST(test_not_ours_any_more)
{
	ck_assert_int_eq(pidfile_create(&pidfile, path, NULL), 0);
	unlink(path);
	put("77\n");
	pidfile_remove(&pidfile);
	ck_assert_str_eq(contents(), "77\n");
}
END_TEST

/* What was made in vain goes; what was there stays, unless it was written to already. */
START_TEST(test_calls_fail)
{
	static const char *const calls[] = {
		"open", "fstat", "pread", "flock", "ftruncate", "pwrite",
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		call_fail(calls[i], 1, ENOLCK);
		refused("No locks available");
		ck_assert_int_eq(access(path, F_OK), -1);
		put("77\n");
		call_fail(calls[i], 1, ENOLCK);
		refused("No locks available");
		if (i < 4)
			ck_assert_str_eq(contents(), "77\n");
		else
			ck_assert_int_eq(access(path, F_OK), -1);
		ck_assert_int_eq(pidfile_create(&pidfile, path, NULL), 0);
		pidfile_remove(&pidfile);
	}
}
END_TEST

/* It goes, and with it what was locked, between two looks at it. */
START_TEST(test_taken_over)
{
	put("77\n");
	call_fail("lstat", 1, ENOENT);
	ck_assert_int_eq(pidfile_create(&pidfile, path, NULL), 0);
	ck_assert(call_has_failed());
	ck_assert_str_eq(contents(), own_pid());
}
END_TEST

Suite *pidfile_suite(void)
{
	Suite *suite = suite_create("pidfile");
	TCase *tc = tcase_create("pidfile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_life);
	tcase_add_test(tc, test_stale);
	tcase_add_test(tc, test_in_use);
	tcase_add_test(tc, test_named_by_mistake);
	tcase_add_test(tc, test_not_ours_any_more);
	tcase_add_test(tc, test_calls_fail);
	tcase_add_test(tc, test_taken_over);
	suite_add_tcase(suite, tc);
	return suite;
}
