/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/memsave.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "tests/unit/wire_fixture.h"
#include "vmm/vcpu_space.h"

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

static const _Atomic bool not_cancelled;

static int save_physical(uint64_t addr, uint64_t size, const char *name, struct error *why)
{
	const struct memsave_range range = {
		.memory = &machine.vm->memory, .addr = addr, .size = size,
	};

	return memsave_write(&range, name, &not_cancelled, why);
}

/* As vCPU 0 sees it. */
static int save_virtual(uint64_t addr, uint64_t size, const char *name, struct error *why)
{
	struct memsave_range range = {
		.memory = &machine.vm->memory, .addr = addr, .size = size,
	};
	struct page_space space;
	int rc;

	ck_assert_int_eq(vm_inspect_begin(machine.vm, 0, why), 0);
	ck_assert_int_eq(vcpu_page_space(&machine.vm->vcpu[0].state, &machine.vm->memory, &space,
					 why), 0);
	range.space = &space;
	rc = memsave_write(&range, name, &not_cancelled, why);
	vm_inspect_end(machine.vm);
	return rc;
}

START_TEST(virtual)
{
	machine_long_mode(0);
	ck_assert_int_eq(save_virtual(0x40000ffe, 4, path, &err), 0);
	ck_assert_int_eq(file_size(), 4);
	check_file(0, ram + 0x3ffe, 2);
	check_file(2, ram + 0x2000, 2);
	/* More than one piece, over what an earlier dump left. */
	ck_assert_int_eq(save_virtual(0x80000001, RAM - 1, path, &err), 0);
	ck_assert_int_eq(file_size(), RAM - 1);
	check_file(0, ram + 1, RAM - 1);
	ck_assert_int_eq(save_virtual(0x40000000, 0, path, &err), 0);
	ck_assert_int_eq(file_size(), 0);
	/* With paging off an address is what it is. */
	machine_model(0)->sregs.cr0 = 0x11;
	machine_run_all();
	ck_assert_int_eq(save_virtual(0x5000, 16, path, &err), 0);
	check_file(0, ram + 0x5000, 16);
	ck_assert(vm_is_running(machine.vm));
}
END_TEST

START_TEST(virtual_gap)
{
	machine_long_mode(0);
	ck_assert_int_eq(save_virtual(0x40001000, 4097, path, &err), -1);
	ck_assert_str_eq(err.text, "Invalid addr 0x0000000040001000/size 4097 specified");
	ck_assert_int_eq(file_size(), -1);
	/* Found only in a later piece. */
	ck_assert_int_eq(save_virtual(0x80000000, RAM + 1, path, &err), -1);
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(save_virtual(0x40000000, UINT64_MAX, path, &err), -1);
	ck_assert_str_eq(err.text, "Invalid addr 0x0000000040000000/size -1 specified");
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
	ck_assert_int_eq(save_physical(0x3000, 16, path, &err), 0);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(file_size(), 16);
	check_file(0, ram + 0x3000, 16);
	close(fd);
	/* After a failure it is there, and empty. */
	machine_long_mode(0);
	ck_assert_int_eq(save_virtual(0x80000000, RAM + 1, path, &err), -1);
	ck_assert_int_eq(file_size(), 0);
}
END_TEST

START_TEST(physical)
{
	static const uint8_t zeros[4096];

	ck_assert_int_eq(save_physical(0x1001, 0x100000, path, &err), 0);
	ck_assert_int_eq(file_size(), 0x100000);
	check_file(0, ram + 0x1001, 0x100000);
	/* What is no RAM reads as zeros. */
	ck_assert_int_eq(save_physical(RAM - 8, 4096, path, &err), 0);
	ck_assert_int_eq(file_size(), 4096);
	check_file(0, ram + RAM - 8, 8);
	check_file(8, zeros, 4096 - 8);
	ck_assert_int_eq(save_physical(0xd0000000, 16, path, &err), 0);
	ck_assert_int_eq(file_size(), 16);
	check_file(0, zeros, 16);
	/* Addresses wrap at the end of 64 bits. */
	ck_assert_int_eq(save_physical(-16, 32, path, &err), 0);
	ck_assert_int_eq(file_size(), 32);
	check_file(0, zeros, 16);
	check_file(16, ram, 16);
	ck_assert_int_eq(save_physical(0x1000, 0, path, &err), 0);
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
	ck_assert_int_eq(save_physical(0, 0x6000, path, &err), 0);
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
	ck_assert_int_eq(save_physical(0, UINT64_MAX, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "': File too large"));
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(save_physical(RAM, 1ULL << 40, path, &err), 0);
	ck_assert_int_eq(file_size(), 1LL << 40);
}
END_TEST

START_TEST(no_room)
{
	struct rlimit limit = { 64 << 10, RLIM_INFINITY }, before;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(save_physical(0, 128 << 10, path, &err), -1);
	ck_assert_ptr_eq(strstr(err.text, "Could not write '/tmp/"), err.text);
	ck_assert_ptr_nonnull(strstr(err.text, "File too large"));
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(save_physical(RAM, 128 << 10, path, &err), -1);
	ck_assert_int_eq(file_size(), -1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
}
END_TEST

START_TEST(no_file)
{
	char expected[128];
	int reader;

	ck_assert_int_eq(save_physical(0, 1, "", &err), -1);
	ck_assert_str_eq(err.text, "Could not open '': No such file or directory");
	ck_assert_int_eq(save_physical(0, 1, dir, &err), -1);
	snprintf(expected, sizeof(expected), "Could not open '%s': Is a directory", dir);
	ck_assert_str_eq(err.text, expected);
	/* Neither kind of waiting, for a reader or for room in the pipe. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(save_physical(0, 1, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "Could not open '"));
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_eq(save_physical(0, RAM, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "': not a regular file"));
	close(reader);
	ck_assert_int_eq(save_physical(0, 1, "/dev/null", &err), -1);
	ck_assert_int_eq(access("/dev/null", F_OK), 0);
}
END_TEST

START_TEST(locked)
{
	int fd;

	write_file("theirs");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(save_physical(0, 1, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "': it is being written already"));
	ck_assert_int_eq(file_size(), 6);
	close(fd);
	ck_assert_int_eq(save_physical(0, 1, path, &err), 0);
	ck_assert_int_eq(file_size(), 1);
}
END_TEST

START_TEST(cancelled)
{
	const struct memsave_range range = { .memory = &machine.vm->memory, .size = RAM };
	const _Atomic bool yes = true;

	ck_assert_int_eq(memsave_write(&range, path, &yes, &err), -1);
	ck_assert_int_eq(file_size(), -1);
	write_file("theirs");
	ck_assert_int_eq(memsave_write(&range, path, &yes, &err), -1);
	ck_assert_int_eq(file_size(), 0);
}
END_TEST

/* ---- Commands ---- */

static struct wire wire;
static struct peer peer, other;
/* A disk that takes its time: a thread goes on for each post, or when it is cancelled. */
static sem_t disk;
static _Atomic bool slow;
static bool expect_none;        /* when the monitor has ended, of the file */

int __real_memsave_write(const struct memsave_range *range, const char *filename,
			 const _Atomic bool *is_cancelled, struct error *why);
int __wrap_memsave_write(const struct memsave_range *range, const char *filename,
			 const _Atomic bool *is_cancelled, struct error *why);
int __wrap_memsave_write(const struct memsave_range *range, const char *filename,
			 const _Atomic bool *is_cancelled, struct error *why)
{
	while (slow && !*is_cancelled && sem_trywait(&disk) < 0)
		usleep(1000);
	return __real_memsave_write(range, filename, is_cancelled, why);
}

static void setup_wire(void)
{
	setup();
	slow = true;
	ck_assert_int_eq(sem_init(&disk, 0, 0), 0);
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
	other = wire_connect_ready(&wire);
}

static void teardown_wire(void)
{
	peer_close(&peer);
	peer_close(&other);
	wire_close(&wire);
	sem_destroy(&disk);
	slow = false;
	if (expect_none)
		ck_assert_int_eq(file_size(), -1);
	expect_none = false;
	teardown();
}

static void say(struct peer *to, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	wire_send(&wire, to, text, strlen(text));
	wire_settle(&wire, to);
}

/* Until a thread has come to its end, and its reply has come. */
static void await(struct peer *from, const char *expected)
{
	while (from->len < strlen(expected)) {
		wire_settle(&wire, from);
		usleep(1000);
	}
	ck_assert_str_eq(from->text, expected);
	peer_clear(from);
}

#define PMEMSAVE(size) "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":0,\"size\":" size "," \
	"\"filename\":\"%s\"}}"
#define MEMSAVE(more) "{\"execute\":\"memsave\",\"arguments\":{\"val\":2147483648,\"size\":4096," \
	"\"filename\":\"%s\"" more "}}"
#define HMP(line) "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":" \
	"\"" line "\"}}"
#define QUERY "{\"execute\":\"query-name\"}"
#define NAME "{\"return\": {\"name\": \"guest\"}}\r\n"

START_TEST(nobody_waits)
{
	say(&peer, PMEMSAVE("8192"), path);
	say(&peer, QUERY);
	ck_assert_uint_eq(peer.len, 0);
	wire_expect(&wire, &other, QUERY, NAME);
	ck_assert_int_eq(file_size(), -1);
	sem_post(&disk);
	await(&peer, OK NAME);
	ck_assert_int_eq(file_size(), 8192);
	check_file(0, ram, 8192);
}
END_TEST

/* In the address space that the vCPU was in, and not a vCPU that there is not. */
START_TEST(virtual_command)
{
	struct page_space later;

	machine_long_mode(0);
	say(&peer, MEMSAVE(""), path);
	machine_run_all();
	machine_model(0)->sregs.cr3 = 0;
	/* And somebody has seen that. */
	ck_assert_int_eq(vm_inspect_begin(machine.vm, 0, &err), 0);
	ck_assert_int_eq(vcpu_page_space(&machine.vm->vcpu[0].state, &machine.vm->memory, &later,
					 &err), 0);
	ck_assert_uint_eq(later.sregs->cr3, 0);
	vm_inspect_end(machine.vm);
	sem_post(&disk);
	await(&peer, OK);
	check_file(0, ram, 4096);
	ck_assert(vm_is_running(machine.vm));
	say(&peer, MEMSAVE(",\"cpu-index\":1"), path);
	await(&peer, ERROR("Parameter 'cpu-index' expects a CPU number"));
	say(&peer, MEMSAVE(",\"cpu-index\":-1"), path);
	await(&peer, ERROR("Parameter 'cpu-index' expects a CPU number"));
}
END_TEST

START_TEST(client_gone)
{
	say(&peer, PMEMSAVE("4096"), path);
	peer_close(&peer);
	wire_settle(&wire, NULL);
	sem_post(&disk);
	while (file_size() != 4096)
		wire_turn(&wire);
	check_file(0, ram, 4096);
}
END_TEST

/* The fixture ends the monitor, and so all of them; nothing is left of the file. */
START_TEST(quit)
{
	char second[80];

	/* Two files: of two that begin with one at once, one finds it there, and leaves it empty. */
	snprintf(second, sizeof(second), "%s.second", path);
	say(&peer, PMEMSAVE("4096"), path);
	say(&other, HMP("pmemsave 0 4096 \\\"%s\\\""), second);
	ck_assert_uint_eq(peer.len + other.len, 0);
	expect_none = true;
}
END_TEST

START_TEST(too_many)
{
	struct peer many[MEMSAVES_MAX];

	for (unsigned int i = 0; i < MEMSAVES_MAX; i++) {
		many[i] = wire_connect_ready(&wire);
		say(&many[i], PMEMSAVE("1"), "/nonexistent/a");
		ck_assert_uint_eq(many[i].len, 0);
	}
	say(&peer, PMEMSAVE("1"), "/nonexistent/a");
	await(&peer, ERROR("Could not save to '/nonexistent/a': 16 files are being written already; "
			   "try again when one is complete"));
	for (unsigned int i = 0; i < MEMSAVES_MAX; i++)
		sem_post(&disk);
	for (unsigned int i = 0; i < MEMSAVES_MAX; i++) {
		await(&many[i], ERROR("Could not open '/nonexistent/a': No such file or directory"));
		peer_close(&many[i]);
	}
	sem_post(&disk);
	say(&peer, PMEMSAVE("1"), path);
	await(&peer, OK);
}
END_TEST

START_TEST(hmp_command)
{
	slow = false;
	say(&peer, HMP("pmemsave 0 16 \\\"\\\""));
	await(&peer, "{\"return\": \"Error: Could not open '': No such file or directory\\r\\n\"}\r\n");
	say(&peer, HMP("pmemsave 0 16 \\\"/nonexistent/a\\\""));
	await(&peer, "{\"return\": \"Error: Could not open '/nonexistent/a': No such file or directory"
	      "\\r\\n\"}\r\n");
	say(&peer, HMP("pmemsave 0x1000 16 \\\"%s\\\""), path);
	await(&peer, "{\"return\": \"\"}\r\n");
	check_file(0, ram + 0x1000, 16);
}
END_TEST

START_TEST(no_memory)
{
	struct memsave *save;

	slow = false;
	alloc_fail_at(1);
	save = memsave_start(wire.monitor, 0, 0, 1, path, &err);
	ck_assert(alloc_has_failed());
	ck_assert_ptr_null(save);
	ck_assert_ptr_nonnull(strstr(err.text, "Could not save to '"));
	ck_assert_int_eq(file_size(), -1);
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
	tcase_add_test(tc, locked);
	tcase_add_test(tc, cancelled);
	suite_add_tcase(suite, tc);

	tc = tcase_create("commands");
	tcase_add_checked_fixture(tc, setup_wire, teardown_wire);
	tcase_add_test(tc, nobody_waits);
	tcase_add_test(tc, virtual_command);
	tcase_add_test(tc, client_gone);
	tcase_add_test(tc, quit);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, hmp_command);
	tcase_add_test(tc, no_memory);
	suite_add_tcase(suite, tc);
	return suite;
}
