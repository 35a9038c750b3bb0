/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "monitor/shell/args.h"
#include "monitor/shell/values.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/shell_fixture.h"
#include "tests/unit/suites.h"

static struct schema *ours, *odd;

static void setup(void)
{
	ours = shell_fixture_schema();
	odd = shell_fixture_odd_schema();
}

static void teardown(void)
{
	schema_free(ours);
	schema_free(odd);
}

/* The arguments of a line as JSON, or what is wrong with it; in a static buffer. */
static const char *build(const struct schema *schema, const char *line)
{
	static char result[1000];
	struct words words;
	struct json_writer w;
	struct error err = { 0 };

	ck_assert_int_eq(words_split(&words, line, strlen(line), NULL), 0);
	json_writer_init(&w, false);
	json_write_object(&w, NULL);
	if (args_write(&w, schema, schema_find_meta(schema, words.word[0].text, "command"), &words,
		       1, &err) < 0) {
		ck_assert_int_ne(err.code, 0);
		snprintf(result, sizeof(result), "%s", err.text);
	} else {
		json_write_object_end(&w);
		ck_assert(!w.failed);
		snprintf(result, sizeof(result), "%.*s", (int)w.len, w.text);
	}
	json_writer_free(&w);
	words_free(&words);
	return result;
}

#define ARGUMENTS(inside) "{\"arguments\": {" inside "}}"

START_TEST(test_types)
{
	ck_assert_str_eq(build(ours, "stop"), "{}");
	ck_assert_str_eq(build(ours, "migrate uri=file:/x detach=on"),
			 ARGUMENTS("\"uri\": \"file:/x\", \"detach\": true"));
	ck_assert_str_eq(build(ours, "migrate uri=5 detach=no"),
			 ARGUMENTS("\"uri\": \"5\", \"detach\": false"));
	ck_assert_str_eq(build(ours, "memsave val=0x10 size=4K filename='a b'"),
			 ARGUMENTS("\"val\": 16, \"size\": 4096, \"filename\": \"a b\""));
	ck_assert_str_eq(build(ours, "set-action reboot=shutdown"),
			 ARGUMENTS("\"reboot\": \"shutdown\""));
	ck_assert_str_eq(build(ours, "memsave val=-1 size=18446744073709551615 filename=f"),
			 ARGUMENTS("\"val\": -1, \"size\": 18446744073709551615, "
				   "\"filename\": \"f\""));
}
END_TEST

START_TEST(test_integers)
{
	static const struct {
		const char *text, *value;
	} cases[] = {
		{ "0", "0" }, { "010", "10" }, { "0xFf", "255" }, { "1k", "1024" },
		{ "3M", "3145728" }, { "2G", "2147483648" }, { "0x1T", "1099511627776" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "-2K", "-2048" }, { "15E", "17293822569102704640" },
		{ "16E", NULL }, { "18446744073709551616", NULL }, { "-9223372036854775809", NULL },
		{ "", NULL }, { "-", NULL }, { "0x", NULL }, { "1KK", NULL }, { "1.5", NULL },
		{ "abc", NULL }, { "+1", NULL }, { " 1", NULL }, { "1 ", NULL },
	};
	char line[100], expected[100];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(line, sizeof(line), "list on=on numbers.0='%s'", cases[i].text);
		if (cases[i].value)
			snprintf(expected, sizeof(expected),
				 ARGUMENTS("\"on\": true, \"numbers\": [%s]"), cases[i].value);
		else
			snprintf(expected, sizeof(expected),
				 "list: numbers.0: '%s' is not of the type integer", cases[i].text);
		ck_assert_str_eq(build(odd, line), expected);
	}
}
END_TEST

START_TEST(test_lists)
{
	ck_assert_str_eq(build(ours, "qmp_capabilities enable=oob"),
			 ARGUMENTS("\"enable\": [\"oob\"]"));
	ck_assert_str_eq(build(ours, "qmp_capabilities enable=[oob]"),
			 ARGUMENTS("\"enable\": [\"oob\"]"));
	ck_assert_str_eq(build(ours, "qmp_capabilities enable=[\"oob\"]"),
			 ARGUMENTS("\"enable\": [\"oob\"]"));
	ck_assert_str_eq(build(ours, "qmp_capabilities enable=[]"),
			 ARGUMENTS("\"enable\": []"));
	ck_assert_str_eq(build(odd, "list numbers='1, 0x2,3K' on=off"),
			 ARGUMENTS("\"numbers\": [1, 2, 3072], \"on\": false"));
	ck_assert_str_eq(build(odd, "list numbers=1,b on=off"),
			 "list: numbers: 'b' is not of the type integer");
	ck_assert_str_eq(build(ours, "migrate-set-capabilities capabilities.0.capability=events "
			       "capabilities.0.state=on"),
			 ARGUMENTS("\"capabilities\": [{\"capability\": \"events\", "
				   "\"state\": true}]"));
	ck_assert_str_eq(build(odd, "list numbers.1=5 on=on"),
			 "list: 'numbers' is a list: its items are numbers.0, numbers.1, ...");
}
END_TEST

START_TEST(test_objects)
{
	ck_assert_str_eq(build(ours, "set-vcpu-registers cpu-index=0 registers.rip=0x7c08 "
			       "registers.rax=1"),
			 ARGUMENTS("\"cpu-index\": 0, \"registers\": {\"rip\": 31752, "
				   "\"rax\": 1}"));
	ck_assert_str_eq(build(ours, "set-vcpu-registers cpu-index=0 registers={\"rip\": 5}"),
			 ARGUMENTS("\"cpu-index\": 0, \"registers\": {\"rip\": 5}"));
	ck_assert_ptr_nonnull(strstr(build(ours, "set-vcpu-registers cpu-index=0 registers=5"),
				     "registers: '5' is not of the type VcpuRegisterValues"));
	ck_assert_str_eq(build(ours, "set-vcpu-registers cpu-index.x=0 registers.rip=1"),
			 "set-vcpu-registers: 'cpu-index' has nothing inside it");
	ck_assert_ptr_nonnull(strstr(build(ours, "set-vcpu-registers cpu-index=0 registers.rop=1"),
				     "no argument 'rop'; it takes rax, rbx"));
	/* A member whose name has a dot; members of variants. */
	ck_assert_str_eq(build(odd, "add type=file x.y=1 ratio=0.5"),
			 ARGUMENTS("\"type\": \"file\", \"x.y\": 1, \"ratio\": 0.5"));
}
END_TEST

START_TEST(test_alternates)
{
	ck_assert_str_eq(build(odd, "add type=file size=5"),
			 ARGUMENTS("\"type\": \"file\", \"size\": 5"));
	ck_assert_str_eq(build(odd, "add type=file size='5'"),
			 ARGUMENTS("\"type\": \"file\", \"size\": \"5\""));
	ck_assert_str_eq(build(odd, "add type=file size=null"),
			 ARGUMENTS("\"type\": \"file\", \"size\": null"));
	ck_assert_str_eq(build(odd, "add type=file size=big"),
			 ARGUMENTS("\"type\": \"file\", \"size\": \"big\""));
	ck_assert_str_eq(build(odd, "add type=file size.0.n=1"),
			 ARGUMENTS("\"type\": \"file\", \"size\": [{\"n\": 1}]"));
	ck_assert_str_eq(build(odd, "add type=file thing=on"),
			 ARGUMENTS("\"type\": \"file\", \"thing\": \"on\""));
	ck_assert_str_eq(build(odd, "add type=file thing=true"),
			 ARGUMENTS("\"type\": \"file\", \"thing\": true"));
	ck_assert_str_eq(build(odd, "add type=file thing={\"a\": [1]}"),
			 ARGUMENTS("\"type\": \"file\", \"thing\": {\"a\": [1]}"));
	ck_assert_str_eq(build(odd, "add type=file thing.a.0=0x10 thing.b='7'"),
			 ARGUMENTS("\"type\": \"file\", \"thing\": {\"a\": [16], \"b\": \"7\"}"));
	/* A type made of itself ends. */
	ck_assert_str_eq(build(odd, "loop l=x"), "loop: l: the server's schema is too deep");
}
END_TEST

START_TEST(test_unnamed)
{
	ck_assert_str_eq(build(ours, "migrate file:/x"), ARGUMENTS("\"uri\": \"file:/x\""));
	ck_assert_str_eq(build(ours, "migrate exec:cat>/x?a=b"),
			 ARGUMENTS("\"uri\": \"exec:cat>/x?a=b\""));
	ck_assert_str_eq(build(ours, "memsave 1 filename=f 2"),
			 ARGUMENTS("\"filename\": \"f\", \"val\": 1, \"size\": 2"));
	ck_assert_ptr_nonnull(strstr(build(ours, "migrate a b"), "'b' is not NAME=VALUE"));
	ck_assert_ptr_nonnull(strstr(build(ours, "stop now"), "'now' is not NAME=VALUE (hmp"));
	ck_assert_ptr_nonnull(strstr(build(ours, "stop --wait"), "'--wait' is not NAME=VALUE (an option"));
}
END_TEST

START_TEST(test_mistakes)
{
	ck_assert_str_eq(build(ours, "migrate"), "migrate: the argument uri is missing (string)");
	ck_assert_str_eq(build(ours, "migrate url=x"),
			 "migrate: no argument 'url'; it takes uri, blk, inc, detach, resume");
	ck_assert_str_eq(build(ours, "stop a=1"), "stop: takes no arguments ('a')");
	ck_assert_str_eq(build(ours, "set-action reboot=nope"),
			 "set-action: reboot: 'nope' is not of the type reset|shutdown");
	ck_assert_str_eq(build(ours, "migrate uri=a uri=b"),
			 "migrate: 'uri=b' is given twice");
	ck_assert_str_eq(build(ours, "migrate uri=a uri.x=b"),
			 "migrate: 'uri.x=b' does not fit what was given before");
	ck_assert_ptr_nonnull(strstr(build(ours, "migrate uri=x detach=maybe"),
				     "'maybe' is not of the type on|off"));
}
END_TEST

START_TEST(test_open)
{
	/* Properties of a device are not in the schema; without one, nothing is. */
	ck_assert_str_eq(build(odd, "device_add driver=e1000 id=n0 addr=0x5 multi=true"),
			 ARGUMENTS("\"driver\": \"e1000\", \"id\": \"n0\", \"addr\": 5, "
				   "\"multi\": true"));
	ck_assert_str_eq(build(NULL, "anything a=1 b=c d.e=[1]"),
			 ARGUMENTS("\"a\": 1, \"b\": \"c\", \"d\": {\"e\": [1]}"));
}
END_TEST

START_TEST(test_no_memory)
{
	char line[] = "set-vcpu-registers cpu-index=0 registers.rip=1";
	struct words words;
	struct json_writer w;
	struct error err;
	unsigned int n;
	bool failed;
	int rc;

	ck_assert_int_eq(words_split(&words, line, strlen(line), NULL), 0);
	for (n = 1;; n++) {
		alloc_fail_at(n);
		json_writer_init(&w, false);
		json_write_object(&w, NULL);
		rc = args_write(&w, ours, schema_find(ours, "set-vcpu-registers"), &words, 1, &err);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		if (!failed)
			break;
		ck_assert(rc < 0 || w.failed);
		json_writer_free(&w);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(n, 3);
	json_writer_free(&w);
	words_free(&words);
}
END_TEST

START_TEST(test_schema)
{
	struct json_value bad = shell_fixture_value("{}");
	struct error err;

	ck_assert_ptr_null(schema_new(&bad, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "no array"));
	ck_assert_ptr_null(schema_find(odd, "nothing"));
	ck_assert_ptr_null(schema_find(NULL, "add"));
	ck_assert_ptr_null(schema_find_meta(odd, "add", "event"));
	/* Members of the variants too. */
	ck_assert_ptr_nonnull(schema_member(odd, schema_find(odd, "1"), "ratio"));
	ck_assert_ptr_null(schema_member(odd, schema_find(odd, "1"), "n"));
}
END_TEST

static void check_type(const char *name, const char *expected)
{
	struct text text = { 0 };

	schema_print_type(&text, odd, schema_find(odd, name));
	ck_assert_str_eq(text.bytes, expected);
	text_free(&text);
}

/* As help shows them. */
START_TEST(test_type_names)
{
	check_type("str", "string");
	check_type("number", "number");
	check_type("bool", "on|off");
	check_type("null", "null");
	check_type("any", "value");
	check_type("2", "file|none");
	check_type("[int]", "list of integer");
	check_type("4", "integer or null or string or list of object");
	/* Made of itself: it has to end somewhere. */
	check_type("8", "list of list of list of list of list of list of list of list of value");
	check_type("nothing", "value");
}
END_TEST

Suite *shell_args_suite(void)
{
	Suite *suite = suite_create("shell_args");
	TCase *tcase = tcase_create("args");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_types);
	tcase_add_test(tcase, test_integers);
	tcase_add_test(tcase, test_lists);
	tcase_add_test(tcase, test_objects);
	tcase_add_test(tcase, test_alternates);
	tcase_add_test(tcase, test_unnamed);
	tcase_add_test(tcase, test_mistakes);
	tcase_add_test(tcase, test_open);
	tcase_add_test(tcase, test_no_memory);
	tcase_add_test(tcase, test_schema);
	tcase_add_test(tcase, test_type_names);
	suite_add_tcase(suite, tcase);
	return suite;
}
