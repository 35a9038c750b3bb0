/* SPDX-License-Identifier: MIT */
#include "vmm/xen_hvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"

/*
 * Xen's leaves: xen/include/public/arch-x86/cpuid.h.  A guest looks for their signature at each
 * multiple of 0x100 from 0x40000000 on, and takes the first that it finds.
 */
#define BASE_FIRST      0x40000000u
#define BASE_LAST       0x4000ff00u
#define BASE_STEP       0x100u

#define LEAF_VERSION    1       /* EAX: major << 16 | minor */
#define LEAF_HYPERCALLS 2       /* EAX: pages; EBX: the MSR */
#define LEAF_TIME       3       /* subleaves */
#define LEAF_HVM        4       /* EAX: features; EBX: vCPU id */
#define LEAF_MAX        LEAF_HVM

#define SIGNATURE_EBX   0x566e6558u     /* "XenV" */
#define SIGNATURE_ECX   0x65584d4du     /* "MMXe" */
#define SIGNATURE_EDX   0x4d4d566eu     /* "nVMM" */

/* Subleaf 0 of LEAF_TIME. */
#define TIME_EAX_RELIABLE       (1U << 1)       /* the host's TSC */
#define TIME_EAX_RDTSCP         (1U << 2)
#define HVM_EAX_VCPU_ID         (1U << 3)

#define LEAF_80000001_EDX_RDTSCP        (1U << 27)
#define LEAF_80000007_EDX_INVARIANT_TSC (1U << 8)

static bool is_free(const struct kvm_cpuid2 *table, uint32_t base)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function - base < BASE_STEP)
			return false;
	return true;
}

uint32_t xen_hvm_find_cpuid(const struct kvm_cpuid2 *table)
{
	for (uint32_t base = BASE_FIRST; base <= BASE_LAST; base += BASE_STEP) {
		const struct kvm_cpuid_entry2 *e = cpuid_find(table, base, 0);

		if (e && e->ebx == SIGNATURE_EBX && e->ecx == SIGNATURE_ECX &&
		    e->edx == SIGNATURE_EDX && e->eax - base >= LEAF_HYPERCALLS)
			return base;
	}
	return 0;
}

/* What all can have: a guest may want every page that it is told of, in either mode. */
static unsigned int pages_of_all(const struct xen_hvm *xen)
{
	unsigned int a = xen->blob[false].pages, b = xen->blob[true].pages;

	if (!a || !b)
		return a + b;
	return a < b ? a : b;
}

static uint32_t time_features(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *rdtscp = cpuid_find(table, 0x80000001, 0);
	const struct kvm_cpuid_entry2 *invariant = cpuid_find(table, 0x80000007, 0);
	uint32_t features = 0;

	if (rdtscp && rdtscp->edx & LEAF_80000001_EDX_RDTSCP)
		features |= TIME_EAX_RDTSCP;
	if (invariant && invariant->edx & LEAF_80000007_EDX_INVARIANT_TSC)
		features |= TIME_EAX_RELIABLE;
	return features;
}

int xen_hvm_add_cpuid(struct xen_hvm *xen, struct kvm_cpuid2 **table, uint32_t tsc_khz,
		      struct error *err)
{
	uint32_t base = BASE_FIRST;

	while (base <= BASE_LAST && !is_free(*table, base))
		base += BASE_STEP;
	if (base > BASE_LAST)
		return error_set(err, ENOSPC, "no room for Xen's leaves in the CPUID table");

	/*
	 * Of the time leaf, subleaf 1 is how to make nanoseconds of the TSC; kernels that know Xen
	 * fill it in themselves where it is there (kvm_xen_update_tsc_info() in xen.c).
	 */
	const struct kvm_cpuid_entry2 leaves[] = {
		{ .function = base, .eax = base + LEAF_MAX, .ebx = SIGNATURE_EBX,
		  .ecx = SIGNATURE_ECX, .edx = SIGNATURE_EDX },
		{ .function = base + LEAF_VERSION, .eax = xen->version },
		{ .function = base + LEAF_HYPERCALLS, .eax = pages_of_all(xen), .ebx = xen->msr },
		{ .function = base + LEAF_TIME, .index = 0,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = time_features(*table),
		  .ecx = tsc_khz },
		{ .function = base + LEAF_TIME, .index = 1,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX },
		{ .function = base + LEAF_TIME, .index = 2,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = tsc_khz },
		{ .function = base + LEAF_HVM, .eax = HVM_EAX_VCPU_ID },
	};
	size_t old = sizeof(**table) + (*table)->nent * sizeof((*table)->entries[0]);
	struct kvm_cpuid2 *larger = realloc(*table, old + sizeof(leaves));

	if (!larger)
		return error_errno(err, ENOMEM, "Xen's leaves in the CPUID table");
	*table = larger;
	memcpy(&larger->entries[larger->nent], leaves, sizeof(leaves));
	larger->nent += sizeof(leaves) / sizeof(leaves[0]);
	xen->cpuid_base = base;
	return 0;
}

void xen_hvm_set_vcpu_id(const struct xen_hvm *xen, struct kvm_cpuid2 *table, uint32_t vcpu)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == xen->cpuid_base + LEAF_HVM)
			table->entries[i].ebx = vcpu;
}
