/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/lapic.h"
#include "vmm/msr.h"

/* A timer that runs out more often than this can be looked at is not told from one that does not. */
#define ROUNDS 8

/* ---- The APIC timer ---- */

/* What is known of a vCPU's timer while it is looked at again and again. */
struct timer_look {
	bool done;
	bool settled;           /* before the last look */
	bool exact;             /* nothing about it is unseen */
	uint32_t count;         /* at the last look */
};

/* The timer counts down, or has, and interrupts at 0. */
static bool timer_counts(const struct kvm_lapic_state *lapic)
{
	return lapic_register(lapic, LAPIC_TMICT) &&
	       !(lapic_register(lapic, LAPIC_LVT_TIMER) & (LAPIC_LVT_MASKED | LAPIC_LVT_DEADLINE));
}

/*
 * Whether KVM_GET_LAPIC has shown all there is.  A one-shot timer that still counts has not
 * expired; one at 0 was at 0 before the vCPU settled, and has shown its interrupt.  A periodic one
 * has shown all its interrupts if it has not started anew since the look before that.
 * (In deadline mode it is the deadline that tells, until the interrupt is there.)
 */
static bool seen_all(const struct timer_look *look, const struct kvm_lapic_state *lapic)
{
	uint32_t count = lapic_register(lapic, LAPIC_TMCCT);

	if (!timer_counts(lapic))
		return true;
	if (lapic_register(lapic, LAPIC_LVT_TIMER) & LAPIC_LVT_PERIODIC)
		return look->settled && count <= look->count;
	return count > 0 || look->settled;
}

/*
 * Settling may turn a pending exception into an injected one, and finds out about a triple fault:
 * state that somebody has edited would not fit to that, and the fault must not be lost.
 */
static bool may_settle(struct vcpu *vcpu, bool *may, struct error *err)
{
	const struct kvm_vcpu_events *events;

	*may = false;
	if (!vcpu->state.has_run || vcpu->state.dirty)
		return true;
	if (vcpu_state_offers(&vcpu->state, SUBSTATE_EVENTS)) {
		events = vcpu_state_events(&vcpu->state, err);
		if (!events)
			return false;
		if (events->triple_fault.pending)
			return true;
	}
	*may = true;
	return true;
}

/* One look at one vCPU, which may send it to settle. */
static int look_at_timer(struct vcpu *vcpu, struct timer_look *look, bool last, struct error *err)
{
	const struct kvm_lapic_state *lapic;
	bool may;

	vcpu_state_refresh(&vcpu->state);
	/* Before the LAPIC, for reading it may let an INIT happen. */
	if (vcpu_state_offers(&vcpu->state, SUBSTATE_MP_STATE) &&
	    !vcpu_state_mp_state(&vcpu->state, err))
		return -1;
	lapic = vcpu_state_lapic(&vcpu->state, err);
	if (!lapic)
		return -1;
	look->exact = seen_all(look, lapic);
	look->count = lapic_register(lapic, LAPIC_TMCCT);
	if (look->exact || last) {
		look->done = true;
		return 0;
	}
	if (!may_settle(vcpu, &may, err))
		return -1;
	if (!may) {
		look->done = true;
		return 0;
	}
	vcpu_settle(vcpu);
	look->settled = true;
	return 0;
}

/*
 * A one-shot timer at 0 whose interrupt has been requested must not be started again by
 * KVM_SET_LAPIC, which makes it expire at once: it is saved with an initial count of 0.  Where the
 * interrupt may be still to come that is just what is wanted.
 */
static int freeze_timer(struct vcpu *vcpu, const struct timer_look *look, bool needs_guest,
			struct error *err)
{
	const struct kvm_lapic_state *lapic = vcpu_state_lapic(&vcpu->state, err);
	struct vcpu_frozen *frozen = &vcpu->frozen;
	const struct kvm_mp_state *mp_state;
	uint32_t lvt;
	bool over;

	if (!lapic)
		return -1;
	frozen->timer_initial = lapic_register(lapic, LAPIC_TMICT);
	frozen->timer_count = look->count;
	lvt = lapic_register(lapic, LAPIC_LVT_TIMER);
	if (!(lvt & (LAPIC_LVT_PERIODIC | LAPIC_LVT_DEADLINE)) && frozen->timer_initial && !look->count) {
		over = (lvt & LAPIC_LVT_MASKED) || lapic_vector(lapic, LAPIC_IRR, lvt & LAPIC_LVT_VECTOR) ||
		       (look->exact && !needs_guest);
		if (!over && look->exact && vcpu_state_offers(&vcpu->state, SUBSTATE_MP_STATE)) {
			mp_state = vcpu_state_mp_state(&vcpu->state, err);
			if (!mp_state)
				return -1;
			over = mp_state->mp_state == KVM_MP_STATE_HALTED;
		}
		if (over)
			frozen->timer_initial = 0;
	}
	frozen->timer_sets = vcpu->state.sets[SUBSTATE_LAPIC];
	frozen->timer_known = true;
	return 0;
}

/* What is edited and not yet written is what there is; it is not remembered. */
static bool timer_is_frozen(const struct vcpu *vcpu)
{
	return vcpu->frozen.timer_known &&
	       vcpu->frozen.timer_sets == vcpu->state.sets[SUBSTATE_LAPIC] &&
	       !(vcpu->state.dirty >> SUBSTATE_LAPIC & 1);
}

/* Of a vCPU that has broken while it settled nobody knows how far it got. */
static int check_settled(const struct vm *vm, struct error *err)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i].failed)
			return error_set(err, EIO, "vCPU %u can not go on, and its state can not be "
					 "saved; the log says why", i);
	return 0;
}

static int freeze_timers(struct vm *vm, struct error *err)
{
	struct timer_look *look = calloc(vm->nr_vcpus, sizeof(*look));
	bool needs_guest = kvm_timer_needs_guest(vm->kvm), all_done = false;
	int rc = 0;

	if (!look)
		return error_errno(err, ENOMEM, "%u vCPUs", vm->nr_vcpus);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		look[i].done = timer_is_frozen(&vm->vcpu[i]);
	for (int round = 0; rc == 0 && !all_done; round++) {
		all_done = true;
		for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++) {
			if (!look[i].done)
				rc = look_at_timer(&vm->vcpu[i], &look[i], round == ROUNDS, err);
			all_done = all_done && look[i].done;
		}
		vcpus_await(vm);
	}
	if (rc == 0)
		rc = check_settled(vm, err);
	for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++)
		if (!timer_is_frozen(&vm->vcpu[i]))
			rc = freeze_timer(&vm->vcpu[i], &look[i], needs_guest, err);
	free(look);
	return rc;
}

/* ---- The TSC ---- */

int snapshot_tsc_base(struct vcpu *vcpu, uint64_t *base, uint64_t *host, struct error *err)
{
	struct vm *vm = vcpu->vm;
	struct vcpu_state *s = &vcpu->state;
	const uint64_t *offset;
	uint64_t tsc;
	int position;

	/* Without offsets it is not needed either. */
	if (!vm->host_tsc_khz || !vcpu_state_offers(s, SUBSTATE_TSC_OFFSET)) {
		*host = kvm_host_tsc(vm->kvm);
		*base = *host;
		return 0;
	}
	/* How the kernel scales, and whether it does for so small a difference, only it knows. */
	position = msr_table_find(s->msr_table, MSR_IA32_TSC);
	offset = vcpu_state_tsc_offset(s, err);
	if (!offset)
		return -1;
	vcpu_state_refresh(s);
	*host = kvm_host_tsc(vm->kvm);
	if (vcpu_state_msr(s, (unsigned int)position, &tsc, err) < 0)
		return -1;
	*base = tsc - *offset;
	return 0;
}

/* What a TSC of offset 0 showed when the machine stopped. */
static int base_at_stop(struct vm *vm, uint64_t *base, struct error *err)
{
	const uint32_t *khz;
	uint64_t host;

	if (!vm->host_tsc_khz || !vcpu_state_offers(&vm->vcpu[0].state, SUBSTATE_TSC_OFFSET)) {
		*base = vm->stop_tsc;
		return 0;
	}
	khz = vcpu_state_tsc_khz(&vm->vcpu[0].state, err);
	if (!khz || snapshot_tsc_base(&vm->vcpu[0], base, &host, err) < 0)
		return -1;
	*base -= (uint64_t)((unsigned __int128)(host - vm->stop_tsc) * *khz / vm->host_tsc_khz);
	return 0;
}

static uint64_t tsc_sets(const struct vcpu_state *s)
{
	return s->sets[SUBSTATE_TSC_OFFSET] + s->sets[SUBSTATE_MSRS];
}

/* Whether the vCPU has such an offset is known for sure only once it has been asked for. */
static const uint64_t *tsc_offset(struct vcpu_state *s, struct error *err)
{
	struct error why = { .code = 0 };
	const uint64_t *offset;

	if (!vcpu_state_offers(s, SUBSTATE_TSC_OFFSET))
		return NULL;
	offset = vcpu_state_tsc_offset(s, &why);
	if (!offset && vcpu_state_offers(s, SUBSTATE_TSC_OFFSET) && err)
		*err = why;
	return offset;
}

static int freeze_tsc(struct vcpu *vcpu, uint64_t base, struct error *err)
{
	struct vcpu_state *s = &vcpu->state;
	struct vcpu_frozen *frozen = &vcpu->frozen;
	int position = msr_table_find(s->msr_table, MSR_IA32_TSC);
	struct error why = { .code = 0 };
	const uint64_t *offset;

	if (frozen->tsc_known && frozen->tsc_sets == tsc_sets(s))
		return 0;
	offset = tsc_offset(s, &why);
	if (why.code) {
		if (err)
			*err = why;
		return -1;
	}
	if (offset)
		frozen->tsc = base + *offset;
	else if (vcpu_state_msr(s, (unsigned int)position, &frozen->tsc, err) < 0)
		return -1;
	frozen->tsc_sets = tsc_sets(s);
	frozen->tsc_known = true;
	return 0;
}

static int freeze_tscs(struct vm *vm, struct error *err)
{
	uint64_t base;

	if (base_at_stop(vm, &base, err) < 0)
		return -1;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (freeze_tsc(&vm->vcpu[i], base, err) < 0)
			return -1;
	return 0;
}

int snapshot_freeze(struct vm *vm, struct error *err)
{
	if (freeze_timers(vm, err) < 0)
		return -1;
	return freeze_tscs(vm, err);
}

void snapshot_loaded_time(struct vcpu *vcpu, uint64_t tsc, const struct kvm_lapic_state *lapic)
{
	vcpu->frozen = (struct vcpu_frozen) {
		.timer_known = true,
		.timer_sets = vcpu->state.sets[SUBSTATE_LAPIC],
		.timer_initial = lapic_register(lapic, LAPIC_TMICT),
		.timer_count = lapic_register(lapic, LAPIC_TMCCT),
		.tsc_known = true,
		.tsc_sets = tsc_sets(&vcpu->state),
		.tsc = tsc,
	};
}
