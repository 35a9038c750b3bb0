/* SPDX-License-Identifier: MIT */
#ifndef VMM_FEATURE_MSRS_H
#define VMM_FEATURE_MSRS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm.h"
#include "vmm/vcpu_state.h"

/*
 * MSRs that say, as CPUID does, what a processor can do: those that KVM has values for before there
 * is any vCPU (api.rst 4.4, 4.88: "MSR features").
 */
#define MSR_IA32_UCODE_REV              0x0000008b
#define MSR_PLATFORM_INFO               0x000000ce
#define MSR_IA32_ARCH_CAPABILITIES      0x0000010a

struct feature_msr {
	uint32_t index;
	uint64_t value;
};

/* In the order in which KVM lists them. */
struct feature_msrs {
	unsigned int count;
	struct feature_msr msr[];
};

/*
 * What the host's KVM supports, asked for when it is first wanted, and kept in *kvm.  None where
 * KVM lacks KVM_CAP_GET_MSR_FEATURES; one that KVM lists but does not read is left out.  Owner's
 * thread.  NULL on error.
 */
const struct feature_msrs *kvm_feature_msrs(struct kvm *kvm, struct error *err);

/* The value of one, false where it is not among them. */
bool feature_msrs_find(const struct feature_msrs *msrs, uint32_t index, uint64_t *value);

/*
 * Gives a vCPU that is new, and has its CPUID in the kernel already, the MSRs that belong to
 * it, where the kernel has not given it these values by itself, by edits and
 * vcpu_state_after_init():
 *   - IA32_ARCH_CAPABILITIES: what KVM supports, or 0 if the vCPU has no arch-capabilities;
 *   - MSR_PLATFORM_INFO: what KVM supports;
 *   - IA32_UCODE_REV: the host's, if `host_microcode`, for guests that are told of the host's
 *     processor; the others keep the revision that KVM makes up.
 * There are kernels that refuse a value which they say they support: the vCPU keeps what it had.
 */
int feature_msrs_apply(struct vcpu_state *s, const struct feature_msrs *host, bool host_microcode,
		       struct error *err);

#endif
