/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/suites.h"

/* Writing that fails, is cancelled, or dies. */

#define RAM     (8 * MIB)

static struct memory ram;
static struct sections sections;
static struct snapshot_transfer transfer;
static struct place place;
static struct error err;

static void fill(struct memory *memory, uint8_t value)
{
	memset(memory->host, value, memory->size);
}

static void setup(void)
{
	ck_assert_int_eq(memory_init(&ram, RAM, NULL), 0);
	fill(&ram, 1);
	make_sections(&sections);
	place_begin(&place);
	/* As the process has them. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static void teardown(void)
{
	memory_destroy(&ram);
	sections_free(&sections);
	place_end(&place);
}

static void restart(void)
{
	memset(&transfer, 0, sizeof(transfer));
	memset(&err, 0, sizeof(err));
}

/* Under this path is a snapshot whose RAM has this value throughout. */
static void check_file(const char *path, uint8_t value)
{
	struct snapshot_transfer reading = { 0 };
	struct sections read = { 0 };
	struct snapshot_reader *reader;
	struct memory memory;
	int fd = open(path, O_RDONLY);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(memory_init(&memory, RAM, NULL), 0);
	reader = snapshot_open(fd, &reading, &read, &err);
	ck_assert_msg(reader != NULL, "%s", err.text);
	check_sections(&read);
	ck_assert_int_eq(snapshot_map_ram(reader, &memory, NULL), 0);
	ck_assert_uint_eq(memory.host[0], value);
	ck_assert(!memcmp(memory.host, memory.host + 1, memory.size - 1));
	snapshot_close(reader);
	close(fd);
	sections_free(&read);
	memory_destroy(&memory);
}

static void old_file(void)
{
	fill(&ram, 7);
	restart();
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, NULL), 0);
	fill(&ram, 8);
	restart();
}

/* It fails with one line that names the path, and leaves what was there. */
static void refuse_path(const char *path, int code)
{
	restart();
	ck_assert_int_eq(snapshot_write_file(path, &sections, &ram, &transfer, &err), -1);
	ck_assert_msg(err.code == code, "%s", err.text);
	ck_assert_msg(!strncmp(err.text, path, strlen(path)) && err.text[strlen(path)] == ':',
		      "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

START_TEST(paths)
{
	char path[128];

	restart();
	ck_assert_int_eq(snapshot_write_file("", &sections, &ram, &transfer, &err), -1);
	ck_assert_str_eq(err.text, "the name of the file is empty");

	refuse_path(place.directory, EISDIR);
	snprintf(path, sizeof(path), "%s/none/snapshot", place.directory);
	refuse_path(path, ENOENT);
	snprintf(path, sizeof(path), "%s/", place.path);
	refuse_path(path, ENOENT);
	refuse_path("/proc/self/snapshot", ENOENT);
	ck_assert_int_eq(mkfifo(place.path, 0600), 0);
	refuse_path(place.path, EINVAL);
	snprintf(path, sizeof(path), "%s/none", place.path);
	refuse_path(path, ENOTDIR);
	ck_assert_uint_eq(place_files(&place), 1);
}
END_TEST

START_TEST(unwritable_directory)
{
	old_file();
	ck_assert_int_eq(chmod(place.directory, 0500), 0);
	/* Root may write anywhere. */
	if (geteuid() || seteuid(65534) == 0) {
		if (!geteuid())
			ck_abort_msg("still root");
		refuse_path(place.path, EACCES);
		if (seteuid(0) == -1)
			ck_assert_uint_ne(geteuid(), 0);
	}
	ck_assert_int_eq(chmod(place.directory, 0700), 0);
	check_file(place.path, 7);
	ck_assert_uint_eq(place_files(&place), 1);
}
END_TEST

START_TEST(symbolic_links_are_replaced)
{
	char target[128];
	struct stat st;

	snprintf(target, sizeof(target), "%s/target", place.directory);
	ck_assert_int_eq(symlink(target, place.path), 0);
	restart();
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, NULL), 0);
	ck_assert_int_eq(lstat(place.path, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_int_eq(access(target, F_OK), -1);
}
END_TEST

START_TEST(in_the_working_directory)
{
	ck_assert_int_eq(chdir(place.directory), 0);
	restart();
	ck_assert_int_eq(snapshot_write_file("snapshot", &sections, &ram, &transfer, NULL), 0);
	check_file("snapshot", 1);
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(limit_of_the_file_size)
{
	struct rlimit old, limit;
	int fd;

	old_file();
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 4 * MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	refuse_path(place.path, EFBIG);
	ck_assert_uint_eq(place_files(&place), 1);
	/* A stream that goes to a file meets it in the middle. */
	fd = open(place.directory, O_TMPFILE | O_RDWR, 0600);
	ck_assert_int_ne(fd, -1);
	restart();
	ck_assert_int_eq(snapshot_write_stream(fd, &sections, &ram, &transfer, &err), -1);
	ck_assert_int_eq(err.code, EFBIG);
	ck_assert_uint_gt(transfer.transferred, MIB);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	close(fd);
	check_file(place.path, 7);
}
END_TEST

START_TEST(full_disk)
{
	struct place disk;

	/* Only root can have a disk of its own, and not in each container. */
	if (unshare(CLONE_NEWNS) == -1 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		return;
	place_begin(&disk);
	if (mount("none", disk.directory, "tmpfs", 0, "size=12m") == 0) {
		restart();
		ck_assert_int_eq(snapshot_write_file(disk.path, &sections, &ram, &transfer, NULL),
				 0);
		refuse_path(disk.path, ENOSPC);
		ck_assert_uint_gt(transfer.transferred, MIB);
		ck_assert_uint_eq(place_files(&disk), 1);
		check_file(disk.path, 1);
		ck_assert_int_eq(umount2(disk.directory, MNT_DETACH), 0);
	}
	place_end(&disk);
}
END_TEST

START_TEST(full_device)
{
	int fd = open("/dev/full", O_WRONLY);

	restart();
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(snapshot_write_stream(fd, &sections, &ram, &transfer, &err), -1);
	ck_assert_int_eq(err.code, ENOSPC);
	close(fd);
	restart();
	ck_assert_int_eq(snapshot_write_stream(fd, &sections, &ram, &transfer, &err), -1);
	ck_assert_int_eq(err.code, EBADF);
}
END_TEST

/* What comes first is lost in the buffers; then it is noticed, and without a signal. */
START_TEST(vanished_peer)
{
	int fd[2], way;

	signal(SIGPIPE, SIG_DFL);
	for (way = 0; way < 2; way++) {
		ck_assert_int_eq(way ? pipe(fd) : socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		close(fd[0]);
		restart();
		ck_assert_int_eq(snapshot_write_stream(fd[1], &sections, &ram, &transfer, &err),
				 -1);
		ck_assert_int_eq(err.code, EPIPE);
		ck_assert_msg(strstr(err.text, "has gone") != NULL, "%s", err.text);
		close(fd[1]);
		/* For a pipe it takes the process to ignore it. */
		signal(SIGPIPE, SIG_IGN);
	}
}
END_TEST

START_TEST(bad_level_of_compression)
{
	static const int level[] = { -1, 23, 1000 };
	int fd = open("/dev/null", O_WRONLY);
	size_t i;

	for (i = 0; i < 3; i++) {
		restart();
		transfer.zstd_level = level[i];
		ck_assert_int_eq(snapshot_write_stream(fd, &sections, &ram, &transfer, &err), -1);
		ck_assert_msg(strstr(err.text, "levels are 1 to 22") != NULL, "%s", err.text);
	}
	close(fd);
}
END_TEST

/* Cancels once something has been moved. */
static void *cancel(void *opaque)
{
	struct snapshot_transfer *t = opaque;

	while (!t->transferred)
		usleep(1000);
	usleep(20000);
	t->cancelled = true;
	return NULL;
}

static pthread_t start_cancel(void)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, cancel, &transfer), 0);
	return thread;
}

static void check_cancelled(int result)
{
	ck_assert_int_eq(result, -1);
	ck_assert_int_eq(err.code, ECANCELED);
}

/* The peer is there and does not read: that would last for ever. */
START_TEST(cancel_while_the_peer_stalls)
{
	int fd[2], way;
	pthread_t thread;

	for (way = 0; way < 2; way++) {
		ck_assert_int_eq(way ? pipe(fd) : socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		restart();
		thread = start_cancel();
		check_cancelled(snapshot_write_stream(fd[1], &sections, &ram, &transfer, &err));
		pthread_join(thread, NULL);
		ck_assert_int_eq(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
		close(fd[0]);
		close(fd[1]);
	}
}
END_TEST

START_TEST(cancel_while_nothing_comes)
{
	struct sections read = { 0 };
	struct memory memory;
	int fd[2];
	pthread_t thread;
	struct bytes_out bytes;

	put_front(&bytes, RAM);
	put_section_head(&bytes, "ram", 1, 1, 48 + PAGE, 0);
	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(write(fd[1], bytes.data, bytes.len), bytes.len);
	ck_assert_int_eq(memory_init(&memory, RAM, NULL), 0);
	restart();
	thread = start_cancel();
	check_cancelled(load_fd(fd[0], &memory, &read, &transfer, &err));
	pthread_join(thread, NULL);
	sections_free(&read);
	memory_destroy(&memory);
	bytes_out_free(&bytes);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

/* A byte a second would last for months. */
START_TEST(cancel_while_throttled)
{
	pthread_t thread;
	int fd = open("/dev/null", O_WRONLY);

	old_file();
	transfer.max_bandwidth = 1;
	thread = start_cancel();
	ck_assert_int_eq(snapshot_write_file(place.path, &sections, &ram, &transfer, &err), -1);
	ck_assert_int_eq(err.code, ECANCELED);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(place_files(&place), 1);
	check_file(place.path, 7);
	restart();
	transfer.max_bandwidth = 1;
	thread = start_cancel();
	check_cancelled(snapshot_write_stream(fd, &sections, &ram, &transfer, &err));
	pthread_join(thread, NULL);
	close(fd);
}
END_TEST

START_TEST(cancelled_beforehand)
{
	int fd = open("/dev/null", O_WRONLY);

	old_file();
	transfer.cancelled = true;
	check_cancelled(snapshot_write_file(place.path, &sections, &ram, &transfer, &err));
	ck_assert_uint_eq(transfer.transferred, 0);
	check_cancelled(snapshot_write_stream(fd, &sections, &ram, &transfer, &err));
	ck_assert_uint_eq(transfer.transferred, 0);
	check_file(place.path, 7);
	close(fd);
}
END_TEST

/* Never faster than it may be: 8 MiB at 32 MiB a second, up to one step at the end. */
START_TEST(bandwidth)
{
	struct timespec from, to;
	double seconds;
	int fd = open("/dev/null", O_WRONLY), way;

	for (way = 0; way < 2; way++) {
		restart();
		transfer.max_bandwidth = 32 * MIB;
		clock_gettime(CLOCK_MONOTONIC, &from);
		ck_assert_int_eq(way ? snapshot_write_file(place.path, &sections, &ram, &transfer,
							   NULL) :
				 snapshot_write_stream(fd, &sections, &ram, &transfer, NULL), 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		seconds = (double)(to.tv_sec - from.tv_sec) +
			  (double)(to.tv_nsec - from.tv_nsec) / 1e9;
		ck_assert_double_ge(seconds, (double)(RAM - MIB) / (32 * MIB));
	}
	close(fd);
}
END_TEST

static uint8_t first_byte(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint8_t value;

	/* RAM begins there when the front is less. */
	ck_assert_int_eq(pread(fd, &value, 1, 2 * MIB), 1);
	close(fd);
	return value;
}

/* A child that saves again and again is killed at any moment. */
START_TEST(killed_while_saving)
{
	struct memory memory;
	unsigned int round;
	uint8_t value;
	pid_t pid;

	old_file();
	srandom((unsigned int)getpid());
	for (round = 0; round < 25; round++) {
		pid = fork();
		ck_assert_int_ne(pid, -1);
		if (!pid) {
			if (memory_init(&memory, RAM, NULL) == -1)
				_exit(1);
			for (value = 1; ; value = (uint8_t)(value % 6 + 1)) {
				fill(&memory, value);
				restart();
				if (snapshot_write_file(place.path, &sections, &memory, &transfer,
							NULL) == -1)
					_exit(1);
			}
		}
		usleep((useconds_t)(random() % 20000));
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		/* Whichever it is, it is one, and it is complete. */
		value = first_byte(place.path);
		check_file(place.path, value);
	}
}
END_TEST

Suite *snapshot_write_suite(void)
{
	Suite *s = suite_create("snapshot_write");
	TCase *t = tcase_create("snapshot_write");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, paths);
	tcase_add_test(t, unwritable_directory);
	tcase_add_test(t, symbolic_links_are_replaced);
	tcase_add_test(t, in_the_working_directory);
	tcase_add_test(t, limit_of_the_file_size);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, full_device);
	tcase_add_test(t, vanished_peer);
	tcase_add_test(t, bad_level_of_compression);
	tcase_add_test(t, cancel_while_the_peer_stalls);
	tcase_add_test(t, cancel_while_nothing_comes);
	tcase_add_test(t, cancel_while_throttled);
	tcase_add_test(t, cancelled_beforehand);
	tcase_add_test(t, bandwidth);
	tcase_add_test(t, killed_while_saving);
	suite_add_tcase(s, t);
	return s;
}
