/* SPDX-License-Identifier: MIT */
#ifndef VMM_MSR_H
#define VMM_MSR_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"

struct kvm;

/* Indices that other files name (Intel SDM vol. 4; AMD APM vol. 2, appendix A). */
#define MSR_IA32_TSC                0x00000010
#define MSR_IA32_APICBASE           0x0000001b
#define MSR_IA32_FEATURE_CONTROL    0x0000003a
#define MSR_IA32_TSC_DEADLINE       0x000006e0

/* IA32_VMX_BASIC and those that follow it: what the vCPU's VMX can do, the same all its life. */
static inline bool msr_describes_vmx(uint32_t index)
{
	return index >= 0x480 && index <= 0x493;
}

/* MSRs in groups, in the order in which groups are written. */
enum msr_group {
	MSR_GROUP_PLAIN,
	MSR_GROUP_TSC,          /* before the deadline, which is compared with it */
	MSR_GROUP_DEADLINE,     /* IA32_TSC_DEADLINE, last */
};

struct msr_info {
	uint32_t index;
	uint8_t level;          /* enum vcpu_level: the lowest that writes it */
	uint8_t group;          /* enum msr_group */
	bool resets;            /* a system reset sets it to reset_value; else reset leaves it alone */
	uint64_t reset_value;
};

/*
 * The MSRs of this host's vCPUs: KVM_GET_MSR_INDEX_LIST plus the ones which that list omits (MTRRs,
 * machine-check banks), without those that live in other substates.  In writing order.  Constant
 * once vCPUs run, shared by all of them.
 */
struct msr_table {
	unsigned int count;
	uint32_t excluded;              /* index, see msr_table_exclude(); 0: none */
	struct msr_info msr[];
};

/* malloc()ed; NULL with *err set when memory runs out. */
struct msr_table *msr_table_new(const struct kvm *kvm, struct error *err);

/* Position of an index in the table, -1 when it is not in there. */
int msr_table_find(const struct msr_table *table, uint32_t index);

/*
 * From here on vCPUs do not have that MSR, as far as their state is concerned: it is neither shown
 * nor saved nor set.  For the one (not 0) whose being set does something.  Owner's thread, before
 * any vCPU has run.
 */
void msr_table_exclude(struct msr_table *table, uint32_t index);

/* "IA32_PAT", or NULL for one that has no name here. */
const char *msr_name(uint32_t index);

#endif
