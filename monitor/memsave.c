/* SPDX-License-Identifier: MIT */
#include "monitor/memsave.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/vcpu_space.h"

#define PIECE   (1u << 20)      /* copied with the vCPU parked, then written with it running */

struct dump_file {
	const char *name;
	int fd;
	bool created;           /* by us: to be removed on failure */
};

static int dump_open(struct dump_file *f, const char *name, struct error *err)
{
	/* O_NONBLOCK so that opening a FIFO does not wait for its reader. */
	const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;

	*f = (struct dump_file){ .name = name, .created = true };
	f->fd = open(name, flags | O_EXCL, 0666);
	if (f->fd == -1 && errno == EEXIST) {
		f->created = false;
		f->fd = open(name, flags | O_TRUNC, 0666);
	}
	if (f->fd == -1)
		return error_errno(err, errno, "Could not open '%s'", name);
	if (fstat(f->fd, &st) == -1) {
		error_errno(err, errno, "Could not open '%s'", name);
		close(f->fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		close(f->fd);
		return error_set(err, EINVAL, "Could not open '%s': not a regular file", name);
	}
	return 0;
}

static int dump_failed(const struct dump_file *f, int code, struct error *err)
{
	return error_errno(err, code, "Could not write '%s'", f->name);
}

static int dump_write(struct dump_file *f, const uint8_t *bytes, uint64_t len, struct error *err)
{
	ssize_t n;

	while (len > 0) {
		n = write(f->fd, bytes, len < PIECE ? len : PIECE);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return dump_failed(f, errno, err);
		bytes += n;
		len -= n;
	}
	return 0;
}

/* Zeros are left out of the file; dump_close() sees to its size. */
static int dump_zeros(struct dump_file *f, uint64_t len, struct error *err)
{
	if (len > INT64_MAX || lseek(f->fd, len, SEEK_CUR) == -1)
		return dump_failed(f, EFBIG, err);
	return 0;
}

/* Ends a file of `size` bytes, or, when `ret` says that something went wrong, undoes it. */
static int dump_close(struct dump_file *f, uint64_t size, int ret, struct error *err)
{
	if (ret == 0 && ftruncate(f->fd, size) == -1)
		ret = dump_failed(f, errno, err);
	if (ret == -1 && !f->created && ftruncate(f->fd, 0) == -1)
		error_prefix(err, "'%s' keeps a part of the memory", f->name);
	/* close() may report what an earlier write could not. */
	if (close(f->fd) == -1 && ret == 0)
		ret = dump_failed(f, errno, err);
	if (ret == -1 && f->created)
		unlink(f->name);
	return ret;
}

/* Copies what vCPU `cpu` sees at an address, with the vCPU parked. */
static int read_virtual(struct vm *vm, int cpu, uint64_t addr, void *buf, size_t len, size_t *got,
			struct error *err)
{
	struct page_space space;
	int ret;

	if (vm_inspect_begin(vm, cpu, err) == -1)
		return -1;
	ret = vcpu_page_space(&vm->vcpu[cpu].state, &vm->memory, &space, err);
	if (ret == 0)
		*got = page_space_read(&space, addr, buf, len);
	vm_inspect_end(vm);
	return ret;
}

static int write_virtual(struct vm *vm, int cpu, uint64_t addr, uint64_t size, struct dump_file *f,
			 uint8_t *buf, struct error *err)
{
	uint64_t done = 0;
	size_t len, got;

	for (; done < size; done += len) {
		len = size - done < PIECE ? size - done : PIECE;
		if (read_virtual(vm, cpu, addr + done, buf, len, &got, err) == -1)
			return -1;
		if (got < len)
			return error_set(err, EINVAL, "Invalid addr 0x%016" PRIx64 "/size %" PRId64
					 " specified", addr, (int64_t)size);
		if (dump_write(f, buf, len, err) == -1)
			return -1;
	}
	return 0;
}

int memsave_virtual(struct vm *vm, int cpu, uint64_t addr, uint64_t size, const char *filename,
		    struct error *err)
{
	struct dump_file f;
	uint8_t *buf;
	int ret;

	if (cpu < 0 || (unsigned int)cpu >= vm->nr_vcpus)
		return error_set(err, EINVAL, "Parameter 'cpu-index' expects a CPU number");
	buf = malloc(PIECE);
	if (!buf)
		return error_errno(err, ENOMEM, "Could not save to '%s'", filename);
	ret = dump_open(&f, filename, err);
	if (ret == 0) {
		ret = write_virtual(vm, cpu, addr, size, &f, buf, err);
		ret = dump_close(&f, size, ret, err);
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

static int write_physical(const struct memory *memory, uint64_t addr, uint64_t size,
			  struct dump_file *f, struct error *err)
{
	const struct memory_part *part;
	uint64_t len;
	int ret;

	for (; size > 0; addr += len, size -= len) {
		len = size;
		part = part_from(memory, addr);
		if (part && addr >= part->gpa) {
			if (len > part->gpa + part->size - addr)
				len = part->gpa + part->size - addr;
			ret = dump_write(f, part->host + (addr - part->gpa), len, err);
		} else {
			/* Up to the next RAM; behind the last, to where addresses wrap. */
			if (part && len > part->gpa - addr)
				len = part->gpa - addr;
			else if (!part && addr && len > -addr)
				len = -addr;
			ret = dump_zeros(f, len, err);
		}
		if (ret == -1)
			return -1;
	}
	return 0;
}

int memsave_physical(struct vm *vm, uint64_t addr, uint64_t size, const char *filename,
		     struct error *err)
{
	struct dump_file f;

	if (dump_open(&f, filename, err) == -1)
		return -1;
	return dump_close(&f, size, write_physical(&vm->memory, addr, size, &f, err), err);
}
