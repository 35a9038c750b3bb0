/* SPDX-License-Identifier: MIT */
#include "monitor/shell/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One word being read; `text` has room for the whole line. */
struct scan {
	const char *line;
	size_t len, at;
	struct word *word;
	size_t used;            /* of word->text */
	char open;
};

static void put(struct scan *scan, char c)
{
	scan->word->text[scan->used++] = c;
}

static void scan_single(struct scan *scan)
{
	while (scan->at < scan->len && scan->line[scan->at] != '\'')
		put(scan, scan->line[scan->at++]);
	if (scan->at == scan->len)
		scan->open = '\'';
	else
		scan->at++;
}

static void scan_double(struct scan *scan)
{
	char c;

	while (scan->at < scan->len && scan->line[scan->at] != '"') {
		c = scan->line[scan->at++];
		if (c == '\\' && scan->at < scan->len &&
		    (scan->line[scan->at] == '"' || scan->line[scan->at] == '\\'))
			c = scan->line[scan->at++];
		put(scan, c);
	}
	if (scan->at == scan->len)
		scan->open = '"';
	else
		scan->at++;
}

/* A string of JSON inside brackets, with its quotes; an apostrophe within a word is none. */
static void scan_json_string(struct scan *scan, char quote)
{
	char c = 0;

	put(scan, scan->line[scan->at++]);
	while (scan->at < scan->len && c != quote) {
		c = scan->line[scan->at++];
		put(scan, c);
		if (c == '\\' && scan->at < scan->len) {
			put(scan, scan->line[scan->at++]);
			c = 0;
		}
	}
	if (c != quote)
		scan->open = quote;
}

static void scan_brackets(struct scan *scan)
{
	size_t depth = 0;
	char c;

	do {
		c = scan->line[scan->at];
		if (c == '"' || c == '\'') {
			scan_json_string(scan, c);
			continue;
		}
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		put(scan, c);
		scan->at++;
	} while (depth && scan->at < scan->len);
	if (depth && !scan->open)
		scan->open = '{';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void scan_word(struct scan *scan)
{
	struct word *word = scan->word;
	char c;

	word->start = word->value_start = scan->at;
	word->equals = WORD_NO_EQUALS;
	while (scan->at < scan->len && !is_space(scan->line[scan->at])) {
		c = scan->line[scan->at];
		if (word->equals != WORD_NO_EQUALS && scan->at == word->value_start &&
		    (c == '{' || c == '[')) {
			scan_brackets(scan);
			continue;
		}
		scan->at++;
		if (c == '\'' || c == '"') {
			word->quoted = true;
			if (c == '"')
				scan_double(scan);
			else
				scan_single(scan);
		} else if (c == '\\') {
			word->quoted = true;
			if (scan->at < scan->len)
				put(scan, scan->line[scan->at++]);
			else
				scan->open = '\\';
		} else {
			if (c == '=' && word->equals == WORD_NO_EQUALS) {
				word->equals = scan->used;
				word->value_start = scan->at;
				word->quoted = false;
			}
			put(scan, c);
		}
	}
	word->end = scan->at;
	word->text[scan->used] = '\0';
}

static struct word *add_word(struct words *words, size_t size, struct error *err)
{
	struct word *grown = realloc(words->word, (words->count + 1) * sizeof(*grown)), *word;

	if (grown) {
		words->word = grown;
		word = &grown[words->count];
		memset(word, 0, sizeof(*word));
		word->text = malloc(size);
		if (word->text) {
			words->count++;
			return word;
		}
	}
	error_set(err, ENOMEM, "out of memory for a line");
	return NULL;
}

int words_split(struct words *words, const char *line, size_t len, struct error *err)
{
	struct scan scan = { .line = line, .len = len };
	char *fitting;

	memset(words, 0, sizeof(*words));
	for (;;) {
		while (scan.at < len && is_space(line[scan.at]))
			scan.at++;
		if (scan.at == len)
			break;
		scan.word = add_word(words, len - scan.at + 1, err);
		if (!scan.word) {
			words_free(words);
			return -1;
		}
		scan.used = 0;
		scan_word(&scan);
		fitting = realloc(scan.word->text, scan.used + 1);
		if (fitting)
			scan.word->text = fitting;
	}
	words->open = scan.open;
	return 0;
}

int words_from_argv(struct words *words, char *const *argv, int argc, struct error *err)
{
	struct word *word;
	const char *equals;
	int i;

	memset(words, 0, sizeof(*words));
	for (i = 0; i < argc; i++) {
		word = add_word(words, strlen(argv[i]) + 1, err);
		if (!word) {
			words_free(words);
			return -1;
		}
		strcpy(word->text, argv[i]);
		equals = strchr(argv[i], '=');
		word->equals = equals ? (size_t)(equals - argv[i]) : WORD_NO_EQUALS;
		word->end = strlen(argv[i]);
	}
	return 0;
}

int words_add_empty(struct words *words, size_t at, struct error *err)
{
	struct word *word = add_word(words, 1, err);

	if (!word)
		return -1;
	*word->text = '\0';
	word->start = word->end = word->value_start = at;
	word->equals = WORD_NO_EQUALS;
	return 0;
}

void words_free(struct words *words)
{
	while (words->count)
		free(words->word[--words->count].text);
	free(words->word);
	memset(words, 0, sizeof(*words));
}

bool word_names(const struct word *word, const char *name)
{
	size_t len = strlen(name);

	return word->equals == len && strncmp(word->text, name, len) == 0;
}

const char *word_value(const struct word *word)
{
	return word->equals == WORD_NO_EQUALS ? word->text : word->text + word->equals + 1;
}
