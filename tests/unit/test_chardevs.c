/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/chardevs.h"
#include "monitor/hmp.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Character devices as clients make and list them, from the wire down to the files. */

static struct wire wire;
static struct peer peer;
static struct chardev *serial;
static struct chardevs chardevs;
static char directory[40];
static char path[64], text[1024];

static size_t receive(void *opaque, const uint8_t *bytes, size_t len)
{
	(void)opaque;
	(void)bytes;
	return len;
}

static void nothing(void *opaque)
{
	(void)opaque;
}

static void setup(void)
{
	struct chardev_config config = {
		.address = "null", .name = "serial null", .receive = receive, .quit = nothing,
		.wake = nothing,
	};
	struct error err;

	strcpy(directory, "/tmp/vmond-chardevs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/port", directory);
	wire_open(&wire);
	config.base = wire.base;
	serial = chardev_new(&config, &err);
	ck_assert_ptr_nonnull(serial);
	chardevs_init(&chardevs, wire.base, serial, "serial0");
	wire.monitor->config.chardevs = &chardevs.calls;
	peer = wire_connect_ready(&wire);
}

static void teardown(void)
{
	peer_close(&peer);
	chardevs_free(&chardevs);
	chardev_free(serial);
	wire_close(&wire);
	unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* A command of which `arguments` is a format for the path, and the answer, up to its end. */
static void expect(const char *command, const char *arguments, const char *answer)
{
	char request[1024], expected[1024], filled[512];

	snprintf(filled, sizeof(filled), arguments, path);
	snprintf(request, sizeof(request), "{'execute': '%s', 'arguments': {%s}}", command, filled);
	snprintf(expected, sizeof(expected), answer, path);
	wire_expect(&wire, &peer, request, expected);
}

#define ADD(id, type, data) \
	"'id': '" id "', 'backend': {'type': '" type "', 'data': {" data "}}"
#define SERIAL  "{\"frontend-open\": true, \"filename\": \"null\", \"label\": \"serial0\"}"
#define INFO(filename, label) \
	"{\"frontend-open\": false, \"filename\": \"" filename "\", \"label\": \"" label "\"}"
#define RETURN(value)           "{\"return\": " value "}\r\n"
#define SOCKET  "'addr': {'type': 'unix', 'data': {'path': '%s'}}"

START_TEST(test_add_and_remove)
{
	expect("query-chardev", "", RETURN("[" SERIAL "]"));
	expect("chardev-add", ADD("c1", "null", ""), OK);
	expect("chardev-add", ADD("", "null", ""), OK);
	expect("chardev-add", ADD("a b", "null", ""), OK);
	expect("chardev-add", ADD("c1", "null", ""), ERROR("Chardev with id 'c1' already exists"));
	expect("chardev-add", ADD("serial0", "null", ""),
	       ERROR("Chardev with id 'serial0' already exists"));
	expect("query-chardev", "", RETURN("[" SERIAL ", " INFO("null", "c1") ", "
		INFO("null", "") ", " INFO("null", "a b") "]"));
	expect("chardev-remove", "'id': 'c1'", OK);
	expect("chardev-remove", "'id': 'c1'", ERROR("Chardev 'c1' not found"));
	expect("chardev-remove", "'id': 'serial0'", ERROR("Chardev 'serial0' is busy"));
	expect("query-chardev", "", RETURN("[" SERIAL ", " INFO("null", "") ", "
		INFO("null", "a b") "]"));
	/* What is left is the teardown's. */
}
END_TEST

static const struct {
	const char *arguments, *desc;
} refused[] = {
	{ "'id': 'c'", "Parameter 'backend' is missing" },
	{ "'id': 'c', 'backend': {}", "Parameter 'backend.type' is missing" },
	{ "'id': 'c', 'backend': {'type': 'null'}", "Parameter 'backend.data' is missing" },
	{ ADD("c", "file", ""), "Parameter 'backend.data.out' is missing" },
	{ ADD("c", "zzz", ""), "Parameter 'type' does not accept value 'zzz'" },
	{ ADD("c", "stdio", ""), "Parameter 'type' does not accept value 'stdio'" },
	{ ADD("c", "null", "'x': 1"), "Parameter 'backend.data.x' is unexpected" },
	{ "'id': 'c', 'backend': {'type': 'null', 'data': {}, 'x': 1}",
	  "Parameter 'backend.x' is unexpected" },
	{ ADD("c", "null", "'out': 'x'"), "Parameter 'backend.data.out' is unexpected" },
	{ ADD("c", "socket", "'addr': {'type': 'inet', 'data': {}}"),
	  "Parameter 'type' does not accept value 'inet'" },
	{ ADD("c", "socket", "'addr': {'type': 'unix', 'data': {}}"),
	  "Parameter 'backend.data.addr.data.path' is missing" },
	{ ADD("c", "socket", SOCKET ", 'server': false"),
	  "Failed to add chardev 'c': a socket can only listen here: 'server' must be true" },
	{ ADD("c", "socket", SOCKET ", 'wait': true"),
	  "Failed to add chardev 'c': nobody is waited for: 'wait' must be false" },
	{ ADD("c", "file", "'out': '%s/x'"),
	  "Failed to add chardev 'c': Could not open '%s/x': No such file or directory" },
	{ ADD("c", "file", "'out': ''"),
	  "Failed to add chardev 'c': needs a path after 'file:'" },
	{ ADD("c", "socket", "'addr': {'type': 'unix', 'data': {'path': '/nonexistent/x'}}"),
	  "Failed to add chardev 'c': Failed to bind socket to /nonexistent/x: No such file or "
	  "directory" },
};

START_TEST(test_refused)
{
	char expected[256];

	snprintf(expected, sizeof(expected), ERROR("%s"), refused[_i].desc);
	expect("chardev-add", refused[_i].arguments, expected);
	expect("query-chardev", "", RETURN("[" SERIAL "]"));
}
END_TEST

START_TEST(test_long_label)
{
	char label[CHARDEV_LABEL_SIZE + 1] = { 0 }, arguments[512];

	memset(label, 'x', CHARDEV_LABEL_SIZE);
	snprintf(arguments, sizeof(arguments), ADD("%s", "null", ""), label);
	expect("chardev-add", arguments, ERROR("The id of a chardev can have 127 bytes at most"));
	label[CHARDEV_LABEL_SIZE - 1] = '\0';
	snprintf(arguments, sizeof(arguments), ADD("%s", "null", ""), label);
	expect("chardev-add", arguments, OK);
	snprintf(arguments, sizeof(arguments), "'path': '/chardevs/%s', 'property': 'type'", label);
	expect("qom-get", arguments, RETURN("\"chardev-null\""));
}
END_TEST

START_TEST(test_too_many)
{
	char arguments[128];

	for (unsigned int i = 0; i < 64; i++) {
		snprintf(arguments, sizeof(arguments), ADD("c%u", "null", ""), i);
		expect("chardev-add", arguments, OK);
	}
	expect("chardev-add", ADD("c64", "null", ""), ERROR("Failed to add chardev 'c64': there "
		"are 64 already; remove one"));
	expect("chardev-remove", "'id': 'c7'", OK);
	expect("chardev-add", ADD("c64", "null", ""), OK);
}
END_TEST

static void write_file(const char *content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_eq(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static off_t file_size(void)
{
	int fd = open(path, O_RDONLY);
	off_t size = lseek(fd, 0, SEEK_END);

	close(fd);
	return size;
}

START_TEST(test_file)
{
	write_file("what was there");
	expect("chardev-add", ADD("f", "file", "'out': '%s', 'append': true"), OK);
	ck_assert_int_eq(file_size(), 14);
	expect("query-chardev", "", RETURN("[" SERIAL ", " INFO("file", "f") "]"));
	expect("qom-get", "'path': '/chardevs/f', 'property': 'type'", RETURN("\"chardev-file\""));
	expect("chardev-remove", "'id': 'f'", OK);
	expect("chardev-add", ADD("f", "file", "'out': '%s'"), OK);
	ck_assert_int_eq(file_size(), 0);
}
END_TEST

static int connect_to(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

START_TEST(test_socket)
{
	int client;

	expect("chardev-add", ADD("s", "socket", SOCKET ", 'server': true, 'wait': false"), OK);
	expect("query-chardev", "", RETURN("[" SERIAL ", "
		INFO("disconnected:unix:%s,server=on", "s") "]"));
	expect("qom-get", "'path': '/chardevs/s', 'property': 'connected'", RETURN("false"));
	expect("qom-get", "'path': '/chardevs/s', 'property': 'addr'",
	       RETURN("{\"path\": \"%s\", \"type\": \"unix\"}"));
	client = connect_to();
	wire_settle(&wire, &peer);
	expect("query-chardev", "", RETURN("[" SERIAL ", " INFO("unix:%s,server=on", "s") "]"));
	expect("qom-get", "'path': '/chardevs/s', 'property': 'connected'", RETURN("true"));
	/* Nobody takes it; and nothing spins over it. */
	ck_assert_int_eq(write(client, "hello", 5), 5);
	wire_settle(&wire, &peer);
	/* In use. */
	expect("chardev-add", ADD("t", "socket", SOCKET), ERROR("Failed to add chardev 't': Failed "
		"to bind socket to %s: in use by another process; stop that or choose another path"));
	expect("chardev-remove", "'id': 's'", OK);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(recv(client, text, sizeof(text), 0) > 0, 0);
	close(client);
}
END_TEST

START_TEST(test_pty)
{
	static const char request[] = "{'execute': 'chardev-add', 'arguments': {"
		ADD("p", "pty", "") "}}";
	struct chardev_info info;
	int fd;

	wire_send(&wire, &peer, request, strlen(request));
	wire_settle(&wire, &peer);
	ck_assert(monitor_find_chardev(wire.monitor, "p", &info));
	ck_assert_int_eq(strncmp(info.filename, "pty:/dev/pts/", 13), 0);
	snprintf(text, sizeof(text), RETURN("{\"pty\": \"%s\"}"), info.filename + 4);
	ck_assert_ptr_nonnull(strstr(peer.text, text));
	fd = open(info.filename + 4, O_RDWR | O_NOCTTY);
	ck_assert_int_ge(fd, 0);
	close(fd);
	peer_clear(&peer);
	expect("chardev-remove", "'id': 'p'", OK);
}
END_TEST

/* The monitors' own sockets: listed first, and busy. */
START_TEST(test_monitors)
{
	char address[80];
	struct error err;
	int client;

	snprintf(address, sizeof(address), "unix:%s", path);
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	expect("query-chardev", "", RETURN("[{\"frontend-open\": true, \"filename\": "
		"\"disconnected:unix:%s,server=on\", \"label\": \"compat_monitor0\"}, "
		SERIAL "]"));
	client = connect_to();
	wire_settle(&wire, &peer);
	expect("query-chardev", "", RETURN("[{\"frontend-open\": true, \"filename\": "
		"\"unix:%s,server=on\", \"label\": \"compat_monitor0\"}, " SERIAL "]"));
	expect("qom-get", "'path': '/chardevs/compat_monitor0', 'property': 'connected'",
	       RETURN("true"));
	expect("chardev-remove", "'id': 'compat_monitor0'",
	       ERROR("Chardev 'compat_monitor0' is busy"));
	expect("chardev-add", ADD("compat_monitor0", "null", ""),
	       ERROR("Chardev with id 'compat_monitor0' already exists"));
	close(client);
	wire_settle(&wire, &peer);
	expect("qom-get", "'path': '/chardevs/compat_monitor0', 'property': 'connected'",
	       RETURN("false"));
}
END_TEST

/* One that listens on TCP, however it has come to that. */
START_TEST(test_tcp_monitor)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), local;
	socklen_t len = sizeof(address);
	struct listener *listener;
	char unix_path[80], name[64];
	struct error err;

	snprintf(unix_path, sizeof(unix_path), "unix:%s", path);
	ck_assert_int_eq(monitor_listen(wire.monitor, unix_path, &err), 0);
	ck_assert_int_eq(bind(tcp, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(tcp, 1), 0);
	ck_assert_int_eq(getsockname(tcp, (struct sockaddr *)&address, &len), 0);
	listener = TAILQ_FIRST(&wire.monitor->listeners);
	local = listener->socket.fd;
	listener->socket.fd = tcp;

	snprintf(name, sizeof(name), "tcp:127.0.0.1:%u", ntohs(address.sin_port));
	snprintf(text, sizeof(text), RETURN("[{\"frontend-open\": true, \"filename\": "
		"\"disconnected:%s,server=on\", \"label\": \"compat_monitor0\"}, " SERIAL "]"), name);
	expect("query-chardev", "", text);
	snprintf(text, sizeof(text), RETURN("{\"port\": \"%u\", \"host\": \"127.0.0.1\", "
		"\"type\": \"inet\"}"), ntohs(address.sin_port));
	expect("qom-get", "'path': '/chardevs/compat_monitor0', 'property': 'addr'", text);
	listener->socket.fd = local;
	close(tcp);
}
END_TEST

/* Monitors that have one client, and no other: numbered with the rest, until they end. */
START_TEST(test_monitors_of_one_client)
{
	static const struct monitor_options options = { .mode = MONITOR_CONTROL };
	char address[80];
	struct error err;
	int pair[2], in[2], out[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	ck_assert_int_eq(monitor_serve(wire.monitor, in[0], out[1], &options, &err), 0);
	snprintf(address, sizeof(address), "unix:%s", path);
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	snprintf(address, sizeof(address), "fd:%d", pair[1]);
	ck_assert_int_eq(monitor_listen(wire.monitor, address, &err), 0);
	expect("query-chardev", "", RETURN("["
		"{\"frontend-open\": true, \"filename\": \"stdio\", \"label\": \"compat_monitor0\"}, "
		"{\"frontend-open\": true, \"filename\": \"disconnected:unix:%s,server=on\", "
		"\"label\": \"compat_monitor1\"}, "
		"{\"frontend-open\": true, \"filename\": \"unix:\", \"label\": \"compat_monitor2\"}, "
		SERIAL "]"));
	snprintf(text, sizeof(text), RETURN("{\"str\": \"%d\", \"type\": \"fd\"}"), pair[1]);
	expect("qom-get", "'path': '/chardevs/compat_monitor2', 'property': 'addr'", text);
	expect("qom-get", "'path': '/chardevs/compat_monitor2', 'property': 'connected'",
	       RETURN("true"));
	expect("qom-get", "'path': '/chardevs/compat_monitor0', 'property': 'type'",
	       RETURN("\"chardev-stdio\""));
	expect("chardev-remove", "'id': 'compat_monitor2'",
	       ERROR("Chardev 'compat_monitor2' is busy"));
	close(pair[0]);
	close(in[1]);
	while (wire_clients(&wire) > 1)
		wire_turn(&wire);
	/* The number of the other one is its own. */
	expect("query-chardev", "", RETURN("[{\"frontend-open\": true, \"filename\": "
		"\"disconnected:unix:%s,server=on\", \"label\": \"compat_monitor1\"}, "
		SERIAL "]"));
	close(out[0]);
}
END_TEST

/* The serial port's has the name that it was given, and no other can have that. */
START_TEST(test_serial_id)
{
	chardevs.serial_label = "charserial0";
	expect("query-chardev", "", RETURN("[{\"frontend-open\": true, \"filename\": \"null\", "
					   "\"label\": \"charserial0\"}]"));
	expect("chardev-remove", "'id': 'charserial0'", ERROR("Chardev 'charserial0' is busy"));
	expect("chardev-add", ADD("charserial0", "null", ""),
	       ERROR("Chardev with id 'charserial0' already exists"));
	expect("chardev-add", ADD("serial0", "null", ""), OK);
}
END_TEST

START_TEST(test_nobody_has_any)
{
	wire.monitor->config.chardevs = NULL;
	expect("query-chardev", "", RETURN("[]"));
	expect("chardev-add", ADD("c", "null", ""),
	       ERROR("Failed to add chardev 'c': nobody here has any"));
	expect("chardev-remove", "'id': 'c'", ERROR("Chardev 'c' not found"));
}
END_TEST

/* ---- for people ---- */

#define IDENTIFIER "Error: Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', " \
	"starting with a letter\n"

static const struct {
	const char *line, *answer;
} lines[] = {
	{ "info chardev", "serial0: filename=null\n" },
	{ "chardev-add null,id=h1", "" },
	{ "chardev-add id=h1,backend=null", "" },
	{ "chardev-add backend=file,id=a.b-c_1,path=%s,append=on", "" },
	{ "chardev-add file,id=f,path=%s,append", "" },
	{ "chardev-add socket,id=s,path=%s,server=on,wait=off", "" },
	{ "chardev-add socket,id=s,path=%s,server", "" },
	{ "chardev-add null", "Error: chardev: no id specified\n" },
	{ "chardev-add id=h", "Error: chardev: \"h\" missing backend\n" },
	{ "chardev-add zzz,id=h", "Error: 'zzz' is not a valid char driver name\n" },
	{ "chardev-add file,id=h", "Error: chardev: file: no filename given\n" },
	{ "chardev-add socket,id=h", "Error: chardev: socket: no path given\n" },
	{ "chardev-add socket,id=h,path=%s",
	  "Error: chardev: socket: it can only listen here: give server=on\n" },
	{ "chardev-add socket,id=h,path=%s,server=on,wait=on",
	  "Error: chardev: socket: nobody is waited for: give wait=off\n" },
	{ "chardev-add socket,id=h,path=%s,server=yes",
	  "Error: Parameter 'server' expects 'on' or 'off'\n" },
	{ "chardev-add null,id=h,size=4", "Error: Invalid parameter 'size'\n" },
	{ "chardev-add z,,z,id=h", "Error: 'z,z' is not a valid char driver name\n" },
	{ "chardev-add null,id=1h", IDENTIFIER }, { "chardev-add null,id=h/i", IDENTIFIER },
	{ "chardev-add null,id=h,,i", IDENTIFIER },
	{ "chardev-add \"null,id=h\\n\"", IDENTIFIER },
	{ "chardev-add null,h", "Error: Invalid parameter 'h'\n" },
	{ "chardev-add null,id=serial0", "Error: Chardev with id 'serial0' already exists\n" },
	{ "chardev-add file,id=h,path=%s/x", "Error: Failed to add chardev 'h': Could not open "
	  "'%s/x': No such file or directory\n" },
	{ "chardev-add", "chardev-add: string expected\n"
	  "Try \"help chardev-add\" for more information\n" },
	{ "chardev-remove zz", "Error: Chardev 'zz' not found\n" },
	{ "chardev-remove serial0", "Error: Chardev 'serial0' is busy\n" },
};

START_TEST(test_lines)
{
	struct text out = { 0 };
	struct hmp hmp = { .monitor = wire.monitor, .out = &out };
	char line[512], expected[512];

	snprintf(line, sizeof(line), lines[_i].line, path);
	snprintf(expected, sizeof(expected), lines[_i].answer, path);
	hmp_execute(&hmp, line);
	ck_assert_str_eq(out.bytes ? out.bytes : "", expected);
	text_free(&out);
}
END_TEST

START_TEST(test_line_for_a_pty)
{
	struct text out = { 0 };
	struct hmp hmp = { .monitor = wire.monitor, .out = &out };
	struct chardev_info info;
	char expected[512];

	hmp_execute(&hmp, "chardev-add pty,id=p-q");
	ck_assert(monitor_find_chardev(wire.monitor, "p-q", &info));
	snprintf(expected, sizeof(expected), "char device redirected to %s (label p-q)\n",
		 info.filename + 4);
	ck_assert_str_eq(out.bytes, expected);
	text_free(&out);
	hmp_execute(&hmp, "chardev-remove p-q");
	ck_assert_ptr_null(out.bytes);
	ck_assert(!monitor_find_chardev(wire.monitor, "p-q", &info));
}
END_TEST

START_TEST(test_memory_runs_out)
{
	const struct chardev_request request = { .label = "s", .backend = "socket", .path = path };
	struct chardev_info info;
	struct error err;
	unsigned int n = 0;
	int rc;

	do {
		alloc_fail_at(++n);
		rc = chardevs.calls.add(&chardevs, &request, &info, &err);
		if (rc < 0) {
			ck_assert_ptr_nonnull(strstr(err.text, "out of memory"));
			ck_assert(!monitor_find_chardev(wire.monitor, "s", &info));
			ck_assert_int_eq(access(path, F_OK), -1);
		}
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(n, 1);
}
END_TEST

#define COUNT(array)    (int)(sizeof(array) / sizeof((array)[0]))

Suite *chardevs_suite(void)
{
	Suite *suite = suite_create("chardevs");
	TCase *tc = tcase_create("chardevs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_add_and_remove);
	tcase_add_loop_test(tc, test_refused, 0, COUNT(refused));
	tcase_add_test(tc, test_long_label);
	tcase_add_test(tc, test_too_many);
	tcase_add_test(tc, test_file);
	tcase_add_test(tc, test_socket);
	tcase_add_test(tc, test_pty);
	tcase_add_test(tc, test_monitors);
	tcase_add_test(tc, test_tcp_monitor);
	tcase_add_test(tc, test_monitors_of_one_client);
	tcase_add_test(tc, test_serial_id);
	tcase_add_test(tc, test_nobody_has_any);
	tcase_add_loop_test(tc, test_lines, 0, COUNT(lines));
	tcase_add_test(tc, test_line_for_a_pty);
	tcase_add_test(tc, test_memory_runs_out);
	suite_add_tcase(suite, tc);
	return suite;
}
