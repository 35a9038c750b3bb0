/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_JSON_ORACLE_H
#define TESTS_UNIT_JSON_ORACLE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A second opinion on JSON text, from the jansson library.  In a file of its own because that
 * library and monitor/json.h use the same names.
 */

/* One complete JSON value, and nothing behind it but white space. */
bool oracle_accepts(const char *text, size_t len);
/* Both are JSON, and mean the same. */
bool oracle_equal(const char *a, size_t a_len, const char *b, size_t b_len);
/* `object` has a member of that name, and it means the same as `value`. */
bool oracle_has_member(const char *object, size_t len, const char *name, const char *value);

#endif
