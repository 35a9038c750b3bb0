/* SPDX-License-Identifier: MIT */
#include "monitor/json.h"

#include <stdlib.h>
#include <string.h>

#include "monitor/json_internal.h"

/* The parser bounds the depth of what it makes, so recursion is bounded too. */
void json_clear(struct json_value *value)
{
	size_t i;

	switch (value->type) {
	case JSON_STRING:
		free(value->string.bytes);
		break;
	case JSON_ARRAY:
		for (i = 0; i < value->array.count; i++)
			json_clear(&value->array.item[i]);
		free(value->array.item);
		break;
	case JSON_OBJECT:
		for (i = 0; i < value->object.count; i++) {
			free(value->object.member[i].name);
			json_clear(&value->object.member[i].value);
		}
		free(value->object.member);
		break;
	default:
		break;
	}
	value->type = JSON_NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *name)
{
	size_t i;

	if (!object || object->type != JSON_OBJECT)
		return NULL;
	for (i = 0; i < object->object.count; i++)
		if (!strcmp(object->object.member[i].name, name))
			return &object->object.member[i].value;
	return NULL;
}

const char *json_type_name(enum json_type type)
{
	switch (type) {
	case JSON_NULL:         return "null";
	case JSON_BOOL:         return "boolean";
	case JSON_INT:
	case JSON_UINT:         return "integer";
	case JSON_DOUBLE:       return "number";
	case JSON_STRING:       return "string";
	case JSON_ARRAY:        return "array";
	case JSON_OBJECT:       return "object";
	}
	return "value";
}

static bool is_character(int code)
{
	return code >= 0 && code <= 0x10ffff &&
	       !(code >= 0xd800 && code <= 0xdfff) &&
	       !(code >= 0xfdd0 && code <= 0xfdef) && (code & 0xfffe) != 0xfffe;
}

int json_utf8_decode(const char *s, size_t len, size_t *used)
{
	/* The least code point that needs so many bytes; up to 6, as UTF-8 once went. */
	static const int least[7] = { 0, 0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000 };
	unsigned char first = (unsigned char)s[0];
	size_t length, i;
	int code;

	*used = 1;
	if (first < 0x80)
		return first;
	if (first < 0xc0 || first >= 0xfe)
		return -1;

	length = (size_t)__builtin_clz(~((unsigned int)first << 24));
	code = first & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if (i == len || ((unsigned char)s[i] & 0xc0) != 0x80)
			return -1;
		code = code << 6 | (s[i] & 0x3f);
		*used = i + 1;
	}
	if (code < least[length] && !(code == 0 && length == 2))
		return -1;
	return is_character(code) ? code : -1;
}

size_t json_utf8_encode(char *out, int code)
{
	if (!is_character(code))
		return 0;
	if (code > 0 && code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}
