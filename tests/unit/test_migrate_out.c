/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"

/* Transfers to somewhere else, from what a URI names. */

/* URIs of which nothing can be made: the transfer has begun and failed. */
static const struct {
	const char *command, *reply;
} bad_out[] = {
	{ MIGRATE("bogus"), BAD_URI },
	{ MIGRATE(""), BAD_URI },
	{ MIGRATE("fil:/tmp/x"), BAD_URI },
	{ MIGRATE("tcp"), BAD_URI },
	{ MIGRATE("tcp:"), ERROR("error parsing address ''") },
	{ MIGRATE("tcp:127.0.0.1"), ERROR("error parsing address '127.0.0.1'") },
	{ MIGRATE("tcp:127.0.0.1:"), ERROR("error parsing address '127.0.0.1:'") },
	{ MIGRATE("tcp:127.0.0.1:1,to=2"), ERROR("error parsing address '127.0.0.1:1,to=2'") },
	{ MIGRATE("tcp:::1:1"), ERROR("error parsing address '::1:1'") },
	{ MIGRATE("tcp:[::1:1"), ERROR("error parsing address '[::1:1'") },
	{ MIGRATE("tcp:127.0.0.1:65536"),
	  ERROR("error parsing address '127.0.0.1:65536': there is no port 65536") },
	{ MIGRATE("tcp:127.0.0.1:4294967297"),
	  ERROR("error parsing address '127.0.0.1:4294967297': there is no port 4294967297") },
	{ MIGRATE("fd:nosuch"), NO_FD("nosuch") },
	{ MIGRATE("fd:"), NO_FD("") },
	{ MIGRATE("fd:1x"), NO_FD("1x") },
	{ MIGRATE("fd:99999999999"), NO_FD("99999999999") },
	{ MIGRATE("fd:999"), ERROR("File descriptor named '999' has not been found: the process was "
				   "not started with it") },
	{ MIGRATE("file:"), ERROR("Could not open '': No such file or directory") },
	{ MIGRATE("file:/nonexistent/x"),
	  ERROR("Could not open '/nonexistent/x': No such file or directory") },
	{ MIGRATE("file:/tmp"), ERROR("Could not open '/tmp': Is a directory") },
	{ MIGRATE("file:/dev/fdset/7"),
	  ERROR("there is no set of file descriptors 7; make it with add-fd") },
	{ MIGRATE("file:/dev/fdset/x"),
	  ERROR("'/dev/fdset/x' names no set of file descriptors") },
	{ MIGRATE("file:/dev/fdset/-1"),
	  ERROR("'/dev/fdset/-1' names no set of file descriptors") },
	{ MIGRATE("unix:"), ERROR("'' is no path of a socket: the system takes 1 to 107 bytes") },
};

START_TEST(test_bad_out)
{
	expect(EVENTS_ON, OK);
	expect_with_events(bad_out[_i].command, bad_out[_i].reply, "setup failed ");
	ck_assert_int_eq(fake_migration.info.status, MIGRATION_FAILED);
	/* The same words again in query-migrate. */
	ck_assert_ptr_nonnull(strstr(bad_out[_i].reply, fake_migration.error));
}
END_TEST

/* The monitor's own descriptors can not be named, though they are there. */
START_TEST(test_own_descriptors)
{
	char text[256];

	for (int fd = STDERR_FILENO + 1; fd < 100; fd++) {
		if (fcntl(fd, F_GETFD) < 0 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			continue;
		snprintf(text, sizeof(text), MIGRATE("fd:%d"), fd);
		wire_send(&migrate_wire, &migrate_peer, text, strlen(text));
		wire_settle(&migrate_wire, &migrate_peer);
		ck_assert_ptr_nonnull(strstr(migrate_peer.text, "the process was not started with it"));
		peer_clear(&migrate_peer);
	}
	expect(EXECUTE("query-name"), "{\"return\": {\"name\": \"guest\"}}\r\n");
}
END_TEST

/* One that is inherited is taken over; the standard ones stay. */
START_TEST(test_inherited)
{
	int fds[2], null = open("/dev/null", O_WRONLY), out = dup(STDOUT_FILENO);
	char text[128];

	ck_assert_int_eq(pipe(fds), 0);
	snprintf(text, sizeof(text), MIGRATE("fd:%d"), fds[1]);
	expect(text, OK);
	ck_assert_int_eq(fake_migration.channel.fd, fds[1]);
	ck_assert_int_eq(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	fake_migration_finish(true);
	ck_assert_int_eq(fcntl(fds[1], F_GETFD), -1);
	snprintf(text, sizeof(text), MIGRATE("fd:%d"), fds[0]);
	snprintf(text + 64, sizeof(text) - 64, "named '%d' is not open for writing", fds[0]);
	wire_send(&migrate_wire, &migrate_peer, text, strlen(text));
	wire_settle(&migrate_wire, &migrate_peer);
	ck_assert_ptr_nonnull(strstr(migrate_peer.text, text + 64));
	peer_clear(&migrate_peer);
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);

	dup2(null, STDOUT_FILENO);
	expect(MIGRATE("fd:1"), OK);
	ck_assert_int_gt(fake_migration.channel.fd, STDERR_FILENO);
	fake_migration_finish(true);
	ck_assert_int_ge(fcntl(STDOUT_FILENO, F_GETFD), 0);
	dup2(out, STDOUT_FILENO);
	close(out);
	close(null);
}
END_TEST

/* A transfer from its beginning to its end, as libvirt makes it. */
START_TEST(test_out)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	expect(EVENTS_ON COMMAND("migrate-set-parameters", "\"max-bandwidth\":5"), OK OK);
	wire_send_fds(&migrate_peer, COMMAND("getfd", "\"fdname\":\"migrate\""), &fds[1], 1);
	expect("", OK);
	expect_with_events(COMMAND("migrate", "\"detach\":true,\"resume\":false,\"blk\":false,"
				   "\"inc\":false,\"uri\":\"fd:migrate\""), OK, "setup active ");
	ck_assert_uint_eq(fake_migration.parameters.max_bandwidth, 5);
	ck_assert_int_eq(fake_migration.parameters.zstd_level, 0);
	ck_assert_int_eq(fcntl(fake_migration.channel.fd, F_GETFD), FD_CLOEXEC);
	/* It has been used up. */
	expect(COMMAND("closefd", "\"fdname\":\"migrate\""),
	       ERROR("File descriptor named 'migrate' not found"));
	expect(MIGRATE("fd:migrate"), IN_PROGRESS);
	expect(COMMAND("snapshot-save", "\"filename\":\"/tmp/x\""), IN_PROGRESS);
	expect(HMP("snapshot_save /tmp/x"),
	       TEXT("Error: There's a migration process in progress\\r\\n"));
	fake_migration_finish(true);
	expect_events("completed ");
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_not_writable)
{
	int fd = open("/dev/null", O_RDONLY);

	wire_send_fds(&migrate_peer, COMMAND("getfd", "\"fdname\":\"a\""), &fd, 1);
	expect("", OK);
	expect(MIGRATE("fd:a"), ERROR("File descriptor named 'a' is not open for writing"));
	close(fd);
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	fd = open("/dev/null", O_WRONLY);
	wire_send_fds(&migrate_peer, COMMAND("getfd", "\"fdname\":\"a\""), &fd, 1);
	expect("", OK);
	expect(INCOMING("fd:a"), ERROR("File descriptor named 'a' is not open for reading"));
	close(fd);
}
END_TEST

/* The transfer can not be started: what was opened for it is closed, the temporary file removed. */
START_TEST(test_refused)
{
	fake_migration.refuses = true;
	expect_path(MIGRATE("file:%s"), ERROR("no thread for the transfer"));
	expect(MIGRATE("exec:cat >/dev/null"), ERROR("no thread for the transfer"));
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect(INCOMING("exec:true"), ERROR("no thread for the transfer"));
	expect(INCOMING("file:/dev/null"), ERROR("no thread for the transfer"));
}
END_TEST

START_TEST(test_connect)
{
	int listening = listen_at_path(1), server;

	expect_path(MIGRATE("unix:%s"), OK);
	AWAIT(fake_migration.has_channel);
	server = accept(listening, NULL, NULL);
	ck_assert_int_eq(write(fake_migration.channel.fd, "x", 1), 1);
	fake_migration_finish(true);
	close(server);
	close(listening);
}
END_TEST

START_TEST(test_nobody_listens)
{
	expect_path(MIGRATE("unix:%s"), OK);
	AWAIT(fake_migration.info.status == MIGRATION_FAILED);
	expect_path(EXECUTE("query-migrate"), "{\"return\": {\"status\": \"failed\", \"error-desc\": "
		    "\"Failed to connect to '%s': No such file or directory\"}}\r\n");
	/* And another one is possible. */
	expect(MIGRATE("exec:true"), OK);
	fake_migration_finish(true);
}
END_TEST

/* A peer that is behind in accepting: the monitor waits, and answers meanwhile. */
START_TEST(test_cancel_while_connecting)
{
	int listening = listen_at_path(0), first = dial_path();

	expect_path(MIGRATE("unix:%s"), OK);
	/* It has been refused once, and is tried again. */
	for (int i = 0; i < 2; i++)
		event_base_loop(migrate_wire.base, EVLOOP_ONCE);
	expect(EVENTS_ON EXECUTE("query-migrate"), OK "{\"return\": {\"status\": \"setup\"}}\r\n");
	expect(MIGRATE("exec:true"), IN_PROGRESS);
	expect_with_events(EXECUTE("migrate_cancel"), OK, "cancelling cancelled ");
	ck_assert_int_eq(event_base_get_num_events(migrate_wire.base, EVENT_BASE_COUNT_ADDED), 1);
	expect_with_events(MIGRATE("exec:true"), OK, "setup active ");
	fake_migration_finish(true);
	close(first);
	close(listening);
}
END_TEST

/* The client that has asked for it goes; the transfer does not mind. */
START_TEST(test_client_goes)
{
	int listening = listen_at_path(0), first = dial_path();

	expect_path(MIGRATE("unix:%s"), OK);
	peer_close(&migrate_peer);
	wire_settle(&migrate_wire, NULL);
	ck_assert_uint_eq(wire_clients(&migrate_wire), 0);
	close(accept(listening, NULL, NULL));
	close(first);
	AWAIT(fake_migration.has_channel);
	fake_migration_finish(true);
	close(listening);
}
END_TEST

/* The monitor goes while it connects, or waits for a peer. */
START_TEST(test_monitor_goes)
{
	int listening = listen_at_path(0), first = dial_path();
	char uri[128];
	struct error err;

	expect_path(MIGRATE("unix:%s"), OK);
	close(first);
	close(listening);
	unlink(migrate_path);
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	fake_migration.info.status = MIGRATION_FAILED;
	snprintf(uri, sizeof(uri), "unix:%s", migrate_path);
	ck_assert_int_eq(monitor_migrate_incoming(migrate_wire.monitor, uri, &err), 0);
	ck_assert_int_eq(access(migrate_path, F_OK), 0);
	/* teardown() sees that nothing is left in the loop, nor the socket in the directory. */
}
END_TEST

#define YANK(instances) COMMAND("yank", "\"instances\":[" instances "]")
#define NO_INSTANCE "{" FAILURE("DeviceNotFound", "Instance not found")
#define MIGRATION_INSTANCE "{\"type\":\"migration\"}"

START_TEST(test_yank)
{
	int listening = listen_at_path(0), first = dial_path();

	expect(EXECUTE("query-yank"), "{\"return\": []}\r\n");
	expect(YANK(MIGRATION_INSTANCE), NO_INSTANCE);
	expect(YANK(""), OK);
	/* While it connects: nobody is dialled any more. */
	expect_path(MIGRATE("unix:%s"), OK);
	expect(EVENTS_ON, OK);
	expect(EXECUTE("query-yank"), "{\"return\": [{\"type\": \"migration\"}]}\r\n");
	/* All of them, or none. */
	expect(YANK(MIGRATION_INSTANCE ",{\"type\":\"chardev\",\"id\":\"x\"}"), NO_INSTANCE);
	expect(YANK(MIGRATION_INSTANCE ",{\"type\":\"chardev\"}"),
	       ERROR("Parameter 'instances[1].id' is missing"));
	expect(YANK("{\"type\":\"migration\",\"id\":\"x\"}"),
	       ERROR("Parameter 'instances[0].id' is unexpected"));
	expect(YANK("{\"type\":\"block-node\",\"id\":\"x\"}"),
	       ERROR("Parameter 'instances[0].id' is unexpected"));
	ck_assert_uint_eq(fake_migration.yanks, 0);
	expect_with_events(YANK(MIGRATION_INSTANCE), OK, "failed ");
	ck_assert_ptr_null(migrate_wire.monitor->migrate.dial);
	/* While it moves. */
	expect_with_events(MIGRATE("exec:sleep 1000"), OK, "setup active ");
	expect(YANK(MIGRATION_INSTANCE "," MIGRATION_INSTANCE), OK);
	ck_assert_uint_eq(fake_migration.yanks, 2);
	fake_migration_finish(false);
	expect_events("failed ");
	expect(YANK(MIGRATION_INSTANCE), NO_INSTANCE);
	close(first);
	close(listening);
}
END_TEST

/* A text monitor's prompt comes when the migration has ended. */
START_TEST(test_terminal_waits)
{
	const struct monitor_options options = { .mode = MONITOR_READLINE };
	struct peer terminal = wire_connect_with(&migrate_wire, &options);
	struct peer other = wire_connect_with(&migrate_wire, &options);

	wire_settle(&migrate_wire, &terminal);
	peer_clear(&terminal);
	wire_settle(&migrate_wire, &other);
	peer_clear(&other);
	wire_expect(&migrate_wire, &terminal, "migrate bogus\n", "migrate bogus\033[K\r\n"
		    "Error: Parameter 'uri' expects a valid migration protocol\r\n(qemu) ");
	wire_expect(&migrate_wire, &terminal, "migrate exec:true\ninfo name\n",
		    "migrate exec:true\033[K\r\n");
	/* Another one can not be begun, and none of that touches the first. */
	wire_expect(&migrate_wire, &other, "migrate exec:true\n", "migrate exec:true\033[K\r\n"
		    "Error: There's a migration process in progress\r\n(qemu) ");
	fake_migration_finish(true);
	wire_expect(&migrate_wire, &terminal, "",
		    "(qemu) info name\033[K\r\nguest\r\n(qemu) ");

	wire_expect(&migrate_wire, &terminal, "migrate exec:cat\n",
		    "migrate exec:cat\033[K\r\n");
	fake_migration_finish(false);
	wire_settle(&migrate_wire, &terminal);
	ck_assert_int_eq(strncmp(terminal.text, "Error: ", 7), 0);
	ck_assert_uint_eq(peer_count(&terminal, "\r\n(qemu) "), 1);
	peer_clear(&terminal);

	wire_expect(&migrate_wire, &terminal, "migrate exec:true\n",
		    "migrate exec:true\033[K\r\n");
	wire_expect(&migrate_wire, &other, "migrate_cancel\n",
		    "migrate_cancel\033[K\r\n(qemu) ");
	fake_migration_finish(false);
	wire_expect(&migrate_wire, &terminal, "",
		    "Error: the migration was cancelled\r\n(qemu) ");

	wire_expect(&migrate_wire, &terminal, "migrate -d exec:true\n",
		    "migrate -d exec:true\033[K\r\n(qemu) ");
	fake_migration_finish(true);
	/* One that a program has begun is in the way, too, and nobody waits then. */
	expect(MIGRATE("exec:true"), OK);
	wire_expect(&migrate_wire, &terminal, "migrate exec:true\n", "migrate exec:true\033[K\r\n"
		    "Error: There's a migration process in progress\r\n(qemu) ");
	ck_assert_ptr_null(migrate_wire.monitor->migrate.waiting);
	fake_migration_finish(true);
	/* Who waits goes away, and the migration does not mind. */
	wire_expect(&migrate_wire, &terminal, "migrate exec:true\n",
		    "migrate exec:true\033[K\r\n");
	peer_close(&terminal);
	wire_settle(&migrate_wire, NULL);
	ck_assert_ptr_null(migrate_wire.monitor->migrate.waiting);
	fake_migration_finish(true);
	peer_close(&other);
}
END_TEST

Suite *migrate_out_suite(void)
{
	Suite *suite = suite_create("migrate out");
	TCase *tc = tcase_create("out");

	tcase_add_checked_fixture(tc, migrate_setup, migrate_teardown);
	tcase_add_loop_test(tc, test_bad_out, 0, sizeof(bad_out) / sizeof(bad_out[0]));
	tcase_add_test(tc, test_own_descriptors);
	tcase_add_test(tc, test_inherited);
	tcase_add_test(tc, test_out);
	tcase_add_test(tc, test_not_writable);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_connect);
	tcase_add_test(tc, test_nobody_listens);
	tcase_add_test(tc, test_cancel_while_connecting);
	tcase_add_test(tc, test_client_goes);
	tcase_add_test(tc, test_yank);
	tcase_add_test(tc, test_terminal_waits);
	tcase_add_test(tc, test_monitor_goes);
	suite_add_tcase(suite, tc);
	return suite;
}
