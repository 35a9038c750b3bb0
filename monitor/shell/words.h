/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_WORDS_H
#define MONITOR_SHELL_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/error.h"

/*
 * A line as words.  They are separated by spaces and tabs; '...' takes everything literally, "..."
 * takes \" and \\, and a backslash outside of quotes the next character.  After NAME= a value that
 * begins with { or [ reaches, as it stands, to the bracket that closes it: JSON needs no further
 * quotes.
 */
struct word {
	char *text;             /* without the quotes */
	size_t equals;          /* in text: the first = that is not quoted; else WORD_NO_EQUALS */
	size_t start, end;      /* in the line */
	size_t value_start;     /* in the line: behind that =; else `start` */
	bool quoted;            /* some of the value (of the word, if it has no =) is in quotes */
};

#define WORD_NO_EQUALS ((size_t)-1)

struct words {
	struct word *word;
	size_t count;
	char open;              /* the quote or bracket that the line does not close; else 0 */
};

/*
 * Splits line[len].  -1 only when memory runs out; a line that ends inside quotes or brackets sets
 * `open`, and its last word is what is there of it.
 */
int words_split(struct words *words, const char *line, size_t len, struct error *err);

/* The words of a command line, which are words already. */
int words_from_argv(struct words *words, char *const *argv, int argc, struct error *err);

/* One more word, without any text, at `at` of the line. */
int words_add_empty(struct words *words, size_t at, struct error *err);

void words_free(struct words *words);

/* Whether a word is NAME=..., with this name. */
bool word_names(const struct word *word, const char *name);

/* The value of a word: what stands behind its =, or all of it. */
const char *word_value(const struct word *word);

#endif
