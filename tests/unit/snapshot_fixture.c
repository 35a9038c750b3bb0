/* SPDX-License-Identifier: MIT */
#include "tests/unit/snapshot_fixture.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/snapshot/crc32c.h"

void place_begin(struct place *place)
{
	snprintf(place->directory, sizeof(place->directory), "/tmp/vmond-snapshot-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place->directory));
	snprintf(place->path, sizeof(place->path), "%s/snapshot", place->directory);
}

static unsigned int each_file(const struct place *place, bool remove_it)
{
	DIR *dir = opendir(place->directory);
	struct dirent *entry;
	unsigned int nr = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		nr++;
		if (remove_it)
			ck_assert_int_eq(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	}
	closedir(dir);
	return nr;
}

unsigned int place_files(const struct place *place)
{
	return each_file(place, false);
}

void place_end(struct place *place)
{
	each_file(place, true);
	ck_assert_int_eq(rmdir(place->directory), 0);
}

void make_sections(struct sections *sections)
{
	struct bytes_out *out;

	memset(sections, 0, sizeof(*sections));
	out = sections_add(sections, "machine", 1, true, NULL);
	ck_assert_ptr_nonnull(out);
	bytes_put(out, "state of it", 11);
	out = sections_add(sections, "serial", 7, false, NULL);
	ck_assert_ptr_nonnull(out);
	bytes_put_u32(out, 0x01020304);
}

void check_sections(struct sections *sections)
{
	struct bytes_in in;

	ck_assert_uint_eq(sections->nr, 2);
	ck_assert_int_eq(sections_claim(sections, "machine", 1, &in, NULL), 1);
	ck_assert_uint_eq(in.len, 11);
	ck_assert_mem_eq(in.data, "state of it", 11);
	ck_assert(sections->section[0].required && !sections->section[1].required);
	ck_assert_int_eq(sections_claim(sections, "serial", 9, &in, NULL), 7);
	ck_assert_uint_eq(bytes_get_u32(&in), 0x01020304);
	ck_assert_int_eq(bytes_in_end(&in, "serial", NULL), 0);
	ck_assert_int_eq(sections_all_known(sections, NULL), 0);
}

void fill_page(const struct memory *memory, uint64_t gpa)
{
	uint64_t *word = memory_at(memory, gpa, PAGE), value = gpa * 0x9e3779b97f4a7c15 + 1;
	size_t i;

	ck_assert_ptr_nonnull(word);
	/* Half of it, so that it can be compressed. */
	for (i = 0; i < PAGE / 16; i++) {
		value ^= value << 13;
		value ^= value >> 7;
		value ^= value << 17;
		word[2 * i] = value;
	}
}

void check_page(const struct memory *memory, uint64_t gpa)
{
	static uint8_t page[PAGE];
	const struct memory model = {
		.nr_parts = 1, .part = { { .gpa = gpa, .size = PAGE, .host = page } },
	};

	memset(page, 0, sizeof(page));
	fill_page(&model, gpa);
	ck_assert_msg(!memcmp(memory_at(memory, gpa, PAGE), page, PAGE), "page 0x%lx", gpa);
}

void check_zero(const struct memory *memory, uint64_t gpa, uint64_t len)
{
	const uint8_t *bytes = memory_at(memory, gpa, len);

	ck_assert_ptr_nonnull(bytes);
	ck_assert_msg(!bytes[0] && !memcmp(bytes, bytes + 1, len - 1), "0x%lx", gpa);
}

/* Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_FILE    (1ULL << 61)

static unsigned int count_pages(const struct memory *memory, uint64_t gpa, uint64_t len,
				uint64_t mask)
{
	uintptr_t page = (uintptr_t)memory_at(memory, gpa, len) / PAGE;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned int n = 0;
	uint64_t entry;

	ck_assert_int_ne(fd, -1);
	for (; len; len -= PAGE, page++) {
		ck_assert_int_eq(pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))),
				 sizeof(entry));
		n += (entry & mask) == PAGEMAP_PRESENT;
	}
	close(fd);
	return n;
}

unsigned int present_pages(const struct memory *memory, uint64_t gpa, uint64_t len)
{
	return count_pages(memory, gpa, len, PAGEMAP_PRESENT);
}

unsigned int private_pages(const struct memory *memory, uint64_t gpa, uint64_t len)
{
	return count_pages(memory, gpa, len, PAGEMAP_PRESENT | PAGEMAP_FILE);
}

void stream_bytes(const struct memory *memory, int zstd_level, struct bytes_out *out)
{
	struct snapshot_transfer transfer = { .zstd_level = zstd_level };
	int fd = memfd_create("stream", MFD_CLOEXEC);
	struct sections sections;
	struct stat st;

	make_sections(&sections);
	ck_assert_int_eq(snapshot_write_stream(fd, &sections, memory, &transfer, NULL), 0);
	sections_free(&sections);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(transfer.transferred, st.st_size);
	ck_assert_uint_eq(transfer.remaining, 0);
	memset(out, 0, sizeof(*out));
	out->data = malloc(st.st_size);
	out->len = out->size = st.st_size;
	ck_assert_int_eq(pread(fd, out->data, out->len, 0), out->len);
	close(fd);
}

int bytes_fd(const void *data, size_t len)
{
	int fd = memfd_create("bytes", MFD_CLOEXEC);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(pwrite(fd, data, len, 0), len);
	return fd;
}

int load_fd(int fd, struct memory *memory, struct sections *sections,
	    struct snapshot_transfer *transfer, struct error *err)
{
	struct snapshot_reader *reader = snapshot_open(fd, transfer, sections, err);
	int result;

	if (!reader) {
		ck_assert_uint_eq(sections->nr, 0);
		return -1;
	}
	result = snapshot_read_ram(reader, memory, err);
	snapshot_close(reader);
	return result;
}

int load_bytes(const void *data, size_t len, struct memory *memory, struct error *err)
{
	struct snapshot_transfer transfer = { 0 };
	struct sections sections = { 0 };
	int fd = bytes_fd(data, len), result;

	err->code = 0;
	result = load_fd(fd, memory, &sections, &transfer, err);
	ck_assert_int_eq(result, err->code ? -1 : 0);
	ck_assert_ptr_null(strchr(err->code ? err->text : "", '\n'));
	sections_free(&sections);
	close(fd);
	return result;
}

void refuse_bytes(const struct bytes_out *bytes, struct memory *memory, const char *text)
{
	struct error err;

	ck_assert_msg(load_bytes(bytes->data, bytes->len, memory, &err) == -1, "not refused: %s",
		      text);
	ck_assert_msg(strstr(err.text, text) != NULL, "\"%s\" is not about \"%s\"", err.text, text);
	check_zero(memory, 0, memory->part[0].size);
}

/* ---- by hand ---- */

static void put_crc(struct bytes_out *out, size_t from)
{
	bytes_put_u32(out, crc32c(0, out->data + from, out->len - from));
}

void put_header_with(struct bytes_out *out, uint32_t version, uint32_t form, uint64_t ram,
		     uint64_t front, uint64_t ram_offset, const uint8_t reserved[20])
{
	size_t from = out->len;

	bytes_put(out, "\x9eVMS\r\n\x1a\n", 8);
	bytes_put_u32(out, version);
	bytes_put_u32(out, form);
	bytes_put_u64(out, ram);
	bytes_put_u64(out, front);
	bytes_put_u64(out, ram_offset);
	bytes_put(out, reserved, 20);
	put_crc(out, from);
}

void put_header(struct bytes_out *out, uint32_t version, uint32_t form, uint64_t ram,
		uint64_t front, uint64_t ram_offset)
{
	static const uint8_t zeros[20];

	put_header_with(out, version, form, ram, front, ram_offset, zeros);
}

void put_section_head(struct bytes_out *out, const char *name, uint32_t version, uint32_t flags,
		      uint64_t len, uint32_t crc)
{
	size_t from = out->len;
	char padded[32] = "";

	memcpy(padded, name, strlen(name));
	bytes_put(out, padded, sizeof(padded));
	bytes_put_u32(out, version);
	bytes_put_u32(out, flags);
	bytes_put_u64(out, len);
	bytes_put_u32(out, crc);
	put_crc(out, from);
}

void put_section(struct bytes_out *out, const char *name, uint32_t version, uint32_t flags,
		 const void *content, size_t len)
{
	put_section_head(out, name, version, flags, len, crc32c(0, content, len));
	bytes_put(out, content, len);
}

void put_piece(struct bytes_out *out, uint64_t gpa, uint64_t encoding, const uint64_t pages[4],
	       const void *data, size_t len)
{
	struct bytes_out content = { 0 };
	unsigned int i;

	bytes_put_u64(&content, gpa);
	bytes_put_u64(&content, encoding);
	for (i = 0; i < 4; i++)
		bytes_put_u64(&content, pages[i]);
	bytes_put(&content, data, len);
	put_section(out, "ram", 1, 1, content.data, content.len);
	bytes_out_free(&content);
}

void put_end(struct bytes_out *out, uint64_t sections)
{
	struct bytes_out content = { 0 };

	bytes_put_u64(&content, sections);
	put_section(out, "end", 1, 1, content.data, content.len);
	bytes_out_free(&content);
}

void put_front(struct bytes_out *out, uint64_t ram)
{
	memset(out, 0, sizeof(*out));
	put_header(out, 1, FORM_STREAM, ram, 0, 0);
	put_section(out, "machine", 1, 1, "state of it", 11);
	put_section(out, "serial", 7, 0, "\x04\x03\x02\x01", 4);
}
