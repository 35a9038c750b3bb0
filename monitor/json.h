/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_JSON_H
#define MONITOR_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON as QMP speaks it: a value tree for what comes in, an append-only writer for what goes out.
 * A JSON library does not do here, because the wire wants what libraries leave out: messages
 * without delimiters, single-quoted strings, integers up to 2^64 - 1 that survive the round trip,
 * and recovery after errors.
 *
 * Threads: a value or a writer belongs to one thread at a time.
 */

enum json_type {
	JSON_NULL, JSON_BOOL, JSON_INT, JSON_UINT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT
};

/* JSON_UINT is used only for integers above INT64_MAX. */
struct json_value {
	enum json_type type;
	union {
		bool boolean;
		int64_t integer;
		uint64_t uinteger;
		double real;
		struct {
			char *bytes;            /* NUL-terminated; may hold C0 80 for U+0000 */
			size_t len;
		} string;
		struct {
			struct json_value *item;
			size_t count;
		} array;
		struct {
			struct json_member *member;     /* in the order received */
			size_t count;
		} object;
	};
};

struct json_member {
	char *name;
	struct json_value value;
};

/* Frees what a value holds (not the value itself) and makes it JSON_NULL. */
void json_clear(struct json_value *value);

/* Member of an object by name; NULL when it is absent or `object` is no object. */
const struct json_value *json_get(const struct json_value *object, const char *name);

/* The type's name as QMP's error texts have it: "integer", "object". */
const char *json_type_name(enum json_type type);

/*
 * Incremental parser of a stream of values.  Feed bytes as they arrive; for each complete value or
 * error, `value` is called and the stream goes on.  On error, `value` is NULL and `error` the text
 * for the reply, such as "JSON parse error, expecting value".  The callee may keep a value by
 * copying *value and setting value->type to JSON_NULL; the parser clears it otherwise.  The
 * callback may not free the parser.  When it returns false, json_parser_feed() returns at once with
 * the number of bytes it has consumed; the rest may be fed later.
 *
 * Limits (bytes 64 MiB a token and a message, 2 Mi tokens, depth 1024) and recovery are QEMU's.
 */
typedef bool json_parser_fn(void *opaque, struct json_value *value, const char *error);

struct json_parser;
struct json_parser *json_parser_new(json_parser_fn *fn, void *opaque);
void json_parser_free(struct json_parser *parser);
size_t json_parser_feed(struct json_parser *parser, const char *bytes, size_t len);
/*
 * The end of the stream: a pending top-level number or keyword is complete now.  A message that is
 * not is forgotten, as in QEMU.
 */
void json_parser_end(struct json_parser *parser);
/*
 * True after the error "out of memory" in the middle of a token: where the next one starts can not
 * be known any more, and the parser takes nothing more.  Close the stream.
 */
bool json_parser_is_broken(const struct json_parser *parser);

/*
 * Writer.  Appends JSON text to a growing buffer, with QMP's separators (", " and ": ") and ASCII
 * only.  A missing allocation is remembered and the text stays empty from then on; look at
 * `failed` once at the end.
 */
struct json_writer {
	char *text;             /* not NUL-terminated */
	size_t len, size;
	unsigned int depth;
	bool pretty;            /* 4 spaces a level and CRLF, as pretty=on asks for */
	bool need_comma;
	bool failed;
};

void json_writer_init(struct json_writer *w, bool pretty);
void json_writer_free(struct json_writer *w);

/*
 * `name` is the member's name inside an object, NULL inside an array or at the top.
 */
void json_write_object(struct json_writer *w, const char *name);
void json_write_object_end(struct json_writer *w);
void json_write_array(struct json_writer *w, const char *name);
void json_write_array_end(struct json_writer *w);
void json_write_null(struct json_writer *w, const char *name);
void json_write_bool(struct json_writer *w, const char *name, bool value);
void json_write_int(struct json_writer *w, const char *name, int64_t value);
void json_write_uint(struct json_writer *w, const char *name, uint64_t value);
/* 17 digits.  JSON has no infinity and no NaN: 1e999 and null stand for them. */
void json_write_double(struct json_writer *w, const char *name, double value);
/* `value` is UTF-8; bytes that are not become U+FFFD. */
void json_write_string(struct json_writer *w, const char *name, const char *value);
void json_write_string_len(struct json_writer *w, const char *name, const char *value, size_t len);
/* `json` is one complete value, already written (compact form). */
void json_write_raw(struct json_writer *w, const char *name, const char *json, size_t len);
/* CRLF behind a complete value; another may follow. */
void json_write_line_end(struct json_writer *w);
/* A parsed value again. */
void json_write_value(struct json_writer *w, const char *name, const struct json_value *value);

#endif
