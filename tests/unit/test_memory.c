/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/call_fail.h"
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/memory.h"

#define GIB     (1ULL << 30)

/* A layout without a mapping of that size behind it: two parts of one page, where `second` says. */
static uint8_t pages[2 * 4096];

static struct memory two_parts(uint64_t second)
{
	return (struct memory){
		.host = pages, .size = sizeof(pages), .nr_parts = 2,
		.part = { { .gpa = 0, .size = 4096, .host = pages },
			  { .gpa = second, .size = 4096, .host = pages + 4096 } },
	};
}

/* RAM and swap, which no mapping may exceed on a host that is set up as hosts are. */
static uint64_t host_memory(void)
{
	struct sysinfo si;

	ck_assert_int_eq(sysinfo(&si), 0);
	return ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
}

static int overcommit_mode(void)
{
	FILE *f = fopen("/proc/sys/vm/overcommit_memory", "r");
	int mode = -1;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%d", &mode), 1);
	fclose(f);
	return mode;
}

START_TEST(layout_small)
{
	struct memory m;

	ck_assert_int_eq(memory_init(&m, MIB, NULL), 0);
	ck_assert_uint_eq(m.nr_parts, 1);
	ck_assert_uint_eq(m.size, MIB);
	ck_assert_uint_eq(m.part[0].gpa, 0);
	ck_assert_uint_eq(m.part[0].size, MIB);
	ck_assert_ptr_eq(m.part[0].host, m.host);
	ck_assert_uint_eq((uintptr_t)m.host % (2 * MIB), 0);
	ck_assert_uint_eq(m.host[0] | m.host[MIB - 1], 0);
	memory_destroy(&m);
	ck_assert_ptr_null(m.host);
	memory_destroy(&m);
}
END_TEST

START_TEST(layout_around_the_hole)
{
	struct memory m;
	struct error err;

	/* A host of less than 4 GiB has no such machines either. */
	if (host_memory() < 4 * GIB && overcommit_mode() != 1)
		return;
	ck_assert_int_eq(memory_init(&m, MEMORY_LOW_MAX, NULL), 0);
	ck_assert_uint_eq(m.nr_parts, 1);
	ck_assert_ptr_nonnull(memory_at(&m, MEMORY_LOW_MAX, 0));
	ck_assert_ptr_null(memory_at(&m, MEMORY_HIGH, 0));
	memory_destroy(&m);

	ck_assert_msg(memory_init(&m, MEMORY_LOW_MAX + 4096, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(m.nr_parts, 2);
	ck_assert_uint_eq(m.part[0].size, MEMORY_LOW_MAX);
	ck_assert_uint_eq(m.part[1].gpa, MEMORY_HIGH);
	ck_assert_uint_eq(m.part[1].size, 4096);
	ck_assert_ptr_eq(m.part[1].host, m.host + MEMORY_LOW_MAX);
	ck_assert_ptr_eq(memory_at(&m, MEMORY_HIGH + 4095, 1), m.host + MEMORY_LOW_MAX + 4095);
	ck_assert_ptr_null(memory_at(&m, MEMORY_HIGH + 4095, 2));
	ck_assert_ptr_null(memory_at(&m, MEMORY_LOW_MAX - 1, 2));
	memory_destroy(&m);
}
END_TEST

START_TEST(nothing_is_touched)
{
	unsigned char resident[256 * MIB / 4096];
	struct memory m;
	size_t i, n = 0;

	ck_assert_int_eq(memory_init(&m, 256 * MIB, NULL), 0);
	ck_assert_int_eq(mincore(m.host, m.size, resident), 0);
	for (i = 0; i < sizeof(resident); i++)
		n += resident[i] & 1;
	ck_assert_uint_eq(n, 0);
	memory_destroy(&m);
}
END_TEST

START_TEST(children_do_not_inherit)
{
	unsigned char resident;
	struct memory m;
	int status;
	pid_t pid;

	ck_assert_int_eq(memory_init(&m, MIB, NULL), 0);
	pid = fork();
	ck_assert_int_ne(pid, -1);
	if (!pid)
		_exit(mincore(m.host, 4096, &resident) == -1 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	memory_destroy(&m);
}
END_TEST

static void refuse(uint64_t size, int code, const char *text)
{
	struct memory m;
	struct error err = { 0 };

	ck_assert_int_eq(memory_init(&m, size, &err), -1);
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_ptr_null(m.host);
	ck_assert_uint_eq(m.nr_parts, 0);
	memory_destroy(&m);
}

START_TEST(bad_sizes)
{
	refuse(0, EINVAL, "at least 1 MiB");
	refuse(MIB - 4096, EINVAL, "memory size 1020 KiB is too small");
	refuse(MIB + 1, EINVAL, "1048577 is no multiple of 4096");
	refuse(MIB + 512, EINVAL, "no multiple");
	refuse(-4096ULL, EINVAL, "more than x86 can address");
	refuse(1ULL << 52, EINVAL, "more than x86 can address");
}
END_TEST

START_TEST(more_than_the_host_has)
{
	/* Larger than any address space: refused however the host is set up. */
	refuse((1ULL << 52) - 2 * GIB, ENOMEM, "memory size 3.9 PiB: this host ");
	/* A host that always overcommits gives what it does not have. */
	if (overcommit_mode() != 1)
		refuse((host_memory() + 64 * MIB) & -4096ULL, ENOMEM, "ask for less");
}
END_TEST

START_TEST(limit_of_the_process)
{
	FILE *f = fopen("/proc/self/statm", "r");
	struct rlimit old, limit;
	unsigned long pages_now;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu", &pages_now), 1);
	fclose(f);
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &old), 0);
	limit = old;
	limit.rlim_cur = pages_now * sysconf(_SC_PAGESIZE) + 128 * MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	refuse(256 * MIB, ENOMEM, "ulimit -v");
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &old), 0);
}
END_TEST

/* ---- A host that refuses ---- */

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* It says how much it has left to promise, and where it does not say so, what else is known. */
START_TEST(a_host_that_never_overcommits)
{
	static const struct {
		const char *mode, *meminfo, *text;
	} hosts[] = {
		{ "2\n", "MemTotal: 1 kB\nCommitLimit:  3072 kB\nCommitted_AS:  1536 kB\n",
		  "memory size 4 MiB: this host does not overcommit (vm.overcommit_memory is 2) and "
		  "has 1.5 MiB left to promise; ask for less, or allow more by vm.overcommit_ratio" },
		{ "2\n", "CommitLimit: 3072 kB\nCommitted_AS: 4096 kB\n", "has 0 bytes left" },
		{ "2\n", "CommitLimit: 9999 kB\nCommitted_AS: 0 kB\n", "ulimit -v" },
		{ "2\n", "CommitLimit: 3072 kB\n", "ulimit -v" },
		{ "0\n", "CommitLimit: 0 kB\nCommitted_AS: 0 kB\n", "ulimit -v" },
		{ "two\n", "CommitLimit: 0 kB\nCommitted_AS: 0 kB\n", "ulimit -v" },
	};
	struct place place;

	place_begin(&place);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		write_file(place.directory, "overcommit_memory", hosts[i].mode);
		write_file(place.directory, "meminfo", hosts[i].meminfo);
		call_fopen_in(place.directory);
		for (unsigned int n = 1; n <= 2; n++) {
			call_fail("mmap", n, ENOMEM);
			refuse(4 * MIB, ENOMEM, hosts[i].text);
			ck_assert(call_has_failed());
		}
		call_fopen_in(NULL);
	}
	/* Neither file can be read: that is no reason for another failure. */
	write_file(place.directory, "overcommit_memory", "2\n");
	call_fopen_in(place.directory);
	for (unsigned int n = 1; n <= 2; n++) {
		struct memory m;
		struct error err;

		call_fail("fopen", n, EMFILE);
		ck_assert_int_eq(memory_init(&m, (1ULL << 52) - 2 * GIB, &err), -1);
		ck_assert(call_has_failed());
		ck_assert_int_eq(err.code, ENOMEM);
		ck_assert_ptr_nonnull(strstr(err.text, "swap"));
	}
	call_fopen_in(NULL);
	place_end(&place);
}
END_TEST

/* All that is mapped, in pages. */
static unsigned long mapped(void)
{
	unsigned long pages_now;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu", &pages_now), 1);
	fclose(f);
	return pages_now;
}

START_TEST(calls_fail)
{
	static const char *const calls[] = { "munmap", "madvise", "mmap" };
	struct error err = { .code = 0 };
	unsigned long before = mapped();
	bool over = false;
	struct memory m;
	unsigned int n;
	int rc;

	for (n = 1; !over; n++) {
		call_fail(calls[_i], n, ENOMEM);
		rc = memory_init(&m, 64 * MIB, &err);
		over = !call_has_failed();
		call_fail(calls[_i], 0, 0);
		ck_assert(rc == 0 || !over);
		if (rc < 0) {
			ck_assert_int_eq(err.code, ENOMEM);
			ck_assert_ptr_null(strchr(err.text, '\n'));
			ck_assert_ptr_null(m.host);
		}
		memory_destroy(&m);
		ck_assert_uint_eq(mapped(), before);
	}
	ck_assert_uint_gt(n, 2);
	/* RAM that can not be emptied is as it was, and still mapped. */
	ck_assert_int_eq(memory_init(&m, 2 * MIB, &err), 0);
	m.host[5] = 5;
	call_fail("mmap", 1, ENOMEM);
	ck_assert_int_eq(memory_clear(&m, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "memory size 2 MiB"));
	ck_assert_uint_eq(m.host[5], 5);
	call_fail("madvise", 1, ENOMEM);
	ck_assert_int_eq(memory_clear(&m, &err), -1);
	ck_assert_str_eq(err.text, "cannot set up guest memory: Cannot allocate memory");
	ck_assert_uint_eq(m.host[5], 0);
	ck_assert_int_eq(memory_clear(&m, &err), 0);
	memory_destroy(&m);
}
END_TEST

START_TEST(at_edges)
{
	struct memory m;

	ck_assert_int_eq(memory_init(&m, MIB, NULL), 0);
	ck_assert_ptr_eq(memory_at(&m, 0, MIB), m.host);
	ck_assert_ptr_null(memory_at(&m, 0, MIB + 1));
	ck_assert_ptr_eq(memory_at(&m, MIB - 1, 1), m.host + MIB - 1);
	ck_assert_ptr_null(memory_at(&m, MIB, 1));
	ck_assert_ptr_eq(memory_at(&m, MIB, 0), m.host + MIB);
	ck_assert_ptr_null(memory_at(&m, MIB + 1, 0));
	ck_assert_ptr_null(memory_at(&m, 4096, UINT64_MAX));
	ck_assert_ptr_null(memory_at(&m, UINT64_MAX, 2));
	memory_destroy(&m);
}
END_TEST

START_TEST(copies)
{
	char in[] = "guest", out[sizeof(in)] = "";
	struct memory m;

	ck_assert_int_eq(memory_init(&m, MIB, NULL), 0);
	ck_assert(memory_write(&m, MIB - sizeof(in), in, sizeof(in)));
	ck_assert(memory_read(&m, MIB - sizeof(in), out, sizeof(in)));
	ck_assert_str_eq(out, "guest");
	ck_assert(!memory_read(&m, MIB - sizeof(in) + 1, out, sizeof(in)));
	ck_assert(!memory_read(&m, UINT64_MAX, out, sizeof(in)));
	ck_assert(memory_read(&m, MIB, out, 0));
	memory_destroy(&m);
}
END_TEST

START_TEST(copies_over_the_border)
{
	struct memory m = two_parts(4096);
	char in[] = "border", out[sizeof(in)] = "";

	/* On the host the parts lie the other way round, so that one long copy would be seen. */
	m.part[0].host = pages + 4096;
	m.part[1].host = pages;
	ck_assert(memory_write(&m, 4096 - 3, in, sizeof(in)));
	ck_assert_mem_eq(pages + 8192 - 3, "bor", 3);
	ck_assert_mem_eq(pages, "der", 4);
	ck_assert(memory_read(&m, 4096 - 3, out, sizeof(in)));
	ck_assert_str_eq(out, "border");
	ck_assert_ptr_null(memory_at(&m, 4096 - 3, sizeof(in)));
	/* The border itself belongs to the part that starts there. */
	ck_assert_ptr_eq(memory_at(&m, 4096, 0), pages);
}
END_TEST

START_TEST(copies_nothing_in_half)
{
	struct memory m = two_parts(16384);
	char out[8] = "old";

	memset(pages, 'x', sizeof(pages));
	ck_assert(!memory_write(&m, 4096 - 3, "border", 6));
	ck_assert_mem_eq(pages + 4096 - 3, "xxx", 3);
	ck_assert(!memory_read(&m, 4096 - 3, out, 6));
	ck_assert_str_eq(out, "old");
	ck_assert(!memory_write(&m, 16384 + 4096 - 3, "border", 6));
	ck_assert_mem_eq(pages + 8192 - 3, "xxx", 3);
}
END_TEST

Suite *memory_suite(void)
{
	Suite *s = suite_create("memory");
	TCase *t = tcase_create("memory");

	tcase_add_test(t, layout_small);
	tcase_add_test(t, layout_around_the_hole);
	tcase_add_test(t, nothing_is_touched);
	tcase_add_test(t, children_do_not_inherit);
	tcase_add_test(t, bad_sizes);
	tcase_add_test(t, more_than_the_host_has);
	tcase_add_test(t, limit_of_the_process);
	tcase_add_test(t, a_host_that_never_overcommits);
	tcase_add_loop_test(t, calls_fail, 0, 3);
	tcase_add_test(t, at_edges);
	tcase_add_test(t, copies);
	tcase_add_test(t, copies_over_the_border);
	tcase_add_test(t, copies_nothing_in_half);
	suite_add_tcase(s, t);
	return s;
}
