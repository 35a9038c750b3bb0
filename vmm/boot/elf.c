/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Executables in the Executable and Linking Format (System V ABI, chapters 4 and 5; for x86-64 its
 * processor supplement).  Both classes are brought into the 64-bit form, then handled alike.
 */

/* Kernels have a handful; this bounds what a hostile image can make us do. */
#define PHDRS_MAX       BOOT_MAX_SEGMENTS
#define NOTES_MAX       (1u << 20)

#define XEN_NOTE_NAME           "Xen"
#define XEN_ELFNOTE_PHYS32_ENTRY 18     /* Xen, xen/include/public/elfnote.h */

struct elf_file {
	const struct boot_image *image;
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[PHDRS_MAX];
};

bool boot_elf_is(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

/* Fills elf->ehdr. */
static int read_ehdr(struct elf_file *elf, const uint8_t *head, size_t len, struct error *err)
{
	const char *label = elf->image->label;
	Elf32_Ehdr small;

	if (len < sizeof(Elf32_Ehdr) ||
	    (head[EI_CLASS] == ELFCLASS64 && len < sizeof(Elf64_Ehdr)))
		return error_set(err, ENOEXEC, "%s: the ELF header is cut short", label);
	if (head[EI_DATA] != ELFDATA2LSB)
		return error_set(err, ENOEXEC, "%s: the ELF image is not for x86: its byte order "
				 "is not little endian", label);
	switch (head[EI_CLASS]) {
	case ELFCLASS64:
		memcpy(&elf->ehdr, head, sizeof(elf->ehdr));
		break;
	case ELFCLASS32:
		memcpy(&small, head, sizeof(small));
		elf->ehdr = (Elf64_Ehdr) {
			.e_type = small.e_type,
			.e_machine = small.e_machine,
			.e_entry = small.e_entry,
			.e_phoff = small.e_phoff,
			.e_phentsize = small.e_phentsize,
			.e_phnum = small.e_phnum,
		};
		memcpy(elf->ehdr.e_ident, small.e_ident, EI_NIDENT);
		break;
	default:
		return error_set(err, ENOEXEC, "%s: ELF class %u is neither 32 nor 64 bit", label,
				 head[EI_CLASS]);
	}
	return 0;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & -align;
}

static bool is_64(const struct elf_file *elf)
{
	return elf->ehdr.e_ident[EI_CLASS] == ELFCLASS64;
}

static int check_ehdr(const struct elf_file *elf, struct error *err)
{
	const char *label = elf->image->label;
	const Elf64_Ehdr *ehdr = &elf->ehdr;
	size_t phentsize = is_64(elf) ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (ehdr->e_machine != (is_64(elf) ? EM_X86_64 : EM_386))
		return error_set(err, ENOEXEC, "%s: the ELF image is for another machine (%u, "
				 "%d bit); give one built for x86-64 or i386", label,
				 ehdr->e_machine, is_64(elf) ? 64 : 32);
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		return error_set(err, ENOEXEC, "%s: the ELF image is no executable (type %u); "
				 "give one that is linked", label, ehdr->e_type);
	if (ehdr->e_phnum == 0)
		return error_set(err, ENOEXEC, "%s: the ELF image has no program headers", label);
	if (ehdr->e_phnum > PHDRS_MAX)
		return error_set(err, ENOEXEC, "%s: the ELF image has %u program headers; at most "
				 "%d are supported", label, ehdr->e_phnum, PHDRS_MAX);
	if (ehdr->e_phentsize != phentsize)
		return error_set(err, ENOEXEC, "%s: ELF program headers of %u bytes; they should "
				 "have %zu", label, ehdr->e_phentsize, phentsize);
	return 0;
}

static int read_phdrs(struct elf_file *elf, struct error *err)
{
	Elf32_Phdr small[PHDRS_MAX];
	unsigned int n = elf->ehdr.e_phnum;

	if (is_64(elf))
		return boot_image_read(elf->image, elf->ehdr.e_phoff, elf->phdr,
				       n * sizeof(elf->phdr[0]), err);
	if (boot_image_read(elf->image, elf->ehdr.e_phoff, small, n * sizeof(small[0]), err) < 0)
		return -1;
	for (unsigned int i = 0; i < n; i++)
		elf->phdr[i] = (Elf64_Phdr) {
			.p_type = small[i].p_type,
			.p_flags = small[i].p_flags,
			.p_offset = small[i].p_offset,
			.p_vaddr = small[i].p_vaddr,
			.p_paddr = small[i].p_paddr,
			.p_filesz = small[i].p_filesz,
			.p_memsz = small[i].p_memsz,
			.p_align = small[i].p_align,
		};
	return 0;
}

/* What of the program headers the file alone decides; RAM has its say in boot_load(). */
static int take_segments(const struct elf_file *elf, struct boot *boot, struct error *err)
{
	const char *label = elf->image->label;
	const Elf64_Phdr *ph;

	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		ph = &elf->phdr[i];
		if (ph->p_type != PT_LOAD)
			continue;
		if (ph->p_filesz > ph->p_memsz)
			return error_set(err, ENOEXEC, "%s: ELF segment %u has more bytes in the "
					 "file (0x%llx) than in memory (0x%llx)", label, i,
					 (unsigned long long)ph->p_filesz,
					 (unsigned long long)ph->p_memsz);
		if (ph->p_memsz == 0)
			continue;
		if (!boot_image_has(elf->image, ph->p_offset, ph->p_filesz))
			return error_set(err, ENOEXEC, "%s: cut short: ELF segment %u (0x%llx "
					 "bytes at 0x%llx) runs over the end of the file", label, i,
					 (unsigned long long)ph->p_filesz,
					 (unsigned long long)ph->p_offset);
		if (ph->p_memsz > UINT64_MAX - ph->p_paddr)
			return error_set(err, ENOEXEC, "%s: ELF segment %u (0x%llx bytes at "
					 "address 0x%llx) runs over the end of memory", label, i,
					 (unsigned long long)ph->p_memsz,
					 (unsigned long long)ph->p_paddr);
		boot->segment[boot->nr_segments++] = (struct boot_segment) {
			.gpa = ph->p_paddr,
			.memsz = ph->p_memsz,
			.offset = ph->p_offset,
			.filesz = ph->p_filesz,
		};
	}
	if (boot->nr_segments == 0)
		return error_set(err, ENOEXEC, "%s: the ELF image has no segment to load", label);
	return 0;
}

/*
 * e_entry is a virtual address, and we enter images with physical ones.  Kernels that are linked
 * high give either kind; so an address that is loaded is taken as it is, and only another one is
 * translated by the segment it belongs to.
 */
static void find_entry(const struct elf_file *elf, const struct boot *boot, struct boot_elf *found)
{
	uint64_t entry = elf->ehdr.e_entry;
	const Elf64_Phdr *ph;

	if (boot_in_file_part(boot, entry)) {
		found->entry = entry;
		found->has_entry = true;
		return;
	}
	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		ph = &elf->phdr[i];
		if (ph->p_type != PT_LOAD || entry < ph->p_vaddr ||
		    entry - ph->p_vaddr >= ph->p_filesz)
			continue;
		found->entry = ph->p_paddr + (entry - ph->p_vaddr);
		found->has_entry = true;
		return;
	}
}

/*
 * Looks for XEN_ELFNOTE_PHYS32_ENTRY among `len` bytes of notes.  Its descriptor is an address of
 * 4 bytes by the PVH boot ABI (Xen, docs/misc/pvh.pandoc); kernels write 8 as well.
 */
static int scan_notes(const uint8_t *notes, uint64_t len, uint64_t align, const char *label,
		      struct boot_elf *found, struct error *err)
{
	uint64_t desc, next, value = 0;
	Elf64_Nhdr nhdr;

	/* Sizes have 32 bits and are added up in 64. */
	for (uint64_t note = 0; note < len && len - note >= sizeof(nhdr); note = next) {
		memcpy(&nhdr, notes + note, sizeof(nhdr));
		desc = align_up(note + sizeof(nhdr) + nhdr.n_namesz, align);
		/* Padding behind the last descriptor is often left out. */
		if (desc > len || nhdr.n_descsz > len - desc)
			return error_set(err, ENOEXEC, "%s: an ELF note is cut short", label);
		next = align_up(desc + nhdr.n_descsz, align);
		if (nhdr.n_type != XEN_ELFNOTE_PHYS32_ENTRY ||
		    nhdr.n_namesz != sizeof(XEN_NOTE_NAME) ||
		    memcmp(notes + note + sizeof(nhdr), XEN_NOTE_NAME, sizeof(XEN_NOTE_NAME)) != 0)
			continue;
		if (nhdr.n_descsz != sizeof(uint32_t) && nhdr.n_descsz != sizeof(uint64_t))
			return error_set(err, ENOEXEC, "%s: the PVH entry note has %u bytes; it "
					 "should have 4 or 8", label, nhdr.n_descsz);
		memcpy(&value, notes + desc, nhdr.n_descsz);
		if (value > UINT32_MAX)
			return error_set(err, ENOEXEC, "%s: the PVH entry point 0x%llx is not a "
					 "32-bit address", label, (unsigned long long)value);
		found->pvh_entry = value;
		found->has_pvh = true;
		return 0;
	}
	return 0;
}

static int read_notes(const struct elf_file *elf, struct boot_elf *found, struct error *err)
{
	const char *label = elf->image->label;
	const Elf64_Phdr *ph;
	uint8_t *notes;
	int ret = 0;

	for (unsigned int i = 0; i < elf->ehdr.e_phnum && ret == 0 && !found->has_pvh; i++) {
		ph = &elf->phdr[i];
		if (ph->p_type != PT_NOTE || ph->p_filesz == 0)
			continue;
		if (ph->p_filesz > NOTES_MAX)
			return error_set(err, ENOEXEC, "%s: 0x%llx bytes of ELF notes; at most "
					 "0x%x are supported", label,
					 (unsigned long long)ph->p_filesz, NOTES_MAX);
		notes = malloc(ph->p_filesz);
		if (!notes)
			return error_errno(err, ENOMEM, "%s: reading ELF notes", label);
		ret = boot_image_read(elf->image, ph->p_offset, notes, ph->p_filesz, err);
		if (ret == 0)
			ret = scan_notes(notes, ph->p_filesz, ph->p_align == 8 ? 8 : 4, label,
					 found, err);
		free(notes);
	}
	return ret;
}

int boot_elf_parse(struct boot *boot, const uint8_t *head, size_t len, struct boot_elf *found,
		   struct error *err)
{
	struct elf_file elf = { .image = &boot->kernel };

	*found = (struct boot_elf) { 0 };
	if (read_ehdr(&elf, head, len, err) < 0 || check_ehdr(&elf, err) < 0 ||
	    read_phdrs(&elf, err) < 0 || take_segments(&elf, boot, err) < 0 ||
	    read_notes(&elf, found, err) < 0)
		return -1;
	found->is64 = is_64(&elf);
	find_entry(&elf, boot, found);
	return 0;
}
