/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SNAPSHOT_FIXTURE_H
#define TESTS_UNIT_SNAPSHOT_FIXTURE_H

#include "vmm/snapshot/snapshot_io.h"

#define PAGE    4096ULL
#define MIB     (1ULL << 20)

/* A directory of the test's own, and a path in it; place_end() removes all. */
struct place {
	char directory[64];
	char path[96];
};
void place_begin(struct place *place);
void place_end(struct place *place);
/* How many files are in it. */
unsigned int place_files(const struct place *place);

/* Sections "machine" (required) and "serial". */
void make_sections(struct sections *sections);
void check_sections(struct sections *sections);
/* Page n of RAM with what can be told from every other page's. */
void fill_page(const struct memory *memory, uint64_t gpa);
void check_page(const struct memory *memory, uint64_t gpa);
void check_zero(const struct memory *memory, uint64_t gpa, uint64_t len);
/* How many pages of a range this process has, of its own or mapped from a file, or of its own. */
unsigned int present_pages(const struct memory *memory, uint64_t gpa, uint64_t len);
unsigned int private_pages(const struct memory *memory, uint64_t gpa, uint64_t len);

/* A stream or anything else as bytes. */
void stream_bytes(const struct memory *memory, int zstd_level, struct bytes_out *out);
/* A descriptor at the start of just these bytes. */
int bytes_fd(const void *data, size_t len);
/* Both steps of reading a stream; err->code is 0 on success. */
int load_fd(int fd, struct memory *memory, struct sections *sections,
	    struct snapshot_transfer *transfer, struct error *err);
int load_bytes(const void *data, size_t len, struct memory *memory, struct error *err);
/* The whole of it must be refused with a text that has this in it, and leave RAM zero. */
void refuse_bytes(const struct bytes_out *bytes, struct memory *memory, const char *text);

/*
 * Snapshots written by hand, from the specification and not from what the writers share with the
 * readers.
 */
#define FORM_STREAM     1
#define FORM_FILE       2
void put_header(struct bytes_out *out, uint32_t version, uint32_t form, uint64_t ram,
		uint64_t front, uint64_t ram_offset);
void put_header_with(struct bytes_out *out, uint32_t version, uint32_t form, uint64_t ram,
		     uint64_t front, uint64_t ram_offset, const uint8_t reserved[20]);
void put_section(struct bytes_out *out, const char *name, uint32_t version, uint32_t flags,
		 const void *content, size_t len);
void put_section_head(struct bytes_out *out, const char *name, uint32_t version, uint32_t flags,
		      uint64_t len, uint32_t crc);
/*
 * A RAM piece with these pages of the window, whose content (encoded already) is `data`; the upper
 * half of `encoding` is the reserved field.
 */
void put_piece(struct bytes_out *out, uint64_t gpa, uint64_t encoding, const uint64_t pages[4],
	       const void *data, size_t len);
void put_end(struct bytes_out *out, uint64_t sections);
/* Header and the two sections of make_sections(). */
void put_front(struct bytes_out *out, uint64_t ram);

#endif
