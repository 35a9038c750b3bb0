/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/chardev_bed.h"
#include "tests/unit/suites.h"

#define PIPE_BYTES 65536

/* Puts pipes in the place of standard input and output; theirs[] are the test's ends. */
static void pipes_for_stdio(int theirs[2])
{
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	close(in[0]);
	close(out[1]);
	theirs[0] = out[0];
	theirs[1] = in[1];
}

START_TEST(test_addresses)
{
	char longest[4 + 1 + 108 + 1] = "unix:";
	struct error err;

	ck_assert_int_eq(chardev_check_address("stdio", &err), 0);
	ck_assert_int_eq(chardev_check_address("null", &err), 0);
	ck_assert_int_eq(chardev_check_address("pty", &err), 0);
	ck_assert_int_eq(chardev_check_address("pty:", &err), -1);
	ck_assert_int_eq(chardev_check_address("file:a:b", &err), 0);
	ck_assert_int_eq(chardev_check_address("nullx", &err), -1);
	ck_assert_int_eq(chardev_check_address("", &err), -1);
	memset(longest + 5, 'a', 107);
	ck_assert_int_eq(chardev_check_address(longest, &err), 0);
	longest[5 + 107] = 'a';
	ck_assert_int_eq(chardev_check_address(longest, &err), -1);
	ck_assert_str_eq(err.text, "the path of a socket can have 107 bytes at most");
}
END_TEST

START_TEST(test_null)
{
	bed_open("null");
	bed_transmit("gone");
	chardev_receive_ready(bed.chardev);
	bed_settle();
	ck_assert_uint_eq(bed.eaten_len, 0);
}
END_TEST

START_TEST(test_file)
{
	uint8_t bytes[16];
	struct stat st;
	int fd;

	bed_address("file");
	bed_open(bed.address);
	bed_transmit("on");
	bed_transmit("e\n");
	fd = open(bed.path, O_RDONLY);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(read(fd, bytes, sizeof(bytes)), 4);
	ck_assert_mem_eq(bytes, "one\n", 4);
	close(fd);
	bed_free_chardev();

	bed_open(bed.address);
	ck_assert_int_eq(stat(bed.path, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}
END_TEST

START_TEST(test_file_errors)
{
	struct error err;

	bed_open("file:/dev/full");
	bed_transmit("12345");
	bed_transmit("678");
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 1);
	ck_assert_str_eq(bed.last_log,
			 "serial file:/dev/full: No space left on device; output is being dropped");
	bed_free_chardev();
	ck_assert_str_eq(bed.last_log, "serial file:/dev/full: 8 bytes of output were dropped");

	ck_assert_int_eq(bed_try_open("file:/nonexistent/x", &err), -1);
	ck_assert_str_eq(err.text, "can not be opened: "
			 "No such file or directory");
	bed_address("file");
	ck_assert_int_eq(mkfifo(bed.path, 0600), 0);
	ck_assert_int_eq(bed_try_open(bed.address, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "a FIFO that nobody reads"));
}
END_TEST

START_TEST(test_pipe_at_once)
{
	int theirs[2];
	char byte;

	pipes_for_stdio(theirs);
	bed_open("stdio");
	/* The loop does not run between the two. */
	bed_transmit("A");
	ck_assert_int_eq(read(theirs[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'A');
	/* The pipe that others may share stays as it was. */
	ck_assert_int_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	close(theirs[0]);
	close(theirs[1]);
}
END_TEST

START_TEST(test_slow_reader)
{
	static const size_t steps[] = { 1, 16, 4096, 8192 };
	size_t total = PIPE_BYTES + CHARDEV_QUEUE_SIZE + 10000, len;
	uint8_t *bytes = malloc(total);
	int theirs[2];

	pipes_for_stdio(theirs);
	bed_open("stdio");
	/* Nothing is lost while pipe and queue have room... */
	bed_transmit_stream(0, PIPE_BYTES + CHARDEV_QUEUE_SIZE, steps[_i]);
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 0);
	/* ...and then the oldest that is not in the pipe yet. */
	bed_transmit_stream(PIPE_BYTES + CHARDEV_QUEUE_SIZE, total, steps[_i]);
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 1);
	ck_assert_str_eq(bed.last_log, "serial stdio: does not take output fast enough; "
			 "output is being dropped");
	len = bed_read_available(theirs[0], bytes, total);
	ck_assert_uint_eq(len, PIPE_BYTES + CHARDEV_QUEUE_SIZE);
	bed_expect_stream(bytes, 0, PIPE_BYTES);
	bed_expect_stream(bytes + PIPE_BYTES, PIPE_BYTES + 10000, CHARDEV_QUEUE_SIZE);
	ck_assert_uint_eq(bed.log_lines, 2);
	ck_assert_str_eq(bed.last_log, "serial stdio: 10000 bytes of output were dropped");
	/* From here on as if nothing had been. */
	bed_transmit("after");
	bed_expect_text(theirs[0], "after");
	ck_assert_uint_eq(bed.log_lines, 2);
	close(theirs[0]);
	close(theirs[1]);
	free(bytes);
}
END_TEST

START_TEST(test_reader_gone)
{
	int theirs[2];

	pipes_for_stdio(theirs);
	bed_open("stdio");
	close(theirs[0]);
	bed_transmit("x");
	bed_transmit("y");
	bed_settle();
	ck_assert_uint_eq(bed.log_lines, 1);
	ck_assert_str_eq(bed.last_log, "serial stdio: Broken pipe; output is being dropped");
	close(theirs[1]);
}
END_TEST

START_TEST(test_end_is_drained)
{
	uint8_t bytes[CHARDEV_QUEUE_SIZE];
	size_t len = 0;
	int theirs[2];
	ssize_t n;

	pipes_for_stdio(theirs);
	ck_assert_int_ge(fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
	bed_open("stdio");
	bed_transmit_stream(0, PIPE_BYTES + 4000, 1000);
	/* Room for the rest, but the loop never runs again; what comes now must not overtake. */
	while (len < 8192) {
		n = read(theirs[0], bytes, 8192 - len);
		ck_assert_int_gt(n, 0);
		len += n;
	}
	bed_transmit_stream(PIPE_BYTES + 4000, PIPE_BYTES + 5000, 1000);
	bed_free_chardev();
	dup2(bed.saved_stdout, STDOUT_FILENO);
	for (; (n = read(theirs[0], bytes, sizeof(bytes))) > 0; len += n)
		bed_expect_stream(bytes, len, n);
	ck_assert_uint_eq(len, PIPE_BYTES + 5000);
	ck_assert_uint_eq(bed.log_lines, 0);
	close(theirs[0]);
	close(theirs[1]);
}
END_TEST

START_TEST(test_shared_socket_stdio)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	dup2(pair[0], STDIN_FILENO);
	dup2(pair[0], STDOUT_FILENO);
	bed_open("stdio");
	ck_assert_int_ne(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	bed_transmit("out");
	bed_expect_text(pair[1], "out");
	ck_assert_int_eq(write(pair[1], "in", 2), 2);
	bed_expect_eaten("in");
	bed_free_chardev();
	ck_assert_int_eq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

static void *say_ready(void *unused)
{
	(void)unused;
	chardev_receive_ready(bed.chardev);
	return NULL;
}

START_TEST(test_input_waits_for_guest)
{
	pthread_t thread;
	int theirs[2];

	pipes_for_stdio(theirs);
	bed_open("stdio");
	bed.appetite = 3;
	ck_assert_int_eq(write(theirs[1], "hello", 5), 5);
	bed_expect_eaten("hel");
	/* Nothing is read that the guest does not take. */
	ck_assert_int_eq(write(theirs[1], " world", 6), 6);
	bed_settle();
	ck_assert_int_eq(poll(&(struct pollfd){ STDIN_FILENO, POLLIN, 0 }, 1, 0), 1);
	bed_expect_eaten("hel");
	bed.appetite = 1;
	chardev_receive_ready(bed.chardev);
	bed_expect_eaten("hell");
	bed.appetite = SIZE_MAX;
	ck_assert_int_eq(pthread_create(&thread, NULL, say_ready, NULL), 0);
	pthread_join(thread, NULL);
	bed_expect_eaten("hello world");
	/* Not from a terminal: no key is special. */
	ck_assert_int_eq(write(theirs[1], "\1x", 2), 2);
	bed_expect_eaten("hello world\1x");
	ck_assert_uint_eq(bed.quits, 0);
	/* The end of the input is not the end of the output. */
	close(theirs[1]);
	bed_settle();
	bed_transmit("out");
	bed_expect_text(theirs[0], "out");
	close(theirs[0]);
}
END_TEST

START_TEST(test_input_from_file)
{
	char content[10001];
	int fd;

	memset(content, 'x', 10000);
	content[0] = 'a';
	content[10000] = '\0';
	bed_address("file");
	fd = open(bed.path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, content, 10000), 10000);
	lseek(fd, 0, SEEK_SET);
	dup2(fd, STDIN_FILENO);
	close(fd);
	bed.appetite = 5000;
	bed_open("stdio");
	bed_settle();
	ck_assert_uint_eq(bed.eaten_len, 5000);
	bed.appetite = SIZE_MAX;
	chardev_receive_ready(bed.chardev);
	bed_expect_eaten(content);
	ck_assert_uint_eq(bed.log_lines, 0);
}
END_TEST

static void expect_quits(unsigned int n)
{
	while (bed.quits < n)
		event_base_loop(bed.base, EVLOOP_ONCE);
	ck_assert_uint_eq(bed.quits, n);
}

static int open_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(slave, 0);
	dup2(slave, STDIN_FILENO);
	dup2(slave, STDOUT_FILENO);
	close(slave);
	return master;
}

START_TEST(test_terminal)
{
	struct termios before, raw, after;
	int master = open_terminal();

	ck_assert_int_eq(tcgetattr(STDIN_FILENO, &before), 0);
	bed_open("stdio");
	ck_assert_int_eq(tcgetattr(STDIN_FILENO, &raw), 0);
	ck_assert_uint_eq(raw.c_lflag & (ICANON | ECHO | ISIG), 0);
	ck_assert_uint_eq(raw.c_iflag & (ICRNL | IXON), 0);
	ck_assert_uint_ne(raw.c_oflag & OPOST, 0);

	ck_assert_int_eq(write(master, "a\3\r", 3), 3);
	bed_expect_eaten("a\3\r");
	ck_assert_int_eq(write(master, "\1\1b\1zc", 6), 6);
	bed_expect_eaten("a\3\r\1bc");
	ck_assert_uint_eq(bed.quits, 0);
	/* The two keys may come apart, and the guest may not listen. */
	bed.appetite = 0;
	ck_assert_int_eq(write(master, "d\1", 2), 2);
	bed_settle();
	ck_assert_uint_eq(bed.quits, 0);
	ck_assert_int_eq(write(master, "x", 1), 1);
	expect_quits(1);
	for (int i = 0; i < 10; i++) {
		char much[1024];

		memset(much, 'm', sizeof(much));
		ck_assert_int_eq(write(master, much, sizeof(much)), sizeof(much));
		bed_settle();
	}
	ck_assert_int_eq(write(master, "\1x", 2), 2);
	expect_quits(2);
	bed_expect_eaten("a\3\r\1bc");

	bed_free_chardev();
	ck_assert_int_eq(tcgetattr(STDIN_FILENO, &after), 0);
	ck_assert_uint_eq(after.c_lflag, before.c_lflag);
	ck_assert_uint_eq(after.c_iflag, before.c_iflag);
	close(master);
}
END_TEST

#define TALKERS 3
#define TALK 200000

static atomic_int talking;

static void *talk(void *letter)
{
	for (int i = 0; i < TALK; i++)
		chardev_transmit(bed.chardev, letter, 1);
	atomic_fetch_sub(&talking, 1);
	bed_wake(NULL);
	return NULL;
}

static void *count_letters(void *fd)
{
	static size_t count[256];
	uint8_t bytes[4096];
	ssize_t n;

	memset(count, 0, sizeof(count));
	while ((n = read(*(int *)fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			count[bytes[i]]++;
	return count;
}

/* Several vCPUs at once, faster than the reader: every byte is either read or counted as lost. */
START_TEST(test_threads)
{
	static uint8_t letters[TALKERS] = "abc";
	pthread_t talker[TALKERS], reader;
	size_t *count, total = 0;
	int theirs[2];

	pipes_for_stdio(theirs);
	/* As small as a pipe can be, so that the reader is too slow. */
	ck_assert_int_eq(fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 4096), 4096);
	bed_open("stdio");
	atomic_store(&talking, TALKERS);
	pthread_create(&reader, NULL, count_letters, &theirs[0]);
	for (int i = 0; i < TALKERS; i++)
		pthread_create(&talker[i], NULL, talk, &letters[i]);
	while (atomic_load(&talking))
		event_base_loop(bed.base, EVLOOP_ONCE);
	for (int i = 0; i < TALKERS; i++)
		pthread_join(talker[i], NULL);
	bed_free_chardev();
	dup2(bed.saved_stdout, STDOUT_FILENO);
	pthread_join(reader, (void **)&count);
	for (int i = 0; i < TALKERS; i++)
		total += count[letters[i]];
	ck_assert_uint_gt(total, 0);
	ck_assert_uint_eq(total + bed.log_dropped, (size_t)TALKERS * TALK);
	close(theirs[0]);
	close(theirs[1]);
}
END_TEST

Suite *chardev_suite(void)
{
	Suite *suite = suite_create("chardev");
	TCase *tc = tcase_create("chardev");

	tcase_add_checked_fixture(tc, bed_setup, bed_teardown);
	tcase_add_test(tc, test_addresses);
	tcase_add_test(tc, test_null);
	tcase_add_test(tc, test_file);
	tcase_add_test(tc, test_file_errors);
	tcase_add_test(tc, test_pipe_at_once);
	tcase_add_loop_test(tc, test_slow_reader, 0, 4);
	tcase_add_test(tc, test_reader_gone);
	tcase_add_test(tc, test_end_is_drained);
	tcase_add_test(tc, test_shared_socket_stdio);
	tcase_add_test(tc, test_input_waits_for_guest);
	tcase_add_test(tc, test_input_from_file);
	tcase_add_test(tc, test_terminal);
	tcase_add_test(tc, test_threads);
	suite_add_tcase(suite, tc);
	return suite;
}
