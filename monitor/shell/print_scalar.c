/* SPDX-License-Identifier: MIT */
#include "monitor/shell/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/values.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const paints[] = {
	[PAINT_KEY] = "\033[36m", [PAINT_STRING] = "\033[32m", [PAINT_NUMBER] = "\033[33m",
	[PAINT_WORD] = "\033[35m", [PAINT_HEAD] = "\033[1m", [PAINT_DIM] = "\033[2m",
	[PAINT_EVENT] = "\033[1;33m", [PAINT_ERROR] = "\033[1;31m", [PAINT_GOOD] = "\033[32m",
	[PAINT_CHANGED] = "\033[7m",
};

const char *paint_begin(const struct style *style, enum paint paint)
{
	return style->colour ? paints[paint] : "";
}

const char *paint_end(const struct style *style)
{
	return style->colour ? "\033[0m" : "";
}

void paint_line(struct text *out, const struct style *style, enum paint paint, const char *s)
{
	text_printf(out, "%s", paint_begin(style, paint));
	escape_line(out, s, strlen(s));
	text_printf(out, "%s", paint_end(style));
}

void print_space(struct text *out, unsigned int columns)
{
	text_printf(out, "%*s", (int)columns, "");
}

/* Sorted; names are compared without their case. */
static const char *const hex_names[] = {
	"addr", "address", "apic-base", "base", "cr0", "cr2", "cr3", "cr4", "db", "dr0", "dr1",
	"dr2", "dr3", "dr6", "dr7", "eax", "ebp", "ebx", "ecx", "edi", "edx", "efer", "eflags",
	"eip", "error-code", "esi", "esp", "fcw", "flags", "fsw", "ftw", "gpa", "gva", "hva",
	"iova", "last-opcode", "mask", "mxcsr", "paddr", "payload", "pc", "pdptrs", "r10", "r11",
	"r12", "r13", "r14", "r15", "r8", "r9", "rax", "rbp", "rbx", "rcx", "rdi", "rdx", "rflags",
	"rip", "rsi", "rsp", "selector", "vaddr", "xcr0",
};

static const char *const hex_ends[] = {
	"-addr", "-address", "-base", "-dp", "-flags", "-gpa", "-ip", "-mask", "-opcode", "-pc",
};

static int compare_name(const void *key, const void *name)
{
	return strcasecmp(key, *(const char *const *)name);
}

static bool wants_hex(const char *name, const struct json_value *parent)
{
	size_t len, end, i;

	if (!name)
		return false;
	if (strrchr(name, '.'))
		name = strrchr(name, '.') + 1;
	if (bsearch(name, hex_names, COUNT(hex_names), sizeof(hex_names[0]), compare_name))
		return true;
	len = strlen(name);
	for (i = 0; i < COUNT(hex_ends); i++) {
		end = strlen(hex_ends[i]);
		if (len > end && strcasecmp(name + len - end, hex_ends[i]) == 0)
			return true;
	}
	/* A segment's. */
	if (strcmp(name, "limit") == 0)
		return json_get(parent, "base");
	/* {"index": 0x10, "value": ...} is an MSR, {"xcr": 0, "value": ...} an XCR. */
	if (strcmp(name, "value") == 0)
		return json_get(parent, "index") || json_get(parent, "xcr");
	return strcmp(name, "index") == 0 && json_get(parent, "value");
}

/* The shortest decimal that reads back as the same number. */
static void print_double(struct text *out, double value)
{
	char digits[40];
	int precision;

	for (precision = 6; precision <= 17; precision++) {
		snprintf(digits, sizeof(digits), "%.*g", precision, value);
		if (strtod(digits, NULL) == value)
			break;
	}
	text_printf(out, "%s", digits);
}

static void print_list(struct text *out, const struct style *style, const char *name,
		       const struct json_value *list)
{
	size_t i;

	if (!list->array.count)
		text_printf(out, "[]");
	for (i = 0; i < list->array.count; i++) {
		text_printf(out, "%s", i ? ", " : "");
		print_scalar(out, style, name, NULL, &list->array.item[i]);
	}
}

void print_scalar(struct text *out, const struct style *style, const char *name,
		  const struct json_value *parent, const struct json_value *value)
{
	enum paint paint = PAINT_NUMBER;
	bool hex = false;

	switch (value->type) {
	case JSON_ARRAY:
		print_list(out, style, name, value);
		return;
	case JSON_OBJECT:
		text_printf(out, "{}");
		return;
	case JSON_STRING:
		if (!value->string.len)
			text_printf(out, "\"\"");
		escape_line(out, value->string.bytes, value->string.len);
		return;
	case JSON_NULL:
	case JSON_BOOL:
		paint = PAINT_WORD;
		break;
	default:
		hex = wants_hex(name, parent);
		break;
	}
	text_printf(out, "%s", paint_begin(style, paint));
	if (value->type == JSON_NULL)
		text_printf(out, "null");
	else if (value->type == JSON_BOOL)
		text_printf(out, value->boolean ? "true" : "false");
	else if (value->type == JSON_DOUBLE)
		print_double(out, value->real);
	else if (hex)
		text_printf(out, "0x%" PRIx64, value->uinteger);
	else if (value->type == JSON_INT)
		text_printf(out, "%" PRId64, value->integer);
	else
		text_printf(out, "%" PRIu64, value->uinteger);
	text_printf(out, "%s", paint_end(style));
}
