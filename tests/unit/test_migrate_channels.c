/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/migrate_channel.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"

/* Far ends of transfers by themselves: what they leave behind, whatever happens. */

static char directory[64], path[96], other[96];
static struct migration_channel channel;
static struct error err;
static _Atomic bool cancelled;
static struct fdsets sets;
static unsigned int open_before, threads_before;

static void *note_tid(void *tid)
{
	*(pid_t *)tid = gettid();
	return NULL;
}

/* How many there are when none of ours is there: a sanitizer has one as soon as we have one. */
static unsigned int count_threads(void)
{
	pthread_t thread;
	char task[64];
	pid_t tid;

	ck_assert_int_eq(pthread_create(&thread, NULL, note_tid, &tid), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	snprintf(task, sizeof(task), "/proc/self/task/%d", tid);
	while (access(task, F_OK) == 0)
		usleep(1000);
	return running_threads();
}

static void setup(void)
{
	strcpy(directory, "/tmp/vmond-channel-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/file", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	memset(&err, 0, sizeof(err));
	cancelled = false;
	signal(SIGPIPE, SIG_IGN);
	fdsets_init(&sets);
	open_before = open_descriptors();
	threads_before = count_threads();
}

static void teardown(void)
{
	/*
	 * A thread that looked a name up goes by itself, and may still be at it: with an eventfd of
	 * its own, and what the C library frees last of all.
	 */
	while (running_threads() > threads_before)
		usleep(1000);
	fdsets_clear(&sets);
	unlink(path);
	unlink(other);
	ck_assert_int_eq(rmdir(directory), 0);
	ck_assert_uint_eq(open_descriptors(), open_before);
	/* No process is left over, dead or alive. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

static void put(const char *text)
{
	ck_assert_int_eq(write(channel.fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int finish(bool complete)
{
	return channel.finish(channel.opaque, complete, &cancelled, &err);
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	fputs(text, file);
	fclose(file);
}

static void expect_file(const char *name, const char *text)
{
	char found[256] = "";
	FILE *file = fopen(name, "r");

	ck_assert_msg(file, "%s", name);
	ck_assert_uint_eq(fread(found, 1, sizeof(found) - 1, file), strlen(text));
	fclose(file);
	ck_assert_str_eq(found, text);
}

/* ---- files ---- */

START_TEST(test_file)
{
	struct stat st;

	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
	ck_assert_int_eq(fcntl(channel.fd, F_GETFD), FD_CLOEXEC);
	put("stream");
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(finish(true), 0);
	expect_file(path, "stream");
	ck_assert_uint_eq(count_entries(directory), 1);
	/* It has all of the guest's memory in it. */
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

/* The old file stays whole until the new one is complete, and if it never is. */
START_TEST(test_file_replaced)
{
	write_file(path, "old");
	for (int i = 0; i < 2; i++) {
		cancelled = i;
		ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
		put("half");
		ck_assert_int_eq(finish(i), -1);
		expect_file(path, "old");
		ck_assert_uint_eq(count_entries(directory), 1);
	}
	ck_assert_str_eq(err.text, "cancelled");
	cancelled = false;
	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
	put("new");
	expect_file(path, "old");
	ck_assert_int_eq(finish(true), 0);
	expect_file(path, "new");
	ck_assert_uint_eq(count_entries(directory), 1);
}
END_TEST

START_TEST(test_file_link)
{
	struct stat st;

	write_file(path, "old");
	ck_assert_int_eq(symlink(path, other), 0);
	ck_assert_int_eq(migrate_file_out(other, &sets, &channel, &err), 0);
	put("new");
	ck_assert_int_eq(finish(true), 0);
	expect_file(path, "new");
	ck_assert_int_eq(lstat(other, &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
}
END_TEST

/* The file can not get its name at the end. */
START_TEST(test_file_rename_fails)
{
	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(finish(true), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "can not be given its name: Is a directory"));
	ck_assert_uint_eq(count_entries(directory), 1);
	rmdir(path);
}
END_TEST

/* What is no regular file is not replaced. */
START_TEST(test_device)
{
	struct stat st;

	ck_assert_int_eq(migrate_file_out("/dev/null", &sets, &channel, &err), 0);
	put("x");
	ck_assert_int_eq(finish(true), 0);
	ck_assert_int_eq(stat("/dev/null", &st), 0);
	ck_assert(S_ISCHR(st.st_mode));
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "No such device or address"));
}
END_TEST

START_TEST(test_fdset)
{
	char byte[8] = "";
	int64_t id = -1;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(fdsets_add(&sets, fd, NULL, &id, &err), 0);
	ck_assert_int_eq(migrate_file_out("/dev/fdset/0", &sets, &channel, &err), 0);
	ck_assert_int_ne(channel.fd, fd);
	put("stream");
	/* Removed while in use. */
	fdsets_clear(&sets);
	put("!");
	ck_assert_int_eq(finish(true), 0);
	expect_file(path, "stream!");

	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fdsets_add(&sets, fd, NULL, &id, &err), 0);
	ck_assert_int_eq(migrate_file_in("/dev/fdset/0", &sets, &channel, &err), 0);
	ck_assert_int_eq(read(channel.fd, byte, 7), 7);
	ck_assert_str_eq(byte, "stream!");
	ck_assert_ptr_null(channel.finish);
	close(channel.fd);
}
END_TEST

/* ---- commands ---- */

static void start(bool out, const char *format)
{
	char command[512];

	snprintf(command, sizeof(command), format, path);
	ck_assert_int_eq(out ? migrate_exec_out(command, &channel, &err) :
			       migrate_exec_in(command, &channel, &err), 0);
	ck_assert_int_eq(fcntl(channel.fd, F_GETFD), FD_CLOEXEC);
}

START_TEST(test_exec)
{
	start(true, "cat >%s; exit 0");
	put("stream");
	ck_assert_int_eq(finish(true), 0);
	/* It has been waited for. */
	expect_file(path, "stream");
}
END_TEST

static const struct {
	const char *command, *text;
} failing[] = {
	{ "cat >/dev/null; exit 3", "the command of exec: has exited with status 3" },
	{ "cat >/dev/null; kill -9 $$", "the command of exec: was ended by signal 9" },
	{ "/nonexistent 2>/dev/null", "the command of exec: has exited with status 127" },
	{ "trap 'exit 0' TERM; exit 1", "the command of exec: has exited with status 1" },
};

START_TEST(test_exec_fails)
{
	start(true, failing[_i].command);
	ck_assert_int_eq(finish(true), -1);
	ck_assert_str_eq(err.text, failing[_i].text);
}
END_TEST

/* It is ended before it can take the end of what came for the end of the stream. */
START_TEST(test_exec_incomplete)
{
	struct stat st = { .st_size = 0 };

	start(true, "trap '' TERM; echo begun >%1$s; cat >/dev/null; echo complete >%1$s");
	put("half");
	while (stat(path, &st) < 0 || !st.st_size)
		usleep(1000);
	ck_assert_int_eq(finish(false), -1);
	expect_file(path, "begun\n");
}
END_TEST

/* With all that it has started, SIGTERM ignored or not. */
START_TEST(test_exec_stubborn)
{
	char byte;

	start(false, "trap '' TERM; (sleep 1000; echo x) & echo %s; sleep 1000");
	/* It has come that far. */
	while (read(channel.fd, &byte, 1) != 1)
		usleep(1000);
	ck_assert_int_eq(finish(false), -1);
}
END_TEST

/* It does not end, and the user does not want to wait any longer. */
START_TEST(test_exec_cancelled)
{
	start(true, "cat >/dev/null; sleep 1000");
	cancelled = true;
	ck_assert_int_eq(finish(true), -1);
	ck_assert_str_eq(err.text, "the command of exec: was ended by signal 15");
}
END_TEST

/* A cancellation that comes when all is done is none. */
START_TEST(test_exec_cancelled_late)
{
	siginfo_t info;

	start(true, "exit 0");
	ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	cancelled = true;
	ck_assert_int_eq(finish(true), 0);
}
END_TEST

/* Signals as a command expects them, though vmond has blocked and ignored some; no descriptors. */
START_TEST(test_exec_environment)
{
	sigset_t set, old;
	char text[512] = "";
	ssize_t len;
	size_t used = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &old);
	dup2(STDERR_FILENO, 77);
	/* The last digits stand for signals 1 to 28. */
	start(false, _i ? "ls /proc/$$/fd" :
		     "exec grep -cE '^Sig(Blk|Ign):.*0000000$' /proc/self/status");
	close(77);
	while ((len = read(channel.fd, text + used, sizeof(text) - 1 - used)))
		used += len > 0 ? (size_t)len : 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	ck_assert_str_eq(text, _i ? "0\n1\n2\n" : "2\n");
	ck_assert_int_eq(finish(true), 0);
}
END_TEST

START_TEST(test_exec_in)
{
	char text[16] = "";

	start(false, "printf stream");
	while (read(channel.fd, text, sizeof(text)) < 0)
		usleep(1000);
	ck_assert_str_eq(text, "stream");
	ck_assert_int_eq(finish(true), 0);
}
END_TEST

/* ---- sockets ---- */

struct outcome {
	bool called;
	int fd;
	struct error err;
};

static void on_outcome(void *opaque, int fd, const struct error *why)
{
	struct outcome *outcome = opaque;

	ck_assert(!outcome->called);
	outcome->called = true;
	outcome->fd = fd;
	if (why)
		outcome->err = *why;
}

static void await_outcome(struct event_base *base, struct outcome *outcome)
{
	while (!outcome->called)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}

static const struct {
	const char *listen, *dial;      /* without the port */
} hosts[] = {
	{ "127.0.0.1", "127.0.0.1" }, { "", "127.0.0.1" }, { "localhost", "localhost" },
	{ "[::1]", "[::1]" },
};

START_TEST(test_tcp)
{
	struct event_base *base = event_base_new();
	struct outcome in = { 0 }, out = { 0 };
	struct migrate_listener *listener;
	struct tcp_address address, bound;
	char text[128];
	bool ipv6;

	snprintf(text, sizeof(text), "%s:0", hosts[_i].listen);
	ck_assert_int_eq(tcp_address_parse(text, &address, &err), 0);
	listener = migrate_listen_tcp(base, &address, on_outcome, &in, &err);
	/* A host without IPv6 has nothing to show here. */
	if (listener || _i < 3) {
		ck_assert_msg(listener, "%s", err.text);
		migrate_listener_tcp(listener, &bound, &ipv6);
		snprintf(text, sizeof(text), "%s:%s", hosts[_i].dial, bound.port);
		ck_assert_int_eq(tcp_address_parse(text, &address, &err), 0);
		ck_assert_ptr_nonnull(dial_tcp(base, &address, on_outcome, &out, &err));
		ck_assert(!out.called);
		await_outcome(base, &out);
		while (!in.called)
			event_base_loop(base, EVLOOP_ONCE);
		ck_assert_int_eq(write(out.fd, "x", 1), 1);
		close(in.fd);
		close(out.fd);
	}
	event_base_free(base);
}
END_TEST

START_TEST(test_tcp_refused)
{
	struct event_base *base = event_base_new();
	struct outcome out = { 0 };
	struct tcp_address address;

	ck_assert_int_eq(tcp_address_parse("127.0.0.1:1", &address, &err), 0);
	ck_assert_ptr_nonnull(dial_tcp(base, &address, on_outcome, &out, &err));
	await_outcome(base, &out);
	ck_assert_int_eq(out.fd, -1);
	ck_assert_str_eq(out.err.text, "Failed to connect to '127.0.0.1:1': Connection refused");
	event_base_free(base);
}
END_TEST

/* A name that there can not be; and one that nobody waits for any more. */
START_TEST(test_no_such_host)
{
	struct event_base *base = event_base_new();
	struct outcome out = { 0 };
	struct tcp_address address;
	struct dial *dial;

	ck_assert_int_eq(tcp_address_parse("nosuch.invalid:1", &address, &err), 0);
	ck_assert_ptr_nonnull(dial_tcp(base, &address, on_outcome, &out, &err));
	await_outcome(base, &out);
	ck_assert_int_eq(out.fd, -1);
	ck_assert_msg(!strncmp(out.err.text, "address resolution failed for nosuch.invalid:1: ",
			       48), "%s", out.err.text);
	out.called = false;
	dial = dial_tcp(base, &address, on_outcome, &out, &err);
	ck_assert_ptr_nonnull(dial);
	dial_cancel(dial);
	ck_assert(!out.called);
	ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
	event_base_free(base);
}
END_TEST

Suite *migrate_channels_suite(void)
{
	Suite *suite = suite_create("migrate channels");
	TCase *tc = tcase_create("channels");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_file);
	tcase_add_test(tc, test_file_replaced);
	tcase_add_test(tc, test_file_link);
	tcase_add_test(tc, test_file_rename_fails);
	tcase_add_test(tc, test_device);
	tcase_add_test(tc, test_fdset);
	tcase_add_test(tc, test_exec);
	tcase_add_loop_test(tc, test_exec_fails, 0, sizeof(failing) / sizeof(failing[0]));
	tcase_add_test(tc, test_exec_incomplete);
	tcase_add_test(tc, test_exec_stubborn);
	tcase_add_test(tc, test_exec_cancelled);
	tcase_add_test(tc, test_exec_cancelled_late);
	tcase_add_loop_test(tc, test_exec_environment, 0, 2);
	tcase_add_test(tc, test_exec_in);
	tcase_add_loop_test(tc, test_tcp, 0, sizeof(hosts) / sizeof(hosts[0]));
	tcase_add_test(tc, test_tcp_refused);
	tcase_add_test(tc, test_no_such_host);
	suite_add_tcase(suite, tc);
	return suite;
}
