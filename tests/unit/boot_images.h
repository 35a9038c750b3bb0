/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_BOOT_IMAGES_H
#define TESTS_UNIT_BOOT_IMAGES_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/boot/boot.h"
#include "vmm/memory.h"

/*
 * Small kernel images, as structures that a test changes before it writes them to a file, and RAM
 * on the heap, so that AddressSanitizer sees an access beside it.
 */
#define TEXT_GPA        0x100000u
#define DATA_GPA        0x102000u
#define DATA_MEMSZ      0x3000u         /* most of it bss */
#define TEXT_SIZE       64
#define DATA_SIZE       32

/* What the machine has that these images boot on. */
static const struct cpu_topology one_cpu = { 1, 1, 1, 1 };

struct xen_note {
	Elf64_Nhdr nhdr;
	char name[4];
	uint32_t entry;
};

/* Plain ELF64; with nr_phdrs 3 and its note, PVH. */
struct elf64_image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[3];             /* text, data, notes */
	uint32_t multiboot[3];          /* zero unless a test fills it */
	struct xen_note note;
	uint8_t text[TEXT_SIZE];
	uint8_t data[DATA_SIZE];
};

/* ELF32 with a multiboot header. */
struct elf32_image {
	Elf32_Ehdr ehdr;
	Elf32_Phdr phdr[2];             /* text, notes; e_phnum is 1 */
	uint32_t multiboot[3];
	struct xen_note note;
	uint8_t text[TEXT_SIZE];
};

/* No ELF: a multiboot header with addresses. */
struct address_image {
	uint8_t before[16];
	uint32_t header[8];
	uint8_t text[TEXT_SIZE];
};

void make_pvh(struct elf64_image *image);
void make_elf64(struct elf64_image *image);
void make_multiboot_elf(struct elf32_image *image);
void make_multiboot_addresses(struct address_image *image);
/* Magic, flags and the checksum that fits. */
void make_multiboot_header(uint32_t *header, uint32_t flags);

/* RAM of one part, or of a second one from 4 GiB on.  Ends the test when memory runs out. */
void ram_init(struct memory *m, uint64_t low, uint64_t high);
void ram_destroy(struct memory *m);

/* A directory for the files of a test case.  Both are called outside the tests' processes. */
void dir_setup(void);
void dir_teardown(void);
/* Path of a file in there: good until the next call with the same slot (0..3). */
const char *dir_path(int slot, const char *name);
/* Writes a file there and returns its path, likewise. */
const char *dir_write(int slot, const char *name, const void *data, size_t len);

#endif
