/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_state_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The memory behind the copies of substates that a struct vcpu_state has no room for. */

static size_t xsave_size(const struct vcpu_state *s)
{
	size_t size = s->vcpu->kvm->caps.xsave_size;

	/* Without XSAVE2 the kernel fills struct kvm_xsave; struct kvm_fpu is smaller. */
	return size ? size : sizeof(struct kvm_xsave);
}

static bool allocate(void **copy, size_t size)
{
	if (!*copy)
		*copy = calloc(1, size);
	return *copy;
}

/* One block for the three, so that there is one failure to handle. */
static bool allocate_msrs(struct vcpu_state *s)
{
	unsigned int room = s->msr_table->count + 1;

	if (s->msr_value)
		return true;
	s->msr_value = calloc(room, sizeof(*s->msr_value) + 2 * sizeof(bool));
	if (!s->msr_value)
		return false;
	s->msr_absent = (bool *)(s->msr_value + room);
	s->msr_dirty = s->msr_absent + room;
	return true;
}

static bool allocate_one(struct vcpu_state *s, enum vcpu_substate sub)
{
	switch (sub) {
	case SUBSTATE_NESTED:
		return allocate((void **)&s->nested, s->vcpu->kvm->caps.nested_size);
	case SUBSTATE_XSAVE:
		return allocate(&s->xsave, xsave_size(s));
	case SUBSTATE_LAPIC:
		return allocate((void **)&s->lapic, sizeof(*s->lapic));
	case SUBSTATE_MSRS:
		return allocate_msrs(s);
	default:
		return true;
	}
}

int substates_allocate(struct vcpu_state *s, uint32_t mask, struct error *err)
{
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if ((mask & substate_bit((enum vcpu_substate)sub)) &&
		    !allocate_one(s, (enum vcpu_substate)sub))
			return error_errno(err, ENOMEM, "vCPU %d: %s", s->index,
					   vcpu_substate_name((enum vcpu_substate)sub));
	return 0;
}

void substate_clear(struct vcpu_state *s, enum vcpu_substate sub)
{
	const unsigned int msrs = s->msr_table->count;

	switch (sub) {
	case SUBSTATE_TSC_KHZ:
		s->tsc_khz = 0;
		break;
	case SUBSTATE_FEATURE_CONTROL:
		s->feature_control = 0;
		break;
	case SUBSTATE_REGS:
		memset(&s->regs, 0, sizeof(s->regs));
		break;
	case SUBSTATE_SREGS:
		memset(&s->sregs, 0, sizeof(s->sregs));
		break;
	case SUBSTATE_NESTED:
		memset(s->nested, 0, s->vcpu->kvm->caps.nested_size);
		break;
	case SUBSTATE_XCRS:
		memset(&s->xcrs, 0, sizeof(s->xcrs));
		break;
	case SUBSTATE_XSAVE:
		memset(s->xsave, 0, xsave_size(s));
		break;
	case SUBSTATE_LAPIC:
		memset(s->lapic, 0, sizeof(*s->lapic));
		break;
	case SUBSTATE_TSC_OFFSET:
		s->tsc_offset = 0;
		break;
	case SUBSTATE_MSRS:
		memset(s->msr_value, 0, msrs * sizeof(*s->msr_value));
		memset(s->msr_absent, 0, msrs * sizeof(*s->msr_absent));
		memset(s->msr_dirty, 0, msrs * sizeof(*s->msr_dirty));
		break;
	case SUBSTATE_EVENTS:
		memset(&s->events, 0, sizeof(s->events));
		break;
	case SUBSTATE_LATCHED_EVENTS:
		memset(&s->latched, 0, sizeof(s->latched));
		break;
	case SUBSTATE_MP_STATE:
		memset(&s->mp_state, 0, sizeof(s->mp_state));
		break;
	case SUBSTATE_DEBUGREGS:
		memset(&s->debugregs, 0, sizeof(s->debugregs));
		break;
	case SUBSTATE_CPUID:            /* replaced as a whole by its writer */
	case SUBSTATE_GUEST_DEBUG:      /* ours alone */
	case SUBSTATE_COUNT:
		break;
	}
}
