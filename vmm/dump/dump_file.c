/* SPDX-License-Identifier: MIT */
#include "vmm/dump/dump_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/clock.h"

/* Zero pages fewer than these are written: a disk is quicker at that than at another request. */
#define HOLE_MIN        (8 * SNAPSHOT_PAGE)
#define ZEROS           HOLE_MIN
/* A window has no more runs than pages, nor more zeros than this many pieces. */
#define VECTOR_MAX      (SNAPSHOT_WINDOW_PAGES + SNAPSHOT_WINDOW / ZEROS)
/* How often the progress is told. */
#define PROGRESS_NS     250000000LL

static const uint8_t zeros[ZEROS];

struct file {
	struct dump_job *job;
	struct snapshot_fd fd;
	struct ram_scan scan;
	bool sparse;            /* what is not written is zero */
	uint64_t at;            /* bytes so far, holes among them */
	bool ends_in_hole;
	struct iovec iov[VECTOR_MAX];
	int nr;
	int64_t told;           /* CLOCK_MONOTONIC of the last progress */
};

/* Bytes that were in the file before would show in holes. */
static bool may_have_holes(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return at >= 0 && flags >= 0 && !(flags & O_APPEND) && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_size <= at;
}

static int write_vector(struct file *file, struct error *err)
{
	int nr = file->nr;

	file->nr = 0;
	return nr ? snapshot_fd_write(&file->fd, file->iov, nr, err) : 0;
}

static void add(struct file *file, const void *bytes, size_t len)
{
	file->iov[file->nr++] = (struct iovec){ .iov_base = (void *)bytes, .iov_len = len };
	file->at += len;
	file->ends_in_hole = false;
}

static int add_zeros(struct file *file, uint64_t len, struct error *err)
{
	if (file->sparse && len >= HOLE_MIN) {
		if (write_vector(file, err) < 0)
			return -1;
		if (lseek(file->fd.fd, (off_t)len, SEEK_CUR) < 0)
			return error_errno(err, errno, "cannot write the dump");
		file->at += len;
		file->ends_in_hole = true;
		return 0;
	}
	for (uint64_t n; len > 0; len -= n) {
		n = len < ZEROS ? len : ZEROS;
		add(file, zeros, n);
	}
	return 0;
}

/* [from, to) of a window that begins at `offset` of a part. */
static int write_window(struct file *file, const struct memory_part *part, uint64_t offset,
			uint64_t from, uint64_t to, const uint64_t pages[SNAPSHOT_WINDOW_WORDS],
			struct error *err)
{
	unsigned int page = (unsigned int)(from / SNAPSHOT_PAGE), nr;

	for (; snapshot_next_run(pages, &page, &nr) && page * SNAPSHOT_PAGE < to; page += nr) {
		uint64_t begin = page * SNAPSHOT_PAGE > from ? page * SNAPSHOT_PAGE : from;
		uint64_t end = (page + nr) * SNAPSHOT_PAGE < to ? (page + nr) * SNAPSHOT_PAGE : to;

		if (add_zeros(file, begin - from, err) < 0)
			return -1;
		add(file, part->host + offset + begin, end - begin);
		from = end;
	}
	if (add_zeros(file, to - from, err) < 0)
		return -1;
	return write_vector(file, err);
}

static void tell(struct file *file)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now - file->told < PROGRESS_NS)
		return;
	file->told = now;
	file->job->progress(file->job->opaque);
}

static int write_block(struct file *file, const struct dump_block *block, struct error *err)
{
	const struct memory_part *part = block->part;
	uint64_t begin = block->pa - part->gpa, end = begin + block->size, len;
	uint64_t pages[SNAPSHOT_WINDOW_WORDS];

	if (add_zeros(file, block->offset - file->at, err) < 0 || write_vector(file, err) < 0)
		return -1;
	for (uint64_t offset = begin & -SNAPSHOT_PAGE; offset < end; offset += len) {
		uint64_t from = begin > offset ? begin - offset : 0, to;

		if (snapshot_check_cancelled(&file->job->transfer, err) < 0)
			return -1;
		len = ram_scan_window(&file->scan, part, offset, pages);
		to = end - offset < len ? end - offset : len;
		if (write_window(file, part, offset, from, to, pages, err) < 0)
			return -1;
		atomic_fetch_sub(&file->job->transfer.remaining, to - from);
		tell(file);
	}
	return 0;
}

static int write_front(struct file *file, struct error *err)
{
	struct bytes_out front = { 0 };
	struct error why;
	int rc = -1;

	if (dump_elf(file->job, &front, err) < 0)
		goto out;
	add(file, front.data, front.len);
	rc = write_vector(file, &why);
	if (rc < 0)
		error_errno(err, why.code, "dump: failed to write elf header");
out:
	bytes_out_free(&front);
	return rc;
}

/* A hole at the end is there only when the file is that long. */
static int write_end(struct file *file, struct error *err)
{
	off_t end;

	if (!file->ends_in_hole)
		return 0;
	end = lseek(file->fd.fd, 0, SEEK_CUR);
	if (end < 0 || ftruncate(file->fd.fd, end) < 0)
		return error_errno(err, errno, "cannot write the dump");
	return 0;
}

static int write_memory(struct file *file, struct error *err)
{
	const struct dump_map *map = &file->job->map;
	int rc = ram_scan_begin(&file->scan, file->job->memory, err);

	if (rc < 0)
		return -1;
	for (unsigned int i = 0; rc == 0 && i < map->nr_blocks; i++)
		rc = write_block(file, &map->block[i], err);
	ram_scan_end(&file->scan);
	return rc < 0 ? -1 : write_end(file, err);
}

int dump_write(struct dump_job *job, int fd, struct error *err)
{
	struct file file = { .job = job, .told = clock_ns(CLOCK_MONOTONIC) };
	struct error why;
	int rc;

	if (snapshot_fd_begin(&file.fd, fd, true, &job->transfer, err) < 0)
		return error_prefix(err, "dump");
	file.sparse = may_have_holes(fd);
	rc = write_front(&file, err);
	if (rc == 0) {
		rc = write_memory(&file, &why);
		if (rc < 0)
			error_errno(err, why.code, "dump: failed to save memory");
	}
	snapshot_fd_end(&file.fd);
	return rc;
}
