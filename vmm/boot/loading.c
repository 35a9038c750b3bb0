/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <string.h>

bool boot_in_file_part(const struct boot *boot, uint64_t gpa)
{
	const struct boot_segment *seg;

	for (unsigned int i = 0; i < boot->nr_segments; i++) {
		seg = &boot->segment[i];
		if (gpa >= seg->gpa && gpa - seg->gpa < seg->filesz)
			return true;
	}
	return false;
}

int boot_refuse_extras(const struct boot *boot, const char *format, struct error *err)
{
	const char *what = boot->nr_initrd ? "an initrd" : "a command line";

	if (!boot->nr_initrd && !*boot->append)
		return 0;
	return error_set(err, EINVAL, "%s: a %s image can not be given %s; Linux, ELF and "
			 "multiboot images can", boot->kernel.label, format, what);
}

/*
 * Marks [start, end) as in use.  Returns what is there already, or NULL when it was free.  There is
 * always room for one more: BOOT_MAX_RANGES counts everything that is ever put in.
 */
static const char *reserve(struct boot_loading *ld, uint64_t start, uint64_t end, const char *what)
{
	unsigned int i = ld->nr_used;

	while (i > 0 && ld->used[i - 1].start >= end)
		i--;
	if (i > 0 && ld->used[i - 1].end > start)
		return ld->used[i - 1].what;
	memmove(&ld->used[i + 1], &ld->used[i], (ld->nr_used - i) * sizeof(ld->used[0]));
	ld->used[i] = (struct boot_range) { start, end, what };
	ld->nr_used++;
	return NULL;
}

/* The highest place for `size` bytes in [low, high) that nothing is in. */
static bool find_gap(const struct boot_loading *ld, uint64_t low, uint64_t high, uint64_t size,
		     uint64_t align, uint64_t *gpa)
{
	for (unsigned int i = ld->nr_used; ; i--) {
		uint64_t floor = low, start;

		if (i > 0 && ld->used[i - 1].end > low)
			floor = ld->used[i - 1].end;
		if (high > floor && high - floor >= size) {
			start = (high - size) & -align;
			if (start >= floor) {
				*gpa = start;
				return true;
			}
		}
		if (i == 0)
			return false;
		if (ld->used[i - 1].start < high)
			high = ld->used[i - 1].start;
	}
}

static uint64_t low_ram_end(const struct memory *memory)
{
	return memory->part[0].gpa + memory->part[0].size;
}

/* As find_gap(), in RAM above the first megabyte. */
static bool find_upper(const struct boot_loading *ld, uint64_t size, uint64_t align, uint64_t *gpa)
{
	return find_gap(ld, BOOT_FIRMWARE_END, low_ram_end(ld->memory), size, align, gpa);
}

/* As find_gap(), in conventional memory. */
static bool find_conventional(const struct boot_loading *ld, uint64_t size, uint64_t align,
			      uint64_t *gpa)
{
	return find_gap(ld, BOOT_LOW_START, BOOT_FIRMWARE_START, size, align, gpa);
}

static void zero(const struct boot_loading *ld, void *host, uint64_t len)
{
	/* RAM that was never used is zero, and stays untouched. */
	if (ld->zero)
		memset(host, 0, len);
}

int boot_load_segment(struct boot_loading *ld, const struct boot_segment *seg, struct error *err)
{
	const struct boot_image *kernel = &ld->boot->kernel;
	uint8_t *host = memory_at(ld->memory, seg->gpa, seg->memsz);

	if (!host)
		return error_set(err, ENOMEM, "%s: wants 0x%llx bytes at address 0x%llx, which are "
				 "not all RAM; give the VM more memory, or link the image "
				 "elsewhere",
				 kernel->label, (unsigned long long)seg->memsz,
				 (unsigned long long)seg->gpa);
	if (boot_image_read(kernel, seg->offset, host, seg->filesz, err) < 0)
		return -1;
	zero(ld, host + seg->filesz, seg->memsz - seg->filesz);
	return 0;
}

void boot_reserve_firmware(struct boot_loading *ld)
{
	reserve(ld, BOOT_FIRMWARE_START, BOOT_FIRMWARE_END, "the PC's firmware area");
}

bool boot_reserve(struct boot_loading *ld, uint64_t gpa, uint64_t size, const char *what)
{
	return memory_at(ld->memory, gpa, size) && !reserve(ld, gpa, gpa + size, what);
}

int boot_load_segments(struct boot_loading *ld, struct error *err)
{
	const struct boot *boot = ld->boot;
	const struct boot_segment *seg;
	const char *other;

	boot_reserve_firmware(ld);
	for (unsigned int i = 0; i < boot->nr_segments; i++) {
		seg = &boot->segment[i];
		other = reserve(ld, seg->gpa, seg->gpa + seg->memsz, "another segment");
		if (other)
			return error_set(err, ENOEXEC, "%s: the segment of 0x%llx bytes at address "
					 "0x%llx overlaps %s; link the image elsewhere",
					 boot->kernel.label, (unsigned long long)seg->memsz,
					 (unsigned long long)seg->gpa, other);
	}
	for (unsigned int i = 0; i < boot->nr_segments; i++)
		if (boot_load_segment(ld, &boot->segment[i], err) < 0)
			return -1;
	return 0;
}

int boot_load_modules(struct boot_loading *ld, struct boot_range module[BOOT_MAX_INITRD],
		      struct error *err)
{
	const struct boot_image *image;
	uint64_t gpa, room;
	uint8_t *host;

	for (unsigned int i = 0; i < ld->boot->nr_initrd; i++) {
		image = &ld->boot->initrd[i];
		/* A file has less than 2^63 bytes, so this does not overflow. */
		room = (image->size + BOOT_PAGE_SIZE - 1) & -(uint64_t)BOOT_PAGE_SIZE;
		if (!find_upper(ld, room, BOOT_PAGE_SIZE, &gpa) &&
		    !find_conventional(ld, room, BOOT_PAGE_SIZE, &gpa))
			return error_set(err, ENOMEM, "%s: no room for its %llu bytes in RAM "
					 "beside the kernel; give the VM more memory", image->label,
					 (unsigned long long)image->size);
		reserve(ld, gpa, gpa + room, "an initrd");
		host = memory_at(ld->memory, gpa, room);
		if (boot_image_read(image, 0, host, image->size, err) < 0)
			return -1;
		zero(ld, host + image->size, room - image->size);
		module[i] = (struct boot_range) { gpa, gpa + image->size, image->path };
	}
	return 0;
}

/* What an archive takes, with the bytes that bring the next one to a multiple of 4. */
static uint64_t padded(const struct boot_image *image)
{
	return (image->size + 3) & -(uint64_t)4;
}

static int no_room(const struct boot_image *image, uint64_t size, uint64_t high, struct error *err)
{
	return error_set(err, ENOMEM, "%s: no room for %llu bytes of initrd below 0x%llx beside "
			 "the kernel; give the VM more memory, or a smaller initrd", image->label,
			 (unsigned long long)size, (unsigned long long)high);
}

int boot_load_initrd(struct boot_loading *ld, uint64_t max, struct boot_range *range,
		     struct error *err)
{
	uint64_t high = low_ram_end(ld->memory), size = 0, gpa, at;

	if (max < high)
		high = max + 1;
	*range = (struct boot_range) { 0 };
	if (ld->boot->nr_initrd == 0)
		return 0;
	for (unsigned int i = 0; i < ld->boot->nr_initrd; i++) {
		const struct boot_image *image = &ld->boot->initrd[i];

		/* One by one: files with holes can add up to more than 64 bits. */
		if (padded(image) > high - size)
			return no_room(image, image->size, high, err);
		size += padded(image);
	}
	if (!find_gap(ld, BOOT_FIRMWARE_END, high, size, BOOT_PAGE_SIZE, &gpa))
		return no_room(&ld->boot->initrd[0], size, high, err);
	reserve(ld, gpa, gpa + size, "the initrd");
	at = gpa;
	for (unsigned int i = 0; i < ld->boot->nr_initrd; i++) {
		const struct boot_image *image = &ld->boot->initrd[i];
		uint8_t *host = memory_at(ld->memory, at, padded(image));

		if (boot_image_read(image, 0, host, image->size, err) < 0)
			return -1;
		zero(ld, host + image->size, padded(image) - image->size);
		at += padded(image);
	}
	*range = (struct boot_range) { gpa, at, "the initrd" };
	return 0;
}

void *boot_new_table(struct boot_loading *ld, uint64_t size, uint64_t align, uint64_t *gpa,
		     struct error *err)
{
	void *host;

	if (!find_conventional(ld, size, align, gpa) && !find_upper(ld, size, align, gpa)) {
		error_set(err, ENOMEM, "%s: no room in RAM for %llu bytes of boot tables beside "
			  "the kernel; give the VM more memory", ld->boot->kernel.label,
			  (unsigned long long)size);
		return NULL;
	}
	reserve(ld, *gpa, *gpa + size, "a boot table");
	host = memory_at(ld->memory, *gpa, size);
	zero(ld, host, size);
	return host;
}

int boot_new_command_line(struct boot_loading *ld, uint64_t *gpa, struct error *err)
{
	size_t size = strlen(ld->boot->append) + 1;
	char *line = boot_new_table(ld, size, 1, gpa, err);

	if (!line)
		return -1;
	memcpy(line, ld->boot->append, size);
	return 0;
}

int boot_new_gdt(struct boot_loading *ld, struct boot_entry *entry, struct error *err)
{
	const uint64_t size = BOOT_GDT_ENTRIES * sizeof(uint64_t);
	uint64_t *gdt = boot_new_table(ld, size, sizeof(uint64_t), &entry->gdt, err);

	if (!gdt)
		return -1;
	gdt[BOOT_GDT_CODE] = boot_code_descriptor(entry->mode);
	gdt[BOOT_GDT_DATA] = BOOT_DESC_DATA;
	gdt[BOOT_GDT_TSS] = BOOT_DESC_TSS;
	entry->gdt_limit = size - 1;
	return 0;
}

unsigned int boot_memory_map(const struct memory *memory,
			     struct boot_memmap_entry map[BOOT_MEMMAP_MAX])
{
	uint64_t end = low_ram_end(memory);
	unsigned int n = 0;

	map[n++] = (struct boot_memmap_entry) { 0, BOOT_FIRMWARE_START, BOOT_MEMMAP_RAM };
	map[n++] = (struct boot_memmap_entry) {
		BOOT_FIRMWARE_START, BOOT_FIRMWARE_END - BOOT_FIRMWARE_START, BOOT_MEMMAP_RESERVED
	};
	if (end > BOOT_FIRMWARE_END)
		map[n++] = (struct boot_memmap_entry) {
			BOOT_FIRMWARE_END, end - BOOT_FIRMWARE_END, BOOT_MEMMAP_RAM
		};
	for (unsigned int i = 1; i < memory->nr_parts; i++)
		map[n++] = (struct boot_memmap_entry) {
			memory->part[i].gpa, memory->part[i].size, BOOT_MEMMAP_RAM
		};
	return n;
}
