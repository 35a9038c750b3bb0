/* SPDX-License-Identifier: MIT */
#include "monitor/shell/complete.h"

#include <string.h>

#include "monitor/shell/values.h"
#include "monitor/shell/words.h"

static void add_list(struct completion *completion, const char *prefix,
		     const struct candidates *list)
{
	size_t i;

	for (i = 0; list && i < list->count; i++)
		candidates_add_prefixed(&completion->list, prefix, list->item[i].text,
					strlen(list->item[i].text), ' ', list->item[i].about);
}

static void add_entries(struct completion *completion, const struct schema *schema,
			const char *prefix, const char *meta_type)
{
	const struct json_value *entry;
	const char *name;
	size_t i;

	for (i = 0; (entry = schema_entry(schema, i)); i++) {
		name = value_string(entry, "name");
		if (schema_is(entry, meta_type))
			candidates_add_prefixed(&completion->list, prefix, name, strlen(name), ' ',
						value_string(entry, "description"));
	}
}

static void add_hmp(struct completion *completion, const struct complete_source *source,
		    const char *prefix, bool info)
{
	if (source->hmp)
		add_list(completion, prefix, source->hmp(source->opaque, info));
}

static void complete_command(struct completion *completion, const struct complete_source *source,
			     const char *prefix)
{
	/* A name that stands for several has the first's description: the line means the first. */
	add_list(completion, prefix, source->local);
	add_entries(completion, source->schema, prefix, "command");
	add_hmp(completion, source, prefix, false);
}

/* What stands behind the name of a command of the shell itself.  False: it is none. */
static bool complete_local(struct completion *completion, const struct complete_source *source,
			   const char *command, const char *prefix)
{
	if (strcmp(command, "help") == 0) {
		complete_command(completion, source, prefix);
		add_entries(completion, source->schema, prefix, "event");
	} else if (strcmp(command, "wait") == 0 || strcmp(command, "events") == 0) {
		add_entries(completion, source->schema, prefix, "event");
	} else if (strcmp(command, "source") == 0) {
		complete_file(completion, prefix);
	}
	if (strcmp(command, "events") == 0 || strcmp(command, "json") == 0) {
		candidates_add_prefixed(&completion->list, prefix, "on", 2, ' ', NULL);
		candidates_add_prefixed(&completion->list, prefix, "off", 3, ' ', NULL);
	}
	return source->local && candidates_find(source->local, command);
}

/* Commands that have another line behind them: hmp, and watch with its option. */
static size_t skip_prefix_commands(const struct words *words)
{
	size_t first = 0;

	if (words->count > 1 && strcmp(words->word[0].text, "watch") == 0) {
		first = 1;
		if (words->count > 3 && strcmp(words->word[1].text, "-n") == 0)
			first = 3;
	}
	return first;
}

static void complete_words(struct completion *completion, const struct complete_source *source,
			   struct words *words)
{
	size_t first = skip_prefix_commands(words), last = words->count - 1;
	const char *command = words->word[first].text, *prefix = words->word[last].text;
	const struct json_value *entry;
	struct words rest;
	bool hmp = strcmp(command, "hmp") == 0;

	if (last == first) {
		complete_command(completion, source, prefix);
		return;
	}
	if (hmp && last == first + 1) {
		add_hmp(completion, source, prefix, false);
		return;
	}
	if (strcmp(words->word[first + hmp].text, "info") == 0 && last == first + hmp + 1) {
		add_hmp(completion, source, prefix, true);
		return;
	}
	if (hmp || complete_local(completion, source, command, prefix))
		return;
	entry = schema_find_meta(source->schema, command, "command");
	if (!entry)
		return;
	rest = (struct words){ .word = words->word + first, .count = words->count - first };
	complete_argument(completion, source, entry, &rest);
}

void complete_line(struct completion *completion, const struct complete_source *source,
		   const char *line, size_t cursor)
{
	struct words words;
	struct word *last;

	memset(completion, 0, sizeof(*completion));
	completion->start = cursor;
	if (words_split(&words, line, cursor, NULL) < 0)
		return;
	/* Behind a space a new word begins, which is empty as yet. */
	last = words.count ? &words.word[words.count - 1] : NULL;
	if ((last && last->end == cursor) || words_add_empty(&words, cursor, NULL) == 0) {
		last = &words.word[words.count - 1];
		completion->start = last->start;
		if (words.open == '\'' || words.open == '"')
			completion->quote = words.open;
		if (*words.word[0].text != '{' && words.open != '\\')
			complete_words(completion, source, &words);
	}
	candidates_sort(&completion->list);
	words_free(&words);
}

void complete_quote(struct text *out, const struct completion *completion, const char *s,
		    size_t len)
{
	size_t i;

	if (completion->quote)
		text_append(out, &completion->quote, 1);
	for (i = 0; i < len; i++) {
		if (completion->quote == '"' ? s[i] == '"' || s[i] == '\\' :
		    !completion->quote && strchr(" \t'\"\\", s[i]))
			text_append(out, "\\", 1);
		text_append(out, s + i, 1);
	}
}
