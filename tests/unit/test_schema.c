/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/json.h"
#include "monitor/qmp.h"
#include "tests/unit/suites.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The command table */

static const struct {
	const char *name;
	qmp_handler *handler;
} commands[] = {
	{ "add-fd", qmp_add_fd },
	{ "closefd", qmp_closefd },
	{ "cont", qmp_cont },
	{ "getfd", qmp_getfd },
	{ "human-monitor-command", qmp_human_monitor_command },
	{ "inject-nmi", qmp_inject_nmi },
	{ "memsave", qmp_memsave },
	{ "migrate", qmp_migrate },
	{ "migrate-incoming", qmp_migrate_incoming },
	{ "migrate-set-capabilities", qmp_migrate_set_capabilities },
	{ "migrate-set-parameters", qmp_migrate_set_parameters },
	{ "migrate_cancel", qmp_migrate_cancel },
	{ "pmemsave", qmp_pmemsave },
	{ "qmp_capabilities", qmp_qmp_capabilities },
	{ "query-commands", qmp_query_commands },
	{ "query-cpu-definitions", qmp_query_cpu_definitions },
	{ "query-cpu-model-comparison", qmp_query_cpu_model_comparison },
	{ "query-cpu-model-expansion", qmp_query_cpu_model_expansion },
	{ "query-cpus-fast", qmp_query_cpus_fast },
	{ "query-fdsets", qmp_query_fdsets },
	{ "query-kvm", qmp_query_kvm },
	{ "query-migrate", qmp_query_migrate },
	{ "query-migrate-capabilities", qmp_query_migrate_capabilities },
	{ "query-migrate-parameters", qmp_query_migrate_parameters },
	{ "query-name", qmp_query_name },
	{ "query-qmp-schema", qmp_query_qmp_schema },
	{ "query-status", qmp_query_status },
	{ "query-target", qmp_query_target },
	{ "query-uuid", qmp_query_uuid },
	{ "query-vcpu-cpuid", qmp_query_vcpu_cpuid },
	{ "query-vcpu-state", qmp_query_vcpu_state },
	{ "query-vcpu-sync", qmp_query_vcpu_sync },
	{ "query-version", qmp_query_version },
	{ "query-xen", qmp_query_xen },
	{ "quit", qmp_quit },
	{ "remove-fd", qmp_remove_fd },
	{ "set-action", qmp_set_action },
	{ "set-vcpu-registers", qmp_set_vcpu_registers },
	{ "snapshot-save", qmp_snapshot_save },
	{ "stop", qmp_stop },
	{ "system_powerdown", qmp_system_powerdown },
	{ "system_reset", qmp_system_reset },
};

START_TEST(test_table)
{
	ck_assert_uint_eq(QMP_COMMAND_COUNT, COUNT(commands));
	ck_assert_ptr_null(qmp_commands[QMP_COMMAND_COUNT].name);
	for (size_t i = 0; i < COUNT(commands); i++) {
		ck_assert_str_eq(qmp_commands[i].name, commands[i].name);
		ck_assert_msg(qmp_commands[i].handler == commands[i].handler,
			      "%s has another handler", commands[i].name);
		ck_assert_msg(!qmp_commands[i].allow_oob, "%s", commands[i].name);
		if (i > 0)
			ck_assert_str_lt(qmp_commands[i - 1].name, qmp_commands[i].name);
	}
}
END_TEST

START_TEST(test_find)
{
	static const char *const unknown[] = {
		"", "a", "query-statu", "query-statusx", "QUERY-STATUS", "query_status", "zzz",
	};

	for (size_t i = 0; i < COUNT(commands); i++)
		ck_assert_ptr_eq(qmp_find_command(commands[i].name), &qmp_commands[i]);
	for (size_t i = 0; i < COUNT(unknown); i++)
		ck_assert_ptr_null(qmp_find_command(unknown[i]));
}
END_TEST

START_TEST(test_events)
{
	static const struct {
		enum qmp_event event;
		const char *name;
		bool has_data;
	} events[] = {
		{ QMP_EVENT_STOP, "STOP", false },
		{ QMP_EVENT_RESUME, "RESUME", false },
		{ QMP_EVENT_RESET, "RESET", true },
		{ QMP_EVENT_SHUTDOWN, "SHUTDOWN", true },
		{ QMP_EVENT_POWERDOWN, "POWERDOWN", false },
		{ QMP_EVENT_GUEST_PANICKED, "GUEST_PANICKED", true },
		{ QMP_EVENT_GUEST_CRASHLOADED, "GUEST_CRASHLOADED", true },
		{ QMP_EVENT_MIGRATION, "MIGRATION", true },
	};

	ck_assert_uint_eq(QMP_EVENT_COUNT, COUNT(events));
	for (size_t i = 0; i < COUNT(events); i++) {
		const struct qmp_event_info *info = &qmp_events[events[i].event];

		ck_assert_str_eq(info->name, events[i].name);
		ck_assert_uint_eq(info->rate_limit_ms, 0);
		ck_assert_int_eq(info->data != NULL, events[i].has_data);
	}
}
END_TEST

/* Argument checks */

static bool keep_value(void *opaque, struct json_value *value, const char *error)
{
	struct json_value *kept = opaque;

	ck_assert_msg(value, "%s", error);
	*kept = *value;
	value->type = JSON_NULL;
	return true;
}

static struct json_value parse(const char *text)
{
	struct json_value value = { .type = JSON_NULL };
	struct json_parser *parser = json_parser_new(keep_value, &value);

	ck_assert_ptr_nonnull(parser);
	ck_assert_uint_eq(json_parser_feed(parser, text, strlen(text)), strlen(text));
	json_parser_free(parser);
	ck_assert_int_eq(value.type, JSON_OBJECT);
	return value;
}

/* `expected` is NULL where the arguments are right. */
static void check_one(const struct qmp_type *type, const char *arguments, const char *expected)
{
	struct json_value value = parse(arguments);
	struct error err = { 0 };
	int rc = qmp_check_arguments(type, &value, &err);

	ck_assert_msg(rc == (expected ? -1 : 0), "%s: %d %s", arguments, rc, err.text);
	if (expected)
		ck_assert_msg(!strcmp(err.text, expected), "%s: %s", arguments, err.text);
	else
		ck_assert_int_eq(err.code, 0);
	json_clear(&value);
}

/* Every text here was taken from a running QEMU 7.2, but for the commands that it does not have. */
static const struct {
	const char *command, *arguments, *expected;
} arguments[] = {
	{ "query-status", "{}", NULL },
	{ "query-status", "{'a': 1}", "Parameter 'a' is unexpected" },
	{ "memsave", "{}", "Parameter 'val' is missing" },
	{ "memsave", "{'val': 1}", "Parameter 'size' is missing" },
	{ "memsave", "{'size': 1}", "Parameter 'val' is missing" },
	{ "memsave", "{'VAL': 1}", "Parameter 'val' is missing" },
	{ "memsave", "{'bogus': 1}", "Parameter 'val' is missing" },
	{ "memsave", "{'filename': 'f', 'size': 2, 'val': 1}", NULL },
	{ "memsave", "{'val': 1, 'size': 2, 'filename': 'f', 'cpu-index': 0}", NULL },
	{ "memsave", "{'val': 1, 'size': 2, 'filename': 'f', 'bogus': 0}",
	  "Parameter 'bogus' is unexpected" },
	{ "memsave", "{'': 1, 'val': 1, 'size': 1, 'filename': 'x'}",
	  "Parameter '' is unexpected" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': 'x', 'b%sad\\n\\\"q': 1}",
	  "Parameter 'b%sad\n\"q' is unexpected" },
	{ "memsave", "{'val': 'x', 'size': 'y'}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'bogus': 1, 'val': 'x'}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': 1.0, 'size': 1, 'filename': 'f'}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': 1e0}", "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': null}", "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': true}", "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': []}", "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': {}}", "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': 9223372036854775807}", "Parameter 'size' is missing" },
	{ "memsave", "{'val': 9223372036854775808}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': 18446744073709551616}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': -9223372036854775808}", "Parameter 'size' is missing" },
	{ "memsave", "{'val': -9223372036854775809}",
	  "Invalid parameter type for 'val', expected: integer" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': 5}",
	  "Invalid parameter type for 'filename', expected: string" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': null}",
	  "Invalid parameter type for 'filename', expected: string" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': true, 'zz': 1, 'aa': 2}",
	  "Invalid parameter type for 'filename', expected: string" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': 'f', 'cpu-index': null}",
	  "Invalid parameter type for 'cpu-index', expected: integer" },
	{ "memsave", "{'val': 1, 'size': 1, 'filename': 'f', 'cpu-index': '0'}",
	  "Invalid parameter type for 'cpu-index', expected: integer" },
	{ "qmp_capabilities", "{'enable': []}", NULL },
	{ "qmp_capabilities", "{'enable': ['oob', 'oob']}", NULL },
	{ "qmp_capabilities", "{'enable': 5}",
	  "Invalid parameter type for 'enable', expected: array" },
	{ "qmp_capabilities", "{'enable': [5]}",
	  "Invalid parameter type for 'enable[0]', expected: string" },
	{ "qmp_capabilities", "{'enable': ['oob', null]}",
	  "Invalid parameter type for 'enable[1]', expected: string" },
	{ "qmp_capabilities", "{'enable': ['foo']}",
	  "Parameter 'null' does not accept value 'foo'" },
	{ "qmp_capabilities", "{'enable': ['oob', 'x'], 'y': 1}",
	  "Parameter 'null' does not accept value 'x'" },
	{ "query-vcpu-state", "{}", NULL },
	{ "query-vcpu-state", "{'cpu-index': 1, 'msrs': true, 'fpu': false}", NULL },
	{ "query-vcpu-state", "{'msrs': 1}",
	  "Invalid parameter type for 'msrs', expected: boolean" },
	{ "query-vcpu-state", "{'fpu': 'true'}",
	  "Invalid parameter type for 'fpu', expected: boolean" },
	{ "set-action", "{}", NULL },
	{ "set-action", "{'reboot': 'reset', 'shutdown': 'poweroff', 'panic': 'none', "
	  "'watchdog': 'inject-nmi'}", NULL },
	{ "set-action", "{'reboot': 'pause'}", "Parameter 'reboot' does not accept value 'pause'" },
	{ "set-action", "{'reboot': 'shutdown', 'panic': 'run'}",
	  "Parameter 'panic' does not accept value 'run'" },
	{ "set-action", "{'reboot': 1}", "Invalid parameter type for 'reboot', expected: string" },
	{ "set-action", "{'foo': 1}", "Parameter 'foo' is unexpected" },
	{ "set-vcpu-registers", "{'cpu-index': 0}", "Parameter 'registers' is missing" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': []}",
	  "Invalid parameter type for 'registers', expected: object" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {}}", NULL },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'r16': 1}, 'x': 1}",
	  "Parameter 'registers.r16' is unexpected" },
	/* Integers without a sign: all 64 bits, and negative ones as QEMU takes them. */
	{ "set-vcpu-registers",
	  "{'cpu-index': 0, 'registers': {'rax': 0, 'rip': 9223372036854775808,"
	  " 'gs-base': 18446744073709551615, 'r15': -9223372036854775808}}", NULL },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'rax': 18446744073709551616}}",
	  "Parameter 'registers.rax' expects uint64" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'rax': 1.0}}",
	  "Parameter 'registers.rax' expects uint64" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'rax': '1'}}",
	  "Parameter 'registers.rax' expects uint64" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'cs': 0, 'ss': 65535}}", NULL },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'cs': 65536}}",
	  "Parameter 'cs' expects uint16_t" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'cs': -1}}",
	  "Parameter 'cs' expects uint16_t" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'cs': 18446744073709551615}}",
	  "Parameter 'cs' expects uint16_t" },
	{ "set-vcpu-registers", "{'cpu-index': 0, 'registers': {'cs': true}}",
	  "Parameter 'registers.cs' expects uint64" },
};

START_TEST(test_arguments)
{
	const struct qmp_command *command = qmp_find_command(arguments[_i].command);

	ck_assert_ptr_nonnull(command);
	check_one(command->arguments, arguments[_i].arguments, arguments[_i].expected);
}
END_TEST

START_TEST(test_no_arguments)
{
	struct error err = { 0 };

	ck_assert_int_eq(qmp_check_arguments(NULL, NULL, &err), 0);
	ck_assert_int_eq(qmp_check_arguments(qmp_find_command("query-vcpu-sync")->arguments, NULL,
					     &err), 0);
	ck_assert_int_eq(qmp_check_arguments(qmp_find_command("pmemsave")->arguments, NULL, &err),
			 -1);
	ck_assert_str_eq(err.text, "Parameter 'val' is missing");
}
END_TEST

/* Types of arguments that no command of ours has yet, in the shape of some that QEMU has. */
static const char *const capability_values[] = { "events", "xbzrle", NULL };
static const struct qmp_type type_str = { .kind = QMP_KIND_STR, .name = "str" };
static const struct qmp_type type_bool = { .kind = QMP_KIND_BOOL, .name = "bool" };
static const struct qmp_type type_null = { .kind = QMP_KIND_NULL, .name = "null" };
static const struct qmp_type type_number = { .kind = QMP_KIND_NUMBER, .name = "number" };
static const struct qmp_type type_any = { .kind = QMP_KIND_ANY, .name = "any" };
static const struct qmp_type type_capability = {
	.kind = QMP_KIND_ENUM, .name = "Capability", .values = capability_values,
};
static const struct qmp_type_member status_members[] = {
	{ "capability", &type_capability, false }, { "state", &type_bool, false }, { 0 }
};
static const struct qmp_type type_status = {
	.kind = QMP_KIND_OBJECT, .name = "CapabilityStatus", .members = status_members,
};
static const struct qmp_type type_statuses = {
	.kind = QMP_KIND_ARRAY, .name = "[CapabilityStatus]", .element = &type_status,
};
static const struct qmp_type_member str_or_null_members[] = {
	{ "str", &type_str, false }, { "null", &type_null, false }, { 0 }
};
static const struct qmp_type type_str_or_null = {
	.kind = QMP_KIND_ALTERNATE, .name = "StrOrNull", .members = str_or_null_members,
};
static const struct qmp_type_member other_members[] = {
	{ "capabilities", &type_statuses, true }, { "tls-creds", &type_str_or_null, true },
	{ "number", &type_number, true }, { "any", &type_any, true }, { "null", &type_null, true },
	{ 0 }
};
static const struct qmp_type type_other = {
	.kind = QMP_KIND_OBJECT, .name = "other", .members = other_members,
};

static const struct {
	const char *arguments, *expected;
} nested[] = {
	{ "{'capabilities': [{'capability': 'events', 'state': true}]}", NULL },
	{ "{'capabilities': {}}", "Invalid parameter type for 'capabilities', expected: array" },
	{ "{'capabilities': [null]}",
	  "Invalid parameter type for 'capabilities[0]', expected: object" },
	{ "{'capabilities': [{}]}", "Parameter 'capabilities[0].capability' is missing" },
	{ "{'capabilities': [{'capability': 'events', 'state': 1}]}",
	  "Invalid parameter type for 'capabilities[0].state', expected: boolean" },
	{ "{'capabilities': [{'capability': 'Events', 'state': true}]}",
	  "Parameter 'capability' does not accept value 'Events'" },
	{ "{'capabilities': [{'capability': 5, 'state': true}]}",
	  "Invalid parameter type for 'capabilities[0].capability', expected: string" },
	{ "{'capabilities': [{'capability': 'events', 'state': true, 'zz': 1}]}",
	  "Parameter 'capabilities[0].zz' is unexpected" },
	{ "{'capabilities': [{'capability': 'events', 'state': true}, {'state': true}], 'zz': 1}",
	  "Parameter 'capabilities[1].capability' is missing" },
	{ "{'tls-creds': null}", NULL },
	{ "{'tls-creds': 'x'}", NULL },
	{ "{'tls-creds': 5}", "Invalid parameter type for 'tls-creds', expected: StrOrNull" },
	{ "{'number': 1.5, 'any': [1], 'null': null}", NULL },
	{ "{'number': 18446744073709551615}", NULL },
	{ "{'number': -1}", NULL },
	{ "{'number': '1'}", "Invalid parameter type for 'number', expected: number" },
	{ "{'null': 0}", "Invalid parameter type for 'null', expected: null" },
};

START_TEST(test_nested)
{
	check_one(&type_other, nested[_i].arguments, nested[_i].expected);
}
END_TEST

/* However long a name or a value is, the sentence stays whole and so do its characters. */
START_TEST(test_long_names)
{
	const struct qmp_type *type;
	char name[4096], text[8192];
	struct error err;

	type = qmp_find_command("qmp_capabilities")->arguments;
	for (size_t ascii = 0; ascii < 3; ascii++) {
		struct json_value value;
		size_t len;

		memset(name, 'a', ascii);
		for (len = ascii; len + 3 < sizeof(name); len += 3)
			memcpy(name + len, "\u20ac", 3);
		name[len] = '\0';

		snprintf(text, sizeof(text), "{'%s': 1}", name);
		value = parse(text);
		ck_assert_int_eq(qmp_check_arguments(NULL, &value, &err), -1);
		json_clear(&value);
		ck_assert_uint_lt(strlen(err.text), sizeof(err.text) - 1);
		ck_assert_ptr_nonnull(strstr(err.text, "\u20ac' is unexpected"));

		snprintf(text, sizeof(text), "{'enable': ['%s']}", name);
		value = parse(text);
		ck_assert_int_eq(qmp_check_arguments(type, &value, &err), -1);
		json_clear(&value);
		ck_assert_uint_lt(strlen(err.text), sizeof(err.text) - 1);
		ck_assert_ptr_nonnull(strstr(err.text, "does not accept value '"));
		ck_assert_str_eq(err.text + strlen(err.text) - 4, "\u20ac'");
	}
}
END_TEST

Suite *schema_suite(void)
{
	Suite *suite = suite_create("schema");
	TCase *table = tcase_create("table");
	TCase *check = tcase_create("arguments");

	tcase_add_test(table, test_table);
	tcase_add_test(table, test_find);
	tcase_add_test(table, test_events);
	suite_add_tcase(suite, table);
	tcase_add_loop_test(check, test_arguments, 0, COUNT(arguments));
	tcase_add_loop_test(check, test_nested, 0, COUNT(nested));
	tcase_add_test(check, test_no_arguments);
	tcase_add_test(check, test_long_names);
	suite_add_tcase(suite, check);
	return suite;
}
