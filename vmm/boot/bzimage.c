/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <string.h>

/*
 * A Linux bzImage, entered by the 64-bit entry of the boot protocol (Linux,
 * Documentation/arch/x86/boot.rst): the image's protected-mode part goes to RAM as it is, and
 * unpacks the kernel by itself.
 */
#define SECTOR              512u
#define HEADER_OFFSET       0x1f1u
#define VERSION_2_12        0x020c      /* the first with xloadflags */
#define XLF_KERNEL_64       (1u << 0)
#define LOADFLAG_LOADED_HIGH (1u << 0)
#define ENTRY_64            0x200u
#define COMMAND_LINE_OLD    255u
#define ADDRESS_BITS        52          /* of the largest physical address on x86 */
#define MIB_SHIFT           20

/* A header that is cut short is still one: boot_bzimage_open() says so. */
bool boot_bzimage_is(const uint8_t *head, size_t len)
{
	return len >= 0x206 && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa &&
	       memcmp(head + 0x202, "HdrS", 4) == 0;
}

/* The addresses that the kernel asks for: something that place() can calculate with. */
static int check_addresses(const struct boot *boot, struct error *err)
{
	const struct boot_linux_header *h = &boot->linux_header;

	if (h->kernel_alignment & (h->kernel_alignment - 1))
		return error_set(err, ENOEXEC, "%s: its header asks for an alignment of 0x%x, "
				 "which is no power of two", boot->kernel.label,
				 h->kernel_alignment);
	if (h->pref_address >> ADDRESS_BITS)
		return error_set(err, ENOEXEC, "%s: its header asks for address 0x%llx, which is "
				 "beyond what x86 has", boot->kernel.label,
				 (unsigned long long)h->pref_address);
	if (!h->relocatable_kernel && h->pref_address < BOOT_FIRMWARE_END)
		return error_set(err, ENOEXEC, "%s: it is not relocatable, and its header asks for "
				 "address 0x%llx, in the PC's first megabyte",
				 boot->kernel.label, (unsigned long long)h->pref_address);
	return 0;
}

int boot_bzimage_open(struct boot *boot, const uint8_t *head, struct error *err)
{
	struct boot_linux_header *h = &boot->linux_header;
	size_t append = strlen(boot->append), append_max;
	uint64_t start, size;
	size_t known;

	if (boot->kernel.size < HEADER_OFFSET + sizeof(*h))
		return error_set(err, ENOEXEC, "%s: the file is cut short: a bzImage's header is "
				 "longer than its %llu bytes", boot->kernel.label,
				 (unsigned long long)boot->kernel.size);
	memcpy(h, head + HEADER_OFFSET, sizeof(*h));
	/* The header ends where the jump at its start goes to; what lies behind it is code. */
	known = 0x202u + (h->jump >> 8) - HEADER_OFFSET;
	if (known < sizeof(*h))
		memset((uint8_t *)h + known, 0, sizeof(*h) - known);
	if (h->version < VERSION_2_12 || !(h->xloadflags & XLF_KERNEL_64) ||
	    !(h->loadflags & LOADFLAG_LOADED_HIGH))
		return error_set(err, ENOEXEC, "%s: this bzImage (boot protocol %u.%02u) has no "
				 "64-bit entry; a 64-bit kernel of Linux 3.8 or later has one",
				 boot->kernel.label, h->version >> 8, h->version & 0xff);
	start = ((h->setup_sects ? h->setup_sects : 4u) + 1u) * SECTOR;
	/* Signatures may follow, which are not the kernel's. */
	size = (uint64_t)h->syssize * 16;
	if (!boot_image_has(&boot->kernel, start, size))
		return error_set(err, ENOEXEC, "%s: the file is cut short: it has %llu bytes, and "
				 "its header promises %llu", boot->kernel.label,
				 (unsigned long long)boot->kernel.size,
				 (unsigned long long)(start + size));
	if (size <= ENTRY_64)
		return error_set(err, ENOEXEC, "%s: its header promises a kernel of %llu bytes, "
				 "which ends before its 64-bit entry", boot->kernel.label,
				 (unsigned long long)size);
	append_max = h->cmdline_size ? h->cmdline_size : COMMAND_LINE_OLD;
	if (append > append_max)
		return error_set(err, EINVAL, "%s: the command line has %zu bytes, and this kernel "
				 "takes %zu", boot->kernel.label, append, append_max);
	/* Where it goes is up to RAM, too. */
	boot->nr_segments = 1;
	boot->segment[0] = (struct boot_segment) { .offset = start, .filesz = size, .memsz = size };
	return check_addresses(boot, err);
}

/*
 * The kernel unpacks itself to where it was linked to, and needs init_size bytes there; a
 * relocatable one that lies higher, to the next aligned address, but never lower (boot.rst,
 * init_size).  So it is put where it is going to run, and the room it needs begins where it lies.
 */
static int place(struct boot_loading *ld, struct boot_segment *segment, struct error *err)
{
	const struct boot_linux_header *h = &ld->boot->linux_header;
	uint64_t room = segment->filesz > h->init_size ? segment->filesz : h->init_size;
	uint64_t align = h->kernel_alignment ? h->kernel_alignment : BOOT_PAGE_SIZE;

	segment->gpa = h->pref_address;
	if (h->relocatable_kernel) {
		if (segment->gpa < BOOT_FIRMWARE_END)
			segment->gpa = BOOT_FIRMWARE_END;
		segment->gpa = (segment->gpa + align - 1) & -align;
	}
	if (boot_reserve(ld, segment->gpa, room, "the kernel"))
		return 0;
	return error_set(err, ENOMEM, "%s: needs %llu MiB of RAM at 0x%llx to unpack itself; give "
			 "the VM more memory", ld->boot->kernel.label,
			 (unsigned long long)((room - 1) >> MIB_SHIFT) + 1,
			 (unsigned long long)segment->gpa);
}

int boot_bzimage_load(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	const struct boot_linux_header *h = &ld->boot->linux_header;
	struct boot_segment segment = ld->boot->segment[0];
	struct boot_range initrd;

	boot_reserve_firmware(ld);
	if (place(ld, &segment, err) < 0 || boot_load_segment(ld, &segment, err) < 0 ||
	    boot_load_initrd(ld, h->initrd_addr_max, &initrd, err) < 0)
		return -1;
	entry->mode = BOOT_LONG;
	if (boot_linux_params(ld, h, &initrd, &entry->rsi, err) < 0 ||
	    boot_new_identity_map(ld, &entry->cr3, err) < 0 || boot_new_gdt(ld, entry, err) < 0)
		return -1;
	entry->rip = segment.gpa + ENTRY_64;
	return 0;
}
