/* SPDX-License-Identifier: MIT */
#include "tests/unit/json_oracle.h"

#include <jansson.h>
#include <string.h>

static json_t *load(const char *text, size_t len)
{
	return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
			  NULL);
}

bool oracle_accepts(const char *text, size_t len)
{
	json_t *value = load(text, len);

	json_decref(value);
	return value;
}

bool oracle_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	json_t *left = load(a, a_len), *right = load(b, b_len);
	bool equal = left && right && json_equal(left, right);

	json_decref(left);
	json_decref(right);
	return equal;
}

bool oracle_has_member(const char *object, size_t len, const char *name, const char *value)
{
	json_t *left = load(object, len), *right = load(value, strlen(value));
	bool equal = left && right && json_equal(json_object_get(left, name), right);

	json_decref(left);
	json_decref(right);
	return equal;
}
