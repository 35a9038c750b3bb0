/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/boot/acpi.h"

/*
 * What Linux is told when it is entered in long mode: boot_params, the "zero page" (Linux,
 * Documentation/arch/x86/zero-page.rst and boot.rst).  Only the fields that a loader fills are
 * named.
 */
struct params_memory {
	uint64_t gpa, size;
	uint32_t type;
} __attribute__((packed));

struct boot_params {
	uint8_t screen[0x70];
	uint64_t rsdp;
	uint8_t unused1[0xc0 - 0x78];
	uint32_t initrd_high, initrd_size_high, command_line_high;
	uint8_t unused2[0x1e8 - 0xcc];
	uint8_t memory_entries;
	uint8_t unused3[0x1f1 - 0x1e9];
	struct boot_linux_header header;
	uint8_t unused4[0x2d0 - 0x1f1 - sizeof(struct boot_linux_header)];
	struct params_memory memory[128];
	uint8_t unused5[0x1000 - 0x2d0 - 128 * sizeof(struct params_memory)];
} __attribute__((packed));
_Static_assert(sizeof(struct boot_params) == 4096, "zero-page.rst");
_Static_assert(offsetof(struct boot_params, memory) == 0x2d0, "zero-page.rst");
_Static_assert(offsetof(struct boot_linux_header, jump) + 0x1f1 == 0x200, "boot.rst");
_Static_assert(offsetof(struct boot_linux_header, init_size) + 0x1f1 == 0x260, "boot.rst");

#define LOADER_UNREGISTERED 0xff

int boot_linux_params(struct boot_loading *ld, const struct boot_linux_header *header,
		      const struct boot_range *initrd, uint64_t *gpa, struct error *err)
{
	struct boot_memmap_entry map[BOOT_MEMMAP_MAX];
	struct boot_params *params;
	uint64_t command_line;

	if (boot_new_command_line(ld, &command_line, err) < 0)
		return -1;
	params = boot_new_table(ld, sizeof(*params), BOOT_PAGE_SIZE, gpa, err);
	if (!params)
		return -1;
	params->header = *header;
	params->header.type_of_loader = LOADER_UNREGISTERED;
	params->header.command_line = (uint32_t)command_line;
	/* It lies below 4 GiB, so that the high halves stay zero. */
	params->header.initrd = (uint32_t)initrd->start;
	params->header.initrd_size = (uint32_t)(initrd->end - initrd->start);
	params->header.setup_data = 0;
	params->rsdp = ACPI_TABLES_START;
	params->memory_entries = (uint8_t)boot_memory_map(ld->memory, map);
	for (unsigned int i = 0; i < params->memory_entries; i++)
		params->memory[i] = (struct params_memory) { map[i].gpa, map[i].size, map[i].type };
	return 0;
}
