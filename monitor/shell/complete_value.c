/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "monitor/shell/args.h"
#include "monitor/shell/complete.h"
#include "monitor/shell/values.h"
#include "monitor/shell/words.h"

#define MAX_TYPES 64            /* looked into for one value: a schema may be made of itself */

/* The value of one argument being completed. */
struct value_place {
	struct completion *completion;
	const struct complete_source *source;
	const struct words *words;      /* the command's */
	const struct json_value *arguments;     /* the type of all of them */
	const char *name;               /* of the argument: the last of its path */
	const char *prefix;             /* what is there of the value */
	unsigned int types;             /* looked into so far */
};

static void add(struct value_place *place, const char *text, char after, const char *about)
{
	candidates_add_prefixed(&place->completion->list, place->prefix, text, strlen(text), after,
				about);
}

static bool is_directory(const char *directory, const char *name)
{
	struct text path = { 0 };
	struct stat st;
	bool is;

	text_printf(&path, "%s/%s", directory, name);
	is = !path.failed && stat(path.bytes, &st) == 0 && S_ISDIR(st.st_mode);
	text_free(&path);
	return is;
}

/* Files are looked up here, which is where the server is: it listens on a UNIX socket. */
static void add_files(struct candidates *list, const char *prefix, const char *scheme)
{
	const char *slash = strrchr(prefix, '/');
	size_t len = slash ? slash + 1 - prefix : 0;
	struct text path = { 0 };
	struct dirent *entry;
	char *directory;
	DIR *dir;

	directory = !len ? strdup(".") : strndup(prefix, len);
	dir = directory ? opendir(directory) : NULL;
	while (dir && (entry = readdir(dir))) {
		bool hidden = entry->d_name[0] == '.' && prefix[len] != '.', is_dir;

		if (hidden || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    strncmp(entry->d_name, prefix + len, strlen(prefix + len)))
			continue;
		is_dir = is_directory(directory, entry->d_name);
		path.len = 0;
		text_printf(&path, "%s%.*s%s%s", scheme, (int)len, prefix, entry->d_name,
			    is_dir ? "/" : "");
		if (!path.failed)
			candidates_add(list, path.bytes, is_dir ? 0 : ' ', NULL);
	}
	if (dir)
		closedir(dir);
	free(directory);
	text_free(&path);
}

void complete_file(struct completion *completion, const char *prefix)
{
	add_files(&completion->list, prefix, "");
}

/* With its name or without; the last word is what is being completed. */
static const char *given_value(const struct json_value *arguments, const struct words *words,
			       const char *name)
{
	size_t i;

	for (i = 1; i + 1 < words->count; i++) {
		const struct word *word = &words->word[i];
		const char *is;

		if (args_has_name(word)) {
			if (word_names(word, name))
				return word_value(word);
			continue;
		}
		is = value_string(args_nameless(arguments, words, 1, i), "name");
		if (is && strcmp(is, name) == 0)
			return word->text;
	}
	return NULL;
}

static bool ask(struct value_place *place, const char *command, const char *name,
		const char *value, struct json_value *list)
{
	const struct complete_source *source = place->source;

	if (!source->ask || !source->ask(source->opaque, command, name, value, list))
		return false;
	if (list->type == JSON_ARRAY)
		return true;
	json_clear(list);
	return false;
}

/* The names in a list that the server has returned. */
static void add_names(struct value_place *place, const char *command, const char *name,
		      const char *value)
{
	struct json_value list;
	size_t i;

	if (!ask(place, command, name, value, &list))
		return;
	for (i = 0; i < list.array.count; i++) {
		const char *text = value_string(&list.array.item[i], "name");

		/* Of what qom-list returns, the children are no properties to get or set. */
		const char *type = value_string(&list.array.item[i], "type");

		if (text && !(type && strncmp(type, "child<", 6) == 0))
			add(place, text, ' ', type);
	}
	json_clear(&list);
}

static void add_qom_paths(struct value_place *place)
{
	const char *slash = strrchr(place->prefix, '/');
	struct text parent = { 0 }, path = { 0 };
	struct json_value list;
	size_t i;

	if (!slash) {
		add(place, "/", 0, NULL);
		return;
	}
	text_append(&parent, place->prefix, slash - place->prefix);
	if (!parent.failed && ask(place, "qom-list", "path", parent.len ? parent.bytes : "/",
				  &list)) {
		for (i = 0; i < list.array.count; i++) {
			const char *name = value_string(&list.array.item[i], "name");
			const char *type = value_string(&list.array.item[i], "type");

			if (!name || !type || strncmp(type, "child<", 6))
				continue;
			path.len = 0;
			text_printf(&path, "%s/%s", parent.bytes, name);
			if (!path.failed)
				add(place, path.bytes, 0, type);
		}
		json_clear(&list);
	}
	text_free(&parent);
	text_free(&path);
}

static bool ends_in(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= n && strcmp(s + len - n, end) == 0;
}

static void complete_string(struct value_place *place)
{
	const char *path = given_value(place->arguments, place->words, "path");

	if (strcmp(place->name, "path") == 0 || ends_in(place->name, "qom-path"))
		add_qom_paths(place);
	else if (strcmp(place->name, "property") == 0 && path)
		add_names(place, "qom-list", "path", path);
	else if (strcmp(place->name, "driver") == 0 || strcmp(place->name, "qom-type") == 0)
		add_names(place, "qom-list-types", "implements",
			  *place->name == 'd' ? "device" : "user-creatable");
	else if (strcmp(place->name, "typename") == 0 || strcmp(place->name, "implements") == 0)
		add_names(place, "qom-list-types", NULL, NULL);
	else if (strncmp(place->prefix, "file:", 5) == 0)
		add_files(&place->completion->list, place->prefix + 5, "file:");
	else if (ends_in(place->name, "filename") || ends_in(place->name, "file"))
		add_files(&place->completion->list, place->prefix, "");
}

static void complete_type(struct value_place *place, const struct json_value *type);

static void complete_list(struct value_place *place, const struct json_value *type)
{
	const char *p, *item = place->prefix;

	/* Inside quotes the places in the line and in the value differ. */
	if (place->completion->quote)
		return;
	if (*item == '[')
		item++;
	if (*item == '{')
		return;
	for (p = item; *p; p++)
		if (*p == ',')
			item = p + 1;
	place->completion->start += item - place->prefix;
	place->prefix = item;
	complete_type(place, schema_reference(place->source->schema, type, "element-type"));
}

static void complete_type(struct value_place *place, const struct json_value *type)
{
	const char *value, *about;
	const struct json_value *choices;
	size_t count, i;

	if (place->types == MAX_TYPES)
		return;
	place->types++;
	switch (schema_kind(type)) {
	case SCHEMA_ENUM:
		for (i = 0; (value = schema_enum_value(type, i, &about)); i++)
			add(place, value, ' ', about);
		break;
	case SCHEMA_BOOL:
		add(place, "on", ' ', NULL);
		add(place, "off", ' ', NULL);
		break;
	case SCHEMA_ARRAY:
		complete_list(place, type);
		break;
	case SCHEMA_ALTERNATE:
		choices = value_items(type, "members", &count);
		for (i = 0; i < count; i++)
			complete_type(place, schema_reference(place->source->schema, &choices[i],
							      "type"));
		break;
	case SCHEMA_STR:
		complete_string(place);
		break;
	default:
		break;
	}
}

/* The type of a member, of arguments or of what is in them; of an item of a list. */
static const struct json_value *inside(const struct schema *schema, const struct json_value *type,
				       const char *name, size_t len)
{
	char *copy;

	if (schema_kind(type) == SCHEMA_ARRAY)
		return schema_reference(schema, type, "element-type");
	copy = strndup(name, len);
	if (!copy)
		return NULL;
	type = schema_reference(schema, schema_member(schema, type, copy), "type");
	free(copy);
	return type;
}

/* The type of what the path stands for, whole name or with dots; NULL when it is not known. */
static const struct json_value *follow(const struct schema *schema, const struct json_value *type,
				       const char *path, size_t len)
{
	const struct json_value *whole = inside(schema, type, path, len);
	size_t n;

	if (whole)
		return whole;
	while (len) {
		n = strcspn(path, ".");
		n = n < len ? n : len;
		type = inside(schema, type, path, n);
		n += n < len;
		path += n;
		len -= n;
	}
	return type;
}

/* In front of the last word. */
static bool is_begun(const struct words *words, const struct text *path)
{
	size_t i;

	for (i = 1; i + 1 < words->count; i++)
		if (strncmp(words->word[i].text, path->bytes, path->len) == 0 &&
		    strchr(".=", words->word[i].text[path->len]))
			return true;
	return false;
}

/* The next item of a list, and those before it that may have more inside. */
static void complete_index(struct completion *completion, const struct words *words,
			   const char *prefix, size_t len, bool inside)
{
	struct text path = { 0 };
	unsigned int next = 0;
	bool begun;

	do {
		path.len = 0;
		text_printf(&path, "%.*s%u", (int)len, prefix, next++);
		begun = !path.failed && is_begun(words, &path);
		if (!path.failed && (inside || !begun))
			candidates_add_prefixed(&completion->list, prefix, path.bytes, path.len,
						inside ? '.' : '=', NULL);
	} while (begun);
	text_free(&path);
}

/* Whether what is inside is given one by one: no value says it in short. */
static bool is_structured(const struct schema *schema, const struct json_value *type)
{
	if (schema_kind(type) == SCHEMA_ARRAY)
		type = schema_reference(schema, type, "element-type");
	return schema_kind(type) == SCHEMA_OBJECT;
}

static void complete_name(struct completion *completion, const struct complete_source *source,
			  const struct json_value *type, const struct words *words)
{
	const char *prefix = words->word[words->count - 1].text, *dot = strrchr(prefix, '.'), *name;
	size_t len = dot ? dot + 1 - prefix : 0, i;
	const struct json_value *member;
	const struct json_value *arguments = type;
	struct text path = { 0 };

	if (len)
		type = follow(source->schema, type, prefix, len - 1);
	/* The dot may be in the name of an argument. */
	if (!type) {
		type = arguments;
		len = 0;
	}
	if (schema_kind(type) == SCHEMA_ARRAY) {
		complete_index(completion, words, prefix, len,
			       is_structured(source->schema, type));
		return;
	}
	for (i = 0; (member = schema_member_at(source->schema, type, i)); i++) {
		const struct json_value *is;

		name = value_string(member, "name");
		if (!name)
			continue;
		is = schema_reference(source->schema, member, "type");
		path.len = 0;
		text_printf(&path, "%.*s%s", (int)len, prefix, name);
		if (path.failed || given_value(arguments, words, path.bytes))
			continue;
		candidates_add_prefixed(&completion->list, prefix, path.bytes, path.len,
					is_structured(source->schema, is) ? '.' : '=',
					value_string(member, "description"));
	}
	text_free(&path);
}

/* Properties of the device are arguments of device_add too. */
static void complete_property(struct value_place *place)
{
	const char *driver = given_value(place->arguments, place->words, "driver");
	struct candidates *list = &place->completion->list;
	size_t before = list->count, i;

	if (!driver)
		return;
	add_names(place, "device-list-properties", "typename", driver);
	for (i = before; i < list->count; i++)
		list->item[i].after = '=';
}

/* A value without its name; what is the beginning of a name is not taken for one. */
static void complete_nameless(struct value_place *place)
{
	const struct json_value *member;

	member = args_nameless(place->arguments, place->words, 1, place->words->count - 1);
	if (!member || place->completion->list.count)
		return;
	place->name = value_string(member, "name");
	complete_type(place, schema_reference(place->source->schema, member, "type"));
}

void complete_argument(struct completion *completion, const struct complete_source *source,
		       const struct json_value *command, const struct words *words)
{
	const struct json_value *type = schema_reference(source->schema, command, "arg-type");
	const struct word *last = &words->word[words->count - 1];
	struct value_place place = {
		.completion = completion, .source = source, .words = words, .arguments = type,
		.prefix = last->text,
	};
	char *name, *dot;

	if (!args_has_name(last)) {
		complete_name(completion, source, type, words);
		if (args_is_open(command))
			complete_property(&place);
		complete_nameless(&place);
		return;
	}
	place.prefix = word_value(last);
	name = strndup(last->text, last->equals);
	if (!name)
		return;
	completion->start = last->value_start;
	dot = strrchr(name, '.');
	place.name = dot ? dot + 1 : name;
	complete_type(&place, follow(source->schema, type, name, last->equals));
	free(name);
}
