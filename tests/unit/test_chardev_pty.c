/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/chardev_internal.h"
#include "tests/unit/chardev_bed.h"
#include "tests/unit/suites.h"

/* The serial port on a pseudo terminal, and those who open it and close it again. */

static void setup(void)
{
	bed_setup();
	bed_open("pty");
	bed_settle();
}

static int open_client(int access)
{
	int fd = open(chardev_pty_name(bed.chardev), access | O_NOCTTY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Reads `len` bytes as they come. */
static void read_client(int fd, uint8_t *bytes, size_t len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (len) {
		event_base_loop(bed.base, EVLOOP_NONBLOCK);
		if (poll(&pfd, 1, 5) <= 0)
			continue;
		n = read(fd, bytes, len);
		ck_assert_int_gt(n, 0);
		bytes += n;
		len -= n;
	}
}

static void expect_client(int fd, const char *text)
{
	uint8_t bytes[64];
	size_t len = strlen(text);

	read_client(fd, bytes, len);
	ck_assert_mem_eq(bytes, text, len);
	bed_settle();
	ck_assert_int_eq(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0), 0);
}

/* A hangup is there until somebody comes: whoever waits for it to go away would spin. */
static bool input_is_watched(void)
{
	return event_pending(bed.chardev->read_event, EV_READ, NULL);
}

static void expect_raw(int fd)
{
	struct termios modes;

	ck_assert_int_eq(tcgetattr(fd, &modes), 0);
	ck_assert_uint_eq(modes.c_lflag & (ICANON | ECHO | ISIG), 0);
	ck_assert_uint_eq(modes.c_iflag & (ICRNL | IXON), 0);
	ck_assert_uint_eq(modes.c_oflag & OPOST, 0);
}

START_TEST(test_name)
{
	ck_assert_int_eq(strncmp(chardev_pty_name(bed.chardev), "/dev/pts/", 9), 0);
	bed_free_chardev();
	bed_open("null");
	ck_assert_ptr_null(chardev_pty_name(bed.chardev));
}
END_TEST

START_TEST(test_backlog_and_raw_bytes)
{
	int fd;

	bed_transmit("one\n");
	bed_settle();
	bed_transmit("\3two\r");
	ck_assert(!input_is_watched());
	fd = open_client(O_RDWR);
	expect_raw(fd);
	expect_client(fd, "one\n\3two\r");
	ck_assert_int_eq(write(fd, "a\3\r\4\1x", 6), 6);
	bed_expect_eaten("a\3\r\4\1x");
	ck_assert_uint_eq(bed.quits, 0);
	bed_transmit("three\n");
	expect_client(fd, "three\n");
	ck_assert_uint_eq(bed.log_lines, 0);
	close(fd);
}
END_TEST

START_TEST(test_backlog_is_bounded)
{
	static uint8_t bytes[CHARDEV_QUEUE_SIZE];
	int fd;

	bed_transmit_stream(0, CHARDEV_QUEUE_SIZE + 10000, 1000);
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 0);
	fd = open_client(O_RDONLY);
	read_client(fd, bytes, sizeof(bytes));
	bed_expect_stream(bytes, 10000, CHARDEV_QUEUE_SIZE);
	bed_settle();
	ck_assert_str_eq(bed.last_log, "serial pty: 10000 bytes of output were dropped");
	close(fd);
}
END_TEST

START_TEST(test_closed_and_opened_again)
{
	struct termios modes;
	int fd;

	for (int round = 0; round < 3; round++) {
		fd = open_client(O_RDWR);
		expect_raw(fd);
		bed_transmit("hello");
		expect_client(fd, round ? "awayhello" : "hello");
		if (round != 1) {
			ck_assert_int_eq(tcgetattr(fd, &modes), 0);
			modes.c_lflag |= ICANON | ECHO | ISIG;
			ck_assert_int_eq(tcsetattr(fd, TCSANOW, &modes), 0);
		}
		close(fd);
		/* Output before the loop has seen that nobody is there is kept as well. */
		if (round != 1)
			bed_settle();
		bed_transmit("away");
		bed_settle();
		ck_assert(!input_is_watched());
	}
	ck_assert_uint_eq(bed.log_lines, 0);
	ck_assert_uint_eq(bed.eaten_len, 0);
}
END_TEST

/* Somebody is there again before the loop has seen that nobody was. */
START_TEST(test_quick_change)
{
	int fd = open_client(O_RDWR);

	bed_transmit("one");
	expect_client(fd, "one");
	close(fd);
	bed_transmit("two");
	fd = open_client(O_RDWR);
	expect_client(fd, "two");
	ck_assert_int_eq(write(fd, "in", 2), 2);
	bed_expect_eaten("in");
	close(fd);
}
END_TEST

START_TEST(test_say_and_go)
{
	int fd = open_client(O_WRONLY);

	ck_assert_int_eq(write(fd, "bye", 3), 3);
	close(fd);
	bed_expect_eaten("bye");
	bed_settle();
	ck_assert(!input_is_watched());
}
END_TEST

START_TEST(test_guest_that_does_not_listen)
{
	int fd = open_client(O_RDWR);

	bed.appetite = 1;
	ck_assert_int_eq(write(fd, "abc", 3), 3);
	bed_expect_eaten("a");
	ck_assert(!input_is_watched());
	bed_transmit("one");
	expect_client(fd, "one");
	ck_assert_int_eq(write(fd, "def", 3), 3);
	close(fd);
	/* That it is closed is seen although nothing is read. */
	while (bed.chardev->write_event)
		event_base_loop(bed.base, EVLOOP_ONCE);
	bed_transmit("two");
	bed_settle();
	fd = open_client(O_RDWR);
	expect_client(fd, "two");
	ck_assert(!input_is_watched());
	bed.appetite = SIZE_MAX;
	chardev_receive_ready(bed.chardev);
	bed_expect_eaten("abcdef");
	ck_assert_int_eq(write(fd, "g", 1), 1);
	bed_expect_eaten("abcdefg");
	close(fd);
}
END_TEST

Suite *chardev_pty_suite(void)
{
	Suite *suite = suite_create("chardev_pty");
	TCase *tc = tcase_create("chardev_pty");

	tcase_add_checked_fixture(tc, setup, bed_teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, test_name);
	tcase_add_test(tc, test_backlog_and_raw_bytes);
	tcase_add_test(tc, test_backlog_is_bounded);
	tcase_add_test(tc, test_closed_and_opened_again);
	tcase_add_test(tc, test_quick_change);
	tcase_add_test(tc, test_say_and_go);
	tcase_add_test(tc, test_guest_that_does_not_listen);
	suite_add_tcase(suite, tc);
	return suite;
}
