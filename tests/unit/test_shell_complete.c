/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/shell/complete.h"
#include "monitor/shell/values.h"
#include "tests/unit/shell_fixture.h"
#include "tests/unit/suites.h"

static struct schema *schema;
static struct candidates local, hmp, info;

static const struct candidates *get_hmp(void *opaque, bool of_info)
{
	(void)opaque;
	return of_info ? &info : &hmp;
}

/* A small object tree. */
static bool ask(void *opaque, const char *command, const char *name, const char *value,
		struct json_value *returned)
{
	(void)opaque;
	if (strcmp(command, "qom-list-types") == 0) {
		/* Not asked for `abstract`, so without a type. */
		ck_assert(!name || strcmp(name, "implements") == 0);
		*returned = shell_fixture_value(!name ? "[{'name': 'all'}]" :
						strcmp(value, "device") == 0 ?
						"[{'name': 'e1000'}, {'name': 'edu'}]" :
						"[{'name': 'rng-random'}]");
		return true;
	}
	if (strcmp(command, "device-list-properties") == 0) {
		ck_assert_str_eq(name, "typename");
		ck_assert_str_eq(value, "e1000");
		*returned = shell_fixture_value("[{'name': 'mac', 'type': 'str'},"
						"{'name': 'multi', 'type': 'bool'}]");
		return true;
	}
	ck_assert_str_eq(command, "qom-list");
	ck_assert_str_eq(name, "path");
	if (strcmp(value, "/") == 0)
		*returned = shell_fixture_value("[{'name': 'machine', 'type': 'child<m>'},"
						"{'name': 'type', 'type': 'string'}]");
	else if (strcmp(value, "/machine") == 0)
		*returned = shell_fixture_value("[{'name': 'unattached', 'type': 'child<c>'},"
						"{'name': 'smm', 'type': 'bool'}]");
	else
		return false;
	return true;
}

static void setup(void)
{
	struct json_value value = shell_fixture_value("["
		"{'name': 'qom-get', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '0',"
		" 'description': 'Gets it.  More.'},"
		"{'name': 'qom-set', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '0'},"
		"{'name': 'save', 'meta-type': 'command', 'arg-type': '2', 'ret-type': '0'},"
		"{'name': 'STOP', 'meta-type': 'event', 'arg-type': '0'},"
		"{'name': '1', 'meta-type': 'object', 'members': ["
		" {'name': 'path', 'type': 'str'}, {'name': 'property', 'type': 'str'}]},"
		"{'name': '2', 'meta-type': 'object', 'members': ["
		" {'name': 'filename', 'type': 'str'}, {'name': 'fast', 'type': 'bool'},"
		" {'name': 'modes', 'type': '[Mode]'}, {'name': 'sub', 'type': '3'},"
		" {'name': 'items', 'type': '[3]', 'default': null}]},"
		"{'name': 'set', 'meta-type': 'command', 'arg-type': '4', 'ret-type': '0'},"
		"{'name': '4', 'meta-type': 'object', 'members': ["
		" {'name': 'mode', 'type': 'Mode'},"
		" {'name': 'quick', 'type': 'bool', 'default': null},"
		" {'name': 'filename', 'type': 'str'}]},"
		"{'name': '3', 'meta-type': 'object', 'members': ["
		" {'name': 'mode', 'type': 'Mode'}]},"
		"{'name': 'either', 'meta-type': 'command', 'arg-type': '5', 'ret-type': '0'},"
		"{'name': '5', 'meta-type': 'object', 'members': ["
		" {'name': 'value', 'type': '6'}]},"
		"{'name': '6', 'meta-type': 'alternate', 'members': ["
		" {'type': 'Mode'}, {'type': '6'}, {'type': '6'}]},"
		"{'name': 'dots', 'meta-type': 'command', 'arg-type': '7', 'ret-type': '0'},"
		"{'name': '7', 'meta-type': 'object', 'members': ["
		" {'name': 'x.y', 'type': 'Mode'}, {'name': 'x', 'type': '3'}]},"
		"{'name': 'device_add', 'meta-type': 'command', 'arg-type': '8', 'ret-type': '0'},"
		"{'name': '8', 'meta-type': 'object', 'members': ["
		" {'name': 'driver', 'type': 'str'}]},"
		"{'name': 'object-add', 'meta-type': 'command', 'arg-type': '9', 'ret-type': '0'},"
		"{'name': '9', 'meta-type': 'object', 'members': ["
		" {'name': 'qom-type', 'type': 'str'}, {'name': 'typename', 'type': 'str'}]},"
		"{'name': '[3]', 'meta-type': 'array', 'element-type': '3'},"
		"{'name': '[Mode]', 'meta-type': 'array', 'element-type': 'Mode'},"
		"{'name': 'Mode', 'meta-type': 'enum', 'members': ["
		" {'name': 'full', 'description': 'All.'}, {'name': 'fuzzy'}, {'name': 'no'}],"
		" 'values': []},"
		"{'name': 'bool', 'meta-type': 'builtin', 'json-type': 'boolean'},"
		"{'name': 'str', 'meta-type': 'builtin', 'json-type': 'string'}]");

	schema = schema_new(&value, NULL);
	ck_assert_ptr_nonnull(schema);
	candidates_add(&local, "help", ' ', "help");
	candidates_add(&local, "events", ' ', "events");
	candidates_add(&local, "json", ' ', "json");
	candidates_add(&local, "watch", ' ', "watch");
	candidates_parse_help(&hmp, "info [sub] -- show\r\nquit|q  -- end it\r\n"
			      "sum addr size -- sum\r\n\t of what\r\n[odd\r\n", false);
	candidates_parse_help(&info, "info status  -- the state\r\ninfo mem -- mappings\r\n", true);
}

static void teardown(void)
{
	schema_free(schema);
	candidates_free(&local);
	candidates_free(&hmp);
	candidates_free(&info);
}

/* The candidates with the line in front of them, and | between. */
static void check(const char *line, const char *expected)
{
	const struct complete_source source = {
		.schema = schema, .local = &local, .hmp = get_hmp, .ask = ask,
	};
	struct completion completion;
	struct text got = { 0 };

	complete_line(&completion, &source, line, strlen(line));
	text_printf(&got, "%.*s:", (int)completion.start, line);
	for (size_t i = 0; i < completion.list.count; i++) {
		const struct candidate *item = &completion.list.item[i];

		complete_quote(&got, &completion, item->text, strlen(item->text));
		text_printf(&got, "%.*s|", item->after ? 1 : 0, &item->after);
	}
	ck_assert_str_eq(got.bytes, expected);
	text_free(&got);
	candidates_free(&completion.list);
}

START_TEST(test_commands)
{
	check("q", ":q |qom-get |qom-set |quit |");
	check("  qom-g", "  :qom-get |");
	check("nothing", ":");
	check("help q", "help :q |qom-get |qom-set |quit |");
	check("help S", "help :STOP |");
	check("events ", "events :STOP |off |on |");
	check("json o", "json :off |on |");
	check("info ", "info :mem |status |");
	check("info mem ", "info mem :");
	check("hmp s", "hmp :sum |");
	check("hmp info s", "hmp info :status |");
	check("watch qom", "watch :qom-get |qom-set |");
	check("watch -n 2 info s", "watch -n 2 info :status |");
	check("{\"execute\": ", "{\"execute\": :");
}
END_TEST

START_TEST(test_arguments)
{
	check("save ", "save :fast=|filename=|items.|modes=|sub.|");
	check("save f", "save :fast=|filename=|");
	check("save fast=on ", "save fast=on :filename=|items.|modes=|sub.|");
	check("save fast=", "save fast=:off |on |");
	check("save modes=fu", "save modes=:full |fuzzy |");
	check("save modes=full,fu", "save modes=full,:full |fuzzy |");
	check("save modes=[full,n", "save modes=[full,:no |");
	check("save sub.", "save :sub.mode=|");
	check("save sub.mode=f", "save sub.mode=:full |fuzzy |");
	check("save modes.0=f", "save modes.0=:full |fuzzy |");
	check("save none=", "save none=:");
	check("watch save fa", "watch save :fast=|");
	/* One that is made of itself. */
	check("either value=fu", "either value=:full |fuzzy |");
}
END_TEST

/* A dot in a name, where another name may end. */
START_TEST(test_dots)
{
	check("dots ", "dots :x.|x.y=|");
	check("dots x.y=fu", "dots x.y=:full |fuzzy |");
	check("dots x.mode=fu", "dots x.mode=:full |fuzzy |");
	check("dots x.m", "dots :x.mode=|");
	check("dots x.y.z=", "dots x.y.z=:");
	check("dots y.", "dots :");
}
END_TEST

/* What only the server knows: its types, and the properties of a device that is to be added. */
START_TEST(test_types)
{
	check("device_add driver=e", "device_add driver=:e1000 |edu |");
	check("device_add e10", "device_add :e1000 |");
	check("device_add driver=e1000 m", "device_add driver=e1000 :mac=|multi=|");
	check("device_add e1000 ma", "device_add e1000 :mac=|");
	check("device_add id=x m", "device_add id=x :");
	check("object-add qom-type=", "object-add qom-type=:rng-random |");
	check("object-add typename=", "object-add typename=:all |");
}
END_TEST

START_TEST(test_items)
{
	check("save items.", "save :items.0.|");
	check("save items.0.", "save :items.0.mode=|");
	check("save items.0.mode=no items.", "save items.0.mode=no :items.0.|items.1.|");
	check("save items.0.mode=no items.0.", "save items.0.mode=no :");
	check("save items.1.mode=no items.", "save items.1.mode=no :items.0.|");
	check("save modes.", "save :modes.0=|");
	check("save modes.0=no modes.", "save modes.0=no :modes.1=|");
}
END_TEST

/* A value alone is that of the next argument that must be given; names come first. */
START_TEST(test_nameless)
{
	check("set ", "set :filename=|mode=|quick=|");
	check("set fu", "set :full |fuzzy |");
	check("set f", "set :filename=|");
	check("set quick=on fu", "set quick=on :full |fuzzy |");
	check("set mode=no fu", "set mode=no :");
	check("set no fu", "set no :");
	check("set no ", "set no :filename=|quick=|");
	check("set no x fu", "set no x :");
	check("qom-get /ma", "qom-get :/machine|");
	check("qom-get /machine s", "qom-get /machine :smm |");
	check("qom-get property=smm /machine/", "qom-get property=smm :/machine/unattached|");
	check("qom-get /machine ", "qom-get /machine :property=|");
	check("qom-get '/ma", "qom-get :'/machine|");
}
END_TEST

START_TEST(test_qom)
{
	check("qom-get path=", "qom-get path=:/|");
	check("qom-get path=/", "qom-get path=:/machine|");
	check("qom-get path=/machine/", "qom-get path=:/machine/unattached|");
	check("qom-get path=\"/ma", "qom-get path=:\"/machine|");
	check("qom-get path=/none/", "qom-get path=:");
	check("qom-get path=/machine property=", "qom-get path=/machine property=:smm |");
}
END_TEST

START_TEST(test_files)
{
	char directory[] = "/tmp/vmonsh-unit-XXXXXX", path[100], expected[200];

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a b", directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof(path), "%s/sub", directory);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "save filename=%s/", directory);
	snprintf(expected, sizeof(expected), "save filename=:%s/a\\ b |%s/sub/|", directory,
		 directory);
	check(path, expected);
	snprintf(path, sizeof(path), "save filename='%s/a", directory);
	snprintf(expected, sizeof(expected), "save filename=:'%s/a b |", directory);
	check(path, expected);
	snprintf(path, sizeof(path), "save filename=file:%s/s", directory);
	snprintf(expected, sizeof(expected), "save filename=:file:%s/sub/|", directory);
	check(path, expected);
	snprintf(path, sizeof(path), "rm -r %s", directory);
	ck_assert_int_eq(system(path), 0);
}
END_TEST

START_TEST(test_common)
{
	struct candidates list = { 0 };

	ck_assert_uint_eq(candidates_common(&list), 0);
	candidates_add(&list, "abc", ' ', NULL);
	ck_assert_uint_eq(candidates_common(&list), 3);
	candidates_add(&list, "abd", ' ', NULL);
	ck_assert_uint_eq(candidates_common(&list), 2);
	candidates_free(&list);
	/* Not half a character. */
	candidates_add(&list, "x\xc3\xa4", ' ', NULL);
	candidates_add(&list, "x\xc3\xb6", ' ', NULL);
	ck_assert_uint_eq(candidates_common(&list), 1);
	candidates_free(&list);
}
END_TEST

static void check_list(const struct candidates *list, unsigned int width, unsigned int rows,
		       const char *expected)
{
	struct style style = { .width = width };
	struct text text = { 0 };

	candidates_print(&text, &style, list, rows);
	ck_assert_str_eq(text.bytes, expected);
	text_free(&text);
}

START_TEST(test_listing)
{
	static const char *const numbered[] = { "d[10]", "d[9]", "d[1]" };
	struct candidates list = { 0 };

	candidates_add(&list, "b", ' ', "The second.  And more.");
	candidates_add(&list, "aa", ' ', "The first of\nall.");
	candidates_add(&list, "c\033", ' ', NULL);
	candidates_add(&list, "b", ' ', "Again.");
	candidates_sort(&list);
	ck_assert_uint_eq(list.count, 3);
	check_list(&list, 40, 10, "aa     The first of\nb      The second\nc\\x1b\n");
	check_list(&list, 17, 10, "aa     The first\nb      The secon\nc\\x1b\n");
	/* No room for a line each: in columns; and cut. */
	check_list(&list, 14, 2, "aa     c\\x1b\nb\n");
	check_list(&list, 8, 2, "aa\nb\n(1 more)\n");
	candidates_free(&list);
	for (unsigned int i = 0; i < 3; i++)
		candidates_add(&list, numbered[i], ' ', NULL);
	candidates_sort(&list);
	check_list(&list, 40, 10, "d[1]   d[9]   d[10]\n");
	candidates_free(&list);
}
END_TEST

START_TEST(test_help_text)
{
	ck_assert_str_eq(candidates_find(&hmp, "quit")->about, "end it");
	ck_assert_str_eq(candidates_find(&hmp, "q")->about, "end it");
	ck_assert_str_eq(candidates_find(&info, "mem")->about, "mappings");
	ck_assert_ptr_null(candidates_find(&hmp, "of"));
	ck_assert_uint_eq(hmp.count, 4);
}
END_TEST

Suite *shell_complete_suite(void)
{
	Suite *suite = suite_create("shell_complete");
	TCase *tcase = tcase_create("complete");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_commands);
	tcase_add_test(tcase, test_arguments);
	tcase_add_test(tcase, test_items);
	tcase_add_test(tcase, test_dots);
	tcase_add_test(tcase, test_types);
	tcase_add_test(tcase, test_nameless);
	tcase_add_test(tcase, test_qom);
	tcase_add_test(tcase, test_files);
	tcase_add_test(tcase, test_common);
	tcase_add_test(tcase, test_listing);
	tcase_add_test(tcase, test_help_text);
	suite_add_tcase(suite, tcase);
	return suite;
}
