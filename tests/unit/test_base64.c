/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "monitor/base64.h"
#include "tests/unit/suites.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 4648, section 10. */
START_TEST(vectors)
{
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	};

	for (size_t i = 0; i < COUNT(pairs); i++) {
		size_t len = strlen(pairs[i][0]), size;
		char text[16] = "";
		uint8_t bytes[16];

		ck_assert_uint_eq(base64_length(len), strlen(pairs[i][1]));
		base64_encode((const uint8_t *)pairs[i][0], len, text);
		ck_assert_str_eq(text, pairs[i][1]);
		ck_assert(base64_decode(text, strlen(text), bytes, &size));
		ck_assert_uint_eq(size, len);
		ck_assert_int_eq(memcmp(bytes, pairs[i][0], len), 0);
	}
}
END_TEST

START_TEST(all_bytes)
{
	uint8_t bytes[256], back[258];
	char text[344];
	size_t size;

	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		base64_encode(bytes, len, text);
		ck_assert(base64_decode(text, base64_length(len), back, &size));
		ck_assert_uint_eq(size, len);
		ck_assert_int_eq(memcmp(bytes, back, len), 0);
	}
}
END_TEST

START_TEST(refused)
{
	static const char *const texts[] = {
		"Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zg=a", "=g==", "Zm9v\n", "Zm9 ",
		"Zm-v", "Zm_v", "Zm\x80v", "Zh==", "Zm9=", "Zm9vZ", "Z=9v",
	};
	uint8_t bytes[16];
	size_t size;

	for (size_t i = 0; i < COUNT(texts); i++)
		ck_assert_msg(!base64_decode(texts[i], strlen(texts[i]), bytes, &size), "%s",
			      texts[i]);
	ck_assert(!base64_decode("Zm\0v", 4, bytes, &size));
}
END_TEST

Suite *base64_suite(void)
{
	Suite *suite = suite_create("base64");
	TCase *tc = tcase_create("base64");

	tcase_add_test(tc, vectors);
	tcase_add_test(tc, all_bytes);
	tcase_add_test(tc, refused);
	suite_add_tcase(suite, tc);
	return suite;
}
