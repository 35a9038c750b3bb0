/* SPDX-License-Identifier: MIT */
#include "tests/unit/state_fixture.h"

#include <stdlib.h>
#include <string.h>

/*
 * One row per substate: how to read it, edit it, see it and find it in the kernel, by one field.
 *
 * FIELD makes the functions of a substate whose reader and writer return a pointer.  `field` is
 * behind that pointer, `held` in a struct fake_vcpu.
 */
#define FIELD(name, field, in_kernel, mask) \
	static bool read_##name(struct vcpu_state *s, struct error *err) \
	{ \
		return vcpu_state_##name(s, err); \
	} \
	static uint64_t fit_##name(uint64_t value) \
	{ \
		return value & (mask); \
	} \
	static bool edit_##name(struct vcpu_state *s, uint64_t value, struct error *err) \
	{ \
		__auto_type p = vcpu_state_##name##_edit(s, err); \
		\
		if (p) \
			p field = fit_##name(value); \
		return p; \
	} \
	static uint64_t seen_##name(struct vcpu_state *s) \
	{ \
		__auto_type p = vcpu_state_##name(s, NULL); \
		\
		return p ? (uint64_t)p field : UINT64_MAX; \
	} \
	static uint64_t held_##name(struct fake_vcpu *v) \
	{ \
		return v->in_kernel; \
	} \
	static void change_##name(struct fake_vcpu *v, uint64_t value) \
	{ \
		v->in_kernel = fit_##name(value); \
	}

FIELD(regs, ->rbx, regs.rbx, UINT64_MAX)
FIELD(sregs, ->cr2, sregs.cr2, UINT64_MAX)
FIELD(events, ->exception.error_code, events.exception.error_code, UINT32_MAX)
FIELD(latched_events, ->nmi_pending, events.nmi.pending, 1)
FIELD(debugregs, ->db[0], debugregs.db[0], UINT64_MAX)
FIELD(nested, ->hdr.vmx.preemption_timer_deadline, nested->hdr.vmx.preemption_timer_deadline,
      UINT64_MAX)
FIELD(lapic, ->regs[0x80], lapic.regs[0x80], 0x70)

/* The control register of the debugger itself, which has no GET and no error to give. */
static bool read_guest_debug(struct vcpu_state *s, struct error *err)
{
	(void)err;
	return vcpu_state_guest_debug(s);
}

/* A plain number, too. */
static bool read_tsc_offset(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_tsc_offset(s, err);
}

static bool edit_tsc_offset(struct vcpu_state *s, uint64_t value, struct error *err)
{
	uint64_t *offset = vcpu_state_tsc_offset_edit(s, err);

	if (offset)
		*offset = value;
	return offset;
}

static uint64_t seen_tsc_offset(struct vcpu_state *s)
{
	const uint64_t *offset = vcpu_state_tsc_offset(s, NULL);

	return offset ? *offset : UINT64_MAX;
}

static uint64_t held_tsc_offset(struct fake_vcpu *v)
{
	return v->tsc_offset;
}

static void change_tsc_offset(struct fake_vcpu *v, uint64_t value)
{
	v->tsc_offset = value;
}

static uint64_t as_it_is(uint64_t value)
{
	return value;
}

static bool edit_guest_debug(struct vcpu_state *s, uint64_t value, struct error *err)
{
	struct kvm_guest_debug *debug = vcpu_state_guest_debug_edit(s, err);

	if (debug)
		debug->arch.debugreg[0] = value;
	return debug;
}

static uint64_t seen_guest_debug(struct vcpu_state *s)
{
	return vcpu_state_guest_debug(s)->arch.debugreg[0];
}

static uint64_t held_guest_debug(struct fake_vcpu *v)
{
	return v->guest_debug.arch.debugreg[0];
}

/* TSC frequency and feature control are plain numbers. */
static bool read_tsc_khz(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_tsc_khz(s, err);
}

static uint64_t fit_tsc_khz(uint64_t value)
{
	return 1000000 + value % 1000000;
}

static bool edit_tsc_khz(struct vcpu_state *s, uint64_t value, struct error *err)
{
	uint32_t *khz = vcpu_state_tsc_khz_edit(s, err);

	if (khz)
		*khz = (uint32_t)fit_tsc_khz(value);
	return khz;
}

static uint64_t seen_tsc_khz(struct vcpu_state *s)
{
	const uint32_t *khz = vcpu_state_tsc_khz(s, NULL);

	return khz ? *khz : UINT64_MAX;
}

static uint64_t held_tsc_khz(struct fake_vcpu *v)
{
	return v->tsc_khz;
}

static bool read_feature_control(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_feature_control(s, err);
}

static bool edit_feature_control(struct vcpu_state *s, uint64_t value, struct error *err)
{
	uint64_t *control = vcpu_state_feature_control_edit(s, err);

	if (control)
		*control = value;
	return control;
}

static uint64_t seen_feature_control(struct vcpu_state *s)
{
	const uint64_t *control = vcpu_state_feature_control(s, NULL);

	return control ? *control : UINT64_MAX;
}

static uint64_t held_feature_control(struct fake_vcpu *v)
{
	return fake_vcpu_msr(v, MSR_IA32_FEATURE_CONTROL)->value;
}

static void change_feature_control(struct fake_vcpu *v, uint64_t value)
{
	fake_vcpu_msr(v, MSR_IA32_FEATURE_CONTROL)->value = value;
}

/* Runnable or halted: what a vCPU goes through without another one's doing. */
static bool read_mp_state(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_mp_state(s, err);
}

static uint64_t fit_mp_state(uint64_t value)
{
	return value & 1 ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE;
}

static bool edit_mp_state(struct vcpu_state *s, uint64_t value, struct error *err)
{
	struct kvm_mp_state *mp_state = vcpu_state_mp_state_edit(s, err);

	if (mp_state)
		mp_state->mp_state = (uint32_t)fit_mp_state(value);
	return mp_state;
}

static uint64_t seen_mp_state(struct vcpu_state *s)
{
	const struct kvm_mp_state *mp_state = vcpu_state_mp_state(s, NULL);

	return mp_state ? mp_state->mp_state : UINT64_MAX;
}

static uint64_t held_mp_state(struct fake_vcpu *v)
{
	return v->mp_state;
}

/* XCR0: x87 always, SSE and AVX as the number says. */
static bool read_xcrs(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_xcrs(s, err);
}

static uint64_t fit_xcrs(uint64_t value)
{
	return (value & 6) | 1;
}

static bool edit_xcrs(struct vcpu_state *s, uint64_t value, struct error *err)
{
	struct kvm_xcrs *xcrs = vcpu_state_xcrs_edit(s, err);

	if (xcrs)
		xcrs->xcrs[0].value = fit_xcrs(value);
	return xcrs;
}

static uint64_t seen_xcrs(struct vcpu_state *s)
{
	const struct kvm_xcrs *xcrs = vcpu_state_xcrs(s, NULL);

	return xcrs ? xcrs->xcrs[0].value : UINT64_MAX;
}

static uint64_t held_xcrs(struct fake_vcpu *v)
{
	return v->xcrs.xcrs[0].value;
}

static void change_xcrs(struct fake_vcpu *v, uint64_t value)
{
	v->xcrs.xcrs[0].value = fit_xcrs(value);
}

/* XMM0's lower half: in the XSAVE area at 160, in struct kvm_fpu as xmm[0]. */
static bool read_xsave(struct vcpu_state *s, struct error *err)
{
	struct kvm_fpu fpu;

	return s->fpu_kind == VCPU_FPU_LEGACY ? vcpu_state_fpu(s, &fpu, err) == 0 :
						(bool)vcpu_state_xsave(s, err);
}

static bool edit_xsave(struct vcpu_state *s, uint64_t value, struct error *err)
{
	struct kvm_xsave *xsave;
	struct kvm_fpu *fpu;

	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		fpu = vcpu_state_fpu_edit(s, err);
		if (fpu)
			memcpy(fpu->xmm[0], &value, sizeof(value));
		return fpu;
	}
	xsave = vcpu_state_xsave_edit(s, err);
	if (xsave)
		memcpy((uint8_t *)xsave + 160, &value, sizeof(value));
	return xsave;
}

static uint64_t seen_xsave(struct vcpu_state *s)
{
	struct kvm_fpu fpu;
	uint64_t value;

	if (vcpu_state_fpu(s, &fpu, NULL) < 0)
		return UINT64_MAX;
	memcpy(&value, fpu.xmm[0], sizeof(value));
	return value;
}

static uint64_t held_xsave(struct fake_vcpu *v)
{
	uint64_t value;

	memcpy(&value, v->xsave + 160, sizeof(value));
	return value;
}

static void change_xsave(struct fake_vcpu *v, uint64_t value)
{
	memcpy(v->xsave + 160, &value, sizeof(value));
}

/* The first MSR of the fixture's table. */
static bool read_msrs(struct vcpu_state *s, struct error *err)
{
	uint64_t value;

	return vcpu_state_msr(s, FIXTURE_RUNTIME_MSR, &value, err) == 0;
}

static bool edit_msrs(struct vcpu_state *s, uint64_t value, struct error *err)
{
	return vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR, value, err) == 0;
}

static uint64_t seen_msrs(struct vcpu_state *s)
{
	uint64_t value;

	return vcpu_state_msr(s, FIXTURE_RUNTIME_MSR, &value, NULL) == 0 ? value : UINT64_MAX;
}

static uint64_t held_msrs(struct fake_vcpu *v)
{
	return fake_vcpu_msr(v, fix.table->msr[FIXTURE_RUNTIME_MSR].index)->value;
}

static void change_msrs(struct fake_vcpu *v, uint64_t value)
{
	fake_vcpu_msr(v, fix.table->msr[FIXTURE_RUNTIME_MSR].index)->value = value;
}

/* A table of one leaf, its EAX the number. */
static bool read_cpuid(struct vcpu_state *s, struct error *err)
{
	return vcpu_state_cpuid(s, err);
}

static uint64_t fit_cpuid(uint64_t value)
{
	return value & UINT32_MAX;
}

static bool edit_cpuid(struct vcpu_state *s, uint64_t value, struct error *err)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + sizeof(table->entries[0]));
	bool taken;

	if (!table)
		abort();
	table->nent = 1;
	table->entries[0].function = 1;
	table->entries[0].eax = (uint32_t)value;
	taken = vcpu_state_cpuid_edit(s, table, err) == 0;
	free(table);            /* it is a copy that the state keeps */
	return taken;
}

static uint64_t seen_cpuid(struct vcpu_state *s)
{
	const struct kvm_cpuid2 *table = vcpu_state_cpuid(s, NULL);

	return table && table->nent ? table->entries[0].eax : 0;
}

static uint64_t held_cpuid(struct fake_vcpu *v)
{
	return v->cpuid && v->cpuid->nent ? v->cpuid->entries[0].eax : 0;
}

#define ROW(SUB, name, level, get, set, fit, change) \
	[SUBSTATE_##SUB] = { SUBSTATE_##SUB, VCPU_LEVEL_##level, get, set, read_##name, \
			     edit_##name, seen_##name, held_##name, change, fit }

const struct substate_case substate_cases[SUBSTATE_COUNT] = {
	ROW(CPUID, cpuid, FULL, KVM_GET_CPUID2, KVM_SET_CPUID2, fit_cpuid, NULL),
	ROW(TSC_KHZ, tsc_khz, FULL, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ, fit_tsc_khz, NULL),
	ROW(FEATURE_CONTROL, feature_control, RESET, KVM_GET_MSRS, KVM_SET_MSRS, as_it_is,
	    change_feature_control),
	ROW(REGS, regs, RUNTIME, KVM_GET_REGS, KVM_SET_REGS, fit_regs, change_regs),
	ROW(SREGS, sregs, RUNTIME, KVM_GET_SREGS2, KVM_SET_SREGS2, fit_sregs, change_sregs),
	ROW(NESTED, nested, RESET, KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE, fit_nested,
	    change_nested),
	ROW(XCRS, xcrs, RUNTIME, KVM_GET_XCRS, KVM_SET_XCRS, fit_xcrs, change_xcrs),
	ROW(XSAVE, xsave, RUNTIME, KVM_GET_XSAVE2, KVM_SET_XSAVE, as_it_is, change_xsave),
	ROW(LAPIC, lapic, RESET, KVM_GET_LAPIC, KVM_SET_LAPIC, fit_lapic, change_lapic),
	ROW(TSC_OFFSET, tsc_offset, FULL, KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR, as_it_is,
	    change_tsc_offset),
	ROW(MSRS, msrs, RUNTIME, KVM_GET_MSRS, KVM_SET_MSRS, as_it_is, change_msrs),
	ROW(EVENTS, events, RUNTIME, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, fit_events,
	    change_events),
	ROW(LATCHED_EVENTS, latched_events, RESET, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	    fit_latched_events, change_latched_events),
	ROW(MP_STATE, mp_state, RESET, KVM_GET_MP_STATE, KVM_SET_MP_STATE, fit_mp_state, NULL),
	ROW(DEBUGREGS, debugregs, RUNTIME, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, fit_debugregs,
	    change_debugregs),
	ROW(GUEST_DEBUG, guest_debug, RUNTIME, 0, KVM_SET_GUEST_DEBUG, as_it_is, NULL),
};

/* Compares whatever is not dirty, all of it; MP state first, for it may change the others. */
const char *state_difference(struct vcpu_state *s, struct fake_vcpu *v)
{
	const struct kvm_caps *caps = &s->vcpu->kvm->caps;
	const struct kvm_sregs2 *sregs;
	const struct kvm_vcpu_events *events;
	const struct kvm_cpuid2 *cpuid;
	struct kvm_sregs2 kernel_sregs;
	uint64_t value;

#define CLEAN(sub) (vcpu_state_offers(s, SUBSTATE_##sub) && !(s->dirty >> SUBSTATE_##sub & 1))
#define DIFFERS(sub, name, in_kernel) \
	(CLEAN(sub) && (!vcpu_state_##name(s, NULL) || \
			memcmp(vcpu_state_##name(s, NULL), &(in_kernel), sizeof(in_kernel))))
	if (CLEAN(MP_STATE) && (!vcpu_state_mp_state(s, NULL) ||
				vcpu_state_mp_state(s, NULL)->mp_state != v->mp_state))
		return "mp_state";
	if (DIFFERS(REGS, regs, v->regs))
		return "regs";
	sregs = vcpu_state_sregs(s, NULL);
	kernel_sregs = v->sregs;
	kernel_sregs.flags = caps->sregs2 && fake_vcpu_in_pae(v);
	if (!kernel_sregs.flags)
		memset(kernel_sregs.pdptrs, 0, sizeof(kernel_sregs.pdptrs));
	if (CLEAN(SREGS) && (!sregs || memcmp(sregs, &kernel_sregs, sizeof(kernel_sregs))))
		return "sregs";
	if (DIFFERS(XCRS, xcrs, v->xcrs))
		return "xcrs";
	if (DIFFERS(DEBUGREGS, debugregs, v->debugregs))
		return "debugregs";
	if (DIFFERS(LAPIC, lapic, v->lapic))
		return "lapic";
	if (DIFFERS(FEATURE_CONTROL, feature_control,
		    fake_vcpu_msr(v, MSR_IA32_FEATURE_CONTROL)->value))
		return "feature_control";
	if (CLEAN(XSAVE) && substate_cases[SUBSTATE_XSAVE].seen(s) !=
			    substate_cases[SUBSTATE_XSAVE].held(v))
		return "xsave";
	if (CLEAN(XSAVE) && s->fpu_kind == VCPU_FPU_XSAVE2 &&
	    memcmp(vcpu_state_xsave(s, NULL), v->xsave, caps->xsave_size))
		return "xsave";
	if (CLEAN(NESTED) && (!vcpu_state_nested(s, NULL) ||
			      memcmp(vcpu_state_nested(s, NULL), v->nested, v->nested->size)))
		return "nested";
	if (CLEAN(EVENTS)) {
		events = vcpu_state_events(s, NULL);
		if (!events ||
		    memcmp(&events->exception, &v->events.exception, sizeof(events->exception)) ||
		    memcmp(&events->interrupt, &v->events.interrupt, sizeof(events->interrupt)) ||
		    events->nmi.injected != v->events.nmi.injected ||
		    events->nmi.masked != v->events.nmi.masked ||
		    events->exception_payload != v->events.exception_payload ||
		    /* An INIT that came after the look is not known yet, which does no harm. */
		    events->smi.latched_init > v->pending_init)
			return "events";
	}
	if (CLEAN(LATCHED_EVENTS) && (!vcpu_state_latched_events(s, NULL) ||
	     vcpu_state_latched_events(s, NULL)->nmi_pending != v->events.nmi.pending))
		return "latched_events";
	if (CLEAN(CPUID)) {
		cpuid = vcpu_state_cpuid(s, NULL);
		if (!cpuid || cpuid->nent != (v->cpuid ? v->cpuid->nent : 0) ||
		    (v->cpuid && memcmp(cpuid->entries, v->cpuid->entries,
					cpuid->nent * sizeof(cpuid->entries[0]))))
			return "cpuid";
	}
	if (CLEAN(TSC_KHZ) && caps->tsc_control &&
	    substate_cases[SUBSTATE_TSC_KHZ].seen(s) != v->tsc_khz)
		return "tsc_khz";
	if (CLEAN(TSC_OFFSET) && substate_cases[SUBSTATE_TSC_OFFSET].seen(s) != v->tsc_offset)
		return "tsc_offset";
	for (unsigned int m = 0; CLEAN(MSRS) && m < s->msr_table->count; m++) {
		const struct fake_msr *msr = fake_vcpu_msr(v, s->msr_table->msr[m].index);

		if (vcpu_state_msr(s, m, &value, NULL) < 0 ? msr != NULL :
							    !msr || value != msr->value)
			return "msrs";
	}
	return NULL;
#undef DIFFERS
#undef CLEAN
}
