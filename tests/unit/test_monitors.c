/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/activation.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Monitors of every kind: addresses, who may connect, and what they are for. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BANNER "QEMU 7.2.0 monitor - type 'help' for more information (vmond-" PACKAGE_VERSION ")\r\n"
#define PROMPT "(qemu) "
#define OBSERVES "This monitor only observes: it takes query-... commands, and of " \
	"human-monitor-command those that change nothing"

static struct wire wire;
static struct error err;
static char announced[64];

static void on_listening(void *opaque, const char *address)
{
	(void)opaque;
	snprintf(announced, sizeof(announced), "%s", address);
}

static void setup(void)
{
	memset(&err, 0, sizeof(err));
	announced[0] = '\0';
	wire_open(&wire);
	wire.monitor->config.listening = on_listening;
}

static void teardown(void)
{
	wire_close(&wire);
}

/* ---- addresses ---- */

static const struct {
	const char *text, *error;       /* NULL: it is right */
} addresses[] = {
	{ "unix:/x", NULL },
	{ "unix:/x,mode=observe,pretty=on", NULL },
	{ "unix:x,allow=uid:0,allow=gid:4294967294,allow=user:root,allow=group:root", NULL },
	{ "tcp:127.0.0.1:0", NULL },
	{ "tcp:127.255.3.4:65535,mode=readline", NULL },
	{ "tcp:[::1]:4444", NULL },
	{ "tcp:[::ffff:127.0.0.1]:4444", NULL },
	{ "systemd", NULL },
	{ "systemd:qmp,mode=observe", NULL },
	{ "stdio,mode=readline", NULL },
	{ "", "must be unix:PATH" },
	{ "unix", "must be unix:PATH" },
	{ "systemd:", "the name is empty" },
	{ "tcp:0.0.0.0:1", "loopback" },
	{ "tcp::1", "loopback" },
	{ "tcp:[::]:1", "loopback" },
	{ "tcp:localhost:1", "loopback" },
	{ "tcp:192.168.0.1:1", "loopback" },
	{ "tcp:128.0.0.1:1", "loopback" },
	{ "tcp:127.0.0.1", "error parsing address" },
	{ "tcp:127.0.0.1:70000", "no port 70000" },
	{ "fd:", "no number" },
	{ "fd:-1", "no number" },
	{ "fd:1x", "no number" },
	{ "fd:99999999999999999999", "no number" },
	{ "fd:1000", "not open" },
	{ "unix:/x,", "unknown option ''" },
	{ "unix:/x,mode=ctl", "unknown option 'mode=ctl'" },
	{ "unix:/x,mode=observe,mode=control", "mode= is given twice" },
	{ "unix:/x,pretty=yes", "unknown option" },
	{ "unix:/x,allow=0", "allow=0: must have the form" },
	{ "unix:/x,allow=uid:-1", "is no number" },
	{ "unix:/x,allow=uid:4294967295", "is no number" },
	{ "unix:/x,allow=gid:", "no number of a group" },
	{ "unix:/x,allow=user:no-such-user", "there is no user 'no-such-user'" },
	{ "unix:/x,allow=group:no-such-group", "there is no group" },
	{ "unix:/x,mode=readline,pretty=on", "which mode=readline is not" },
	{ "stdio,allow=uid:1", "is for Unix sockets" },
	{ "tcp:127.0.0.1:1,allow=uid:1", "is for Unix sockets" },
};

START_TEST(test_address)
{
	struct monitor_address address;
	int rc = monitor_address_parse(&address, addresses[_i].text, &err);

	ck_assert_msg(rc == (addresses[_i].error ? -1 : 0), "%s: %s", addresses[_i].text, err.text);
	if (addresses[_i].error)
		ck_assert_msg(strstr(err.text, addresses[_i].error), "%s", err.text);
}
END_TEST

START_TEST(test_address_parts)
{
	struct monitor_address a;
	char text[1024];

	ck_assert_int_eq(monitor_address_parse(&a, "unix:a:b,mode=observe,pretty=on,allow=gid:7",
					       &err), 0);
	ck_assert_str_eq(a.name, "a:b");
	ck_assert_int_eq(a.options.mode, MONITOR_OBSERVE);
	ck_assert(a.options.pretty && !a.options.untrusted_input);
	ck_assert_uint_eq(a.allow.count, 1);
	ck_assert(a.allow.rule[0].is_group && a.allow.rule[0].id == 7);
	ck_assert_int_eq(monitor_address_parse(&a, "tcp:[::1]:4444", &err), 0);
	ck_assert(a.options.untrusted_input && a.options.mode == MONITOR_CONTROL);
	/* Bounds: a long piece, and more rules than there is room for. */
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "unix:", 5);
	ck_assert_int_eq(monitor_address_parse(&a, text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
	strcpy(text, "unix:x");
	for (int i = 0; i <= ACCESS_RULES_MAX; i++)
		strcat(text, ",allow=uid:1");
	ck_assert_int_eq(monitor_address_parse(&a, text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "32 rules"));
}
END_TEST

/* ---- who may ---- */

/* A connected pair, whose far end was made by a process of that user and these groups. */
static int connected_by(uid_t uid, gid_t gid, gid_t more)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(addr);
	int listening = socket(AF_UNIX, SOCK_STREAM, 0), fd, status;
	pid_t pid;

	/* An abstract name of the system's choice: no file's mode is in the way. */
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&addr, &len), 0);
	pid = fork();
	if (pid == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgroups(1, &more) < 0 || setgid(gid) < 0 || setuid(uid) < 0 ||
		    connect(fd, (struct sockaddr *)&addr, len) < 0)
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	close(listening);
	return fd;
}

static const struct {
	const char *common, *own;
	bool allowed;
} rules[] = {
	{ NULL, NULL, false },
	{ "uid:1234", NULL, true },
	{ NULL, "uid:1234", true },
	{ "uid:1235", "gid:1234", false },
	{ "gid:2345", NULL, true },             /* its own group */
	{ NULL, "gid:3456", true },             /* a supplementary one */
	{ "gid:0", "uid:2345", false },
};

START_TEST(test_rules)
{
	struct access_list list[2] = { 0 };
	struct ucred peer;
	int fd;

	if (geteuid() != 0)
		return;
	if (rules[_i].common)
		ck_assert_int_eq(access_add(&list[0], rules[_i].common, &err), 0);
	if (rules[_i].own)
		ck_assert_int_eq(access_add(&list[1], rules[_i].own, &err), 0);
	fd = connected_by(1234, 2345, 3456);
	ck_assert_int_eq(access_is_allowed(&list[0], &list[1], fd, &peer), rules[_i].allowed);
	ck_assert_uint_eq(peer.uid, 1234);
	close(fd);
	/* This user, and root. */
	fd = connected_by(0, 2345, 3456);
	ck_assert(access_is_allowed(&list[0], &list[1], fd, &peer));
	close(fd);
}
END_TEST

/* ---- inherited sockets ---- */

static int listening_socket(struct sockaddr_storage *addr, socklen_t *len)
{
	int fd = socket(addr->ss_family, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)addr, *len), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	*len = sizeof(*addr);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)addr, len), 0);
	return fd;
}

static struct sockaddr_storage abstract_name(socklen_t *len)
{
	*len = sizeof(sa_family_t);
	return (struct sockaddr_storage){ .ss_family = AF_UNIX };
}

static struct sockaddr_storage ipv4(uint32_t address, socklen_t *len)
{
	struct sockaddr_storage addr = { 0 };

	*(struct sockaddr_in *)&addr = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(address),
	};
	*len = sizeof(struct sockaddr_in);
	return addr;
}

static struct peer dial(const struct sockaddr_storage *addr, socklen_t len)
{
	struct peer peer = { .fd = socket(addr->ss_family, SOCK_STREAM, 0) };

	ck_assert_int_eq(connect(peer.fd, (const struct sockaddr *)addr, len), 0);
	/* Over TCP it takes the system a moment until everything has arrived. */
	return peer;
}

/* As wire_expect(), where bytes are on their way for a moment. */
static void expect_over_tcp(struct peer *peer, const char *text, const char *expected)
{
	wire_send(&wire, peer, text, strlen(text));
	while (peer->len < strlen(expected) && !peer->eof) {
		event_base_loop(wire.base, EVLOOP_NONBLOCK);
		peer_read(peer);
	}
	ck_assert_str_eq(peer->text ? peer->text : "", expected);
	peer_clear(peer);
}

START_TEST(test_fd)
{
	socklen_t len;
	struct sockaddr_storage addr = abstract_name(&len);
	int fd = listening_socket(&addr, &len);
	struct peer peer;
	char text[32];

	snprintf(text, sizeof(text), "fd:%d", fd);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	peer = dial(&addr, len);
	wire_expect(&wire, &peer, NEGOTIATE, GREETING OK);
	peer_close(&peer);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "another monitor's"));
}
END_TEST

START_TEST(test_fd_connected)
{
	struct peer peer = { 0 };
	char text[64];
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	snprintf(text, sizeof(text), "fd:%d,mode=observe", fd[1]);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), 0);
	peer.fd = fd[0];
	wire_expect(&wire, &peer, NEGOTIATE "{\"execute\":\"stop\"}", GREETING OK ERROR(OBSERVES));
	ck_assert(!TAILQ_FIRST(&wire.monitor->clients)->options.untrusted_input);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "another monitor's"));
	peer_close(&peer);
}
END_TEST

/* It may be a browser's, whoever passed it. */
START_TEST(test_fd_connected_over_tcp)
{
	socklen_t len;
	struct sockaddr_storage addr = ipv4(INADDR_LOOPBACK, &len);
	int listening = listening_socket(&addr, &len), fd;
	struct peer peer = dial(&addr, len);
	char text[64];

	fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	snprintf(text, sizeof(text), "fd:%d,allow=uid:0", fd);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "is connected"));
	*strchr(text, ',') = '\0';
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), 0);
	expect_over_tcp(&peer, "Host: x\r\n" NEGOTIATE "{\"execute\":\"quit\"}", GREETING);
	while (!peer.eof) {
		event_base_loop(wire.base, EVLOOP_NONBLOCK);
		peer_read(&peer);
	}
	ck_assert_uint_eq(wire.quits, 0);
	peer_close(&peer);
	close(listening);
}
END_TEST

START_TEST(test_fd_refused)
{
	static const char *const reasons[] = {
		"no stream socket", "neither listens nor is connected", "loopback", "no socket",
	};
	socklen_t len;
	struct sockaddr_storage any = ipv4(INADDR_ANY, &len);
	int fd[] = {
		socket(AF_UNIX, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_STREAM, 0),
		listening_socket(&any, &len), open("/dev/null", O_RDONLY),
	};
	char text[32];

	for (size_t i = 0; i < COUNT(fd); i++) {
		snprintf(text, sizeof(text), "fd:%d", fd[i]);
		ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), -1);
		ck_assert_msg(strstr(err.text, reasons[i]), "%s", err.text);
		close(fd[i]);
	}
}
END_TEST

START_TEST(test_systemd)
{
	socklen_t len[2];
	struct sockaddr_storage addr[2] = { abstract_name(&len[0]), abstract_name(&len[1]) };
	struct passed_socket passed[2];
	struct peer peer;

	wire.monitor->config.why_none_passed = "a reason";
	ck_assert_int_eq(monitor_listen(wire.monitor, "systemd", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "no sockets were passed: a reason"));

	for (int i = 0; i < 2; i++)
		passed[i] = (struct passed_socket){
			listening_socket(&addr[i], &len[i]), i ? "observe" : "control",
		};
	wire.monitor->config.passed = passed;
	wire.monitor->config.nr_passed = 2;
	ck_assert_int_eq(monitor_listen(wire.monitor, "systemd:contro", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "'contro'"));
	ck_assert_int_eq(monitor_listen(wire.monitor, "systemd:observe,mode=observe", &err), 0);
	/* All of them, of which one is taken. */
	ck_assert_int_eq(monitor_listen(wire.monitor, "systemd:control", &err), 0);
	ck_assert_int_eq(monitor_listen(wire.monitor, "systemd", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "another monitor's"));
	for (int i = 0; i < 2; i++) {
		peer = dial(&addr[i], len[i]);
		wire_expect(&wire, &peer, NEGOTIATE "{\"execute\":\"quit\"}", i ?
			    GREETING OK ERROR(OBSERVES) : GREETING OK OK);
		peer_close(&peer);
	}
	ck_assert_uint_eq(wire.quits, 1);
}
END_TEST

/* ---- TCP ---- */

START_TEST(test_tcp)
{
	socklen_t len;
	struct sockaddr_storage addr = ipv4(INADDR_LOOPBACK, &len);
	const char *port;
	struct peer peer;

	ck_assert_int_eq(monitor_listen(wire.monitor, "tcp:127.0.0.1:0", &err), 0);
	ck_assert_int_eq(strncmp(announced, "127.0.0.1:", 10), 0);
	port = announced + 10;
	((struct sockaddr_in *)&addr)->sin_port = htons((uint16_t)atoi(port));
	peer = dial(&addr, len);
	expect_over_tcp(&peer, NEGOTIATE, GREETING OK);
	peer_close(&peer);
	/* A web page may send this, and must not get through to what is behind it. */
	peer = dial(&addr, len);
	expect_over_tcp(&peer, "POST / HTTP/1.1\r\n\r\n" NEGOTIATE "{\"execute\":\"quit\"}",
			GREETING);
	while (!peer.eof) {
		event_base_loop(wire.base, EVLOOP_NONBLOCK);
		peer_read(&peer);
	}
	ck_assert_uint_eq(wire.quits, 0);
	ck_assert_ptr_nonnull(strstr(wire_log_last, "another protocol"));
	peer_close(&peer);
}
END_TEST

/* ---- what they are for ---- */

START_TEST(test_observe)
{
	const struct monitor_options options = { .mode = MONITOR_OBSERVE };
	struct peer peer = wire_connect_with(&wire, &options);

	wire_expect(&wire, &peer, "{\"execute\":\"stop\"}", GREETING "{" FAILURE("CommandNotFound",
		    "Expecting capabilities negotiation with 'qmp_capabilities'"));
	wire_expect(&wire, &peer, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
		    "{\"enable\":[\"oob\"]}}", OK);
	wire_expect(&wire, &peer, "{\"execute\":\"query-name\"}",
		    "{\"return\": {\"name\": \"guest\"}}\r\n");
	wire_expect(&wire, &peer, "{\"execute\":\"quit\",\"id\":1}", ERROR_WITH_ID("1", OBSERVES));
	wire_expect(&wire, &peer, "{\"exec-oob\":\"migrate_cancel\"}", ERROR(OBSERVES));
	/* Whatever its arguments are. */
	wire_expect(&wire, &peer, "{\"execute\":\"memsave\"}", ERROR(OBSERVES));
	wire_expect(&wire, &peer, "{\"execute\":\"zzz\"}",
		    "{" FAILURE("CommandNotFound", "The command zzz has not been found"));
	ck_assert_uint_eq(wire.quits, 0);
	wire_send(&wire, &peer, "{\"execute\":\"query-commands\"}", 28);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\"name\": \"query-"), peer_count(&peer, "\"name\"") - 2);
	ck_assert_uint_eq(peer_count(&peer, "\"quit\""), 0);
	peer_clear(&peer);
	/* Events are what somebody who observes is there for. */
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "STOP"), 1);
	peer_close(&peer);
}
END_TEST

START_TEST(test_observe_hmp)
{
	static const struct {
		const char *line;
		bool allowed;
	} lines[] = {
		{ "help", true }, { "?", true }, { "help stop", true }, { "info", true },
		{ "nosuch", true }, { "", true }, { "xp", true }, { "cpu", true },
		{ "stop", false }, { "s", false }, { "cont", false }, { "c", false }, { "q", false },
		{ "memsave 0 1 x", false }, { "migrate -d exec:x", false }, { "nmi", false },
		{ "getfd x", false }, { "snapshot_save x", false }, { "  quit", false },
		{ "gpa2hva 0", false }, { "gva2hva 0", false }, { "i /b 0x3f8", false },
	};
	const struct monitor_options options = { .mode = MONITOR_OBSERVE };
	struct peer peer = wire_connect_with(&wire, &options);
	char request[256];

	wire_expect(&wire, &peer, NEGOTIATE, GREETING OK);
	for (size_t i = 0; i < COUNT(lines); i++) {
		snprintf(request, sizeof(request), "{\"execute\":\"human-monitor-command\","
			 "\"arguments\":{\"command-line\":\"%s\"}}", lines[i].line);
		wire_send(&wire, &peer, request, strlen(request));
		wire_settle(&wire, &peer);
		ck_assert_msg(peer_count(&peer, "\"return\"") == lines[i].allowed, "%s: %s",
			      lines[i].line, peer.text);
		ck_assert_uint_eq(peer_count(&peer, OBSERVES), !lines[i].allowed);
		peer_clear(&peer);
	}
	ck_assert_uint_eq(wire.quits, 0);
	peer_close(&peer);
}
END_TEST

/* ---- the text monitor ---- */

static struct peer connect_terminal(bool untrusted)
{
	const struct monitor_options options = {
		.mode = MONITOR_READLINE, .untrusted_input = untrusted,
	};
	struct peer peer = wire_connect_with(&wire, &options);

	wire_expect(&wire, &peer, "", BANNER PROMPT);
	return peer;
}

START_TEST(test_terminal)
{
	struct peer peer = connect_terminal(false);
	char lines[3 * 4000];

	wire_expect(&wire, &peer, "nosuch\n",
		    "nosuch\033[K\r\nunknown command: 'nosuch'\r\n" PROMPT);
	wire_expect(&wire, &peer, "\r\n", "\r\n" PROMPT);
	/* Lines that come at once are shown, each with its output, one after the other. */
	wire_expect(&wire, &peer, "a\nb\nhelp s",
		    "a\033[K\r\nunknown command: 'a'\r\n" PROMPT
		    "b\033[K\r\nunknown command: 'b'\r\n" PROMPT "help s\033[K");
	wire_expect(&wire, &peer, "\003", "^C\r\n" PROMPT);
	wire_expect(&wire, &peer, "system_\tp\t", "system_\033[K\r\nsystem_powerdown\r\n"
		    "system_reset\r\n" PROMPT "system_\033[K"
		    "\033[D\033[D\033[D\033[D\033[D\033[D\033[D" "system_p\033[K"
		    "\033[D\033[D\033[D\033[D\033[D\033[D\033[D\033[D" "system_powerdown \033[K");
	wire_expect(&wire, &peer, "\003", "^C\r\n" PROMPT);
	/* No events, and what came before the end is done. */
	monitor_emit(wire.monitor, QMP_EVENT_STOP, NULL);
	wire_expect(&wire, &peer, "", "");
	for (int i = 0; i < 4000; i++)
		memcpy(lines + 3 * i, "ab\n", 3);
	wire_send(&wire, &peer, lines, sizeof(lines));
	shutdown(peer.fd, SHUT_WR);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "unknown command: 'ab'"), 4000);
	ck_assert(peer.eof);
	peer_close(&peer);
}
END_TEST

START_TEST(test_terminal_ends)
{
	/* The beginnings of a TLS handshake, and of a STUN message. */
	static const char binary[][8] = { "\026\003\001\r\nq\r\n", "\0\003\010\r\nq\r\n" };
	struct peer peer = connect_terminal(false);

	wire_expect(&wire, &peer, "q\n", "q\033[K\r\n" PROMPT);
	ck_assert_uint_eq(wire.quits, 1);
	wire_expect(&wire, &peer, "\004q\n", "");
	ck_assert(peer.eof);
	ck_assert_uint_eq(wire.quits, 1);
	peer_close(&peer);
	/* Another protocol's first lines. */
	peer = connect_terminal(true);
	wire_send(&wire, &peer, "GET / HTTP/1.1\r\nquit\r\n", 22);
	wire_settle(&wire, &peer);
	ck_assert(peer.eof);
	peer_close(&peer);
	peer = connect_terminal(true);
	wire_send(&wire, &peer, "x\nhost: me\nq\n", 13);
	wire_settle(&wire, &peer);
	ck_assert(peer.eof);
	ck_assert_uint_eq(wire.quits, 1);
	peer_close(&peer);
	for (size_t i = 0; i < COUNT(binary); i++) {
		peer = connect_terminal(true);
		wire_send(&wire, &peer, binary[i], sizeof(binary[i]));
		wire_settle(&wire, &peer);
		ck_assert(peer.eof);
		ck_assert_uint_eq(wire.quits, 1);
		peer_close(&peer);
	}
	/* Where clients mean what they say they are keys without a use. */
	peer = connect_terminal(false);
	wire_expect(&wire, &peer, "\026h", "h\033[K");
	peer_close(&peer);
}
END_TEST

/* However many Tabs come at once, others wait for some only. */
START_TEST(test_terminal_tabs)
{
	struct peer peer = connect_terminal(false);
	char tabs[4000];

	memset(tabs, '\t', sizeof(tabs));
	wire_send(&wire, &peer, tabs, sizeof(tabs));
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "system_reset\r\n"), 16);
	peer_clear(&peer);
	wire_expect(&wire, &peer, "sys\tp\t",
		    "sys\033[K\033[D\033[D\033[Dsystem_\033[K"
		    "\033[D\033[D\033[D\033[D\033[D\033[D\033[D" "system_p\033[K"
		    "\033[D\033[D\033[D\033[D\033[D\033[D\033[D\033[D" "system_powerdown \033[K");
	peer_close(&peer);
}
END_TEST

/* A terminal shows names that others have chosen, and obeys none. */
START_TEST(test_terminal_names)
{
	struct peer peer = connect_terminal(false);
	struct monitor_config *config = &wire.monitor->config;

	free((char *)config->name);
	config->name = strdup("a\033[2J\177\r\302\233m\tb\303\251\302\251\302");
	ck_assert_ptr_nonnull(config->name);
	wire_expect(&wire, &peer, "info name\n", "info name\033[K\r\n"
		    "a?[2J????m\tb\303\251\302\251\302\r\n" PROMPT);
	peer_close(&peer);
}
END_TEST

/* One that reads nothing is not read from any more, and nothing is lost. */
START_TEST(test_terminal_unread)
{
	struct peer peer = connect_terminal(false);
	unsigned int sent = 0;

	for (;;) {
		ssize_t ret = send(peer.fd, "help\n", 5, MSG_DONTWAIT);

		if (ret < 0)
			break;
		ck_assert_int_eq(ret, 5);
		sent++;
		wire_settle(&wire, NULL);
		ck_assert_uint_lt(evbuffer_get_length(TAILQ_FIRST(&wire.monitor->clients)->output),
				  OUTPUT_HIGH + 65536);
	}
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, PROMPT), sent);
	peer_close(&peer);
}
END_TEST

START_TEST(test_terminal_no_memory)
{
	struct peer peer;
	bool failed = true;
	unsigned int n;

	for (n = 1; failed; n++) {
		peer = connect_terminal(false);
		wire_send(&wire, &peer, "help\nx\ty\n", 9);
		alloc_fail_at(n);
		for (int i = 0; i < 6; i++)
			wire_turn(&wire);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		wire_settle(&wire, &peer);
		/* Whatever was lost, the prompt comes again, or the end. */
		ck_assert(peer.eof || peer_count(&peer, PROMPT) >= 2);
		peer_close(&peer);
		wire_settle(&wire, NULL);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert_uint_gt(n, 3);
}
END_TEST

/* Two descriptors, neither of which is a socket; of files, one that can not be waited for. */
START_TEST(test_pipes)
{
	const struct monitor_options options = { .mode = MONITOR_CONTROL };
	FILE *in = tmpfile();
	char text[4096];
	int out[2];
	ssize_t len;

	ck_assert_int_eq(pipe(out), 0);
	fprintf(in, NEGOTIATE "{\"execute\":\"quit\"}");
	rewind(in);
	ck_assert_int_eq(monitor_add_client(wire.monitor, dup(fileno(in)), out[1], &options, &err),
			 0);
	while (wire_clients(&wire))
		wire_turn(&wire);
	len = read(out[0], text, sizeof(text) - 1);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_str_eq(text, GREETING OK OK);
	/* The end of the input is that of the client, and its descriptors. */
	ck_assert_int_eq(read(out[0], text, 1), 0);
	ck_assert_uint_eq(wire.quits, 1);
	close(out[0]);
	fclose(in);
}
END_TEST

/* ---- the environment of sockets that are passed ---- */

static struct activation activation;

static void set_environment(const char *pid, const char *fds, const char *names)
{
	const char *const variable[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" };
	const char *const value[] = { pid, fds, names };
	char own[32];

	snprintf(own, sizeof(own), "%ld", (long)getpid());
	for (int i = 0; i < 3; i++) {
		if (value[i])
			setenv(variable[i], !strcmp(value[i], "own") ? own : value[i], 1);
		else
			unsetenv(variable[i]);
	}
}

START_TEST(test_activation)
{
	int fd = open("/dev/null", O_RDWR);

	for (int i = 3; i < 6; i++)
		ck_assert_int_eq(dup2(fd, i), i);
	set_environment("own", "3", "control::observe");
	activation_take(&activation);
	ck_assert_uint_eq(activation.count, 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(activation.passed[i].fd, 3 + i);
		ck_assert_int_eq(fcntl(3 + i, F_GETFD), FD_CLOEXEC);
	}
	ck_assert_str_eq(activation.passed[0].name, "control");
	ck_assert_str_eq(activation.passed[1].name, "unknown");
	ck_assert_str_eq(activation.passed[2].name, "observe");
	ck_assert_ptr_null(getenv("LISTEN_PID"));
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
	/* Fewer names, or none. */
	set_environment("own", "2", "one");
	activation_take(&activation);
	ck_assert_uint_eq(activation.count, 2);
	ck_assert_str_eq(activation.passed[1].name, "unknown");
}
END_TEST

static const struct {
	const char *pid, *fds, *reason;
} environments[] = {
	{ NULL, NULL, "are not set" },
	{ "own", NULL, "are not set" },
	{ "1", "1", "LISTEN_PID is 1, and this is process" },
	{ "x", "1", "LISTEN_PID is x" },
	{ "own", "0", "must be from 1" },
	{ "own", "-1", "must be from 1" },
	{ "own", "1x", "must be from 1" },
	{ "own", "65", "must be from 1" },
	{ "own", "64", "is not open" },
};

START_TEST(test_bad_activation)
{
	set_environment(environments[_i].pid, environments[_i].fds, "a");
	activation_take(&activation);
	ck_assert_uint_eq(activation.count, 0);
	ck_assert_msg(strstr(activation.why_none.text, environments[_i].reason), "%s",
		      activation.why_none.text);
	ck_assert_ptr_null(getenv("LISTEN_PID"));
	ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
}
END_TEST

Suite *monitors_suite(void)
{
	Suite *suite = suite_create("monitors");
	TCase *tc = tcase_create("monitors");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_address, 0, COUNT(addresses));
	tcase_add_test(tc, test_address_parts);
	tcase_add_loop_test(tc, test_rules, 0, COUNT(rules));
	tcase_add_test(tc, test_fd);
	tcase_add_test(tc, test_fd_connected);
	tcase_add_test(tc, test_fd_connected_over_tcp);
	tcase_add_test(tc, test_fd_refused);
	tcase_add_test(tc, test_systemd);
	tcase_add_test(tc, test_tcp);
	tcase_add_test(tc, test_observe);
	tcase_add_test(tc, test_observe_hmp);
	tcase_add_test(tc, test_terminal);
	tcase_add_test(tc, test_terminal_ends);
	tcase_add_test(tc, test_terminal_tabs);
	tcase_add_test(tc, test_terminal_names);
	tcase_add_test(tc, test_terminal_unread);
	tcase_add_test(tc, test_terminal_no_memory);
	tcase_add_test(tc, test_pipes);
	suite_add_tcase(suite, tc);

	tc = tcase_create("activation");
	tcase_add_test(tc, test_activation);
	tcase_add_loop_test(tc, test_bad_activation, 0, COUNT(environments));
	suite_add_tcase(suite, tc);
	return suite;
}
