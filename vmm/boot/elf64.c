/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>

/*
 * A plain 64-bit executable, entered in long mode as if paging did not exist: addresses up to 4 GiB
 * and all RAM are mapped to themselves.
 *
 * The tables use pages of 2 MiB, which every processor with long mode has; pages of 1 GiB are up to
 * the CPUID that the vCPU will see, which is not the loader's to know.  The first 4 GiB, where the
 * interrupt controllers are too, take 24 KiB of tables; each further GiB of RAM takes 4 KiB.
 */
#define TABLE_ENTRIES   512
#define LARGE_SHIFT     21                      /* 2 MiB */
#define MAP_MIN         (4ULL << 30)

/* Intel SDM vol. 3A, 4.5.  Accessed and dirty are set, so that nobody has to write them. */
#define PTE_TABLE       0x23ULL                 /* present, writable, accessed */
#define PTE_LARGE       0xe3ULL                 /* the same, dirty, a page and not a table */

/* For images that start in C; it costs nothing until it is touched. */
#define STACK_SIZE      16384

int boot_elf64_open(struct boot *boot, const struct boot_elf *elf, struct error *err)
{
	if (!elf->has_entry)
		return error_set(err, ENOEXEC, "%s: the entry point is in no segment that is "
				 "loaded", boot->kernel.label);
	boot->entry = elf->entry;
	return 0;
}

int boot_new_identity_map(struct boot_loading *ld, uint64_t *cr3, struct error *err)
{
	const struct memory_part *last = &ld->memory->part[ld->memory->nr_parts - 1];
	uint64_t end = last->gpa + last->size, gpa;
	uint64_t pages, directories, pointers;
	uint64_t *top, *pointer, *directory;

	if (end < MAP_MIN)
		end = MAP_MIN;
	/* RAM is mapped into this process, so all of it fits under one top table. */
	pages = (end + (1ULL << LARGE_SHIFT) - 1) >> LARGE_SHIFT;
	directories = (pages + TABLE_ENTRIES - 1) / TABLE_ENTRIES;
	pointers = (directories + TABLE_ENTRIES - 1) / TABLE_ENTRIES;

	top = boot_new_table(ld, (1 + pointers + directories) * BOOT_PAGE_SIZE, BOOT_PAGE_SIZE, cr3,
			     err);
	if (!top)
		return -1;
	/* Tables of one level lie side by side, so each level is one long array. */
	pointer = top + TABLE_ENTRIES;
	directory = pointer + pointers * TABLE_ENTRIES;
	gpa = *cr3 + BOOT_PAGE_SIZE;
	for (uint64_t i = 0; i < pointers; i++, gpa += BOOT_PAGE_SIZE)
		top[i] = gpa | PTE_TABLE;
	for (uint64_t i = 0; i < directories; i++, gpa += BOOT_PAGE_SIZE)
		pointer[i] = gpa | PTE_TABLE;
	for (uint64_t i = 0; i < pages; i++)
		directory[i] = i << LARGE_SHIFT | PTE_LARGE;
	return 0;
}

/*
 * RSI has what Linux wants to find there, since a vmlinux without a PVH note is entered like this;
 * other images need not care.
 */
int boot_elf64_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	/* As Linux' own: boot protocol 2.12, loaded high. */
	static const struct boot_linux_header header = {
		.boot_flag = 0xaa55, .magic = "HdrS", .version = 0x020c, .loadflags = 1,
	};
	struct boot_range initrd;
	uint64_t stack;

	entry->mode = BOOT_LONG;
	if (boot_load_segments(ld, err) < 0 || boot_load_initrd(ld, UINT32_MAX, &initrd, err) < 0 ||
	    boot_new_identity_map(ld, &entry->cr3, err) < 0 ||
	    !boot_new_table(ld, STACK_SIZE, BOOT_PAGE_SIZE, &stack, err) ||
	    boot_linux_params(ld, &header, &initrd, &entry->rsi, err) < 0 ||
	    boot_new_gdt(ld, entry, err) < 0)
		return -1;
	entry->rip = ld->boot->entry;
	entry->rsp = stack + STACK_SIZE;
	return 0;
}
