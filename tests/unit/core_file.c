/* SPDX-License-Identifier: MIT */
#include "tests/unit/core_file.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_at(const struct core_file *core, uint64_t offset, void *buf, size_t len)
{
	ck_assert_int_eq(pread(core->fd, buf, len, (off_t)offset), len);
}

static void read_header(struct core_file *core)
{
	Elf32_Ehdr h;

	read_at(core, 0, &core->header, sizeof(core->header));
	ck_assert_int_eq(memcmp(core->header.e_ident, ELFMAG, SELFMAG), 0);
	ck_assert_int_eq(core->header.e_ident[EI_DATA], ELFDATA2LSB);
	core->is64 = core->header.e_ident[EI_CLASS] == ELFCLASS64;
	if (core->is64) {
		ck_assert_int_eq(core->header.e_ehsize, sizeof(Elf64_Ehdr));
		ck_assert_int_eq(core->header.e_phentsize, sizeof(Elf64_Phdr));
	} else {
		ck_assert_int_eq(core->header.e_ident[EI_CLASS], ELFCLASS32);
		read_at(core, 0, &h, sizeof(h));
		ck_assert_int_eq(h.e_ehsize, sizeof(h));
		ck_assert_int_eq(h.e_phentsize, sizeof(Elf32_Phdr));
		core->header = (Elf64_Ehdr){
			.e_type = h.e_type, .e_machine = h.e_machine, .e_version = h.e_version,
			.e_phoff = h.e_phoff, .e_shoff = h.e_shoff, .e_phnum = h.e_phnum,
			.e_shnum = h.e_shnum, .e_shentsize = h.e_shentsize,
		};
	}
	ck_assert_int_eq(core->header.e_type, ET_CORE);
	ck_assert_int_eq(core->header.e_version, EV_CURRENT);
}

/* More than the header has room for are counted by the first section header: elf(5), PN_XNUM. */
static void count_headers(struct core_file *core)
{
	Elf64_Shdr s64;
	Elf32_Shdr s32;

	core->nr = core->header.e_phnum;
	if (core->nr != PN_XNUM) {
		ck_assert_int_eq(core->header.e_shnum, 0);
		return;
	}
	ck_assert_int_eq(core->header.e_shnum, 1);
	if (core->is64) {
		read_at(core, core->header.e_shoff, &s64, sizeof(s64));
		core->nr = s64.sh_info;
	} else {
		read_at(core, core->header.e_shoff, &s32, sizeof(s32));
		core->nr = s32.sh_info;
	}
}

static void read_program_header(struct core_file *core, size_t i)
{
	Elf64_Phdr *p = &core->phdr[i];
	Elf32_Phdr p32;

	if (core->is64) {
		read_at(core, core->header.e_phoff + i * sizeof(*p), p, sizeof(*p));
		return;
	}
	read_at(core, core->header.e_phoff + i * sizeof(p32), &p32, sizeof(p32));
	*p = (Elf64_Phdr){
		.p_type = p32.p_type, .p_flags = p32.p_flags, .p_offset = p32.p_offset,
		.p_vaddr = p32.p_vaddr, .p_paddr = p32.p_paddr, .p_filesz = p32.p_filesz,
		.p_memsz = p32.p_memsz, .p_align = p32.p_align,
	};
}

void core_file_open(struct core_file *core, int fd)
{
	struct stat st;

	*core = (struct core_file){ .fd = fd };
	ck_assert_int_eq(fstat(fd, &st), 0);
	read_header(core);
	count_headers(core);
	core->phdr = calloc(core->nr, sizeof(*core->phdr));
	for (size_t i = 0; i < core->nr; i++) {
		const Elf64_Phdr *p = &core->phdr[i];

		read_program_header(core, i);
		/* What makes it a file of the kind that crash(8) reads. */
		ck_assert(p->p_type != PT_LOAD || p->p_align == 0);
		ck_assert_int_eq(p->p_type, i ? PT_LOAD : PT_NOTE);
		ck_assert_uint_eq(p->p_filesz, p->p_memsz);
		ck_assert_uint_le(p->p_offset + p->p_filesz, (uint64_t)st.st_size);
		/* As far from a page's beginning in the file as in memory. */
		if (i)
			ck_assert_uint_eq((p->p_offset ^ p->p_vaddr) & 4095, 0);
	}
	core->notes = malloc(core->phdr[0].p_filesz);
	read_at(core, core->phdr[0].p_offset, core->notes, core->phdr[0].p_filesz);
}

void core_file_close(struct core_file *core)
{
	free(core->phdr);
	free(core->notes);
}

const uint8_t *core_file_note(const struct core_file *core, const char *name, uint32_t type,
			      unsigned int n, size_t size)
{
	const uint8_t *at = core->notes, *end = at + core->phdr[0].p_filesz;

	while (at < end) {
		Elf32_Nhdr note;
		const char *found = (const char *)at + sizeof(note);

		memcpy(&note, at, sizeof(note));
		ck_assert_uint_eq(note.n_namesz, strlen(found) + 1);
		at += sizeof(note) + ((note.n_namesz + 3) & ~3u);
		if (!strcmp(found, name) && note.n_type == type && !n--) {
			ck_assert_uint_eq(note.n_descsz, size);
			return at;
		}
		at += (note.n_descsz + 3) & ~3u;
	}
	ck_assert_ptr_eq(at, end);
	return NULL;
}

bool core_file_read(const struct core_file *core, uint64_t va, void *buf, size_t len)
{
	for (size_t i = 1; len && i < core->nr; i++) {
		const Elf64_Phdr *p = &core->phdr[i];
		uint64_t at = va - p->p_vaddr;
		size_t n;

		if (at >= p->p_filesz)
			continue;
		n = len < p->p_filesz - at ? len : p->p_filesz - at;
		read_at(core, p->p_offset + at, buf, n);
		buf = (uint8_t *)buf + n;
		va += n;
		len -= n;
		i = 0;
	}
	return !len;
}
