/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/call_fail.h"
#include "tests/unit/chardev_bed.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"

/* Memory and calls that fail, when a backend is opened and when somebody comes to it. */

static const char *const backends[] = { "file", "unix", "pty", "stdio" };

static const char *address_of(const char *backend)
{
	return strcmp(backend, "file") && strcmp(backend, "unix") ? backend : bed_address(backend);
}

START_TEST(test_open)
{
	static const char *const what[] = {
		NULL, "open", "fcntl", "fstat", "socket", "bind", "listen", "posix_openpt",
		"tcgetattr", "tcsetattr", "event_add",
	};
	const char *address = address_of(backends[_i]);
	unsigned int before, failures = 0;
	struct error err;
	int fds[2];

	/* Standard input and output have to be something that can be put back. */
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	dup2(fds[0], STDIN_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	bed_open(address);
	bed_free_chardev();
	before = open_descriptors();
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		unsigned int n = 0;

		do {
			fail_at(what[i], ++n, ENOMEM);
			if (bed_try_open(address, &err) < 0) {
				ck_assert_msg(strstr(err.text, "annot allocate memory") ||
					      strstr(err.text, "out of memory"), "%s", err.text);
				failures++;
			}
			bed_free_chardev();
			ck_assert_uint_eq(open_descriptors(), before);
			ck_assert(!strcmp(backends[_i], "file") || !bed.path ||
				  access(bed.path, F_OK) < 0);
		} while (fail_end());
	}
	ck_assert_uint_ge(failures, 4);
	bed_open(address);
	bed_free_chardev();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int connect_client(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, bed.path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/*
 * What is there for a client at last, who may have to wait for the listener's next look.  By calls
 * that nothing here lets fail.
 */
static void await_text(int fd, const char *text)
{
	const struct timespec while_looking = { .tv_nsec = 5000000 };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char bytes[64];
	struct iovec iov = { bytes, sizeof(bytes) };

	while (ppoll(&pfd, 1, &while_looking, NULL) == 0)
		ck_assert_int_ge(event_base_loop(bed.base, EVLOOP_NONBLOCK), 0);
	ck_assert_int_eq(readv(fd, &iov, 1), (ssize_t)strlen(text));
	ck_assert_mem_eq(bytes, text, strlen(text));
}

START_TEST(test_accept_later)
{
	int client;

	bed_open(bed_address("unix"));
	bed_transmit("hello");
	client = connect_client();
	call_fail("accept4", 1, EMFILE);
	bed_settle();
	ck_assert(call_has_failed());
	ck_assert_uint_eq(bed.log_lines, 1);
	ck_assert_ptr_nonnull(strstr(bed.last_log, ": can not accept a client: Too many open files"));
	/* It waits in the backlog, and the loop does not spin meanwhile. */
	ck_assert_uint_eq(event_base_get_num_events(bed.base, EVENT_BASE_COUNT_ACTIVE), 0);
	await_text(client, "hello");
	ck_assert_uint_eq(bed.log_lines, 1);
	/* When it has gone nobody may be listened to at first. */
	call_fail("event_add", 1, ENOMEM);
	close(client);
	bed_settle();
	ck_assert(call_has_failed());
	ck_assert_ptr_nonnull(strstr(bed.last_log, ": can not listen: Cannot allocate memory"));
	bed_transmit("again");
	client = connect_client();
	await_text(client, "again");
	close(client);
}
END_TEST

/* A client that can not be served is turned away, and the next one is served. */
START_TEST(test_client)
{
	static const char *const what[] = { NULL, "fcntl", "event_add" };
	unsigned int before;

	bed_open(bed_address("unix"));
	before = open_descriptors();
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		unsigned int n = 0, turned_away = 0;

		for (;;) {
			struct pollfd pfd = { .events = POLLIN };
			bool failed;
			char byte;

			pfd.fd = connect_client();
			fail_at(what[i], ++n, ENOMEM);
			bed_settle();
			if (poll(&pfd, 1, 0) > 0) {
				ck_assert_int_eq(read(pfd.fd, &byte, 1), 0);
				ck_assert_ptr_nonnull(strstr(bed.last_log, "emory"));
				turned_away++;
			}
			close(pfd.fd);
			bed_settle();
			failed = fail_end();
			ck_assert_uint_eq(open_descriptors(), before);
			pfd.fd = connect_client();
			bed_transmit("served");
			await_text(pfd.fd, "served");
			close(pfd.fd);
			bed_settle();
			if (!failed)
				break;
		}
		ck_assert_uint_gt(turned_away, 0);
	}
}
END_TEST

/* The system has no room for a moment: the client is there, and what comes later reaches it. */
START_TEST(test_no_room)
{
	int client;

	bed_open(bed_address("unix"));
	client = connect_client();
	bed_settle();
	call_fail("write", 1, ENOBUFS);
	bed_transmit("lost");
	bed_settle();
	ck_assert_str_eq(strstr(bed.last_log, "port: ") + 6,
			 "No buffer space available; output is being dropped");
	bed_transmit("later");
	bed_expect_text(client, "later");
	ck_assert_str_eq(strstr(bed.last_log, "port: ") + 6, "4 bytes of output were dropped");
	close(client);
}
END_TEST

/* More at once than the queue holds. */
START_TEST(test_one_large_piece)
{
	size_t total = CHARDEV_QUEUE_SIZE + 777, len, i;
	uint8_t *bytes = malloc(total);
	int client;

	bed_open(bed_address("unix"));
	bed_transmit("before");
	for (i = 0; i < total; i++)
		bytes[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	chardev_transmit(bed.chardev, bytes, total);
	client = connect_client();
	len = bed_read_available(client, bytes, total);
	ck_assert_uint_eq(len, CHARDEV_QUEUE_SIZE);
	bed_expect_stream(bytes, 777, len);
	ck_assert_ptr_nonnull(strstr(bed.last_log, ": 783 bytes of output were dropped"));
	close(client);
	free(bytes);
}
END_TEST

/* Whoever opens the terminal is noticed a moment later than he would be, and that is all. */
START_TEST(test_pty)
{
	static const char *const what[] = {
		NULL, "poll", "fcntl", "tcgetattr", "tcsetattr", "event_add",
	};
	unsigned int before;

	bed_open("pty");
	bed_settle();
	before = open_descriptors();
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		unsigned int n = 0;
		bool failed;

		do {
			int fd = open(chardev_pty_name(bed.chardev), O_RDWR | O_NOCTTY | O_CLOEXEC);
			size_t eaten = bed.eaten_len;

			ck_assert_int_ge(fd, 0);
			fail_at(what[i], ++n, ENOMEM);
			ck_assert_int_eq(write(fd, "in", 2), 2);
			while (bed.eaten_len < eaten + 2)
				ck_assert_int_eq(event_base_loop(bed.base, EVLOOP_ONCE), 0);
			bed_transmit("out");
			await_text(fd, "out");
			close(fd);
			while (open_descriptors() > before)
				ck_assert_int_eq(event_base_loop(bed.base, EVLOOP_ONCE), 0);
			failed = fail_end();
			/* The second is a timer, without which nothing can be looked at again. */
		} while (failed && (!what[i] || strcmp(what[i], "event_add")));
	}
}
END_TEST

Suite *chardev_fail_suite(void)
{
	Suite *suite = suite_create("chardev_fail");
	TCase *tc = tcase_create("chardev_fail");

	tcase_add_checked_fixture(tc, bed_setup, bed_teardown);
	tcase_add_loop_test(tc, test_open, 0, sizeof(backends) / sizeof(backends[0]));
	tcase_add_test(tc, test_accept_later);
	tcase_add_test(tc, test_client);
	tcase_add_test(tc, test_no_room);
	tcase_add_test(tc, test_one_large_piece);
	tcase_add_test(tc, test_pty);
	suite_add_tcase(suite, tc);
	return suite;
}
