/* SPDX-License-Identifier: MIT */
#include "monitor/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/json_internal.h"

/*
 * The parser makes a value tree as tokens come in.  After an error in a message nothing more is
 * kept of it, only the brackets are counted on to where it ends; so what a message costs in memory
 * is its values and never its tokens.
 */

/* What may come next inside a container. */
enum expect {
	EXPECT_FIRST,           /* a value or member, or the end */
	EXPECT_NAME,            /* a member's name, after a comma */
	EXPECT_COLON,
	EXPECT_VALUE,           /* after a colon or a comma */
	EXPECT_COMMA,           /* or the end */
};

/* A container whose end has not come. */
struct frame {
	struct json_value value;        /* its array or object, so far */
	size_t size;                    /* allocated items or members */
	char *name;                     /* of the member whose value comes next */
	enum expect expect;
};

struct json_parser {
	json_parser_fn *fn;
	void *opaque;
	struct json_lexer lexer;

	/* The message that is being read. */
	size_t bytes, tokens;
	int curly, square;              /* how many more opened than closed */
	bool failed;                    /* error[] says why */
	struct json_value root;
	struct frame *frame;            /* from the outermost in */
	size_t depth, frames;           /* used, allocated */

	/* QEMU cuts its own texts at 1023 bytes; only a stray token can be longer. */
	char error[sizeof("JSON parse error, ") + 1023];
};

/* Objects of more members are sorted to find duplicates; fewer are compared in pairs. */
#define FEW_MEMBERS 8

/* Up to so many bytes of a stray token are shown. */
#define STRAY_SHOWN 1000

struct json_parser *json_parser_new(json_parser_fn *fn, void *opaque)
{
	struct json_parser *parser = calloc(1, sizeof(*parser));

	if (!parser)
		return NULL;
	parser->fn = fn;
	parser->opaque = opaque;
	json_lexer_init(&parser->lexer);
	return parser;
}

static void drop_frames(struct json_parser *parser)
{
	while (parser->depth) {
		struct frame *frame = &parser->frame[--parser->depth];

		json_clear(&frame->value);
		free(frame->name);
	}
}

static void reset_message(struct json_parser *parser)
{
	drop_frames(parser);
	json_clear(&parser->root);
	parser->bytes = parser->tokens = 0;
	parser->curly = parser->square = 0;
	parser->failed = false;
}

void json_parser_free(struct json_parser *parser)
{
	if (!parser)
		return;
	reset_message(parser);
	json_lexer_free(&parser->lexer);
	free(parser->frame);
	free(parser);
}

static int compare_names(const void *a, const void *b)
{
	const struct json_member *const *left = a, *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

/* In n log n at most: the client chooses the names, so hashing would want a secret. */
static int find_duplicate(const struct json_value *object, bool *found)
{
	const struct json_member *member = object->object.member, **sorted;
	size_t count = object->object.count, i, j;

	*found = false;
	if (object->type != JSON_OBJECT)
		return 0;
	if (count <= FEW_MEMBERS) {
		for (i = 1; i < count; i++)
			for (j = 0; j < i; j++)
				if (!strcmp(member[i].name, member[j].name))
					*found = true;
		return 0;
	}
	sorted = malloc(count * sizeof(*sorted));
	if (!sorted)
		return -1;
	for (i = 0; i < count; i++)
		sorted[i] = &member[i];
	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (i = 1; i < count && !*found; i++)
		*found = !strcmp(sorted[i - 1]->name, sorted[i]->name);
	free(sorted);
	return 0;
}

static void set_error(struct json_parser *parser, const char *text)
{
	snprintf(parser->error, sizeof(parser->error), "JSON parse error, %s", text);
	parser->failed = true;
}

/*
 * The message is no good.  Duplicate names in the objects that are still open came before whatever
 * is wrong now, and the first error is the one to report.
 */
static void fail(struct json_parser *parser, const char *text)
{
	bool duplicate = false;
	size_t i;

	for (i = 0; i < parser->depth && !duplicate; i++)
		if (find_duplicate(&parser->frame[i].value, &duplicate) < 0)
			text = "out of memory";
	set_error(parser, duplicate ? "duplicate key" : text);
	drop_frames(parser);
}

static void open_container(struct json_parser *parser, enum json_type type)
{
	struct frame *frame;

	if (parser->depth == parser->frames) {
		size_t frames = parser->frames ? parser->frames * 2 : 16;

		frame = realloc(parser->frame, frames * sizeof(*frame));
		if (!frame) {
			fail(parser, "out of memory");
			return;
		}
		parser->frame = frame;
		parser->frames = frames;
	}
	frame = &parser->frame[parser->depth++];
	memset(frame, 0, sizeof(*frame));
	frame->value.type = type;
}

/* Makes room for one more item or member; both kinds of container have the same shape. */
static int grow(struct frame *frame)
{
	size_t size = frame->size ? frame->size * 2 : 4;
	bool is_array = frame->value.type == JSON_ARRAY;
	size_t count = is_array ? frame->value.array.count : frame->value.object.count;
	void *list;

	if (count < frame->size)
		return 0;
	if (is_array) {
		list = realloc(frame->value.array.item, size * sizeof(struct json_value));
		if (list)
			frame->value.array.item = list;
	} else {
		list = realloc(frame->value.object.member, size * sizeof(struct json_member));
		if (list)
			frame->value.object.member = list;
	}
	if (!list)
		return -1;
	frame->size = size;
	return 0;
}

/* A value is complete: puts it where it belongs, which may be as a member's name. */
static void add_value(struct json_parser *parser, struct json_value *value)
{
	struct frame *frame;

	if (!parser->depth) {
		parser->root = *value;
		return;
	}
	frame = &parser->frame[parser->depth - 1];
	if (frame->value.type == JSON_OBJECT && frame->expect != EXPECT_VALUE) {
		if (value->type != JSON_STRING) {
			json_clear(value);
			fail(parser, "key is not a string in object");
			return;
		}
		frame->name = value->string.bytes;
		frame->expect = EXPECT_COLON;
		return;
	}
	if (grow(frame) < 0) {
		json_clear(value);
		fail(parser, "out of memory");
		return;
	}
	if (frame->value.type == JSON_ARRAY) {
		frame->value.array.item[frame->value.array.count++] = *value;
	} else {
		frame->value.object.member[frame->value.object.count++] =
			(struct json_member){ .name = frame->name, .value = *value };
		frame->name = NULL;
	}
	frame->expect = EXPECT_COMMA;
}

static void close_container(struct json_parser *parser)
{
	struct frame *frame = &parser->frame[parser->depth - 1];
	struct json_value value = frame->value;
	bool duplicate;

	if (find_duplicate(&value, &duplicate) < 0) {
		fail(parser, "out of memory");
		return;
	}
	if (duplicate) {
		fail(parser, "duplicate key");
		return;
	}
	parser->depth--;
	add_value(parser, &value);
}

static void add_keyword(struct json_parser *parser, const char *text, size_t len)
{
	struct json_value value = { .type = JSON_NULL };
	char error[1024];

	if (len == 4 && !memcmp(text, "true", 4)) {
		value.type = JSON_BOOL;
		value.boolean = true;
	} else if (len == 5 && !memcmp(text, "false", 5)) {
		value.type = JSON_BOOL;
		value.boolean = false;
	} else if (len != 4 || memcmp(text, "null", 4)) {
		snprintf(error, sizeof(error), "invalid keyword '%.*s'",
			 (int)(len < sizeof(error) ? len : sizeof(error)), text);
		fail(parser, error);
		return;
	}
	add_value(parser, &value);
}

static void add_literal(struct json_parser *parser, enum json_token type, const char *text,
			size_t len)
{
	struct json_value value = { .type = JSON_NULL };
	char error[64];
	int ret;

	if (type == JSON_TOKEN_STRING)
		ret = json_decode_string(&value, text, len, error, sizeof(error));
	else
		ret = json_decode_number(&value, type == JSON_TOKEN_INTEGER, text, len,
					 error, sizeof(error));
	if (ret < 0)
		fail(parser, error);
	else
		add_value(parser, &value);
}

/* Takes the token if it is what stands between values; a value is wanted otherwise. */
static bool punctuation(struct json_parser *parser, enum json_token type)
{
	struct frame *frame = &parser->frame[parser->depth - 1];
	bool is_object = frame->value.type == JSON_OBJECT;

	switch (frame->expect) {
	case EXPECT_COLON:
		if (type == JSON_TOKEN_COLON)
			frame->expect = EXPECT_VALUE;
		else
			fail(parser, "missing : in object pair");
		return true;
	case EXPECT_FIRST:
	case EXPECT_COMMA:
		if (type == (is_object ? JSON_TOKEN_RCURLY : JSON_TOKEN_RSQUARE)) {
			close_container(parser);
			return true;
		}
		if (frame->expect == EXPECT_FIRST)
			return false;
		if (type == JSON_TOKEN_COMMA)
			frame->expect = is_object ? EXPECT_NAME : EXPECT_VALUE;
		else
			fail(parser, is_object ? "expected separator in dict" :
						 "expected separator in list");
		return true;
	case EXPECT_NAME:
	case EXPECT_VALUE:
		break;
	}
	return false;
}

static void build(struct json_parser *parser, enum json_token type, const char *text, size_t len)
{
	if (parser->depth && punctuation(parser, type))
		return;
	switch (type) {
	case JSON_TOKEN_LCURLY:
		open_container(parser, JSON_OBJECT);
		break;
	case JSON_TOKEN_LSQUARE:
		open_container(parser, JSON_ARRAY);
		break;
	case JSON_TOKEN_STRING:
	case JSON_TOKEN_INTEGER:
	case JSON_TOKEN_FLOAT:
		add_literal(parser, type, text, len);
		break;
	case JSON_TOKEN_KEYWORD:
		add_keyword(parser, text, len);
		break;
	default:
		fail(parser, "expecting value");
	}
}

/* What is left of a message after one of these errors is read as if it were the next. */
static bool give_up(struct json_parser *parser, const char *error)
{
	reset_message(parser);
	return parser->fn(parser->opaque, NULL, error);
}

static bool stray(struct json_parser *parser, const char *text, size_t len)
{
	char shown[STRAY_SHOWN + 16];

	if (len <= STRAY_SHOWN)
		snprintf(shown, sizeof(shown), "stray '%.*s'", (int)len, text);
	else
		snprintf(shown, sizeof(shown), "stray '%.*s...'", STRAY_SHOWN, text);
	set_error(parser, shown);
	return give_up(parser, parser->error);
}

static bool message_end(struct json_parser *parser)
{
	struct json_value value = parser->root;
	bool go_on;

	if (parser->failed)
		return give_up(parser, parser->error);
	parser->root.type = JSON_NULL;
	reset_message(parser);
	go_on = parser->fn(parser->opaque, &value, NULL);
	json_clear(&value);
	return go_on;
}

static bool take_token(void *opaque, enum json_token type, const char *text, size_t len)
{
	struct json_parser *parser = opaque;

	switch (type) {
	case JSON_TOKEN_LCURLY:
		parser->curly++;
		break;
	case JSON_TOKEN_RCURLY:
		parser->curly--;
		break;
	case JSON_TOKEN_LSQUARE:
		parser->square++;
		break;
	case JSON_TOKEN_RSQUARE:
		parser->square--;
		break;
	case JSON_TOKEN_STRAY:
		return stray(parser, text, len);
	case JSON_TOKEN_OVERLONG:
		return give_up(parser, "JSON token size limit exceeded");
	case JSON_TOKEN_NO_MEMORY:
		return give_up(parser, "out of memory");
	default:
		break;
	}
	if (len >= JSON_MAX_BYTES - parser->bytes)
		return give_up(parser, "JSON token size limit exceeded");
	if (parser->tokens == JSON_MAX_TOKENS)
		return give_up(parser, "JSON token count limit exceeded");
	if (parser->curly + parser->square > JSON_MAX_DEPTH)
		return give_up(parser, "JSON nesting depth limit exceeded");
	parser->bytes += len;
	parser->tokens++;

	if (!parser->failed)
		build(parser, type, text, len);
	if ((parser->curly > 0 || parser->square > 0) && parser->curly >= 0 && parser->square >= 0)
		return true;
	return message_end(parser);
}

size_t json_parser_feed(struct json_parser *parser, const char *bytes, size_t len)
{
	return json_lexer_feed(&parser->lexer, bytes, len, take_token, parser);
}

void json_parser_end(struct json_parser *parser)
{
	json_lexer_end(&parser->lexer, take_token, parser);
	reset_message(parser);
}

bool json_parser_is_broken(const struct json_parser *parser)
{
	return parser->lexer.broken;
}
