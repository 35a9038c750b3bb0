/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_VALUES_H
#define MONITOR_SHELL_VALUES_H

#include "monitor/json.h"
#include "monitor/text.h"

/* Looks into values of JSON that nobody has checked. */

/* A string member; NULL when it is absent or no string. */
const char *value_string(const struct json_value *object, const char *name);

/* An integer member that is not negative; `otherwise` when it is not there as such. */
uint64_t value_uint(const struct json_value *object, const char *name, uint64_t otherwise);

/* A boolean member; false when it is not there as such. */
bool value_bool(const struct json_value *object, const char *name);

/* Items of an array member: `count` is 0 when it is absent or no array. */
const struct json_value *value_items(const struct json_value *object, const char *name,
				     size_t *count);

/* Parses one complete value.  False, and *value JSON_NULL, when `text` is not just that. */
bool value_parse(struct json_value *value, const char *text, size_t len);

/*
 * Calls `fn` for each value inside `value` that has nothing inside but scalars, with its path from
 * there, such as "qemu.major".  Arrays count as such if all their items are scalars.  Returns
 * whether that covers all there is: false when an array holds more, or at a depth above `depth`.
 */
typedef void value_leaf_fn(void *opaque, const char *path, const struct json_value *parent,
			   const struct json_value *leaf);
bool value_flatten(const struct json_value *value, unsigned int depth, value_leaf_fn *fn,
		   void *opaque);

bool value_is_scalar(const struct json_value *value);

#endif
