/* SPDX-License-Identifier: MIT */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/cpu_topology.h"
#include "vmm/error.h"
#include "vmm/memory.h"

/*
 * Loading a kernel image into guest RAM and saying in which state the boot processor enters it.
 * Images are untrusted: every offset and size in them is checked against the file and against RAM
 * before a byte is written.
 *
 * Threads: owner's thread, while no vCPU runs.
 */
struct boot_config {
	const char *kernel;             /* path; NULL boots nothing: the vCPU halts at once */
	/* Flat images have no way to be given these two, and refuse them. */
	const char *append;             /* command line of up to 4095 bytes, NULL for none */
	const char *const *initrd;      /* paths; up to 64 */
	unsigned int nr_initrd;
};

enum boot_mode {
	BOOT_REAL,              /* 16 bit, paging and protection off */
	BOOT_PROTECTED,         /* 32 bit flat segments, paging off */
	BOOT_LONG,              /* 64 bit, identity map in page tables that the loader made */
};

/* The boot processor's registers at entry; all that is not named is as after reset. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi, rdx;
	uint64_t cr3;           /* BOOT_LONG: physical address of the top page table */
	uint64_t gdt;           /* physical address of the table that the segments are of; or 0 */
	uint16_t gdt_limit;
};

/* Which loader an image is for; where several would do, the first of this list. */
enum boot_format {
	BOOT_FORMAT_NONE,       /* no kernel was named */
	BOOT_FORMAT_PVH,        /* ELF with a XEN_ELFNOTE_PHYS32_ENTRY note */
	BOOT_FORMAT_MULTIBOOT,  /* multiboot 1 header within the first 8 KiB */
	BOOT_FORMAT_ELF64,      /* plain ELF64, entered in long mode */
	BOOT_FORMAT_BZIMAGE,    /* Linux, by its 64-bit entry */
	BOOT_FORMAT_FLAT,       /* 16-bit image without a header, at 0x7c00 as a boot sector */
};

/* The open images of one machine, kept so that a reset can load them anew. */
struct boot;

/*
 * Opens the images that `config` names and finds out the kernel's format.  Fails with the path and
 * the reason.  The strings are not kept.
 */
struct boot *boot_open(const struct boot_config *config, struct error *err);
void boot_close(struct boot *boot);             /* NULL is allowed */

/*
 * Writes images, tables and start information into guest RAM and fills *entry.  The first call
 * takes RAM to be zero, as memory_init() made it, so as not to touch pages needlessly; later ones,
 * after a reset, clear what has to be zero.  On failure RAM may have been written to, but nothing
 * beside it.  The topology is for the tables that describe processors.
 */
int boot_load(struct boot *boot, const struct memory *memory, const struct cpu_topology *topology,
	      struct boot_entry *entry, struct error *err);

/* RAM has been filled by somebody else: a later boot_load() has to clear it, too. */
void boot_ram_filled(struct boot *boot);

/* "PVH" and so on, for the log. */
const char *boot_format_name(const struct boot *boot);

#endif
