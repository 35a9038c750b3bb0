/* SPDX-License-Identifier: MIT */
#include "monitor/shell/values.h"

#include <string.h>

const char *value_string(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_get(object, name);

	return value && value->type == JSON_STRING ? value->string.bytes : NULL;
}

uint64_t value_uint(const struct json_value *object, const char *name, uint64_t otherwise)
{
	const struct json_value *value = json_get(object, name);

	if (value && value->type == JSON_INT && value->integer >= 0)
		return (uint64_t)value->integer;
	return value && value->type == JSON_UINT ? value->uinteger : otherwise;
}

bool value_bool(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_get(object, name);

	return value && value->type == JSON_BOOL && value->boolean;
}

const struct json_value *value_items(const struct json_value *object, const char *name,
				     size_t *count)
{
	const struct json_value *value = json_get(object, name);
	bool is_array = value && value->type == JSON_ARRAY;

	*count = is_array ? value->array.count : 0;
	return is_array ? value->array.item : NULL;
}

struct single {
	struct json_value array;
	unsigned int calls;
	bool failed;
};

static bool take_single(void *opaque, struct json_value *value, const char *error)
{
	struct single *single = opaque;

	if (error || single->calls++) {
		single->failed = true;
		return false;
	}
	single->array = *value;
	value->type = JSON_NULL;
	return true;
}

/* In brackets, so that what is not complete, and what is more than one value, is noticed. */
bool value_parse(struct json_value *value, const char *text, size_t len)
{
	struct single single = { .array.type = JSON_NULL };
	struct json_parser *parser = json_parser_new(take_single, &single);
	bool good;

	value->type = JSON_NULL;
	if (!parser)
		return false;
	if (json_parser_feed(parser, "[", 1) == 1 && json_parser_feed(parser, text, len) == len)
		json_parser_feed(parser, "]", 1);
	json_parser_free(parser);
	good = !single.failed && single.calls && single.array.type == JSON_ARRAY &&
	       single.array.array.count == 1;
	if (good) {
		*value = single.array.array.item[0];
		single.array.array.item[0].type = JSON_NULL;
	}
	json_clear(&single.array);
	return good;
}

bool value_is_scalar(const struct json_value *value)
{
	return value->type != JSON_ARRAY && value->type != JSON_OBJECT;
}

static bool is_leaf(const struct json_value *value)
{
	size_t i;

	if (value->type == JSON_OBJECT)
		return !value->object.count;
	if (value->type == JSON_ARRAY)
		for (i = 0; i < value->array.count; i++)
			if (!value_is_scalar(&value->array.item[i]))
				return false;
	return true;
}

static bool flatten(struct text *path, const struct json_value *object, unsigned int depth,
		    value_leaf_fn *fn, void *opaque)
{
	size_t i, len = path->len;
	bool all = true;

	for (i = 0; i < object->object.count; i++) {
		const struct json_member *member = &object->object.member[i];
		const struct json_value *value = &member->value;

		text_printf(path, "%s%s", len ? "." : "", member->name);
		if (path->failed)
			return false;
		if (is_leaf(value))
			fn(opaque, path->bytes, object, value);
		else if (value->type == JSON_OBJECT && depth)
			all &= flatten(path, value, depth - 1, fn, opaque);
		else
			all = false;
		path->len = len;
		path->bytes[len] = '\0';
	}
	return all;
}

bool value_flatten(const struct json_value *value, unsigned int depth, value_leaf_fn *fn,
		   void *opaque)
{
	struct text path = { 0 };
	bool all = value->type == JSON_OBJECT && flatten(&path, value, depth, fn, opaque);

	text_free(&path);
	return all;
}
