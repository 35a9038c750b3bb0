/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "monitor/json.h"
#include "monitor/qmp.h"
#include "tests/unit/suites.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct json_value schema;

static bool keep_value(void *opaque, struct json_value *value, const char *error)
{
	struct json_value *kept = opaque;

	ck_assert_msg(value, "%s", error);
	ck_assert_int_eq(kept->type, JSON_NULL);
	*kept = *value;
	value->type = JSON_NULL;
	return true;
}

static void setup(void)
{
	struct json_parser *parser = json_parser_new(keep_value, &schema);

	ck_assert_ptr_nonnull(parser);
	ck_assert_uint_eq(qmp_schema_json_len, strlen(qmp_schema_json));
	ck_assert_uint_eq(json_parser_feed(parser, qmp_schema_json, qmp_schema_json_len),
			  qmp_schema_json_len);
	json_parser_free(parser);
	ck_assert_int_eq(schema.type, JSON_ARRAY);
}

static void teardown(void)
{
	json_clear(&schema);
}

static const char *string_member(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_get(object, name);

	ck_assert_msg(value && value->type == JSON_STRING, "no string '%s'", name);
	return value->string.bytes;
}

static const struct json_value *array_member(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_get(object, name);

	ck_assert_msg(value && value->type == JSON_ARRAY, "no array '%s'", name);
	return value;
}

/* The one entry of that name. */
static const struct json_value *lookup(const char *name)
{
	const struct json_value *found = NULL;

	for (size_t i = 0; i < schema.array.count; i++) {
		if (strcmp(string_member(&schema.array.item[i], "name"), name))
			continue;
		ck_assert_msg(!found, "%s is there twice", name);
		found = &schema.array.item[i];
	}
	ck_assert_msg(found, "%s is not there", name);
	return found;
}

static const char *meta_type(const char *name)
{
	return string_member(lookup(name), "meta-type");
}

/* A reference to a type: it is there, and is a type.  `kind` is NULL where any will do. */
static void check_reference(const char *name, const char *kind)
{
	const char *found = meta_type(name);

	ck_assert_str_ne(found, "command");
	ck_assert_str_ne(found, "event");
	if (kind)
		ck_assert_str_eq(found, kind);
}

static void check_references(const struct json_value *list, const char *kind)
{
	for (size_t i = 0; i < list->array.count; i++)
		check_reference(string_member(&list->array.item[i], "type"), kind);
}

static void check_entry(const struct json_value *entry)
{
	const char *kind = string_member(entry, "meta-type");

	if (!strcmp(kind, "command")) {
		check_reference(string_member(entry, "arg-type"), "object");
		check_reference(string_member(entry, "ret-type"), NULL);
	} else if (!strcmp(kind, "event")) {
		check_reference(string_member(entry, "arg-type"), "object");
	} else if (!strcmp(kind, "array")) {
		check_reference(string_member(entry, "element-type"), NULL);
	} else if (!strcmp(kind, "object")) {
		check_references(array_member(entry, "members"), NULL);
		if (json_get(entry, "tag"))
			check_references(array_member(entry, "variants"), "object");
	} else if (!strcmp(kind, "enum")) {
		ck_assert_uint_eq(array_member(entry, "members")->array.count,
				  array_member(entry, "values")->array.count);
	} else if (!strcmp(kind, "alternate")) {
		check_references(array_member(entry, "members"), NULL);
	} else {
		ck_assert_str_eq(kind, "builtin");
		string_member(entry, "json-type");
	}
}

START_TEST(test_closed)
{
	for (size_t i = 0; i < schema.array.count; i++) {
		const struct json_value *entry = &schema.array.item[i];

		ck_assert_ptr_eq(lookup(string_member(entry, "name")), entry);
		check_entry(entry);
	}
}
END_TEST

START_TEST(test_complete)
{
	size_t commands = 0, events = 0;

	for (size_t i = 0; i < QMP_COMMAND_COUNT; i++)
		ck_assert_str_eq(meta_type(qmp_commands[i].name), "command");
	for (size_t i = 0; i < QMP_EVENT_COUNT; i++)
		ck_assert_str_eq(meta_type(qmp_events[i].name), "event");
	for (size_t i = 0; i < schema.array.count; i++) {
		const char *kind = string_member(&schema.array.item[i], "meta-type");

		commands += !strcmp(kind, "command");
		events += !strcmp(kind, "event");
	}
	ck_assert_uint_eq(commands, QMP_COMMAND_COUNT);
	ck_assert_uint_eq(events, QMP_EVENT_COUNT);
}
END_TEST

static void check_same(const struct qmp_type *type, const char *name);

static void check_same_members(const struct qmp_type *type, const struct json_value *list)
{
	const struct qmp_type_member *m = type->members;

	for (size_t i = 0; i < list->array.count; i++, m++) {
		const struct json_value *member = &list->array.item[i];
		const struct json_value *optional = json_get(member, "default");

		ck_assert_msg(m->name, "%s lacks members", type->name);
		ck_assert_str_eq(string_member(member, "name"), m->name);
		ck_assert_int_eq(optional && optional->type == JSON_NULL, m->optional);
		check_same(m->type, string_member(member, "type"));
	}
	ck_assert_ptr_null(m->name);
}

/* What introspection says of a type is what the argument check goes by. */
static void check_same(const struct qmp_type *type, const char *name)
{
	static const char *const builtin[] = {
		[QMP_KIND_STR] = "str", [QMP_KIND_INT] = "int", [QMP_KIND_UINT] = "int",
		[QMP_KIND_UINT16] = "int", [QMP_KIND_NUMBER] = "number", [QMP_KIND_BOOL] = "bool",
		[QMP_KIND_NULL] = "null", [QMP_KIND_ANY] = "any",
	};
	const struct json_value *entry = lookup(name), *list;

	switch (type->kind) {
	case QMP_KIND_OBJECT:
		ck_assert_str_eq(meta_type(name), "object");
		check_same_members(type, array_member(entry, "members"));
		break;
	case QMP_KIND_ARRAY:
		ck_assert_str_eq(meta_type(name), "array");
		check_same(type->element, string_member(entry, "element-type"));
		break;
	case QMP_KIND_ENUM:
		ck_assert_str_eq(meta_type(name), "enum");
		list = array_member(entry, "members");
		for (size_t i = 0; i < list->array.count; i++)
			ck_assert_str_eq(string_member(&list->array.item[i], "name"),
					 type->values[i]);
		ck_assert_ptr_null(type->values[list->array.count]);
		break;
	default:
		ck_assert_uint_lt(type->kind, COUNT(builtin));
		ck_assert_str_eq(name, builtin[type->kind]);
	}
}

static void check_argument_type(const char *name, const struct qmp_type *type)
{
	const char *arguments = string_member(lookup(name), "arg-type");

	if (type)
		check_same(type, arguments);
	else
		ck_assert_uint_eq(array_member(lookup(arguments), "members")->array.count, 0);
}

START_TEST(test_agrees)
{
	for (size_t i = 0; i < QMP_COMMAND_COUNT; i++)
		check_argument_type(qmp_commands[i].name, qmp_commands[i].arguments);
	for (size_t i = 0; i < QMP_EVENT_COUNT; i++)
		check_argument_type(qmp_events[i].name, qmp_events[i].data);
}
END_TEST

/* One that a person can read: not empty, and without the marks that the manual is made of. */
static void check_described(const struct json_value *thing)
{
	const char *text = string_member(thing, "description");

	ck_assert_msg(*text && !strchr(text, '`'), "%s: '%s'", string_member(thing, "name"), text);
}

START_TEST(test_described)
{
	for (size_t i = 0; i < schema.array.count; i++) {
		const struct json_value *entry = &schema.array.item[i], *members;
		const char *kind = string_member(entry, "meta-type");

		if (!strcmp(kind, "command") || !strcmp(kind, "event"))
			check_described(entry);
		if (strcmp(kind, "object") && strcmp(kind, "enum"))
			continue;
		members = array_member(entry, "members");
		for (size_t j = 0; j < members->array.count; j++)
			check_described(&members->array.item[j]);
	}
}
END_TEST

Suite *introspection_suite(void)
{
	Suite *suite = suite_create("introspection");
	TCase *tcase = tcase_create("introspection");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_closed);
	tcase_add_test(tcase, test_complete);
	tcase_add_test(tcase, test_agrees);
	tcase_add_test(tcase, test_described);
	suite_add_tcase(suite, tcase);
	return suite;
}
