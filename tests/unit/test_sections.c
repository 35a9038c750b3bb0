/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "vmm/snapshot/crc32c.h"
#include "vmm/snapshot/sections.h"

START_TEST(bytes_are_little_endian)
{
	static const uint8_t expected[] = {
		0x12, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8, 7, 6, 5, 4, 3, 2, 1, 'a', 'b',
	};
	struct bytes_out out = { 0 };
	struct bytes_in in;
	char text[2];

	bytes_put_u8(&out, 0x12);
	bytes_put_u16(&out, 0x1234);
	bytes_put_u32(&out, 0x12345678);
	bytes_put_u64(&out, 0x0102030405060708);
	bytes_put(&out, "ab", 2);
	ck_assert(!out.failed);
	ck_assert_uint_eq(out.len, sizeof(expected));
	ck_assert_mem_eq(out.data, expected, sizeof(expected));

	in = (struct bytes_in){ .data = out.data, .len = out.len };
	ck_assert_uint_eq(bytes_get_u8(&in), 0x12);
	ck_assert_uint_eq(bytes_get_u16(&in), 0x1234);
	ck_assert_uint_eq(bytes_get_u32(&in), 0x12345678);
	ck_assert_uint_eq(bytes_get_u64(&in), 0x0102030405060708);
	ck_assert_uint_eq(bytes_left(&in), 2);
	bytes_get(&in, text, 2);
	ck_assert_mem_eq(text, "ab", 2);
	ck_assert_int_eq(bytes_in_end(&in, "it", NULL), 0);
	bytes_out_free(&out);
	ck_assert_ptr_null(out.data);
}
END_TEST

START_TEST(bytes_that_are_missing)
{
	static const uint8_t three[3] = { 1, 2, 3 };
	struct bytes_in in = { .data = three, .len = 3 };
	struct error err;
	uint8_t more[4] = { 9, 9, 9, 9 };

	ck_assert_int_eq(bytes_in_end(&in, "uart", &err), -1);
	ck_assert_str_eq(err.text, "uart: 3 bytes more than it should have");
	bytes_get(&in, more, 4);
	ck_assert_mem_eq(more, "\0\0\0\0", 4);
	ck_assert(in.failed);
	/* Also what would still fit is zero from here on: it would be something else's. */
	ck_assert_uint_eq(bytes_get_u8(&in), 0);
	ck_assert_ptr_null(bytes_take(&in, 1));
	ck_assert_ptr_nonnull(bytes_take(&in, 0));
	ck_assert_int_eq(bytes_in_end(&in, "uart", &err), -1);
	ck_assert_msg(strstr(err.text, "uart: it ends too early") != NULL, "%s", err.text);
	in = (struct bytes_in){ 0 };
	ck_assert_ptr_nonnull(bytes_take(&in, 0));
	ck_assert_ptr_null(bytes_take(&in, SIZE_MAX));
}
END_TEST

START_TEST(bytes_without_memory)
{
	struct bytes_out out = { 0 };
	unsigned int i;

	bytes_put_u8(&out, 1);
	alloc_fail_at(1);
	for (i = 0; i < 10000; i++)
		bytes_put_u32(&out, i);
	ck_assert(alloc_has_failed());
	alloc_fail_at(0);
	ck_assert(out.failed);
	ck_assert_uint_lt(out.len, 10000);
	bytes_put(&out, &out, SIZE_MAX);
	bytes_out_free(&out);
	bytes_put(&out, &out, SIZE_MAX);
	ck_assert(out.failed && !out.len);
}
END_TEST

static void refuse_name(struct sections *s, const char *name, uint32_t version, int code)
{
	struct error err = { 0 };

	ck_assert_ptr_null(sections_add(s, name, version, true, &err));
	ck_assert_int_eq(err.code, code);
}

START_TEST(names)
{
	struct sections s = { 0 };

	ck_assert_ptr_nonnull(sections_add(&s, "vcpu/0", 1, true, NULL));
	ck_assert_ptr_nonnull(sections_add(&s, "0123456789-123456789_123456789.", 1, true, NULL));
	refuse_name(&s, "0123456789-123456789_123456789.1", 1, EINVAL);
	refuse_name(&s, "", 1, EINVAL);
	refuse_name(&s, "new\nline", 1, EINVAL);
	refuse_name(&s, "\x1b[2J", 1, EINVAL);
	refuse_name(&s, "Upper", 1, EINVAL);
	refuse_name(&s, "vcpu/0", 2, EEXIST);
	refuse_name(&s, "ram", 1, EINVAL);
	refuse_name(&s, "end", 1, EINVAL);
	refuse_name(&s, "zero", 0, EINVAL);
	ck_assert_uint_eq(s.nr, 2);
	sections_free(&s);
	ck_assert_uint_eq(s.nr, 0);
}
END_TEST

START_TEST(claims)
{
	struct sections s = { 0 };
	struct error err;
	struct bytes_in in;

	ck_assert_int_eq(sections_claim(&s, "rtc", 1, &in, &err), 0);
	ck_assert_uint_eq(in.len, 0);
	bytes_put_u8(sections_add(&s, "rtc", 3, true, NULL), 5);
	sections_add(&s, "note", 1, false, NULL);
	sections_add(&s, "gpu", 1, true, NULL);
	ck_assert_int_eq(sections_claim(&s, "rtc", 2, &in, &err), -1);
	ck_assert_msg(strstr(err.text, "\"rtc\" has version 3") != NULL, "%s", err.text);
	ck_assert_msg(strstr(err.text, "up to 2") != NULL, "%s", err.text);
	ck_assert_int_eq(sections_all_known(&s, &err), -1);
	ck_assert_msg(strstr(err.text, "\"rtc\"") != NULL, "%s", err.text);
	ck_assert_int_eq(sections_claim(&s, "rtc", 4, &in, NULL), 3);
	ck_assert_uint_eq(bytes_get_u8(&in), 5);
	ck_assert_int_eq(bytes_in_end(&in, "rtc", NULL), 0);
	ck_assert_int_eq(sections_all_known(&s, &err), -1);
	ck_assert_msg(strstr(err.text, "\"gpu\"") != NULL, "%s", err.text);
	ck_assert_int_eq(sections_claim(&s, "gpu", 1, &in, NULL), 1);
	/* "note" is optional. */
	ck_assert_int_eq(sections_all_known(&s, NULL), 0);
	sections_free(&s);
}
END_TEST

START_TEST(completeness)
{
	struct sections s = { 0 };
	struct bytes_out *out = sections_add(&s, "a", 1, true, NULL);
	struct error err;
	uint8_t *data = calloc(1, SECTIONS_BYTES_MAX);

	bytes_put(out, data, SECTIONS_BYTES_MAX);
	ck_assert_int_eq(sections_complete(&s, NULL), 0);
	out = sections_add(&s, "b", 1, true, NULL);
	bytes_put_u8(out, 0);
	ck_assert_int_eq(sections_complete(&s, &err), -1);
	ck_assert_int_eq(err.code, E2BIG);
	bytes_out_free(out);
	ck_assert_int_eq(sections_complete(&s, NULL), 0);
	alloc_fail_at(1);
	bytes_put_u8(out, 0);
	ck_assert_int_eq(sections_complete(&s, &err), -1);
	ck_assert_int_eq(err.code, ENOMEM);
	ck_assert_msg(strstr(err.text, "\"b\"") != NULL, "%s", err.text);
	free(data);
	sections_free(&s);
}
END_TEST

START_TEST(how_many)
{
	struct sections s = { 0 };
	char name[16];
	unsigned int i;

	for (i = 0; i < SECTIONS_MAX; i++) {
		snprintf(name, sizeof(name), "vcpu/%u", i);
		ck_assert_ptr_nonnull(sections_add(&s, name, 1, true, NULL));
	}
	refuse_name(&s, "another", 1, E2BIG);
	sections_free(&s);
	for (i = 1; ; i++) {
		alloc_fail_at(i);
		if (sections_add(&s, "a", 1, true, NULL) && !alloc_has_failed())
			break;
		ck_assert_uint_eq(s.nr, 0);
	}
	alloc_fail_at(0);
	ck_assert_uint_eq(i, 2);
	sections_free(&s);
}
END_TEST

static uint32_t each_way(const void *data, size_t len)
{
	uint32_t plain = crc32c_plain(0, data, len);

	ck_assert_uint_eq(crc32c(0, data, len), plain);
	if (crc32c_have_instruction())
		ck_assert_uint_eq(crc32c_instruction(0, data, len), plain);
	return plain;
}

/* RFC 3720, B.4. */
START_TEST(crc_vectors)
{
	uint8_t data[32];
	unsigned int i;

	ck_assert_uint_eq(each_way("", 0), 0);
	ck_assert_uint_eq(each_way("123456789", 9), 0xe3069283);
	memset(data, 0, sizeof(data));
	ck_assert_uint_eq(each_way(data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	ck_assert_uint_eq(each_way(data, sizeof(data)), 0x62a8ab43);
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	ck_assert_uint_eq(each_way(data, sizeof(data)), 0x46dd794e);
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(31 - i);
	ck_assert_uint_eq(each_way(data, sizeof(data)), 0x113fdb5c);
}
END_TEST

START_TEST(crc_of_any_length)
{
	uint8_t data[96];
	size_t at, len;
	unsigned int i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (at = 0; at < 9; at++)
		for (len = 0; len < 80; len++) {
			each_way(data + at, len);
			ck_assert_uint_eq(crc32c(crc32c(0, data, at), data + at, len),
					  crc32c(0, data, at + len));
		}
}
END_TEST

Suite *sections_suite(void)
{
	Suite *s = suite_create("sections");
	TCase *t = tcase_create("sections");

	tcase_add_test(t, bytes_are_little_endian);
	tcase_add_test(t, bytes_that_are_missing);
	tcase_add_test(t, bytes_without_memory);
	tcase_add_test(t, names);
	tcase_add_test(t, claims);
	tcase_add_test(t, completeness);
	tcase_add_test(t, how_many);
	tcase_add_test(t, crc_vectors);
	tcase_add_test(t, crc_of_any_length);
	suite_add_tcase(s, t);
	return s;
}
