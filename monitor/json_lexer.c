/* SPDX-License-Identifier: MIT */
#include "monitor/json_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * The lexer cuts a stream of bytes into tokens.  It is a state machine over classes of bytes, and
 * looks at each byte once, or twice where a byte ends the token before it.  A token that lies
 * within one feed is handed on where it lies; only one that does not is gathered in `held`.
 */

enum byte_class {
	CLASS_OTHER,            /* ASCII that means nothing outside of strings */
	CLASS_CONTROL, CLASS_TAB, CLASS_NEWLINE, CLASS_SPACE,
	CLASS_DQUOTE, CLASS_SQUOTE, CLASS_BACKSLASH,
	CLASS_LCURLY, CLASS_RCURLY, CLASS_LSQUARE, CLASS_RSQUARE, CLASS_COLON, CLASS_COMMA,
	CLASS_ZERO, CLASS_DIGIT, CLASS_MINUS, CLASS_PLUS, CLASS_DOT,
	CLASS_LETTER,           /* a to z */
	CLASS_LETTER_E, CLASS_UPPER_E,
	CLASS_HIGH,             /* bytes of multi-byte UTF-8 sequences */
	CLASS_NEVER,            /* 0xFE, 0xFF: in no UTF-8 text */
	CLASS_COUNT
};

static const uint8_t class_of[256] = {
	[0x00 ... 0x08] = CLASS_CONTROL, [0x0b ... 0x0c] = CLASS_CONTROL,
	[0x0e ... 0x1f] = CLASS_CONTROL,
	['\t'] = CLASS_TAB, ['\n'] = CLASS_NEWLINE, ['\r'] = CLASS_NEWLINE, [' '] = CLASS_SPACE,
	['"'] = CLASS_DQUOTE, ['\''] = CLASS_SQUOTE, ['\\'] = CLASS_BACKSLASH,
	['{'] = CLASS_LCURLY, ['}'] = CLASS_RCURLY,
	['['] = CLASS_LSQUARE, [']'] = CLASS_RSQUARE,
	[':'] = CLASS_COLON, [','] = CLASS_COMMA,
	['0'] = CLASS_ZERO, ['1' ... '9'] = CLASS_DIGIT,
	['-'] = CLASS_MINUS, ['+'] = CLASS_PLUS, ['.'] = CLASS_DOT,
	['a' ... 'd'] = CLASS_LETTER, ['e'] = CLASS_LETTER_E, ['f' ... 'z'] = CLASS_LETTER,
	['E'] = CLASS_UPPER_E,
	[0x80 ... 0xfd] = CLASS_HIGH, [0xfe ... 0xff] = CLASS_NEVER,
};

/*
 * What a byte does in a state: it goes on to another state (a number below STATE_COUNT), or ends a
 * token, which it is the last byte of (END) or which it follows (BEFORE).  The default, 0, is that
 * the byte fits nowhere: with it the bytes read so far are a stray token, and RECOVER follows.
 */
enum lexer_state {
	STRAY,                  /* no state: the default of the table */
	START,                  /* between tokens */
	RECOVER,                /* after a stray token: skips to something that may start anew */
	DSTRING, DSTRING_ESCAPE, SSTRING, SSTRING_ESCAPE,
	SIGN, ZERO, DIGITS, DOT, FRACTION, EXPONENT, EXPONENT_SIGN, EXPONENT_DIGITS,
	KEYWORD,
	STATE_COUNT
};

#define END     0x40
#define BEFORE  0x80
#define TOKEN_MASK 0x3f
#define RESTART (BEFORE | TOKEN_MASK)   /* START anew with this very byte */

#define UNLESS_MORE(token) [0 ... CLASS_COUNT - 1] = BEFORE | (token)
#define WITHIN_STRING(state) [0 ... CLASS_COUNT - 1] = (state), [CLASS_CONTROL] = STRAY, \
	[CLASS_TAB] = STRAY, [CLASS_NEWLINE] = STRAY, [CLASS_NEVER] = STRAY

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"

static const uint8_t transition[STATE_COUNT][CLASS_COUNT] = {
	[START] = {
		[CLASS_TAB] = START, [CLASS_NEWLINE] = START, [CLASS_SPACE] = START,
		[CLASS_LCURLY] = END | JSON_TOKEN_LCURLY,
		[CLASS_RCURLY] = END | JSON_TOKEN_RCURLY,
		[CLASS_LSQUARE] = END | JSON_TOKEN_LSQUARE,
		[CLASS_RSQUARE] = END | JSON_TOKEN_RSQUARE,
		[CLASS_COLON] = END | JSON_TOKEN_COLON,
		[CLASS_COMMA] = END | JSON_TOKEN_COMMA,
		[CLASS_DQUOTE] = DSTRING, [CLASS_SQUOTE] = SSTRING,
		[CLASS_MINUS] = SIGN, [CLASS_ZERO] = ZERO, [CLASS_DIGIT] = DIGITS,
		[CLASS_LETTER] = KEYWORD, [CLASS_LETTER_E] = KEYWORD,
	},
	/*
	 * Control characters and 0xFF reset the stream: a client that has lost track may send one,
	 * and be understood from there on.
	 */
	[RECOVER] = {
		[0 ... CLASS_COUNT - 1] = RECOVER,
		[CLASS_CONTROL] = RESTART, [CLASS_NEWLINE] = RESTART, [CLASS_NEVER] = RESTART,
		[CLASS_LCURLY] = RESTART, [CLASS_RCURLY] = RESTART,
		[CLASS_LSQUARE] = RESTART, [CLASS_RSQUARE] = RESTART,
		[CLASS_COLON] = RESTART, [CLASS_COMMA] = RESTART,
	},
	[DSTRING] = {
		WITHIN_STRING(DSTRING),
		[CLASS_BACKSLASH] = DSTRING_ESCAPE, [CLASS_DQUOTE] = END | JSON_TOKEN_STRING,
	},
	[DSTRING_ESCAPE] = { WITHIN_STRING(DSTRING) },
	[SSTRING] = {
		WITHIN_STRING(SSTRING),
		[CLASS_BACKSLASH] = SSTRING_ESCAPE, [CLASS_SQUOTE] = END | JSON_TOKEN_STRING,
	},
	[SSTRING_ESCAPE] = { WITHIN_STRING(SSTRING) },
	[SIGN] = { [CLASS_ZERO] = ZERO, [CLASS_DIGIT] = DIGITS },
	[ZERO] = {
		UNLESS_MORE(JSON_TOKEN_INTEGER),
		[CLASS_ZERO] = STRAY, [CLASS_DIGIT] = STRAY, [CLASS_DOT] = DOT,
	},
	[DIGITS] = {
		UNLESS_MORE(JSON_TOKEN_INTEGER),
		[CLASS_ZERO] = DIGITS, [CLASS_DIGIT] = DIGITS, [CLASS_DOT] = DOT,
		[CLASS_LETTER_E] = EXPONENT, [CLASS_UPPER_E] = EXPONENT,
	},
	[DOT] = { [CLASS_ZERO] = FRACTION, [CLASS_DIGIT] = FRACTION },
	[FRACTION] = {
		UNLESS_MORE(JSON_TOKEN_FLOAT),
		[CLASS_ZERO] = FRACTION, [CLASS_DIGIT] = FRACTION,
		[CLASS_LETTER_E] = EXPONENT, [CLASS_UPPER_E] = EXPONENT,
	},
	[EXPONENT] = {
		[CLASS_PLUS] = EXPONENT_SIGN, [CLASS_MINUS] = EXPONENT_SIGN,
		[CLASS_ZERO] = EXPONENT_DIGITS, [CLASS_DIGIT] = EXPONENT_DIGITS,
	},
	[EXPONENT_SIGN] = {
		[CLASS_ZERO] = EXPONENT_DIGITS, [CLASS_DIGIT] = EXPONENT_DIGITS,
	},
	[EXPONENT_DIGITS] = {
		UNLESS_MORE(JSON_TOKEN_FLOAT),
		[CLASS_ZERO] = EXPONENT_DIGITS, [CLASS_DIGIT] = EXPONENT_DIGITS,
	},
	[KEYWORD] = {
		UNLESS_MORE(JSON_TOKEN_KEYWORD),
		[CLASS_LETTER] = KEYWORD, [CLASS_LETTER_E] = KEYWORD,
	},
};

#pragma GCC diagnostic pop

/* A buffer that one long token has blown up is not kept for the short ones to come. */
#define HELD_KEEP 4096

void json_lexer_init(struct json_lexer *lexer)
{
	memset(lexer, 0, sizeof(*lexer));
	lexer->state = START;
}

void json_lexer_free(struct json_lexer *lexer)
{
	free(lexer->held);
}

/* Bounded, since the scan ends in time for a token to be one byte longer than it may at most. */
static bool hold(struct json_lexer *lexer, const char *bytes, size_t len)
{
	size_t need = lexer->held_len + len, size = lexer->held_size ? lexer->held_size : 256;
	char *held;

	if (need > lexer->held_size) {
		while (size < need)
			size *= 2;
		held = realloc(lexer->held, size);
		if (!held)
			return false;
		lexer->held = held;
		lexer->held_size = size;
	}
	memcpy(lexer->held + lexer->held_len, bytes, len);
	lexer->held_len = need;
	return true;
}

static void drop_held(struct json_lexer *lexer)
{
	lexer->held_len = 0;
	if (lexer->held_size > HELD_KEEP) {
		free(lexer->held);
		lexer->held = NULL;
		lexer->held_size = 0;
	}
}

static bool out_of_memory(struct json_lexer *lexer, json_token_fn *fn, void *opaque)
{
	lexer->broken = true;
	drop_held(lexer);
	return fn(opaque, JSON_TOKEN_NO_MEMORY, "", 0);
}

/* Hands on the token that is made of what is held and the `len` bytes at `text`. */
static bool emit(struct json_lexer *lexer, enum json_token type, const char *text, size_t len,
		 json_token_fn *fn, void *opaque)
{
	bool go_on;

	lexer->state = type == JSON_TOKEN_STRAY ? RECOVER : START;
	if (!lexer->held_len)
		return fn(opaque, type, text, len);
	if (!hold(lexer, text, len))
		return out_of_memory(lexer, fn, opaque);
	go_on = fn(opaque, type, lexer->held, lexer->held_len);
	drop_held(lexer);
	return go_on;
}

size_t json_lexer_feed(struct json_lexer *lexer, const char *bytes, size_t len,
		       json_token_fn *fn, void *opaque)
{
	const char *end = bytes + len, *p = bytes, *start = bytes, *stop;

	while (p < end && !lexer->broken) {
		uint8_t next = transition[lexer->state][class_of[(unsigned char)*p]];
		size_t room;

		if (lexer->state == START)
			start = p;
		if (next == RESTART) {
			lexer->state = START;
			continue;
		}
		if (next == STRAY || next >= STATE_COUNT) {
			enum json_token type = next == STRAY ? JSON_TOKEN_STRAY : next & TOKEN_MASK;

			if (!(next & BEFORE))
				p++;
			if (!emit(lexer, type, start, (size_t)(p - start), fn, opaque))
				return (size_t)(p - bytes);
			continue;
		}

		/* Most bytes leave the state as it is: the rest of the loop is for them. */
		lexer->state = next;
		stop = end;
		if (next != START && next != RECOVER) {
			room = JSON_MAX_BYTES - lexer->held_len - (size_t)(p - start);
			if ((size_t)(end - p) > room)
				stop = p + room + 1;
		}
		do
			p++;
		while (p < stop && transition[next][class_of[(unsigned char)*p]] == next);

		if (next != START && next != RECOVER &&
		    lexer->held_len + (size_t)(p - start) > JSON_MAX_BYTES) {
			drop_held(lexer);
			lexer->state = START;
			if (!fn(opaque, JSON_TOKEN_OVERLONG, "", 0))
				return (size_t)(p - bytes);
		}
	}
	if (lexer->state != START && lexer->state != RECOVER && !lexer->broken &&
	    !hold(lexer, start, (size_t)(p - start)))
		out_of_memory(lexer, fn, opaque);
	return len;
}

void json_lexer_end(struct json_lexer *lexer, json_token_fn *fn, void *opaque)
{
	uint8_t next = transition[lexer->state][CLASS_SPACE];

	if (lexer->held_len && (next & BEFORE))
		emit(lexer, next & TOKEN_MASK, "", 0, fn, opaque);
	drop_held(lexer);
	lexer->state = START;
}
