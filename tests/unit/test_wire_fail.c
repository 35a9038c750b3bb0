/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/json_oracle.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"

/* The wire when the system, or memory, lets it down: a client is served, or dropped. */

#define QUERY EXECUTE("query-name")
#define NAME "{\"return\": {\"name\": \"guest\"}}\r\n"
#define PROMPT "(qemu) "

static struct wire wire;

static void setup(void)
{
	wire_open(&wire);
}

static void teardown(void)
{
	wire_close(&wire);
}

/* Nothing is sent in part; in the form for people an object is no line. */
static void expect_lines(const struct peer *peer, bool pretty)
{
	const char *line, *end;

	if (pretty && peer->len) {
		ck_assert_str_eq(peer->text + peer->len - strlen("}\r\n"), "}\r\n");
		return;
	}
	for (line = peer->text; line && *line; line = end + 2) {
		end = strstr(line, "\r\n");
		ck_assert_msg(end, "%s", line);
		ck_assert_msg(oracle_accepts(line, (size_t)(end - line)), "%s", line);
	}
}

/*
 * Calls that fail once in a session, each at every place that makes it.  `spoils`: the client does
 * not survive it; the others do not notice it.
 */
static const struct {
	const char *name;
	int code;
	bool spoils;
} session_calls[] = {
	{ "event_add", ENOMEM, false }, { "evbuffer_add", ENOMEM, true },
	{ "evbuffer_add_reference", ENOMEM, true }, { "send", EAGAIN, false },
	{ "send", EINTR, false }, { "send", ENOBUFS, false }, { "send", EPIPE, true },
	{ "sendmsg", EAGAIN, false }, { "sendmsg", EPIPE, true }, { "recvmsg", EINTR, false },
	{ "recvmsg", EAGAIN, false }, { "recvmsg", ECONNRESET, true }, { "fcntl", EBADF, true },
};

/* One client asks for much, an event comes, and it leaves. */
static void converse(struct peer *peer, bool pretty)
{
	const struct monitor_options options = { .pretty = pretty };
	int fd[2];
	struct error err;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	*peer = (struct peer){ .fd = fd[0] };
	if (monitor_add_client(wire.monitor, fd[1], fd[1], &options, &err) < 0) {
		ck_assert_ptr_null(strchr(err.text, '\n'));
		ck_assert_uint_gt(strlen(err.text), 10);
	}
	wire_settle(&wire, peer);
	for (int i = 0; i < 2 && !peer->eof; i++) {
		const char *text = i ? EXECUTE("query-qmp-schema") "[" QUERY :
				       NEGOTIATE QUERY "tru ";

		/* Not send(), which is the monitor's to fail. */
		ck_assert_int_eq(write(peer->fd, text, strlen(text)), (ssize_t)strlen(text));
		wire_settle(&wire, peer);
	}
	if (!peer->eof)
		ck_assert_int_eq(write(peer->fd, "]", 1), 1);
	wire_settle(&wire, peer);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_settle(&wire, peer);
}

/* Greeting, three replies before and two behind the schema, and the event. */
START_TEST(test_session)
{
	struct peer peer, after;
	bool failed = true, dropped = false;
	unsigned int n;

	for (n = 1; failed; n++) {
		ck_assert_uint_lt(n, 1000);
		call_fail(session_calls[_i].name, n, session_calls[_i].code);
		converse(&peer, n % 2);
		failed = call_has_failed();
		call_fail(session_calls[_i].name, 0, 0);
		wire_settle(&wire, &peer);
		expect_lines(&peer, n % 2);
		dropped |= peer.eof;
		ck_assert(!peer.eof || failed);
		ck_assert_msg(peer.eof || (peer_count(&peer, "\"QMP\"") == 1 &&
					   peer_count(&peer, "\"event\": \"STOP\"") == 1 &&
					   peer_count(&peer, "\"desc\": ") == 2),
			      "%s %u: %u %u %u", session_calls[_i].name, n,
			      peer_count(&peer, "\"QMP\""),
			      peer_count(&peer, "\"event\": \"STOP\""),
			      peer_count(&peer, "\"desc\": "));
		/* And whoever comes next is served. */
		after = wire_connect_ready(&wire);
		wire_expect(&wire, &after, QUERY, NAME);
		peer_close(&after);
		peer_close(&peer);
		wire_settle(&wire, NULL);
		ck_assert_uint_eq(wire_clients(&wire), 0);
	}
	ck_assert_uint_gt(n, 2);
	ck_assert(!session_calls[_i].spoils || dropped);
}
END_TEST

/* ---- the parser ---- */

/* Each part of a message that takes memory: many members, deep nesting, long numbers. */
static const char *const messages[] = {
	"{'a':1,'b':2,'c':3,'d':4,'e':5,'f':6,'g':7,'h':8,'i':9,'j':10,'k':11}",
	"[[[[[[[[[[[[[[[[[[[['string']]]]]]]]]]]]]]]]]]]]",
	"[1000000000000000000000000000000000000000000000000000000000000000000000000001]",
	/* An error behind many members looks for two of a name among them first. */
	"{'a':1,'b':2,'c':3,'d':4,'e':5,'f':6,'g':7,'h':8,'i':9,'j':10,,}",
};

struct parsed {
	unsigned int values, errors, out_of_memory;
};

static bool count_value(void *opaque, struct json_value *value, const char *error)
{
	struct parsed *parsed = opaque;

	parsed->values += value != NULL;
	parsed->errors += error != NULL;
	parsed->out_of_memory += error && strstr(error, "out of memory");
	return true;
}

/* In two pieces, so that any token may be one that is kept: one value, or one error, of each. */
START_TEST(test_parser)
{
	const char *text = messages[_i];
	size_t len = strlen(text);

	for (size_t cut = 0; cut <= len; cut++) {
		bool failed = true;

		for (unsigned int n = 1; failed; n++) {
			struct parsed parsed = { 0 };
			struct json_parser *parser = json_parser_new(count_value, &parsed);

			alloc_fail_at(n);
			json_parser_feed(parser, text, cut);
			json_parser_feed(parser, text + cut, len - cut);
			failed = alloc_has_failed();
			alloc_fail_at(0);
			if (json_parser_is_broken(parser)) {
				ck_assert(failed);
				ck_assert_uint_eq(parsed.out_of_memory, 1);
			} else {
				ck_assert_uint_eq(parsed.values + parsed.errors, 1);
				ck_assert_uint_eq(parsed.out_of_memory, failed);
				json_parser_feed(parser, "{}", 2);
				ck_assert_uint_eq(parsed.values + parsed.errors, 2);
			}
			json_parser_free(parser);
		}
	}
}
END_TEST

/* A number may end with the stream. */
START_TEST(test_parser_end)
{
	struct parsed parsed = { 0 };
	struct json_parser *parser = json_parser_new(count_value, &parsed);

	/* Of so many digits that they are copied. */
	for (int i = 0; i < 100; i++)
		json_parser_feed(parser, "1", 1);
	ck_assert_uint_eq(parsed.values + parsed.errors, 0);
	alloc_fail_at(1);
	json_parser_end(parser);
	ck_assert(alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_eq(parsed.out_of_memory, 1);
	json_parser_free(parser);
}
END_TEST

/* ---- the whole ---- */

START_TEST(test_no_monitor)
{
	struct monitor_config config = wire.monitor->config;
	struct monitor *monitor = NULL;
	struct error err;
	unsigned int n;

	for (n = 1; !monitor; n++) {
		alloc_fail_at(n);
		monitor = monitor_new(&config, &err);
		ck_assert_int_eq(!monitor, alloc_has_failed());
		alloc_fail_at(0);
		if (!monitor)
			ck_assert_str_eq(err.text, "out of memory for the monitor");
	}
	ck_assert_uint_gt(n, 3);
	monitor_free(monitor);
}
END_TEST

/* libevent's lines about what does not work. */
static void no_log(int severity, const char *line)
{
	(void)severity;
	(void)line;
}

/* A file is told from what can be waited for by epoll(7); without it there is an error at worst. */
START_TEST(test_no_epoll)
{
	const struct monitor_options options = { .mode = MONITOR_CONTROL };
	struct error err;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC);

	event_set_log_callback(no_log);
	call_fail("epoll_create1", 1, EMFILE);
	ck_assert_int_eq(monitor_serve(wire.monitor, file, out, &options, &err), -1);
	ck_assert(call_has_failed());
	ck_assert_str_eq(err.text, "the event loop does not take a monitor client");
	ck_assert_uint_eq(wire_clients(&wire), 0);
	ck_assert_int_eq(fcntl(file, F_GETFD), -1);
	ck_assert_int_eq(fcntl(out, F_GETFD), -1);
}
END_TEST

Suite *wire_fail_suite(void)
{
	Suite *suite = suite_create("wire fail");
	TCase *tc = tcase_create("wire");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_session, 0, sizeof(session_calls) / sizeof(session_calls[0]));
	tcase_add_loop_test(tc, test_parser, 0, sizeof(messages) / sizeof(messages[0]));
	tcase_add_test(tc, test_parser_end);
	tcase_add_test(tc, test_no_monitor);
	tcase_add_test(tc, test_no_epoll);
	suite_add_tcase(suite, tc);
	return suite;
}
