/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Descriptors that come with commands: whose they are, and that none stays open for ever. */

#define GETFD(name) "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"" name "\"}}"
#define CLOSEFD(name) "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"" name "\"}}"
#define ADD_FD(arguments) "{\"execute\":\"add-fd\",\"arguments\":{" arguments "}}"
#define REMOVE_FD(arguments) "{\"execute\":\"remove-fd\",\"arguments\":{" arguments "}}"
#define QUERY_FDSETS "{\"execute\":\"query-fdsets\"}"
#define QUERY "{\"execute\":\"query-name\"}"
#define NAME "{\"return\": {\"name\": \"guest\"}}\r\n"
#define NOT_SUPPLIED ERROR("No file descriptor supplied via SCM_RIGHTS")
#define NOT_FOUND(name) ERROR("File descriptor named '" name "' not found")

static struct wire wire;
static struct peer peer;
static unsigned int open_before;

static void setup(void)
{
	open_before = open_descriptors();
	wire_open(&wire);
	peer = wire_connect_ready(&wire);
}

static void teardown(void)
{
	peer_close(&peer);
	wire_settle(&wire, NULL);
	wire_close(&wire);
	ck_assert_uint_eq(open_descriptors(), open_before);
}

static struct monitor_client *client(void)
{
	return TAILQ_LAST(&wire.monitor->clients, client_list);
}

static void expect(const char *text, const char *reply)
{
	wire_expect(&wire, &peer, text, reply);
}

static void expect_with(const char *text, const int *fds, size_t count, const char *reply)
{
	wire_send_fds(&peer, text, fds, count);
	expect("", reply);
}

/* A pipe whose writing end is passed on: when nobody has it any more, reading comes to an end. */
struct token {
	int reading, writing;
};

static struct token token_new(void)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	return (struct token){ fds[0], fds[1] };
}

static bool token_is_held(const struct token *token)
{
	char byte;

	return read(token->reading, &byte, 1) < 0;
}

/* Passes it with a command and keeps none. */
static void expect_token(const char *text, struct token *token, const char *reply)
{
	wire_send_fds(&peer, text, &token->writing, 1);
	close(token->writing);
	expect("", reply);
}

static bool is_token(int fd, const struct token *token)
{
	struct stat a, b;

	ck_assert_int_eq(fstat(fd, &a), 0);
	ck_assert_int_eq(fstat(token->reading, &b), 0);
	return a.st_ino == b.st_ino;
}

static void token_done(struct token *token)
{
	ck_assert_msg(!token_is_held(token), "it is still open somewhere");
	close(token->reading);
}

START_TEST(test_names)
{
	struct token a = token_new(), b = token_new(), c = token_new();
	int fd;

	expect(GETFD("a"), NOT_SUPPLIED);
	expect(CLOSEFD("a"), NOT_FOUND("a"));
	expect_token(GETFD("a"), &a, OK);
	ck_assert(token_is_held(&a));
	/* Another one of that name. */
	expect_token(GETFD("a"), &b, OK);
	token_done(&a);
	ck_assert(token_is_held(&b));
	expect_token(GETFD("9a"), &c,
		     ERROR("Parameter 'fdname' expects a name not starting with a digit"));
	token_done(&c);
	fd = fd_names_take(&client()->names, "a");
	ck_assert(is_token(fd, &b));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	token_done(&b);
	expect(CLOSEFD("a"), NOT_FOUND("a"));
	b = token_new();
	expect_token(GETFD(""), &b, OK);
	expect(CLOSEFD(""), OK);
	token_done(&b);
}
END_TEST

/* Names are the client's own, and go with it. */
START_TEST(test_names_of_another)
{
	struct token a = token_new(), b = token_new(), c = token_new();
	struct peer other;

	expect_token(GETFD("a"), &a, OK);
	expect_token(" ", &b, "");
	wire_send_fds(&peer, "{\"execute\":\"getfd\",\"argu", &c.writing, 1);
	close(c.writing);
	wire_settle(&wire, &peer);
	other = wire_connect_ready(&wire);
	wire_expect(&wire, &other, CLOSEFD("a"), NOT_FOUND("a"));
	wire_expect(&wire, &other, GETFD("b"), NOT_SUPPLIED);
	ck_assert(token_is_held(&a));
	peer_close(&peer);
	wire_settle(&wire, &other);
	token_done(&a);
	token_done(&b);
	token_done(&c);
	peer = other;
}
END_TEST

/* Which descriptor is whose. */
START_TEST(test_order)
{
	struct token a = token_new(), b = token_new(), c = token_new();
	int both[2], fd;

	/* Two commands that wait together. */
	wire_send_fds(&peer, GETFD("a"), &a.writing, 1);
	wire_send_fds(&peer, GETFD("b"), &b.writing, 1);
	expect("", OK OK);
	close(a.writing);
	close(b.writing);
	fd = fd_names_take(&client()->names, "a");
	ck_assert(is_token(fd, &a));
	close(fd);
	fd = fd_names_take(&client()->names, "b");
	ck_assert(is_token(fd, &b));
	close(fd);
	token_done(&a);
	token_done(&b);

	/* Ahead of the command; and two for two commands. */
	a = token_new();
	b = token_new();
	expect_token("  ", &a, "");
	expect(GETFD("a") CLOSEFD("a"), OK OK);
	token_done(&a);
	a = token_new();
	both[0] = a.writing;
	both[1] = b.writing;
	wire_send_fds(&peer, GETFD("a"), both, 2);
	expect(GETFD("b"), OK OK);
	close(a.writing);
	close(b.writing);
	expect(CLOSEFD("a"), OK);
	token_done(&a);
	ck_assert(token_is_held(&b));
	expect(CLOSEFD("b"), OK);
	token_done(&b);

	/* What a command has left over is not the next one's. */
	a = token_new();
	expect_token(QUERY, &a, NAME);
	expect_token(GETFD("c"), &c, OK);
	token_done(&a);
	ck_assert(token_is_held(&c));
	expect(CLOSEFD("c"), OK);
	token_done(&c);
}
END_TEST

/* More than anybody needs: all of a message or none, and the client is served on. */
START_TEST(test_too_many)
{
	static const int counts[] = { FD_QUEUE_MAX + 1, 253 };
	struct token token = token_new();
	int fds[253];

	for (int i = 0; i < 253; i++)
		fds[i] = token.writing;
	for (unsigned int i = 0; i < 2; i++) {
		expect_with(GETFD("a"), fds, (size_t)counts[i], NOT_SUPPLIED);
		ck_assert_uint_eq(client()->received.count, 0);
	}
	ck_assert_uint_eq(wire_log_lines, 1);
	ck_assert_ptr_nonnull(strstr(wire_log_last, "more file descriptors"));
	expect_with(GETFD("a"), fds, FD_QUEUE_MAX, OK);
	ck_assert_uint_eq(client()->received.count, FD_QUEUE_MAX - 1);
	/* The next batch closes what is left over, and so has room. */
	expect_with(GETFD("a"), fds, FD_QUEUE_MAX, OK);
	/* But not while a command waits, as the second one of a turn does here. */
	wire.monitor->turn_ns = 0;
	wire_send_fds(&peer, GETFD("b") QUERY, fds, 40);
	wire_send_fds(&peer, GETFD("c"), fds, 40);
	expect("", OK NAME OK);
	ck_assert_uint_eq(client()->received.count, 38);
	expect(CLOSEFD("a") CLOSEFD("b") CLOSEFD("c"), OK OK OK);
	expect_with(QUERY, fds, 1, NAME);
	close(token.writing);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	token_done(&token);
}
END_TEST

START_TEST(test_bounds)
{
	struct token token = token_new();
	char text[128];

	for (int i = 0; i < FD_NAMES_MAX; i++) {
		snprintf(text, sizeof(text), GETFD("n%d"), i);
		expect_with(text, &token.writing, 1, OK);
	}
	expect_with(GETFD("one-more"), &token.writing, 1,
		    ERROR("64 file descriptors have a name already; close one with closefd"));
	expect_with(GETFD("n5"), &token.writing, 1, OK);
	for (int i = 0; i < FDSETS_MAX_FDS; i++) {
		wire_send_fds(&peer, ADD_FD("\"fdset-id\": 3"), &token.writing, 1);
		wire_settle(&wire, &peer);
	}
	ck_assert_uint_eq(peer_count(&peer, "\"fdset-id\": 3}}\r\n"), FDSETS_MAX_FDS);
	peer_clear(&peer);
	expect_with(ADD_FD(""), &token.writing, 1,
		    ERROR("the sets hold 256 file descriptors already; remove some with "
			  "remove-fd"));
	expect(REMOVE_FD("\"fdset-id\": 3"), OK);
	expect(QUERY_FDSETS, "{\"return\": []}\r\n");
	close(token.writing);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	token_done(&token);
}
END_TEST

static int number_in_set(int64_t id, unsigned int index)
{
	const struct fdset *set;
	const struct fdset_fd *fd;

	TAILQ_FOREACH(set, &wire.monitor->fdsets.list, link)
		if (set->id == id)
			TAILQ_FOREACH(fd, &set->fds, link)
				if (!index--)
					return fd->fd;
	ck_abort_msg("no such descriptor");
	return -1;
}

/* Adds one, and compares the reply. */
static void add(struct token *token, const char *arguments, int64_t id, unsigned int index)
{
	char text[128], reply[128];

	snprintf(text, sizeof(text), ADD_FD("%s"), arguments);
	wire_send_fds(&peer, text, &token->writing, 1);
	close(token->writing);
	wire_settle(&wire, &peer);
	snprintf(reply, sizeof(reply), "{\"return\": {\"fd\": %d, \"fdset-id\": %d}}\r\n",
		 number_in_set(id, index), (int)id);
	ck_assert_str_eq(peer.text, reply);
	peer_clear(&peer);
}

START_TEST(test_sets)
{
	struct token token[5];
	char text[512];
	int fd;

	for (int i = 0; i < 5; i++)
		token[i] = token_new();
	expect(QUERY_FDSETS, "{\"return\": []}\r\n");
	expect(ADD_FD(""), NOT_SUPPLIED);
	expect(ADD_FD("\"fdset-id\": -1"), NOT_SUPPLIED);
	add(&token[0], "\"opaque\": \"x\"", 0, 0);
	add(&token[1], "\"fdset-id\": 2", 2, 0);
	add(&token[2], "", 1, 0);
	add(&token[3], "\"fdset-id\": 0", 0, 1);
	expect_token(ADD_FD("\"fdset-id\": -1"), &token[4],
		     ERROR("Parameter 'fdset-id' expects a non-negative value"));
	token_done(&token[4]);
	fd = number_in_set(0, 1);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(text, sizeof(text), "{\"return\": [{\"fdset-id\": 0, \"fds\": [{\"fd\": %d, "
		 "\"opaque\": \"x\"}, {\"fd\": %d}]}, {\"fdset-id\": 1, \"fds\": [{\"fd\": %d}]}, "
		 "{\"fdset-id\": 2, \"fds\": [{\"fd\": %d}]}]}\r\n", number_in_set(0, 0), fd,
		 number_in_set(1, 0), number_in_set(2, 0));
	expect(QUERY_FDSETS, text);

	expect(REMOVE_FD(""), ERROR("Parameter 'fdset-id' is missing"));
	expect(REMOVE_FD("\"fdset-id\": 99"), NOT_FOUND("fdset-id:99"));
	expect(REMOVE_FD("\"fdset-id\": -1"), NOT_FOUND("fdset-id:-1"));
	expect(REMOVE_FD("\"fdset-id\": 0, \"fd\": 999"), NOT_FOUND("fdset-id:0, fd:999"));
	expect(REMOVE_FD("\"fdset-id\": 0, \"fd\": -1"),
	       ERROR("Parameter 'fd' expects a non-negative value"));
	snprintf(text, sizeof(text), REMOVE_FD("\"fdset-id\": 0, \"fd\": %d"), fd);
	expect(text, OK);
	token_done(&token[3]);
	ck_assert(token_is_held(&token[0]));
	expect(REMOVE_FD("\"fdset-id\": 0"), OK);
	token_done(&token[0]);
	expect(REMOVE_FD("\"fdset-id\": 0"), NOT_FOUND("fdset-id:0"));
	/* Its number is free again. */
	token[0] = token_new();
	add(&token[0], "", 0, 0);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	for (int i = 0; i < 3; i++)
		token_done(&token[i]);
}
END_TEST

/* Sets stay as long as there is any client. */
START_TEST(test_sets_are_shared)
{
	struct token token = token_new();
	struct peer other = wire_connect_ready(&wire);

	add(&token, "", 0, 0);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	ck_assert(token_is_held(&token));
	wire_expect(&wire, &other, REMOVE_FD("\"fdset-id\": 1"), NOT_FOUND("fdset-id:1"));
	peer_close(&other);
	wire_settle(&wire, NULL);
	token_done(&token);
	peer = wire_connect_ready(&wire);
	expect(QUERY_FDSETS, "{\"return\": []}\r\n");
}
END_TEST

/* One that is open for what is asked for, and no more than that if there is a choice. */
START_TEST(test_open)
{
	struct fdsets sets;
	struct token token = token_new();
	struct error err;
	int64_t id = 4;
	int fd, both = open("/dev/null", O_RDWR);

	fdsets_init(&sets);
	ck_assert_int_eq(fdsets_open(&sets, 4, O_RDONLY, &err), -1);
	ck_assert_str_eq(err.text, "there is no set of file descriptors 4; make it with add-fd");
	ck_assert_int_eq(fdsets_add(&sets, token.writing, NULL, &id, &err), 0);
	ck_assert_int_eq(fdsets_open(&sets, 4, O_RDONLY, &err), -1);
	ck_assert_str_eq(err.text, "no file descriptor of set 4 is open for reading");
	ck_assert_int_eq(fdsets_add(&sets, both, NULL, &id, &err), 0);
	fd = fdsets_open(&sets, 4, O_WRONLY, &err);
	ck_assert(is_token(fd, &token));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fdsets_clear(&sets);
	/* Who uses one is not concerned. */
	ck_assert(token_is_held(&token));
	close(fd);
	token_done(&token);

	both = open("/dev/null", O_RDWR);
	ck_assert_int_eq(fdsets_add(&sets, both, NULL, &id, &err), 0);
	fd = fdsets_open(&sets, 4, O_WRONLY, &err);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fdsets_clear(&sets);
}
END_TEST

/*
 * Without memory for what is noted of it a descriptor is closed; it may stay open for a command
 * that has been carried out and whose reply is lost.
 */
START_TEST(test_no_memory)
{
	static const char *const commands[] = { GETFD("x"), ADD_FD("\"opaque\": \"x\"") };
	bool failed = true, refused = false;

	for (unsigned int n = 1; failed; n++) {
		struct token token = token_new();

		wire_send_fds(&peer, commands[_i], &token.writing, 1);
		close(token.writing);
		alloc_fail_at(n);
		for (int i = 0; i < 4; i++)
			wire_turn(&wire);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		wire_settle(&wire, &peer);
		ck_assert(peer.eof || peer_count(&peer, "\r\n") == 1);
		if (peer_count(&peer, "out of memory for a ")) {
			refused = true;
			ck_assert(!token_is_held(&token));
		}
		peer_close(&peer);
		wire_settle(&wire, NULL);
		token_done(&token);
		peer = wire_connect_ready(&wire);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert(refused);
}
END_TEST

/* Of several members one fails to be opened anew, and the set stays as it is. */
START_TEST(test_open_fails)
{
	struct fdsets sets;
	struct error err;
	int64_t id = 0;

	fdsets_init(&sets);
	ck_assert_int_eq(fdsets_add(&sets, open("/dev/null", O_RDWR), NULL, &id, &err), 0);
	call_fail("fcntl", 2, EMFILE);
	ck_assert_int_eq(fdsets_open(&sets, 0, O_WRONLY, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, " of set 0: Too many open files"));
	ck_assert_uint_eq(sets.nr_fds, 1);
	fdsets_clear(&sets);
}
END_TEST

/* What else comes with bytes is passed over: a socket from somebody else may ask for it. */
START_TEST(test_other_control_messages)
{
	struct ucred ucred = { .pid = getpid(), .uid = getuid(), .gid = getgid() };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) +
					      CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	struct fd_queue queue = { .count = 0 };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	*cmsg = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS,
				  .cmsg_len = CMSG_LEN(sizeof(ucred)) };
	memcpy(CMSG_DATA(cmsg), &ucred, sizeof(ucred));
	cmsg = CMSG_NXTHDR(&msg, cmsg);
	*cmsg = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				  .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	ck_assert(fd_queue_receive(&queue, &msg));
	ck_assert_uint_eq(queue.count, 1);
	ck_assert_int_eq(queue.fd[0], fd);
	fd_queue_clear(&queue);
}
END_TEST

Suite *descriptors_suite(void)
{
	Suite *suite = suite_create("descriptors");
	TCase *tc = tcase_create("descriptors");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_names_of_another);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_too_many);
	tcase_add_test(tc, test_bounds);
	tcase_add_test(tc, test_sets);
	tcase_add_test(tc, test_sets_are_shared);
	tcase_add_test(tc, test_open);
	tcase_add_loop_test(tc, test_no_memory, 0, 2);
	tcase_add_test(tc, test_open_fails);
	tcase_add_test(tc, test_other_control_messages);
	suite_add_tcase(suite, tc);
	return suite;
}
