/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)

/* Entries read at once: 16 MiB of RAM. */
#define ENTRIES         4096

/*
 * Blocks are as long as what a compiler turns into a few vector instructions; most pages that are
 * not zero show it in the first.
 */
#define BLOCK_WORDS     32

static bool page_is_zero(const uint8_t *page)
{
	const uint64_t *word = (const uint64_t *)__builtin_assume_aligned(page, SNAPSHOT_PAGE);
	const uint64_t *end = word + SNAPSHOT_PAGE / sizeof(*word);
	uint64_t some;
	unsigned int i;

	for (; word < end; word += BLOCK_WORDS) {
		some = 0;
		for (i = 0; i < BLOCK_WORDS; i++)
			some |= word[i];
		if (some)
			return false;
	}
	return true;
}

int ram_scan_begin(struct ram_scan *scan, const struct memory *memory, struct error *err)
{
	*scan = (struct ram_scan){ .memory = memory, .extents = memory->from_file };
	scan->entry = calloc(ENTRIES, sizeof(*scan->entry));
	if (!scan->entry)
		return error_set(err, ENOMEM, "out of memory to look through RAM");
	/* A page of another size than the format's would need other arithmetic. */
	scan->pagemap = sysconf(_SC_PAGESIZE) == SNAPSHOT_PAGE ?
			open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
	return 0;
}

void ram_scan_end(struct ram_scan *scan)
{
	if (scan->pagemap != -1)
		close(scan->pagemap);
	free(scan->entry);
}

/* Whether this process has a page of its own there, in RAM or swapped out, or has the file's. */
static bool touched(struct ram_scan *scan, const uint8_t *page)
{
	uintptr_t number = (uintptr_t)page / SNAPSHOT_PAGE;
	ssize_t n;

	if (scan->pagemap == -1)
		return true;
	if (number - scan->entry_first >= scan->entry_nr) {
		n = pread(scan->pagemap, scan->entry, ENTRIES * sizeof(*scan->entry),
			  (off_t)(number * sizeof(*scan->entry)));
		if (n < (ssize_t)sizeof(*scan->entry)) {
			close(scan->pagemap);
			scan->pagemap = -1;
			return true;
		}
		scan->entry_first = number;
		scan->entry_nr = (size_t)n / sizeof(*scan->entry);
	}
	return scan->entry[number - scan->entry_first] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
}

/* Whether the file that RAM is mapped from has data there.  To be asked in ascending order. */
static bool in_file(struct ram_scan *scan, const uint8_t *page)
{
	const struct memory *memory = scan->memory;
	uint64_t offset = memory->file_offset + (uint64_t)(page - memory->host);
	off_t start, end;

	if (!memory->from_file)
		return false;
	if (scan->extents && offset >= scan->data_end) {
		start = lseek(memory->file, (off_t)offset, SEEK_DATA);
		end = start == -1 ? -1 : lseek(memory->file, start, SEEK_HOLE);
		if (start == -1 && errno == ENXIO)
			start = end = INT64_MAX;        /* a hole up to the end */
		scan->extents = end != -1;
		scan->data_start = (uint64_t)start;
		scan->data_end = (uint64_t)end;
	}
	return !scan->extents || offset + SNAPSHOT_PAGE > scan->data_start;
}

uint64_t ram_scan_window(struct ram_scan *scan, const struct memory_part *part, uint64_t offset,
			 uint64_t pages[SNAPSHOT_WINDOW_WORDS])
{
	uint64_t len = part->size - offset;
	const uint8_t *page = part->host + offset;
	unsigned int i;

	if (len > SNAPSHOT_WINDOW)
		len = SNAPSHOT_WINDOW;
	memset(pages, 0, SNAPSHOT_WINDOW_WORDS * sizeof(*pages));
	for (i = 0; i < len / SNAPSHOT_PAGE; i++, page += SNAPSHOT_PAGE)
		if ((touched(scan, page) || in_file(scan, page)) && !page_is_zero(page))
			pages[i / 64] |= 1ULL << i % 64;
	return len;
}
