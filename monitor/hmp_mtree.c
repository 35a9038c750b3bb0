/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stddef.h>

#include "monitor/hmp_internal.h"

/* Where KVM's own interrupt controllers and timer answer, in QEMU's names. */
struct fixed_range {
	uint64_t start, size;
	const char *name;
	bool pit;                       /* only where KVM offers a PIT */
};

static const struct fixed_range kvm_pio[] = {
	{ 0x20, 2, "kvm-pic", false }, { 0x40, 4, "kvm-pit", true },
	{ 0x61, 1, "kvm-pit-speaker", true }, { 0xa0, 2, "kvm-pic", false },
	{ 0x4d0, 1, "kvm-elcr", false }, { 0x4d1, 1, "kvm-elcr", false },
	{ 0 }
};

static const struct fixed_range kvm_mmio[] = {
	{ 0xfec00000, 0x1000, "kvm-ioapic", false },
	{ 0xfee00000, 0x100000, "kvm-apic-msi", false },
	{ 0 }
};

const char *hmp_kvm_port(const struct vm *vm, uint16_t port, unsigned int size)
{
	for (const struct fixed_range *f = kvm_pio; f->size; f++)
		if (port < f->start + f->size && port + size > f->start &&
		    (!f->pit || vm->kvm->caps.pit2))
			return f->name;
	return NULL;
}

static void print_range(struct text *out, uint64_t start, uint64_t size, const char *name)
{
	text_printf(out, "    %016" PRIx64 "-%016" PRIx64 " (prio 0, i/o): %s\n", start,
		    start + size - 1, name);
}

/* Our devices and KVM's, both sorted, in one sequence. */
static void print_ranges(struct text *out, const struct bus *bus, const struct fixed_range *fixed,
			 bool pit)
{
	unsigned int i = 0;

	for (; fixed->size; fixed++) {
		if (fixed->pit && !pit)
			continue;
		for (; i < bus->nr_ranges && bus->range[i].start < fixed->start; i++)
			print_range(out, bus->range[i].start, bus->range[i].size,
				    bus->range[i].device.name);
		print_range(out, fixed->start, fixed->size, fixed->name);
	}
	for (; i < bus->nr_ranges; i++)
		print_range(out, bus->range[i].start, bus->range[i].size,
			    bus->range[i].device.name);
}

void hmp_info_mtree(struct hmp *hmp, const struct hmp_args *args)
{
	const struct memory *memory = &hmp->vm->memory;
	bool pit = hmp->vm->kvm->caps.pit2;
	struct text *out = hmp->out;

	(void)args;
	text_printf(out, "address-space: memory\n"
		    "  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n");
	for (unsigned int i = 0; i < memory->nr_parts; i++) {
		const struct memory_part *part = &memory->part[i];
		uint64_t offset = part->host - memory->host;

		text_printf(out, "    %016" PRIx64 "-%016" PRIx64 " (prio 0, ram): alias %s @ram "
			    "%016" PRIx64 "-%016" PRIx64 "\n", part->gpa,
			    part->gpa + part->size - 1,
			    part->gpa < MEMORY_HIGH ? "ram-below-4g" : "ram-above-4g",
			    offset, offset + part->size - 1);
	}
	print_ranges(out, &hmp->vm->mmio, kvm_mmio, pit);
	text_printf(out, "\naddress-space: I/O\n"
		    "  0000000000000000-000000000000ffff (prio 0, i/o): io\n");
	print_ranges(out, &hmp->vm->pio, kvm_pio, pit);
	text_printf(out, "\nmemory-region: ram\n"
		    "  0000000000000000-%016" PRIx64 " (prio 0, ram): ram\n\n", memory->size - 1);
}
