/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/memsave.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

#define RAM     (2u << 20)

static char dir[] = "/tmp/vmond-memsave-XXXXXX";
static char path[64];
static struct error err;
static uint8_t *ram;

static void setup(void)
{
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dump", dir);
	memset(&err, 0, sizeof(err));
	machine_host();
	machine_start(1);
	ram = machine.vm->memory.host;
	for (unsigned int i = 0; i < RAM; i++)
		ram[i] = (i >> 12) * 7 + i;
}

static void teardown(void)
{
	machine_stop();
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* Its size, or -1 when there is no such file. */
static off_t file_size(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void check_file(off_t offset, const void *expected, size_t len)
{
	uint8_t *buf = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, buf, len, offset), len);
	ck_assert_int_eq(memcmp(buf, expected, len), 0);
	close(fd);
	free(buf);
}

static void write_file(const char *bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

START_TEST(virtual)
{
	machine_long_mode(0);
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x40000ffe, 4, path, &err), 0);
	ck_assert_int_eq(file_size(), 4);
	check_file(0, ram + 0x3ffe, 2);
	check_file(2, ram + 0x2000, 2);
	/* More than one piece, over what an earlier dump left. */
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x80000001, RAM - 1, path, &err), 0);
	ck_assert_int_eq(file_size(), RAM - 1);
	check_file(0, ram + 1, RAM - 1);
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x40000000, 0, path, &err), 0);
	ck_assert_int_eq(file_size(), 0);
	/* With paging off an address is what it is. */
	machine_model(0)->sregs.cr0 = 0x11;
	machine_run_all();
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x5000, 16, path, &err), 0);
	check_file(0, ram + 0x5000, 16);
	ck_assert(vm_is_running(machine.vm));
}
END_TEST

START_TEST(virtual_gap)
{
	machine_long_mode(0);
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x40001000, 4097, path, &err), -1);
	ck_assert_str_eq(err.text, "Invalid addr 0x0000000040001000/size 4097 specified");
	ck_assert_int_eq(file_size(), -1);
	/* Found only in a later piece. */
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x80000000, RAM + 1, path, &err), -1);
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x40000000, UINT64_MAX, path, &err), -1);
	ck_assert_str_eq(err.text, "Invalid addr 0x0000000040000000/size -1 specified");
	ck_assert_int_eq(memsave_virtual(machine.vm, 1, 0x80000000, 1, path, &err), -1);
	ck_assert_str_eq(err.text, "Parameter 'cpu-index' expects a CPU number");
	ck_assert_int_eq(memsave_virtual(machine.vm, -1, 0x80000000, 1, path, &err), -1);
	ck_assert_int_eq(file_size(), -1);
}
END_TEST

START_TEST(file_of_others)
{
	struct stat before, after;
	int fd;

	/* Whoever holds the file open finds the dump in it. */
	write_file("what was there before, which is longer");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(memsave_physical(machine.vm, 0x3000, 16, path, &err), 0);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(file_size(), 16);
	check_file(0, ram + 0x3000, 16);
	close(fd);
	/* After a failure it is there, and empty. */
	machine_long_mode(0);
	ck_assert_int_eq(memsave_virtual(machine.vm, 0, 0x80000000, RAM + 1, path, &err), -1);
	ck_assert_int_eq(file_size(), 0);
}
END_TEST

START_TEST(physical)
{
	static const uint8_t zeros[4096];

	ck_assert_int_eq(memsave_physical(machine.vm, 0x1001, 0x100000, path, &err), 0);
	ck_assert_int_eq(file_size(), 0x100000);
	check_file(0, ram + 0x1001, 0x100000);
	/* What is no RAM reads as zeros. */
	ck_assert_int_eq(memsave_physical(machine.vm, RAM - 8, 4096, path, &err), 0);
	ck_assert_int_eq(file_size(), 4096);
	check_file(0, ram + RAM - 8, 8);
	check_file(8, zeros, 4096 - 8);
	ck_assert_int_eq(memsave_physical(machine.vm, 0xd0000000, 16, path, &err), 0);
	ck_assert_int_eq(file_size(), 16);
	check_file(0, zeros, 16);
	/* Addresses wrap at the end of 64 bits. */
	ck_assert_int_eq(memsave_physical(machine.vm, -16, 32, path, &err), 0);
	ck_assert_int_eq(file_size(), 32);
	check_file(0, zeros, 16);
	check_file(16, ram, 16);
	ck_assert_int_eq(memsave_physical(machine.vm, 0x1000, 0, path, &err), 0);
	ck_assert_int_eq(file_size(), 0);
}
END_TEST

START_TEST(physical_two_parts)
{
	struct memory *memory = &machine.vm->memory;
	const struct memory whole = *memory;
	static const uint8_t zeros[4096];

	memory->nr_parts = 2;
	memory->part[0] = (struct memory_part){ 0x1000, 0x1000, ram };
	memory->part[1] = (struct memory_part){ 0x4000, 0x1000, ram + 0x1000 };
	ck_assert_int_eq(memsave_physical(machine.vm, 0, 0x6000, path, &err), 0);
	*memory = whole;
	ck_assert_int_eq(file_size(), 0x6000);
	check_file(0, zeros, 4096);
	check_file(0x1000, ram, 4096);
	check_file(0x2000, zeros, 4096);
	check_file(0x3000, zeros, 4096);
	check_file(0x4000, ram + 0x1000, 4096);
	check_file(0x5000, zeros, 4096);
}
END_TEST

START_TEST(huge)
{
	/* Nobody writes all these zeros: they are a hole, or more than a file can hold. */
	ck_assert_int_eq(memsave_physical(machine.vm, 0, UINT64_MAX, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "': File too large"));
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(memsave_physical(machine.vm, RAM, 1ULL << 40, path, &err), 0);
	ck_assert_int_eq(file_size(), 1LL << 40);
}
END_TEST

START_TEST(no_room)
{
	struct rlimit limit = { 64 << 10, RLIM_INFINITY }, before;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(memsave_physical(machine.vm, 0, 128 << 10, path, &err), -1);
	ck_assert_ptr_eq(strstr(err.text, "Could not write '/tmp/"), err.text);
	ck_assert_ptr_nonnull(strstr(err.text, "File too large"));
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(memsave_physical(machine.vm, RAM, 128 << 10, path, &err), -1);
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
}
END_TEST

START_TEST(no_file)
{
	char expected[128];
	int reader;

	ck_assert_int_eq(memsave_physical(machine.vm, 0, 1, "", &err), -1);
	ck_assert_str_eq(err.text, "Could not open '': No such file or directory");
	ck_assert_int_eq(memsave_physical(machine.vm, 0, 1, dir, &err), -1);
	snprintf(expected, sizeof(expected), "Could not open '%s': Is a directory", dir);
	ck_assert_str_eq(err.text, expected);
	/* Neither kind of waiting, for a reader or for room in the pipe. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(memsave_physical(machine.vm, 0, 1, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "Could not open '"));
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_eq(memsave_physical(machine.vm, 0, RAM, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "': not a regular file"));
	close(reader);
	ck_assert_int_eq(memsave_physical(machine.vm, 0, 1, "/dev/null", &err), -1);
	ck_assert_int_eq(access("/dev/null", F_OK), 0);
}
END_TEST

Suite *memsave_suite(void)
{
	Suite *suite = suite_create("memsave");
	TCase *tc = tcase_create("memsave");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, virtual);
	tcase_add_test(tc, virtual_gap);
	tcase_add_test(tc, file_of_others);
	tcase_add_test(tc, physical);
	tcase_add_test(tc, physical_two_parts);
	tcase_add_test(tc, huge);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, no_file);
	suite_add_tcase(suite, tc);
	return suite;
}
