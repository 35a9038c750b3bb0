/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/*
 * Commands about processors, on a small host of the year 2009: x86-64-v2, and AVX without AVX2.
 * Texts of errors were taken from a running QEMU 7.2, but for those that it has not.
 */

#define INDEX KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static const struct kvm_cpuid_entry2 leaves[] = {
	{ .function = 0, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
	/* All of x86-64-v2, PCLMULQDQ, XSAVE, AVX. */
	{ .function = 1, .eax = 0x206a7, .ecx = 0x14982203 | 1U << 21, .edx = 0x178bfbff },
	{ .function = 6, .eax = 4 },
	{ .function = 7, .flags = INDEX, .ebx = 1, .edx = 1U << 29 },
	{ .function = 0xd, .flags = INDEX, .eax = 7, .ebx = 0x340, .ecx = 0x340 },
	{ .function = 0xd, .index = 1, .flags = INDEX },
	{ .function = 0xd, .index = 2, .flags = INDEX, .eax = 0x100, .ebx = 0x240 },
	{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56,
	  .edx = 0x4d },
	{ .function = 0x40000001, .eax = 0x01007efb },
	{ .function = 0x80000000, .eax = 0x80000008 },
	{ .function = 0x80000001, .ecx = 1, .edx = 0x28100800 },
	{ .function = 0x80000008, .eax = 0x3028 },
};

static struct event_base *base;
static struct monitor *monitor;
static struct json_writer reply;
static struct qmp_call call;
static char answer[65536];
static unsigned int fails_at;           /* the allocation of a command that fails; 0: none */
static bool has_failed;                 /* and it was made */

static void host(void)
{
	machine_host();
	fake_kvm_set_cpuid(machine.fake, leaves, sizeof(leaves) / sizeof(leaves[0]));
}

static void open_monitor(void)
{
	static const char uuid[] = "00000000-0000-0000-0000-000000000000";
	struct error err;

	base = event_base_new();
	monitor = monitor_new(&(struct monitor_config){
		.base = base, .vm = machine.vm, .uuid = uuid,
	}, &err);
	ck_assert_ptr_nonnull(monitor);
}

static void setup(void)
{
	host();
	machine_start(2);
	open_monitor();
}

static void teardown(void)
{
	monitor_free(monitor);
	event_base_free(base);
	machine_stop();
}

static bool keep_value(void *opaque, struct json_value *value, const char *error)
{
	ck_assert_msg(!error, "%s", error);
	*(struct json_value *)opaque = *value;
	value->type = JSON_NULL;
	return true;
}

static struct json_value parse(const char *text)
{
	struct json_value value = { .type = JSON_NULL };
	struct json_parser *parser = json_parser_new(keep_value, &value);

	ck_assert_uint_eq(json_parser_feed(parser, text, strlen(text)), strlen(text));
	json_parser_free(parser);
	return value;
}

/* Carries out a command as the wire would.  What it has written, or the text of its error. */
static const char *run(const char *name, const char *arguments)
{
	const struct qmp_command *command = qmp_find_command(name);
	struct json_value value = parse(arguments);
	int rc;

	json_writer_init(&reply, false);
	memset(&call, 0, sizeof(call));
	call.monitor = monitor;
	call.arguments = &value;
	call.reply = &reply;
	json_write_object(&reply, NULL);
	alloc_fail_at(fails_at);
	rc = qmp_check_arguments(command->arguments, &value, &call.error);
	if (rc == 0)
		rc = command->handler(&call);
	has_failed = alloc_has_failed();
	alloc_fail_at(0);
	if (rc < 0) {
		snprintf(answer, sizeof(answer), "%s", call.error.text);
	} else {
		json_write_object_end(&reply);
		ck_assert(!reply.failed || has_failed);
		ck_assert_uint_lt(reply.len, sizeof(answer));
		snprintf(answer, sizeof(answer), "%.*s", (int)reply.len, reply.text);
	}
	json_writer_free(&reply);
	json_clear(&value);
	return answer;
}

#define HAS(text) ck_assert_msg(strstr(answer, text), "no %s: %s", text, answer)
#define HAS_NOT(text) ck_assert_msg(!strstr(answer, text), "%s: %s", text, answer)

/* ---- query-cpu-definitions ---- */

START_TEST(definitions)
{
	run("query-cpu-definitions", "{}");
	HAS("{\"name\": \"host\", \"typename\": \"host-x86_64-cpu\", \"unavailable-features\": [], "
	    "\"static\": false, \"migration-safe\": false, \"deprecated\": false}");
	HAS("{\"name\": \"base\", \"typename\": \"base-x86_64-cpu\", \"unavailable-features\": [], "
	    "\"static\": true, \"migration-safe\": true, \"deprecated\": false}");
	HAS("{\"name\": \"x86-64-v2\", \"typename\": \"x86-64-v2-x86_64-cpu\", "
	    "\"unavailable-features\": [], \"static\": false, \"migration-safe\": true, ");
	HAS("\"x86-64-v3-x86_64-cpu\", \"unavailable-features\": [\"fma\", \"movbe\", \"f16c\", "
	    "\"bmi1\", \"avx2\", \"bmi2\", \"xsaveopt\", \"abm\"], ");
}
END_TEST

/* There are clients that do not survive an error here. */
START_TEST(definitions_whatever_happens)
{
	const struct fake_fault fault = { KVM_GET_SUPPORTED_CPUID, -1, 0, 0, EIO };

	host();
	machine.config.incoming = true;         /* nobody has asked for the table yet */
	machine_start(1);
	open_monitor();
	fake_kvm_fail(machine.fake, fault);
	run("query-cpu-definitions", "{}");
	HAS("{\"name\": \"host\", \"typename\": \"host-x86_64-cpu\", \"static\": false, ");
	HAS("{\"name\": \"x86-64-v4\", ");
	HAS_NOT("unavailable");
	fake_kvm_heal(machine.fake);
	/* A reply that has no memory itself is the wire's affair. */
	do {
		fails_at++;
		run("query-cpu-definitions", "{}");
		if (*answer)
			ck_assert_ptr_eq(strstr(answer, "{\"return\": [{\"name\": \"host\", "), answer);
	} while (has_failed);
	fails_at = 0;
	run("query-cpu-definitions", "{}");
	HAS("\"unavailable-features\": [\"fma\", ");
	teardown();
}
END_TEST

/* ---- query-cpu-model-expansion ---- */

#define EXPANSION "query-cpu-model-expansion"

START_TEST(expansion_full)
{
	run(EXPANSION, "{'type': 'full', 'model': {'name': 'host'}}");
	HAS("{\"return\": {\"model\": {\"name\": \"host\", \"props\": {\"pni\": true, ");
	HAS("\"avx\": true");
	HAS("\"avx2\": false");
	HAS("\"vendor\": \"GenuineIntel\"");
	HAS("\"family\": 6");
	HAS("\"model\": 42");
	HAS("\"stepping\": 7");
	HAS("\"phys-bits\": 40");
	HAS("\"enforce\": false");
	HAS("\"migratable\": true");
}
END_TEST

START_TEST(expansion_static)
{
	run(EXPANSION, "{'type': 'static', 'model': {'name': 'x86-64-v2'}}");
	HAS("{\"return\": {\"model\": {\"name\": \"base\", \"props\": {\"pni\": true, ");
	HAS("\"sse4.2\": true");
	HAS("\"avx\": false");
	HAS("\"vendor\": \"GenuineIntel\"");
	HAS("\"kvm\": true");
	/* How to come by a processor does not describe one. */
	HAS_NOT("\"enforce\"");
	HAS_NOT("\"migratable\"");
	HAS_NOT("\"host-phys-bits\"");
}
END_TEST

START_TEST(expansion_with_properties)
{
	run(EXPANSION, "{'type': 'full', 'model': {'name': 'host', 'props': {'avx': false, "
	    "'sse4_1': false, 'family': 15, 'model': 255, 'stepping': 0, 'vendor': 'GenuineTestX', "
	    "'model-id': 'A \\u0041', 'enforce': true, 'tsc-frequency': 1000000000}}}");
	HAS("\"avx\": false");
	HAS("\"sse4.1\": false");
	/* What needs it. */
	HAS("\"sse4.2\": false");
	HAS("\"ssse3\": true");
	HAS("\"family\": 15");
	HAS("\"model\": 255");
	HAS("\"vendor\": \"GenuineTestX\"");
	HAS("\"model-id\": \"A A\"");
	HAS("\"enforce\": true");
	HAS("\"tsc-frequency\": 1000000000");
	/* Asked for, and not to be had. */
	run(EXPANSION, "{'type': 'full', 'model': {'name': 'host', 'props': {'avx2': true}}}");
	HAS("\"avx2\": false");
}
END_TEST

static void forget(char *text, const char *what)
{
	char *at = strstr(text, what);

	if (at)
		memmove(at, at + strlen(what), strlen(at + strlen(what)) + 1);
}

/* What comes out can go in again, and the same comes out. */
START_TEST(expansion_of_an_expansion)
{
	static const char *const types[] = { "static", "full" };
	static const char *const models[] = { "host", "max", "x86-64-v2", "base" };
	char request[sizeof(answer) + 64], first[sizeof(answer)];

	snprintf(request, sizeof(request), "{'type': '%s', 'model': {'name': '%s'}}", types[_i % 2],
		 models[_i / 2]);
	snprintf(first, sizeof(first), "%s", run(EXPANSION, request));
	ck_assert_int_eq(strncmp(first, "{\"return\": {\"model\": ", 21), 0);
	snprintf(request, sizeof(request), "{'type': '%s', 'model': %.*s}", types[_i % 2],
		 (int)strlen(first) - 21 - 2, first + 21);
	run(EXPANSION, request);
	/* Where the bits are given they are no longer the host's. */
	forget(first, "\"host-phys-bits\": true, ");
	forget(first, "\"host-phys-bits\": false, ");
	forget(answer, "\"host-phys-bits\": false, ");
	for (size_t i = 0; first[i]; i++)
		ck_assert_msg(first[i] == answer[i], "%.40s, and not %.40s", answer + i, first + i);
}
END_TEST

#define PROPS(text) "{'type': 'full', 'model': {'name': 'host', 'props': {" text "}}}"
#define EXPECTED(type, name) "Invalid parameter type for '" name "', expected: " type

static const struct {
	const char *arguments, *error;
} wrong[] = {
	{ "{'type': 'static', 'model': {'name': 'zzz'}}", "CPU model 'zzz' not found" },
	{ "{'type': 'zzz', 'model': {'name': 'host'}}",
	  "Parameter 'type' does not accept value 'zzz'" },
	{ "{'type': 'full', 'model': {'name': 5}}", EXPECTED("string", "model.name") },
	{ "{'type': 'full', 'model': {}}", "Parameter 'model.name' is missing" },
	{ "{'type': 'full', 'model': {'name': 'host', 'x': 5}}",
	  "Parameter 'model.x' is unexpected" },
	{ "{'type': 'full', 'model': {'name': 'host', 'props': 5}}",
	  EXPECTED("object", "model.props") },
	{ PROPS("'nosuch': true"), "Property 'host-x86_64-cpu.nosuch' not found" },
	{ PROPS("'+avx': true"), "Property 'host-x86_64-cpu.+avx' not found" },
	{ PROPS("'': true"), "Property 'host-x86_64-cpu.' not found" },
	{ PROPS("'avx2': 'zz'"), EXPECTED("boolean", "avx2") },
	{ PROPS("'avx2': 'off'"), EXPECTED("boolean", "avx2") },
	{ PROPS("'avx2': 5"), EXPECTED("boolean", "avx2") },
	{ PROPS("'avx2': []"), EXPECTED("boolean", "avx2") },
	{ PROPS("'avx2': null"), EXPECTED("boolean", "avx2") },
	{ PROPS("'kvm': null"), EXPECTED("boolean", "kvm") },
	{ PROPS("'family': 'x'"), EXPECTED("integer", "family") },
	{ PROPS("'family': null"), EXPECTED("integer", "family") },
	{ PROPS("'family': 6.0"), EXPECTED("integer", "family") },
	{ PROPS("'vendor': 5"), EXPECTED("string", "vendor") },
	{ PROPS("'family': 1099511627776"),
	  "Property .family doesn't take value 1099511627776 (minimum: 0, maximum: 270)" },
	{ PROPS("'family': -1"),
	  "Property .family doesn't take value -1 (minimum: 0, maximum: 270)" },
	{ PROPS("'family': 18446744073709551615"),
	  "Property .family doesn't take value 18446744073709551615 (minimum: 0, maximum: 270)" },
	{ PROPS("'model': 300"),
	  "Property .model doesn't take value 300 (minimum: 0, maximum: 255)" },
	{ PROPS("'stepping': 300"),
	  "Property .stepping doesn't take value 300 (minimum: 0, maximum: 15)" },
	{ PROPS("'vendor': 'short'"), "Property '.vendor' doesn't take value 'short'" },
	{ PROPS("'vendor': ''"), "Property '.vendor' doesn't take value ''" },
	{ PROPS("'phys-bits': 1"),
	  "Property .phys-bits doesn't take value 1 (minimum: 32, maximum: 52)" },
	{ PROPS("'model_id': '\\u00e4'"), "Property '.model-id' doesn't take value '\u00e4'" },
	{ PROPS("'avx': false, 'nosuch': 1"), "Property 'host-x86_64-cpu.nosuch' not found" },
};

START_TEST(expansion_refused)
{
	ck_assert_str_eq(run(EXPANSION, wrong[_i].arguments), wrong[_i].error);
}
END_TEST

START_TEST(expansion_without_an_answer)
{
	const struct fake_fault fault = { KVM_GET_SUPPORTED_CPUID, -1, 0, 0, EIO };
	static const char text[] = "{'type': 'full', 'model': {'name': 'host'}}";

	host();
	machine.config.incoming = true;
	machine_start(1);
	open_monitor();
	fake_kvm_fail(machine.fake, fault);
	ck_assert_int_eq(strncmp(run(EXPANSION, text), "KVM_GET_SUPPORTED_CPUID: ", 25), 0);
	fake_kvm_heal(machine.fake);
	run(EXPANSION, text);
	HAS("{\"return\": ");
	teardown();
}
END_TEST

/* ---- query-cpu-model-comparison ---- */

#define COMPARISON "query-cpu-model-comparison"
#define MODELS(a, b) "{'modela': {'name': " a "}, 'modelb': {'name': " b "}}"
#define WITH(props) "'host', 'props': {" props "}"
#define RESULT(result, names) "{\"return\": {\"result\": \"" result "\", " \
	"\"responsible-properties\": [" names "]}}"

static const struct {
	const char *arguments, *answer;
} comparisons[] = {
	{ MODELS("'host'", "'host'"), RESULT("identical", "") },
	{ MODELS("'host'", WITH("'avx': false")), RESULT("superset", "\"avx\"") },
	{ MODELS(WITH("'avx': false"), "'host'"), RESULT("subset", "\"avx\"") },
	/* It can not be had here in any case. */
	{ MODELS("'host'", WITH("'avx2': true")), RESULT("identical", "") },
	{ MODELS(WITH("'avx': false"), WITH("'pclmulqdq': false")),
	  RESULT("incompatible", "\"pclmulqdq\", \"avx\"") },
	{ MODELS(WITH("'vendor': 'GenuineTestX'"), "'host'"), RESULT("incompatible", "\"vendor\"") },
	/* That is how to go about it, and makes no other processor. */
	{ MODELS(WITH("'enforce': true"), "'host'"), RESULT("identical", "") },
	{ MODELS("'zzz'", "'host'"), "CPU model 'zzz' not found" },
	{ MODELS("'host'", "'zzz'"), "CPU model 'zzz' not found" },
	{ MODELS("'host'", "'host', 'props': 1"),
	  "Invalid parameter type for 'modelb.props', expected: object" },
	{ MODELS("'base'", WITH("'zzz': 1")), "Property 'host-x86_64-cpu.zzz' not found" },
	{ "{'modela': {'name': 'host'}}", "Parameter 'modelb' is missing" },
};

START_TEST(comparison)
{
	ck_assert_str_eq(run(COMPARISON, comparisons[_i].arguments), comparisons[_i].answer);
}
END_TEST

/* ---- query-vcpu-cpuid, info cpuid ---- */

static void check_entry(const struct kvm_cpuid_entry2 *e)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"function\": %u, \"index\": %u, \"flags\": %u, "
		 "\"eax\": %u, \"ebx\": %u, \"ecx\": %u, \"edx\": %u}", e->function, e->index,
		 e->flags, e->eax, e->ebx, e->ecx, e->edx);
	HAS(text);
}

START_TEST(table)
{
	for (int cpu = 0; cpu < 2; cpu++) {
		const struct kvm_cpuid2 *now = machine_model(cpu)->cpuid;
		char arguments[32], begin[64];

		ck_assert_uint_gt(now->nent, 10);
		snprintf(arguments, sizeof(arguments), "{'cpu-index': %d}", cpu);
		snprintf(begin, sizeof(begin), "{\"return\": [{\"cpu-index\": %d, \"entries\": [{",
			 cpu);
		run("query-vcpu-cpuid", arguments);
		ck_assert_ptr_eq(strstr(answer, begin), answer);
		for (uint32_t i = 0; i < now->nent; i++)
			check_entry(&now->entries[i]);
		run("query-vcpu-cpuid", "{}");
		HAS("[{\"cpu-index\": 0, ");
		HAS(", {\"cpu-index\": 1, ");
		for (uint32_t i = 0; i < now->nent; i++)
			check_entry(&now->entries[i]);
	}
	ck_assert_str_eq(run("query-vcpu-cpuid", "{'cpu-index': 2}"),
			 "Parameter 'cpu-index' expects a CPU number");
	ck_assert_str_eq(run("query-vcpu-cpuid", "{'cpu-index': -1}"),
			 "Parameter 'cpu-index' expects a CPU number");
}
END_TEST

static unsigned int reads(uint64_t since)
{
	return fake_kvm_count_request(machine.fake, since, FAKE_ANY, KVM_GET_CPUID2);
}

START_TEST(looking_at_the_table)
{
	uint64_t mark;

	machine_run_all();
	machine_events();
	run("query-vcpu-cpuid", "{}");
	HAS("\"return\"");
	ck_assert(vm_is_running(machine.vm));
	ck_assert_str_eq(machine_events(), "");
	vm_stop(machine.vm);
	mark = fake_kvm_mark(machine.fake);
	run("query-vcpu-cpuid", "{}");
	ck_assert_uint_eq(reads(mark), 2);
	/* It stands still as long as the machine does. */
	run("query-vcpu-cpuid", "{}");
	ck_assert_uint_eq(reads(mark), 2);
	ck_assert_uint_eq(machine_sets(mark), 0);
	machine_cont();
	ck_assert_uint_eq(machine_sets(mark), 0);
}
END_TEST

START_TEST(table_refused)
{
	fake_kvm_fail(machine.fake, (struct fake_fault){ KVM_GET_CPUID2, 1, 1, 0, EIO });
	machine_run_all();
	run("query-vcpu-cpuid", "{'cpu-index': 0}");
	HAS("\"return\"");
	ck_assert_int_eq(strncmp(run("query-vcpu-cpuid", "{}"), "vCPU 1: KVM_GET_CPUID2", 22), 0);
	ck_assert(vm_is_running(machine.vm));
}
END_TEST

static const char *human(const char *line)
{
	struct text out = { 0 };
	struct hmp hmp = { .monitor = monitor, .vm = machine.vm, .out = &out };

	hmp_execute(&hmp, line);
	ck_assert(!out.failed);
	snprintf(answer, sizeof(answer), "%s", out.bytes ? out.bytes : "");
	text_free(&out);
	return answer;
}

START_TEST(human_table)
{
	human("info cpuid");
	ck_assert_ptr_eq(strstr(answer, "\nCPU#0\n"
				"leaf      subleaf  eax      ebx      ecx      edx\n"
				"00000000        -  "), answer);
	HAS("\n    ECX pni pclmulqdq ssse3 ");
	HAS("\n00000007        0  00000000 00000001 00000000 20000000\n    EBX fsgsbase\n"
	    "    EDX arch-capabilities\n");
	HAS("\n00000001        -  000206a7 00");
	/* A feature of two bits is named once. */
	HAS("\n    EAX kvmclock kvm-nopiodelay kvm-asyncpf");
	for (const char *line = answer; *line; line = strchr(line, '\n') + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
	human("info cpuid 1");
	HAS("\nCPU#1\n");
	HAS("\n00000001        -  000206a7 01");
	ck_assert_str_eq(human("info cpuid 2"), "CPU#2 not available\n");
	ck_assert_str_eq(human("info cpuid -1"), "'cpuid' has failed: integer is for 32-bit values\n"
			 "Try \"help info cpuid\" for more information\n");
	fake_kvm_fail(machine.fake, (struct fake_fault){ KVM_GET_CPUID2, 1, 1, 0, EIO });
	machine_run_all();
	vm_stop(machine.vm);
	human("info cpuid 1");
	HAS("Error: vCPU 1: KVM_GET_CPUID2");
}
END_TEST

Suite *qmp_cpu_suite(void)
{
	Suite *suite = suite_create("qmp_cpu");
	TCase *models = tcase_create("models");
	TCase *silent = tcase_create("silent KVM");
	TCase *tables = tcase_create("tables");

	tcase_add_checked_fixture(models, setup, teardown);
	tcase_add_test(models, definitions);
	tcase_add_test(models, expansion_full);
	tcase_add_test(models, expansion_static);
	tcase_add_test(models, expansion_with_properties);
	tcase_add_loop_test(models, expansion_of_an_expansion, 0, 8);
	tcase_add_loop_test(models, expansion_refused, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_loop_test(models, comparison, 0, sizeof(comparisons) / sizeof(comparisons[0]));
	suite_add_tcase(suite, models);
	tcase_add_test(silent, definitions_whatever_happens);
	tcase_add_test(silent, expansion_without_an_answer);
	suite_add_tcase(suite, silent);
	tcase_add_checked_fixture(tables, setup, teardown);
	tcase_add_test(tables, table);
	tcase_add_test(tables, looking_at_the_table);
	tcase_add_test(tables, table_refused);
	tcase_add_test(tables, human_table);
	suite_add_tcase(suite, tables);
	return suite;
}
