/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Pages are written together up to here, those of several runs as well when few zero pages lie
 * between them: these are then written, too, since a disk is quicker at so many bytes than at
 * another request, and a file system at one extent than at two.
 */
#define WRITE_MAX       (4u << 20)
#define BRIDGE_MAX      (8 * SNAPSHOT_PAGE)
#define VECTOR_MAX      256
/* After so many the disk is told to begin, so that not all of them wait for fsync(). */
#define FLUSH_STEP      (8u << 20)

/* Written for pages in between: to read those would touch ones that nobody ever has. */
static const uint8_t zeros[BRIDGE_MAX];

struct file {
	struct snapshot_fd fd;
	/* What is still to be written, from `offset` on. */
	uint64_t offset, len;
	struct iovec iov[VECTOR_MAX];
	int nr;
	uint64_t flushed;       /* the disk has been told of what is in front of it */
};

static int write_at(struct file *file, uint64_t offset, struct iovec *iov, int nr,
		    struct error *err)
{
	if (lseek(file->fd.fd, (off_t)offset, SEEK_SET) == -1)
		return error_errno(err, errno, "cannot write the snapshot");
	return snapshot_fd_write(&file->fd, iov, nr, err);
}

static int flush_runs(struct file *file, struct error *err)
{
	uint64_t end = file->offset + file->len;
	int nr = file->nr;

	file->nr = 0;
	file->len = 0;
	if (!nr)
		return 0;
	if (write_at(file, file->offset, file->iov, nr, err) == -1)
		return -1;
	/* It is no more than a hint, and what goes wrong fsync() tells. */
	if (end - file->flushed >= FLUSH_STEP) {
		sync_file_range(file->fd.fd, (off_t)file->flushed, (off_t)(end - file->flushed),
				SYNC_FILE_RANGE_WRITE);
		file->flushed = end;
	}
	return 0;
}

static void append(struct file *file, const uint8_t *data, uint64_t len)
{
	struct iovec *last = file->nr ? &file->iov[file->nr - 1] : NULL;

	file->len += len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == data)
		last->iov_len += len;
	else
		file->iov[file->nr++] = (struct iovec){ .iov_base = (void *)data, .iov_len = len };
}

static int add_run(struct file *file, const uint8_t *host, uint64_t len, uint64_t offset,
		   struct error *err)
{
	/* Runs come in ascending order. */
	uint64_t gap = offset - (file->offset + file->len);

	if (file->nr && (gap > BRIDGE_MAX || file->len >= WRITE_MAX ||
			 file->nr > VECTOR_MAX - 2) &&
	    flush_runs(file, err) == -1)
		return -1;
	if (!file->nr)
		file->offset = offset;
	else if (gap)
		append(file, zeros, gap);
	append(file, host, len);
	return 0;
}

static int write_part(struct file *file, struct ram_scan *scan, const struct memory_part *part,
		      uint64_t ram_offset, struct error *err)
{
	struct snapshot_transfer *transfer = file->fd.pace.transfer;
	uint64_t pages[SNAPSHOT_WINDOW_WORDS], offset, len;
	unsigned int page, nr;

	for (offset = 0; offset < part->size; offset += len) {
		if (snapshot_check_cancelled(transfer, err) == -1)
			return -1;
		len = ram_scan_window(scan, part, offset, pages);
		for (page = 0; snapshot_next_run(pages, &page, &nr); page += nr)
			if (add_run(file, part->host + offset + page * SNAPSHOT_PAGE,
				    nr * SNAPSHOT_PAGE,
				    ram_offset + offset + page * SNAPSHOT_PAGE, err) == -1)
				return -1;
		nr = snapshot_count_pages(pages);
		transfer->normal_pages += nr;
		transfer->zero_pages += len / SNAPSHOT_PAGE - nr;
		transfer->remaining -= len;
	}
	return flush_runs(file, err);
}

static int write_ram(struct file *file, const struct memory *memory, uint64_t ram_offset,
		     struct error *err)
{
	struct ram_scan scan;
	int result = 0;
	unsigned int i;

	if (ram_scan_begin(&scan, memory, err) == -1)
		return -1;
	for (i = 0; i < memory->nr_parts && result == 0; i++) {
		result = write_part(file, &scan, &memory->part[i], ram_offset, err);
		ram_offset += memory->part[i].size;
	}
	ram_scan_end(&scan);
	return result;
}

/* The whole file, down to the disk. */
static int write_content(int fd, const struct sections *sections, const struct memory *memory,
			 struct snapshot_transfer *transfer, struct error *err)
{
	struct snapshot_header header = {
		.form = SNAPSHOT_FILE, .ram = memory->size,
		.front = snapshot_front_len(SNAPSHOT_FILE, sections),
	};
	struct bytes_out front;
	struct iovec iov;
	struct file file;
	int result;

	header.ram_offset = (header.front + SNAPSHOT_RAM_ALIGN - 1) & -SNAPSHOT_RAM_ALIGN;
	file.nr = 0;
	file.len = 0;
	file.flushed = 0;
	if (snapshot_fd_begin(&file.fd, fd, true, transfer, err) == -1 ||
	    snapshot_front_encode(&header, sections, &front, err) == -1)
		return -1;
	iov = (struct iovec){ .iov_base = front.data, .iov_len = front.len };
	/* What the file system or a limit can never take is known before anything is written. */
	if (ftruncate(fd, (off_t)(header.ram_offset + header.ram)) == -1)
		result = error_errno(err, errno, "cannot write the snapshot");
	else
		result = write_at(&file, 0, &iov, 1, err);
	bytes_out_free(&front);
	if (result == -1 || write_ram(&file, memory, header.ram_offset, err) == -1)
		return -1;
	if (fsync(fd) == -1)
		return error_errno(err, errno, "cannot write the snapshot to disk");
	return snapshot_check_cancelled(transfer, err);
}

/* rename() would put a file in the place of a device, and what writes there would go on. */
static int check_target(const char *path, struct error *err)
{
	struct stat st;

	if (!*path)
		return error_set(err, EINVAL, "the name of the file is empty");
	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot be replaced");
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "it is a directory; name a file in it");
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return error_set(err, EINVAL, "it is no regular file, and would be replaced by "
				 "one; name another, or migrate to it instead");
	return 0;
}

static int open_directory(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	/* "/name" is in "/", and "name" in the working directory. */
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	char *directory = len ? strndup(path, len) : strdup(".");
	int fd;

	if (!directory)
		return error_set(err, ENOMEM, "out of memory");
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		error_errno(err, errno, "its directory cannot be opened");
	free(directory);
	return fd;
}

static int replace(const char *new, const char *path, int directory, struct error *err)
{
	if (rename(new, path) == -1)
		return error_errno(err, errno, "cannot be replaced");
	/* Some file systems can not do this, because there is nothing to be done. */
	if (fsync(directory) == -1 && errno != EINVAL && errno != EROFS)
		return error_errno(err, errno, "it is there, but its directory cannot be written "
				   "to disk");
	return 0;
}

static int write_beside(const char *path, int directory, const struct sections *sections,
			const struct memory *memory, struct snapshot_transfer *transfer,
			struct error *err)
{
	char *new = NULL;
	int fd, result;

	if (asprintf(&new, "%s.XXXXXX", path) == -1)
		return error_set(err, ENOMEM, "out of memory");
	/* Mode 0600: guest memory has secrets. */
	fd = mkostemp(new, O_CLOEXEC);
	if (fd == -1) {
		result = error_errno(err, errno, "cannot create a file beside it");
		free(new);
		return result;
	}
	result = write_content(fd, sections, memory, transfer, err);
	/* Network file systems may report here what they could not write. */
	if (close(fd) == -1 && result == 0)
		result = error_errno(err, errno, "cannot write the snapshot");
	if (result == 0)
		result = replace(new, path, directory, err);
	if (result == -1)
		unlink(new);            /* fails when it has its final name already */
	free(new);
	return result;
}

int snapshot_write_file(const char *path, const struct sections *sections,
			const struct memory *memory, struct snapshot_transfer *transfer,
			struct error *err)
{
	int directory = -1, result = -1;

	transfer->total = transfer->remaining = memory->size;
	if (check_target(path, err) == 0)
		directory = open_directory(path, err);
	if (directory != -1) {
		result = write_beside(path, directory, sections, memory, transfer, err);
		close(directory);
	}
	if (result == -1 && *path)
		error_prefix(err, "%s", path);
	return result;
}
