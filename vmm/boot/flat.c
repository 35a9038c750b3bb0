/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>

/* Where a PC's BIOS puts a boot sector, and the end of conventional memory. */
#define FLAT_START      0x7c00u
#define FLAT_END        0xa0000u
#define FLAT_MAX        (FLAT_END - FLAT_START)
#define FLAT_DRIVE      0x80u           /* in DL: the first hard disk */

int boot_flat_open(struct boot *boot, struct error *err)
{
	if (boot->kernel.size > FLAT_MAX)
		return error_set(err, ENOEXEC,
				 "%s: of no known format, and with %llu bytes too big for a flat "
				 "16-bit image (at most %u); give an ELF or multiboot image",
				 boot->kernel.label, (unsigned long long)boot->kernel.size,
				 FLAT_MAX);
	boot->segment[0] = (struct boot_segment) {
		.gpa = FLAT_START,
		.memsz = boot->kernel.size,
		.filesz = boot->kernel.size,
	};
	boot->nr_segments = 1;
	boot->entry = FLAT_START;
	return boot_refuse_extras(boot, "flat", err);
}

int boot_flat_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	/* Alone in the machine, such an image may fill all of conventional memory. */
	if (boot_load_segment(ld, &ld->boot->segment[0], err) < 0)
		return -1;
	entry->mode = BOOT_REAL;
	entry->rip = FLAT_START;
	/* A BIOS leaves some stack behind; here it grows down from the image. */
	entry->rsp = FLAT_START;
	entry->rdx = FLAT_DRIVE;
	return 0;
}

/* Without a kernel the processor halts, and halts again after an NMI. */
int boot_none_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	static const uint8_t code[] = {
		0xf4,                   /* hlt */
		0xeb, 0xfd,             /* jmp to the hlt */
		0xcf,                   /* iret: the handler of vector 2 */
	};
	static const uint16_t nmi_vector[] = { FLAT_START + 3, 0 };

	if (!memory_write(ld->memory, FLAT_START, code, sizeof(code)) ||
	    !memory_write(ld->memory, 2 * sizeof(nmi_vector), nmi_vector, sizeof(nmi_vector)))
		return error_set(err, EINVAL, "the VM has no RAM at 0x%x", FLAT_START);
	entry->mode = BOOT_REAL;
	entry->rip = FLAT_START;
	entry->rsp = FLAT_START;
	return 0;
}
