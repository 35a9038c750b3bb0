/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_CONVERT_H
#define MONITOR_SHELL_CONVERT_H

#include "monitor/json.h"
#include "monitor/shell/schema.h"
#include "vmm/error.h"

/*
 * What a person types for a value, as JSON of the type that the schema wants:
 *   string   as it is
 *   integer  decimal or 0x..., with K, M, G, T, P or E behind it for powers of 1024
 *   boolean  on, off, true, false, yes, no
 *   enum     one of its values
 *   list     [a,b] or a,b, or JSON
 *   object   JSON
 *   anything JSON if it is such and not in quotes, else a string
 * `type` NULL stands for anything.  `where` is what errors begin with.  Errors name what would do.
 */
int convert_value(struct json_writer *w, const char *name, const struct schema *schema,
		  const struct json_value *type, const char *text, bool quoted,
		  const char *where, struct error *err);

#endif
