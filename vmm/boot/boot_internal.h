/* SPDX-License-Identifier: MIT */
#ifndef VMM_BOOT_BOOT_INTERNAL_H
#define VMM_BOOT_BOOT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/boot/boot.h"
#include "vmm/boot/image.h"

/*
 * What the loaders share.  An image is looked at twice: boot_open() finds out its format and checks
 * everything that the file alone decides; the result is a list of segments and an entry point.
 * boot_load() then fits the segments into the machine's RAM, which may happen many times.
 */

/* The low megabyte, as a PC's memory map has it. */
#define BOOT_LOW_START          0x1000u         /* below: interrupt vectors, and never address 0 */
#define BOOT_FIRMWARE_START     0x9fc00u        /* extended BIOS data, video memory, ROMs */
#define BOOT_FIRMWARE_END       0x100000u

#define BOOT_PAGE_SIZE          4096u
#define BOOT_HEAD_SIZE          8192u           /* where a multiboot header has to be */
#define BOOT_MAX_SEGMENTS       64
#define BOOT_MAX_INITRD         64
#define BOOT_MAX_APPEND         4095            /* bytes of command line, without the final 0 */

/* memsz bytes at guest-physical gpa: filesz bytes of the file from offset on, then zeros. */
struct boot_segment {
	uint64_t gpa, memsz;
	uint64_t offset, filesz;
};

/*
 * The part of a Linux image's setup header that loaders read and write: boot.rst, offsets from
 * 0x1f1 on.
 */
struct boot_linux_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize;               /* in units of 16 bytes */
	uint16_t ram_size, vid_mode, root_dev, boot_flag;
	uint16_t jump;                  /* 0x200 */
	char magic[4];                  /* "HdrS" */
	uint16_t version;
	uint32_t realmode_switch;
	uint16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start;
	uint32_t initrd, initrd_size;
	uint32_t bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	uint32_t command_line;
	uint32_t initrd_addr_max;
	uint32_t kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size, hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_length;
	uint64_t setup_data, pref_address;
	uint32_t init_size, handover_offset, kernel_info_offset;
} __attribute__((packed));

struct boot {
	/* Constant after boot_open(). */
	struct boot_image kernel;
	struct boot_image initrd[BOOT_MAX_INITRD];
	unsigned int nr_initrd;
	char *append;                   /* never NULL */
	enum boot_format format;
	struct boot_segment segment[BOOT_MAX_SEGMENTS]; /* of a bzImage one, without its address */
	unsigned int nr_segments;
	uint64_t entry;                 /* guest-physical */
	struct boot_linux_header linux_header;          /* of a bzImage, else zero */

	bool ram_written;               /* boot_load() has been called: RAM may hold anything */
};

/* [start, end) of guest-physical memory, and what is there. */
struct boot_range {
	uint64_t start, end;
	const char *what;
};

/* Segments, modules, the firmware area; and the tables, of which a loader makes at most eight. */
#define BOOT_MAX_RANGES (BOOT_MAX_SEGMENTS + BOOT_MAX_INITRD + 1 + 8)

/* One run of boot_load(). */
struct boot_loading {
	struct boot *boot;
	const struct memory *memory;
	bool zero;                      /* RAM has been in use: zeros have to be written too */
	struct boot_range used[BOOT_MAX_RANGES];        /* sorted, none overlapping */
	unsigned int nr_used;
};

/* elf.c */

struct boot_elf {
	bool is64;
	bool has_pvh;
	uint64_t entry;                 /* guest-physical, translated from e_entry */
	bool has_entry;                 /* e_entry is in a part of a segment that the file fills */
	uint32_t pvh_entry;             /* XEN_ELFNOTE_PHYS32_ENTRY */
};

bool boot_elf_is(const uint8_t *head, size_t len);

/* Checks headers, program headers and notes; fills *elf and the list of segments of *boot. */
int boot_elf_parse(struct boot *boot, const uint8_t *head, size_t len, struct boot_elf *elf,
		   struct error *err);

/* The loaders: *_open() decides on segments and entry, *_load() fills *entry. */
int boot_flat_open(struct boot *boot, struct error *err);
int boot_flat_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);
int boot_none_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

int boot_pvh_open(struct boot *boot, const struct boot_elf *elf, struct error *err);
int boot_pvh_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

int boot_elf64_open(struct boot *boot, const struct boot_elf *elf, struct error *err);
int boot_elf64_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

/* Makes page tables that map addresses up to 4 GiB, and all RAM, to themselves (elf64.c). */
int boot_new_identity_map(struct boot_loading *ld, uint64_t *cr3, struct error *err);

bool boot_bzimage_is(const uint8_t *head, size_t len);
int boot_bzimage_open(struct boot *boot, const uint8_t *head, struct error *err);
int boot_bzimage_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

/*
 * boot_params with command line, initrd, memory map and RSDP, for Linux's 64-bit entry (linux.c).
 * *initrd may be empty.
 */
int boot_linux_params(struct boot_loading *ld, const struct boot_linux_header *header,
		      const struct boot_range *initrd, uint64_t *gpa, struct error *err);

/* Where a multiboot header is in the first len bytes, -1 when nowhere. */
long boot_multiboot_find(const uint8_t *head, size_t len);
/* elf is NULL when the image is no ELF. */
int boot_multiboot_open(struct boot *boot, const uint8_t *head, long offset,
			const struct boot_elf *elf, struct error *err);
int boot_multiboot_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

/* loading.c */

/* Whether an address is in a part of a segment that comes from the file. */
bool boot_in_file_part(const struct boot *boot, uint64_t gpa);

/* Reads one segment into RAM and zeroes its rest. */
int boot_load_segment(struct boot_loading *ld, const struct boot_segment *seg, struct error *err);

/* Loads all segments, after a check that they are clear of each other and of the firmware area. */
int boot_load_segments(struct boot_loading *ld, struct error *err);

/* Marks the firmware area as used: the first thing a loader does. */
void boot_reserve_firmware(struct boot_loading *ld);

/* Marks RAM as used for what is loaded there.  False when it is not all RAM, or not free. */
bool boot_reserve(struct boot_loading *ld, uint64_t gpa, uint64_t size, const char *what);

/*
 * Loads the initrds one behind the other, as Linux takes them (each a cpio archive of its own, at a
 * multiple of 4), as high in RAM as they go but not above `max`.  *range is empty without any.
 */
int boot_load_initrd(struct boot_loading *ld, uint64_t max, struct boot_range *range,
		     struct error *err);

/* Loads the initrds, page aligned, as high in RAM below 4 GiB as they go; start and end of each. */
int boot_load_modules(struct boot_loading *ld, struct boot_range module[BOOT_MAX_INITRD],
		      struct error *err);

/*
 * Room for a table of ours, zeroed, clear of all that is loaded: below 4 GiB, and in conventional
 * memory if it fits.  So segments and modules come first.  align is a power of two.
 */
void *boot_new_table(struct boot_loading *ld, uint64_t size, uint64_t align, uint64_t *gpa,
		     struct error *err);
/* The command line as a table: 0 on success. */
int boot_new_command_line(struct boot_loading *ld, uint64_t *gpa, struct error *err);

/* Segment descriptors (Intel SDM vol. 3A, 3.4.5), ready for use: accessed, or busy. */
#define BOOT_DESC_CODE32        0x00cf9b000000ffffULL
#define BOOT_DESC_CODE64        0x00af9b000000ffffULL
#define BOOT_DESC_DATA          0x00cf93000000ffffULL
#define BOOT_DESC_TSS           0x00008b0000000067ULL   /* in long mode the low half of 16 bytes */

/* Code and data are where Linux wants them: selectors 0x10 and 0x18 (boot.rst, "64-bit entry"). */
enum { BOOT_GDT_NULL, BOOT_GDT_UNUSED, BOOT_GDT_CODE, BOOT_GDT_DATA, BOOT_GDT_TSS,
       BOOT_GDT_TSS_HIGH, BOOT_GDT_ENTRIES };

/* The code segment that a mode is entered with. */
static inline uint64_t boot_code_descriptor(enum boot_mode mode)
{
	return mode == BOOT_LONG ? BOOT_DESC_CODE64 : BOOT_DESC_CODE32;
}

/* Makes the table that fits entry->mode and names it in *entry. */
int boot_new_gdt(struct boot_loading *ld, struct boot_entry *entry, struct error *err);

/* The memory map that kernels are told; types as in ACPI's system address map interface. */
#define BOOT_MEMMAP_RAM         1
#define BOOT_MEMMAP_RESERVED    2
#define BOOT_MEMMAP_MAX         4

struct boot_memmap_entry {
	uint64_t gpa, size;
	uint32_t type;
};

/* Returns how many entries it filled. */
unsigned int boot_memory_map(const struct memory *memory,
			     struct boot_memmap_entry map[BOOT_MEMMAP_MAX]);

/* Refuses a command line and initrds for a format that has no way to hand them over. */
int boot_refuse_extras(const struct boot *boot, const char *format, struct error *err);

#endif
