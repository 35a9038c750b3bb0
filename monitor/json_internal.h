/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_JSON_INTERNAL_H
#define MONITOR_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/json.h"

/* Shared by the files that implement monitor/json.h. */

/* QEMU's limits; clients have come to rely on the first, tests of other monitors on all. */
#define JSON_MAX_BYTES  ((size_t)64 << 20)      /* of a token, and of a message's tokens */
#define JSON_MAX_TOKENS ((size_t)2 << 20)       /* of a message */
#define JSON_MAX_DEPTH  1024

enum json_token {
	JSON_TOKEN_LCURLY, JSON_TOKEN_RCURLY, JSON_TOKEN_LSQUARE, JSON_TOKEN_RSQUARE,
	JSON_TOKEN_COLON, JSON_TOKEN_COMMA,
	JSON_TOKEN_STRING,              /* with its quotes; escapes not looked into */
	JSON_TOKEN_INTEGER, JSON_TOKEN_FLOAT, JSON_TOKEN_KEYWORD,
	JSON_TOKEN_STRAY,               /* no token: what was read, to a byte that does not fit */
	JSON_TOKEN_OVERLONG,            /* longer than JSON_MAX_BYTES */
	JSON_TOKEN_NO_MEMORY,           /* the lexer takes nothing more after this one */
};

/*
 * Called for each token.  `text` is not NUL-terminated and gone after the call.  Returning false
 * stops the lexer behind (for numbers and keywords: in front of) the byte that ended the token.
 */
typedef bool json_token_fn(void *opaque, enum json_token type, const char *text, size_t len);

struct json_lexer {
	uint8_t state;
	bool broken;            /* out of memory in the middle of a token */
	char *held;             /* the first part of a token, from earlier feeds */
	size_t held_len, held_size;
};

void json_lexer_init(struct json_lexer *lexer);
void json_lexer_free(struct json_lexer *lexer);
/* Returns how many bytes it has consumed; fewer than `len` only when `fn` said stop. */
size_t json_lexer_feed(struct json_lexer *lexer, const char *bytes, size_t len,
		       json_token_fn *fn, void *opaque);
/* Completes a pending number or keyword; anything else half read is forgotten. */
void json_lexer_end(struct json_lexer *lexer, json_token_fn *fn, void *opaque);

/*
 * What a token stands for.  They return -1 after writing what is wrong with it to error[size].
 */
int json_decode_string(struct json_value *value, const char *text, size_t len,
		       char *error, size_t size);
int json_decode_number(struct json_value *value, bool is_integer, const char *text, size_t len,
		       char *error, size_t size);

/*
 * Decodes one UTF-8 sequence of s[len], len > 0.  Returns its code point, or -1 when it is
 * malformed, overlong (C0 80 is let through: it stands for U+0000 in strings that end in a NUL), a
 * surrogate or a noncharacter.  *used is the length of the sequence either way, at least 1.
 */
int json_utf8_decode(const char *s, size_t len, size_t *used);

/* Writes `code` to out[4].  Returns its length; 0 if json_utf8_decode() would not return it. */
size_t json_utf8_encode(char *out, int code);

#endif
