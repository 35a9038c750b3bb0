/* SPDX-License-Identifier: MIT */
#include "tests/unit/chardev_bed.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/log.h"

struct chardev_bed bed;

static size_t on_receive(void *opaque, const uint8_t *bytes, size_t len)
{
	(void)opaque;
	if (len > bed.appetite)
		len = bed.appetite;
	bed.appetite -= len;
	ck_assert_uint_le(bed.eaten_len + len, sizeof(bed.eaten));
	memcpy(bed.eaten + bed.eaten_len, bytes, len);
	bed.eaten_len += len;
	return len;
}

static void on_quit(void *opaque)
{
	(void)opaque;
	bed.quits++;
}

void bed_wake(void *opaque)
{
	uint64_t one = 1;

	(void)opaque;
	ck_assert_int_eq(write(bed.wake_fd, &one, sizeof(one)), sizeof(one));
}

static void on_wake(evutil_socket_t fd, short what, void *opaque)
{
	uint64_t count;

	(void)what;
	(void)opaque;
	ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
	chardev_dispatch(bed.chardev);
}

static void on_log(enum log_level level, const char *line)
{
	size_t dropped;

	if (level > LOG_LEVEL_WARNING)
		return;
	bed.log_lines++;
	if (sscanf(line, "serial %*s %zu bytes", &dropped) == 1)
		bed.log_dropped += dropped;
	snprintf(bed.last_log, sizeof(bed.last_log), "%s", line);
}

void bed_setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(bed.directory, "/tmp/vmond-chardev-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(bed.directory));
	bed.saved_stdin = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	bed.saved_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	bed.base = event_base_new();
	bed.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	bed.wake_event = event_new(bed.base, bed.wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
	event_add(bed.wake_event, NULL);
	log_set_sink(on_log, LOG_LEVEL_DEBUG);
	bed.appetite = SIZE_MAX;
	bed.eaten_len = 0;
	bed.quits = bed.log_lines = 0;
	bed.log_dropped = 0;
	bed.last_log[0] = '\0';
	bed.chardev = NULL;
	bed.path = NULL;
}

void bed_teardown(void)
{
	chardev_free(bed.chardev);
	event_free(bed.wake_event);
	event_base_free(bed.base);
	close(bed.wake_fd);
	dup2(bed.saved_stdin, STDIN_FILENO);
	dup2(bed.saved_stdout, STDOUT_FILENO);
	close(bed.saved_stdin);
	close(bed.saved_stdout);
	log_set_sink(NULL, LOG_LEVEL_INFO);
	if (bed.path)
		unlink(bed.path);
	ck_assert_int_eq(rmdir(bed.directory), 0);
}

int bed_try_open(const char *what, struct error *err)
{
	static char name[128];
	struct chardev_config config = {
		.address = what,
		.name = name,
		.base = bed.base,
		.receive = on_receive,
		.quit = on_quit,
		.wake = bed_wake,
	};

	snprintf(name, sizeof(name), "serial %s", what);
	bed.chardev = chardev_new(&config, err);
	return bed.chardev ? chardev_start(bed.chardev, err) : -1;
}

void bed_open(const char *what)
{
	struct error err;

	ck_assert_msg(bed_try_open(what, &err) == 0, "%s", err.text);
}

const char *bed_address(const char *kind)
{
	snprintf(bed.address, sizeof(bed.address), "%s:%s/port", kind, bed.directory);
	bed.path = strchr(bed.address, ':') + 1;
	return bed.address;
}

/* A pass may make work for the next. */
void bed_settle(void)
{
	for (int pass = 0; pass < 8; pass++)
		event_base_loop(bed.base, EVLOOP_NONBLOCK);
}

void bed_transmit(const char *text)
{
	chardev_transmit(bed.chardev, (const uint8_t *)text, strlen(text));
}

static uint8_t stream_at(size_t i)
{
	return i ^ i >> 8 ^ i >> 16;
}

void bed_transmit_stream(size_t from, size_t to, size_t step)
{
	uint8_t bytes[8192];
	size_t i, n;

	ck_assert_uint_le(step, sizeof(bytes));
	for (; from < to; from += n) {
		n = to - from < step ? to - from : step;
		for (i = 0; i < n; i++)
			bytes[i] = stream_at(from + i);
		chardev_transmit(bed.chardev, bytes, n);
	}
}

void bed_expect_stream(const uint8_t *bytes, size_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != stream_at(from + i))
			ck_abort_msg("differs at %zu of %zu", i, len);
}

size_t bed_read_available(int fd, uint8_t *bytes, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	for (;;) {
		bed_settle();
		if (poll(&pfd, 1, 0) <= 0)
			return len;
		ck_assert_uint_lt(len, size);
		n = read(fd, bytes + len, size - len);
		if (n <= 0)
			return len;
		len += n;
	}
}

void bed_expect_text(int fd, const char *text)
{
	uint8_t bytes[256];
	size_t len = bed_read_available(fd, bytes, sizeof(bytes));

	ck_assert_uint_eq(len, strlen(text));
	ck_assert_mem_eq(bytes, text, len);
}

void bed_expect_eaten(const char *text)
{
	while (bed.eaten_len < strlen(text))
		event_base_loop(bed.base, EVLOOP_ONCE);
	bed_settle();
	ck_assert_uint_eq(bed.eaten_len, strlen(text));
	ck_assert_mem_eq(bed.eaten, text, bed.eaten_len);
}

void bed_free_chardev(void)
{
	chardev_free(bed.chardev);
	bed.chardev = NULL;
}
