/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "monitor/json_internal.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/json_oracle.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Clients that are many, slow, greedy, gone or garbled: none of them may touch another. */

#define QUERY "{\"execute\":\"query-name\"}"
#define NAME "{\"return\": {\"name\": \"guest\"}}\r\n"
#define MANY 200

static struct monitor_client *last_client(struct wire *wire)
{
	return TAILQ_LAST(&wire->monitor->clients, client_list);
}

static void send_text(struct wire *wire, struct peer *peer, const char *text)
{
	wire_send(wire, peer, text, strlen(text));
}

START_TEST(test_many_clients)
{
	struct peer peer[MANY];
	struct wire wire;
	int i;

	wire_open(&wire);
	for (i = 0; i < MANY; i++)
		peer[i] = wire_connect_ready(&wire);
	for (i = 0; i < MANY; i++)
		send_text(&wire, &peer[i], QUERY QUERY);
	wire_settle(&wire, NULL);
	for (i = 0; i < MANY; i++)
		wire_expect(&wire, &peer[i], "", NAME NAME);
	/* Every second one leaves. */
	for (i = 0; i < MANY; i += 2)
		peer_close(&peer[i]);
	wire_settle(&wire, NULL);
	ck_assert_uint_eq(wire_clients(&wire), MANY / 2);
	for (i = 1; i < MANY; i += 2) {
		wire_expect(&wire, &peer[i], QUERY, NAME);
		peer_close(&peer[i]);
	}
	wire_settle(&wire, NULL);
	ck_assert_uint_eq(wire_clients(&wire), 0);
	wire_close(&wire);
}
END_TEST

/*
 * When commands take as long as a turn may, one is carried out a turn, of each client in turn; when
 * they take no time, a batch of each.  Who comes later waits for no more than that, and for no
 * reader: the greedy ones read nothing.
 */
START_TEST(test_fairness)
{
	enum { COMMANDS = 4000, TURNS = 100 };      /* more than one read takes */
	const unsigned int batch = _i ? QUEUE_LENGTH : 1;
	char commands[COMMANDS * (sizeof(QUERY) - 1)];
	struct peer greedy[2], modest;
	unsigned int count[2];
	struct wire wire;
	int i, turns = 0;

	for (i = 0; i < COMMANDS; i++)
		memcpy(commands + i * strlen(QUERY), QUERY, strlen(QUERY));
	wire_open(&wire);
	wire.monitor->turn_ns = _i ? INT32_MAX : 0;
	modest = wire_connect_ready(&wire);
	for (i = 0; i < 2; i++)
		greedy[i] = wire_connect_ready(&wire);
	for (i = 0; i < 2; i++)
		wire_send(&wire, &greedy[i], commands, sizeof(commands));
	for (i = 0; i < TURNS; i++)
		wire_turn(&wire);
	for (i = 0; i < 2; i++) {
		peer_read(&greedy[i]);
		count[i] = peer_count(&greedy[i], NAME);
		ck_assert_uint_ge(count[i], ((_i ? TURNS : TURNS / 2) - 3) * batch);
	}
	ck_assert_uint_le(count[0] + count[1], (_i ? 2 * TURNS + 2 : TURNS + 1) * batch);

	/* Between its request and the reply, whoever else had one had a batch at most. */
	send_text(&wire, &modest, QUERY);
	while (!modest.len) {
		wire_turn(&wire);
		peer_read(&modest);
		ck_assert_int_lt(++turns, _i ? 3 : 6);
	}
	ck_assert_str_eq(modest.text, NAME);
	for (i = 0; i < 2; i++) {
		wire_settle(&wire, &greedy[i]);
		ck_assert_uint_eq(peer_count(&greedy[i], NAME), COMMANDS);
		peer_close(&greedy[i]);
	}
	peer_close(&modest);
	wire_close(&wire);
}
END_TEST

/*
 * A client that sends and sends and reads nothing is not read from any more, and loses nothing when
 * it reads at last.
 */
START_TEST(test_back_pressure)
{
	const char *command = "{\"execute\":\"query-qmp-schema\"}";
	size_t one = qmp_schema_json_len + strlen("{\"return\": }\r\n");
	unsigned int sent = 0;
	bool was_blocked = false;
	struct wire wire;
	struct peer peer, other;
	ssize_t ret;

	wire_open(&wire);
	other = wire_connect_ready(&wire);
	peer = wire_connect_ready(&wire);
	for (;;) {
		ret = send(peer.fd, command, strlen(command), MSG_DONTWAIT);
		if (ret < 0)
			break;
		/* Once input rests, the socket fills up: whole commands as long as they fit. */
		ck_assert_int_eq(ret, (ssize_t)strlen(command));
		sent++;
		wire_settle(&wire, NULL);
		ck_assert_uint_lt(evbuffer_get_length(last_client(&wire)->output),
				  OUTPUT_HIGH + one);
		/* What came first behind what must not be answered yet has ended the reading. */
		ck_assert(!was_blocked || !last_client(&wire)->blocked ||
			  !last_client(&wire)->reading);
		was_blocked = last_client(&wire)->blocked;
	}
	ck_assert(last_client(&wire)->blocked);
	wire_expect(&wire, &other, QUERY, NAME);

	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer.len, sent * one);
	ck_assert(!last_client(&wire)->blocked);
	peer_clear(&peer);
	wire_expect(&wire, &peer, QUERY, NAME);
	peer_close(&other);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Events in such numbers that a client that reads none is dropped; the other one gets them all. */
START_TEST(test_slow_reader)
{
	struct wire wire;
	struct peer slow, quick;
	unsigned int sent = 0;

	wire_open(&wire);
	quick = wire_connect_ready(&wire);
	slow = wire_connect_ready(&wire);
	while (wire_clients(&wire) == 2) {
		monitor_emit(wire.monitor, QMP_EVENT_RESET, "{\"guest\": true}");
		sent++;
		if (sent % 64 == 0) {
			wire_turn(&wire);
			peer_read(&quick);
		}
	}
	ck_assert_uint_gt(sent, EVENTS_MAX / 200);
	ck_assert_uint_lt(sent, EVENTS_MAX / 50);
	ck_assert_uint_eq(wire_log_lines, 1);
	ck_assert_ptr_nonnull(strstr(wire_log_last, "too far behind"));
	wire_settle(&wire, &quick);
	ck_assert_uint_eq(peer_count(&quick, "\"RESET\""), sent);
	peer_clear(&quick);
	wire_expect(&wire, &quick, QUERY, NAME);
	/* What reached the slow one's socket are whole events, but for the last. */
	peer_read(&slow);
	ck_assert(slow.eof);
	peer_close(&slow);
	peer_close(&quick);
	wire_close(&wire);
}
END_TEST

/* A long reply that is read slowly is no reason to drop a client, however many events it missed. */
START_TEST(test_slow_reply)
{
	struct wire wire;
	struct peer peer;
	int i;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	last_client(&wire)->event_bytes = 0;
	send_text(&wire, &peer, "{\"execute\":\"zzz\",\"id\":\"");
	for (i = 0; i < 400; i++) {
		char blank[65536];

		memset(blank, ' ', sizeof(blank));
		wire_send(&wire, &peer, blank, sizeof(blank));
	}
	send_text(&wire, &peer, "\"}");
	wire_settle(&wire, NULL);
	ck_assert_uint_gt(evbuffer_get_length(last_client(&wire)->output), EVENTS_MAX);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(wire_clients(&wire), 1);
	ck_assert_uint_eq(peer_count(&peer, "\"STOP\""), 1);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

static void emit_flood(struct wire *wire)
{
	size_t i;

	for (i = 0; i < EVENTS_MAX / 80; i++)
		monitor_emit(wire->monitor, QMP_EVENT_STOP, NULL);
}

/* A client is dropped for the events of the very command that it gave. */
START_TEST(test_dropped_while_executing)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	wire.on_quit = emit_flood;
	peer = wire_connect_ready(&wire);
	send_text(&wire, &peer, "{\"execute\":\"quit\"}" QUERY QUERY);
	wire_settle(&wire, NULL);
	ck_assert_uint_eq(wire.quits, 1);
	ck_assert_uint_eq(wire_clients(&wire), 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* A client goes away after each of these, read or not. */
static const char *const last_words[] = {
	"", "{", "{\"execute\":\"query-na", NEGOTIATE, NEGOTIATE QUERY QUERY QUERY QUERY QUERY QUERY
	QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY QUERY,
	NEGOTIATE "{\"execute\":\"query-qmp-schema\"}{\"execute\":\"query-qmp-schema\"}"
	"{\"execute\":\"query-qmp-schema\"}{\"execute\":\"query-qmp-schema\"}{\"exec",
	NEGOTIATE "{\"execute\":\"quit\"}", "]]]]]]]]]]]]]]]]]]]]]]]", "\"",
};

START_TEST(test_vanished)
{
	const char *text = last_words[_i / 4];
	struct wire wire;
	struct peer peer, other;
	int i;

	wire_open(&wire);
	other = wire_connect_ready(&wire);
	peer = wire_connect(&wire, false);
	send_text(&wire, &peer, text);
	for (i = 0; i < 3 * (_i & 1); i++)
		wire_turn(&wire);
	if (_i & 2)
		peer_read(&peer);
	peer_close(&peer);
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_settle(&wire, &other);
	ck_assert_uint_eq(wire_clients(&wire), 1);
	ck_assert_uint_eq(peer_count(&other, "\"STOP\""), 1);
	peer_clear(&other);
	wire_expect(&wire, &other, QUERY, NAME);
	peer_close(&other);
	wire_close(&wire);
}
END_TEST

/* What is in use on the heap; 0 under sanitizers, which count for themselves. */
static size_t heap_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static const struct {
	const char *unit;
	size_t total;
} garbage[] = {
	{ "a", (size_t)64 << 20 },              /* one keyword that never ends */
	{ "9", (size_t)64 << 20 },
	{ "A ", (size_t)64 << 20 },             /* one stray byte, and no way to recover */
	{ "[", (size_t)16 << 20 },
	{ "{\"a\":", (size_t)16 << 20 },
	{ "[1, 2.5, \"x\", {\"a\": null}, ", (size_t)16 << 20 },
	{ "\"aaaaaaa", (size_t)2 << 20 },       /* strings with nothing between them */
	{ "\xff", (size_t)256 << 10 },          /* an error a byte */
	{ "]", (size_t)256 << 10 },
	{ NULL, (size_t)1 << 20 },              /* no pattern at all */
};

/* A 32-bit xorshift generator: the same bytes every time. */
static void fill_noise(char *bytes, size_t len)
{
	static uint32_t state = 2463534242u;

	while (len--) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		*bytes++ = (char)state;
	}
}

START_TEST(test_garbage)
{
	const size_t slack = (size_t)4 << 20;
	size_t before, done, i;
	struct wire wire;
	struct peer peer, other;
	char chunk[60000];

	wire_open(&wire);
	other = wire_connect_ready(&wire);
	peer = wire_connect_ready(&wire);
	before = heap_in_use();
	for (done = 0; done < garbage[_i].total; done += sizeof(chunk)) {
		if (!garbage[_i].unit)
			fill_noise(chunk, sizeof(chunk));
		else if (!done)
			for (i = 0; i < sizeof(chunk); i++)
				chunk[i] = garbage[_i].unit[i % strlen(garbage[_i].unit)];
		wire_send(&wire, &peer, chunk, sizeof(chunk));
		wire_settle(&wire, &peer);
		peer_clear(&peer);
		/* The longest token there can be, with what doubling its buffer takes. */
		ck_assert_uint_lt(heap_in_use(), before + 2 * JSON_MAX_BYTES + slack);
	}
	wire_expect(&wire, &other, QUERY, NAME);
	/* One control character, and the client is understood again. */
	wire_send(&wire, &peer, "\x01", 1);
	wire_settle(&wire, &peer);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "\n" QUERY, NAME);
	ck_assert_uint_lt(heap_in_use(), before + slack);
	peer_close(&other);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Memory runs out at every place there is in turn: whole lines, or the end. */
START_TEST(test_no_memory)
{
	static const char *const request = "{\"execute\":\"query-commands\",\"arguments\":{},"
		"\"id\":[1,2,3,4,5,{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}]}tru " QUERY;
	struct wire wire;
	struct peer peer;
	bool failed = true, seen = false;
	unsigned int n;
	char *line, *end;

	for (n = 1; failed; n++) {
		wire_open(&wire);
		peer = wire_connect_ready(&wire);
		send_text(&wire, &peer, request);
		alloc_fail_at(n);
		wire_turn(&wire);
		wire_turn(&wire);
		wire_turn(&wire);
		wire_turn(&wire);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		wire_settle(&wire, &peer);
		for (line = peer.text; line && *line; line = end + 2) {
			end = strstr(line, "\r\n");
			ck_assert_msg(end, "%s", line);
			ck_assert_msg(oracle_accepts(line, (size_t)(end - line)), "%s", line);
		}
		ck_assert(peer.eof || peer_count(&peer, "\r\n") == 3);
		seen |= peer_count(&peer, "Out of memory for the reply") == 1;
		peer_close(&peer);
		wire_close(&wire);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert_uint_gt(n, 3);
	/* The command was carried out, its reply too long for the memory there is. */
	ck_assert(seen);
}
END_TEST

/* The same for one that connects: served or turned away, and never left without a greeting. */
START_TEST(test_no_memory_to_connect)
{
	struct wire wire;
	struct peer peer;
	const struct monitor_options options = { .mode = MONITOR_CONTROL };
	struct error err;
	bool failed = true;
	unsigned int n;
	int fd[2];

	wire_open(&wire);
	for (n = 1; failed; n++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		alloc_fail_at(n);
		monitor_add_client(wire.monitor, fd[1], fd[1], &options, &err);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		peer = (struct peer){ .fd = fd[0] };
		wire_settle(&wire, &peer);
		ck_assert_int_eq(peer.eof, failed);
		ck_assert_str_eq(peer.text, failed ? "" : GREETING);
		peer_close(&peer);
	}
	ck_assert_uint_gt(n, 3);
	wire_close(&wire);
}
END_TEST

Suite *wire_flow_suite(void)
{
	Suite *suite = suite_create("wire flow");
	TCase *tc = tcase_create("flow");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_many_clients);
	tcase_add_loop_test(tc, test_fairness, 0, 2);
	tcase_add_test(tc, test_back_pressure);
	tcase_add_test(tc, test_slow_reader);
	tcase_add_test(tc, test_slow_reply);
	tcase_add_test(tc, test_dropped_while_executing);
	tcase_add_loop_test(tc, test_vanished, 0, 4 * sizeof(last_words) / sizeof(last_words[0]));
	tcase_add_loop_test(tc, test_garbage, 0, sizeof(garbage) / sizeof(garbage[0]));
	tcase_add_test(tc, test_no_memory);
	tcase_add_test(tc, test_no_memory_to_connect);
	suite_add_tcase(suite, tc);
	return suite;
}
