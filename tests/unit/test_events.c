/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/json_oracle.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* An event's line from behind the timestamp on, in what has been read. */
static const char *behind_timestamp(const struct peer *peer)
{
	const char *behind = peer->text ? strstr(peer->text, "}, ") : NULL;

	return behind ? behind + 3 : "";
}

START_TEST(test_format)
{
	long long seconds, microseconds;
	struct timespec before, after;
	struct wire wire;
	struct peer peer;
	int end = 0;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	clock_gettime(CLOCK_REALTIME, &before);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	clock_gettime(CLOCK_REALTIME, &after);
	wire_settle(&wire, &peer);
	ck_assert_int_eq(sscanf(peer.text, "{\"timestamp\": {\"seconds\": %lld, "
				"\"microseconds\": %lld}, \"event\": \"STOP\"}\r%n", &seconds,
				&microseconds, &end), 2);
	/* The white space at the end of the format stands for CR and LF both. */
	ck_assert_uint_eq((size_t)end, peer.len);
	seconds = seconds * 1000000 + microseconds;
	ck_assert_int_ge(seconds, before.tv_sec * 1000000LL + before.tv_nsec / 1000);
	ck_assert_int_le(seconds, after.tv_sec * 1000000LL + after.tv_nsec / 1000);
	ck_assert_int_lt(microseconds, 1000000);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_vm_events)
{
	static const struct {
		struct vm_event event;
		const char *text;
	} cases[] = {
		{ { .type = VM_EVENT_STOP }, "\"event\": \"STOP\"}\r\n" },
		{ { .type = VM_EVENT_RESUME }, "\"event\": \"RESUME\"}\r\n" },
		{ { .type = VM_EVENT_POWERDOWN }, "\"event\": \"POWERDOWN\"}\r\n" },
		{ { .type = VM_EVENT_RESET, .cause = SHUTDOWN_CAUSE_GUEST_RESET },
		  "\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": "
		  "\"guest-reset\"}}\r\n" },
		{ { .type = VM_EVENT_SHUTDOWN, .cause = SHUTDOWN_CAUSE_HOST_QMP_QUIT },
		  "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": "
		  "\"host-qmp-quit\"}}\r\n" },
		{ { .type = VM_EVENT_GUEST_PANICKED, .action = GUEST_PANIC_POWEROFF },
		  "\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"poweroff\"}}\r\n" },
		{ { .type = VM_EVENT_GUEST_CRASHLOADED, .action = GUEST_PANIC_RUN },
		  "\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}\r\n" },
		{ { .type = VM_EVENT_EXIT, .exit_status = 1 }, "" },
	};
	struct wire wire;
	struct peer peer;
	size_t i;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		monitor_vm_event(wire.monitor, &cases[i].event);
		wire_settle(&wire, &peer);
		ck_assert_str_eq(behind_timestamp(&peer), cases[i].text);
		peer_clear(&peer);
	}
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_only_negotiated)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_expect(&wire, &peer, "", GREETING);
	/* Nor when negotiation failed. */
	wire_expect(&wire, &peer, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
		    "{\"enable\":[\"foo\"]}}",
		    ERROR("Parameter 'null' does not accept value 'foo'"));
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_expect(&wire, &peer, NEGOTIATE, OK);
	monitor_emit(wire.monitor, QMP_EVENT_RESUME, NULL);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\"event\""), 1);
	ck_assert_uint_eq(peer_count(&peer, "\"RESUME\""), 1);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

static void shut_down(struct wire *wire)
{
	const struct vm_event event = {
		.type = VM_EVENT_SHUTDOWN,
		.cause = SHUTDOWN_CAUSE_HOST_QMP_QUIT,
	};

	monitor_vm_event(wire->monitor, &event);
}

/* Events precede the return of the command that causes them. */
START_TEST(test_before_return)
{
	struct wire wire;
	struct peer peer, other;

	wire_open(&wire);
	wire.on_quit = shut_down;
	other = wire_connect_ready(&wire);
	peer = wire_connect_ready(&wire);
	wire_send(&wire, &peer, "{\"execute\":\"quit\",\"id\":1}", 25);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(wire.quits, 1);
	ck_assert_str_eq(behind_timestamp(&peer),
			 "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": "
			 "\"host-qmp-quit\"}}\r\n{\"return\": {}, \"id\": 1}\r\n");
	peer_read(&other);
	ck_assert_uint_eq(peer_count(&other, "\"SHUTDOWN\""), 1);
	ck_assert_uint_eq(peer_count(&other, "return"), 0);
	peer_close(&peer);
	peer_close(&other);
	wire_close(&wire);
}
END_TEST

/* What is queued when the monitor goes is sent, if the socket takes it. */
START_TEST(test_last_event)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	shut_down(&wire);
	wire_close(&wire);
	peer_read(&peer);
	ck_assert(peer.eof);
	ck_assert_uint_eq(peer_count(&peer, "\"SHUTDOWN\""), 1);
	peer_close(&peer);
}
END_TEST

/* All clients get the very same bytes, but for those that want them in lines. */
START_TEST(test_broadcast)
{
	enum { CLIENTS = 200 };
	struct peer peer[CLIENTS], pretty;
	struct wire wire;
	int i;

	wire_open(&wire);
	for (i = 0; i < CLIENTS; i++)
		peer[i] = wire_connect_ready(&wire);
	pretty = wire_connect(&wire, true);
	wire_send(&wire, &pretty, NEGOTIATE, strlen(NEGOTIATE));
	wire_settle(&wire, &pretty);
	peer_clear(&pretty);

	monitor_emit(wire.monitor, QMP_EVENT_RESET, "{\"guest\": true, \"reason\": \"x\"}");
	wire_settle(&wire, &pretty);
	for (i = 0; i < CLIENTS; i++) {
		peer_read(&peer[i]);
		ck_assert_uint_gt(peer[i].len, 0);
		ck_assert_str_eq(peer[i].text, peer[0].text);
	}
	ck_assert_uint_gt(peer_count(&pretty, "\r\n    "), 5);
	ck_assert(oracle_equal(pretty.text, pretty.len, peer[0].text, peer[0].len));
	for (i = 0; i < CLIENTS; i++)
		peer_close(&peer[i]);
	peer_close(&pretty);
	wire_close(&wire);
}
END_TEST

/*
 * The first event at once; of those that follow within the interval the last, when it is over; and
 * then the same again.  The timer runs only while the loop does.
 */
START_TEST(test_rate_limit)
{
	const unsigned int interval_ms = 50, hour_ms = 3600 * 1000;
	struct wire wire;
	struct peer peer;
	char data[32];
	int i, round;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 5; i++) {
			snprintf(data, sizeof(data), "{\"n\": %d}", 10 * round + i);
			monitor_emit_limited(wire.monitor, QMP_EVENT_RESET, data, interval_ms);
		}
		/* Another event is not concerned. */
		monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
		while (peer_count(&peer, "{\"n\": ") < (round ? 3u : 2u)) {
			event_base_loop(wire.base, EVLOOP_ONCE);
			peer_read(&peer);
		}
	}
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": 0}"), 1);
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": 4}"), 1);
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": 14}"), 1);
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": "), 3);
	ck_assert_uint_eq(peer_count(&peer, "\"STOP\""), 2);

	/* Once the interval is over with nothing in it, the next one is the first again. */
	while (evtimer_pending(wire.monitor->limit[QMP_EVENT_RESET].timer, NULL))
		event_base_loop(wire.base, EVLOOP_ONCE);
	monitor_emit_limited(wire.monitor, QMP_EVENT_RESET, "{\"n\": 20}", hour_ms);
	monitor_emit_limited(wire.monitor, QMP_EVENT_RESET, "{\"n\": 21}", hour_ms);
	wire_turn(&wire);
	peer_read(&peer);
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": 20}"), 1);
	ck_assert_uint_eq(peer_count(&peer, "{\"n\": 21}"), 0);
	peer_close(&peer);
	/* The one that still waits goes with the monitor. */
	wire_close(&wire);
}
END_TEST

/*
 * Without memory all clients miss an event, which is logged, or one that can not be told of it is
 * dropped, never another; an event that is to come later is not lost for want of its timer.
 */
START_TEST(test_no_memory)
{
	const unsigned int interval_ms = _i ? 3600 * 1000 : 0;
	struct peer peer[3];
	struct wire wire;
	bool failed = true, missed = false, dropped = false;

	for (unsigned int n = 1; failed; n++) {
		bool fails_for_all;

		wire_open(&wire);
		for (int i = 0; i < 3; i++) {
			peer[i] = wire_connect(&wire, i == 1);
			/* The third has not negotiated, and is not told. */
			wire_send(&wire, &peer[i], NEGOTIATE, i == 2 ? 0 : strlen(NEGOTIATE));
			wire_settle(&wire, &peer[i]);
			peer_clear(&peer[i]);
		}
		alloc_fail_at(n);
		monitor_emit_limited(wire.monitor, QMP_EVENT_STOP, NULL, interval_ms);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		fails_for_all = strstr(wire_log_last, "monitor clients miss an event");
		for (int i = 0; i < 3; i++) {
			wire_settle(&wire, &peer[i]);
			ck_assert_uint_eq(peer_count(&peer[i], "\"STOP\""),
					  i < 2 && !fails_for_all && !peer[i].eof);
			ck_assert(!peer[i].eof || (failed && i == 1));
		}
		missed |= fails_for_all;
		dropped |= peer[1].eof;
		for (int i = 0; i < 3; i++)
			peer_close(&peer[i]);
		wire_close(&wire);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert(missed);
	ck_assert(dropped);
}
END_TEST

/* As in QEMU, when the time can not be told. */
START_TEST(test_no_clock)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	call_fail("clock_gettime", 1, EINVAL);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	ck_assert(call_has_failed());
	wire_expect(&wire, &peer, "", "{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}, "
		    "\"event\": \"STOP\"}\r\n");
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

Suite *events_suite(void)
{
	Suite *suite = suite_create("events");
	TCase *tc = tcase_create("events");

	tcase_add_test(tc, test_format);
	tcase_add_test(tc, test_vm_events);
	tcase_add_test(tc, test_only_negotiated);
	tcase_add_test(tc, test_before_return);
	tcase_add_test(tc, test_last_event);
	tcase_add_test(tc, test_broadcast);
	tcase_add_test(tc, test_rate_limit);
	tcase_add_loop_test(tc, test_no_memory, 0, 2);
	tcase_add_test(tc, test_no_clock);
	suite_add_tcase(suite, tc);
	return suite;
}
