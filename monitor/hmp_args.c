/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_internal.h"

#define FORMAT_FIRST            'x'
#define FORMAT_SIZE_FIRST       4

const char *hmp_skip_spaces(const char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

/* The size in bytes that a letter stands for, 0 when it stands for none. */
static unsigned int format_size(char c)
{
	switch (c) {
	case 'b':
		return 1;
	case 'h':
		return 2;
	case 'w':
		return 4;
	case 'g':
	case 'L':
		return 8;
	default:
		return 0;
	}
}

/*
 * A count, then formats and sizes in any order, the last of each kind counting.  What is not given
 * is as it was the last time.
 */
static int parse_format(struct hmp *hmp, const char **p, struct hmp_args *args)
{
	const char *s = hmp_skip_spaces(*p);
	unsigned int size = 0;
	char format = 0, *end;

	args->count = 1;
	if (*s == '/') {
		s++;
		if (isdigit((unsigned char)*s)) {
			/* Saturates; the dump's own limit comes long before. */
			args->count = strtoul(s, &end, 10);
			s = end;
		}
		for (; *s && (strchr("oxudci", *s) || format_size(*s)); s++)
			if (format_size(*s))
				size = format_size(*s);
			else
				format = *s;
		if (*s && !isspace((unsigned char)*s)) {
			text_printf(hmp->out, "invalid char in format: '%c'\n", *s);
			return -1;
		}
	}
	if (!format)
		format = hmp->last_format ? hmp->last_format : FORMAT_FIRST;
	if (!size)
		size = hmp->last_size ? hmp->last_size : FORMAT_SIZE_FIRST;
	if (format != 'i') {
		hmp->last_format = format;
		hmp->last_size = size;
	}
	args->format = format;
	args->size = size;
	*p = s;
	return 0;
}

static int parse_number(struct hmp *hmp, const struct hmp_command *command, const char **p,
			bool index, uint64_t *value)
{
	if (hmp_eval(hmp, p, value) == -1)
		return -1;
	if (index && *value > UINT32_MAX) {
		text_printf(hmp->out, "'%s' has failed: integer is for 32-bit values\n",
			    command->names);
		return -1;
	}
	return 0;
}

bool hmp_has_flag(const struct hmp_args *args, char letter)
{
	return args->flags >> (letter - 'a') & 1;
}

static bool takes_flag(const struct hmp_command *command, char letter)
{
	for (unsigned int i = 0; i < HMP_ARGS_MAX; i++)
		if (command->args[i] == HMP_FLAG(letter))
			return letter >= 'a' && letter <= 'z';
	return false;
}

/* All that there are, in any order. */
static int parse_flags(struct hmp *hmp, const struct hmp_command *command, const char **p,
		       struct hmp_args *args)
{
	const char *s;

	for (s = hmp_skip_spaces(*p); *s == '-'; s = hmp_skip_spaces(*p)) {
		if (!takes_flag(command, s[1])) {
			text_printf(hmp->out, "%s: unsupported option -%.1s\n", command->names,
				    s + 1);
			return -1;
		}
		args->flags |= 1u << (s[1] - 'a');
		*p = s + 2;
	}
	return 0;
}

static int parse_on_off(struct hmp *hmp, const char **p, struct hmp_args *args)
{
	const char *s = hmp_skip_spaces(*p), *end = s;

	while (isalpha((unsigned char)*end))
		end++;
	args->on = end - s == 2 && memcmp(s, "on", 2) == 0;
	if (!args->on && !(end - s == 3 && memcmp(s, "off", 3) == 0)) {
		text_printf(hmp->out, "Expected 'on' or 'off'\n");
		return -1;
	}
	*p = end;
	return 0;
}

int hmp_parse_string(struct hmp *hmp, const char **p, char *buf, size_t size)
{
	const char *s = hmp_skip_spaces(*p);
	bool quoted = *s == '"';
	size_t len = 0;
	char c;

	if (!*s)
		return -1;
	for (s += quoted; *s && (quoted ? *s != '"' : !isspace((unsigned char)*s)); s++) {
		c = *s;
		if (quoted && c == '\\') {
			c = *++s;
			if (c == 'n') {
				c = '\n';
			} else if (c == 'r') {
				c = '\r';
			} else if (c != '\\' && c != '\'' && c != '"') {
				text_printf(hmp->out, "unsupported escape code: '\\%.1s'\n", s);
				return -1;
			}
		}
		if (len + 1 == size) {
			text_printf(hmp->out, "string of more than %zu characters\n", size - 1);
			return -1;
		}
		buf[len++] = c;
	}
	if (quoted && *s++ != '"') {
		text_printf(hmp->out, "unterminated string\n");
		return -1;
	}
	buf[len] = '\0';
	*p = s;
	return 0;
}

static int parse_arg(struct hmp *hmp, const struct hmp_command *command, enum hmp_arg arg,
		     const char **p, struct hmp_args *args)
{
	uint64_t value;

	switch (arg) {
	case HMP_ARG_NONE:
		break;
	case HMP_ARG_FORMAT:
		return parse_format(hmp, p, args);
	case HMP_ARG_INDEX_OPTIONAL:
		if (!*hmp_skip_spaces(*p))
			break;
		/* fall through */
	case HMP_ARG_INDEX:
		if (parse_number(hmp, command, p, true, &value) == -1)
			return -1;
		args->has_index = true;
		args->index = value;
		break;
	case HMP_ARG_NUMBER_OPTIONAL:
		if (!*hmp_skip_spaces(*p))
			break;
		/* fall through */
	case HMP_ARG_NUMBER:
		return parse_number(hmp, command, p, false, &args->number[args->nr_numbers++]);
	case HMP_ARG_STRING_OPTIONAL:
		if (!*hmp_skip_spaces(*p))
			break;
		/* fall through */
	case HMP_ARG_STRING:
	case HMP_ARG_WORD:
		if (arg != HMP_ARG_WORD ?
		    hmp_parse_string(hmp, p, args->string, sizeof(args->string)) == 0 :
		    hmp_parse_string(hmp, p, args->word, sizeof(args->word)) == 0)
			break;
		text_printf(hmp->out, "%s: string expected\n", command->names);
		return -1;
	case HMP_ARG_ON_OFF:
		return parse_on_off(hmp, p, args);
	case HMP_ARG_REST:
		args->rest = *p;
		*p += strlen(*p);
		break;
	default:
		return parse_flags(hmp, command, p, args);
	}
	return 0;
}

int hmp_parse_args(struct hmp *hmp, const struct hmp_command *command, const char *p,
		   struct hmp_args *args)
{
	for (unsigned int i = 0; i < HMP_ARGS_MAX; i++)
		if (parse_arg(hmp, command, command->args[i], &p, args) == -1)
			return -1;
	if (*hmp_skip_spaces(p)) {
		text_printf(hmp->out, "%s: extraneous characters at the end of line\n",
			    command->names);
		return -1;
	}
	return 0;
}
