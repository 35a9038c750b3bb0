/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "monitor/json.h"

/*
 * libFuzzer: the first byte says in what pieces the rest is fed.  What comes out may not depend on
 * that, and every value must survive being written and parsed again, compact and in lines.
 */

/* All that a parser says, in order: values written anew, and errors as strings. */
struct record {
	struct json_writer w;
	unsigned int calls;
	unsigned int stop_every;        /* 0: never */
	bool check;                     /* each value's round trip */
};

static bool note(void *opaque, struct json_value *value, const char *error);

static void parse(struct record *record, const char *bytes, size_t len, size_t piece)
{
	struct json_parser *parser = json_parser_new(note, record);
	size_t done = 0, now, used;

	CHECK(parser);
	while (done < len) {
		now = len - done < piece ? len - done : piece;
		used = json_parser_feed(parser, bytes + done, now);
		CHECK(used <= now && (used == now || record->stop_every));
		done += used;
	}
	json_parser_end(parser);
	json_parser_free(parser);
	CHECK(!record->w.failed);
}

/* A negative number too small for a double is written as -0, and read as the integer 0. */
static bool has_negative_zero(const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if (text[i] == '-' && text[i + 1] == '0' && (i + 2 == len || text[i + 2] != '.'))
			return true;
	return false;
}

static void check_round_trip(const struct json_value *value)
{
	struct json_writer compact, pretty;
	struct record again = { 0 };
	int i;

	json_writer_init(&compact, false);
	json_writer_init(&pretty, true);
	json_write_value(&compact, NULL, value);
	json_write_raw(&pretty, NULL, compact.text, compact.len);
	for (i = 0; i < 2 && !has_negative_zero(compact.text, compact.len); i++) {
		const struct json_writer *w = i ? &pretty : &compact;

		memset(&again, 0, sizeof(again));
		parse(&again, w->text, w->len, w->len);
		CHECK(again.calls == 1);
		CHECK(again.w.len == compact.len);
		CHECK(!memcmp(again.w.text, compact.text, compact.len));
		json_writer_free(&again.w);
	}
	/* Breaking lines afterwards, or while writing: the same. */
	json_writer_init(&again.w, true);
	json_write_value(&again.w, NULL, value);
	CHECK(again.w.len == pretty.len && !memcmp(again.w.text, pretty.text, pretty.len));
	json_writer_free(&again.w);
	json_writer_free(&compact);
	json_writer_free(&pretty);
}

static bool note(void *opaque, struct json_value *value, const char *error)
{
	struct record *record = opaque;

	CHECK(!value == !!error);
	if (error)
		json_write_string(&record->w, NULL, error);
	else
		json_write_value(&record->w, NULL, value);
	if (value && record->check)
		check_round_trip(value);
	record->calls++;
	return !record->stop_every || record->calls % record->stop_every;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record whole = { .check = true }, pieces = { 0 };
	const char *bytes = (const char *)data + 1;

	if (!size)
		return 0;
	pieces.stop_every = data[0] >> 5;
	parse(&whole, bytes, size - 1, SIZE_MAX);
	parse(&pieces, bytes, size - 1, (data[0] & 31) + 1u);
	CHECK(whole.calls == pieces.calls);
	CHECK(whole.w.len == pieces.w.len);
	CHECK(!whole.w.len || !memcmp(whole.w.text, pieces.w.text, whole.w.len));
	json_writer_free(&whole.w);
	json_writer_free(&pieces.w);
	return 0;
}
