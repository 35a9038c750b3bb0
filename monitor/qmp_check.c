/* SPDX-License-Identifier: MIT */
#include "monitor/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a client's name or value that a message repeats, so that the whole sentence fits. */
#define QUOTE_SIZE 200

/* Where a value is: a member by name, or an element by index where name is NULL. */
struct place {
	const struct place *parent;     /* NULL for members of the arguments themselves */
	const char *name;
	size_t index;
};

static int check_object(const struct qmp_type *type, const struct json_value *object,
			const struct place *at, struct error *err);

static int compare_name(const void *name, const void *command)
{
	return strcmp(name, ((const struct qmp_command *)command)->name);
}

const struct qmp_command *qmp_find_command(const char *name)
{
	return bsearch(name, qmp_commands, QMP_COMMAND_COUNT, sizeof(*qmp_commands), compare_name);
}

/* Copies as many whole UTF-8 sequences as there is room for.  Returns the length of the copy. */
static size_t quote(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size);

	if (len == size) {
		do
			len--;
		while (len > 0 && ((unsigned char)from[len] & 0xc0) == 0x80);
	}
	memcpy(to, from, len);
	to[len] = '\0';
	return len;
}

/* Writes "list[0].name" into QUOTE_SIZE bytes.  Returns the length. */
static size_t write_path(char *path, const struct place *at)
{
	size_t used = at->parent ? write_path(path, at->parent) : 0;
	char index[sizeof("[18446744073709551615]")];
	const char *step = at->name;

	if (!step) {
		snprintf(index, sizeof(index), "[%zu]", at->index);
		step = index;
	} else if (at->parent) {
		used += quote(path + used, QUOTE_SIZE - used, ".");
	}
	return used + quote(path + used, QUOTE_SIZE - used, step);
}

/* The last name alone: what QEMU calls a parameter whose type is right but whose value is not. */
static const char *last_name(const struct place *at)
{
	return at->name ? at->name : "null";
}

static bool is_of_kind(enum qmp_kind kind, enum json_type type)
{
	switch (kind) {
	case QMP_KIND_STR:
	case QMP_KIND_ENUM:
		return type == JSON_STRING;
	case QMP_KIND_INT:
		return type == JSON_INT;
	case QMP_KIND_UINT:
	case QMP_KIND_UINT16:
		return type == JSON_INT || type == JSON_UINT;
	case QMP_KIND_NUMBER:
		return type == JSON_INT || type == JSON_UINT || type == JSON_DOUBLE;
	case QMP_KIND_BOOL:
		return type == JSON_BOOL;
	case QMP_KIND_NULL:
		return type == JSON_NULL;
	case QMP_KIND_ARRAY:
		return type == JSON_ARRAY;
	case QMP_KIND_OBJECT:
		return type == JSON_OBJECT;
	case QMP_KIND_ANY:
	case QMP_KIND_ALTERNATE:
		break;
	}
	return true;
}

static int wrong_type(const struct qmp_type *type, const struct place *at, struct error *err)
{
	static const char *const expected[] = {
		[QMP_KIND_STR] = "string",
		[QMP_KIND_INT] = "integer",
		[QMP_KIND_NUMBER] = "number",
		[QMP_KIND_BOOL] = "boolean",
		[QMP_KIND_NULL] = "null",
		[QMP_KIND_ENUM] = "string",
		[QMP_KIND_ARRAY] = "array",
		[QMP_KIND_OBJECT] = "object",
	};
	char path[QUOTE_SIZE];

	write_path(path, at);
	if (type->kind == QMP_KIND_UINT || type->kind == QMP_KIND_UINT16)
		return error_set(err, EINVAL, "Parameter '%s' expects uint64", path);
	return error_set(err, EINVAL, "Invalid parameter type for '%s', expected: %s", path,
			 type->kind == QMP_KIND_ALTERNATE ? type->name : expected[type->kind]);
}

static int check_enum(const struct qmp_type *type, const struct json_value *value,
		      const struct place *at, struct error *err)
{
	char text[QUOTE_SIZE];

	for (const char *const *known = type->values; *known; known++) {
		if (!strcmp(value->string.bytes, *known))
			return 0;
	}
	quote(text, sizeof(text), value->string.bytes);
	return error_set(err, EINVAL, "Parameter '%s' does not accept value '%s'", last_name(at),
			 text);
}

static int check_value(const struct qmp_type *type, const struct json_value *value,
		       const struct place *at, struct error *err)
{
	if (!is_of_kind(type->kind, value->type))
		return wrong_type(type, at, err);
	switch (type->kind) {
	case QMP_KIND_ENUM:
		return check_enum(type, value, at, err);
	case QMP_KIND_UINT16:
		if (value->type == JSON_INT && value->integer >= 0 && value->integer <= UINT16_MAX)
			return 0;
		return error_set(err, ERANGE, "Parameter '%s' expects uint16_t", last_name(at));
	case QMP_KIND_ARRAY:
		for (size_t i = 0; i < value->array.count; i++) {
			const struct place element = { .parent = at, .index = i };

			if (check_value(type->element, &value->array.item[i], &element, err) < 0)
				return -1;
		}
		return 0;
	case QMP_KIND_OBJECT:
		return check_object(type, value, at, err);
	case QMP_KIND_ALTERNATE:
		/* The compiler sees to it that no two choices are of the same kind. */
		for (const struct qmp_type_member *m = type->members; m->name; m++) {
			if (is_of_kind(m->type->kind, value->type))
				return check_value(m->type, value, at, err);
		}
		return wrong_type(type, at, err);
	default:
		return 0;
	}
}

static bool has_member(const struct qmp_type *type, const char *name)
{
	for (const struct qmp_type_member *m = type->members; m->name; m++) {
		if (!strcmp(m->name, name))
			return true;
	}
	return false;
}

/* The type of the members that an object has because of its tag, which is right; or NULL. */
static const struct qmp_type *variant_of(const struct qmp_type *type,
					 const struct json_value *object)
{
	size_t i = 0;

	if (!type->tag)
		return NULL;
	while (strcmp(type->tag->type->values[i], json_get(object, type->tag->name)->string.bytes))
		i++;
	return type->variants[i];
}

static int check_members(const struct qmp_type *type, const struct json_value *object,
			 const struct place *at, struct error *err)
{
	char path[QUOTE_SIZE];

	for (const struct qmp_type_member *m = type->members; m->name; m++) {
		const struct json_value *value = json_get(object, m->name);
		const struct place place = { .parent = at, .name = m->name };

		if (value && check_value(m->type, value, &place, err) < 0)
			return -1;
		if (!value && !m->optional) {
			write_path(path, &place);
			return error_set(err, EINVAL, "Parameter '%s' is missing", path);
		}
	}
	return 0;
}

/* `at` is NULL for the arguments themselves. */
static int check_object(const struct qmp_type *type, const struct json_value *object,
			const struct place *at, struct error *err)
{
	const struct qmp_type *variant;
	char path[QUOTE_SIZE];

	if (check_members(type, object, at, err) < 0)
		return -1;
	variant = variant_of(type, object);
	if (variant && check_members(variant, object, at, err) < 0)
		return -1;
	for (size_t i = 0; i < object->object.count; i++) {
		const struct place place = { .parent = at, .name = object->object.member[i].name };

		if (!has_member(type, place.name) &&
		    !(variant && has_member(variant, place.name))) {
			write_path(path, &place);
			return error_set(err, EINVAL, "Parameter '%s' is unexpected", path);
		}
	}
	return 0;
}

int qmp_check_arguments(const struct qmp_type *type, const struct json_value *arguments,
			struct error *err)
{
	static const struct qmp_type_member no_members[] = { { 0 } };
	static const struct qmp_type none = { .kind = QMP_KIND_OBJECT, .members = no_members };
	static const struct json_value empty = { .type = JSON_OBJECT };

	return check_object(type ? type : &none, arguments ? arguments : &empty, NULL, err);
}
