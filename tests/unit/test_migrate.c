/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"

/* What clients set and ask, and how a transfer shows. */

/* Everything that needs no transfer. */
static const struct {
	const char *command, *reply;
} quiet[] = {
	{ EXECUTE("query-migrate"), OK },
	{ EXECUTE("migrate_cancel"), OK },
	{ EXECUTE("query-migrate-capabilities"),
	  "{\"return\": [{\"state\": false, \"capability\": \"events\"}]}\r\n" },
	{ COMMAND("migrate-set-capabilities", "\"capabilities\":[]"), OK },
	{ COMMAND("migrate-set-capabilities",
		  "\"capabilities\":[{\"capability\":\"zzz\",\"state\":true}]"),
	  ERROR("Parameter 'capability' does not accept value 'zzz'") },
	{ COMMAND("migrate-set-capabilities", "\"capabilities\":[{\"capability\":\"events\"}]"),
	  ERROR("Parameter 'capabilities[0].state' is missing") },
	{ EXECUTE("query-migrate-parameters"),
	  "{\"return\": {\"max-bandwidth\": 0, \"multifd-compression\": \"none\", "
	  "\"multifd-zstd-level\": 1}}\r\n" },
	{ COMMAND("migrate-set-parameters", "\"zzz\":1"), ERROR("Parameter 'zzz' is unexpected") },
	{ COMMAND("migrate-set-parameters", "\"max-bandwidth\":9223372036853727232")
	  COMMAND("migrate-set-parameters", "\"multifd-compression\":\"zstd\"")
	  COMMAND("migrate-set-parameters", "\"multifd-zstd-level\":20")
	  EXECUTE("query-migrate-parameters"),
	  OK OK OK "{\"return\": {\"max-bandwidth\": 9223372036853727232, "
	  "\"multifd-compression\": \"zstd\", \"multifd-zstd-level\": 20}}\r\n" },
	{ COMMAND("migrate-set-parameters", "\"max-bandwidth\":18446744073709551615")
	  EXECUTE("query-migrate-parameters"),
	  OK "{\"return\": {\"max-bandwidth\": 18446744073709551615, "
	  "\"multifd-compression\": \"none\", \"multifd-zstd-level\": 1}}\r\n" },
	{ COMMAND("migrate-set-parameters", "\"max-bandwidth\":7,\"multifd-zstd-level\":21")
	  COMMAND("migrate-set-parameters", "\"multifd-zstd-level\":0")
	  EXECUTE("query-migrate-parameters"),
	  ERROR("Parameter 'multifd-zstd-level' expects a value between 1 and 20")
	  ERROR("Parameter 'multifd-zstd-level' expects a value between 1 and 20")
	  "{\"return\": {\"max-bandwidth\": 0, \"multifd-compression\": \"none\", "
	  "\"multifd-zstd-level\": 1}}\r\n" },
	{ COMMAND("migrate-set-parameters", "\"multifd-compression\":\"foo\""),
	  ERROR("Parameter 'multifd-compression' does not accept value 'foo'") },
	{ COMMAND("migrate", "\"uri\":\"fd:a\",\"resume\":true"),
	  ERROR("Cannot resume if there is no paused migration") },
	{ COMMAND("migrate", "\"uri\":\"fd:a\",\"blk\":true"),
	  ERROR("Parameter 'blk' asks for disks to be copied, which is not done; leave it out") },
	{ COMMAND("migrate", "\"uri\":\"fd:a\",\"inc\":true"),
	  ERROR("Parameter 'inc' asks for disks to be copied, which is not done; leave it out") },
	{ COMMAND("migrate", ""), ERROR("Parameter 'uri' is missing") },
	{ INCOMING("tcp:127.0.0.1:1"),
	  ERROR("'-incoming' was not specified on the command line") },
	{ COMMAND("snapshot-save", "\"filename\":\"/dev/fdset/1\""),
	  ERROR("a snapshot needs a file with a name, and '/dev/fdset/1' has none; use migrate "
		"with file:/dev/fdset/1") },

	{ HMP("info migrate"), TEXT("") },
	{ HMP("info migrate_capabilities"), TEXT("events: off\\r\\n") },
	{ HMP("info migrate_parameters"),
	  TEXT("max-bandwidth: 0 bytes/second\\r\\nmultifd-compression: none\\r\\n"
	       "multifd-zstd-level: 1\\r\\n") },
	{ HMP("migrate_set_capability events on") EXECUTE("query-migrate-capabilities")
	  HMP("migrate_set_capability events off") HMP("info migrate_capabilities"),
	  TEXT("") "{\"return\": [{\"state\": true, \"capability\": \"events\"}]}\r\n" TEXT("")
	  TEXT("events: off\\r\\n") },
	{ HMP("migrate_set_capability zzz on"),
	  TEXT("Error: invalid parameter value: zzz\\r\\n") },
	{ HMP("migrate_set_capability events"),
	  TEXT("Expected 'on' or 'off'\\r\\nTry \\\"help migrate_set_capability\\\" for more "
	       "information\\r\\n") },
	{ HMP("migrate_set_capability events onx"),
	  TEXT("Expected 'on' or 'off'\\r\\nTry \\\"help migrate_set_capability\\\" for more "
	       "information\\r\\n") },
	{ HMP("migrate_set_parameter zzz 1"),
	  TEXT("Error: invalid parameter value: zzz\\r\\n") },
	{ HMP("migrate_set_parameter multifd-zstd-level 7x"),
	  TEXT("Error: Parameter 'multifd-zstd-level' expects a value between 1 and 20\\r\\n") },
	{ HMP("migrate_set_parameter multifd-compression no"),
	  TEXT("Error: Parameter 'multifd-compression' does not accept value 'no'\\r\\n") },
	{ HMP("migrate_set_parameter multifd-zstd-level 7")
	  HMP("migrate_set_parameter multifd-compression zstd") HMP("info migrate_parameters"),
	  TEXT("") TEXT("") TEXT("max-bandwidth: 0 bytes/second\\r\\nmultifd-compression: zstd"
				 "\\r\\nmultifd-zstd-level: 7\\r\\n") },
	{ HMP("migrate_set_parameter max-bandwidth"),
	  TEXT("migrate_set_parameter: string expected\\r\\nTry \\\"help migrate_set_parameter"
	       "\\\" for more information\\r\\n") },
	{ HMP("migrate"),
	  TEXT("migrate: string expected\\r\\nTry \\\"help migrate\\\" for more "
	       "information\\r\\n") },
	{ HMP("migrate -x foo"),
	  TEXT("migrate: unsupported option -x\\r\\nTry \\\"help migrate\\\" for more "
	       "information\\r\\n") },
	{ HMP("migrate -d -b foo"),
	  TEXT("Error: Parameter 'blk' asks for disks to be copied, which is not done; leave it "
	       "out\\r\\n") },
	{ HMP("migrate -r -d foo"),
	  TEXT("Error: Cannot resume if there is no paused migration\\r\\n") },
	{ HMP("migrate_incoming foo"),
	  TEXT("Error: '-incoming' was not specified on the command line\\r\\n") },
	{ HMP("migrate_cancel"), TEXT("") },
	{ HMP("getfd x"), TEXT("Error: No file descriptor supplied via SCM_RIGHTS\\r\\n") },
	{ HMP("closefd x"), TEXT("Error: File descriptor named 'x' not found\\r\\n") },
};

START_TEST(test_quiet)
{
	expect(quiet[_i].command, quiet[_i].reply);
	ck_assert_int_eq(fake_migration.info.status, MIGRATION_NONE);
}
END_TEST

static const struct {
	const char *text;
	uint64_t size;
} sizes[] = {
	{ "100", UINT64_C(100) << 20 }, { "32M", 32 << 20 }, { "2097152B", 2 << 20 },
	{ "1.5G", UINT64_C(3) << 29 }, { "1k", 1024 }, { "0", 0 }, { "15E", UINT64_C(15) << 60 },
	{ "0.5b", 0 }, { "17592186044415M", UINT64_MAX - 0xfffff },
};

START_TEST(test_sizes)
{
	static const char *const wrong[] = {
		"foo", "-1", "1X", "1MB", "M", ".5", "1.", "1.5e3", "16E", "17592186044416", "0x10",
		"99999999999999999999",
	};
	char text[256], reply[256];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(text, sizeof(text), HMP("migrate_set_parameter max-bandwidth %s"),
			 sizes[i].text);
		expect(text, TEXT(""));
		ck_assert_msg(migrate_wire.monitor->migrate.max_bandwidth == sizes[i].size, "%s",
			      sizes[i].text);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), HMP("migrate_set_parameter max-bandwidth %s"), wrong[i]);
		snprintf(reply, sizeof(reply), TEXT("Error: Invalid size %s\\r\\n"), wrong[i]);
		expect(text, reply);
	}
}
END_TEST

/* Without the capability there are no events; with it, all that have negotiated get them. */
START_TEST(test_events)
{
	struct peer other = wire_connect_ready(&migrate_wire), mute = wire_connect(&migrate_wire, false);

	expect(MIGRATE("exec:true"), OK);
	fake_migration_finish(false);
	expect("", "");
	wire_expect(&migrate_wire, &mute, "", GREETING);
	wire_expect(&migrate_wire, &other, EVENTS_ON, OK);
	expect_with_events(MIGRATE("exec:true"), OK, "setup active ");
	fake_migration_finish(true);
	expect_events("completed ");
	wire_settle(&migrate_wire, &other);
	ck_assert_uint_eq(peer_count(&other, "\"MIGRATION\""), 3);
	wire_expect(&migrate_wire, &mute, "", "");
	peer_close(&other);
	peer_close(&mute);
}
END_TEST

static void set_info(enum migration_status status)
{
	fake_migration.info = (struct migration_info){
		.status = status, .ram_total = 16855040, .ram_remaining = 8427520,
		.transferred = 69885, .zero_pages = 4107, .normal_pages = 8, .total_ms = 1010,
		.setup_ms = 10, .downtime_ms = 900, .mbps = 54.5,
	};
}

#define RAM(pages) "\"ram\": {\"total\": 16855040, \"postcopy-requests\": 0, " \
	"\"dirty-sync-count\": 1, \"multifd-bytes\": 0, \"pages-per-second\": " pages ", " \
	"\"downtime-bytes\": 69885, \"page-size\": 4096, \"remaining\": 8427520, " \
	"\"postcopy-bytes\": 0, \"mbps\": 54.5, \"transferred\": 69885, " \
	"\"dirty-sync-missed-zero-copy\": 0, \"precopy-bytes\": 0, \"duplicate\": 4107, " \
	"\"dirty-pages-rate\": 0, \"skipped\": 0, \"normal-bytes\": 32768, \"normal\": 8}"
#define RAM_TEXT(pages) "setup: 10 ms\\r\\ntransferred ram: 68 kbytes\\r\\n" \
	"throughput: 54.50 mbps\\r\\nremaining ram: 8230 kbytes\\r\\n" \
	"total ram: 16460 kbytes\\r\\nduplicate: 4107 pages\\r\\nskipped: 0 pages\\r\\n" \
	"normal: 8 pages\\r\\nnormal bytes: 32 kbytes\\r\\ndirty sync count: 1\\r\\n" \
	"page size: 4 kbytes\\r\\nmultifd bytes: 0 kbytes\\r\\npages-per-second: " pages "\\r\\n" \
	"downtime ram: 68 kbytes\\r\\n"

START_TEST(test_query)
{
	set_info(MIGRATION_ACTIVE);
	expect(EXECUTE("query-migrate"),
	       "{\"return\": {\"status\": \"active\", \"setup-time\": 10, "
	       "\"expected-downtime\": 2020, \"total-time\": 1010, " RAM("4115") "}}\r\n");
	expect(HMP("info migrate"),
	       TEXT("Migration status: active\\r\\ntotal time: 1010 ms\\r\\n"
		    "expected downtime: 2020 ms\\r\\n" RAM_TEXT("4115")));
	set_info(MIGRATION_COMPLETED);
	expect(EXECUTE("query-migrate"),
	       "{\"return\": {\"status\": \"completed\", \"setup-time\": 10, "
	       "\"downtime\": 900, \"total-time\": 1010, " RAM("0") "}}\r\n");
	expect(HMP("info migrate"),
	       TEXT("Migration status: completed\\r\\ntotal time: 1010 ms\\r\\n"
		    "downtime: 900 ms\\r\\n" RAM_TEXT("0")));
	set_info(MIGRATION_CANCELLED);
	expect(EXECUTE("query-migrate"), "{\"return\": {\"status\": \"cancelled\"}}\r\n");
	expect(HMP("info migrate"),
	       TEXT("Migration status: cancelled\\r\\ntotal time: 0 ms\\r\\n"));
	set_info(MIGRATION_FAILED);
	fake_migration.info.error = "a \"reason\"";
	expect(EXECUTE("query-migrate"),
	       "{\"return\": {\"status\": \"failed\", \"error-desc\": \"a \\\"reason\\\"\"}}\r\n");
	expect(HMP("info migrate"),
	       TEXT("Migration status: failed (a \\\"reason\\\")\\r\\ntotal time: 0 ms\\r\\n"));
	/* Nothing has been moved, and no time has passed. */
	fake_migration.info = (struct migration_info){
		.status = MIGRATION_ACTIVE, .ram_total = 4096, .ram_remaining = 4096,
	};
	wire_send(&migrate_wire, &migrate_peer, EXECUTE("query-migrate"),
		  strlen(EXECUTE("query-migrate")));
	wire_settle(&migrate_wire, &migrate_peer);
	ck_assert_ptr_nonnull(strstr(migrate_peer.text, "\"expected-downtime\": 0, "));
	peer_clear(&migrate_peer);
}
END_TEST

START_TEST(test_snapshot)
{
	expect(EVENTS_ON, OK);
	expect_with_events(COMMAND("snapshot-save", "\"filename\":\"/a b\""), OK,
			   "setup completed ");
	ck_assert_str_eq(fake_migration.path, "/a b");
	ck_assert(!fake_migration.stay);
	expect_with_events(HMP("snapshot_save -s /c"), TEXT(""), "setup completed ");
	ck_assert_str_eq(fake_migration.path, "/c");
	ck_assert(fake_migration.stay);
}
END_TEST

START_TEST(test_hmp)
{
	expect(HMP("migrate \\\"exec:exit 0\\\""),
	       TEXT("terminal does not allow synchronous migration, continuing detached\\r\\n"));
	fake_migration_finish(true);
	expect(HMP("migrate_set_parameter multifd-compression zstd"), TEXT(""));
	expect(HMP("migrate -d \\\"exec:exit 0\\\""), TEXT(""));
	ck_assert_int_eq(fake_migration.parameters.zstd_level, 1);
	fake_migration_finish(true);
	expect(HMP("migrate bogus"),
	       TEXT("Error: Parameter 'uri' expects a valid migration protocol\\r\\n"));
	fake_migration.vm.state = RUN_STATE_INMIGRATE;
	expect(HMP("migrate_incoming exec:true"), TEXT(""));
	fake_migration_finish(true);
}
END_TEST

START_TEST(test_hmp_getfd)
{
	int fd = open("/dev/null", O_WRONLY);

	wire_send_fds(&migrate_peer, HMP("getfd x"), &fd, 1);
	expect("", TEXT(""));
	expect(HMP("migrate -d fd:x"), TEXT(""));
	fake_migration_finish(true);
	wire_send_fds(&migrate_peer, HMP("getfd x"), &fd, 1);
	expect("", TEXT(""));
	expect(HMP("closefd x") HMP("closefd x"),
	       TEXT("") TEXT("Error: File descriptor named 'x' not found\\r\\n"));
	close(fd);
}
END_TEST

static void tell_the_end(void)
{
	monitor_vm_event(migrate_wire.monitor, &(struct vm_event){
		.type = VM_EVENT_MIGRATION, .migration = MIGRATION_COMPLETED });
}

/* The first event of what it asked for can not be queued: the client is gone before it waits. */
START_TEST(test_gone_before_it_waits)
{
	expect(EVENTS_ON, OK);
	wire_send(&migrate_wire, &migrate_peer, HMP("savevm a"), strlen(HMP("savevm a")));
	call_fail("evbuffer_add_reference", 1, ENOMEM);
	wire_settle(&migrate_wire, &migrate_peer);
	ck_assert(call_has_failed());
	ck_assert(migrate_peer.eof);
	ck_assert_str_eq(fake_migration.path, "a");
	ck_assert_ptr_null(migrate_wire.monitor->migrate.waiting);
	tell_the_end();
}
END_TEST

/* Without memory a command may fail or not be waited for; it does not look complete. */
START_TEST(test_waits_without_memory)
{
	static const char line[] = HMP("savevm a");
	bool failed = true, unattended = false;
	unsigned int n;

	for (n = 1; failed; n++) {
		ck_assert_uint_lt(n, 1000);
		fake_migration.path[0] = '\0';
		wire_send(&migrate_wire, &migrate_peer, line, strlen(line));
		alloc_fail_at(n);
		for (int i = 0; i < 6; i++)
			wire_turn(&migrate_wire);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		wire_settle(&migrate_wire, &migrate_peer);
		if (migrate_peer.len) {
			ck_assert(failed);
			ck_assert(!peer_count(&migrate_peer, TEXT("")));
			unattended |= fake_migration.path[0] &&
				      peer_count(&migrate_peer, "no memory to wait for the end");
		} else if (!migrate_peer.eof) {
			tell_the_end();
			wire_settle(&migrate_wire, &migrate_peer);
			ck_assert_uint_eq(peer_count(&migrate_peer, "\r\n"), 1);
			ck_assert(failed || peer_count(&migrate_peer, TEXT("")));
		}
		peer_close(&migrate_peer);
		wire_settle(&migrate_wire, NULL);
		migrate_peer = wire_connect_ready(&migrate_wire);
	}
	ck_assert(unattended);
}
END_TEST

Suite *migrate_suite(void)
{
	Suite *suite = suite_create("migrate");
	TCase *tc = tcase_create("migrate");

	tcase_add_checked_fixture(tc, migrate_setup, migrate_teardown);
	tcase_add_loop_test(tc, test_quiet, 0, sizeof(quiet) / sizeof(quiet[0]));
	tcase_add_test(tc, test_sizes);
	tcase_add_test(tc, test_events);
	tcase_add_test(tc, test_query);
	tcase_add_test(tc, test_snapshot);
	tcase_add_test(tc, test_hmp);
	tcase_add_test(tc, test_hmp_getfd);
	tcase_add_test(tc, test_gone_before_it_waits);
	tcase_add_test(tc, test_waits_without_memory);
	suite_add_tcase(suite, tc);
	return suite;
}
