/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/shell/server.h"
#include "monitor/shell/values.h"
#include "tests/unit/suites.h"

/*
 * A server that plays a script: a line that begins with ">" waits until the client has sent a
 * request with that text in it, "?" until one is there, which is left unread; all others are sent,
 * and @ stands for the id of the last request.
 */
struct play {
	const char *const *script;
	char directory[40], path[60];
	int listener;
	pthread_t thread;
	struct loop loop;
	struct server *server;          /* the client's side, since open_session() */
	struct json_value reply;        /* of the last call that has succeeded */
	struct error err;
	unsigned int events, posts;
};

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define OOB      "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define DONE     "{\"return\": {}, \"id\": @}\r\n"

/* The request itself, in request[1000]; false at the end. */
static bool read_request(int fd, const char *wanted, char *request)
{
	size_t len = 0;

	while (len < 999 && recv(fd, request + len, 1, 0) == 1)
		if (request[len++] == '\n')
			break;
	request[len] = '\0';
	return strstr(request, wanted);
}

static void send_line(int fd, const char *line, const char *request)
{
	const char *id = strstr(request, "\"id\": "), *at = strchr(line, '@');
	char text[1000];

	if (at && id)
		snprintf(text, sizeof(text), "%.*s%d%s", (int)(at - line), line, atoi(id + 6),
			 at + 1);
	else
		snprintf(text, sizeof(text), "%s", line);
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void *serve(void *opaque)
{
	struct play *play = opaque;
	char request[1000] = "";
	int fd = accept(play->listener, NULL, NULL);

	for (const char *const *line = play->script; *line; line++) {
		if (**line == '?')
			recv(fd, request, 1, MSG_PEEK);
		else if (**line != '>')
			send_line(fd, *line, request);
		else if (!read_request(fd, *line + 1, request))
			break;
	}
	/* "hang" is no line: whoever waits does so until the client goes. */
	close(fd);
	return NULL;
}

static void start(struct play *play, const char *const *script)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memset(play, 0, sizeof(*play));
	play->script = script;
	strcpy(play->directory, "/tmp/vmonsh-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(play->directory));
	snprintf(play->path, sizeof(play->path), "%s/s", play->directory);
	strcpy(addr.sun_path, play->path);
	play->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(play->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(play->listener, 1), 0);
	ck_assert_int_eq(loop_init(&play->loop, false, NULL), 0);
	ck_assert_int_eq(pthread_create(&play->thread, NULL, serve, play), 0);
}

static void stop(struct play *play)
{
	server_free(play->server);
	pthread_join(play->thread, NULL);
	close(play->listener);
	unlink(play->path);
	rmdir(play->directory);
	loop_free(&play->loop);
}

static void on_event(void *opaque, const struct json_value *event)
{
	struct play *play = opaque;

	ck_assert_ptr_nonnull(value_string(event, "event"));
	play->events++;
}

static void on_post(void *opaque, const struct json_value *returned)
{
	struct play *play = opaque;

	ck_assert_ptr_nonnull(returned);
	play->posts++;
}

static void open_session(struct play *play, const char *const *script)
{
	start(play, script);
	play->server = server_connect(play->path, &play->loop, on_event, play, 60000, &play->err);
	ck_assert_msg(play->server, "%s", play->err.text);
}

static int call(struct play *play, const char *command, uint64_t deadline)
{
	struct json_writer w;

	server_begin(play->server, &w, command, false);
	return server_call(play->server, &w, deadline, &play->reply, &play->err);
}

START_TEST(test_session)
{
	static const char *const script[] = {
		OOB, ">\"enable\": [\"oob\"]", DONE, ">query-name",
		"{\"event\": \"STOP\", \"timestamp\": {}}\r\n{\"return\": {\"na", "me\": \"x\"}, ",
		"\"id\": @}\n", ">query-status", "{\"error\": {\"desc\": \"no\"}, \"id\": @}",
		">end",
		NULL
	};
	struct play play;

	open_session(&play, script);
	ck_assert(server_has_oob(play.server));
	ck_assert_int_eq(call(&play, "query-name", UINT64_MAX), 0);
	ck_assert_str_eq(value_string(json_get(&play.reply, "return"), "name"), "x");
	ck_assert_uint_eq(play.events, 1);
	json_clear(&play.reply);
	ck_assert_int_eq(call(&play, "query-status", UINT64_MAX), 0);
	ck_assert_str_eq(value_string(json_get(&play.reply, "error"), "desc"), "no");
	json_clear(&play.reply);
	stop(&play);
}
END_TEST

/* The reply to what nobody waits for any more is not taken for the next one's. */
START_TEST(test_late_reply)
{
	static const char *const script[] = {
		GREETING, ">qmp_capabilities", DONE, ">slow", ">quick",
		"{\"return\": \"late\", \"id\": 2}", "{\"return\": \"quick\", \"id\": @}", ">end",
		NULL
	};
	struct play play;

	open_session(&play, script);
	ck_assert(!server_has_oob(play.server));
	ck_assert_int_eq(call(&play, "slow", loop_now_ms()), -1);
	ck_assert_int_eq(play.err.code, ETIMEDOUT);
	ck_assert_int_eq(call(&play, "quick", UINT64_MAX), 0);
	ck_assert_str_eq(value_string(&play.reply, "return"), "quick");
	json_clear(&play.reply);
	stop(&play);
}
END_TEST

START_TEST(test_post)
{
	static const char *const script[] = {
		GREETING, ">qmp_capabilities", DONE, ">query-status", DONE, ">stop", DONE, ">end",
		NULL
	};
	struct json_writer w;
	struct play play;

	open_session(&play, script);
	/* One at a time: the second is not sent. */
	for (int i = 0; i < 2; i++) {
		server_begin(play.server, &w, "query-status", false);
		server_post(play.server, &w, on_post);
	}
	ck_assert_int_eq(call(&play, "stop", UINT64_MAX), 0);
	ck_assert_uint_eq(play.posts, 1);
	json_clear(&play.reply);
	stop(&play);
}
END_TEST

static void check_refused(const char *const *script, int code, const char *text)
{
	struct play play;

	start(&play, script);
	ck_assert_ptr_null(server_connect(play.path, &play.loop, on_event, &play,
					  code == ETIMEDOUT ? 1 : 60000, &play.err));
	ck_assert_int_eq(play.err.code, code);
	ck_assert_msg(strstr(play.err.text, text), "%s", play.err.text);
	stop(&play);
}

START_TEST(test_refused)
{
	static const char *const silent[] = { ">end", NULL }, *const hmp[] = {
		"QEMU 7.2 monitor - type 'help' for more information\r\n(qemu) ", ">end", NULL
	}, *const other[] = { "{\"hello\": 1}", ">end", NULL }, *const half[] = {
		"{\"QMP\": ", NULL
	}, *const unable[] = {
		GREETING, ">qmp_capabilities", "{\"error\": {\"desc\": \"busy\"}, \"id\": @}",
		">end",
		NULL
	}, *const gone[] = { NULL };

	check_refused(silent, ETIMEDOUT, "no greeting");
	check_refused(hmp, EPROTO, "no QMP: JSON parse error");
	check_refused(other, EPROTO, "no QMP greeting");
	check_refused(half, ECONNRESET, "in the middle of a message");
	check_refused(unable, EPROTO, "qmp_capabilities: busy");
	check_refused(gone, ECONNRESET, "has closed the connection");
}
END_TEST

START_TEST(test_no_socket)
{
	struct loop loop;
	struct error err;
	char path[200];

	loop_init(&loop, false, NULL);
	ck_assert_ptr_null(server_connect("/nowhere/x", &loop, on_event, NULL, 1000, &err));
	ck_assert_str_eq(err.text, "/nowhere/x: No such file or directory");
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	ck_assert_ptr_null(server_connect(path, &loop, on_event, NULL, 1000, &err));
	ck_assert_int_eq(err.code, ENAMETOOLONG);
}
END_TEST

/* A reply that came just before the end of the connection counts; the next request does not. */
START_TEST(test_gone)
{
	static const char *const script[] = {
		GREETING, ">qmp_capabilities", DONE, ">quit", DONE, NULL
	};
	struct play play;

	open_session(&play, script);
	ck_assert_int_eq(call(&play, "quit", UINT64_MAX), 0);
	ck_assert_ptr_nonnull(json_get(&play.reply, "return"));
	json_clear(&play.reply);
	ck_assert_int_eq(call(&play, "stop", UINT64_MAX), -1);
	ck_assert_int_eq(play.err.code, ECONNRESET);
	ck_assert_int_eq(server_fd(play.server), -1);
	stop(&play);
}
END_TEST

/* The end of a server with a request unread is a reset of the connection. */
START_TEST(test_reset)
{
	static const char *const script[] = { GREETING, ">qmp_capabilities", DONE, "?", NULL };
	struct play play;

	open_session(&play, script);
	ck_assert_int_eq(call(&play, "stop", UINT64_MAX), -1);
	ck_assert_str_eq(play.err.text, "the server has closed the connection");
	ck_assert_int_eq(play.err.code, ECONNRESET);
	stop(&play);
}
END_TEST

Suite *shell_server_suite(void)
{
	Suite *suite = suite_create("shell_server");
	TCase *tcase = tcase_create("server");

	tcase_add_test(tcase, test_session);
	tcase_add_test(tcase, test_late_reply);
	tcase_add_test(tcase, test_post);
	tcase_add_test(tcase, test_refused);
	tcase_add_test(tcase, test_no_socket);
	tcase_add_test(tcase, test_gone);
	tcase_add_test(tcase, test_reset);
	suite_add_tcase(suite, tcase);
	return suite;
}
