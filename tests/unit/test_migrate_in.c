/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/migrate_channel.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"

/* A machine that waits for its state, and where it comes from. */

/* Errors of migrate-incoming, after which nothing has happened and another is possible. */
static const struct {
	const char *command, *reply;
} bad_in[] = {
	{ INCOMING("bogus"), ERROR("unknown migration protocol: bogus") },
	{ INCOMING("tcp:"), ERROR("error parsing address ''") },
	{ INCOMING("tcp:host.invalid:0"),
	  ERROR("'host.invalid' is no number of an address to listen on") },
	{ INCOMING("tcp:192.0.2.1:0"),
	  ERROR("Failed to listen on '192.0.2.1:0': Cannot assign requested address") },
	{ INCOMING("unix:/nonexistent/x"), ERROR("migration socket '/nonexistent/x': can not be "
						 "created: No such file or directory") },
	{ INCOMING("unix:/dev/null"), ERROR("migration socket '/dev/null': the path exists and is no "
					    "socket; remove it or choose another") },
	{ INCOMING("fd:nosuch"), NO_FD("nosuch") },
	{ INCOMING("file:/nonexistent/x"),
	  ERROR("Could not open '/nonexistent/x': No such file or directory") },
	{ INCOMING("file:/tmp"), ERROR("Could not open '/tmp': Is a directory") },
	{ INCOMING("file:/dev/fdset/1"),
	  ERROR("there is no set of file descriptors 1; make it with add-fd") },
};

START_TEST(test_bad_in)
{
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect(bad_in[_i].command, bad_in[_i].reply);
	ck_assert_int_eq(fake_migration.info.status, MIGRATION_NONE);
	expect(INCOMING("file:/dev/null"), OK);
	fake_migration_finish(true);
}
END_TEST

START_TEST(test_fifo_in)
{
	ck_assert_int_eq(mkfifo(migrate_path, 0600), 0);
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect_path(INCOMING("file:%1$s"),
		    ERROR("Could not open '%1$s': a FIFO; use exec:cat %1$s"));
}
END_TEST

START_TEST(test_listen_unix)
{
	int client;

	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect_path(INCOMING("unix:%s"), OK);
	expect(INCOMING("bogus"), ERROR("The incoming migration has already been started"));
	expect_path(EXECUTE("query-migrate"), "{\"return\": {\"status\": \"setup\", \"socket-address\": "
		    "[{\"path\": \"%s\", \"type\": \"unix\"}]}}\r\n");
	expect_path(HMP("info migrate"), TEXT("Migration status: setup\\r\\ntotal time: 0 ms\\r\\n"
					      "socket address: [\\r\\n\\tunix:%s\\r\\n]\\r\\n"));
	/* Nothing that migrate_cancel is about. */
	expect(EXECUTE("migrate_cancel"), OK);
	client = dial_path();
	AWAIT(fake_migration.has_channel);
	ck_assert_int_eq(access(migrate_path, F_OK), -1);
	fake_migration_finish(true);
	close(client);
}
END_TEST

START_TEST(test_listen_tcp)
{
	struct tcp_address address;
	struct socket_addresses found;
	char text[512];
	bool ipv6;
	int client;

	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect(INCOMING("tcp:localhost:0"), OK);
	migrate_listener_tcp(migrate_wire.monitor->migrate.listener, &address, &ipv6);
	ck_assert(!ipv6);
	snprintf(text, sizeof(text), "{\"return\": {\"status\": \"setup\", \"socket-address\": "
		 "[{\"port\": \"%s\", \"ipv4\": true, \"host\": \"127.0.0.1\", \"type\": "
		 "\"inet\"}]}}\r\n", address.port);
	expect(EXECUTE("query-migrate"), text);
	ck_assert_int_eq(tcp_address_lookup(&address, AI_NUMERICHOST, &found), 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&found.at[0].addr, found.at[0].len), 0);
	AWAIT(fake_migration.has_channel);
	fake_migration_finish(false);
	close(client);
	/* It has failed, and another may be tried; then no more. */
	expect(INCOMING("exec:true"), OK);
	expect(INCOMING("exec:true"), ERROR("The incoming migration has already been started"));
	fake_migration_finish(true);
	fake_migration.vm.state = RUN_STATE_PAUSED;
	expect(INCOMING("exec:true"), ERROR("The incoming migration has already been started"));
}
END_TEST

START_TEST(test_info_tcp)
{
	struct tcp_address address;
	char text[256];
	bool ipv6;

	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect(INCOMING("tcp:127.0.0.1:0"), OK);
	migrate_listener_tcp(migrate_wire.monitor->migrate.listener, &address, &ipv6);
	snprintf(text, sizeof(text), TEXT("Migration status: setup\\r\\ntotal time: 0 ms\\r\\n"
					  "socket address: [\\r\\n\\ttcp:127.0.0.1:%s\\r\\n"
					  "]\\r\\n"), address.port);
	expect(HMP("info migrate"), text);
}
END_TEST

/* The peer can not be accepted: it has failed, and nothing listens any more. */
START_TEST(test_not_accepted)
{
	int client;

	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect_path(INCOMING("unix:%s"), OK);
	call_fail("accept4", 1, EMFILE);
	client = dial_path();
	AWAIT(fake_migration.info.status == MIGRATION_FAILED);
	ck_assert_str_eq(fake_migration.error,
			 "the peer can not be accepted: Too many open files");
	ck_assert_ptr_null(migrate_wire.monitor->migrate.listener);
	ck_assert_int_eq(access(migrate_path, F_OK), -1);
	close(client);
	expect(INCOMING("exec:true"), OK);
	fake_migration_finish(true);
}
END_TEST

/* What has been opened before the transfer turns out not to be possible is closed again. */
START_TEST(test_begin_refused)
{
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	fake_migration.info = (struct migration_info){ .kind = MIGRATION_OUT,
						       .status = MIGRATION_ACTIVE };
	expect_path(INCOMING("unix:%s"), IN_PROGRESS);
	ck_assert_ptr_null(migrate_wire.monitor->migrate.listener);
	ck_assert_int_eq(access(migrate_path, F_OK), -1);
	expect(INCOMING("exec:sleep 1000"), IN_PROGRESS);
	/* The command is gone, and has been waited for. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

Suite *migrate_in_suite(void)
{
	Suite *suite = suite_create("migrate in");
	TCase *tc = tcase_create("in");

	tcase_add_checked_fixture(tc, migrate_setup, migrate_teardown);
	tcase_add_loop_test(tc, test_bad_in, 0, sizeof(bad_in) / sizeof(bad_in[0]));
	tcase_add_test(tc, test_fifo_in);
	tcase_add_test(tc, test_listen_unix);
	tcase_add_test(tc, test_listen_tcp);
	tcase_add_test(tc, test_info_tcp);
	tcase_add_test(tc, test_not_accepted);
	tcase_add_test(tc, test_begin_refused);
	suite_add_tcase(suite, tc);
	return suite;
}
