/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "daemon/options.h"
#include "tests/unit/suites.h"

/* The value of --xen-hvm. */

static enum options_result parse(struct options *options, const char *value, struct error *err)
{
	char option[] = "--xen-hvm", copy[128];

	strcpy(copy, value);
	return options_parse(options, 2, (char *const []){ option, copy }, err);
}

START_TEST(test_xen_hvm)
{
	static const struct {
		const char *text;
		struct xen_hvm_config config;
	} cases[] = {
		{ "blob32=a", { 0x40000000, 4, 17, { "a", NULL }, XEN_HVM_PATH_ANY } },
		{ "blob64=/b c=d", { 0x40000000, 4, 17, { NULL, "/b c=d" }, XEN_HVM_PATH_ANY } },
		{ "msr=0x40000200,blob32=a,blob64=b,version=3.4,path=kernel",
		  { 0x40000200, 3, 4, { "a", "b" }, XEN_HVM_PATH_KERNEL } },
		{ "path=user-space,version=65535.0,blob64=b,msr=1073741825",
		  { 0x40000001, 65535, 0, { NULL, "b" }, XEN_HVM_PATH_USER_SPACE } },
		{ "blob32=a,,b,,,,c,blob64=,,", { 0x40000000, 4, 17, { "a,b,,c", "," }, 0 } },
		{ "msr=0X4FFFFFFF,blob32=a", { 0x4fffffff, 4, 17, { "a", NULL }, 0 } },
	};
	const struct xen_hvm_config *expected = &cases[_i].config;
	struct xen_hvm_config config;
	char text[128];
	struct options o;

	ck_assert_int_eq(parse(&o, cases[_i].text, NULL), OPTIONS_OK);
	ck_assert_str_eq(o.xen_hvm, cases[_i].text);
	strcpy(text, o.xen_hvm);
	ck_assert_int_eq(option_parse_xen_hvm(text, &config, NULL), 0);
	ck_assert_uint_eq(config.msr, expected->msr);
	ck_assert_uint_eq(config.major, expected->major);
	ck_assert_uint_eq(config.minor, expected->minor);
	ck_assert_int_eq(config.path, expected->path);
	for (int i = 0; i < 2; i++) {
		if (expected->blob[i])
			ck_assert_str_eq(config.blob[i], expected->blob[i]);
		else
			ck_assert_ptr_null(config.blob[i]);
	}
	options_free(&o);
}
END_TEST

START_TEST(test_bad_xen_hvm)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{ "", "'' is not one of msr=, blob32=, blob64=, version= and path=" },
		{ "blob32=a,", "'' is not one of" }, { ",blob32=a", "'' is not one of" },
		{ "blob32", "'blob32' is not one of" }, { "blob=a", "'blob' is not one of" },
		{ "blob32=", "blob32 must name a file" }, { "blob64=,msr=1", "blob64=" },
		{ "blob32=a,blob32=b", "blob32 is given twice" },
		{ "msr=0x40000000,msr=0x40000000,blob32=a", "msr is given twice" },
		{ "msr=0x40000000", "needs blob32, blob64 or both" },
		{ "msr=,blob32=a", "msr must be a number of 32 bits" },
		{ "msr=0x,blob32=a", "msr must be" }, { "msr=-1,blob32=a", "msr must be" },
		{ "msr=+1,blob32=a", "msr must be" }, { "msr= 1,blob32=a", "msr must be" },
		{ "msr=0x140000000,blob32=a", "msr must be" },
		{ "msr=99999999999999999999,blob32=a", "msr must be" },
		{ "msr=0x40000000x,blob32=a", "msr must be" },
		{ "msr=0xc0000080,blob32=a", "MSR 0xc0000080 is not one of those" },
		{ "msr=0x4b564d00,blob32=a", "MSR 0x4b564d00 is one of KVM's own" },
		{ "version=4,blob32=a", "version must be two numbers, as in 4.17" },
		{ "version=4.,blob32=a", "version must be" },
		{ "version=.4,blob32=a", "version must be" },
		{ "version=4.5.6,blob32=a", "version must be" },
		{ "version=65536.0,blob32=a", "version must be" },
		{ "version=4.65536,blob32=a", "version must be" },
		{ "path=,blob32=a", "path must be kernel or user-space" },
		{ "path=any,blob32=a", "path must be" },
	};
	struct error err = { .code = 0 };
	struct options o;

	ck_assert_int_eq(parse(&o, cases[_i].text, &err), OPTIONS_USAGE);
	ck_assert_msg(strstr(err.text, cases[_i].reason), "%s", err.text);
	ck_assert_msg(!strncmp(err.text, "--xen-hvm ", 10), "%s", err.text);
	options_free(&o);
}
END_TEST

Suite *options_xen_suite(void)
{
	Suite *suite = suite_create("options_xen");
	TCase *tc = tcase_create("xen-hvm");

	tcase_add_loop_test(tc, test_xen_hvm, 0, 6);
	tcase_add_loop_test(tc, test_bad_xen_hvm, 0, 28);
	suite_add_tcase(suite, tc);
	return suite;
}
