/* SPDX-License-Identifier: MIT */
#include "monitor/shell/escape.h"

#include <string.h>
#include <wchar.h>

#include "monitor/json_internal.h"

/* Constant once anything is shown. */
static bool use_utf8;

void escape_use_utf8(bool utf8)
{
	use_utf8 = utf8;
}

/* Direction marks, joiners and spaces without width: they make text look like what it is not. */
static bool is_deceptive(int code)
{
	return code == 0xad || code == 0x61c || code == 0x180e || code == 0xfeff ||
	       (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2060 && code <= 0x206f) || code >= 0xe0000;
}

static bool is_shown(int code)
{
	if (code < 0x80)
		return code >= 0x20 && code != 0x7f;
	/* Of the other half's control characters wcwidth() says that they have no width. */
	return use_utf8 && !is_deceptive(code) && wcwidth((wchar_t)code) >= 0;
}

static void append_escape(struct text *out, int code, const char *s, size_t len)
{
	static const char letters[] = { ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	size_t i;

	if (code > 0 && (size_t)code < sizeof(letters) && letters[code]) {
		text_printf(out, "\\%c", letters[code]);
	} else if (code >= 0x10000) {
		text_printf(out, "\\U%08x", code);
	} else if (code >= 0x80) {
		text_printf(out, "\\u%04x", code);
	} else if (code >= 0) {
		text_printf(out, "\\x%02x", code);
	} else {
		for (i = 0; i < len; i++)
			text_printf(out, "\\x%02x", (unsigned char)s[i]);
	}
}

static void escape(struct text *out, const char *s, size_t len, bool block)
{
	size_t used, shown = 0, at = 0;
	int code;

	while (at < len) {
		code = json_utf8_decode(s + at, len - at, &used);
		if (is_shown(code) || (block && (code == '\n' || code == '\t'))) {
			at += used;
			continue;
		}
		text_append(out, s + shown, at - shown);
		if (!block || code != '\r' || at + 1 >= len || s[at + 1] != '\n')
			append_escape(out, code, s + at, used);
		at += used;
		shown = at;
	}
	text_append(out, s + shown, at - shown);
}

void escape_line(struct text *out, const char *s, size_t len)
{
	escape(out, s, len, false);
}

void escape_block(struct text *out, const char *s, size_t len)
{
	escape(out, s, len, true);
}

/* Columns of the character at the beginning of s[len], which is *used bytes long. */
static unsigned int character_columns(const char *s, size_t len, size_t *used)
{
	int code = json_utf8_decode(s, len, used);
	int width = code < 0x80 ? 1 : wcwidth((wchar_t)code);

	return width < 0 ? 1 : (unsigned int)width;
}

unsigned int escape_columns(const char *s, size_t len)
{
	unsigned int columns = 0;
	size_t used;

	for (; len; s += used, len -= used)
		columns += character_columns(s, len, &used);
	return columns;
}

unsigned int escape_line_columns(const char *s)
{
	struct text escaped = { 0 };
	unsigned int columns;

	escape_line(&escaped, s, strlen(s));
	columns = escape_columns(escaped.bytes, escaped.len);
	text_free(&escaped);
	return columns;
}

size_t escape_fit(const char *s, size_t len, unsigned int columns)
{
	unsigned int width;
	size_t at, used;

	for (at = 0; at < len; at += used) {
		width = character_columns(s + at, len - at, &used);
		if (width > columns)
			break;
		columns -= width;
	}
	return at;
}
