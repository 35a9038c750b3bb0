/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "monitor/hmp_internal.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Replies that come later, and requests that do not wait for them. */

#define NEGOTIATE_OOB "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}"
/* The command that defers here, in place of what it does elsewhere. */
#define LATER "{\"execute\":\"system_powerdown\",\"id\":7}"
#define LATER_HMP "{\"execute\":\"human-monitor-command\",\"id\":7," \
	"\"arguments\":{\"command-line\":\"system_powerdown\"}}"
#define QUERY "{\"execute\":\"query-name\"}"
#define NAME "{\"return\": {\"name\": \"guest\"}}\r\n"
#define DONE "{\"return\": {}, \"id\": 7}\r\n"
/* Out of band, and refused; which shows when it was looked at. */
#define URGENT "{\"exec-oob\":\"query-name\",\"id\":8}"
#define NOT_URGENT ERROR_WITH_ID("8", "The command query-name does not support OOB")

/* ---- the command ---- */

static struct work {
	enum { LEAVE, ANSWER, FAIL, REFUSE } in_handler;
	struct qmp_pending *pending;
	unsigned int begun, gone;
	bool emit;
	struct monitor *monitor;
} work;

static void on_gone(void *opaque)
{
	ck_assert_ptr_eq(opaque, &work);
	work.gone++;
	work.pending = NULL;
	if (work.emit)
		monitor_emit(work.monitor, QMP_EVENT_STOP, NULL);
}

static void finish(void)
{
	struct qmp_pending *pending = work.pending;

	work.pending = NULL;
	qmp_pending_return(pending);
}

int __real_qmp_system_powerdown(struct qmp_call *call);
int __wrap_qmp_system_powerdown(struct qmp_call *call);
int __wrap_qmp_system_powerdown(struct qmp_call *call)
{
	struct error err;

	/* With a machine it is the command that the schema means. */
	if (monitor_vm(call->monitor))
		return __real_qmp_system_powerdown(call);
	work.begun++;
	work.monitor = call->monitor;
	work.pending = qmp_defer(call, on_gone, &work);
	if (!work.pending)
		return -1;
	switch (work.in_handler) {
	case LEAVE:
		break;
	case ANSWER:
		finish();
		break;
	case FAIL:
		error_set(&err, EIO, "at once");
		qmp_pending_error(work.pending, QMP_DEVICE_NOT_FOUND, &err);
		break;
	case REFUSE:
		work.pending = NULL;
		return error_set(&call->error, EBUSY, "not now");
	}
	return QMP_LATER;
}

void __real_hmp_system_powerdown(struct hmp *hmp, const struct hmp_args *args);
void __wrap_hmp_system_powerdown(struct hmp *hmp, const struct hmp_args *args);
void __wrap_hmp_system_powerdown(struct hmp *hmp, const struct hmp_args *args)
{
	if (hmp->vm) {
		__real_hmp_system_powerdown(hmp, args);
		return;
	}
	text_printf(hmp->out, "before\n");
	work.pending = hmp_defer(hmp, on_gone, &work);
	ck_assert_ptr_nonnull(work.pending);
	text_printf(hmp->out, "behind\n");
	if (work.in_handler == ANSWER)
		finish();
}

static void setup(void)
{
	memset(&work, 0, sizeof(work));
}

/* ---- tests ---- */

START_TEST(test_order)
{
	struct wire wire;
	struct peer peer, other;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	other = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER QUERY, "");
	ck_assert_uint_eq(work.begun, 1);
	/* What comes later waits as well, and nobody else does. */
	wire_expect(&wire, &peer, QUERY "[", "");
	wire_expect(&wire, &other, QUERY, NAME);
	monitor_emit(wire.monitor, QMP_EVENT_RESUME, NULL);
	finish();
	wire_settle(&wire, &peer);
	ck_assert_ptr_nonnull(strstr(peer.text, "\"RESUME\"}\r\n" DONE NAME NAME));
	ck_assert_uint_eq(peer_count(&peer, "\r\n"), 4);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "]", ERROR("QMP input must be a JSON object"));
	ck_assert_uint_eq(work.gone, 0);
	peer_close(&other);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_values)
{
	struct error err;
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER, "");
	json_write_int(qmp_pending_reply(work.pending), "return", 5);
	finish();
	wire_expect(&wire, &peer, "", "{\"return\": 5, \"id\": 7}\r\n");

	/* Whatever has been written is not part of an error. */
	wire_expect(&wire, &peer, LATER, "");
	json_write_object(qmp_pending_reply(work.pending), "return");
	error_set(&err, EIO, "no luck");
	qmp_pending_error(work.pending, QMP_DEVICE_NOT_ACTIVE, &err);
	wire_expect(&wire, &peer, "", "{\"id\": 7, " FAILURE("DeviceNotActive", "no luck"));

	/* No id, no member; and all of it in lines. */
	peer_close(&peer);
	peer = wire_connect(&wire, true);
	wire_send(&wire, &peer, NEGOTIATE, strlen(NEGOTIATE));
	wire_settle(&wire, &peer);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "{\"execute\":\"system_powerdown\"}", "");
	json_write_array(qmp_pending_reply(work.pending), "return");
	json_write_array_end(qmp_pending_reply(work.pending));
	finish();
	wire_expect(&wire, &peer, "", "{\r\n    \"return\": [\r\n    ]\r\n}\r\n");
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* The end may come before the handler has returned. */
START_TEST(test_at_once)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	work.in_handler = ANSWER;
	wire_expect(&wire, &peer, LATER QUERY, DONE NAME);
	work.in_handler = FAIL;
	wire_expect(&wire, &peer, LATER QUERY,
		    "{\"id\": 7, " FAILURE("DeviceNotFound", "at once") NAME);
	work.in_handler = REFUSE;
	wire_expect(&wire, &peer, LATER QUERY, ERROR_WITH_ID("7", "not now") NAME);
	ck_assert_uint_eq(work.gone, 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_out_of_band)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	wire_expect(&wire, &peer, NEGOTIATE_OOB, GREETING OK);
	wire_expect(&wire, &peer, LATER QUERY URGENT URGENT QUERY, NOT_URGENT NOT_URGENT);
	/* Errors have their place in the queue, and so has what is not clearly out of band. */
	wire_expect(&wire, &peer, "{\"exec-oob\":1,\"execute\":1,\"id\":9}\xff", "");
	finish();
	wire_expect(&wire, &peer, "", DONE NAME NAME
		    ERROR_WITH_ID("9", "QMP input member 'exec-oob' must be a string")
		    ERROR("JSON parse error, stray '\\uFFFD'"));
	/* A command that overtakes others can not leave its own reply for later. */
	ck_assert_uint_eq(work.begun, 1);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Members of a request, where exec-oob is one. */
START_TEST(test_oob_table)
{
	static const struct {
		const char *request, *reply;
	} table[] = {
		{ URGENT, NOT_URGENT },
		{ "{\"exec-oob\":\"zzz\",\"id\":3}",
		  "{\"id\": 3, " FAILURE("CommandNotFound", "The command zzz has not been found") },
		{ "{\"exec-oob\":\"query-name\",\"execute\":\"query-name\",\"id\":4}",
		  ERROR_WITH_ID("4", "QMP input member 'execute' clashes with 'exec-oob'") },
		{ "{\"execute\":\"query-name\",\"exec-oob\":\"query-name\"}",
		  ERROR("QMP input member 'execute' clashes with 'exec-oob'") },
		{ "{\"exec-oob\":5,\"id\":6}",
		  ERROR_WITH_ID("6", "QMP input member 'exec-oob' must be a string") },
		{ "{\"exec-oob\":\"query-name\",\"arguments\":{\"a\":1}}",
		  ERROR("The command query-name does not support OOB") },
		{ "{\"exec-oob\":\"query-status\",\"arguments\":{\"a\":1}}",
		  ERROR("Parameter 'a' is unexpected") },
		{ "{\"exec-oob\":\"query-status\",\"extra\":1}",
		  ERROR("QMP input member 'extra' is unexpected") },
		{ "{\"exec-oob\":\"query-status\",\"arguments\":[]}",
		  ERROR("QMP input member 'arguments' must be an object") },
		{ "{\"exec-oob\":\"qmp_capabilities\"}",
		  ERROR("The command qmp_capabilities does not support OOB") },
		{ QUERY, NAME },
	};
	struct wire wire;
	struct peer peer;
	size_t i;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	wire_expect(&wire, &peer, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
		    "{\"enable\":[\"oo\"]}}", GREETING
		    ERROR("Parameter 'null' does not accept value 'oo'"));
	wire_expect(&wire, &peer, "{\"exec-oob\":\"query-name\"}",
		    ERROR("QMP input member 'exec-oob' is unexpected"));
	wire_expect(&wire, &peer, NEGOTIATE_OOB, OK);
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		wire_expect(&wire, &peer, table[i].request, table[i].reply);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Input rests when so many requests wait, those out of band behind them too; none gets lost. */
START_TEST(test_full_queue)
{
	struct wire wire;
	struct peer peer;
	int i;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	wire_expect(&wire, &peer, NEGOTIATE_OOB, GREETING OK);
	wire_expect(&wire, &peer, LATER, "");
	for (i = 0; i < QUEUE_LENGTH - 1; i++)
		wire_expect(&wire, &peer, QUERY, "");
	wire_expect(&wire, &peer, URGENT, NOT_URGENT);
	wire_expect(&wire, &peer, QUERY URGENT QUERY, "");
	/* It is asked for no more once there is more that must not be read. */
	ck_assert(TAILQ_FIRST(&wire.monitor->clients)->reading);
	wire_expect(&wire, &peer, QUERY, "");
	ck_assert(!TAILQ_FIRST(&wire.monitor->clients)->reading);
	finish();
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, NAME), QUEUE_LENGTH + 2);
	ck_assert_uint_eq(peer_count(&peer, NOT_URGENT), 1);
	ck_assert_int_eq(strncmp(peer.text, DONE, strlen(DONE)), 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* What was typed ahead of the end of a command comes before what is typed after it. */
START_TEST(test_typed_ahead)
{
	const struct monitor_options options = { .mode = MONITOR_READLINE };
	const char *lines[] = { "'1'", "'2'", "'3'" }, *at;
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_with(&wire, &options);
	wire_send(&wire, &peer, "system_powerdown\n1\n2\n", 21);
	wire_settle(&wire, &peer);
	ck_assert_ptr_nonnull(work.pending);
	ck_assert_ptr_null(strstr(peer.text, "unknown command"));
	finish();
	/* Before the loop has had a turn. */
	ck_assert_int_eq(send(peer.fd, "3\n", 2, 0), 2);
	wire_settle(&wire, &peer);
	at = peer.text;
	for (int i = 0; i < 3; i++) {
		at = strstr(at, "unknown command: ");
		ck_assert_ptr_nonnull(at);
		at += strlen("unknown command: ");
		ck_assert_int_eq(strncmp(at, lines[i], 3), 0);
	}
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* The work is told, once and from the loop, that nobody waits any more; by then it may emit. */
START_TEST(test_gone)
{
	struct wire wire;
	struct peer peer, other;

	wire_open(&wire);
	other = wire_connect_ready(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER QUERY, "");
	work.emit = _i;
	if (_i)
		peer_close(&peer);
	else
		/* In the midst of an event to all: not from inside of that. */
		client_close(TAILQ_LAST(&wire.monitor->clients, client_list), NULL);
	ck_assert_uint_eq(work.gone, 0);
	wire_settle(&wire, &other);
	ck_assert_uint_eq(work.gone, 1);
	ck_assert_uint_eq(peer_count(&other, "STOP"), _i);
	ck_assert_uint_eq(wire_clients(&wire), 1);
	peer_close(&peer);
	peer_close(&other);
	wire_close(&wire);
	ck_assert_uint_eq(work.gone, 1);
}
END_TEST

/* An answer between the client's end and the turn of the loop that would have told of it. */
START_TEST(test_gone_and_answered)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER, "");
	client_close(TAILQ_FIRST(&wire.monitor->clients), NULL);
	finish();
	wire_settle(&wire, NULL);
	ck_assert_uint_eq(work.gone, 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* The same when input rests because so much has been sent. */
START_TEST(test_gone_unread)
{
	struct wire wire;
	struct peer peer;
	int i;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER, "");
	for (i = 0; i < 2 * QUEUE_LENGTH; i++)
		wire_expect(&wire, &peer, QUERY, "");
	ck_assert(!TAILQ_FIRST(&wire.monitor->clients)->reading);
	if (_i) {
		/* It only says nothing more; it has its answers, and then it goes. */
		shutdown(peer.fd, SHUT_WR);
		for (i = 0; i < 10; i++)
			wire_turn(&wire);
		ck_assert_uint_eq(work.gone, 0);
		finish();
		while (!peer.eof) {
			wire_turn(&wire);
			peer_read(&peer);
		}
		ck_assert_uint_eq(peer_count(&peer, NAME), 2 * QUEUE_LENGTH);
		wire_turn(&wire);
	}
	peer_close(&peer);
	while (wire_clients(&wire) || !TAILQ_EMPTY(&wire.monitor->orphans))
		wire_turn(&wire);
	ck_assert_uint_eq(work.gone, !_i);
	wire_close(&wire);
}
END_TEST

/* A client that says nothing more, and waits, is not gone. */
START_TEST(test_half_closed)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_send(&wire, &peer, LATER QUERY, strlen(LATER QUERY));
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	wire_expect(&wire, &peer, "", "");
	ck_assert(!peer.eof);
	finish();
	wire_settle(&wire, &peer);
	ck_assert_str_eq(peer.text, DONE NAME);
	ck_assert(peer.eof);
	ck_assert_uint_eq(work.gone, 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_end_of_monitor)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER QUERY, "");
	wire_close(&wire);
	ck_assert_uint_eq(work.gone, 1);
	peer_read(&peer);
	ck_assert(peer.eof);
	ck_assert_uint_eq(peer.len, 0);
	peer_close(&peer);
}
END_TEST

START_TEST(test_text)
{
	struct error err;
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, LATER_HMP QUERY, "");
	text_printf(qmp_pending_text(work.pending), "later\n");
	finish();
	wire_expect(&wire, &peer, "",
		    "{\"return\": \"before\\r\\nbehind\\r\\nlater\\r\\n\", \"id\": 7}\r\n" NAME);

	wire_expect(&wire, &peer, LATER_HMP, "");
	error_set(&err, EIO, "no luck");
	qmp_pending_error(work.pending, QMP_GENERIC_ERROR, &err);
	wire_expect(&wire, &peer, "", "{\"return\": \"before\\r\\nbehind\\r\\nError: no luck\\r\\n\", "
		    "\"id\": 7}\r\n");

	work.in_handler = ANSWER;
	wire_expect(&wire, &peer, LATER_HMP QUERY,
		    "{\"return\": \"before\\r\\nbehind\\r\\n\", \"id\": 7}\r\n" NAME);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Memory runs out at every place in turn: one reply, an error at worst, or the client's end. */
START_TEST(test_no_memory)
{
	struct wire wire;
	struct peer peer;
	bool failed = true, refused = false, seen = false;
	unsigned int n;
	int i;

	for (n = 1; failed; n++) {
		setup();
		wire_open(&wire);
		peer = wire_connect_ready(&wire);
		wire_send(&wire, &peer, LATER, strlen(LATER));
		alloc_fail_at(n);
		for (i = 0; i < 4; i++)
			wire_turn(&wire);
		if (work.pending) {
			json_write_string(qmp_pending_reply(work.pending), "return", "x");
			finish();
		}
		failed = alloc_has_failed();
		alloc_fail_at(0);
		wire_settle(&wire, &peer);
		ck_assert(peer.eof || peer_count(&peer, "\r\n") == 1);
		refused |= peer_count(&peer, "out of memory for a reply") == 1;
		seen |= peer_count(&peer, "the command has been carried out") == 1;
		ck_assert_uint_eq(work.gone, 0);
		peer_close(&peer);
		wire_close(&wire);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert(refused);
	ck_assert(seen);
}
END_TEST

Suite *pending_suite(void)
{
	Suite *suite = suite_create("pending");
	TCase *tc = tcase_create("pending");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_values);
	tcase_add_test(tc, test_at_once);
	tcase_add_test(tc, test_out_of_band);
	tcase_add_test(tc, test_oob_table);
	tcase_add_test(tc, test_full_queue);
	tcase_add_test(tc, test_typed_ahead);
	tcase_add_loop_test(tc, test_gone, 0, 2);
	tcase_add_test(tc, test_gone_and_answered);
	tcase_add_loop_test(tc, test_gone_unread, 0, 2);
	tcase_add_test(tc, test_half_closed);
	tcase_add_test(tc, test_end_of_monitor);
	tcase_add_test(tc, test_text);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	return suite;
}
