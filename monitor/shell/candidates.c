/* SPDX-License-Identifier: MIT */
#include "monitor/shell/candidates.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/escape.h"

#define NAME_GAP    2
#define MAX_LENGTH  4096        /* of a text: a server's names go this far */

/* The first sentence of the first paragraph. */
static char *first_sentence(const char *about)
{
	size_t len = strcspn(about, "\n");
	const char *end = memmem(about, len, ". ", 2);

	if (end)
		len = end - about;
	else if (len && about[len - 1] == '.')
		len--;
	return strndup(about, len);
}

void candidates_add_prefixed(struct candidates *list, const char *prefix, const char *text,
			     size_t len, char after, const char *about)
{
	struct candidate *grown;

	if (strncmp(prefix, text, strlen(prefix)) || len < strlen(prefix) || len > MAX_LENGTH)
		return;
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 32;

		grown = realloc(list->item, size * sizeof(*grown));
		if (!grown) {
			list->failed = true;
			return;
		}
		list->item = grown;
		list->size = size;
	}
	grown = &list->item[list->count];
	grown->text = strndup(text, len);
	grown->about = about && *about ? first_sentence(about) : NULL;
	grown->after = after;
	list->failed |= !grown->text || (about && *about && !grown->about);
	if (grown->text)
		list->count++;
	else
		free(grown->about);
}

void candidates_add(struct candidates *list, const char *text, char after, const char *about)
{
	candidates_add_prefixed(list, "", text, strlen(text), after, about);
}

static int compare(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	/* device[10] comes after device[9]. */
	return strverscmp(left->text, right->text);
}

void candidates_sort(struct candidates *list)
{
	size_t i, kept = 0;

	if (list->count)
		qsort(list->item, list->count, sizeof(list->item[0]), compare);
	for (i = 0; i < list->count; i++) {
		if (kept && strcmp(list->item[kept - 1].text, list->item[i].text) == 0) {
			free(list->item[i].text);
			free(list->item[i].about);
		} else {
			list->item[kept++] = list->item[i];
		}
	}
	list->count = kept;
}

const struct candidate *candidates_find(const struct candidates *list, const char *text)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (strcmp(list->item[i].text, text) == 0)
			return &list->item[i];
	return NULL;
}

void candidates_free(struct candidates *list)
{
	while (list->count) {
		list->count--;
		free(list->item[list->count].text);
		free(list->item[list->count].about);
	}
	free(list->item);
	memset(list, 0, sizeof(*list));
}

size_t candidates_common(const struct candidates *list)
{
	const char *first;
	size_t len, i, n;

	if (!list->count)
		return 0;
	first = list->item[0].text;
	len = strlen(first);
	for (i = 1; i < list->count; i++) {
		for (n = 0; n < len && first[n] == list->item[i].text[n]; n++)
			;
		len = n;
	}
	/* Not within a character of several bytes. */
	while (len && first[len] && ((unsigned char)first[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static void print_escaped(struct text *out, const char *s)
{
	escape_line(out, s, strlen(s));
}

/* As much of `s` as goes into so many columns. */
static void print_cut(struct text *out, const char *s, unsigned int columns)
{
	struct text escaped = { 0 };

	print_escaped(&escaped, s);
	text_append(out, escaped.bytes ? escaped.bytes : "",
		    escape_fit(escaped.bytes, escaped.len, columns));
	out->failed |= escaped.failed;
	text_free(&escaped);
}

static void print_described(struct text *out, const struct style *style,
			    const struct candidates *list, unsigned int width)
{
	unsigned int screen = style->width ? style->width : 1000;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const struct candidate *item = &list->item[i];

		print_escaped(out, item->text);
		if (item->about && screen > width + NAME_GAP + 8) {
			text_printf(out, "%*s%s",
				    (int)(width + NAME_GAP - escape_line_columns(item->text)), "",
				    paint_begin(style, PAINT_DIM));
			print_cut(out, item->about, screen - width - NAME_GAP - 1);
			text_printf(out, "%s", paint_end(style));
		}
		text_printf(out, "\n");
	}
}

static void print_columns(struct text *out, const struct style *style,
			  const struct candidates *list, unsigned int width, unsigned int rows)
{
	unsigned int screen = style->width ? style->width : 80, columns, lines, line, column;
	size_t at, shown = 0;

	columns = (screen + NAME_GAP - 1) / (width + NAME_GAP);
	columns = columns ? columns : 1;
	lines = (list->count + columns - 1) / columns;
	for (line = 0; line < lines && line < rows; line++) {
		for (column = 0; column < columns; column++) {
			at = (size_t)column * lines + line;
			if (at >= list->count)
				break;
			if (column)
				text_printf(out, "%*s", (int)(width + NAME_GAP -
					    escape_line_columns(list->item[at - lines].text)), "");
			print_escaped(out, list->item[at].text);
			shown++;
		}
		text_printf(out, "\n");
	}
	if (shown < list->count)
		text_printf(out, "%s(%zu more)%s\n", paint_begin(style, PAINT_DIM),
			    list->count - shown, paint_end(style));
}

void candidates_print(struct text *out, const struct style *style,
		      const struct candidates *list, unsigned int rows)
{
	unsigned int width = 0, columns;
	bool described = false;
	size_t i;

	for (i = 0; i < list->count; i++) {
		columns = escape_line_columns(list->item[i].text);
		width = columns > width ? columns : width;
		described |= list->item[i].about != NULL;
	}
	if (described && list->count <= rows)
		print_described(out, style, list, width);
	else
		print_columns(out, style, list, width, rows);
}

/* "migrate|m [-d] uri -- send the VM": one name for each part in front of the first space. */
static void parse_line(struct candidates *list, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len), *about, *end;
	char *text;

	if (!space || !(isalpha((unsigned char)*line) || *line == '?'))
		return;
	about = memmem(line, len, " -- ", 4);
	text = about ? strndup(about + 4, line + len - about - 4) : NULL;
	list->failed |= about && !text;
	for (; line < space; line = end + 1) {
		end = memchr(line, '|', space - line);
		end = end ? end : space;
		if (end > line)
			candidates_add_prefixed(list, "", line, end - line, ' ', text);
	}
	free(text);
}

void candidates_parse_help(struct candidates *list, const char *text, bool info)
{
	static const char prefix[] = "info ";
	size_t len, skip = info ? sizeof(prefix) - 1 : 0;

	while (*text) {
		len = strcspn(text, "\r\n");
		if (len > skip && strncmp(text, prefix, skip) == 0)
			parse_line(list, text + skip, len - skip);
		text += len + strspn(text + len, "\r\n");
	}
	candidates_sort(list);
}
