/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/shell/options.h"
#include "monitor/shell/shell.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"

/*
 * The whole shell, from its options to its exit status, with a server in another thread: what it
 * says when memory runs out, or a call fails, anywhere.
 */

#define SCHEMA "[" \
	"{\"name\": \"frob\", \"meta-type\": \"command\", \"arg-type\": \"0\"," \
	" \"ret-type\": \"[1]\", \"description\": \"Does it.  Long ago words were filled to lines.\"}," \
	"{\"name\": \"STOP\", \"meta-type\": \"event\", \"arg-type\": \"1\"}," \
	"{\"name\": \"0\", \"meta-type\": \"object\", \"members\": [" \
	" {\"name\": \"mode\", \"type\": \"2\", \"description\": \"How.\"}," \
	" {\"name\": \"n\", \"type\": \"int\", \"default\": null}]}," \
	"{\"name\": \"1\", \"meta-type\": \"object\", \"members\": [" \
	" {\"name\": \"a\", \"type\": \"int\"}, {\"name\": \"b\", \"type\": \"int\"}]}," \
	"{\"name\": \"2\", \"meta-type\": \"enum\", \"members\": [" \
	" {\"name\": \"on\", \"description\": \"Yes.\"}, {\"name\": \"off\"}], \"values\": []}," \
	"{\"name\": \"[1]\", \"meta-type\": \"array\", \"element-type\": \"1\"}," \
	"{\"name\": \"int\", \"meta-type\": \"builtin\", \"json-type\": \"int\"}]"

static const struct {
	const char *command, *returned;
} replies[] = {
	{ "\"qmp_capabilities\"", "{}" },
	{ "\"query-qmp-schema\"", SCHEMA },
	{ "\"frob\"", "[{\"a\": 1, \"b\": 2}, {\"a\": 3, \"b\": 4}]" },
	{ "\"help\"", "\"info [x] -- show it\\r\\ninfo mem -- map\\r\\nsum a -- add up\\r\\n\"" },
	{ "\"help info\"", "\"info mem -- map\\r\\ninfo status -- state\\r\\n\"" },
	{ "\"human-monitor-command\"", "\"one line\\r\\nand another\\r\\n\"" },
	{ "\"echo\"", "{\"deep\": {\"er\": [1, \"two\", null]}}" },
};

static char directory[] = "/tmp/vmonsh-unit-XXXXXX";
static char path[64], script[64];
static int listener, out_fd;
static pthread_t thread;

static bool read_line(int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len < size - 1 && recv(fd, line + len, 1, 0) == 1)
		if (line[len++] == '\n')
			break;
	line[len] = '\0';
	return len;
}

/* Not by send(), which is the client's and may fail. */
static void say(int fd, const char *text)
{
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, NULL, 0);
}

static void answer(int fd, const char *request)
{
	static const char event[] = "{\"event\": \"STOP\", \"data\": {\"a\": 1, \"b\": 2}}\r\n";
	const char *id = strstr(request, "\"id\": ");
	char text[4096];
	size_t i;

	for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		if (!strstr(request, replies[i].command))
			continue;
		if (strstr(request, "\"frob\""))
			say(fd, event);
		snprintf(text, sizeof(text), "{\"return\": %s, \"id\": %d}\r\n",
			 replies[i].returned, id ? atoi(id + 6) : 0);
		say(fd, text);
		return;
	}
	snprintf(text, sizeof(text), "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"},"
		 " \"id\": %d}\r\n", id ? atoi(id + 6) : 0);
	say(fd, text);
}

/* One client after the other, until the listener ends. */
static void *serve(void *opaque)
{
	static const char greeting[] = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
	char request[1000];
	int fd;

	(void)opaque;
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		say(fd, greeting);
		while (read_line(fd, request, sizeof(request)))
			answer(fd, request);
		close(fd);
	}
	return NULL;
}

static void setup(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	FILE *file;

	strcpy(directory, "/tmp/vmonsh-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/web.sock", directory);
	snprintf(script, sizeof(script), "%s/script", directory);
	file = fopen(script, "w");
	fputs("# two lines\nfrob on 5\n", file);
	fclose(file);
	strcpy(addr.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	out_fd = memfd_create("output", MFD_CLOEXEC);
}

static void teardown(void)
{
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	close(out_fd);
	unlink(path);
	unlink(script);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* What it has printed, and what it has complained of, which goes to the same place. */
static char output[65536];

static int run_shell(char **argv, int argc)
{
	int saved[] = { dup(STDOUT_FILENO), dup(STDERR_FILENO) }, status = 2;
	struct shell_options options;
	struct error err;
	ssize_t len;

	fflush(stdout);
	ck_assert_int_eq(ftruncate(out_fd, 0), 0);
	lseek(out_fd, 0, SEEK_SET);
	dup2(out_fd, STDOUT_FILENO);
	dup2(out_fd, STDERR_FILENO);
	if (shell_options_parse(&options, argc, argv, &err) == SHELL_OPTIONS_OK)
		status = shell_run(&options);
	else
		dprintf(STDERR_FILENO, "vmonsh: %s\n", err.text);
	shell_options_free(&options);
	fflush(stdout);
	alloc_exempt_begin();
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	len = pread(out_fd, output, sizeof(output) - 1, 0);
	ck_assert_int_ge(len, 0);
	output[len] = '\0';
	alloc_exempt_end();
	return status;
}

static const char *const lines[][4] = {
	{ "frob on n=5", "frob off" },
	{ "help frob", "help STOP", "help cpu" },
	{ "help" },
	{ "events STOP", "frob on", "events" },
	{ "cpu 1", "info x", "cpu", "hmp sum 1" },
	{ "{\"execute\": \"echo\", \"arguments\": {\"x\": [1, {}]}}" },
	{ "json on", "{\"execute\": \"echo\"}" },
	{ "frob on", "wait STOP" },
	{ "frob 'o", "frob mode=x", "bogus" },
};

static int run_lines(int i, bool json)
{
	char *argv[16] = { (char *)"vmonsh", (char *)"-s", path };
	char source[100];
	int argc = 3;

	/* What has not been asked for is not waited for. */
	if (!lines[i][1] || strcmp(lines[i][1], "wait STOP"))
		argv[argc++] = (char *)"-k";
	if (json)
		argv[argc++] = (char *)"-j";
	for (int n = 0; n < 4 && lines[i][n]; n++) {
		argv[argc++] = (char *)"-c";
		argv[argc++] = (char *)lines[i][n];
	}
	snprintf(source, sizeof(source), "source %s", script);
	argv[argc++] = source;
	return run_shell(argv, argc);
}

/* Whether a text has every word of another one, in whatever order, or says why it has not. */
static bool says_all(const char *text, const char *right)
{
	static const char *const excuses[] = {
		"memory", "not one complete JSON object", "not of the type wanted",
	};
	static const char separators[] = " \n:=,{}[]\"";
	char words[sizeof(output)], *word, *rest;

	for (size_t i = 0; i < sizeof(excuses) / sizeof(excuses[0]); i++)
		if (strstr(text, excuses[i]))
			return true;
	strcpy(words, right);
	for (word = strtok_r(words, separators, &rest); word; word = strtok_r(NULL, separators, &rest))
		if (!strstr(text, word))
			return false;
	return true;
}

START_TEST(test_no_memory)
{
	unsigned int before = open_descriptors(), n = 0;
	static char right[sizeof(output)];
	int status, right_status = run_lines(_i / 2, _i % 2);

	strcpy(right, output);
	do {
		alloc_fail_at(++n);
		status = run_lines(_i / 2, _i % 2);
		ck_assert_msg(says_all(output, right), "%u: %s", n, output);
		ck_assert_int_le(status, 2);
		/* The server's end goes a moment later. */
		while (open_descriptors() != before)
			sched_yield();
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_int_eq(status, right_status);
	ck_assert_str_eq(output, right);
	ck_assert_uint_gt(n, 100);
}
END_TEST

/* Completion gives less then, and complains of nothing: somebody is typing. */
START_TEST(test_completion)
{
	static const char *const typed[] = { "f", "frob m", "frob mode=", "info ", "help S", "source /" };
	char *argv[] = { (char *)"vmonsh", (char *)"-s", path, (char *)"--complete",
			 (char *)typed[_i] };
	static char right[sizeof(output)];
	unsigned int n = 0;
	char *word, *rest;

	ck_assert_int_eq(run_shell(argv, 5), 0);
	strcpy(right, output);
	ck_assert(*right);
	do {
		alloc_fail_at(++n);
		run_shell(argv, 5);
		for (word = strtok_r(output, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest))
			ck_assert_msg(strstr(right, word) || strstr(word, "memory"), "%s", word);
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 5);
}
END_TEST

START_TEST(test_calls_fail)
{
	static const struct {
		const char *call;
		int code, status;
		const char *said;       /* NULL: what it says when nothing fails */
	} cases[] = {
		{ "socket", EMFILE, 2, "vmonsh: socket: Too many open files\n" },
		{ "connect", EINTR, 1, NULL },
		/* The listener's backlog is full. */
		{ "connect", EAGAIN, 1, NULL },
		{ "connect", EACCES, 2, ": Permission denied\n" },
		{ "send", EINTR, 1, NULL },
		{ "send", EAGAIN, 1, NULL },
		{ "poll", EINTR, 1, NULL },
		{ "fopen", EMFILE, 1, "/script: Too many open files\n" },
	};
	static char right[sizeof(output)];
	int status;

	ck_assert_int_eq(run_lines(0, false), 1);
	strcpy(right, output);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		call_fail(cases[i].call, 1, cases[i].code);
		status = run_lines(0, false);
		/* Where all answers are there already nothing is waited for. */
		ck_assert_msg(call_has_failed() || strcmp(cases[i].call, "poll") == 0, "%s",
			      cases[i].call);
		ck_assert_msg(status == cases[i].status, "%s: %d: %s", cases[i].call, status, output);
		if (cases[i].said)
			ck_assert_msg(strstr(output, cases[i].said), "%s", output);
		else
			ck_assert_str_eq(output, right);
	}
	call_fail("socket", 0, 0);
}
END_TEST

Suite *shell_run_suite(void)
{
	Suite *suite = suite_create("shell_run");
	TCase *tc = tcase_create("shell_run");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_no_memory, 0, 2 * sizeof(lines) / sizeof(lines[0]));
	tcase_add_loop_test(tc, test_completion, 0, 6);
	tcase_add_test(tc, test_calls_fail);
	suite_add_tcase(suite, tc);
	return suite;
}
