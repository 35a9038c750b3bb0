/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/shell/history.h"
#include "monitor/shell/notes.h"
#include "monitor/shell/options.h"
#include "monitor/shell/target.h"
#include "monitor/shell/values.h"
#include "monitor/shell/words.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The words of a line with | between them; those that are quoted have a ' behind. */
static void check_words(const char *line, const char *expected, char open)
{
	struct words words;
	char got[500] = "";

	ck_assert_int_eq(words_split(&words, line, strlen(line), NULL), 0);
	for (size_t i = 0; i < words.count; i++) {
		strcat(got, words.word[i].text);
		strcat(got, words.word[i].quoted ? "'|" : "|");
	}
	ck_assert_str_eq(got, expected);
	ck_assert_int_eq(words.open, open);
	words_free(&words);
}

START_TEST(test_quotes)
{
	check_words("", "", 0);
	check_words(" \t stop \n", "stop|", 0);
	check_words("a  b\tc", "a|b|c|", 0);
	check_words("a='b c' d=\"e \\\" \\\\ \\n\" f\\ g", "a=b c'|d=e \" \\ \\n'|f g'|", 0);
	check_words("'it''s' ''", "its'|'|", 0);
	check_words("a='b c", "a=b c'|", '\'');
	check_words("a=\"b c", "a=b c'|", '"');
	check_words("a\\", "a'|", '\\');
	/* Quotes in the name do not make the value quoted. */
	check_words("'a'=5", "a=5|", 0);
}
END_TEST

START_TEST(test_brackets)
{
	check_words("r={\"rip\": 5, 'x': [1, 2]} b", "r={\"rip\": 5, 'x': [1, 2]}|b|", 0);
	check_words("r={\"}\": \"\\\"} \"} b", "r={\"}\": \"\\\"} \"}|b|", 0);
	check_words("enable=[oob, x] b", "enable=[oob, x]|b|", 0);
	check_words("a={\"b\": ", "a={\"b\": |", '{');
	check_words("a={\"b", "a={\"b|", '"');
	/* Elsewhere a bracket is a character. */
	check_words("qom-get /machine/device[0] x={", "qom-get|/machine/device[0]|x={|", '{');
	check_words("a=b{c d", "a=b{c|d|", 0);
}
END_TEST

START_TEST(test_places)
{
	static const char line[] = "  set a\\ b='c d'e=f g";
	struct words words;

	ck_assert_int_eq(words_split(&words, line, strlen(line), NULL), 0);
	ck_assert_uint_eq(words.count, 3);
	ck_assert_uint_eq(words.word[0].start, 2);
	ck_assert_uint_eq(words.word[0].end, 5);
	ck_assert_uint_eq(words.word[0].equals, WORD_NO_EQUALS);
	ck_assert_str_eq(words.word[1].text, "a b=c de=f");
	ck_assert_uint_eq(words.word[1].equals, 3);
	ck_assert_uint_eq(words.word[1].value_start, 11);
	ck_assert_str_eq(word_value(&words.word[1]), "c de=f");
	ck_assert_str_eq(word_value(&words.word[2]), "g");
	words_free(&words);
}
END_TEST

START_TEST(test_argv)
{
	char *argv[] = { "memsave", "filename=/tmp/a b", "val='0'" };
	struct words words;

	ck_assert_int_eq(words_from_argv(&words, argv, 3, NULL), 0);
	ck_assert_str_eq(word_value(&words.word[1]), "/tmp/a b");
	ck_assert_str_eq(word_value(&words.word[2]), "'0'");
	ck_assert(!words.word[2].quoted);
	words_free(&words);
}
END_TEST

START_TEST(test_no_memory)
{
	struct words words;
	struct error err;

	alloc_fail_at(1);
	ck_assert_int_eq(words_split(&words, "a b", 3, &err), -1);
	alloc_fail_at(0);
	ck_assert_str_eq(err.text, "out of memory for a line");
	ck_assert_uint_eq(words.count, 0);
}
END_TEST

static enum shell_options_result parse(struct shell_options *options, struct error *err, int argc,
				       char **argv)
{
	return shell_options_parse(options, argc, argv, err);
}

#define PARSE(...) ({ \
	static char *argv_[] = { "vmonsh", __VA_ARGS__, NULL }; \
	parse(&options, &err, COUNT(argv_) - 1, argv_); \
})

START_TEST(test_options)
{
	struct shell_options options;
	struct error err;

	ck_assert_int_eq(PARSE("-s", "web", "-jk", "-c", "stop", "-c", "cont", "--timeout=1.5",
			       "--wait-event", "STOP", "info", "registers", "-a"),
			 SHELL_OPTIONS_OK);
	ck_assert_str_eq(options.target, "web");
	ck_assert(options.json && options.keep_going && !options.events && !options.wait);
	ck_assert_uint_eq(options.commands, 2);
	ck_assert_str_eq(options.command[1], "cont");
	ck_assert_uint_eq(options.timeout_ms, 1500);
	ck_assert_str_eq(options.wait_event, "STOP");
	/* What follows the command is the command's. */
	ck_assert_int_eq(options.words, 3);
	ck_assert_str_eq(options.word[2], "-a");
	shell_options_free(&options);

	ck_assert_int_eq(PARSE("--help"), SHELL_OPTIONS_HELP);
	ck_assert_int_eq(PARSE("-V"), SHELL_OPTIONS_VERSION);
}
END_TEST

START_TEST(test_bad_options)
{
	struct shell_options options;
	struct error err;

	ck_assert_int_eq(PARSE("-x"), SHELL_OPTIONS_USAGE);
	ck_assert_str_eq(err.text, "-x: unknown option; see vmonsh --help");
	ck_assert_int_eq(PARSE("--jsno"), SHELL_OPTIONS_USAGE);
	ck_assert_ptr_nonnull(strstr(err.text, "--jsno: unknown option"));
	ck_assert_int_eq(PARSE("-s"), SHELL_OPTIONS_USAGE);
	ck_assert_str_eq(err.text, "-s: needs a value; see vmonsh --help");
	ck_assert_int_eq(PARSE("--timeout", "1x"), SHELL_OPTIONS_USAGE);
	ck_assert_int_eq(PARSE("--timeout", "nan"), SHELL_OPTIONS_USAGE);
	ck_assert_int_eq(PARSE("--timeout", "0"), SHELL_OPTIONS_USAGE);
	ck_assert_int_eq(PARSE("-f", "a", "-f", "b"), SHELL_OPTIONS_USAGE);
	ck_assert_str_eq(err.text, "-f b: given twice");
}
END_TEST

static char directory[] = "/tmp/vmonsh-unit-XXXXXX";

static void make_directory(void)
{
	strcpy(directory, "/tmp/vmonsh-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	setenv("XDG_STATE_HOME", directory, 1);
	setenv("XDG_RUNTIME_DIR", directory, 1);
	unsetenv("VMOND_SOCKET");
}

static void remove_directory(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static void count_line(void *opaque, const char *line)
{
	char *all = opaque;

	if (all)
		strcat(strcat(all, line), "|");
}

START_TEST(test_history)
{
	char *path = history_path(), all[100] = "";
	struct stat st;

	ck_assert_ptr_nonnull(path);
	ck_assert_int_eq(strncmp(path, directory, strlen(directory)), 0);
	history_append(path, "stop");
	history_append(path, " secret");
	history_append(path, "");
	history_append(path, "cont");
	history_load(path, count_line, all);
	ck_assert_str_eq(all, "stop|cont|");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	free(path);
}
END_TEST

static void remember(void *opaque, const char *line)
{
	snprintf(opaque, 20, "%s", line);
}

START_TEST(test_long_history)
{
	char *path = history_path(), line[20];
	FILE *file;
	int n = 0;

	file = fopen(path, "w");
	for (int i = 0; i < 2 * HISTORY_LINES; i++)
		fprintf(file, "line %d\n", i);
	fclose(file);
	history_load(path, remember, line);
	ck_assert_str_eq(line, "line 1999");
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
	ck_assert_str_eq(line, "line 1000\n");
	while (fgets(line, sizeof(line), file))
		n++;
	ck_assert_int_eq(n, HISTORY_LINES - 1);
	fclose(file);
	free(path);
}
END_TEST

static void count_whole_line(void *opaque, const char *line)
{
	size_t *count = opaque;

	ck_assert_ptr_nonnull(line);
	ck_assert_int_eq(strncmp(line, "line ", 5), 0);
	++*count;
}

/* A line that there is no memory for is missed, and the others are what they are. */
START_TEST(test_history_without_memory)
{
	char *path = history_path();
	size_t count;
	FILE *file;

	file = fopen(path, "w");
	for (int i = 0; i < HISTORY_LINES + 5; i++)
		fprintf(file, "line %d\n", i);
	fclose(file);
	for (unsigned int n = 1; n <= HISTORY_LINES + 5; n += n == 1 ? HISTORY_LINES - 2 : 1) {
		count = 0;
		alloc_fail_at(n);
		history_load(path, count_whole_line, &count);
		ck_assert(alloc_has_failed());
		ck_assert_uint_eq(count, HISTORY_LINES);
	}
	alloc_fail_at(1);
	ck_assert_ptr_null(history_path());
	alloc_fail_at(0);
	free(path);
}
END_TEST

/* One that can not be cut stays as it is, and nothing is left beside it. */
START_TEST(test_history_that_stays)
{
	char *path = history_path(), *slash;
	struct stat before, after;
	size_t count = 0;
	FILE *file;
	DIR *dir;

	file = fopen(path, "w");
	for (int i = 0; i < 2 * HISTORY_LINES; i++)
		fprintf(file, "line %d\n", i);
	fclose(file);
	ck_assert_int_eq(stat(path, &before), 0);
	call_fail("rename", 1, EACCES);
	history_load(path, count_whole_line, &count);
	ck_assert(call_has_failed());
	call_fail("open", 2, EACCES);
	history_load(path, count_whole_line, &count);
	ck_assert(call_has_failed());
	call_fail("open", 1, EACCES);
	history_load(path, count_whole_line, &count);
	call_fail("open", 1, EACCES);
	history_append(path, "line new");
	ck_assert(call_has_failed());
	call_fail("open", 0, 0);
	ck_assert_uint_eq(count, 2 * HISTORY_LINES);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(after.st_ino, before.st_ino);
	ck_assert_int_eq(after.st_size, before.st_size);
	slash = strrchr(path, '/');
	*slash = '\0';
	dir = opendir(path);
	for (count = 0; readdir(dir); count++)
		;
	closedir(dir);
	ck_assert_uint_eq(count, 3);
	free(path);
}
END_TEST

START_TEST(test_history_place)
{
	char home[100], *path;

	/* A directory that can not be made: a file is in its way. */
	snprintf(home, sizeof(home), "%s/file/state", directory);
	setenv("XDG_STATE_HOME", home, 1);
	*strrchr(home, '/') = '\0';
	fclose(fopen(home, "w"));
	ck_assert_ptr_null(history_path());
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", directory, 1);
	path = history_path();
	snprintf(home, sizeof(home), "%s/.local/state/vmonsh/history", directory);
	ck_assert_str_eq(path, home);
	free(path);
	setenv("HOME", "relative", 1);
	ck_assert_ptr_null(history_path());
	/* Without a place there is no history. */
	history_load(NULL, remember, NULL);
	history_append(NULL, "x");
}
END_TEST

START_TEST(test_target)
{
	struct error err;
	char *path;

	path = target_find("./x", &err);
	ck_assert_str_eq(path, "./x");
	free(path);
	path = target_find("unix:/a/b", &err);
	ck_assert_str_eq(path, "/a/b");
	free(path);
	ck_assert_ptr_null(target_find("no-such-vm", &err));
	ck_assert_ptr_nonnull(strstr(err.text, "no-such-vm.sock"));
	setenv("VMOND_SOCKET", "/c/d", 1);
	path = target_find(NULL, &err);
	ck_assert_str_eq(path, "/c/d");
	free(path);
}
END_TEST

static void keep(struct notes *notes, const char *name)
{
	char text[100];
	struct json_value event;

	snprintf(text, sizeof(text), "{\"event\": \"%s\"}", name);
	ck_assert(value_parse(&event, text, strlen(text)));
	notes_keep(notes, name, &event, false);
	json_clear(&event);
}

START_TEST(test_notes)
{
	struct json_value later = { .type = JSON_BOOL };
	struct notes notes = { .awaited = "B" };
	struct note note;

	ck_assert(!notes_wants(&notes, "A"));
	ck_assert(notes_show(&notes, "A"));
	ck_assert(notes_wants(&notes, "A") && !notes_wants(&notes, "B"));
	keep(&notes, "A");
	keep(&notes, "B");
	keep(&notes, "A");
	ck_assert(!notes_take(&notes, "C", &note));
	ck_assert(notes_take(&notes, "B", &note));
	ck_assert_str_eq(note.json, "{\"event\": \"B\"}");
	note_free(&note);
	/* What came before went with it, the other A is still there; once. */
	ck_assert(!notes_take(&notes, "B", &note));
	ck_assert(notes_take(&notes, "A", &note));
	note_free(&note);
	ck_assert(!notes_take(&notes, "A", &note));
	/* The awaited one stays whatever is taken or forgotten. */
	notes_forget(&notes);
	notes_keep(&notes, "B", &later, false);
	ck_assert_str_eq(notes.found.json, "{\"event\": \"B\"}");
	notes_forget(&notes);
	for (int i = 0; i < NOTES_KEPT + 10; i++)
		keep(&notes, "X");
	ck_assert_uint_eq(notes.count, NOTES_KEPT);
	notes_free(&notes);
}
END_TEST

START_TEST(test_parse_value)
{
	struct json_value value;

	ck_assert(value_parse(&value, "{\"a\": 1}", 8));
	ck_assert_uint_eq(value_uint(&value, "a", 0), 1);
	json_clear(&value);
	ck_assert(value_parse(&value, "12", 2) && value.integer == 12);
	ck_assert(!value_parse(&value, "{\"a\": 1", 7));
	ck_assert(!value_parse(&value, "1 2", 3));
	ck_assert(!value_parse(&value, "1,2", 3));
	ck_assert(!value_parse(&value, "1],[2", 5));
	ck_assert(!value_parse(&value, "", 0));
	ck_assert(!value_parse(&value, "]", 1));
	ck_assert(!value_parse(&value, "hello", 5));
	ck_assert_int_eq(value.type, JSON_NULL);
}
END_TEST

Suite *shell_words_suite(void)
{
	Suite *suite = suite_create("shell_words");
	TCase *tcase = tcase_create("words"), *files = tcase_create("files");

	tcase_add_test(tcase, test_quotes);
	tcase_add_test(tcase, test_brackets);
	tcase_add_test(tcase, test_places);
	tcase_add_test(tcase, test_argv);
	tcase_add_test(tcase, test_no_memory);
	tcase_add_test(tcase, test_options);
	tcase_add_test(tcase, test_bad_options);
	tcase_add_test(tcase, test_notes);
	tcase_add_test(tcase, test_parse_value);
	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(files, make_directory, remove_directory);
	tcase_add_test(files, test_history);
	tcase_add_test(files, test_long_history);
	tcase_add_test(files, test_history_without_memory);
	tcase_add_test(files, test_history_that_stays);
	tcase_add_test(files, test_history_place);
	tcase_add_test(files, test_target);
	suite_add_tcase(suite, files);
	return suite;
}
