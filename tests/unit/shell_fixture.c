/* SPDX-License-Identifier: MIT */
#include "tests/unit/shell_fixture.h"

#include <check.h>
#include <string.h>

#include "monitor/qmp.h"
#include "monitor/shell/values.h"

struct json_value shell_fixture_value(const char *text)
{
	struct json_value value;

	ck_assert_msg(value_parse(&value, text, strlen(text)), "%s", text);
	return value;
}

static struct schema *make(const char *text)
{
	struct json_value value = shell_fixture_value(text);
	struct schema *schema = schema_new(&value, NULL);

	ck_assert_ptr_nonnull(schema);
	return schema;
}

struct schema *shell_fixture_schema(void)
{
	return make(qmp_schema_json);
}

struct schema *shell_fixture_odd_schema(void)
{
	return make("["
		"{'name': 'add', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '0'},"
		"{'name': 'list', 'meta-type': 'command', 'arg-type': '6', 'ret-type': '0'},"
		"{'name': 'loop', 'meta-type': 'command', 'arg-type': '7', 'ret-type': '0'},"
		"{'name': 'device_add', 'meta-type': 'command', 'arg-type': '9', 'ret-type': '0'},"
		"{'name': '0', 'meta-type': 'object', 'members': []},"
		"{'name': '1', 'meta-type': 'object', 'tag': 'type', 'members': ["
		"  {'name': 'type', 'type': '2'}, {'name': 'x.y', 'type': 'int', 'default': null}],"
		"  'variants': [{'case': 'file', 'type': '3'}, {'case': 'none', 'type': '0'}]},"
		"{'name': '2', 'meta-type': 'enum', 'values': ['file', 'none']},"
		"{'name': '3', 'meta-type': 'object', 'members': ["
		"  {'name': 'size', 'type': '4', 'default': null},"
		"  {'name': 'ratio', 'type': 'number', 'default': null},"
		"  {'name': 'thing', 'type': 'any', 'default': null}]},"
		"{'name': '4', 'meta-type': 'alternate', 'members': ["
		"  {'type': 'int'}, {'type': 'null'}, {'type': 'str'}, {'type': '[5]'}]},"
		"{'name': '5', 'meta-type': 'object', 'members': [{'name': 'n', 'type': 'int'}]},"
		"{'name': '[5]', 'meta-type': 'array', 'element-type': '5'},"
		"{'name': '6', 'meta-type': 'object', 'members': ["
		"  {'name': 'numbers', 'type': '[int]'}, {'name': 'on', 'type': 'bool'}]},"
		"{'name': '[int]', 'meta-type': 'array', 'element-type': 'int'},"
		"{'name': '7', 'meta-type': 'object', 'members': [{'name': 'l', 'type': '8'}]},"
		"{'name': '8', 'meta-type': 'array', 'element-type': '8'},"
		"{'name': '9', 'meta-type': 'object', 'members': ["
		"  {'name': 'driver', 'type': 'str'}]},"
		"{'name': 'int', 'meta-type': 'builtin', 'json-type': 'int'},"
		"{'name': 'number', 'meta-type': 'builtin', 'json-type': 'number'},"
		"{'name': 'null', 'meta-type': 'builtin', 'json-type': 'null'},"
		"{'name': 'bool', 'meta-type': 'builtin', 'json-type': 'boolean'},"
		"{'name': 'any', 'meta-type': 'builtin', 'json-type': 'value'},"
		"{'name': 'str', 'meta-type': 'builtin', 'json-type': 'string'},"
		"'stray', {'no': 'name'}]");
}
