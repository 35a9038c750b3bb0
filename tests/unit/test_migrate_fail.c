/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/migrate_channel.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/*
 * Far ends of transfers when a call on the way fails, each in turn: one clear error, nothing is
 * left open or lying about, and the next time it works.
 */

#define OLD     "the old one"
#define NEW     "and the new"

static char directory[64], path[96];
static struct error err;
static struct fdsets sets;
static struct event_base *base;
static bool failed;             /* what was to fail in the last attempt has done so */

/* What becomes of the whole when one call fails. */
enum effect { FAILS, MAY_FAIL, WORKS };

static void setup(void)
{
	strcpy(directory, "/tmp/vmond-migrate-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/file", directory);
	signal(SIGPIPE, SIG_IGN);
	fdsets_init(&sets);
	base = event_base_new();
}

static void teardown(void)
{
	fdsets_clear(&sets);
	event_base_free(base);
	unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* A line that says what could not be done, and why. */
static void expect_error(const char *name, int code)
{
	ck_assert_ptr_null(strchr(err.text, '\n'));
	/* Of a descriptor that is open fcntl(2) tells the flags, whatever happens. */
	if (name && !strcmp(name, "fcntl"))
		ck_assert_uint_gt(strlen(err.text), 0);
	else
		ck_assert_msg(strstr(err.text, code == ENOMEM ? "emory" : strerror(code)), "%s: %s",
			      name ? name : "allocation", err.text);
}

static void expect_effect(bool well, enum effect effect, const char *name, int code)
{
	ck_assert_msg(well || (failed && effect != WORKS), "%s", err.text);
	ck_assert(!well || !failed || effect != FAILS);
	if (!well)
		expect_error(name, code);
}

/* ---- channels ---- */

enum kind { FILE_NEW, FILE_OLD, FIFO, FDSET, FD_OUT, EXEC_OUT, FILE_IN, FDSET_IN, EXEC_IN, KINDS };

static struct fd_names names;

static int open_kind(enum kind kind, struct migration_channel *channel)
{
	switch (kind) {
	case FILE_NEW:
	case FILE_OLD:
	case FIFO:
		return migrate_file_out(path, &sets, channel, &err);
	case FDSET:
		return migrate_file_out("/dev/fdset/0", &sets, channel, &err);
	case FD_OUT:
		return migrate_fd_out("x", &names, channel, &err);
	case EXEC_OUT:
		return migrate_exec_out("cat >/dev/null", channel, &err);
	case FILE_IN:
		return migrate_file_in(path, &sets, channel, &err);
	case FDSET_IN:
		return migrate_file_in("/dev/fdset/0", &sets, channel, &err);
	default:
		return migrate_exec_in("echo", channel, &err);
	}
}

/* What a transfer does with it. */
static int use(enum kind kind, const struct migration_channel *channel)
{
	const _Atomic bool cancelled = false;
	char text[16];

	if (kind < FILE_IN)
		ck_assert_int_eq(write(channel->fd, NEW, strlen(NEW)), strlen(NEW));
	else
		while (read(channel->fd, text, sizeof(text)) < 0 && errno == EAGAIN)
			usleep(1000);
	return migration_channel_finish(channel, true, &cancelled, &err);
}

static void write_old(void)
{
	FILE *file = fopen(path, "w");

	fputs(OLD, file);
	fclose(file);
}

static bool file_is(const char *text)
{
	char found[64] = "";
	FILE *file = fopen(path, "r");

	if (!file)
		return !text;
	ck_assert_uint_lt(fread(found, 1, sizeof(found) - 1, file), sizeof(found));
	fclose(file);
	return text && !strcmp(found, text);
}

/* Opens and uses one.  Whether that has gone well; what is there then is one file at most. */
static bool transfer(enum kind kind, const char *name, unsigned int n, int code)
{
	struct migration_channel channel = { .fd = -1 };
	int64_t set = 0;
	unsigned int before = open_descriptors();
	int rc, reader = -1;
	struct stat st;

	unlink(path);
	if (kind == FIFO) {
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	} else if (kind != FILE_NEW) {
		write_old();
	}
	if (kind == FDSET || kind == FDSET_IN)
		fdsets_add(&sets, open(path, O_RDWR | O_CLOEXEC), NULL, &set, &err);
	if (kind == FD_OUT)
		fd_names_put(&names, "x", open(path, O_RDWR | O_CLOEXEC), &err);
	memset(&err, 0, sizeof(err));
	fail_at(name, n, code);
	rc = open_kind(kind, &channel);
	if (rc == 0)
		rc = use(kind, &channel);
	failed = fail_end();
	if (kind == FILE_NEW || kind == FILE_OLD)
		ck_assert(file_is(rc == 0 ? NEW : kind == FILE_NEW ? NULL : OLD) ||
			  (rc < 0 && file_is(NEW)));
	/* That is no file that may be replaced. */
	if (kind == FIFO)
		ck_assert(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
	if (reader >= 0)
		close(reader);
	ck_assert_uint_le(count_entries(directory), 1);
	fdsets_clear(&sets);
	fd_names_clear(&names);
	ck_assert_uint_eq(open_descriptors(), before);
	/* A command that could not be waited for is the one that may be left. */
	if (waitpid(-1, NULL, 0) > 0)
		ck_assert_str_eq(name, "waitid");
	return rc == 0;
}

static const struct {
	const char *name;
	int code;
	enum effect effect;
} channel_calls[] = {
	{ NULL, ENOMEM, FAILS }, { "open", EACCES, MAY_FAIL }, { "stat", EACCES, FAILS },
	{ "fstat", EIO, FAILS }, { "mkostemp", EROFS, FAILS }, { "fcntl", EMFILE, MAY_FAIL },
	{ "fsync", EIO, FAILS }, { "fsync", EINVAL, WORKS }, { "rename", EXDEV, FAILS },
	{ "close", EIO, MAY_FAIL }, { "pipe2", EMFILE, FAILS }, { "posix_spawn", EAGAIN, FAILS },
	{ "pidfd_open", EMFILE, FAILS }, { "waitid", ECHILD, FAILS }, { "waitid", EINTR, WORKS },
	{ "poll", EINTR, WORKS },
};

START_TEST(channel_call_fails)
{
	const char *name = channel_calls[_i].name;
	int code = channel_calls[_i].code;
	bool seen = false;

	for (enum kind kind = 0; kind < KINDS; kind++) {
		failed = true;
		for (unsigned int n = 1; failed; n++) {
			bool well = transfer(kind, name, n, code);

			ck_assert_uint_lt(n, 100);
			seen |= failed;
			expect_effect(well, channel_calls[_i].effect, name, code);
		}
		ck_assert_msg(transfer(kind, NULL, 0, 0), "%s", err.text);
	}
	ck_assert(seen);
}
END_TEST

/* ---- sockets ---- */

struct outcome {
	unsigned int calls;
	int fd;
	struct error why;
};

static void on_outcome(void *opaque, int fd, const struct error *why)
{
	struct outcome *outcome = opaque;

	outcome->calls++;
	outcome->fd = fd;
	if (why)
		outcome->why = *why;
}

enum way { BY_PATH, BY_NUMBER, BY_NAME, WAYS };

static struct migrate_listener *start_listening(enum way way, struct outcome *in)
{
	struct tcp_address address;

	if (way == BY_PATH)
		return migrate_listen_unix(base, path, on_outcome, in, &err);
	tcp_address_parse("127.0.0.1:0", &address, &err);
	return migrate_listen_tcp(base, &address, on_outcome, in, &err);
}

static struct dial *start_dialling(enum way way, const struct tcp_address *bound,
				   struct outcome *out)
{
	struct tcp_address address = *bound;

	if (way == BY_PATH)
		return dial_unix(base, path, on_outcome, out, &err);
	if (way == BY_NAME)
		strcpy(address.host, "localhost");
	return dial_tcp(base, &address, on_outcome, out, &err);
}

static void end_outcome(const struct outcome *outcome)
{
	ck_assert_uint_le(outcome->calls, 1);
	if (outcome->fd >= 0)
		close(outcome->fd);
}

/* Both ends of a connection; the one that `dialling` says may fail.  True: they are there. */
static bool connect_both(enum way way, bool dialling, const char *name, unsigned int n, int code)
{
	struct outcome in = { .fd = -1 }, out = { .fd = -1 };
	struct tcp_address bound = { 0 };
	struct migrate_listener *listener;
	struct dial *dial = NULL;
	bool ipv6, well;

	memset(&err, 0, sizeof(err));
	if (!dialling)
		fail_at(name, n, code);
	listener = start_listening(way, &in);
	if (listener) {
		migrate_listener_tcp(listener, &bound, &ipv6);
		if (dialling)
			fail_at(name, n, code);
		dial = start_dialling(way, &bound, &out);
		while (dial && !out.calls)
			event_base_loop(base, EVLOOP_ONCE);
		if (dialling)
			failed = fail_end();
		if (out.fd >= 0)
			while (!in.calls)
				event_base_loop(base, EVLOOP_ONCE);
		else if (!in.calls)
			migrate_listener_close(listener);
	}
	if (!dialling)
		failed = fail_end();
	well = in.fd >= 0 && out.fd >= 0;
	if (in.calls && in.fd < 0)
		err = in.why;
	else if (out.calls && out.fd < 0)
		err = out.why;
	end_outcome(&in);
	end_outcome(&out);
	ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
	ck_assert_uint_eq(count_entries(directory), 0);
	return well;
}

static const struct {
	const char *name;
	int code;
	bool dialling;
	enum effect effect;
} socket_calls[] = {
	{ NULL, ENOMEM, true, FAILS }, { NULL, ENOMEM, false, FAILS },
	{ "socket", EMFILE, true, MAY_FAIL }, { "connect", ECONNREFUSED, true, MAY_FAIL },
	{ "connect", EAGAIN, true, MAY_FAIL }, { "getsockopt", EBADF, true, MAY_FAIL },
	{ "event_add", ENOMEM, true, MAY_FAIL }, { "eventfd", EMFILE, true, FAILS },
	{ "pthread_create", EAGAIN, true, FAILS }, { "socket", EMFILE, false, FAILS },
	{ "bind", EACCES, false, FAILS }, { "listen", EADDRINUSE, false, FAILS },
	{ "setsockopt", EINVAL, false, WORKS }, { "accept4", EMFILE, false, FAILS },
	{ "accept4", ECONNABORTED, false, WORKS }, { "event_add", ENOMEM, false, FAILS },
};

/* A second address may answer where the first does not: then it is no error. */
START_TEST(socket_call_fails)
{
	const char *name = socket_calls[_i].name;
	int code = socket_calls[_i].code;
	unsigned int before = open_descriptors();
	bool seen = false;

	for (enum way way = 0; way < WAYS; way++) {
		failed = true;
		for (unsigned int n = 1; failed; n++) {
			bool well = connect_both(way, socket_calls[_i].dialling, name, n, code);

			ck_assert_uint_lt(n, 100);
			seen |= failed;
			expect_effect(well, socket_calls[_i].effect, name, code);
		}
		ck_assert_msg(connect_both(way, true, NULL, 0, 0), "%s", err.text);
	}
	ck_assert(seen);
	/* A thread that looked a name up goes by itself. */
	while (open_descriptors() != before)
		usleep(1000);
}
END_TEST

Suite *migrate_fail_suite(void)
{
	Suite *suite = suite_create("migrate fail");
	TCase *tc = tcase_create("fail");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, channel_call_fails, 0,
			    sizeof(channel_calls) / sizeof(channel_calls[0]));
	tcase_add_loop_test(tc, socket_call_fails, 0,
			    sizeof(socket_calls) / sizeof(socket_calls[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
