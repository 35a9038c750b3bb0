/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/json_oracle.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* What is answered to what, byte by byte, as QEMU 7.2 answers it. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PARSE_ERROR(text) ERROR("JSON parse error, " text)
#define NOT_OBJECT ERROR("QMP input must be a JSON object")
#define EXPECTING "Expecting capabilities negotiation with 'qmp_capabilities'"
#define NOT_NEGOTIATED "{" FAILURE("CommandNotFound", EXPECTING)

/* Every row leaves the parser between two messages. */
struct row {
	const char *input;
	size_t len;
	const char *reply;
};

#define ROW(input, reply) { input, sizeof(input) - 1, reply }

static const struct row requests[] = {
	ROW("[1]", NOT_OBJECT),
	ROW("\"s\"", NOT_OBJECT),
	ROW("42 ", NOT_OBJECT),
	ROW("-0.5e-3\n", NOT_OBJECT),
	ROW("true ", NOT_OBJECT),
	ROW("null\r\n", NOT_OBJECT),
	ROW("{}", ERROR("QMP input lacks member 'execute'")),
	ROW("{\"id\":9}", ERROR_WITH_ID("9", "QMP input lacks member 'execute'")),
	ROW("{\"execute\":5,\"id\":1}",
	    ERROR_WITH_ID("1", "QMP input member 'execute' must be a string")),
	ROW("{\"execute\":\"query-name\",\"extra\":1,\"id\":[]}",
	    ERROR_WITH_ID("[]", "QMP input member 'extra' is unexpected")),
	ROW("{\"exec-oob\":\"query-name\",\"id\":1}",
	    ERROR_WITH_ID("1", "QMP input member 'exec-oob' is unexpected")),
	ROW("{\"execute\":\"query-name\",\"exec-oob\":\"query-name\"}",
	    ERROR("QMP input member 'exec-oob' is unexpected")),
	ROW("{\"execute\":\"query-name\",\"arguments\":[],\"id\":{}}",
	    ERROR_WITH_ID("{}", "QMP input member 'arguments' must be an object")),
	ROW("{\"execute\":\"zzz\",\"id\":2}",
	    "{\"id\": 2, " FAILURE("CommandNotFound", "The command zzz has not been found")),
	ROW("{\"execute\":\"\\u0000\"}",
	    "{" FAILURE("CommandNotFound", "The command \\u0000 has not been found")),
	ROW("{\"execute\":\"query-name\",\"arguments\":{\"a\":1},\"id\":3}",
	    ERROR_WITH_ID("3", "Parameter 'a' is unexpected")),
	ROW("{\"execute\":\"query-name\"}", "{\"return\": {\"name\": \"guest\"}}\r\n"),
	ROW("{'execute':'query-name','id':'it\\'s'}",
	    "{\"return\": {\"name\": \"guest\"}, \"id\": \"it's\"}\r\n"),
	ROW(" \t\r\n{ \"id\" : null , \"execute\" : \"query-name\" , \"arguments\" : { } }",
	    "{\"return\": {\"name\": \"guest\"}, \"id\": null}\r\n"),
	ROW("{\"execute\":\"qmp_capabilities\",\"id\":1}",
	    "{\"id\": 1, " FAILURE("CommandNotFound", "Capabilities negotiation is already "
				   "complete, command ignored")),
};

static const struct row malformed[] = {
	ROW("hello ", PARSE_ERROR("invalid keyword 'hello'")),
	ROW("{\"a\":tru}", PARSE_ERROR("invalid keyword 'tru'")),
	ROW("{\"a\" 1}", PARSE_ERROR("missing : in object pair")),
	ROW("{\"a\":1 \"b\":2}", PARSE_ERROR("expected separator in dict")),
	ROW("[1 2]", PARSE_ERROR("expected separator in list")),
	ROW("{\"a\":1,}", PARSE_ERROR("expecting value")),
	ROW("[1,]", PARSE_ERROR("expecting value")),
	ROW("[,]", PARSE_ERROR("expecting value")),
	ROW("}", PARSE_ERROR("expecting value")),
	ROW(",", PARSE_ERROR("expecting value")),
	ROW("[}", PARSE_ERROR("expecting value")),
	ROW("{\"a\":[}]", PARSE_ERROR("expecting value")),
	ROW("{5:2}", PARSE_ERROR("key is not a string in object")),
	ROW("{[1]:2}", PARSE_ERROR("key is not a string in object")),
	ROW("{[1 2]:2}", PARSE_ERROR("expected separator in list")),
	ROW("{\"a\":1,\"a\":2}", PARSE_ERROR("duplicate key")),
	ROW("{\"a\":1,\"b\":{\"x\":0,\"x\":1},\"c\":tru}", PARSE_ERROR("duplicate key")),
	ROW("{\"a\":1,\"a\":2 3}", PARSE_ERROR("duplicate key")),
	ROW("{\"a\":1,\"a\":tru}", PARSE_ERROR("invalid keyword 'tru'")),
	ROW("[\"\xc0\xaf\"]", PARSE_ERROR("invalid UTF-8 sequence in string")),
	ROW("[\"\xed\xa0\x80\"]", PARSE_ERROR("invalid UTF-8 sequence in string")),
	ROW("[\"\xef\xbf\xbe\"]", PARSE_ERROR("invalid UTF-8 sequence in string")),
	ROW("[\"\xf4\x90\x80\x80\"]", PARSE_ERROR("invalid UTF-8 sequence in string")),
	ROW("[\"\xc3\"]", PARSE_ERROR("invalid UTF-8 sequence in string")),
	ROW("[\"\\ud800\"]", PARSE_ERROR("\\\\ud800 is not a valid Unicode character")),
	ROW("[\"\\ud800\\u0041\"]", PARSE_ERROR("\\\\ud800 is not a valid Unicode character")),
	ROW("[\"\\udc00\"]", PARSE_ERROR("\\\\udc00 is not a valid Unicode character")),
	ROW("[\"\\ud83f\\udffe\"]",
	    PARSE_ERROR("\\\\ud83f\\\\udffe is not a valid Unicode character")),
	ROW("[\"\\u1x34\"]", PARSE_ERROR("\\\\u1x34 is not a valid Unicode character")),
	ROW("[\"\\u12\"]", PARSE_ERROR("\\\\u12\\\" is not a valid Unicode character")),
	ROW("[\"\\q\"]", PARSE_ERROR("invalid escape sequence in string")),
	/* Lexical errors: skipped up to a byte that may begin something, or resets. */
	ROW("{\"execute\":\"query-na\xff\n",
	    PARSE_ERROR("stray '\\\"query-na\\uFFFD'")),
	ROW("{\"execute\":\"query-na\x01\r", PARSE_ERROR("stray '\\\"query-na\\u0001'")),
	ROW("{\"execute\":\"a\nb\"}",
	    PARSE_ERROR("stray '\\\"a\\n'") PARSE_ERROR("expecting value")),
	ROW("\xef\xbb\xbf{}",
	    PARSE_ERROR("stray '\\uFFFD'") ERROR("QMP input lacks member 'execute'")),
	ROW("A b c \t d]", PARSE_ERROR("stray 'A'") PARSE_ERROR("expecting value")),
	ROW("01 2\n", PARSE_ERROR("stray '01'")),
	ROW("0e1 ", NOT_OBJECT PARSE_ERROR("invalid keyword 'e'") NOT_OBJECT),
	ROW("1.x\n", PARSE_ERROR("stray '1.x'")),
	ROW("1e x\n", PARSE_ERROR("stray '1e '")),
	ROW("--\n", PARSE_ERROR("stray '--'")),
	ROW("%d\n", PARSE_ERROR("stray '%'")),
	ROW("\"a\0b\n", PARSE_ERROR("stray '\\\"a'")),
	ROW("\xff\xfe\x01\n",
	    PARSE_ERROR("stray '\\uFFFD'") PARSE_ERROR("stray '\\uFFFD'")
	    PARSE_ERROR("stray '\\u0001'")),
	ROW("hello\x80\n", PARSE_ERROR("invalid keyword 'hello'") PARSE_ERROR("stray '\\uFFFD'")),
};

static const struct {
	const struct row *row;
	size_t count;
} tables[] = {
	{ requests, COUNT(requests) },
	{ malformed, COUNT(malformed) },
};

START_TEST(test_greeting)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	wire_expect(&wire, &peer, "", GREETING);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* The row in two parts, with the loop at rest between them; then the row again, byte by byte. */
static void check_row(struct wire *wire, const struct row *row)
{
	struct peer peer = wire_connect_ready(wire);
	size_t cut, i;

	for (cut = 0; cut <= row->len; cut++) {
		wire_send(wire, &peer, row->input, cut);
		wire_settle(wire, &peer);
		wire_send(wire, &peer, row->input + cut, row->len - cut);
		wire_settle(wire, &peer);
		ck_assert_msg(!strcmp(peer.text, row->reply), "'%s' cut at %zu: '%s', not '%s'",
			      row->input, cut, peer.text, row->reply);
		peer_clear(&peer);
	}
	for (i = 0; i < row->len; i++) {
		wire_send(wire, &peer, row->input + i, 1);
		wire_settle(wire, &peer);
	}
	ck_assert_str_eq(peer.text, row->reply);
	peer_close(&peer);
	wire_settle(wire, NULL);
}

START_TEST(test_table)
{
	struct wire wire;
	size_t i;

	wire_open(&wire);
	for (i = 0; i < tables[_i].count; i++)
		check_row(&wire, &tables[_i].row[i]);
	wire_close(&wire);
}
END_TEST

/* All rows of a table at once, many times over: far more than the queue holds. */
START_TEST(test_glued)
{
	const struct row *row = tables[_i].row;
	char input[16384], expected[16384];
	struct wire wire;
	struct peer peer;
	size_t i, len = 0;
	int round;

	expected[0] = '\0';
	for (i = 0; i < tables[_i].count; i++) {
		memcpy(input + len, row[i].input, row[i].len);
		len += row[i].len;
		strcat(expected, row[i].reply);
	}
	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	for (round = 0; round < 20; round++)
		wire_send(&wire, &peer, input, len);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer.len, 20 * strlen(expected));
	for (round = 0; round < 20; round++)
		ck_assert_int_eq(memcmp(peer.text + round * strlen(expected), expected,
					strlen(expected)), 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_id)
{
	static const char *const ids[] = {
		"null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808",
		"0.5", "-1.25e-30", "\"\"", "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u00e9\xc3\xa9\"",
		"\"\\ud83d\\ude00\xf0\x9f\x98\x80\"", "\"\\u007f\\u001f\"", "[]", "{}",
		"[[[]], {\"\": {}}, 1, \"x\", null]", "{\"a\": {\"b\": [1.5, {\"c\": null}]}}",
	};
	char request[256];
	struct wire wire;
	struct peer peer;
	size_t i;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	for (i = 0; i < COUNT(ids) * 2; i++) {
		snprintf(request, sizeof(request), "{\"execute\":\"%s\",\"id\":%s}",
			 i % 2 ? "query-uuid" : "zzz", ids[i / 2]);
		wire_send(&wire, &peer, request, strlen(request));
		wire_settle(&wire, &peer);
		ck_assert_msg(oracle_has_member(peer.text, peer.len, "id", ids[i / 2]), "%s: %s",
			      ids[i / 2], peer.text);
		for (char *c = peer.text; *c; c++)
			ck_assert_msg(*c > 0 && *c < 0x7f, "%s", peer.text);
		peer_clear(&peer);
	}
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Numbers that no double holds, and those that QMP writes with 17 digits. */
START_TEST(test_numbers)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, "{\"id\":[18446744073709551615,18446744073709551616,"
		    "9223372036854775808,-9223372036854775809,-0,-0.0,0.1,1e5,1E22,1e999,-1e999]}",
		    ERROR_WITH_ID("[18446744073709551615, 1.8446744073709552e+19, "
				  "9223372036854775808, -9.2233720368547758e+18, 0, -0, "
				  "0.10000000000000001, 100000, 1e+22, 1e999, -1e999]",
				  "QMP input lacks member 'execute'"));
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_negotiation)
{
	struct wire wire;
	struct peer peer, other;

	wire_open(&wire);
	peer = wire_connect(&wire, false);
	other = wire_connect_ready(&wire);
	wire_expect(&wire, &peer, "{\"execute\":\"query-name\"}", GREETING NOT_NEGOTIATED);
	wire_expect(&wire, &peer, "{\"execute\":\"zzz\",\"id\":1}",
		    "{\"id\": 1, " FAILURE("CommandNotFound", EXPECTING));
	/* What the members are is looked at before. */
	wire_expect(&wire, &peer, "{\"execute\":5}{\"exec-oob\":\"x\"}[]",
		    ERROR("QMP input member 'execute' must be a string")
		    ERROR("QMP input member 'exec-oob' is unexpected") NOT_OBJECT);
	wire_expect(&wire, &peer,
		    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"foo\"]}}",
		    ERROR("Parameter 'null' does not accept value 'foo'"));
	wire_expect(&wire, &peer,
		    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[5]}}",
		    ERROR("Invalid parameter type for 'enable[0]', expected: string"));
	wire_expect(&wire, &peer,
		    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":5}}",
		    ERROR("Invalid parameter type for 'enable', expected: array"));
	wire_expect(&wire, &peer, "{\"execute\":\"query-name\"}", NOT_NEGOTIATED);
	wire_expect(&wire, &peer,
		    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]},\"id\":7}",
		    "{\"return\": {}, \"id\": 7}\r\n");
	wire_expect(&wire, &peer, "{\"execute\":\"query-name\"}",
		    "{\"return\": {\"name\": \"guest\"}}\r\n");
	peer_close(&other);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* Too deep by one: an error, and one for each bracket that is left, as QEMU has it. */
START_TEST(test_depth)
{
	char input[2 * 1025 + 1];
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	memset(input, '[', 1024);
	memset(input + 1024, ']', 1024);
	input[2048] = '\0';
	wire_expect(&wire, &peer, input, NOT_OBJECT);

	memset(input, '[', 1025);
	memset(input + 1025, ']', 1025);
	input[2050] = '\0';
	wire_send(&wire, &peer, input, 2050);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "JSON nesting depth limit exceeded"), 1);
	ck_assert_uint_eq(peer_count(&peer, "expecting value"), 1025);
	ck_assert_uint_eq(peer_count(&peer, "\"error\":"), 1026);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "{}", ERROR("QMP input lacks member 'execute'"));
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

START_TEST(test_pretty)
{
	struct wire wire;
	struct peer peer;

	wire_open(&wire);
	peer = wire_connect(&wire, true);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\r\n    \"QMP\": {\r\n        \"version\": {\r\n"), 1);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "{\"execute\":\"qmp_capabilities\",\"id\":[{},[],{\"a\":1}]}",
		    "{\r\n    \"return\": {\r\n    },\r\n    \"id\": [\r\n        {\r\n"
		    "        },\r\n        [\r\n        ],\r\n        {\r\n"
		    "            \"a\": 1\r\n        }\r\n"
		    "    ]\r\n}\r\n");
	monitor_emit(wire.monitor, QMP_EVENT_RESET, "{\"guest\": true, \"reason\": \"a, b: {\"}");
	wire_settle(&wire, &peer);
	ck_assert_ptr_nonnull(strstr(peer.text, "\r\n    },\r\n    \"event\": \"RESET\",\r\n"
				     "    \"data\": {\r\n        \"guest\": true,\r\n"
				     "        \"reason\": \"a, b: {\"\r\n    }\r\n}\r\n"));
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

/* A client that sends everything, says that this was all, and waits for the answers. */
START_TEST(test_half_close)
{
	struct wire wire;
	struct peer peer;
	int i;

	wire_open(&wire);
	peer = wire_connect_ready(&wire);
	for (i = 0; i < 100; i++)
		wire_send(&wire, &peer, "{\"execute\":\"query-name\"}",
			  strlen("{\"execute\":\"query-name\"}"));
	wire_send(&wire, &peer, "42", 2);
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "{\"name\": \"guest\"}"), 100);
	ck_assert_uint_eq(peer_count(&peer, "must be a JSON object"), 1);
	ck_assert(peer.eof);
	ck_assert_uint_eq(wire_clients(&wire), 0);
	peer_close(&peer);
	wire_close(&wire);
}
END_TEST

Suite *wire_suite(void)
{
	Suite *suite = suite_create("wire");
	TCase *tc = tcase_create("wire");

	tcase_add_test(tc, test_greeting);
	tcase_add_loop_test(tc, test_table, 0, COUNT(tables));
	tcase_add_loop_test(tc, test_glued, 0, COUNT(tables));
	tcase_add_test(tc, test_id);
	tcase_add_test(tc, test_numbers);
	tcase_add_test(tc, test_negotiation);
	tcase_add_test(tc, test_depth);
	tcase_add_test(tc, test_pretty);
	tcase_add_test(tc, test_half_close);
	suite_add_tcase(suite, tc);
	return suite;
}
