/* SPDX-License-Identifier: MIT */
#include "monitor/shell/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/convert.h"
#include "monitor/shell/values.h"
#include "monitor/text.h"

#define MAX_DEPTH 16

/* A name and what it was given: either a value, or further names. */
struct node {
	char *name;
	const char *value;              /* belongs to the words; NULL: see `first` */
	bool quoted;
	const char *path;               /* as it was given, for errors; belongs to the words */
	int path_len;
	struct node *first, *next;      /* children in the order given */
};

/* One command's arguments on their way. */
struct build {
	const struct schema *schema;
	const char *command;            /* its name */
	bool open;
	struct json_writer *w;
	struct error *err;
};

bool args_is_open(const struct json_value *command)
{
	const char *name = value_string(command, "name");

	/* It takes the properties of the device. */
	return !name || strcmp(name, "device_add") == 0;
}

static void free_nodes(struct node *node)
{
	struct node *next;

	for (; node; node = next) {
		next = node->next;
		free_nodes(node->first);
		free(node->name);
		free(node);
	}
}

static int no_memory(struct build *b)
{
	return error_set(b->err, ENOMEM, "%s: out of memory", b->command);
}

/* The child of that name, made if need be. */
static struct node *child_of(struct node *node, const char *name, size_t len)
{
	struct node **at = &node->first;

	while (*at && (strncmp((*at)->name, name, len) || (*at)->name[len]))
		at = &(*at)->next;
	if (*at)
		return *at;
	*at = calloc(1, sizeof(**at));
	if (!*at)
		return NULL;
	(*at)->name = strndup(name, len);
	if ((*at)->name)
		return *at;
	free(*at);
	*at = NULL;
	return NULL;
}

/* `path` is a member's name as it stands, or such names with dots between them. */
static int insert(struct build *b, struct node *root, const struct json_value *type,
		  const char *path, size_t len, const struct word *word)
{
	unsigned int depth = 0;
	struct node *node = root;
	bool whole = false;
	char *name = strndup(path, len);

	if (!name)
		return no_memory(b);
	whole = schema_member(b->schema, type, name);
	free(name);
	for (;;) {
		size_t n = whole ? len : strcspn(path, ".");

		n = n < len ? n : len;
		if (node->value || ++depth > MAX_DEPTH)
			return error_set(b->err, EINVAL, "%s: '%.100s' does not fit what was given "
					 "before", b->command, word->text);
		node = child_of(node, path, n);
		if (!node)
			return no_memory(b);
		if (n == len)
			break;
		path += n + 1;
		len -= n + 1;
	}
	if (node->value || node->first)
		return error_set(b->err, EINVAL, "%s: '%.100s' is given twice", b->command,
				 word->text);
	node->value = word_value(word);
	node->quoted = word->quoted;
	node->path = word->equals == WORD_NO_EQUALS ? node->name : word->text;
	node->path_len = word->equals == WORD_NO_EQUALS ? (int)strlen(node->name) :
			 (int)word->equals;
	return 0;
}

static int unknown_name(struct build *b, const struct json_value *type, const char *name)
{
	const struct json_value *member;
	struct text names = { 0 };
	const char *has;
	size_t i;

	for (i = 0; (member = schema_member_at(b->schema, type, i)); i++) {
		has = value_string(member, "name");
		if (has)
			text_printf(&names, "%s%s", names.len ? ", " : "", has);
	}
	if (names.len)
		error_set(b->err, EINVAL, "%s: no argument '%.100s'; it takes %.300s", b->command,
			  name, names.bytes);
	else
		error_set(b->err, EINVAL, "%s: takes no arguments ('%.100s')", b->command, name);
	text_free(&names);
	return -1;
}

static int write_node(struct build *b, const char *name, const struct json_value *type,
		      const struct node *node);

static int write_members(struct build *b, const struct json_value *type, const struct node *node)
{
	bool known = schema_kind(type) == SCHEMA_OBJECT;
	const struct node *child;
	int rc = 0;

	for (child = node->first; child && !rc; child = child->next) {
		const struct json_value *member = schema_member(b->schema, type, child->name);

		if (known && !member && !b->open)
			return unknown_name(b, type, child->name);
		rc = write_node(b, child->name, schema_reference(b->schema, member, "type"), child);
	}
	return rc;
}

static bool is_list(const struct node *node)
{
	const struct node *child;
	char expected[16];
	int i = 0;

	for (child = node->first; child; child = child->next) {
		snprintf(expected, sizeof(expected), "%d", i++);
		if (strcmp(child->name, expected))
			return false;
	}
	return true;
}

static int write_items(struct build *b, const struct json_value *type, const struct node *node)
{
	const struct json_value *element = schema_reference(b->schema, type, "element-type");
	const struct node *child;
	int rc = 0;

	for (child = node->first; child && !rc; child = child->next)
		rc = write_node(b, NULL, element, child);
	return rc;
}

/* Of the choices of an alternate, the one that has members, or items. */
static const struct json_value *choose(const struct schema *schema, const struct json_value *type,
				       enum schema_kind kind)
{
	const struct json_value *choices, *choice;
	size_t count, i;

	choices = value_items(type, "members", &count);
	for (i = 0; i < count; i++) {
		choice = schema_reference(schema, &choices[i], "type");
		if (schema_kind(choice) == kind)
			return choice;
	}
	return type;
}

static int write_node(struct build *b, const char *name, const struct json_value *type,
		      const struct node *node)
{
	bool list = is_list(node);
	enum schema_kind kind;
	char where[200];
	int rc;

	if (node->value) {
		snprintf(where, sizeof(where), "%.90s: %.*s", b->command,
			 node->path_len < 90 ? node->path_len : 90, node->path);
		return convert_value(b->w, name, b->schema, type, node->value, node->quoted, where,
				     b->err);
	}
	if (schema_kind(type) == SCHEMA_ALTERNATE)
		type = choose(b->schema, type, list ? SCHEMA_ARRAY : SCHEMA_OBJECT);
	kind = schema_kind(type);
	if (kind == SCHEMA_ARRAY && !list)
		return error_set(b->err, EINVAL, "%s: '%.100s' is a list: its items are %.100s.0, "
				 "%.100s.1, ...", b->command, node->name, node->name, node->name);
	if (kind == SCHEMA_ARRAY || (list && (kind == SCHEMA_ANY || kind == SCHEMA_UNKNOWN))) {
		json_write_array(b->w, name);
		rc = write_items(b, type, node);
		json_write_array_end(b->w);
		return rc;
	}
	if (kind != SCHEMA_OBJECT && kind != SCHEMA_ANY && kind != SCHEMA_UNKNOWN)
		return error_set(b->err, EINVAL, "%s: '%.100s' has nothing inside it", b->command,
				 node->name);
	json_write_object(b->w, name);
	rc = write_members(b, type, node);
	json_write_object_end(b->w);
	return rc;
}

bool args_has_name(const struct word *word)
{
	size_t i;

	if (word->equals == WORD_NO_EQUALS || !word->equals)
		return false;
	for (i = 0; i < word->equals; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.",
			    word->text[i]))
			return false;
	return true;
}

/* By its name, or something inside it. */
static bool is_named(const struct words *words, size_t first, const char *name)
{
	size_t len = strlen(name), i;

	for (i = first; i < words->count; i++) {
		const struct word *word = &words->word[i];

		if (args_has_name(word) && word->equals >= len &&
		    strncmp(word->text, name, len) == 0 &&
		    (word->equals == len || word->text[len] == '.'))
			return true;
	}
	return false;
}

const struct json_value *args_nameless(const struct json_value *type, const struct words *words,
				       size_t first, size_t index)
{
	const struct json_value *members;
	size_t count, i, before = 0;
	const char *name;

	for (i = first; i < index; i++)
		before += !args_has_name(&words->word[i]);
	members = value_items(type, "members", &count);
	for (i = 0; i < count; i++) {
		name = value_string(&members[i], "name");
		if (name && !schema_is_optional(&members[i]) && !is_named(words, first, name) &&
		    !before--)
			return &members[i];
	}
	return NULL;
}

static int insert_unnamed(struct build *b, struct node *root, const struct json_value *type,
			  const struct json_value *member, const struct word *word)
{
	const char *name = value_string(member, "name");
	struct word whole = *word;

	if (!name && word->text[0] == '-')
		return error_set(b->err, EINVAL, "%s: '%.100s' is not NAME=VALUE (an option of "
				 "vmonsh stands in front of the command)", b->command, word->text);
	if (!name)
		return error_set(b->err, EINVAL, "%s: '%.100s' is not NAME=VALUE (hmp %s ... is "
				 "the human monitor's command)", b->command, word->text, b->command);
	whole.equals = WORD_NO_EQUALS;
	return insert(b, root, type, name, strlen(name), &whole);
}

int args_write(struct json_writer *w, const struct schema *schema,
	       const struct json_value *command, const struct words *words, size_t first,
	       struct error *err)
{
	const struct json_value *type = schema_reference(schema, command, "arg-type"), *missing;
	struct build b = {
		.schema = schema, .command = words->word[first - 1].text,
		.open = args_is_open(command), .w = w, .err = err,
	};
	struct node root = { 0 };
	size_t i;
	int pass, rc = 0;

	/* Those with names first, so that the others fill what is left. */
	for (pass = 0; pass < 2; pass++)
		for (i = first; i < words->count && !rc; i++) {
			const struct word *word = &words->word[i];

			if (pass == 0 && args_has_name(word))
				rc = insert(&b, &root, type, word->text, word->equals, word);
			else if (pass == 1 && !args_has_name(word))
				rc = insert_unnamed(&b, &root, type,
						    args_nameless(type, words, first, i), word);
		}
	missing = args_nameless(type, words, first, words->count);
	if (!rc && root.first) {
		json_write_object(w, "arguments");
		rc = write_members(&b, type, &root);
		json_write_object_end(w);
	}
	if (!rc && missing) {
		struct text wanted = { 0 };

		schema_print_type(&wanted, schema, schema_reference(schema, missing, "type"));
		rc = error_set(err, EINVAL, "%s: the argument %s is missing (%.200s)", b.command,
			       value_string(missing, "name"), wanted.bytes ? wanted.bytes : "");
		text_free(&wanted);
	}
	free_nodes(root.first);
	return rc;
}
