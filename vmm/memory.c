/* SPDX-License-Identifier: MIT */
#include "vmm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define MEMORY_MIN      (1ULL << 20)
/* Physical addresses of x86 end at 52 bits, and the hole takes some of them. */
#define MEMORY_MAX      ((1ULL << 52) - (MEMORY_HIGH - MEMORY_LOW_MAX))
/* The host can back guest pages with 2 MiB pages only where both sides are so aligned. */
#define MEMORY_ALIGN    (2ULL << 20)

#define OVERCOMMIT_NEVER 2      /* vm.overcommit_memory, Documentation/mm/overcommit-accounting */

#define SIZE_TEXT_LEN   40

/* "3 GiB", "512.5 MiB": for people, in the largest unit that leaves at least 1. */
static const char *size_text(char text[SIZE_TEXT_LEN], uint64_t size)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t rest = 0;
	unsigned int u = 0;

	for (; size >= 1024 && u + 1 < sizeof(unit) / sizeof(unit[0]); u++) {
		rest = size % 1024;
		size /= 1024;
	}
	if (rest * 10 / 1024)
		snprintf(text, SIZE_TEXT_LEN, "%" PRIu64 ".%" PRIu64 " %s", size, rest * 10 / 1024,
			 unit[u]);
	else
		snprintf(text, SIZE_TEXT_LEN, "%" PRIu64 " %s", size, unit[u]);
	return text;
}

/* vm.overcommit_memory; the default, 0, when it can not be read. */
static int overcommit_mode(void)
{
	int mode = 0;
	FILE *f = fopen("/proc/sys/vm/overcommit_memory", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%d", &mode) != 1)
		mode = 0;
	fclose(f);
	return mode;
}

/* What a host that never overcommits can still promise, in bytes.  False when it is not known. */
static bool uncommitted(uint64_t *bytes)
{
	uint64_t limit = 0, committed = 0;
	bool have_limit = false, have_committed = false;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CommitLimit: %" SCNu64, &limit) == 1)
			have_limit = true;
		else if (sscanf(line, "Committed_AS: %" SCNu64, &committed) == 1)
			have_committed = true;
	}
	fclose(f);
	*bytes = limit > committed ? (limit - committed) << 10 : 0;
	return have_limit && have_committed;
}

/*
 * Says why the host refused.  Linux by default turns down a single mapping only when it is larger
 * than all RAM and swap together; a host that never overcommits goes by what it has promised so
 * far; and either may have been told a limit for this process.
 */
static int refused(uint64_t size, struct error *err)
{
	char want[SIZE_TEXT_LEN], ram[SIZE_TEXT_LEN], swap[SIZE_TEXT_LEN], left[SIZE_TEXT_LEN];
	uint64_t bytes, total_ram, total_swap;
	struct sysinfo si;

	size_text(want, size);
	if (overcommit_mode() == OVERCOMMIT_NEVER && uncommitted(&bytes) && bytes < size)
		return error_set(err, ENOMEM, "memory size %s: this host does not overcommit "
				 "(vm.overcommit_memory is 2) and has %s left to promise; "
				 "ask for less, or allow more by vm.overcommit_ratio",
				 want, size_text(left, bytes));
	if (sysinfo(&si) == -1)
		return error_errno(err, ENOMEM, "memory size %s", want);
	total_ram = (uint64_t)si.totalram * si.mem_unit;
	total_swap = (uint64_t)si.totalswap * si.mem_unit;
	size_text(ram, total_ram);
	size_text(swap, total_swap);
	if (size > total_ram + total_swap)
		return error_set(err, ENOMEM, "memory size %s: this host has %s of RAM and %s of "
				 "swap; ask for less, or add swap", want, ram, swap);
	return error_set(err, ENOMEM, "memory size %s: the host refuses it although it has %s of "
			 "RAM and %s of swap; ask for less, or raise this process's limit "
			 "(ulimit -v)", want, ram, swap);
}

/*
 * Asks for large pages, with which images are read into RAM in half the time and guests run faster.
 * The lowest stay small: a guest that needs no more than these is not made to wait until a large
 * one is cleared.  A host that has none goes on without.
 */
static void prefer_large_pages(uint8_t *host, uint64_t size)
{
	if (size > MEMORY_ALIGN)
		madvise(host + MEMORY_ALIGN, size - MEMORY_ALIGN, MADV_HUGEPAGE);
}

/*
 * Finds room for `size` bytes at an address that large pages can back, and maps exactly these.  The
 * room is reserved without access, which the host counts towards nothing.
 */
static int map_aligned(struct memory *m, uint64_t size, struct error *err)
{
	uint64_t room = size + MEMORY_ALIGN, before, after;
	int saved;
	uint8_t *area, *host;

	area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return refused(size, err);
	before = -(uintptr_t)area & (MEMORY_ALIGN - 1);
	after = room - before - size;
	host = mmap(area + before, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (host == MAP_FAILED) {
		munmap(area, room);
		return refused(size, err);
	}
	/* What has been given back may be another thread's by now: on failure only the rest is, too. */
	if (before && munmap(area, before) == -1)
		goto fail;
	room -= before;
	if (after && munmap(host + size, after) == -1)
		goto fail_host;
	room -= after;
	if (madvise(host, size, MADV_DONTFORK) == -1)
		goto fail_host;
	prefer_large_pages(host, size);
	m->host = host;
	m->size = size;
	return 0;

fail_host:
	area = host;
fail:
	saved = errno;
	munmap(area, room);
	return error_errno(err, saved, "cannot set up guest memory");
}

int memory_init(struct memory *m, uint64_t size, struct error *err)
{
	uint64_t low = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	char want[SIZE_TEXT_LEN], limit[SIZE_TEXT_LEN];

	memset(m, 0, sizeof(*m));
	if (size < MEMORY_MIN)
		return error_set(err, EINVAL, "memory size %s is too small: a machine has at least "
				 "%s", size_text(want, size), size_text(limit, MEMORY_MIN));
	if (size % MEMORY_PAGE)
		return error_set(err, EINVAL, "memory size %" PRIu64 " is no multiple of %llu "
				 "bytes", size, MEMORY_PAGE);
	if (size > MEMORY_MAX)
		return error_set(err, EINVAL, "memory size %s is more than x86 can address: "
				 "the most is %s", size_text(want, size),
				 size_text(limit, MEMORY_MAX));
	if (map_aligned(m, size, err) == -1)
		return -1;
	m->part[m->nr_parts++] = (struct memory_part){ .gpa = 0, .size = low, .host = m->host };
	if (size > low)
		m->part[m->nr_parts++] = (struct memory_part){
			.gpa = MEMORY_HIGH, .size = size - low, .host = m->host + low,
		};
	return 0;
}

static void forget_file(struct memory *m)
{
	if (m->from_file)
		close(m->file);
	m->from_file = false;
}

void memory_destroy(struct memory *m)
{
	forget_file(m);
	if (m->host)
		munmap(m->host, m->size);
	memset(m, 0, sizeof(*m));
}

int memory_clear(struct memory *m, struct error *err)
{
	void *host = mmap(m->host, m->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (host == MAP_FAILED)
		return refused(m->size, err);
	forget_file(m);
	if (madvise(m->host, m->size, MADV_DONTFORK) == -1)
		return error_errno(err, errno, "cannot set up guest memory");
	return 0;
}

/* The parts are one behind the other on the host, too, so that one mapping has them all. */
int memory_map_file(struct memory *m, int fd, uint64_t offset, struct error *err)
{
	int file = fcntl(fd, F_DUPFD_CLOEXEC, 0), saved;
	void *host;

	if (file == -1)
		return error_errno(err, errno, "cannot map guest memory");
	host = mmap(m->host, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file,
		    (off_t)offset);
	if (host == MAP_FAILED || madvise(m->host, m->size, MADV_DONTFORK) == -1) {
		saved = errno;
		close(file);
		/* MAP_FIXED may have taken away what was there before it failed. */
		memory_clear(m, NULL);
		return error_errno(err, saved, "cannot map guest memory");
	}
	forget_file(m);
	m->from_file = true;
	m->file = file;
	m->file_offset = offset;
	return 0;
}

/* The part that gpa lies in, or whose end it is. */
static const struct memory_part *part_at(const struct memory *m, uint64_t gpa)
{
	const struct memory_part *end = NULL;
	unsigned int i;

	for (i = 0; i < m->nr_parts; i++) {
		const struct memory_part *part = &m->part[i];

		if (gpa < part->gpa || gpa - part->gpa > part->size)
			continue;
		if (gpa - part->gpa < part->size)
			return part;
		end = part;
	}
	return end;
}

void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len)
{
	const struct memory_part *part = part_at(m, gpa);

	if (!part || len > part->size - (gpa - part->gpa))
		return NULL;
	return part->host + (gpa - part->gpa);
}

size_t memory_run(const struct memory *m, uint64_t gpa, size_t len, uint8_t **host)
{
	const struct memory_part *part = part_at(m, gpa);
	uint64_t rest;

	if (!part)
		return 0;
	rest = part->size - (gpa - part->gpa);
	*host = part->host + (gpa - part->gpa);
	return len < rest ? len : rest;
}

static bool is_ram(const struct memory *m, uint64_t gpa, size_t len)
{
	uint8_t *host;
	size_t n;

	for (; len; gpa += n, len -= n) {
		n = memory_run(m, gpa, len, &host);
		if (!n)
			return false;
	}
	return true;
}

bool memory_read(const struct memory *m, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *host, *to = buf;
	size_t n;

	if (!is_ram(m, gpa, len))
		return false;
	for (; len; gpa += n, to += n, len -= n) {
		n = memory_run(m, gpa, len, &host);
		memcpy(to, host, n);
	}
	return true;
}

bool memory_write(const struct memory *m, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint8_t *host;
	size_t n;

	if (!is_ram(m, gpa, len))
		return false;
	for (; len; gpa += n, from += n, len -= n) {
		n = memory_run(m, gpa, len, &host);
		memcpy(host, from, n);
	}
	return true;
}
