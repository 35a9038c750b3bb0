/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/chardev_bed.h"
#include "tests/unit/suites.h"

static int connect_client(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, bed.path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

START_TEST(test_unix_backlog)
{
	size_t total = CHARDEV_QUEUE_SIZE + 777, len;
	uint8_t *bytes = malloc(total);
	struct stat st;
	int client;

	bed_open(bed_address("unix"));
	ck_assert_int_eq(stat(bed.path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	/* Nobody there: the latest 64 KiB are kept, and that is no news. */
	bed_transmit_stream(0, total, 1000);
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 0);
	client = connect_client();
	len = bed_read_available(client, bytes, total);
	ck_assert_uint_eq(len, CHARDEV_QUEUE_SIZE);
	bed_expect_stream(bytes, 777, len);
	ck_assert_uint_eq(bed.log_lines, 1);
	ck_assert_ptr_nonnull(strstr(bed.last_log, ": 777 bytes of output were dropped"));

	bed_transmit("live");
	bed_expect_text(client, "live");
	close(client);
	bed_settle();
	bed_transmit("while nobody looks");
	bed_settle();
	client = connect_client();
	bed_expect_text(client, "while nobody looks");
	/* Gone, and the guest notices first. */
	close(client);
	bed_transmit("lost to nobody");
	bed_settle();
	client = connect_client();
	bed_expect_text(client, "lost to nobody");
	close(client);
	ck_assert_uint_eq(bed.log_lines, 1);
	bed_free_chardev();
	ck_assert_int_eq(access(bed.path, F_OK), -1);
	free(bytes);
}
END_TEST

START_TEST(test_unix_one_at_a_time)
{
	int first, second;

	bed_open(bed_address("unix"));
	first = connect_client();
	bed_settle();
	second = connect_client();
	ck_assert_int_eq(write(second, "2", 1), 1);
	bed_transmit("to the first");
	bed_expect_text(second, "");
	bed_expect_text(first, "to the first");
	ck_assert_int_eq(write(first, "1", 1), 1);
	bed_expect_eaten("1");
	close(first);
	bed_settle();
	bed_transmit("to the second");
	bed_expect_text(second, "to the second");
	bed_expect_eaten("12");
	close(second);
}
END_TEST

START_TEST(test_unix_slow_client)
{
	size_t total = 1 << 20, len;
	uint8_t *bytes = malloc(total);
	int client;

	bed_open(bed_address("unix"));
	client = connect_client();
	bed_settle();
	bed_transmit_stream(0, total, 4096);
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 1);
	len = bed_read_available(client, bytes, total);
	ck_assert_uint_ge(len, CHARDEV_QUEUE_SIZE + 4096);
	ck_assert_uint_lt(len, total);
	bed_expect_stream(bytes, 0, len - CHARDEV_QUEUE_SIZE);
	bed_expect_stream(bytes + len - CHARDEV_QUEUE_SIZE, total - CHARDEV_QUEUE_SIZE,
		      CHARDEV_QUEUE_SIZE);
	ck_assert_uint_eq(bed.log_lines, 2);
	close(client);
	free(bytes);
}
END_TEST

/* A guest that takes nothing must not hold a dead client's place. */
START_TEST(test_unix_leaves_while_stalled)
{
	char more[10001], all[sizeof(more) + 7];
	int client;

	memset(more, 'm', sizeof(more) - 1);
	more[sizeof(more) - 1] = '\0';
	snprintf(all, sizeof(all), "reboot\n%s", more);
	bed_open(bed_address("unix"));
	bed.appetite = 0;
	client = connect_client();
	ck_assert_int_eq(write(client, "reboot\n", 7), 7);
	if (_i)
		bed_transmit("unread when it leaves");
	bed_settle();
	close(client);
	bed_settle();
	client = connect_client();
	bed_transmit("hello");
	bed_settle();
	ck_assert_int_eq(write(client, more, sizeof(more) - 1), sizeof(more) - 1);
	bed_expect_text(client, "hello");
	bed_expect_eaten("");
	bed.appetite = SIZE_MAX;
	chardev_receive_ready(bed.chardev);
	bed_expect_eaten(all);
	close(client);
}
END_TEST

START_TEST(test_unix_last_words)
{
	static const char words[] = "echo and go away\n";
	int client;

	bed_open(bed_address("unix"));
	client = connect_client();
	bed_settle();
	ck_assert_int_eq(write(client, words, strlen(words)), (ssize_t)strlen(words));
	close(client);
	/* The echo fails first; what was sent before is input all the same. */
	bed_transmit("e");
	bed_expect_eaten(words);
	client = connect_client();
	bed_expect_text(client, "e");
	close(client);
}
END_TEST

START_TEST(test_unix_path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct chardev *first;
	struct error err;
	int fd;

	bed_open(bed_address("unix"));
	first = bed.chardev;
	ck_assert_int_eq(bed_try_open(bed.address, &err), -1);
	bed.chardev = first;
	ck_assert_str_eq(err.text, "in use by another process; stop that or choose another path");
	ck_assert_int_eq(access(bed.path, F_OK), 0);
	bed_free_chardev();

	/* What a killed process leaves behind. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, bed.path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	bed_open(bed.address);
	close(connect_client());
	bed_free_chardev();

	/* A file that somebody else has put there meanwhile is not ours to remove. */
	bed_open(bed.address);
	unlink(bed.path);
	close(open(bed.path, O_WRONLY | O_CREAT, 0600));
	bed_free_chardev();
	ck_assert_int_eq(access(bed.path, F_OK), 0);

	ck_assert_int_eq(bed_try_open(bed.address, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "the path exists and is no socket; "));
	ck_assert_int_eq(access(bed.path, F_OK), 0);
}
END_TEST

Suite *chardev_unix_suite(void)
{
	Suite *suite = suite_create("chardev_unix");
	TCase *tc = tcase_create("chardev_unix");

	tcase_add_checked_fixture(tc, bed_setup, bed_teardown);
	tcase_add_test(tc, test_unix_backlog);
	tcase_add_test(tc, test_unix_one_at_a_time);
	tcase_add_test(tc, test_unix_slow_client);
	tcase_add_loop_test(tc, test_unix_leaves_while_stalled, 0, 2);
	tcase_add_test(tc, test_unix_last_words);
	tcase_add_test(tc, test_unix_path);
	suite_add_tcase(suite, tc);
	return suite;
}
