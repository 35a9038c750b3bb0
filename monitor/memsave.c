/* SPDX-License-Identifier: MIT */
#include "monitor/memsave.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Written at once: how long a cancellation may go unnoticed. */
#define PIECE   (1u << 20)

struct memsave_file {
	const char *name;
	const _Atomic bool *cancelled;
	int fd;
	bool created;           /* by us: to be removed on failure */
};

/* Before anything in it is touched, whether it is a file that may be written. */
static int check_file(const struct memsave_file *f, struct error *err)
{
	struct stat st, named;

	if (fstat(f->fd, &st) == -1) {
		error_errno(err, errno, "Could not open '%s'", f->name);
		if (f->created)
			unlink(f->name);
		return -1;
	}
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "Could not open '%s': not a regular file", f->name);
	/* Some file systems have no locks.  Who had it may have failed, and removed the file. */
	if ((flock(f->fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK) ||
	    stat(f->name, &named) == -1 || named.st_ino != st.st_ino)
		return error_set(err, EBUSY, "Could not open '%s': it is being written already",
				 f->name);
	if (!f->created && ftruncate(f->fd, 0) == -1)
		return error_errno(err, errno, "Could not open '%s'", f->name);
	return 0;
}

static int file_open(struct memsave_file *f, const char *name, const _Atomic bool *cancelled,
		     struct error *err)
{
	/* O_NONBLOCK so that opening a FIFO does not wait for its reader. */
	const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	*f = (struct memsave_file){ .name = name, .cancelled = cancelled, .created = true };
	f->fd = open(name, flags | O_EXCL, 0666);
	if (f->fd == -1 && errno == EEXIST) {
		f->created = false;
		f->fd = open(name, flags, 0666);
	}
	if (f->fd == -1)
		return error_errno(err, errno, "Could not open '%s'", name);
	if (check_file(f, err) == 0)
		return 0;
	close(f->fd);
	return -1;
}

static int file_failed(const struct memsave_file *f, int code, struct error *err)
{
	return error_errno(err, code, "Could not write '%s'", f->name);
}

static int file_write(struct memsave_file *f, const uint8_t *bytes, uint64_t len, struct error *err)
{
	ssize_t n;

	while (len > 0) {
		if (*f->cancelled)
			return file_failed(f, ECANCELED, err);
		n = write(f->fd, bytes, len < PIECE ? len : PIECE);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return file_failed(f, errno, err);
		bytes += n;
		len -= n;
	}
	return 0;
}

/* Zeros are left out of the file; file_close() sees to its size. */
static int file_skip(struct memsave_file *f, uint64_t len, struct error *err)
{
	if (len > INT64_MAX || lseek(f->fd, len, SEEK_CUR) == -1)
		return file_failed(f, EFBIG, err);
	return 0;
}

/* Ends a file of `size` bytes, or, when `ret` says that something went wrong, undoes it. */
static int file_close(struct memsave_file *f, uint64_t size, int ret, struct error *err)
{
	if (ret == 0 && ftruncate(f->fd, size) == -1)
		ret = file_failed(f, errno, err);
	if (ret == -1 && !f->created && ftruncate(f->fd, 0) == -1)
		error_prefix(err, "'%s' keeps a part of the memory", f->name);
	/* As long as it is locked, and nobody else has begun to write to it. */
	if (ret == -1 && f->created)
		unlink(f->name);
	/* close() may report what an earlier write could not. */
	if (close(f->fd) == -1 && ret == 0) {
		ret = file_failed(f, errno, err);
		if (f->created)
			unlink(f->name);
	}
	return ret;
}

static int write_virtual(const struct memsave_range *range, struct memsave_file *f,
			 struct error *err)
{
	uint8_t *buf = malloc(PIECE);
	uint64_t done = 0;
	size_t len;
	int ret = 0;

	if (!buf)
		return error_errno(err, ENOMEM, "Could not save to '%s'", f->name);
	for (; ret == 0 && done < range->size; done += len) {
		len = range->size - done < PIECE ? range->size - done : PIECE;
		if (page_space_read(range->space, range->addr + done, buf, len) == len)
			ret = file_write(f, buf, len, err);
		else
			ret = error_set(err, EINVAL, "Invalid addr 0x%016" PRIx64 "/size %" PRId64
					" specified", range->addr, (int64_t)range->size);
	}
	free(buf);
	return ret;
}

/* The part of RAM that holds addr, else the next one above it, else NULL. */
static const struct memory_part *part_from(const struct memory *memory, uint64_t addr)
{
	for (unsigned int i = 0; i < memory->nr_parts; i++)
		if (addr < memory->part[i].gpa + memory->part[i].size)
			return &memory->part[i];
	return NULL;
}

static int write_physical(const struct memsave_range *range, struct memsave_file *f,
			  struct error *err)
{
	uint64_t addr = range->addr, size = range->size, len;
	const struct memory_part *part;
	int ret;

	for (; size > 0; addr += len, size -= len) {
		len = size;
		part = part_from(range->memory, addr);
		if (part && addr >= part->gpa) {
			if (len > part->gpa + part->size - addr)
				len = part->gpa + part->size - addr;
			ret = file_write(f, part->host + (addr - part->gpa), len, err);
		} else {
			/* Up to the next RAM; behind the last, to where addresses wrap. */
			if (part && len > part->gpa - addr)
				len = part->gpa - addr;
			else if (!part && addr && len > -addr)
				len = -addr;
			ret = file_skip(f, len, err);
		}
		if (ret == -1)
			return -1;
	}
	return 0;
}

int memsave_write(const struct memsave_range *range, const char *filename,
		  const _Atomic bool *cancelled, struct error *err)
{
	struct memsave_file f;
	int ret;

	if (file_open(&f, filename, cancelled, err) == -1)
		return -1;
	ret = range->space ? write_virtual(range, &f, err) : write_physical(range, &f, err);
	return file_close(&f, range->size, ret, err);
}
