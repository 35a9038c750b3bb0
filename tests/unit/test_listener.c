/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

static struct wire wire;
static char directory[64], path[80], address[96];
static struct error err;

static void setup(void)
{
	strcpy(directory, "/tmp/vmond-listener-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/qmp", directory);
	snprintf(address, sizeof(address), "unix:%s", path);
	wire_open(&wire);
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	wire_close(&wire);
	unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
}

static struct sockaddr_un socket_address(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

/* A socket file of somebody else's; with a backlog below 0 nobody listens on it. */
static int foreign_socket(int type, int backlog)
{
	struct sockaddr_un addr = socket_address();
	int fd = socket(AF_UNIX, type, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (backlog >= 0)
		ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static struct peer dial(void)
{
	struct sockaddr_un addr = socket_address();
	struct peer peer = { .fd = socket(AF_UNIX, SOCK_STREAM, 0) };

	ck_assert_int_eq(connect(peer.fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return peer;
}

static bool exists(void)
{
	struct stat st;

	return !lstat(path, &st);
}

static void expect_refusal(int code, const char *text)
{
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), -1);
	ck_assert_msg(err.code == code, "%d: %s", err.code, err.text);
	ck_assert_msg(strstr(err.text, text), "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

START_TEST(test_serves)
{
	struct peer peer, second;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	peer = dial();
	second = dial();
	wire_expect(&wire, &peer, NEGOTIATE, GREETING OK);
	wire_expect(&wire, &second, NEGOTIATE, GREETING OK);
	peer_close(&peer);
	wire_expect(&wire, &second, "[]", ERROR("QMP input must be a JSON object"));
	peer_close(&second);
}
END_TEST

START_TEST(test_pretty_option)
{
	struct peer peer;

	strcat(address, _i ? ",pretty=on" : ",pretty=off");
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	peer = dial();
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\r\n"), _i ? 15u : 1u);
	peer_close(&peer);
}
END_TEST

/* Whatever the umask: the owner, and nobody else. */
START_TEST(test_mode)
{
	static const mode_t masks[] = { 0, 022, 0777 };
	mode_t mask = umask(masks[_i]);
	struct stat st;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	ck_assert_uint_eq(umask(mask), masks[_i]);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
}
END_TEST

START_TEST(test_stale)
{
	struct peer peer;

	close(foreign_socket(SOCK_STREAM, 1));
	ck_assert(exists());
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	peer = dial();
	wire_expect(&wire, &peer, "", GREETING);
	peer_close(&peer);
}
END_TEST

/* Somebody listens: with room for more clients, without, or for another kind of connection. */
START_TEST(test_in_use)
{
	int fd = foreign_socket(_i == 2 ? SOCK_SEQPACKET : SOCK_STREAM, _i == 0 ? 5 : 0);
	struct peer peer = { .fd = -1 };

	if (_i == 1)
		peer = dial();
	expect_refusal(EADDRINUSE, "in use");
	ck_assert(exists());
	peer_close(&peer);
	close(fd);
}
END_TEST

START_TEST(test_own_twice)
{
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	expect_refusal(EADDRINUSE, path);
}
END_TEST

START_TEST(test_no_socket)
{
	close(open(path, O_CREAT | O_WRONLY, 0600));
	expect_refusal(EEXIST, "no socket");
	ck_assert(exists());
	unlink(path);
	/* Not even by way of a symbolic link is anything but a socket touched. */
	ck_assert_int_eq(symlink("/dev/null", path), 0);
	expect_refusal(EEXIST, "no socket");
	ck_assert(exists());
}
END_TEST

START_TEST(test_bad_address)
{
	static const struct {
		const char *address;
		int code;
		const char *text;
	} cases[] = {
		{ "tcp:localhost:1", EINVAL, "loopback" },
		{ "stdio", EINVAL, "no socket" },
		{ "", EINVAL, "unix:PATH" },
		{ "unix:", EINVAL, "empty" },
		{ "unix:,pretty=on", EINVAL, "empty" },
		{ "unix:/tmp/x,pretty", EINVAL, "unknown option 'pretty'" },
		{ "unix:/tmp/x,server=on", EINVAL, "unknown option 'server=on'" },
		{ "unix:/nonexistent/dir/x", ENOENT, "/nonexistent/dir/x" },
		{ "unix:/tmp/0123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567890123456789", ENAMETOOLONG, "shorter" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(monitor_listen(wire.monitor, cases[i].address, &err), -1);
		ck_assert_msg(err.code == cases[i].code, "%s: %d", cases[i].address, err.code);
		ck_assert_msg(strstr(err.text, cases[i].text), "%s", err.text);
	}
}
END_TEST

/* The socket file goes with the monitor, unless it is another's by now. */
START_TEST(test_unlink)
{
	int fd = -1;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	if (_i) {
		unlink(path);
		fd = foreign_socket(SOCK_STREAM, 1);
	}
	monitor_free(wire.monitor);
	wire.monitor = NULL;
	ck_assert_int_eq(exists(), _i);
	if (_i)
		close(fd);
}
END_TEST

/* Without descriptors left, clients wait in the backlog and the loop rests. */
START_TEST(test_no_descriptors)
{
	struct rlimit limit, none;
	struct peer peer;
	const struct listener *listener;
	int i;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	listener = TAILQ_FIRST(&wire.monitor->listeners);
	peer = dial();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)peer.fd;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	wire_turn(&wire);
	ck_assert_uint_eq(wire_log_lines, 1);
	/* The listening socket is not asked about, or only by the timer. */
	for (i = 0; i < 100; i++) {
		ck_assert(!event_pending(listener->acceptable, EV_READ, NULL) !=
			  !evtimer_pending(listener->retry, NULL));
		wire_turn(&wire);
	}
	ck_assert_uint_eq(wire_log_lines, 1);
	ck_assert_uint_eq(wire_clients(&wire), 0);

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (!wire_clients(&wire))
		event_base_loop(wire.base, EVLOOP_ONCE);
	wire_expect(&wire, &peer, "", GREETING);
	peer_close(&peer);
}
END_TEST

/* Nor can the loop be told so: to rest, or that the rest is over. */
START_TEST(test_no_descriptors_nor_events)
{
	struct rlimit limit, none;
	struct peer peer;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	peer = dial();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)peer.fd;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	call_fail("event_add", _i ? 1 : 2, ENOMEM);
	while (!call_has_failed())
		event_base_loop(wire.base, EVLOOP_ONCE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* 1: there would be nothing left to wait for. */
	while (!wire_clients(&wire))
		ck_assert_int_eq(event_base_loop(wire.base, EVLOOP_ONCE), 0);
	wire_expect(&wire, &peer, "", GREETING);
	peer_close(&peer);
}
END_TEST

/* Calls on the way to a socket that listens. */
static const struct {
	const char *name;
	int code;
	bool needed;
} listen_calls[] = {
	{ "socket", EMFILE, true }, { "bind", EACCES, true }, { "listen", ENOBUFS, true },
	{ "fchmod", EPERM, true }, { "chmod", EPERM, true }, { "connect", EACCES, true },
	{ "lstat", EACCES, true }, { "unlink", EACCES, true }, { "event_add", ENOMEM, true },
	{ "fcntl", EBADF, true }, { "getsockopt", EBADF, true }, { "getsockname", EBADF, true },
	{ "setsockopt", ENOBUFS, false },
};

/* Who can not be told from others is one of those that are not let in, and reads why. */
START_TEST(test_unknown_peer)
{
	static const char *const suffixes[] = { "", ",mode=readline" };
	struct peer peer;

	strcat(address, suffixes[_i]);
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	for (int i = 0; i < 2; i++) {
		peer = dial();
		call_fail("getsockopt", 1, EINVAL);
		wire_settle(&wire, &peer);
		ck_assert(call_has_failed());
		ck_assert(peer.eof);
		ck_assert_ptr_nonnull(strstr(peer.text, " may not use this monitor; see "
					     "--monitor-allow in vmond(8)"));
		ck_assert_ptr_eq(strstr(peer.text, _i ? "Error: " : "{\"error\": "), peer.text);
		peer_close(&peer);
	}
	/* Of many in a row only the first is in the log. */
	ck_assert_uint_eq(wire_log_lines, 1);
	ck_assert_uint_eq(wire_clients(&wire), 0);
	peer = dial();
	wire_settle(&wire, &peer);
	ck_assert(!peer.eof);
	peer_close(&peer);
}
END_TEST

/* One that gives up while it waits is nobody's trouble; one there is no memory for is logged. */
START_TEST(test_not_served)
{
	struct peer peer;

	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	peer = dial();
	call_fail("accept4", 1, ECONNABORTED);
	wire_turn(&wire);
	ck_assert(call_has_failed());
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(wire_log_lines, 0);
	ck_assert_str_eq(peer.text, GREETING);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	peer = dial();
	alloc_fail_at(1);
	wire_turn(&wire);
	ck_assert(alloc_has_failed());
	wire_settle(&wire, &peer);
	ck_assert(peer.eof);
	ck_assert_str_eq(wire_log_last, "out of memory for a monitor client");
	peer_close(&peer);
}
END_TEST

enum listen_kind { LISTEN_TCP, LISTEN_UNIX, LISTEN_STALE, LISTEN_FD, LISTEN_KINDS };

static bool failed;     /* what was to fail in the last of these */

/* With the n-th call of `name`, or allocation if that is NULL, failing; n 0: none. */
static bool begins_to_listen(enum listen_kind kind, const char *name, unsigned int n, int code)
{
	char text[128];
	int passed = -1;
	unsigned int before;
	bool listens;

	if (kind == LISTEN_STALE)
		close(foreign_socket(SOCK_STREAM, 1));
	before = open_descriptors();
	snprintf(text, sizeof(text), "%s", kind == LISTEN_TCP ? "tcp:127.0.0.1:0" : address);
	if (kind == LISTEN_FD) {
		passed = foreign_socket(SOCK_STREAM, 1);
		snprintf(text, sizeof(text), "fd:%d", passed);
	}
	memset(&err, 0, sizeof(err));
	fail_at(name, n, code);
	listens = monitor_listen(wire.monitor, text, &err) == 0;
	failed = fail_end();
	if (listens)
		listener_free(TAILQ_FIRST(&wire.monitor->listeners));
	else
		ck_assert_ptr_nonnull(strstr(err.text, "monitor"));
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert(TAILQ_EMPTY(&wire.monitor->listeners));
	if (passed >= 0)
		close(passed);
	ck_assert_uint_eq(open_descriptors(), before);
	/* One that was there before may still be. */
	ck_assert(kind == LISTEN_STALE || kind == LISTEN_FD || !exists());
	unlink(path);
	return listens;
}

/* One clear error, or none that matters; no descriptor is left, and it works the next time. */
START_TEST(test_call_fails)
{
	/* A mode that is to be put right. */
	mode_t umask_before = umask(0377);
	bool seen = false;

	for (enum listen_kind kind = 0; kind < LISTEN_KINDS; kind++) {
		failed = true;
		for (unsigned int n = 1; failed; n++) {
			bool listens = begins_to_listen(kind, listen_calls[_i].name, n,
							listen_calls[_i].code);

			ck_assert_uint_lt(n, 100);
			seen |= failed;
			if (failed && listen_calls[_i].needed)
				ck_assert_msg(!listens, "%d: %u", kind, n);
			else
				ck_assert_msg(listens, "%s", err.text);
		}
		ck_assert(begins_to_listen(kind, NULL, 0, 0));
	}
	umask(umask_before);
	ck_assert(seen);
}
END_TEST

START_TEST(test_no_memory)
{
	unsigned int n = 1;

	while (!begins_to_listen(_i, NULL, n++, 0))
		ck_assert(failed);
	ck_assert(!failed);
	ck_assert_uint_gt(n, 3);
}
END_TEST

Suite *listener_suite(void)
{
	Suite *suite = suite_create("listener");
	TCase *tc = tcase_create("listener");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_serves);
	tcase_add_loop_test(tc, test_pretty_option, 0, 2);
	tcase_add_loop_test(tc, test_mode, 0, 3);
	tcase_add_test(tc, test_stale);
	tcase_add_loop_test(tc, test_in_use, 0, 3);
	tcase_add_test(tc, test_own_twice);
	tcase_add_test(tc, test_no_socket);
	tcase_add_test(tc, test_bad_address);
	tcase_add_loop_test(tc, test_unlink, 0, 2);
	tcase_add_test(tc, test_no_descriptors);
	tcase_add_loop_test(tc, test_no_descriptors_nor_events, 0, 2);
	tcase_add_loop_test(tc, test_unknown_peer, 0, 2);
	tcase_add_test(tc, test_not_served);
	tcase_add_loop_test(tc, test_call_fails, 0,
			    sizeof(listen_calls) / sizeof(listen_calls[0]));
	tcase_add_loop_test(tc, test_no_memory, 0, LISTEN_KINDS);
	suite_add_tcase(suite, tc);
	return suite;
}
