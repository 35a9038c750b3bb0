/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/shell_internal.h"
#include "monitor/shell/values.h"

#define INDENT  4
#define WIDTH   78      /* of text, where there is no screen or a wider one */

static void print_head(struct text *out, const struct style *style, const char *head)
{
	text_printf(out, "%s%s%s\n", paint_begin(style, PAINT_HEAD), head, paint_end(style));
}

/* Paragraphs filled to the screen's width. */
static void print_filled(struct text *out, const struct style *style, unsigned int indent,
			 const char *paragraphs)
{
	unsigned int width = style->width && style->width < WIDTH ? style->width : WIDTH, column;
	struct text word = { 0 };
	size_t len;

	while (*paragraphs) {
		column = 0;
		while (*paragraphs && *paragraphs != '\n') {
			len = strcspn(paragraphs, " \n");
			word.len = 0;
			escape_line(&word, paragraphs, len);
			if (column && column + 1 + word.len > width) {
				text_printf(out, "\n");
				column = 0;
			}
			if (len)
				text_printf(out, "%*s%s", (int)(column ? 1 : indent), "",
					    word.bytes ? word.bytes : "");
			column += (column ? 1 : indent) + word.len;
			paragraphs += len;
			paragraphs += strspn(paragraphs, " ");
		}
		text_printf(out, "\n");
		paragraphs += *paragraphs == '\n';
	}
	out->failed |= word.failed;
	text_free(&word);
}

static void print_enum(struct text *out, const struct style *style, const struct json_value *type)
{
	const char *value, *about;
	size_t i;

	if (schema_kind(type) != SCHEMA_ENUM)
		return;
	for (i = 0; (value = schema_enum_value(type, i, &about)); i++) {
		if (!about)
			continue;
		print_space(out, 2 * INDENT);
		escape_line(out, value, strlen(value));
		text_printf(out, ": ");
		paint_line(out, style, PAINT_DIM, about);
		text_printf(out, "\n");
	}
}

static void print_members(struct text *out, const struct style *style, const struct schema *schema,
			  const struct json_value *object, bool arguments)
{
	const struct json_value *member, *type;
	const char *name, *about;
	size_t i;

	for (i = 0; (member = schema_member_at(schema, object, i)); i++) {
		name = value_string(member, "name");
		if (!name)
			continue;
		type = schema_reference(schema, member, "type");
		about = value_string(member, "description");
		print_space(out, INDENT);
		paint_line(out, style, PAINT_KEY, name);
		text_printf(out, "%s%s", arguments ? "=" : ": ", paint_begin(style, PAINT_WORD));
		schema_print_type(out, schema, type);
		text_printf(out, "%s%s\n", paint_end(style),
			    schema_is_optional(member) ? "  (optional)" : "");
		if (about)
			print_filled(out, style, 2 * INDENT, about);
		if (arguments)
			print_enum(out, style, type);
	}
}

static void print_entry(struct text *out, const struct style *style, const struct schema *schema,
			const struct json_value *entry)
{
	const struct json_value *arguments = schema_reference(schema, entry, "arg-type");
	const struct json_value *returns = schema_reference(schema, entry, "ret-type");
	const char *about = value_string(entry, "description"), *name = value_string(entry, "name");
	bool event = schema_is(entry, "event");

	print_head(out, style, name);
	if (about)
		print_filled(out, style, INDENT, about);
	if (schema_member_at(schema, arguments, 0)) {
		print_head(out, style, event ? "Data:" : "Arguments:");
		print_members(out, style, schema, arguments, !event);
	}
	if (event || (schema_kind(returns) == SCHEMA_OBJECT &&
		      !schema_member_at(schema, returns, 0)))
		return;
	print_head(out, style, "Returns:");
	print_space(out, INDENT);
	schema_print_type(out, schema, returns);
	text_printf(out, "\n");
	if (schema_kind(returns) == SCHEMA_ARRAY)
		returns = schema_reference(schema, returns, "element-type");
	print_members(out, style, schema, returns, false);
}

static void print_local(struct text *out, const struct style *style)
{
	const struct local_command *local;
	size_t i;

	print_head(out, style, "Commands of this shell:");
	for (i = 0; (local = local_at(i)); i++)
		text_printf(out, "  %-32s  %s\n", local->usage, local->about);
}

static void print_overview(struct shell *sh, struct text *out)
{
	struct candidates commands = { 0 };
	const struct candidates *hmp;
	const struct json_value *entry;
	size_t i;

	print_local(out, &sh->style);
	text_printf(out, "\n");
	for (i = 0; (entry = schema_entry(sh->schema, i)); i++)
		if (schema_is(entry, "command"))
			candidates_add(&commands, value_string(entry, "name"), ' ',
				       value_string(entry, "description"));
	if (commands.count) {
		print_head(out, &sh->style, "Commands of the server, with arguments NAME=VALUE "
			   "(help COMMAND tells more):");
		candidates_print(out, &sh->style, &commands, 1000);
		text_printf(out, "\n");
	}
	out->failed |= commands.failed;
	candidates_free(&commands);
	hmp = shell_hmp(sh, false);
	if (hmp->count) {
		print_head(out, &sh->style, "Commands of its human monitor, for what is in neither "
			   "list (else: hmp COMMAND):");
		candidates_print(out, &sh->style, hmp, 40);
	}
	out->failed |= hmp->failed;
}

int help_command(struct shell *sh, const struct words *words, const char *line)
{
	const struct json_value *entry;
	const struct local_command *local;
	struct text out = { 0 };

	(void)line;
	shell_measure(sh);
	if (sh->server && shell_need_schema(sh) == SHELL_GONE)
		return SHELL_GONE;
	if (words->count == 1) {
		print_overview(sh, &out);
		shell_output(sh, &out);
		return SHELL_DONE;
	}
	local = local_find(words->word[1].text);
	if (local)
		text_printf(&out, "%s\n    %s\n", local->usage, local->about);
	entry = schema_find(sh->schema, words->word[1].text);
	if (schema_is(entry, "command") || schema_is(entry, "event"))
		print_entry(&out, &sh->style, sh->schema, entry);
	if (out.len || out.failed || !sh->server) {
		shell_output(sh, &out);
		return SHELL_DONE;
	}
	return shell_hmp_words(sh, words, 0);
}
