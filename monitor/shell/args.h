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

/* NAME=..., and not, say, the URI exec:cat>/dev/null?a=b. */
bool args_has_name(const struct word *word);

/*
 * The argument whose value words->word[index] is, if that has no name: of the mandatory members of
 * `type` that no word from `first` on names, the next after those of the nameless words in front.
 * `index` may be words->count: what is missing yet.  NULL: none.
 */
const struct json_value *args_nameless(const struct json_value *type, const struct words *words,
				       size_t first, size_t index);

/* Whether a command takes arguments that the schema does not tell. */
bool args_is_open(const struct json_value *command);

#endif
