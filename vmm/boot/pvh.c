/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/boot/acpi.h"

/*
 * The x86/HVM direct boot ABI, version 1 (Xen: docs/misc/pvh.pandoc for the machine's state,
 * xen/include/public/arch-x86/hvm/start_info.h for the layouts).  An address of 0 means "none".
 */
#define START_MAGIC     0x336ec578u
#define START_VERSION   1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;                 /* none of them is for guests like ours */
	uint32_t nr_modules;
	uint64_t modules;               /* address of struct start_module[] */
	uint64_t command_line;          /* address of a string */
	uint64_t rsdp;                  /* address of ACPI's root pointer */
	uint64_t memory_map;            /* address of struct start_memory[] */
	uint32_t memory_map_entries;
	uint32_t reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "PVH boot ABI");
_Static_assert(offsetof(struct start_info, memory_map) == 40, "PVH boot ABI");

struct start_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t command_line;
	uint64_t reserved;
};
_Static_assert(sizeof(struct start_module) == 32, "PVH boot ABI");

struct start_memory {
	uint64_t gpa;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};
_Static_assert(sizeof(struct start_memory) == 24, "PVH boot ABI");

int boot_pvh_open(struct boot *boot, const struct boot_elf *elf, struct error *err)
{
	if (!boot_in_file_part(boot, elf->pvh_entry))
		return error_set(err, ENOEXEC, "%s: the PVH entry point 0x%x is in no segment that "
				 "is loaded", boot->kernel.label, elf->pvh_entry);
	boot->entry = elf->pvh_entry;
	return 0;
}

static int new_module_list(struct boot_loading *ld, const struct boot_range *range, uint64_t *gpa,
			   struct error *err)
{
	unsigned int n = ld->boot->nr_initrd;
	struct start_module *module = boot_new_table(ld, n * sizeof(*module), 16, gpa, err);

	if (!module)
		return -1;
	for (unsigned int i = 0; i < n; i++)
		module[i] = (struct start_module) {
			.gpa = range[i].start,
			.size = range[i].end - range[i].start,
		};
	return 0;
}

static int new_memory_map(struct boot_loading *ld, struct start_info *info, struct error *err)
{
	struct boot_memmap_entry map[BOOT_MEMMAP_MAX];
	unsigned int n = boot_memory_map(ld->memory, map);
	struct start_memory *to = boot_new_table(ld, n * sizeof(*to), 16, &info->memory_map, err);

	if (!to)
		return -1;
	for (unsigned int i = 0; i < n; i++)
		to[i] = (struct start_memory) {
			.gpa = map[i].gpa,
			.size = map[i].size,
			.type = map[i].type,
		};
	info->memory_map_entries = n;
	return 0;
}

int boot_pvh_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	struct boot_range module[BOOT_MAX_INITRD];
	struct start_info info = {
		.magic = START_MAGIC,
		.version = START_VERSION,
		.nr_modules = ld->boot->nr_initrd,
		.rsdp = ACPI_TABLES_START,
	};
	struct start_info *place;

	if (boot_load_segments(ld, err) < 0 || boot_load_modules(ld, module, err) < 0)
		return -1;
	if (info.nr_modules && new_module_list(ld, module, &info.modules, err) < 0)
		return -1;
	entry->mode = BOOT_PROTECTED;
	if (boot_new_command_line(ld, &info.command_line, err) < 0 ||
	    new_memory_map(ld, &info, err) < 0 || boot_new_gdt(ld, entry, err) < 0)
		return -1;
	place = boot_new_table(ld, sizeof(*place), 16, &entry->rbx, err);
	if (!place)
		return -1;
	*place = info;
	entry->rip = ld->boot->entry;
	return 0;
}
