/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CORE_FILE_H
#define TESTS_UNIT_CORE_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An ELF core file, read back: headers of either class as those of 64 bits. */
struct core_file {
	int fd;                         /* borrowed */
	bool is64;
	Elf64_Ehdr header;
	size_t nr;                      /* program headers, also where the header can not say so */
	Elf64_Phdr *phdr;
	uint8_t *notes;                 /* of phdr[0] */
};

/* Checks what every such file must have.  core_file_close() frees it. */
void core_file_open(struct core_file *core, int fd);
void core_file_close(struct core_file *core);

/* The content of the n-th note of a name and a type; its size must be `size`. */
const uint8_t *core_file_note(const struct core_file *core, const char *name, uint32_t type,
			      unsigned int n, size_t size);

/* Reads memory by the virtual addresses of the headers; false when it is not all there. */
bool core_file_read(const struct core_file *core, uint64_t va, void *buf, size_t len);

#endif
