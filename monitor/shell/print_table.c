/* SPDX-License-Identifier: MIT */
#include "monitor/shell/print.h"

#include <string.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/values.h"

#define MAX_COLUMNS 16
#define MAX_DEPTH   2           /* of objects whose members become columns of their own */
#define GAP         2

struct column {
	char name[80];
	unsigned int width;
	bool numbers;           /* all of them: shown at the right */
};

/* A table being measured, and then printed. */
struct table {
	struct column column[MAX_COLUMNS];
	unsigned int columns;
	bool fits;
	struct text *out;
	const struct style *style;
	const struct json_value *cell[MAX_COLUMNS], *parent[MAX_COLUMNS];       /* of one row */
};

static const struct style plain;

static void print_cell(struct text *out, const struct style *style, const struct table *table,
		       unsigned int i)
{
	if (table->cell[i])
		print_scalar(out, style, table->column[i].name, table->parent[i], table->cell[i]);
	else
		text_printf(out, "-");
}

static void take_leaf(void *opaque, const char *path, const struct json_value *parent,
		      const struct json_value *leaf)
{
	struct table *table = opaque;
	unsigned int i;

	for (i = 0; i < table->columns; i++)
		if (strcmp(table->column[i].name, path) == 0)
			break;
	if (i == MAX_COLUMNS || strlen(path) >= sizeof(table->column[i].name)) {
		table->fits = false;
		return;
	}
	if (i == table->columns) {
		table->column[table->columns++] = (struct column){ .numbers = true };
		strcpy(table->column[i].name, path);
	}
	table->cell[i] = leaf;
	table->parent[i] = parent;
}

static void take_row(struct table *table, const struct json_value *row)
{
	memset(table->cell, 0, sizeof(table->cell));
	if (!value_flatten(row, MAX_DEPTH, take_leaf, table))
		table->fits = false;
}

static bool is_number(const struct json_value *value)
{
	return !value || value->type == JSON_INT || value->type == JSON_UINT ||
	       value->type == JSON_DOUBLE;
}

static void measure(struct table *table, const struct json_value *rows, size_t count)
{
	struct text cell = { 0 };
	unsigned int i, width;
	size_t r;

	for (r = 0; r < count && table->fits; r++) {
		take_row(table, &rows[r]);
		for (i = 0; i < table->columns; i++) {
			cell.len = 0;
			print_cell(&cell, &plain, table, i);
			width = escape_columns(cell.bytes ? cell.bytes : "", cell.len);
			if (width > table->column[i].width)
				table->column[i].width = width;
			table->column[i].numbers &= is_number(table->cell[i]);
		}
	}
	table->out->failed |= cell.failed;
	text_free(&cell);
}

static void print_head(struct table *table, unsigned int indent)
{
	struct text *out = table->out;
	unsigned int i;

	print_space(out, indent);
	text_printf(out, "%s", paint_begin(table->style, PAINT_HEAD));
	for (i = 0; i < table->columns; i++) {
		struct column *column = &table->column[i];
		unsigned int width = escape_columns(column->name, strlen(column->name));

		if (column->numbers)
			print_space(out, column->width - width);
		text_printf(out, "%s", column->name);
		if (i + 1 < table->columns)
			print_space(out, GAP + (column->numbers ? 0 : column->width - width));
	}
	text_printf(out, "%s\n", paint_end(table->style));
}

static void print_row(struct table *table, unsigned int indent)
{
	struct text cell = { 0 }, *out = table->out;
	unsigned int i, width;

	print_space(out, indent);
	for (i = 0; i < table->columns; i++) {
		struct column *column = &table->column[i];

		cell.len = 0;
		print_cell(&cell, &plain, table, i);
		width = escape_columns(cell.bytes ? cell.bytes : "", cell.len);
		width = column->width > width ? column->width - width : 0;
		if (column->numbers)
			print_space(out, width);
		print_cell(out, table->style, table, i);
		if (i + 1 < table->columns)
			print_space(out, GAP + (column->numbers ? 0 : width));
	}
	text_printf(out, "\n");
	out->failed |= cell.failed;
	text_free(&cell);
}

/* Servers send members in any order; what a row is about is read first. */
static void put_first(struct table *table)
{
	static const char *const names[] = {
		"name", "id", "cpu-index", "label", "device", "capability", "qom-path", "index",
	};
	struct column column;
	unsigned int i, n;

	for (n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		for (i = 0; i < table->columns; i++) {
			if (strcmp(table->column[i].name, names[n]))
				continue;
			column = table->column[i];
			memmove(&table->column[1], &table->column[0], i * sizeof(column));
			table->column[0] = column;
			return;
		}
	}
}

/* A name with something to escape in it makes no head of a column. */
static bool is_plain_name(const char *name)
{
	struct text escaped = { 0 };
	bool same;

	escape_line(&escaped, name, strlen(name));
	same = escaped.bytes && strcmp(escaped.bytes, name) == 0;
	text_free(&escaped);
	return same;
}

bool print_table(struct text *out, const struct style *style, unsigned int indent,
		 const struct json_value *rows, size_t count)
{
	struct table table = { .fits = true, .out = out, .style = style };
	unsigned int i, width = indent;
	size_t r;

	measure(&table, rows, count);
	put_first(&table);
	for (i = 0; i < table.columns; i++) {
		struct column *column = &table.column[i];
		unsigned int name = escape_columns(column->name, strlen(column->name));

		if (!is_plain_name(column->name))
			return false;
		if (name > column->width)
			column->width = name;
		width += column->width + (i ? GAP : 0);
	}
	if (!table.fits || !table.columns || (style->width && width > style->width))
		return false;
	print_head(&table, indent);
	for (r = 0; r < count; r++) {
		take_row(&table, &rows[r]);
		print_row(&table, indent);
	}
	/* They have fitted before: what is missing now is memory, and their cells. */
	out->failed |= !table.fits;
	return true;
}
