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

#include "monitor/memsave.h"
#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/* Memory that can not be saved: what becomes of the file, and of who waits for it. */

#define SIZE    (1 << 16)
#define THEIRS  "theirs"

static char dir[] = "/tmp/vmond-memsave-XXXXXX";
static char path[64];
static struct error err;
static struct wire wire;

static void setup(void)
{
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dump", dir);
	machine_host();
	machine_start(1);
	memset(machine.vm->memory.host, 'x', SIZE);
	wire_open_vm(&wire, machine.vm);
}

static void teardown(void)
{
	wire_close(&wire);
	machine_stop();
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static off_t file_size(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void write_theirs(void)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fputs(THEIRS, file);
	fclose(file);
}

/* What the thread does; from where there is no RAM on, too. */
static const struct {
	const char *name;
	int code;
	bool needed;
} write_calls[] = {
	{ "open", EACCES, true }, { "fstat", EIO, true }, { "flock", ENOLCK, false },
	{ "flock", EWOULDBLOCK, true }, { "ftruncate", EIO, true }, { "lseek", EINVAL, true },
	{ "write", EINTR, false }, { "write", ENOSPC, true }, { "close", EDQUOT, true },
};

START_TEST(call_fails)
{
	const struct memsave_range range = {
		.memory = &machine.vm->memory, .addr = machine.vm->memory.size - SIZE,
		.size = 2 * SIZE,
	};
	const _Atomic bool cancelled = false;
	bool failed = true, seen = false;

	for (unsigned int n = 1; failed; n++) {
		unsigned int before = open_descriptors();

		for (int theirs = 0; theirs < 2; theirs++) {
			int rc;

			unlink(path);
			if (theirs)
				write_theirs();
			call_fail(write_calls[_i].name, n, write_calls[_i].code);
			rc = memsave_write(&range, path, &cancelled, &err);
			failed = call_has_failed();
			call_fail(write_calls[_i].name, 0, 0);
			seen |= failed;
			ck_assert_int_eq(rc, failed && write_calls[_i].needed ? -1 : 0);
			if (rc == 0) {
				ck_assert_int_eq(file_size(), 2 * SIZE);
				continue;
			}
			ck_assert_ptr_eq(strstr(err.text, "Could not "), err.text);
			ck_assert_ptr_nonnull(strstr(err.text, path));
			ck_assert_ptr_null(strchr(err.text, '\n'));
			/* Who has it locked would see to a new one. */
			if (!theirs && write_calls[_i].code != EWOULDBLOCK)
				ck_assert_int_eq(file_size(), -1);
		}
		ck_assert_uint_eq(open_descriptors(), before);
	}
	ck_assert(seen);
}
END_TEST

/* A file of others that can not even be emptied again is said to be so. */
START_TEST(keeps_a_part)
{
	const struct memsave_range range = { .memory = &machine.vm->memory, .size = SIZE };
	const _Atomic bool cancelled = true;
	char expected[256];

	write_theirs();
	call_fail("ftruncate", 2, EIO);
	ck_assert_int_eq(memsave_write(&range, path, &cancelled, &err), -1);
	ck_assert(call_has_failed());
	snprintf(expected, sizeof(expected), "'%s' keeps a part of the memory: Could not write "
		 "'%s': Operation canceled", path, path);
	ck_assert_str_eq(err.text, expected);
}
END_TEST

/* ---- commands ---- */

static void await_all(struct peer *peer)
{
	while (!TAILQ_EMPTY(&wire.monitor->memsaves))
		event_base_loop(wire.base, EVLOOP_ONCE);
	wire_settle(&wire, peer);
}

#define ARGUMENTS "\"val\":0,\"size\":%d,\"filename\":\"%s\""

static const char *command_of(bool virtual)
{
	static char text[256];

	snprintf(text, sizeof(text), virtual ? COMMAND("memsave", ARGUMENTS) :
					       COMMAND("pmemsave", ARGUMENTS), SIZE, path);
	return text;
}

/*
 * The command has failed, and the file is as it was; or it is complete, and so is the reply, unless
 * that can not be had.
 */
static void expect_all_or_nothing(const struct peer *peer)
{
	if (peer_count(peer, OK))
		ck_assert_int_eq(file_size(), SIZE);
	else if (peer->eof || peer_count(peer, "the command has been carried out"))
		ck_assert(file_size() == SIZE || file_size() == strlen(THEIRS));
	else
		ck_assert_int_eq(file_size(), strlen(THEIRS));
	ck_assert(peer->eof || peer_count(peer, "\r\n") == 1);
}

START_TEST(no_memory)
{
	bool failed = true, refused = false;

	for (unsigned int n = 1; failed; n++) {
		struct peer peer = wire_connect_ready(&wire);
		const char *text;

		write_theirs();
		text = command_of(_i);
		wire_send(&wire, &peer, text, strlen(text));
		alloc_fail_at(n);
		for (int i = 0; i < 4; i++)
			wire_turn(&wire);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		await_all(&peer);
		expect_all_or_nothing(&peer);
		refused |= peer_count(&peer, "Could not save to '") == 1;
		peer_close(&peer);
		wire_settle(&wire, NULL);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert(refused);
}
END_TEST

static const struct {
	const char *name;
	int code;
} start_calls[] = {
	{ "eventfd", EMFILE }, { "event_add", ENOMEM }, { "pthread_create", EAGAIN },
};

/* Refused before anything has begun; nothing waits in the loop, and the next one is served. */
START_TEST(no_start)
{
	struct peer peer = wire_connect_ready(&wire);
	unsigned int before = open_descriptors();
	char expected[256];
	const char *text = command_of(0);

	write_theirs();
	call_fail(start_calls[_i].name, 1, start_calls[_i].code);
	snprintf(expected, sizeof(expected), ERROR("Could not save to '%s': %s"), path,
		 strerror(start_calls[_i].code));
	wire_expect(&wire, &peer, text, expected);
	ck_assert(call_has_failed());
	ck_assert_int_eq(file_size(), strlen(THEIRS));
	ck_assert_uint_eq(open_descriptors(), before);
	wire_send(&wire, &peer, text, strlen(text));
	wire_settle(&wire, &peer);
	await_all(&peer);
	ck_assert_str_eq(peer.text, OK);
	peer_close(&peer);
}
END_TEST

/* Nobody waits for it: then at least the log says that there is no file. */
START_TEST(failure_nobody_waits_for)
{
	ck_assert_ptr_nonnull(memsave_start(wire.monitor, MEMSAVE_PHYSICAL, 0, 1, "/nonexistent/a",
					    &err));
	await_all(NULL);
	ck_assert_str_eq(wire_log_last,
			 "Could not open '/nonexistent/a': No such file or directory");
}
END_TEST

Suite *memsave_fail_suite(void)
{
	Suite *suite = suite_create("memsave fail");
	TCase *tc = tcase_create("memsave");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, call_fails, 0, sizeof(write_calls) / sizeof(write_calls[0]));
	tcase_add_test(tc, keeps_a_part);
	tcase_add_loop_test(tc, no_memory, 0, 2);
	tcase_add_loop_test(tc, no_start, 0, sizeof(start_calls) / sizeof(start_calls[0]));
	tcase_add_test(tc, failure_nobody_waits_for);
	suite_add_tcase(suite, tc);
	return suite;
}
