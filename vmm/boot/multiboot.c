/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <string.h>

/* Multiboot Specification 0.6.96: 3.1 the header, 3.2 the machine, 3.3 the information. */
#define HEADER_MAGIC            0x1badb002u
#define HEADER_PAGE_ALIGN       (1u << 0)
#define HEADER_MEMORY_INFO      (1u << 1)
#define HEADER_VIDEO_MODE       (1u << 2)
#define HEADER_REQUIREMENTS     0xffffu         /* a loader that lacks one of them refuses */
#define HEADER_ADDRESSES        (1u << 16)

#define LOADED_MAGIC            0x2badb002u

struct multiboot_header {
	uint32_t magic;
	uint32_t flags;
	uint32_t checksum;              /* makes the sum of the three 0 */
	/* With HEADER_ADDRESSES only. */
	uint32_t header_addr;           /* where this header itself goes */
	uint32_t load_addr;
	uint32_t load_end_addr;         /* 0: to the end of the file */
	uint32_t bss_end_addr;          /* 0: no bss */
	uint32_t entry_addr;
};
#define HEADER_SHORT_SIZE offsetof(struct multiboot_header, header_addr)
_Static_assert(sizeof(struct multiboot_header) == 32, "Multiboot 3.1.1");

#define INFO_MEMORY             (1u << 0)
#define INFO_COMMAND_LINE       (1u << 2)
#define INFO_MODULES            (1u << 3)
#define INFO_MEMORY_MAP         (1u << 6)
#define INFO_LOADER_NAME        (1u << 9)

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper;  /* KiB from 0, and from 1 MiB up to the first hole */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
	uint32_t framebuffer[7];
};
_Static_assert(offsetof(struct multiboot_info, mmap_length) == 44, "Multiboot 3.3");
_Static_assert(offsetof(struct multiboot_info, boot_loader_name) == 64, "Multiboot 3.3");
_Static_assert(sizeof(struct multiboot_info) == 116, "Multiboot 3.3");

struct multiboot_module {
	uint32_t mod_start, mod_end;
	uint32_t string;
	uint32_t reserved;
};
_Static_assert(sizeof(struct multiboot_module) == 16, "Multiboot 3.3");

struct multiboot_mmap {
	uint32_t size;                  /* of what follows */
	uint64_t base_addr, length;
	uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct multiboot_mmap) == 24, "Multiboot 3.3");

static const char loader_name[] = "vmond";

long boot_multiboot_find(const uint8_t *head, size_t len)
{
	struct multiboot_header h;
	size_t size;

	for (size_t at = 0; at + HEADER_SHORT_SIZE <= len; at += sizeof(uint32_t)) {
		memcpy(&h, head + at, HEADER_SHORT_SIZE);
		if (h.magic != HEADER_MAGIC || h.magic + h.flags + h.checksum != 0)
			continue;
		size = h.flags & HEADER_ADDRESSES ? sizeof(h) : HEADER_SHORT_SIZE;
		if (size <= len - at)
			return at;
	}
	return -1;
}

/* The one segment that the address fields describe (3.1.3). */
static int take_addresses(struct boot *boot, const struct multiboot_header *h, uint32_t header_at,
			  struct error *err)
{
	const char *label = boot->kernel.label;
	struct boot_segment *seg = &boot->segment[0];
	uint32_t before = h->header_addr - h->load_addr;

	if (h->load_addr > h->header_addr || before > header_at)
		return error_set(err, ENOEXEC, "%s: the multiboot header says that loading starts "
				 "at address 0x%x, which is before the file", label, h->load_addr);
	seg->gpa = h->load_addr;
	seg->offset = header_at - before;
	if (h->load_end_addr == 0)
		seg->filesz = boot->kernel.size - seg->offset;
	else if (h->load_end_addr >= h->load_addr)
		seg->filesz = h->load_end_addr - h->load_addr;
	else
		return error_set(err, ENOEXEC, "%s: the multiboot header says that loading ends "
				 "(0x%x) before it starts (0x%x)", label, h->load_end_addr,
				 h->load_addr);
	if (!boot_image_has(&boot->kernel, seg->offset, seg->filesz))
		return error_set(err, ENOEXEC, "%s: cut short: the multiboot header wants 0x%llx "
				 "bytes at offset 0x%llx", label, (unsigned long long)seg->filesz,
				 (unsigned long long)seg->offset);
	seg->memsz = seg->filesz;
	if (h->bss_end_addr != 0) {
		if (h->bss_end_addr < seg->gpa + seg->filesz)
			return error_set(err, ENOEXEC, "%s: the multiboot header says that bss "
					 "ends (0x%x) before the data (0x%llx)", label,
					 h->bss_end_addr,
					 (unsigned long long)(seg->gpa + seg->filesz));
		seg->memsz = h->bss_end_addr - h->load_addr;
	}
	boot->nr_segments = 1;
	if (!boot_in_file_part(boot, h->entry_addr))
		return error_set(err, ENOEXEC, "%s: the multiboot entry point 0x%x is not in what "
				 "is loaded", label, h->entry_addr);
	boot->entry = h->entry_addr;
	return 0;
}

int boot_multiboot_open(struct boot *boot, const uint8_t *head, long offset,
			const struct boot_elf *elf, struct error *err)
{
	const char *label = boot->kernel.label;
	struct multiboot_header h = { 0 };
	uint32_t unknown;

	memcpy(&h, head + offset, HEADER_SHORT_SIZE);
	if (h.flags & HEADER_VIDEO_MODE)
		return error_set(err, ENOTSUP, "%s: the multiboot image requires a video mode, and "
				 "this machine has no display; build it without flag bit 2", label);
	unknown = h.flags & HEADER_REQUIREMENTS & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO);
	if (unknown)
		return error_set(err, ENOTSUP, "%s: the multiboot image requires features that are "
				 "not in version 0.6.96 (flags 0x%x)", label, unknown);
	if (h.flags & HEADER_ADDRESSES) {
		memcpy(&h, head + offset, sizeof(h));
		return take_addresses(boot, &h, offset, err);
	}
	if (!elf)
		return error_set(err, ENOEXEC, "%s: a multiboot image that is no ELF needs the "
				 "header's address fields (flag bit 16)", label);
	if (!elf->has_entry || elf->entry > UINT32_MAX)
		return error_set(err, ENOEXEC, "%s: the entry point is in no segment that is "
				 "loaded below 4 GiB", label);
	boot->entry = elf->entry;
	return 0;
}

/*
 * Every address is below 4 GiB, because modules and tables are put nowhere else.  Modules are page
 * aligned whether the image asks for that or not.
 */
static int new_module_list(struct boot_loading *ld, const struct boot_range *range,
			   struct multiboot_info *info, struct error *err)
{
	unsigned int n = ld->boot->nr_initrd;
	size_t size = n * sizeof(struct multiboot_module), at = size;
	uint64_t gpa;
	uint8_t *table;

	for (unsigned int i = 0; i < n; i++)
		size += strlen(range[i].what) + 1;
	/* The list, and behind it the strings. */
	table = boot_new_table(ld, size, 16, &gpa, err);
	if (!table)
		return -1;
	for (unsigned int i = 0; i < n; i++) {
		((struct multiboot_module *)table)[i] = (struct multiboot_module) {
			.mod_start = range[i].start,
			.mod_end = range[i].end,
			.string = gpa + at,
		};
		memcpy(table + at, range[i].what, strlen(range[i].what) + 1);
		at += strlen(range[i].what) + 1;
	}
	info->mods_count = n;
	info->mods_addr = gpa;
	return 0;
}

static int new_memory_map(struct boot_loading *ld, struct multiboot_info *info, struct error *err)
{
	struct boot_memmap_entry map[BOOT_MEMMAP_MAX];
	unsigned int n = boot_memory_map(ld->memory, map);
	struct multiboot_mmap *to;
	uint64_t gpa;

	to = boot_new_table(ld, n * sizeof(*to), 16, &gpa, err);
	if (!to)
		return -1;
	for (unsigned int i = 0; i < n; i++) {
		to[i] = (struct multiboot_mmap) {
			.size = sizeof(*to) - sizeof(to->size),
			.base_addr = map[i].gpa,
			.length = map[i].size,
			.type = map[i].type,
		};
		if (map[i].gpa == 0)
			info->mem_lower = map[i].size >> 10;
		if (map[i].gpa == BOOT_FIRMWARE_END)
			info->mem_upper = map[i].size >> 10;
	}
	info->mmap_addr = gpa;
	info->mmap_length = n * sizeof(*to);
	return 0;
}

int boot_multiboot_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	struct boot_range module[BOOT_MAX_INITRD];
	struct multiboot_info info = {
		.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP |
			 INFO_LOADER_NAME,
	};
	struct multiboot_info *place;
	uint64_t command_line, name;
	char *to;

	if (boot_load_segments(ld, err) < 0 || boot_load_modules(ld, module, err) < 0)
		return -1;
	if (ld->boot->nr_initrd && new_module_list(ld, module, &info, err) < 0)
		return -1;
	entry->mode = BOOT_PROTECTED;
	if (boot_new_command_line(ld, &command_line, err) < 0 ||
	    new_memory_map(ld, &info, err) < 0 || boot_new_gdt(ld, entry, err) < 0)
		return -1;
	to = boot_new_table(ld, sizeof(loader_name), 1, &name, err);
	if (!to)
		return -1;
	memcpy(to, loader_name, sizeof(loader_name));
	info.cmdline = command_line;
	info.boot_loader_name = name;
	place = boot_new_table(ld, sizeof(*place), 16, &entry->rbx, err);
	if (!place)
		return -1;
	*place = info;
	entry->rip = ld->boot->entry;
	entry->rax = LOADED_MAGIC;
	return 0;
}
