/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_reset.h"

#include <errno.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/lapic.h"
#include "vmm/nested.h"

/* IA32_APIC_BASE: Intel SDM vol. 3A, figure 11-5. */
#define APIC_BASE_ADDRESS 0xfee00000
#define APIC_BASE_BSP     (1U << 8)
#define APIC_BASE_ENABLE  (1U << 11)

static struct kvm_segment real_mode_segment(uint16_t selector, uint64_t base, uint8_t type, bool s)
{
	return (struct kvm_segment) {
		.base = base, .limit = 0xffff, .selector = selector, .type = type, .s = s, .present = 1,
	};
}

static int reset_regs(struct vcpu_state *s, struct error *err)
{
	const struct kvm_cpuid2 *cpuid = vcpu_state_cpuid(s, err);
	const struct kvm_cpuid_entry2 *leaf1;
	struct kvm_regs *regs;

	if (!cpuid)
		return -1;
	leaf1 = cpuid_find(cpuid, 1, 0);
	regs = vcpu_state_regs_edit(s, err);
	if (!regs)
		return -1;
	memset(regs, 0, sizeof(*regs));
	regs->rdx = leaf1 ? leaf1->eax : 0;
	regs->rip = 0xfff0;
	regs->rflags = 2;
	return 0;
}

static int reset_sregs(struct vcpu_state *s, bool boot_processor, struct error *err)
{
	struct kvm_sregs2 *sregs = vcpu_state_sregs_edit(s, err);
	struct kvm_segment data = real_mode_segment(0, 0, 3, true);

	if (!sregs)
		return -1;
	memset(sregs, 0, sizeof(*sregs));
	sregs->cs = real_mode_segment(0xf000, 0xffff0000, 11, true);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = real_mode_segment(0, 0, 11, false);
	sregs->ldt = real_mode_segment(0, 0, 2, false);
	sregs->gdt.limit = sregs->idt.limit = 0xffff;
	sregs->cr0 = 0x60000010;
	sregs->apic_base = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | (boot_processor ? APIC_BASE_BSP : 0);
	return 0;
}

/* x87 and SSE as after FNINIT, all other components in their initial state. */
static int reset_xsave(struct vcpu_state *s, struct error *err)
{
	const size_t xstate_bv = 512;
	struct kvm_xsave *xsave;
	struct kvm_fpu *fpu;
	char *area;

	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		fpu = vcpu_state_fpu_edit(s, err);
		if (!fpu)
			return -1;
		memset(fpu, 0, sizeof(*fpu));
		fpu->fcw = 0x37f;
		fpu->mxcsr = 0x1f80;
		return 0;
	}
	xsave = vcpu_state_xsave_edit(s, err);
	if (!xsave)
		return -1;
	area = (char *)xsave;
	memset(area, 0, sizeof(*xsave));
	area[0] = 0x7f;                 /* FCW = 0x37f */
	area[1] = 0x03;
	area[24] = (char)0x80;          /* MXCSR = 0x1f80 */
	area[25] = 0x1f;
	area[xstate_bv] = 3;            /* x87 and SSE are in the area */
	return 0;
}

static int reset_lapic(struct vcpu_state *s, uint32_t apic_id, bool boot_processor,
		       struct error *err)
{
	struct kvm_lapic_state *lapic = vcpu_state_lapic_edit(s, err);
	uint32_t version;

	if (!lapic)
		return -1;
	version = lapic_register(lapic, LAPIC_VERSION);
	memset(lapic, 0, sizeof(*lapic));
	lapic_set_register(lapic, LAPIC_VERSION, version);
	/* It starts in xAPIC mode, where ids have 8 bits; KVM knows the rest. */
	lapic_set_register(lapic, LAPIC_ID, apic_id << 24);
	lapic_set_register(lapic, LAPIC_DFR, 0xffffffff);
	lapic_set_register(lapic, LAPIC_SVR, 0xff);
	lapic_set_register(lapic, LAPIC_LVT_CMCI, LAPIC_LVT_MASKED);
	for (unsigned int lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERR; lvt += 0x10)
		lapic_set_register(lapic, lvt, LAPIC_LVT_MASKED);
	/* Virtual wire mode, as firmware leaves it: the PIC's interrupts come through. */
	if (boot_processor)
		lapic_set_register(lapic, LAPIC_LVT_0, LAPIC_LVT_MODE_EXTINT);
	return 0;
}

/*
 * `all`: even those that have the value already, because it is an inner guest's, and the outer
 * one's comes back when that is left.
 */
static int reset_msrs(struct vcpu_state *s, bool all, struct error *err)
{
	struct error absent;

	for (unsigned int i = 0; i < s->msr_table->count; i++) {
		const struct msr_info *msr = &s->msr_table->msr[i];
		uint64_t value;

		if (!msr->resets)
			continue;
		if (vcpu_state_msr(s, i, &value, &absent) < 0) {
			if (absent.code == ENOENT)
				continue;
			if (err)
				*err = absent;
			return -1;
		}
		/* Time goes on by itself, so that it has to be written whatever was just read. */
		if (all || value != msr->reset_value || msr->group != MSR_GROUP_PLAIN)
			if (vcpu_state_msr_edit(s, i, msr->reset_value, err) < 0)
				return -1;
	}
	return 0;
}

static int reset_events(struct vcpu_state *s, struct error *err)
{
	struct kvm_vcpu_events *events;
	struct vcpu_latched_events *latched;

	if (!vcpu_state_offers(s, SUBSTATE_EVENTS))
		return 0;
	events = vcpu_state_events_edit(s, err);
	latched = events ? vcpu_state_latched_events_edit(s, err) : NULL;
	if (!latched)
		return -1;
	/* The flags say what the kernel understands besides; they stay. */
	*events = (struct kvm_vcpu_events) { .flags = events->flags };
	memset(latched, 0, sizeof(*latched));
	return 0;
}

static int reset_debugregs(struct vcpu_state *s, struct error *err)
{
	struct kvm_debugregs *debugregs;

	if (!vcpu_state_offers(s, SUBSTATE_DEBUGREGS))
		return 0;
	debugregs = vcpu_state_debugregs_edit(s, err);
	if (!debugregs)
		return -1;
	memset(debugregs, 0, sizeof(*debugregs));
	debugregs->dr6 = 0xffff0ff0;
	debugregs->dr7 = 0x400;
	return 0;
}

/* Out of VMX or SVM operation.  `*was_in` says whether the vCPU was in any. */
static int reset_nested(struct vcpu_state *s, bool *was_in, struct error *err)
{
	const struct kvm_nested_state *now;
	struct kvm_nested_state *nested;

	*was_in = false;
	if (!vcpu_state_offers(s, SUBSTATE_NESTED))
		return 0;
	now = vcpu_state_nested(s, err);
	if (!now)
		return -1;
	if (nested_is_off(now))
		return 0;
	*was_in = true;
	nested = vcpu_state_nested_edit(s, err);
	if (!nested)
		return -1;
	nested_turn_off(nested, nested->format);
	return 0;
}

static int reset_feature_control(struct vcpu_state *s, struct error *err)
{
	struct error absent;
	const uint64_t *now;
	uint64_t *value;

	if (!vcpu_state_offers(s, SUBSTATE_FEATURE_CONTROL))
		return 0;
	now = vcpu_state_feature_control(s, &absent);
	if (!now) {
		if (absent.code == ENOTSUP)
			return 0;
		if (err)
			*err = absent;
		return -1;
	}
	if (*now == 0)
		return 0;
	value = vcpu_state_feature_control_edit(s, err);
	if (!value)
		return -1;
	*value = 0;
	return 0;
}

int vcpu_reset_edit(struct vcpu_state *s, uint32_t apic_id, bool boot_processor,
		    struct error *err)
{
	bool was_nested;

	if (reset_nested(s, &was_nested, err) < 0 || reset_regs(s, err) < 0 ||
	    reset_sregs(s, boot_processor, err) < 0 || reset_xsave(s, err) < 0 ||
	    reset_lapic(s, apic_id, boot_processor, err) < 0 || reset_msrs(s, was_nested, err) < 0 ||
	    reset_events(s, err) < 0 || reset_debugregs(s, err) < 0 ||
	    reset_feature_control(s, err) < 0)
		return -1;
	if (vcpu_state_offers(s, SUBSTATE_XCRS)) {
		struct kvm_xcrs *xcrs = vcpu_state_xcrs_edit(s, err);

		if (!xcrs)
			return -1;
		for (uint32_t i = 0; i < xcrs->nr_xcrs && i < KVM_MAX_XCRS; i++)
			if (xcrs->xcrs[i].xcr == 0)
				xcrs->xcrs[i].value = 1;
	}
	if (vcpu_state_offers(s, SUBSTATE_MP_STATE)) {
		struct kvm_mp_state *mp_state = vcpu_state_mp_state_edit(s, err);

		if (!mp_state)
			return -1;
		mp_state->mp_state = boot_processor ? KVM_MP_STATE_RUNNABLE
						    : KVM_MP_STATE_UNINITIALIZED;
	}
	return 0;
}
