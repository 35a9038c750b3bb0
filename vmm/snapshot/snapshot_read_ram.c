/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_size(const struct snapshot_reader *reader, const struct memory *memory,
		      struct error *err)
{
	if (memory->size == reader->header.ram)
		return 0;
	return error_set(err, EINVAL, "the snapshot is of a machine with %" PRIu64 " bytes of RAM, "
			 "and this one has %" PRIu64, reader->header.ram, memory->size);
}

static int cut_short(struct error *err)
{
	return error_set(err, ENODATA, "the snapshot was cut short while it was read");
}

/* The parts lie one behind the other in the file and on the host. */
static int read_extent(struct snapshot_reader *reader, const struct memory *memory, uint64_t at,
		       uint64_t len, struct error *err)
{
	ssize_t n;

	for (; len; at += (uint64_t)n, len -= (uint64_t)n) {
		if (snapshot_check_cancelled(reader->transfer, err) == -1)
			return -1;
		n = pread(reader->fd.fd, memory->host + at,
			  len < SNAPSHOT_WINDOW ? len : SNAPSHOT_WINDOW,
			  (off_t)(reader->header.ram_offset + at));
		if (n == -1 && errno == EINTR) {
			n = 0;
			continue;
		}
		if (n == -1)
			return error_errno(err, errno, "cannot read the snapshot");
		if (!n)
			return cut_short(err);
		snapshot_pace_count(&reader->fd.pace, (size_t)n);
		reader->transfer->remaining -= (uint64_t)n;
	}
	return 0;
}

/*
 * The next data in the file's RAM from `at` on, in whole pages, as [*start, *end); both are the
 * size of RAM when there is none.
 */
static int next_extent(const struct snapshot_reader *reader, uint64_t at, uint64_t *start,
		       uint64_t *end, struct error *err)
{
	uint64_t base = reader->header.ram_offset, size = reader->header.ram;
	off_t data = lseek(reader->fd.fd, (off_t)(base + at), SEEK_DATA), hole;

	*start = *end = size;
	if (data == -1 && errno == ENXIO)
		return 0;
	hole = data == -1 ? -1 : lseek(reader->fd.fd, data, SEEK_HOLE);
	if (hole == -1)
		return error_errno(err, errno, "cannot read the snapshot");
	*start = ((uint64_t)data - base) & -SNAPSHOT_PAGE;
	*end = ((uint64_t)hole - base + SNAPSHOT_PAGE - 1) & -SNAPSHOT_PAGE;
	/* It may have grown since it was opened. */
	if (*end > size)
		*end = size;
	if (*start > *end)
		*start = *end;
	return 0;
}

static int read_file_ram(struct snapshot_reader *reader, const struct memory *memory,
			 struct error *err)
{
	struct snapshot_transfer *transfer = reader->transfer;
	uint64_t at, start, end;
	struct stat st;

	for (at = 0; at < memory->size; at = end) {
		if (next_extent(reader, at, &start, &end, err) == -1)
			return -1;
		transfer->zero_pages += (start - at) / SNAPSHOT_PAGE;
		transfer->normal_pages += (end - start) / SNAPSHOT_PAGE;
		transfer->remaining -= start - at;
		if (read_extent(reader, memory, start, end - start, err) == -1)
			return -1;
	}
	/* What is behind the end of a file looks like a hole. */
	if (fstat(reader->fd.fd, &st) == -1)
		return error_errno(err, errno, "cannot read the snapshot");
	if ((uint64_t)st.st_size < reader->header.ram_offset + reader->header.ram)
		return cut_short(err);
	return 0;
}

int snapshot_read_ram(struct snapshot_reader *reader, struct memory *memory, struct error *err)
{
	int result;

	if (check_size(reader, memory, err) == -1)
		return -1;
	result = reader->header.form == SNAPSHOT_FILE ?
		 read_file_ram(reader, memory, err) :
		 snapshot_read_stream_ram(reader, memory, err);
	if (result == -1)
		memory_clear(memory, NULL);
	return result;
}

int snapshot_map_ram(struct snapshot_reader *reader, struct memory *memory, struct error *err)
{
	if (check_size(reader, memory, err) == -1)
		return -1;
	if (reader->header.form != SNAPSHOT_FILE)
		return error_set(err, EINVAL, "this snapshot is a stream, which can not be mapped");
	if (memory_map_file(memory, reader->fd.fd, reader->header.ram_offset, err) == -1)
		return -1;
	reader->transfer->remaining = 0;
	return 0;
}
