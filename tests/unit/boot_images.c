/* SPDX-License-Identifier: MIT */
#include "tests/unit/boot_images.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

static void fill(uint8_t *bytes, size_t len, uint8_t first)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = first + i;
}

static void make_note(struct xen_note *note)
{
	*note = (struct xen_note) {
		.nhdr = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = TEXT_GPA + 16,
	};
}

void make_elf64(struct elf64_image *image)
{
	*image = (struct elf64_image) {
		.ehdr = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = TEXT_GPA + 8,
			.e_phoff = offsetof(struct elf64_image, phdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
		.phdr = {
			{
				.p_type = PT_LOAD,
				.p_offset = offsetof(struct elf64_image, text),
				.p_vaddr = TEXT_GPA,
				.p_paddr = TEXT_GPA,
				.p_filesz = TEXT_SIZE,
				.p_memsz = TEXT_SIZE,
			}, {
				.p_type = PT_LOAD,
				.p_offset = offsetof(struct elf64_image, data),
				.p_vaddr = DATA_GPA,
				.p_paddr = DATA_GPA,
				.p_filesz = DATA_SIZE,
				.p_memsz = DATA_MEMSZ,
			}, {
				.p_type = PT_NOTE,
				.p_offset = offsetof(struct elf64_image, note),
				.p_filesz = sizeof(struct xen_note),
				.p_align = 4,
			},
		},
	};
	make_note(&image->note);
	fill(image->text, TEXT_SIZE, 1);
	fill(image->data, DATA_SIZE, 101);
}

void make_pvh(struct elf64_image *image)
{
	make_elf64(image);
	image->ehdr.e_phnum = 3;
}

void make_multiboot_header(uint32_t *header, uint32_t flags)
{
	header[0] = 0x1badb002;
	header[1] = flags;
	header[2] = -(header[0] + header[1]);
}

void make_multiboot_elf(struct elf32_image *image)
{
	*image = (struct elf32_image) {
		.ehdr = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_386,
			.e_version = EV_CURRENT,
			.e_entry = TEXT_GPA + 12,
			.e_phoff = offsetof(struct elf32_image, phdr),
			.e_ehsize = sizeof(Elf32_Ehdr),
			.e_phentsize = sizeof(Elf32_Phdr),
			.e_phnum = 1,
		},
		.phdr = {
			{
				.p_type = PT_LOAD,
				.p_offset = offsetof(struct elf32_image, text),
				.p_vaddr = TEXT_GPA,
				.p_paddr = TEXT_GPA,
				.p_filesz = TEXT_SIZE,
				.p_memsz = DATA_MEMSZ,
			}, {
				.p_type = PT_NOTE,
				.p_offset = offsetof(struct elf32_image, note),
				.p_filesz = sizeof(struct xen_note),
				.p_align = 4,
			},
		},
	};
	make_multiboot_header(image->multiboot, 3);
	make_note(&image->note);
	fill(image->text, TEXT_SIZE, 1);
}

void make_multiboot_addresses(struct address_image *image)
{
	memset(image, 0, sizeof(*image));
	make_multiboot_header(image->header, 1 << 16 | 3);
	image->header[3] = TEXT_GPA + offsetof(struct address_image, header);
	image->header[4] = TEXT_GPA;
	image->header[5] = TEXT_GPA + sizeof(*image);
	image->header[6] = TEXT_GPA + DATA_MEMSZ;
	image->header[7] = TEXT_GPA + offsetof(struct address_image, text);
	fill(image->before, sizeof(image->before), 201);
	fill(image->text, TEXT_SIZE, 1);
}

void ram_init(struct memory *m, uint64_t low, uint64_t high)
{
	*m = (struct memory) { .size = low + high, .nr_parts = high ? 2 : 1 };
	m->host = aligned_alloc(4096, m->size);
	ck_assert_ptr_nonnull(m->host);
	memset(m->host, 0, m->size);
	m->part[0] = (struct memory_part) { 0, low, m->host };
	m->part[1] = (struct memory_part) { MEMORY_HIGH, high, m->host + low };
}

void ram_destroy(struct memory *m)
{
	free(m->host);
}

void dir_setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/vmond-boot-XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		exit(EXIT_FAILURE);
	}
}

void dir_teardown(void)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
}

const char *dir_path(int slot, const char *name)
{
	static char path[4][512];

	ck_assert_int_lt(snprintf(path[slot], sizeof(path[slot]), "%s/%s", dir, name),
			 sizeof(path[slot]));
	return path[slot];
}

const char *dir_write(int slot, const char *name, const void *data, size_t len)
{
	const char *path = dir_path(slot, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), len);
	ck_assert_int_eq(close(fd), 0);
	return path;
}
