/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_STATE_INTERNAL_H
#define VMM_VCPU_STATE_INTERNAL_H

#include "vmm/vcpu_state.h"

/*
 * The kernel side of vcpu_state, private to it: one GET and one SET for each substate.  These move
 * bytes between the copy and the kernel and count the ioctls; what is fetched or dirty is decided
 * by the caller, but for MSRs, whose dirtiness is kept for each.
 */
struct substate_ops {
	int (*get)(struct vcpu_state *s, struct error *err);
	/* Writes the part of the substate that belongs to `level`; sets *left when some stays dirty. */
	int (*set)(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err);
};
extern const struct substate_ops substate_ops[SUBSTATE_COUNT];

/*
 * Of the MSRs that are dirty and belong to `level`, writes those that describe VMX, and leaves the
 * rest to the set() of SUBSTATE_MSRS.  KVM takes them no more once the vCPU is in VMX operation
 * (vmx_set_vmx_msr(): EBUSY).
 */
int substates_set_vmx_msrs(struct vcpu_state *s, enum vcpu_level level, struct error *err);

/* Memory for the copies of the substates of `mask`, where they need some and have none yet. */
int substates_allocate(struct vcpu_state *s, uint32_t mask, struct error *err);
/* All of the copy, which has its memory, becomes zero. */
void substate_clear(struct vcpu_state *s, enum vcpu_substate sub);

/* Which substates this host's KVM can get or set: a bit each. */
uint32_t substates_offered(const struct kvm *kvm);

static inline uint32_t substate_bit(enum vcpu_substate sub)
{
	return UINT32_C(1) << sub;
}

/* sregs as the plain calls have them, and back: what only SREGS2 has is left out or zero. */
void sregs_from_plain(struct kvm_sregs2 *to, const struct kvm_sregs *from);

#endif
