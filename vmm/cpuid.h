/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include "vmm/kvm.h"

/*
 * The CPUID table of one vCPU: what the host's KVM supports, with the leaves that differ from vCPU
 * to vCPU (APIC ids) or describe the machine (one socket of `nr_vcpus` cores) made right.  Returns
 * a malloc()ed table, NULL on error.
 */
struct kvm_cpuid2 *cpuid_new(struct kvm *kvm, unsigned int nr_vcpus, struct error *err);

/* Puts the APIC id of one vCPU into a table that cpuid_new() made. */
void cpuid_set_apic_id(struct kvm_cpuid2 *table, unsigned int apic_id);

/* The entry of a leaf and subleaf, NULL when there is none. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t leaf,
					  uint32_t subleaf);

#endif
