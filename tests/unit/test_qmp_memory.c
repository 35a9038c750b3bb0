/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "tests/unit/wire_fixture.h"

/* What the monitor makes of memory, statistics and dumps: arguments, replies, events and their order. */

static struct wire wire;
static struct peer peer;

static void setup(void)
{
	machine_host();
}

static void start(void)
{
	machine_start(2);
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
}

static void teardown(void)
{
	peer_close(&peer);
	wire_close(&wire);
	machine_stop();
}

static void try(const char *command, const char *arguments, const char *expected)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"execute\":\"%s\",\"arguments\":{%s}}", command, arguments);
	wire_expect(&wire, &peer, text, expected);
}

START_TEST(memory)
{
	start();
	machine_long_mode(0);
	try("write-memory", "'address':12286,'data':'Zm9vYg=='", OK);
	try("read-memory", "'address':12286,'size':4", "{\"return\": {\"data\": \"Zm9vYg==\"}}\r\n");
	try("read-memory", "'address':1073741824,'size':2,'space':'virtual'",
	    "{\"return\": {\"data\": \"b2I=\"}}\r\n");
	try("read-memory", "'address':12288,'size':2,'space':'virtual','cpu-index':1",
	    "{\"return\": {\"data\": \"b2I=\"}}\r\n");
	try("write-memory", "'address':1073741824,'data':'AAA=','space':'virtual','cpu-index':0", OK);
	try("read-memory", "'address':12286,'size':4,'space':'physical'",
	    "{\"return\": {\"data\": \"Zm8AAA==\"}}\r\n");
	/* The sign of an address is its highest bit. */
	try("read-memory", "'address':-1,'size':1",
	    ERROR("physical address 0xffffffffffffffff is not RAM"));
	try("read-memory", "'address':18446744073709551615,'size':1",
	    ERROR("physical address 0xffffffffffffffff is not RAM"));
}
END_TEST

START_TEST(memory_refused)
{
	static char text[1500000];

	start();
	try("read-memory", "'address':0,'size':0",
	    ERROR("Parameter 'size' expects a value between 1 and 1048576"));
	try("read-memory", "'address':0,'size':-1",
	    ERROR("Parameter 'size' expects a value between 1 and 1048576"));
	try("read-memory", "'address':0,'size':1048577",
	    ERROR("Parameter 'size' expects a value between 1 and 1048576"));
	try("read-memory", "'address':0,'size':1,'cpu-index':0",
	    ERROR("Parameter 'cpu-index' is unexpected: physical addresses are the same for all "
		  "vCPUs"));
	try("read-memory", "'address':0,'size':1,'space':'virtual','cpu-index':2",
	    ERROR("Parameter 'cpu-index' expects a CPU number"));
	try("write-memory", "'address':0,'data':'AA==','space':'virtual','cpu-index':-1",
	    ERROR("Parameter 'cpu-index' expects a CPU number"));
	try("write-memory", "'address':0,'data':''",
	    ERROR("Parameter 'data' expects 1 to 1048576 bytes in base64"));
	try("write-memory", "'address':0,'data':'AA'",
	    ERROR("Parameter 'data' is not base64 with its padding"));
	/* As much as fits, and one byte more in the same number of characters. */
	memset(text, 'A', sizeof(text));
	snprintf(text, 60, "{'execute':'write-memory','arguments':{'address':0,'data':'");
	text[strlen(text)] = 'A';
	strcpy(text + strcspn(text, "A") + 1398104 - 2, "=='}}");
	wire_expect(&wire, &peer, text, OK);
	strcpy(text + strcspn(text, "A") + 1398104 - 2, "AA'}}");
	wire_expect(&wire, &peer, text,
		    ERROR("1048578 bytes: one access has 1 to 1048576 of them"));
	strcpy(text + strcspn(text, "A") + 1398104, "AAA='}}");
	wire_expect(&wire, &peer, text,
		    ERROR("Parameter 'data' expects 1 to 1048576 bytes in base64"));
}
END_TEST

#define STAT(name, value) "{\"name\": \"" name "\", \"value\": " value "}"

START_TEST(stats)
{
	start();
	try("query-stats", "'target':'vm'",
	    "{\"return\": [{\"provider\": \"kvm\", \"stats\": ["
	    STAT("exits", "100") ", " STAT("pages", "101") ", " STAT("longest_ns", "102") ", "
	    STAT("cached", "103") ", " STAT("guest_mode", "true") ", " STAT("steps", "105") ", "
	    STAT("linear", "[106, 107, 108]") ", " STAT("log2", "[109, 110, 111, 112]") "]}]}\r\n");
	try("query-stats", "'target':'vcpu','vcpus':['/machine/unattached/device[1]','/nope'],"
	    "'providers':[{'provider':'kvm','names':['pages','nope']}]",
	    "{\"return\": [{\"provider\": \"kvm\", \"qom-path\": \"/machine/unattached/device[1]\", "
	    "\"stats\": [" STAT("pages", "2001") "]}]}\r\n");
	try("query-stats", "'target':'vcpu','providers':[{'provider':'kvm','names':['exits']},"
	    "{'provider':'kvm','names':['exits']}],'vcpus':['/machine/unattached/device[0]']",
	    "{\"return\": [{\"provider\": \"kvm\", \"qom-path\": \"/machine/unattached/device[0]\", "
	    "\"stats\": [" STAT("exits", "1000") "]}, "
	    "{\"provider\": \"kvm\", \"qom-path\": \"/machine/unattached/device[0]\", "
	    "\"stats\": [" STAT("exits", "1000") "]}]}\r\n");
	try("query-stats", "'target':'vcpu','vcpus':[]", "{\"return\": []}\r\n");
	try("query-stats", "'target':'vm','providers':[]", "{\"return\": []}\r\n");
	try("query-stats", "'target':'vm','providers':[{'provider':'kvm','names':['nope']}]",
	    "{\"return\": []}\r\n");
	try("query-stats", "'target':'vm','vcpus':[]", ERROR("Parameter 'vcpus' is unexpected"));
	try("query-stats", "'target':'host'", ERROR("Parameter 'target' does not accept value 'host'"));
}
END_TEST

#define SCHEMA(name, type, more) \
	"{\"name\": \"" name "\", \"type\": \"" type "\", " more "}"
#define SCHEMAS \
	SCHEMA("exits", "cumulative", "\"exponent\": 0") ", " \
	SCHEMA("pages", "instant", "\"exponent\": 0") ", " \
	SCHEMA("longest_ns", "peak", "\"unit\": \"seconds\", \"base\": 10, \"exponent\": -9") ", " \
	SCHEMA("cached", "instant", "\"unit\": \"bytes\", \"base\": 2, \"exponent\": 20") ", " \
	SCHEMA("guest_mode", "instant", "\"unit\": \"boolean\", \"exponent\": 0") ", " \
	SCHEMA("steps", "cumulative", "\"unit\": \"cycles\", \"base\": 10, \"exponent\": 2") ", " \
	SCHEMA("linear", "linear-histogram", \
	       "\"unit\": \"seconds\", \"base\": 10, \"exponent\": -6, \"bucket-size\": 250") ", " \
	SCHEMA("log2", "log2-histogram", "\"exponent\": 0")

START_TEST(stats_schemas)
{
	start();
	try("query-stats-schemas", "'provider':'kvm'",
	    "{\"return\": [{\"provider\": \"kvm\", \"stats\": [" SCHEMAS "], \"target\": \"vcpu\"}, "
	    "{\"provider\": \"kvm\", \"stats\": [" SCHEMAS "], \"target\": \"vm\"}]}\r\n");
	try("query-stats-schemas", "'provider':'cryptodev'",
	    ERROR("Parameter 'provider' does not accept value 'cryptodev'"));
}
END_TEST

/* Nobody who provides them: then there are none. */
START_TEST(no_stats)
{
	fake_kvm_set_cap(machine.fake, KVM_CAP_BINARY_STATS_FD, 0);
	start();
	try("query-stats", "'target':'vcpu'", "{\"return\": []}\r\n");
	try("query-stats-schemas", "", "{\"return\": []}\r\n");
}
END_TEST

START_TEST(stats_fail)
{
	start();
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_STATS_FD, .vcpu = -1,
							  .error = EMFILE });
	try("query-stats", "'target':'vm'", ERROR("KVM_GET_STATS_FD: Too many open files"));
	try("query-stats-schemas", "", ERROR("KVM_GET_STATS_FD: Too many open files"));
	fake_kvm_heal(machine.fake);
	try("query-stats", "'target':'vcpu','vcpus':[]", "{\"return\": []}\r\n");
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = FAKE_PREAD, .vcpu = 1,
							  .error = EIO });
	try("query-stats", "'target':'vcpu'", ERROR("statistics of KVM: Input/output error"));
}
END_TEST

START_TEST(dirty_rate)
{
	start();
	try("query-dirty-rate", "", "{\"return\": {\"status\": \"unstarted\", \"sample-pages\": 0, "
	    "\"mode\": \"page-sampling\", \"start-time\": 0, \"calc-time\": 0}}\r\n");
	try("calc-dirty-rate", "'calc-time':0", ERROR("calc-time is out of range[1, 60]."));
	try("calc-dirty-rate", "'calc-time':61", ERROR("calc-time is out of range[1, 60]."));
	try("calc-dirty-rate", "'calc-time':1,'sample-pages':127",
	    ERROR("sample-pages is out of range[128, 16384]."));
	try("calc-dirty-rate", "'calc-time':1,'sample-pages':16385",
	    ERROR("sample-pages is out of range[128, 16384]."));
	try("calc-dirty-rate", "'calc-time':1,'mode':'dirty-ring'",
	    ERROR("mode dirty-ring is not enabled, use other method instead."));
	try("calc-dirty-rate", "'calc-time':1,'mode':'dirty-ring','sample-pages':512",
	    ERROR("either sample-pages or dirty-ring can be specified."));
	try("calc-dirty-rate", "'calc-time':60,'mode':'dirty-bitmap','sample-pages':16384", OK);
	try("calc-dirty-rate", "'calc-time':0",
	    ERROR("the dirty rate is already being measured."));
	peer_clear(&peer);
	wire_send(&wire, &peer, "{'execute':'query-dirty-rate'}", 30);
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\"status\": \"measuring\", \"sample-pages\": 16384, "
				     "\"mode\": \"dirty-bitmap\", "), 1);
	ck_assert_uint_eq(peer_count(&peer, "\"calc-time\": 60}}"), 1);
}
END_TEST

START_TEST(dump_refused)
{
	start();
	try("query-dump", "", "{\"return\": {\"status\": \"none\", \"completed\": 0, \"total\": 0}}\r\n");
	try("query-dump-guest-memory-capability", "", "{\"return\": {\"formats\": [\"elf\"]}}\r\n");
	try("dump-guest-memory", "'paging':false,'protocol':'bogus'",
	    ERROR("Invalid parameter 'protocol'"));
	try("dump-guest-memory", "'paging':false,'protocol':'fd:foo'",
	    ERROR("File descriptor named 'foo' has not been found"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/nonexistent/x','detach':true",
	    ERROR("Could not open '/nonexistent/x': No such file or directory"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','begin':0",
	    ERROR("Parameter 'length' is missing"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','length':1",
	    ERROR("Parameter 'begin' is missing"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','begin':-1,'length':1",
	    ERROR("Invalid parameter 'begin'"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','begin':0,'length':-1",
	    ERROR("Invalid parameter 'length'"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','begin':0,'length':0",
	    ERROR("Invalid parameter 'length'"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/x','begin':2097152,'length':1",
	    ERROR("dump: no guest memory to dump"));
	try("dump-guest-memory", "'paging':true,'protocol':'file:/tmp/x','format':'kdump-lzo'",
	    ERROR("kdump-compressed format doesn't support paging or filter"));
	try("dump-guest-memory", "'paging':false,'protocol':'file:/tmp/x','format':'kdump-zlib'",
	    ERROR("kdump-zlib is not available now"));
	try("dump-guest-memory", "'paging':true,'protocol':'file:/tmp/x','format':'win-dmp'",
	    ERROR("win-dmp is not available now"));
	try("query-dump", "", "{\"return\": {\"status\": \"none\", \"completed\": 0, \"total\": 0}}\r\n");
}
END_TEST

/* ---- dumps that are waited for ---- */

#define DUMP(more) "{'execute':'dump-guest-memory','id':1,'arguments':{'paging':false," more "}}"

static void forward(void *opaque, const struct vm_event *event)
{
	(void)opaque;
	monitor_vm_event(wire.monitor, event);
}

/* A machine that runs, and whose events clients get. */
static void start_running(void)
{
	start();
	machine.vm->callbacks.event = forward;
	machine_run_all();
	wire_settle(&wire, &peer);
	peer_clear(&peer);
}

static void say(const char *text)
{
	wire_send(&wire, &peer, text, strlen(text));
	wire_settle(&wire, &peer);
}

static void await_dump(void)
{
	struct dump_info info;

	do {
		machine_dispatch();
		vm_dump_info(machine.vm, &info);
	} while (info.status == DUMP_ACTIVE);
	wire_settle(&wire, &peer);
}

/* All of these, in this order. */
static void check_order(const char *const *parts, size_t nr)
{
	const char *at = peer.text;

	for (size_t i = 0; i < nr; i++) {
		at = strstr(at, parts[i]);
		ck_assert_msg(at, "no %s in its place in %s", parts[i], peer.text);
		at += strlen(parts[i]);
	}
	peer_clear(&peer);
}
#define CHECK_ORDER(...) \
	check_order((const char *const[]) { __VA_ARGS__ }, \
		    sizeof((const char *const[]) { __VA_ARGS__ }) / sizeof(const char *))

START_TEST(dump_is_waited_for)
{
	start_running();
	say(DUMP("'protocol':'file:/dev/null'"));
	ck_assert_uint_eq(peer_count(&peer, "\"return\""), 0);
	/* Others wait their turn. */
	say("{'execute':'query-name','id':2}");
	ck_assert_uint_eq(peer_count(&peer, "\"return\""), 0);
	await_dump();
	CHECK_ORDER("\"STOP\"", "\"DUMP_COMPLETED\", \"data\": {\"result\": {\"status\": "
		    "\"completed\", \"completed\": 2097152, \"total\": 2097152}}}", "\"RESUME\"",
		    "{\"return\": {}, \"id\": 1}", "\"id\": 2}");
}
END_TEST

START_TEST(dump_is_not_waited_for)
{
	start_running();
	say(DUMP("'detach':true,'protocol':'file:/dev/null'"));
	CHECK_ORDER("\"STOP\"", "{\"return\": {}, \"id\": 1}");
	say("{'execute':'stop'}{'execute':'cont'}{'execute':'system_reset'}");
	ck_assert_uint_eq(peer_count(&peer, "There is a dump in process, please wait."), 3);
	peer_clear(&peer);
	await_dump();
	CHECK_ORDER("\"DUMP_COMPLETED\"", "\"RESUME\"");
}
END_TEST

START_TEST(dump_fails)
{
	start_running();
	say(DUMP("'protocol':'file:/dev/full'"));
	await_dump();
	CHECK_ORDER("\"STOP\"", "\"DUMP_COMPLETED\", \"data\": {\"result\": {\"status\": "
		    "\"failed\", \"completed\": 0, \"total\": 2097152}, \"error\": "
		    "\"dump: failed to write elf header: No space left on device\"}}", "\"RESUME\"",
		    "{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": "
		    "\"dump: failed to write elf header: No space left on device\"}}");
	/* One that can not even begin: no event. */
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_REGS, .vcpu = 0,
							  .error = EIO });
	say(DUMP("'protocol':'file:/nonexistent/x'"));
	CHECK_ORDER("{\"id\": 1, \"error\"");
	ck_assert(vm_is_running(machine.vm));
}
END_TEST

/* Who waits may go, or be asked for something else out of band. */
START_TEST(dump_is_left)
{
	struct peer other;

	start_running();
	say(DUMP("'protocol':'file:/dev/null'"));
	other = wire_connect_ready(&wire);
	peer_close(&peer);
	wire_settle(&wire, &other);
	peer = other;
	await_dump();
	CHECK_ORDER("\"DUMP_COMPLETED\"", "\"RESUME\"");
	try("query-dump", "", "{\"return\": {\"status\": \"completed\", \"completed\": 2097152, "
	    "\"total\": 2097152}}\r\n");
	/* The same from the human monitor, whose lines wait as well. */
	say("{'execute':'human-monitor-command','id':1,'arguments':"
	     "{'command-line':'dump-guest-memory /dev/full'}}");
	ck_assert_uint_eq(peer_count(&peer, "\"return\""), 0);
	await_dump();
	CHECK_ORDER("\"RESUME\"", "{\"return\": \"Error: dump: failed to write elf header: No space "
		    "left on device\\r\\n\", \"id\": 1}");
}
END_TEST

/* One a second at most; what waits is forgotten when the dump is over. */
START_TEST(dump_progress)
{
	static const struct vm_event progress = { .type = VM_EVENT_DUMP_PROGRESS };

	start_running();
	for (int i = 0; i < 3; i++)
		monitor_vm_event(wire.monitor, &progress);
	monitor_vm_event(wire.monitor, &(struct vm_event) { .type = VM_EVENT_DUMP_COMPLETED });
	wire_settle(&wire, &peer);
	ck_assert_uint_eq(peer_count(&peer, "\"DUMP_PROGRESS\", \"data\": {\"completed\": 0, "
				     "\"total\": 0}}"), 1);
	ck_assert_ptr_null(wire.monitor->limit[QMP_EVENT_DUMP_PROGRESS].waiting);
}
END_TEST

Suite *qmp_memory_suite(void)
{
	Suite *suite = suite_create("qmp_memory");
	TCase *tc = tcase_create("qmp_memory");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, memory_refused);
	tcase_add_test(tc, stats);
	tcase_add_test(tc, stats_schemas);
	tcase_add_test(tc, no_stats);
	tcase_add_test(tc, stats_fail);
	tcase_add_test(tc, dirty_rate);
	tcase_add_test(tc, dump_refused);
	tcase_add_test(tc, dump_is_waited_for);
	tcase_add_test(tc, dump_is_not_waited_for);
	tcase_add_test(tc, dump_fails);
	tcase_add_test(tc, dump_is_left);
	tcase_add_test(tc, dump_progress);
	suite_add_tcase(suite, tc);
	return suite;
}
