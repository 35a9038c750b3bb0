/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/snapshot/crc32c.h"
#include "vmm/snapshot/snapshot_io.h"

/*
 * libFuzzer: the input is a snapshot of either form, for a machine with a little RAM in two parts.
 * It comes from a file, and every second one that fits also through a pipe.  What is refused leaves
 * nothing behind; what is taken is written again and must come back the same.
 *
 * A mutation would nearly always end at a checksum, so most are given right ones.
 */
#define LOW     (64u << 10)
#define HIGH    (64u << 10)
#define PIPE    65536u

#define HEADER_LEN      64
#define SECTION_LEN     56

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static uint64_t get_u64(const uint8_t *data)
{
	struct bytes_in in = { .data = data, .len = 8 };

	return bytes_get_u64(&in);
}

static void put_u32(uint8_t *data, uint32_t value)
{
	struct bytes_out out = { .data = data, .size = 4 };

	bytes_put_u32(&out, value);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint64_t len, sections = 0;
	uint8_t *section;
	size_t left;

	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 8 == 0 || size < HEADER_LEN)
		return size;
	put_u32(data + 60, crc32c(0, data, 60));
	section = data + HEADER_LEN;
	left = size - HEADER_LEN;
	for (; left >= SECTION_LEN; section += len, left -= len, sections++) {
		len = get_u64(section + 40);
		if (len <= left - SECTION_LEN) {
			if (seed % 8 > 2 && !strncmp((char *)section, "end", 4) && len == 8)
				put_u32(section + SECTION_LEN, (uint32_t)sections);
			put_u32(section + 48, crc32c(0, section + SECTION_LEN, len));
		}
		put_u32(section + 52, crc32c(0, section, 52));
		section += SECTION_LEN;
		left -= SECTION_LEN;
		if (len > left)
			break;
	}
	return size;
}

static bool all_zero(const struct memory *memory)
{
	return !memory->host[0] && !memcmp(memory->host, memory->host + 1, memory->size - 1);
}

static void setup(struct memory *memory)
{
	*memory = (struct memory){ .size = LOW + HIGH, .nr_parts = 2 };
	memory->host = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory->host != MAP_FAILED);
	memory->part[0] = (struct memory_part){ 0, LOW, memory->host };
	memory->part[1] = (struct memory_part){ MEMORY_HIGH, HIGH, memory->host + LOW };
}

/* True when it was taken; the mappable form is also mapped, which must give the same. */
static bool load(int fd, struct memory *memory, struct sections *sections)
{
	struct snapshot_transfer transfer = { 0 };
	struct error err = { 0 };
	struct snapshot_reader *reader = snapshot_open(fd, &transfer, sections, &err);
	static uint8_t seen[LOW + HIGH];
	bool taken;

	taken = reader && snapshot_read_ram(reader, memory, &err) == 0;
	CHECK(taken || (err.code && err.text[0] && !strchr(err.text, '\n')));
	CHECK(taken || all_zero(memory));
	CHECK(reader || !sections->nr);
	CHECK(!taken || !transfer.remaining);
	if (taken && snapshot_reader_form(reader) == SNAPSHOT_FILE) {
		memcpy(seen, memory->host, sizeof(seen));
		CHECK(snapshot_map_ram(reader, memory, &err) == 0);
		CHECK(!memcmp(seen, memory->host, sizeof(seen)));
	}
	snapshot_close(reader);
	return taken;
}

static void check_same(const struct sections *a, const struct sections *b)
{
	unsigned int i;

	CHECK(a->nr == b->nr);
	for (i = 0; i < a->nr; i++) {
		const struct section *x = &a->section[i], *y = &b->section[i];

		CHECK(!strcmp(x->name, y->name) && x->version == y->version);
		CHECK(x->required == y->required && x->content.len == y->content.len);
		CHECK(!x->content.len || !memcmp(x->content.data, y->content.data, x->content.len));
	}
}

static void write_again(const struct memory *memory, const struct sections *sections,
			int zstd_level)
{
	struct snapshot_transfer transfer = { .zstd_level = zstd_level };
	struct sections second = { 0 };
	static struct memory copy;
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("again", MFD_CLOEXEC);
		CHECK(fd >= 0);
		setup(&copy);
	}
	CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	CHECK(snapshot_write_stream(fd, sections, memory, &transfer, NULL) == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	CHECK(load(fd, &copy, &second));
	CHECK(!memcmp(copy.host, memory->host, copy.size));
	check_same(sections, &second);
	sections_free(&second);
	CHECK(memory_clear(&copy, NULL) == 0);
}

static void try_fd(int fd, struct memory *memory, int zstd_level)
{
	struct sections sections = { 0 };

	if (load(fd, memory, &sections)) {
		write_again(memory, &sections, zstd_level);
		CHECK(memory_clear(memory, NULL) == 0);
	}
	sections_free(&sections);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memory memory;
	static int file = -1;
	uint64_t whole;
	int fd[2];

	if (file < 0) {
		file = memfd_create("snapshot", MFD_CLOEXEC);
		CHECK(file >= 0);
		setup(&memory);
	}
	CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	try_fd(file, &memory, (int)(size % 3));

	/* The RAM of the mappable form is of no interest but for its length. */
	if (size >= HEADER_LEN && data[12] == 2) {
		whole = get_u64(data + 16) + get_u64(data + 32);
		if (whole >= size && whole < 1 << 20) {
			CHECK(ftruncate(file, (off_t)whole) == 0 && lseek(file, 0, SEEK_SET) == 0);
			try_fd(file, &memory, 0);
		}
	} else if (size % 2 && size <= PIPE) {
		CHECK(pipe(fd) == 0 && write(fd[1], data, size) == (ssize_t)size);
		close(fd[1]);
		try_fd(fd[0], &memory, 0);
		close(fd[0]);
	}
	return 0;
}
