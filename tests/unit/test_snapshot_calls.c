/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/suites.h"

/* Snapshots while any call or allocation fails, one at a time, until none does. */

#define RAM     (3 * MIB)

static struct memory ram, copy;
static struct sections sections;
static struct snapshot_transfer transfer;
static struct place place;
static struct error err;

static void setup(void)
{
	ck_assert_int_eq(memory_init(&ram, RAM, NULL), 0);
	ck_assert_int_eq(memory_init(&copy, RAM, NULL), 0);
	/* Runs of one page and of two, and one in another window. */
	fill_page(&ram, PAGE);
	fill_page(&ram, 3 * PAGE);
	fill_page(&ram, 4 * PAGE);
	fill_page(&ram, 2 * MIB);
	make_sections(&sections);
	place_begin(&place);
}

static void teardown(void)
{
	memory_destroy(&ram);
	memory_destroy(&copy);
	sections_free(&sections);
	place_end(&place);
}

static void restart(void)
{
	memset(&transfer, 0, sizeof(transfer));
	memset(&err, 0, sizeof(err));
}

static void one_line(int code)
{
	ck_assert_int_eq(err.code, code);
	ck_assert_uint_gt(strlen(err.text), 0);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

static void check_ram(const struct memory *memory)
{
	check_zero(memory, 0, PAGE);
	check_page(memory, PAGE);
	check_zero(memory, 2 * PAGE, PAGE);
	check_page(memory, 3 * PAGE);
	check_page(memory, 4 * PAGE);
	check_zero(memory, 5 * PAGE, 2 * MIB - 5 * PAGE);
	check_page(memory, 2 * MIB);
	check_zero(memory, 2 * MIB + PAGE, MIB - PAGE);
}

/* ---- Writing the file form ---- */

static void write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, word, strlen(word)), (ssize_t)strlen(word));
	close(fd);
}

static void check_word(const char *path, const char *word)
{
	char bytes[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, bytes, sizeof(bytes) - 1), (ssize_t)strlen(word));
	ck_assert_str_eq(bytes, word);
	close(fd);
}

/* It is there, and whole; RAM is mapped from it. */
static void check_file(void)
{
	struct sections read = { 0 };
	struct snapshot_reader *reader;
	int fd = open(place.path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	restart();
	reader = snapshot_open(fd, &transfer, &read, &err);
	ck_assert_msg(reader != NULL, "%s", err.text);
	check_sections(&read);
	ck_assert_int_eq(snapshot_map_ram(reader, &copy, &err), 0);
	check_ram(&copy);
	ck_assert_int_eq(memory_clear(&copy, &err), 0);
	snapshot_close(reader);
	sections_free(&read);
	close(fd);
}

static const struct {
	const char *name;
	int refused;                    /* how many are; the others are done without.  -1: each */
} of_writers[] = {
	{ "lstat", -1 }, { "open", 1 }, { "mkostemp", -1 }, { "fstat", -1 }, { "ftruncate", -1 },
	{ "lseek", -1 }, { "writev", -1 }, { "pread", 0 }, { "fsync", -1 }, { "close", 1 },
	{ "rename", -1 }, { NULL, -1 },
};

/* Either the new file is there or the old one as it was, and nothing beside it. */
START_TEST(a_file)
{
	const char *name = of_writers[_i].name;
	unsigned int before = open_descriptors(), refused = 0, n;
	bool over = false;
	int rc;

	for (n = 1; !over; n++) {
		write_word(place.path, "old");
		restart();
		fail_at(name, n, ENOMEM);
		rc = snapshot_write_file(place.path, &sections, &ram, &transfer, &err);
		over = !fail_end();
		ck_assert(rc == 0 || !over);
		ck_assert_uint_eq(place_files(&place), 1);
		ck_assert_uint_eq(open_descriptors(), before);
		refused += rc < 0;
		if (rc < 0) {
			one_line(ENOMEM);
			ck_assert_int_eq(strncmp(err.text, place.path, strlen(place.path)), 0);
		}
		/* Only the directory could not be flushed then. */
		if (rc == 0 || strstr(err.text, "it is there"))
			check_file();
		else
			check_word(place.path, "old");
	}
	ck_assert_uint_gt(n, 2);
	ck_assert_uint_eq(refused, of_writers[_i].refused < 0 ? n - 2 :
			  (unsigned int)of_writers[_i].refused);
}
END_TEST

/* Some file systems have no use for that. */
START_TEST(a_directory_that_is_not_flushed)
{
	restart();
	call_fail("fsync", 2, EINVAL);
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, &err), 0);
	ck_assert(call_has_failed());
	check_file();
}
END_TEST

/* ---- Streams ---- */

enum carrier { A_FILE, A_PIPE, A_SOCKET, COMPRESSED, CARRIERS };

struct pair {
	int from, to;
};

/* All of the stream fits. */
static struct pair carry(enum carrier carrier)
{
	struct pair pair;
	int fds[2];

	if (carrier == A_FILE || carrier == COMPRESSED) {
		pair.from = memfd_create("stream", MFD_CLOEXEC);
		pair.to = dup(pair.from);
		return pair;
	}
	if (carrier == A_PIPE) {
		ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	} else {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	}
	return (struct pair){ .from = fds[0], .to = fds[1] };
}

static void carried(struct pair pair)
{
	close(pair.from);
	close(pair.to);
}

static int send_out(enum carrier carrier, int fd)
{
	transfer.zstd_level = carrier == COMPRESSED ? 1 : 0;
	return snapshot_write_stream(fd, &sections, &ram, &transfer, &err);
}

static int take_in(int fd)
{
	struct sections read = { 0 };
	int rc;

	lseek(fd, 0, SEEK_SET);
	rc = load_fd(fd, &copy, &read, &transfer, &err);
	if (rc == 0)
		check_sections(&read);
	sections_free(&read);
	return rc;
}

static const char *const of_streams[] = {
	"fstat", "fcntl", "poll", "writev", "sendmsg", "readv", "recvmsg", "pread", "open", NULL,
};
#define OF_STREAMS (sizeof(of_streams) / sizeof(of_streams[0]))

/* Those that are done without, or that put back what has been handed over. */
static bool is_needed(const char *name)
{
	return !name || (strcmp(name, "pread") && strcmp(name, "open") && strcmp(name, "fcntl"));
}

START_TEST(a_stream_out)
{
	const char *name = of_streams[_i % OF_STREAMS];
	enum carrier carrier = (enum carrier)(_i / OF_STREAMS);
	bool over = false;

	for (unsigned int n = 1; !over; n++) {
		struct pair pair = carry(carrier);
		int flags = fcntl(pair.to, F_GETFL), rc;

		restart();
		fail_at(name, n, ENOMEM);
		rc = send_out(carrier, pair.to);
		over = !fail_end();
		ck_assert(is_needed(name) ? (rc == 0) == over : rc == 0 || !over);
		if (rc < 0)
			one_line(ENOMEM);
		/* As it was handed over. */
		if (name && strcmp(name, "fcntl"))
			ck_assert_int_eq(fcntl(pair.to, F_GETFL), flags);
		if (rc == 0) {
			restart();
			ck_assert_msg(take_in(pair.from) == 0, "%s", err.text);
			check_ram(&copy);
			memory_clear(&copy, NULL);
		}
		carried(pair);
	}
}
END_TEST

START_TEST(a_stream_in)
{
	const char *name = of_streams[_i % OF_STREAMS];
	enum carrier carrier = (enum carrier)(_i / OF_STREAMS);
	bool over = false;

	for (unsigned int n = 1; !over; n++) {
		struct pair pair = carry(carrier);
		int rc;

		restart();
		ck_assert_int_eq(send_out(carrier, pair.to), 0);
		restart();
		fail_at(name, n, ENOMEM);
		rc = take_in(pair.from);
		over = !fail_end();
		ck_assert(is_needed(name) ? (rc == 0) == over : rc == 0 || !over);
		if (rc < 0) {
			one_line(ENOMEM);
			check_zero(&copy, 0, RAM);
		} else {
			check_ram(&copy);
		}
		memory_clear(&copy, NULL);
		carried(pair);
	}
}
END_TEST

/* A signal in between, or a peer that was not ready after all, is no failure. */
START_TEST(interrupted)
{
	static const struct {
		enum carrier carrier;
		const char *name;
		int code;
		bool in;
	} calls[] = {
		{ A_PIPE, "poll", EINTR, false }, { A_PIPE, "writev", EINTR, false },
		{ A_PIPE, "writev", EAGAIN, false }, { A_SOCKET, "sendmsg", EAGAIN, false },
		{ A_PIPE, "poll", EINTR, true }, { A_PIPE, "readv", EINTR, true },
		{ A_SOCKET, "recvmsg", EAGAIN, true },
	};
	bool over = false;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++, over = false) {
		for (unsigned int n = 1; !over; n++) {
			struct pair pair = carry(calls[i].carrier);

			restart();
			if (!calls[i].in)
				call_fail(calls[i].name, n, calls[i].code);
			ck_assert_msg(send_out(calls[i].carrier, pair.to) == 0, "%s", err.text);
			if (calls[i].in)
				call_fail(calls[i].name, n, calls[i].code);
			ck_assert_msg(take_in(pair.from) == 0, "%s", err.text);
			over = !call_has_failed();
			call_fail(calls[i].name, 0, 0);
			check_ram(&copy);
			memory_clear(&copy, NULL);
			carried(pair);
		}
	}
}
END_TEST

/* ---- Reading the file form ---- */

static int read_file(bool map)
{
	struct sections read = { 0 };
	struct snapshot_reader *reader;
	int fd = open(place.path, O_RDONLY | O_CLOEXEC), rc = -1;

	ck_assert_int_ge(fd, 0);
	reader = snapshot_open(fd, &transfer, &read, &err);
	if (reader)
		rc = map ? snapshot_map_ram(reader, &copy, &err) :
			   snapshot_read_ram(reader, &copy, &err);
	snapshot_close(reader);
	sections_free(&read);
	close(fd);
	return rc;
}

START_TEST(a_file_in)
{
	static const char *const calls[] = {
		"fstat", "lseek", "readv", "pread", "fcntl", "mmap", "madvise", NULL,
	};
	const size_t nr = sizeof(calls) / sizeof(calls[0]);
	const char *name = calls[_i % nr];
	bool over = false, map = (size_t)_i / nr;
	unsigned int before = open_descriptors();

	restart();
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, &err), 0);
	for (unsigned int n = 1; !over; n++) {
		int rc;

		restart();
		fail_at(name, n, ENOMEM);
		rc = read_file(map);
		over = !fail_end();
		ck_assert(rc == 0 || !over);
		if (rc < 0) {
			/* The position tells a file from a pipe. */
			one_line(err.code == ESPIPE && n == 1 ? ESPIPE : ENOMEM);
			check_zero(&copy, 0, RAM);
			ck_assert(!copy.from_file);
		} else {
			check_ram(&copy);
		}
		ck_assert_int_eq(memory_clear(&copy, &err), 0);
		ck_assert_uint_eq(open_descriptors(), before);
	}
	/* A signal in between is no failure. */
	call_fail("pread", 1, EINTR);
	ck_assert_msg(read_file(map) == 0, "%s", err.text);
	check_ram(&copy);
}
END_TEST

/* Somebody changes the file between its front and its RAM: nothing comes in, or what there was. */
START_TEST(a_file_that_changes)
{
	static const off_t sizes[] = { 2 * MIB, MIB + 2 * PAGE, 8 * MIB };
	struct sections read = { 0 };
	struct snapshot_reader *reader;
	int fd;

	restart();
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, &err), 0);
	fd = open(place.path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	reader = snapshot_open(fd, &transfer, &read, &err);
	ck_assert_ptr_nonnull(reader);
	if (_i == 3) {
		transfer.cancelled = true;
	} else {
		ck_assert_int_eq(ftruncate(fd, sizes[_i]), 0);
		/* Data behind the end of RAM, so that it is no hole. */
		if (_i == 2)
			ck_assert_int_eq(pwrite(fd, "x", 1, sizes[_i] - 1), 1);
	}
	ck_assert_int_eq(snapshot_read_ram(reader, &copy, &err), _i == 2 ? 0 : -1);
	if (_i == 2) {
		check_ram(&copy);
	} else {
		one_line(_i == 3 ? ECANCELED : ENODATA);
		check_zero(&copy, 0, RAM);
	}
	snapshot_close(reader);
	sections_free(&read);
	close(fd);
}
END_TEST

Suite *snapshot_calls_suite(void)
{
	Suite *s = suite_create("snapshot_calls");
	TCase *t = tcase_create("calls");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_file, 0, (int)(sizeof(of_writers) / sizeof(of_writers[0])));
	tcase_add_test(t, a_directory_that_is_not_flushed);
	tcase_add_loop_test(t, a_stream_out, 0, (int)(CARRIERS * OF_STREAMS));
	tcase_add_loop_test(t, a_stream_in, 0, (int)(CARRIERS * OF_STREAMS));
	tcase_add_test(t, interrupted);
	tcase_add_loop_test(t, a_file_in, 0, 2 * 8);
	tcase_add_loop_test(t, a_file_that_changes, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
