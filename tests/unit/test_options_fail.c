/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/options.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"

/* Options that are right in themselves, and a system that is out of something. */

static char directory[] = "/tmp/vmond-options-XXXXXX";
static char config[64], argument[80];

static void setup(void)
{
	FILE *file;

	strcpy(strrchr(directory, '-') + 1, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(config, sizeof(config), "%s/vm.json", directory);
	snprintf(argument, sizeof(argument), "--config=%s", config);
	file = fopen(config, "w");
	ck_assert_ptr_nonnull(file);
	fputs("{\"name\": \"file\", \"initrd\": [\"a\", \"b\"], \"uuid\": "
	      "\"01234567-89ab-cdef-0123-456789abcdef\", \"append\": \"x\", \"paused\": true}", file);
	ck_assert_int_eq(fclose(file), 0);
}

static void teardown(void)
{
	unlink(config);
	ck_assert_int_eq(rmdir(directory), 0);
}

static enum options_result parse(struct options *options, struct error *err)
{
	char *argv[] = {
		argument, (char *)"--name=line", (char *)"--kernel", (char *)"k",
		(char *)"--monitor=unix:/a", (char *)"--monitor=unix:/b",
		(char *)"--monitor-allow=uid:0", (char *)"--smp=2", (char *)"--cpu=host",
		(char *)"--generation-id=auto", (char *)"--xen-hvm=blob32=/a",
	};

	return options_parse(options, sizeof(argv) / sizeof(argv[0]), argv, err);
}

START_TEST(test_no_memory)
{
	enum options_result result;
	struct options options;
	struct error err;
	unsigned int n = 0;

	do {
		err = (struct error){ .text = "" };
		alloc_fail_at(++n);
		result = parse(&options, &err);
		if (alloc_has_failed()) {
			ck_assert_msg(result == OPTIONS_FAILURE, "%u: %s", n, err.text);
			ck_assert_msg(err.code == ENOMEM && strstr(err.text, "out of memory"),
				      "%u: %s", n, err.text);
		}
		if (result == OPTIONS_OK) {
			ck_assert_str_eq(options.name, "line");
			ck_assert_str_eq(options.append, "x");
			ck_assert_uint_eq(options.initrd.count, 2);
			ck_assert_uint_eq(options.monitor.count, 2);
		}
		options_free(&options);
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_int_eq(result, OPTIONS_OK);
	ck_assert_uint_gt(n, 10);
}
END_TEST

START_TEST(test_config_fails)
{
	static const char *const calls[] = { "open", "read" };

	for (size_t i = 0; i < 2; i++) {
		struct error err = { .text = "" };
		struct options options;
		char text[128];

		call_fail(calls[i], 1, EIO);
		ck_assert_int_eq(parse(&options, &err), OPTIONS_FAILURE);
		snprintf(text, sizeof(text), "--config %s: Input/output error", config);
		ck_assert_str_eq(err.text, text);
		options_free(&options);
	}
	call_fail("read", 0, 0);
}
END_TEST

Suite *options_fail_suite(void)
{
	Suite *suite = suite_create("options_fail");
	TCase *tc = tcase_create("options_fail");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_no_memory);
	tcase_add_test(tc, test_config_fails);
	suite_add_tcase(suite, tc);
	return suite;
}
