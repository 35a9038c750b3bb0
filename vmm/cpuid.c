/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E. */
#define LEAF1_EBX_APIC_ID_SHIFT      24
#define LEAF1_EBX_LOGICAL_SHIFT      16
#define LEAF1_ECX_TSC_DEADLINE       (1U << 24)
#define LEAF1_ECX_HYPERVISOR         (1U << 31)
#define LEAF1_EDX_HTT                (1U << 28)
#define LEAFB_TYPE_SMT               (1U << 8)
#define LEAFB_TYPE_CORE              (2U << 8)

static unsigned int bits_for(unsigned int count)
{
	unsigned int bits = 0;

	while ((1U << bits) < count)
		bits++;
	return bits;
}

static unsigned int at_most(unsigned int value, unsigned int max)
{
	return value < max ? value : max;
}

static void adapt(struct kvm_cpuid_entry2 *e, unsigned int nr_vcpus)
{
	switch (e->function) {
	case 1:
		e->ebx &= 0x0000ffff;
		e->ebx |= at_most(1U << bits_for(nr_vcpus), 255) << LEAF1_EBX_LOGICAL_SHIFT;
		e->ecx |= LEAF1_ECX_HYPERVISOR;
		e->edx &= ~LEAF1_EDX_HTT;
		if (nr_vcpus > 1)
			e->edx |= LEAF1_EDX_HTT;
		break;
	case 4:
		/* Caches: level 1 and 2 belong to a core, level 3 to all.  No entry has type 0. */
		if (!(e->eax & 0x1f))
			break;
		e->eax &= 0x00003fff;
		e->eax |= at_most((1U << bits_for(nr_vcpus)) - 1, 63) << 26;
		if ((e->eax >> 5 & 7) >= 3)
			e->eax |= at_most((1U << bits_for(nr_vcpus)) - 1, 4095) << 14;
		break;
	case 0xb:
	case 0x1f:
		e->eax = e->ebx = e->ecx = 0;
		if (e->index == 0) {
			e->ebx = 1;
			e->ecx = LEAFB_TYPE_SMT;
		} else if (e->index == 1) {
			e->eax = bits_for(nr_vcpus);
			e->ebx = nr_vcpus;
			e->ecx = LEAFB_TYPE_CORE;
		}
		e->ecx |= e->index & 0xff;
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		/* The processor's name, which KVM leaves out (arch/x86/kvm/cpuid.c). */
		__cpuid(e->function, e->eax, e->ebx, e->ecx, e->edx);
		break;
	case 0x80000008:
		/* APIC id size and number of cores less one; 0 cores is how Intel leaves it. */
		if (e->ecx)
			e->ecx = bits_for(nr_vcpus) << 12 | at_most(nr_vcpus - 1, 255);
		break;
	default:
		break;
	}
}

struct kvm_cpuid2 *cpuid_new(struct kvm *kvm, unsigned int nr_vcpus, struct error *err)
{
	const struct kvm_cpuid2 *from = kvm_supported_cpuid(kvm, err);
	struct kvm_cpuid2 *table;

	if (!from)
		return NULL;
	/* Room for the subleaf of leaf 0xB that the host may not list. */
	table = calloc(1, sizeof(*table) + (from->nent + 1) * sizeof(table->entries[0]));
	if (!table) {
		error_errno(err, ENOMEM, "the CPUID table");
		return NULL;
	}
	table->nent = from->nent;
	memcpy(table->entries, from->entries, from->nent * sizeof(table->entries[0]));
	if (cpuid_find(table, 0xb, 0) && !cpuid_find(table, 0xb, 1)) {
		table->entries[table->nent] = *cpuid_find(table, 0xb, 0);
		table->entries[table->nent++].index = 1;
	}
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		adapt(e, nr_vcpus);
		/* The in-kernel LAPIC has it where KVM says so; the supported table leaves it out. */
		if (e->function == 1 && kvm->caps.tsc_deadline_timer)
			e->ecx |= LEAF1_ECX_TSC_DEADLINE;
	}
	return table;
}

void cpuid_set_apic_id(struct kvm_cpuid2 *table, unsigned int apic_id)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		switch (e->function) {
		case 1:
			e->ebx &= ~(0xffU << LEAF1_EBX_APIC_ID_SHIFT);
			e->ebx |= (apic_id & 0xff) << LEAF1_EBX_APIC_ID_SHIFT;
			break;
		case 0xb:
		case 0x1f:
			e->edx = apic_id;
			break;
		case 0x8000001e:
			e->eax = apic_id;
			e->ebx = apic_id & 0xff;
			break;
		default:
			break;
		}
	}
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t leaf,
					  uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}
