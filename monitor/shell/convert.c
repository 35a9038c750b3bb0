/* SPDX-License-Identifier: MIT */
#include "monitor/shell/convert.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/values.h"
#include "monitor/text.h"

/* Lists of lists and choices of choices; a server's schema may even be made of itself. */
#define MAX_NESTING 8

/* One value on its way. */
struct conversion {
	struct json_writer *w;
	const struct schema *schema;
	const char *where;
	struct error *err;
	unsigned int nesting;
};

static int convert(struct conversion *c, const char *name, const struct json_value *type,
		   const char *text, bool quoted);

static int refuse(struct conversion *c, const char *text, const struct json_value *type)
{
	struct text wanted = { 0 };

	schema_print_type(&wanted, c->schema, type);
	error_set(c->err, EINVAL, "%s: '%.200s' is not of the type %.200s", c->where, text,
		  wanted.bytes ? wanted.bytes : "wanted");
	text_free(&wanted);
	return -1;
}

/* The magnitude of an integer; false when `text` is none, or one too large. */
static bool parse_magnitude(const char *text, uint64_t *value)
{
	static const char suffixes[] = "KMGTPE";
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *suffix;
	unsigned int shift = 0;
	char *end;

	if (!isxdigit((unsigned char)text[hex ? 2 : 0]) || (!hex && !isdigit((unsigned char)*text)))
		return false;
	errno = 0;
	*value = strtoull(text, &end, hex ? 16 : 10);
	if (errno)
		return false;
	if (*end && (suffix = strchr(suffixes, toupper((unsigned char)*end)))) {
		shift = 10 * (suffix - suffixes + 1);
		end++;
	}
	if (*end || (shift && *value >> (64 - shift)))
		return false;
	*value <<= shift;
	return true;
}

static bool write_integer(struct json_writer *w, const char *name, const char *text)
{
	bool negative = *text == '-';
	uint64_t value;

	if (!parse_magnitude(text + negative, &value))
		return false;
	if (negative && value > (uint64_t)INT64_MAX + 1)
		return false;
	if (negative)
		json_write_int(w, name, (int64_t)(0 - value));
	else
		json_write_uint(w, name, value);
	return true;
}

static bool write_number(struct json_writer *w, const char *name, const char *text)
{
	double value;
	char *end;

	if (write_integer(w, name, text))
		return true;
	if (!isdigit((unsigned char)text[*text == '-']) && text[*text == '-'] != '.')
		return false;
	value = strtod(text, &end);
	if (end == text || *end || !isfinite(value))
		return false;
	json_write_double(w, name, value);
	return true;
}

static bool write_boolean(struct json_writer *w, const char *name, const char *text)
{
	static const char *const words[] = { "off", "on", "false", "true", "no", "yes" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			json_write_bool(w, name, i % 2);
			return true;
		}
	}
	return false;
}

static bool is_enum_value(const struct json_value *type, const char *text)
{
	const char *value, *about;
	size_t i;

	for (i = 0; (value = schema_enum_value(type, i, &about)); i++)
		if (strcmp(value, text) == 0)
			return true;
	return false;
}

static bool write_json(struct json_writer *w, const char *name, const char *text)
{
	struct json_value value;

	if (!value_parse(&value, text, strlen(text)))
		return false;
	json_write_value(w, name, &value);
	json_clear(&value);
	return true;
}

/* Where the item at `p` of a bare list ends: at a comma that is not inside brackets. */
static const char *item_end(const char *p)
{
	int depth = 0;

	for (; *p && (*p != ',' || depth > 0); p++) {
		depth += *p == '{' || *p == '[';
		depth -= *p == '}' || *p == ']';
	}
	return p;
}

static int write_bare_list(struct conversion *c, const struct json_value *element, char *items)
{
	char *end;
	int rc;

	while (*items) {
		while (*items == ' ')
			items++;
		end = (char *)item_end(items);
		if (*end)
			*end++ = '\0';
		rc = convert(c, NULL, element, items, false);
		if (rc < 0)
			return rc;
		items = end;
	}
	return 0;
}

static int write_list(struct conversion *c, const char *name, const struct json_value *type,
		      const char *text)
{
	size_t len = strlen(text);
	char *copy;
	int rc;

	if (*text == '[' && write_json(c->w, name, text))
		return 0;
	if (*text == '[') {
		if (text[len - 1] != ']')
			return refuse(c, text, type);
		text++;
		len -= 2;
	}
	copy = strndup(text, len);
	if (!copy)
		return error_set(c->err, ENOMEM, "%s: out of memory", c->where);
	json_write_array(c->w, name);
	rc = write_bare_list(c, schema_reference(c->schema, type, "element-type"), copy);
	json_write_array_end(c->w);
	free(copy);
	return rc;
}

/* The first choice that the text looks like, strings last. */
static int write_alternate(struct conversion *c, const char *name, const struct json_value *type,
			   const char *text, bool quoted)
{
	static const enum schema_kind order[] = {
		SCHEMA_NULL, SCHEMA_BOOL, SCHEMA_INT, SCHEMA_NUMBER, SCHEMA_ENUM, SCHEMA_OBJECT,
		SCHEMA_ARRAY, SCHEMA_STR,
	};
	const struct json_value *choices, *choice;
	size_t count, i, j;

	choices = value_items(type, "members", &count);
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		for (j = 0; j < count; j++) {
			choice = schema_reference(c->schema, &choices[j], "type");
			if (schema_kind(choice) != order[i] || (quoted && order[i] != SCHEMA_STR))
				continue;
			/* Half a list may be written when it fails. */
			if (order[i] == SCHEMA_ARRAY && *text == '[')
				return convert(c, name, choice, text, quoted);
			if (order[i] != SCHEMA_ARRAY &&
			    convert(c, name, choice, text, quoted) == 0)
				return 0;
		}
	}
	return refuse(c, text, type);
}

static int write_anything(struct conversion *c, const char *name, const char *text, bool quoted)
{
	if (quoted || (!write_integer(c->w, name, text) && !write_json(c->w, name, text)))
		json_write_string(c->w, name, text);
	return 0;
}

static int convert_kind(struct conversion *c, const char *name, const struct json_value *type,
			const char *text, bool quoted)
{
	bool done = false;

	switch (schema_kind(type)) {
	case SCHEMA_STR:
		json_write_string(c->w, name, text);
		return 0;
	case SCHEMA_INT:
		done = write_integer(c->w, name, text);
		break;
	case SCHEMA_NUMBER:
		done = write_number(c->w, name, text);
		break;
	case SCHEMA_BOOL:
		done = write_boolean(c->w, name, text);
		break;
	case SCHEMA_NULL:
		done = strcmp(text, "null") == 0 || !*text;
		if (done)
			json_write_null(c->w, name);
		break;
	case SCHEMA_ENUM:
		done = is_enum_value(type, text);
		if (done)
			json_write_string(c->w, name, text);
		break;
	case SCHEMA_ARRAY:
		return write_list(c, name, type, text);
	case SCHEMA_OBJECT:
		done = *text == '{' && write_json(c->w, name, text);
		break;
	case SCHEMA_ALTERNATE:
		return write_alternate(c, name, type, text, quoted);
	case SCHEMA_ANY:
	case SCHEMA_UNKNOWN:
		return write_anything(c, name, text, quoted);
	}
	return done ? 0 : refuse(c, text, type);
}

static int convert(struct conversion *c, const char *name, const struct json_value *type,
		   const char *text, bool quoted)
{
	int rc;

	if (c->nesting == MAX_NESTING)
		return error_set(c->err, EPROTO, "%s: the server's schema is too deep", c->where);
	c->nesting++;
	rc = convert_kind(c, name, type, text, quoted);
	c->nesting--;
	return rc;
}

int convert_value(struct json_writer *w, const char *name, const struct schema *schema,
		  const struct json_value *type, const char *text, bool quoted,
		  const char *where, struct error *err)
{
	struct conversion c = { .w = w, .schema = schema, .where = where, .err = err };

	return convert(&c, name, type, text, quoted);
}
