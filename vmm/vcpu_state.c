/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/nested.h"
#include "vmm/vcpu_state_internal.h"

#define CR0_PG   (1UL << 31)
#define CR4_PAE  (1UL << 5)
#define EFER_LMA (1UL << 10)

/* Where INIT leaves the instruction pointer of a processor that waits for its SIPI. */
#define INIT_RIP 0xfff0

/* In writing order, and the lowest level that writes each. */
static const struct {
	const char *name;
	enum vcpu_level level;
} table[SUBSTATE_COUNT] = {
	[SUBSTATE_CPUID] = { "cpuid", VCPU_LEVEL_FULL },
	[SUBSTATE_TSC_KHZ] = { "tsc-khz", VCPU_LEVEL_FULL },
	[SUBSTATE_FEATURE_CONTROL] = { "feature-control", VCPU_LEVEL_RESET },
	[SUBSTATE_REGS] = { "regs", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_SREGS] = { "sregs", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_NESTED] = { "nested", VCPU_LEVEL_RESET },
	[SUBSTATE_XCRS] = { "xcrs", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_XSAVE] = { "xsave", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_LAPIC] = { "lapic", VCPU_LEVEL_RESET },
	[SUBSTATE_TSC_OFFSET] = { "tsc-offset", VCPU_LEVEL_FULL },
	[SUBSTATE_MSRS] = { "msrs", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_EVENTS] = { "events", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_LATCHED_EVENTS] = { "latched-events", VCPU_LEVEL_RESET },
	[SUBSTATE_MP_STATE] = { "mp-state", VCPU_LEVEL_RESET },
	[SUBSTATE_DEBUGREGS] = { "debugregs", VCPU_LEVEL_RUNTIME },
	[SUBSTATE_GUEST_DEBUG] = { "guest-debug", VCPU_LEVEL_RUNTIME },
};

static const enum vcpu_substate reading_order[SUBSTATE_COUNT] = {
	SUBSTATE_MP_STATE, SUBSTATE_EVENTS, SUBSTATE_LATCHED_EVENTS, SUBSTATE_REGS, SUBSTATE_SREGS,
	SUBSTATE_XSAVE, SUBSTATE_XCRS, SUBSTATE_DEBUGREGS, SUBSTATE_LAPIC, SUBSTATE_MSRS,
	SUBSTATE_FEATURE_CONTROL, SUBSTATE_NESTED, SUBSTATE_TSC_KHZ, SUBSTATE_TSC_OFFSET,
	SUBSTATE_CPUID, SUBSTATE_GUEST_DEBUG,
};

/* What INIT or SIPI does not touch. */
#define SURVIVES_INIT (substate_bit(SUBSTATE_CPUID) | substate_bit(SUBSTATE_TSC_KHZ) |             \
		       substate_bit(SUBSTATE_TSC_OFFSET) | substate_bit(SUBSTATE_GUEST_DEBUG) |    \
		       substate_bit(SUBSTATE_MP_STATE))

const char *vcpu_substate_name(enum vcpu_substate sub)
{
	return table[sub].name;
}

enum vcpu_level vcpu_substate_level(enum vcpu_substate sub)
{
	return table[sub].level;
}

bool vcpu_sregs_use_pdptrs(const struct kvm_sregs2 *sregs)
{
	return (sregs->cr0 & CR0_PG) && (sregs->cr4 & CR4_PAE) && !(sregs->efer & EFER_LMA);
}

void vcpu_state_init(struct vcpu_state *s, struct kvm_handle *vcpu, const struct msr_table *msrs,
		     int index)
{
	const struct kvm_caps *caps = &vcpu->kvm->caps;

	memset(s, 0, sizeof(*s));
	s->vcpu = vcpu;
	s->msr_table = msrs;
	s->index = index;
	s->offered = substates_offered(vcpu->kvm);
	s->fpu_kind = caps->xsave_size ? VCPU_FPU_XSAVE2 :
		      caps->xsave ? VCPU_FPU_XSAVE : VCPU_FPU_LEGACY;
	s->fetched = substate_bit(SUBSTATE_GUEST_DEBUG);
	s->io_committed = true;
}

void vcpu_state_destroy(struct vcpu_state *s)
{
	free(s->cpuid);
	free(s->nested);
	free(s->xsave);
	free(s->lapic);
	free(s->msr_value);
	s->cpuid = NULL;
	s->nested = NULL;
	s->xsave = NULL;
	s->lapic = NULL;
	s->msr_value = NULL;
}

static void forget(struct vcpu_state *s, uint32_t mask)
{
	/* What is dirty is newer than the kernel's and stays; MSRs are marked dirty one by one. */
	s->fetched &= ~mask | (s->dirty & ~substate_bit(SUBSTATE_MSRS));
}

/*
 * MP_STATE has just been read.  That lets the kernel accept an INIT or a SIPI that came since the
 * vCPU parked (kvm_apic_accept_events()), which replaces most of what was fetched before.  Whether
 * it has is seen by its traces: a vCPU that is still halted has accepted nothing, and one that runs
 * would stand where INIT (0xfff0) or SIPI (0, in the page that it names) puts it.
 */
static int forget_if_events_were_accepted(struct vcpu_state *s, struct error *err)
{
	uint32_t others = s->fetched & ~s->dirty & ~SURVIVES_INIT;
	uint64_t rip = s->regs.rip;

	if (!others || s->mp_state.mp_state == KVM_MP_STATE_HALTED)
		return 0;
	if (s->mp_state.mp_state != KVM_MP_STATE_RUNNABLE ||
	    !(others & substate_bit(SUBSTATE_REGS)) || rip == INIT_RIP || rip == 0) {
		forget(s, ~SURVIVES_INIT);
		return 0;
	}
	if (substate_ops[SUBSTATE_REGS].get(s, err) < 0) {
		forget(s, ~SURVIVES_INIT);
		return -1;
	}
	if (s->regs.rip != rip)
		forget(s, ~(SURVIVES_INIT | substate_bit(SUBSTATE_REGS)));
	return 0;
}

static int fetch(struct vcpu_state *s, enum vcpu_substate sub, struct error *err)
{
	if (!vcpu_state_offers(s, sub))
		return error_set(err, ENOTSUP, "this host's KVM does not offer %s of a vCPU",
				 table[sub].name);
	if (s->fetched & substate_bit(sub))
		return 0;
	if (!s->io_committed)
		return error_set(err, EBUSY, "vCPU %d has not parked, so its %s can not be read",
				 s->index, table[sub].name);
	if (substate_ops[sub].get(s, err) < 0)
		return -1;
	s->fetched |= substate_bit(sub);
	return sub == SUBSTATE_MP_STATE ? forget_if_events_were_accepted(s, err) : 0;
}

int vcpu_state_fetch(struct vcpu_state *s, uint32_t mask, struct error *err)
{
	for (int i = 0; i < SUBSTATE_COUNT; i++) {
		enum vcpu_substate sub = reading_order[i];

		if ((mask & s->offered & substate_bit(sub)) && fetch(s, sub, err) < 0) {
			/* Found out only now that this vCPU has no such state. */
			if (vcpu_state_offers(s, sub))
				return -1;
		}
	}
	return 0;
}

/* Before an edit: an INIT that the kernel has yet to accept could fall on top of it. */
static int fetch_for_edit(struct vcpu_state *s, enum vcpu_substate sub, struct error *err)
{
	if (!(substate_bit(sub) & SURVIVES_INIT) && vcpu_state_offers(s, SUBSTATE_MP_STATE) &&
	    fetch(s, SUBSTATE_MP_STATE, err) < 0)
		return -1;
	return fetch(s, sub, err);
}

static int edit(struct vcpu_state *s, enum vcpu_substate sub, struct error *err)
{
	if (fetch_for_edit(s, sub, err) < 0)
		return -1;
	s->dirty |= substate_bit(sub);
	return 0;
}

/* A reader and a writer for each substate that is a plain member. */
#define READER(type, name, SUB, value)                                                             \
	const type *vcpu_state_##name(struct vcpu_state *s, struct error *err)                     \
	{                                                                                          \
		return fetch(s, SUBSTATE_##SUB, err) < 0 ? NULL : (value);                         \
	}
#define WRITER(type, name, SUB, value)                                                             \
	type *vcpu_state_##name##_edit(struct vcpu_state *s, struct error *err)                    \
	{                                                                                          \
		return edit(s, SUBSTATE_##SUB, err) < 0 ? NULL : (value);                          \
	}
#define ACCESSORS(type, name, SUB, value) READER(type, name, SUB, value) WRITER(type, name, SUB, value)

ACCESSORS(uint32_t, tsc_khz, TSC_KHZ, &s->tsc_khz)
ACCESSORS(uint64_t, feature_control, FEATURE_CONTROL, &s->feature_control)
ACCESSORS(struct kvm_regs, regs, REGS, &s->regs)
ACCESSORS(struct kvm_sregs2, sregs, SREGS, &s->sregs)
ACCESSORS(struct kvm_nested_state, nested, NESTED, s->nested)
ACCESSORS(struct kvm_xcrs, xcrs, XCRS, &s->xcrs)
ACCESSORS(struct kvm_lapic_state, lapic, LAPIC, s->lapic)
ACCESSORS(uint64_t, tsc_offset, TSC_OFFSET, &s->tsc_offset)
ACCESSORS(struct kvm_vcpu_events, events, EVENTS, &s->events)
ACCESSORS(struct vcpu_latched_events, latched_events, LATCHED_EVENTS, &s->latched)
ACCESSORS(struct kvm_mp_state, mp_state, MP_STATE, &s->mp_state)
ACCESSORS(struct kvm_debugregs, debugregs, DEBUGREGS, &s->debugregs)
READER(struct kvm_cpuid2, cpuid, CPUID, s->cpuid)
WRITER(struct kvm_guest_debug, guest_debug, GUEST_DEBUG, &s->guest_debug)

const struct kvm_guest_debug *vcpu_state_guest_debug(const struct vcpu_state *s)
{
	return &s->guest_debug;
}

static int xsave_missing(struct error *err)
{
	return error_set(err, ENOTSUP, "this host's KVM has no XSAVE, only the legacy FPU state");
}

const struct kvm_xsave *vcpu_state_xsave(struct vcpu_state *s, struct error *err)
{
	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		xsave_missing(err);
		return NULL;
	}
	return fetch(s, SUBSTATE_XSAVE, err) < 0 ? NULL : s->xsave;
}

struct kvm_xsave *vcpu_state_xsave_edit(struct vcpu_state *s, struct error *err)
{
	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		xsave_missing(err);
		return NULL;
	}
	return edit(s, SUBSTATE_XSAVE, err) < 0 ? NULL : s->xsave;
}

struct kvm_fpu *vcpu_state_fpu_edit(struct vcpu_state *s, struct error *err)
{
	if (s->fpu_kind != VCPU_FPU_LEGACY) {
		error_set(err, ENOTSUP, "this host's FPU state is kept as an XSAVE area");
		return NULL;
	}
	return edit(s, SUBSTATE_XSAVE, err) < 0 ? NULL : s->xsave;
}

/* The legacy region of an XSAVE area: Intel SDM vol. 1, section 13.4.1. */
struct fxsave_area {
	uint16_t fcw, fsw;
	uint8_t ftw_abridged, reserved;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t unused[96];
	uint64_t xstate_bv;
};

#define XSTATE_FP  (1U << 0)
#define XSTATE_SSE (1U << 1)

int vcpu_state_fpu(struct vcpu_state *s, struct kvm_fpu *fpu, struct error *err)
{
	struct fxsave_area area;

	if (fetch(s, SUBSTATE_XSAVE, err) < 0)
		return -1;
	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		memcpy(fpu, s->xsave, sizeof(*fpu));
		return 0;
	}
	/* A component whose bit is clear is in its initial state, whatever its bytes say. */
	memcpy(&area, s->xsave, sizeof(area));
	memset(fpu, 0, sizeof(*fpu));
	fpu->fcw = 0x37f;
	fpu->mxcsr = area.mxcsr;
	if (area.xstate_bv & XSTATE_FP) {
		fpu->fcw = area.fcw;
		fpu->fsw = area.fsw;
		fpu->ftwx = area.ftw_abridged;
		fpu->last_opcode = area.fop;
		fpu->last_ip = area.fip;
		fpu->last_dp = area.fdp;
		memcpy(fpu->fpr, area.st, sizeof(fpu->fpr));
	}
	if (area.xstate_bv & XSTATE_SSE)
		memcpy(fpu->xmm, area.xmm, sizeof(fpu->xmm));
	return 0;
}

int vcpu_state_msr(struct vcpu_state *s, unsigned int position, uint64_t *value, struct error *err)
{
	uint32_t index = s->msr_table->msr[position].index;

	if (fetch(s, SUBSTATE_MSRS, err) < 0)
		return -1;
	if (s->msr_absent[position] || index == s->msr_table->excluded)
		return error_set(err, ENOENT, "vCPU %d has no MSR 0x%x", s->index, index);
	*value = s->msr_value[position];
	return 0;
}

int vcpu_state_msr_edit(struct vcpu_state *s, unsigned int position, uint64_t value,
			struct error *err)
{
	uint64_t old;

	if (fetch_for_edit(s, SUBSTATE_MSRS, err) < 0 ||
	    vcpu_state_msr(s, position, &old, err) < 0)
		return -1;
	s->msr_value[position] = value;
	s->msr_dirty[position] = true;
	s->dirty |= substate_bit(SUBSTATE_MSRS);
	return 0;
}

void vcpu_state_msr_revert(struct vcpu_state *s, unsigned int position)
{
	bool dirty = false;

	if (!(s->dirty & substate_bit(SUBSTATE_MSRS)))
		return;
	s->msr_dirty[position] = false;
	for (unsigned int i = 0; i < s->msr_table->count; i++)
		dirty |= s->msr_dirty[i];
	if (!dirty)
		s->dirty &= ~substate_bit(SUBSTATE_MSRS);
	forget(s, substate_bit(SUBSTATE_MSRS));
}

int vcpu_state_cpuid_edit(struct vcpu_state *s, const struct kvm_cpuid2 *from, struct error *err)
{
	size_t size = sizeof(*from) + from->nent * sizeof(from->entries[0]);
	struct kvm_cpuid2 *copy;

	if (s->has_run)
		return error_set(err, EBUSY, "vCPU %d has run: its CPUID can not be changed any more",
				 s->index);
	copy = malloc(size);
	if (!copy)
		return error_errno(err, ENOMEM, "vCPU %d: cpuid", s->index);
	memcpy(copy, from, size);
	free(s->cpuid);
	s->cpuid = copy;
	s->fetched |= substate_bit(SUBSTATE_CPUID);
	s->dirty |= substate_bit(SUBSTATE_CPUID);
	return 0;
}

int vcpu_state_replace(struct vcpu_state *s, uint32_t mask, struct error *err)
{
	mask &= s->offered;
	if (substates_allocate(s, mask, err) < 0)
		return -1;
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if (mask & substate_bit((enum vcpu_substate)sub))
			substate_clear(s, (enum vcpu_substate)sub);
	s->fetched |= mask;
	/* Of MSRs only those are dirty which the caller goes on to edit. */
	s->dirty |= mask & ~substate_bit(SUBSTATE_MSRS);
	return 0;
}

static int write_one(struct vcpu_state *s, enum vcpu_substate sub, enum vcpu_level level,
		     struct error *err)
{
	bool left = false;

	if (!(s->dirty & substate_bit(sub)) || table[sub].level > level)
		return 0;
	/*
	 * A SET between an I/O exit and its completion loses the result of the I/O, and with it the
	 * guest.  Parking commits I/O, so to be here is a bug of ours.
	 */
	assert(s->io_committed);
	if (!s->io_committed)
		return error_set(err, EBUSY, "vCPU %d: %s can not be written while I/O is uncommitted",
				 s->index, table[sub].name);
	if (substate_ops[sub].set(s, level, &left, err) < 0)
		return -1;
	if (!left)
		s->dirty &= ~substate_bit(sub);
	return 0;
}

/*
 * In the order of the table, but for nested guests (KVM: vmx/nested.c, svm/nested.c,
 * svm_set_efer()):
 *   - Out of everything comes first.  While the vCPU is in its inner guest, what is written goes
 *     into that one's control block, and leaving it, which also happens when SREGS clears
 *     EFER.SVME, brings back the outer one's; while it is in VMX operation, SREGS without CR4.VMXE
 *     is refused.
 *   - Into something comes behind sregs, which enable it, and behind the MSRs that describe VMX.
 *   - SET_NESTED_STATE of VMX inside an inner guest loads RIP, RSP and RFLAGS from its control
 *     block, so that regs have to follow.
 */
static int write_all(struct vcpu_state *s, enum vcpu_level level, struct error *err)
{
	bool nested = level >= VCPU_LEVEL_RESET && (s->dirty & substate_bit(SUBSTATE_NESTED));
	bool vmx = nested && s->nested->format == KVM_STATE_NESTED_FORMAT_VMX;
	bool off = nested && nested_is_off(s->nested);
	bool regs_last = vmx && !off && (s->nested->flags & KVM_STATE_NESTED_GUEST_MODE);

	for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		if (sub == SUBSTATE_REGS && off && write_one(s, SUBSTATE_NESTED, level, err) < 0)
			return -1;
		if (sub == SUBSTATE_REGS && regs_last)
			continue;
		if (sub == SUBSTATE_NESTED && vmx && !off &&
		    substates_set_vmx_msrs(s, level, err) < 0)
			return -1;
		if (write_one(s, (enum vcpu_substate)sub, level, err) < 0)
			return -1;
		if (sub == SUBSTATE_NESTED && regs_last && write_one(s, SUBSTATE_REGS, level, err) < 0)
			return -1;
	}
	return 0;
}

static int write_back(struct vcpu_state *s, enum vcpu_level level, struct error *err)
{
	int rc;

	if (!s->dirty)
		return 0;
	rc = write_all(s, level, err);
	/*
	 * The kernel may not have taken a value as it was given, and a SET has effects on other
	 * substates (SET_REGS drops an exception, SET_SREGS wakes a halted processor): whoever looks
	 * next sees what there is now.
	 */
	forget(s, ~substate_bit(SUBSTATE_GUEST_DEBUG));
	return rc;
}

int vcpu_state_after_init(struct vcpu_state *s, struct error *err)
{
	return write_back(s, VCPU_LEVEL_FULL, err);
}

int vcpu_state_after_load(struct vcpu_state *s, struct error *err)
{
	s->loaded = true;
	return write_back(s, VCPU_LEVEL_FULL, err);
}

int vcpu_state_after_reset(struct vcpu_state *s, struct error *err)
{
	return write_back(s, VCPU_LEVEL_RESET, err);
}

int vcpu_state_before_run(struct vcpu_state *s, struct error *err)
{
	if (write_back(s, VCPU_LEVEL_RUNTIME, err) < 0)
		return -1;
	/* Never stale: what the vCPU may change from here on is not known any more. */
	forget(s, ~substate_bit(SUBSTATE_GUEST_DEBUG));
	s->io_committed = false;
	return 0;
}

void vcpu_state_parked(struct vcpu_state *s, const struct kvm_sync_regs *page, uint64_t sync,
		       bool has_run)
{
	uint32_t taken = 0;

	s->io_committed = true;
	s->has_run = has_run;

	if ((sync & KVM_SYNC_X86_REGS) && !(s->fetched & substate_bit(SUBSTATE_REGS))) {
		s->regs = page->regs;
		taken |= substate_bit(SUBSTATE_REGS);
	}
	if ((sync & KVM_SYNC_X86_SREGS) && !(s->fetched & substate_bit(SUBSTATE_SREGS))) {
		sregs_from_plain(&s->sregs, &page->sregs);
		/* In PAE paging the PDPTRs belong to sregs, and only SREGS2 has them. */
		if (!s->vcpu->kvm->caps.sregs2 || !vcpu_sregs_use_pdptrs(&s->sregs))
			taken |= substate_bit(SUBSTATE_SREGS);
	}
	if ((sync & KVM_SYNC_X86_EVENTS) && !(s->fetched & substate_bit(SUBSTATE_EVENTS))) {
		s->events = page->events;
		taken |= substate_bit(SUBSTATE_EVENTS);
	}
	if ((sync & KVM_SYNC_X86_EVENTS) && !(s->fetched & substate_bit(SUBSTATE_LATCHED_EVENTS))) {
		s->latched.nmi_pending = page->events.nmi.pending;
		s->latched.sipi_vector = page->events.sipi_vector;
		taken |= substate_bit(SUBSTATE_LATCHED_EVENTS);
	}
	s->fetched |= taken & s->offered;
}

void vcpu_state_settled(struct vcpu_state *s)
{
	forget(s, ~substate_bit(SUBSTATE_GUEST_DEBUG));
}

void vcpu_state_refresh(struct vcpu_state *s)
{
	forget(s, substate_bit(SUBSTATE_LAPIC) | substate_bit(SUBSTATE_MSRS));
}

void vcpu_state_events_moved(struct vcpu_state *s)
{
	forget(s, substate_bit(SUBSTATE_EVENTS) | substate_bit(SUBSTATE_LATCHED_EVENTS));
}
