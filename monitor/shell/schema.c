/* SPDX-License-Identifier: MIT */
#include "monitor/shell/schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/values.h"

struct schema {
	struct json_value value;
	const struct json_value **sorted;       /* those that have a name, by name */
	size_t count;
};

static int compare_entries(const void *a, const void *b)
{
	const struct json_value *const *left = a, *const *right = b;

	return strcmp(value_string(*left, "name"), value_string(*right, "name"));
}

struct schema *schema_new(struct json_value *value, struct error *err)
{
	struct schema *schema = calloc(1, sizeof(*schema));
	size_t i;

	if (!schema || value->type != JSON_ARRAY)
		goto failed;
	schema->sorted = calloc(value->array.count + 1, sizeof(*schema->sorted));
	if (!schema->sorted)
		goto failed;
	schema->value = *value;
	for (i = 0; i < value->array.count; i++)
		if (value_string(&value->array.item[i], "name"))
			schema->sorted[schema->count++] = &value->array.item[i];
	value->type = JSON_NULL;
	qsort(schema->sorted, schema->count, sizeof(*schema->sorted), compare_entries);
	return schema;
failed:
	if (value->type == JSON_ARRAY)
		error_set(err, ENOMEM, "out of memory for the server's schema");
	else
		error_set(err, EPROTO, "query-qmp-schema: the server's reply is no array");
	free(schema);
	json_clear(value);
	return NULL;
}

void schema_free(struct schema *schema)
{
	if (!schema)
		return;
	json_clear(&schema->value);
	free(schema->sorted);
	free(schema);
}

static int compare_name(const void *key, const void *entry)
{
	const struct json_value *const *e = entry;

	return strcmp(key, value_string(*e, "name"));
}

const struct json_value *schema_find(const struct schema *schema, const char *name)
{
	const struct json_value **found;

	if (!schema || !name)
		return NULL;
	found = bsearch(name, schema->sorted, schema->count, sizeof(*schema->sorted), compare_name);
	return found ? *found : NULL;
}

bool schema_is(const struct json_value *entry, const char *meta_type)
{
	const char *is = value_string(entry, "meta-type");

	return is && strcmp(is, meta_type) == 0;
}

const struct json_value *schema_find_meta(const struct schema *schema, const char *name,
					  const char *meta_type)
{
	const struct json_value *entry = schema_find(schema, name);

	return schema_is(entry, meta_type) ? entry : NULL;
}

const struct json_value *schema_entry(const struct schema *schema, size_t index)
{
	return schema && index < schema->count ? schema->sorted[index] : NULL;
}

enum schema_kind schema_kind(const struct json_value *type)
{
	static const struct {
		const char *name;
		enum schema_kind kind;
	} builtins[] = {
		{ "string", SCHEMA_STR }, { "int", SCHEMA_INT }, { "number", SCHEMA_NUMBER },
		{ "boolean", SCHEMA_BOOL }, { "null", SCHEMA_NULL }, { "value", SCHEMA_ANY },
	}, metas[] = {
		{ "enum", SCHEMA_ENUM }, { "array", SCHEMA_ARRAY }, { "object", SCHEMA_OBJECT },
		{ "alternate", SCHEMA_ALTERNATE },
	};
	const char *json = value_string(type, "json-type");
	size_t i;

	for (i = 0; i < sizeof(metas) / sizeof(metas[0]); i++)
		if (schema_is(type, metas[i].name))
			return metas[i].kind;
	for (i = 0; json && i < sizeof(builtins) / sizeof(builtins[0]); i++)
		if (strcmp(json, builtins[i].name) == 0)
			return builtins[i].kind;
	return SCHEMA_UNKNOWN;
}

const struct json_value *schema_reference(const struct schema *schema,
					  const struct json_value *thing, const char *which)
{
	return schema_find(schema, value_string(thing, which));
}

/* Variants have no variants themselves. */
static const struct json_value *variant_member(const struct schema *schema,
					       const struct json_value *object, size_t index)
{
	const struct json_value *variants, *members;
	size_t count, i, n;

	variants = value_items(object, "variants", &count);
	for (i = 0; i < count; i++) {
		const struct json_value *type = schema_reference(schema, &variants[i], "type");

		members = value_items(type, "members", &n);
		if (index < n)
			return &members[index];
		index -= n;
	}
	return NULL;
}

const struct json_value *schema_member_at(const struct schema *schema,
					  const struct json_value *object, size_t index)
{
	const struct json_value *members;
	size_t count;

	members = value_items(object, "members", &count);
	return index < count ? &members[index] : variant_member(schema, object, index - count);
}

const struct json_value *schema_member(const struct schema *schema,
				       const struct json_value *object, const char *name)
{
	const struct json_value *member;
	const char *has;
	size_t i;

	for (i = 0; (member = schema_member_at(schema, object, i)); i++) {
		has = value_string(member, "name");
		if (has && strcmp(has, name) == 0)
			return member;
	}
	return NULL;
}

bool schema_is_optional(const struct json_value *member)
{
	return json_get(member, "default");
}

const char *schema_enum_value(const struct json_value *type, size_t index, const char **about)
{
	const struct json_value *items;
	size_t count;

	*about = NULL;
	items = value_items(type, "members", &count);
	if (count) {
		if (index >= count)
			return NULL;
		*about = value_string(&items[index], "description");
		return value_string(&items[index], "name");
	}
	/* Servers before `members` have only `values`. */
	items = value_items(type, "values", &count);
	return index < count && items[index].type == JSON_STRING ? items[index].string.bytes : NULL;
}

/* What a type may be made of; a server's may even be made of itself. */
#define TYPE_DEPTH 8

static void print_type(struct text *out, const struct schema *schema,
		       const struct json_value *type, unsigned int depth);

static void print_alternate(struct text *out, const struct schema *schema,
			    const struct json_value *type, unsigned int depth)
{
	const struct json_value *choices;
	size_t count, i;

	choices = value_items(type, "members", &count);
	for (i = 0; i < count; i++) {
		text_printf(out, "%s", i ? " or " : "");
		print_type(out, schema, schema_reference(schema, &choices[i], "type"), depth);
	}
}

static void print_enum(struct text *out, const struct json_value *type)
{
	const char *about, *value;
	size_t i;

	for (i = 0; (value = schema_enum_value(type, i, &about)); i++) {
		text_printf(out, "%s", i ? "|" : "");
		escape_line(out, value, strlen(value));
	}
}

static void print_type(struct text *out, const struct schema *schema,
		       const struct json_value *type, unsigned int depth)
{
	const char *name = value_string(type, "name");

	switch (depth ? schema_kind(type) : SCHEMA_UNKNOWN) {
	case SCHEMA_STR:        text_printf(out, "string"); break;
	case SCHEMA_INT:        text_printf(out, "integer"); break;
	case SCHEMA_NUMBER:     text_printf(out, "number"); break;
	case SCHEMA_BOOL:       text_printf(out, "on|off"); break;
	case SCHEMA_NULL:       text_printf(out, "null"); break;
	case SCHEMA_ENUM:       print_enum(out, type); break;
	case SCHEMA_ALTERNATE:  print_alternate(out, schema, type, depth - 1); break;
	case SCHEMA_ARRAY:
		text_printf(out, "list of ");
		print_type(out, schema, schema_reference(schema, type, "element-type"), depth - 1);
		break;
	case SCHEMA_OBJECT:
		/* QEMU hides the names of types behind numbers. */
		if (name && name[0] >= 'A' && name[0] <= 'Z')
			escape_line(out, name, strlen(name));
		else
			text_printf(out, "object");
		break;
	default:
		text_printf(out, "value");
		break;
	}
}

void schema_print_type(struct text *out, const struct schema *schema,
		       const struct json_value *type)
{
	print_type(out, schema, type, TYPE_DEPTH);
}
