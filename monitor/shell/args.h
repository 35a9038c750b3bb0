/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_ARGS_H
#define MONITOR_SHELL_ARGS_H

#include "monitor/json.h"
#include "monitor/shell/schema.h"
#include "monitor/shell/words.h"

/*
 * Writes the words behind a QMP command, from words->word[first] on, as its "arguments" (nothing if
 * there are none).  A word is NAME=VALUE, see convert.h; NAME may be a path into objects and lists,
 * "registers.rip", "capabilities.0.state".  A word without a name is the next mandatory argument.
 * `command` is the entry in the schema; NULL, of a server that has no schema, takes any name.
 */
int args_write(struct json_writer *w, const struct schema *schema,
	       const struct json_value *command, const struct words *words, size_t first,
	       struct error *err);

/* Whether a command takes arguments that the schema does not tell. */
bool args_is_open(const struct json_value *command);

#endif
