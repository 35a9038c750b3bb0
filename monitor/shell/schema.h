/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_SCHEMA_H
#define MONITOR_SHELL_SCHEMA_H

#include "monitor/json.h"
#include "vmm/error.h"

/*
 * What query-qmp-schema has returned, made to be looked into.  Entries and members are values of
 * it; nothing about them is taken for granted, as they come from a server.
 */
struct schema;

/* Takes `value` over, whether it succeeds or not. */
struct schema *schema_new(struct json_value *value, struct error *err);
void schema_free(struct schema *schema);

/* An entry by name; NULL when there is none, or no schema. */
const struct json_value *schema_find(const struct schema *schema, const char *name);

/* An entry that is of this meta-type ("command", "event"); else NULL. */
const struct json_value *schema_find_meta(const struct schema *schema, const char *name,
					  const char *meta_type);

/* The entries in the order of their names, up to NULL. */
const struct json_value *schema_entry(const struct schema *schema, size_t index);

bool schema_is(const struct json_value *entry, const char *meta_type);

enum schema_kind {
	SCHEMA_UNKNOWN, SCHEMA_STR, SCHEMA_INT, SCHEMA_NUMBER, SCHEMA_BOOL, SCHEMA_NULL, SCHEMA_ANY,
	SCHEMA_ENUM, SCHEMA_ARRAY, SCHEMA_OBJECT, SCHEMA_ALTERNATE
};
enum schema_kind schema_kind(const struct json_value *type);

/* The type that an entry or a member refers to: "arg-type", "ret-type", "element-type", "type". */
const struct json_value *schema_reference(const struct schema *schema,
					  const struct json_value *thing, const char *which);

/* A member of an object type by name, in any of its variants. */
const struct json_value *schema_member(const struct schema *schema,
				       const struct json_value *object, const char *name);

/* Members of all variants too; up to NULL. */
const struct json_value *schema_member_at(const struct schema *schema,
					  const struct json_value *object, size_t index);

bool schema_is_optional(const struct json_value *member);

/* The values of an enum type, up to NULL; *about is a description, or NULL. */
const char *schema_enum_value(const struct json_value *type, size_t index, const char **about);

/* The type as people call it: "string", "list of integer", "RunState". */
struct text;
void schema_print_type(struct text *out, const struct schema *schema,
		       const struct json_value *type);

#endif
