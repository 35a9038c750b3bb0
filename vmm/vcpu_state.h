/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_STATE_H
#define VMM_VCPU_STATE_H

#include "vmm/kvm.h"
#include "vmm/msr.h"

/*
 * The state of one vCPU as user space sees it: a cache over the kernel's KVM_GET_* and KVM_SET_*
 * calls that can be read without ever being written back.
 *
 *   - A reader (vcpu_state_regs() and its like) fetches the substate from the kernel if that has
 *     not happened since the vCPU last ran, and returns a pointer to const.
 *   - The only way to a mutable pointer is ..._edit(), which marks exactly that substate dirty.
 *   - Only the four hooks below write to the kernel, and only what is dirty.
 *   - What was fetched is forgotten when the vCPU runs again.
 *
 * Threads: a vcpu_state belongs to the thread that owns the machine (the event loop).  It may be
 * touched only while its vCPU is parked, which is what makes the kernel's values stand still.
 *
 * Pointers that readers return stay valid as long as the state, their contents until the vCPU
 * runs again.  Readers and ..._edit() return NULL with *err set when the kernel refuses the GET
 * or the host does not offer the substate.
 */

/* One thing that the kernel gets and sets as a unit.  In writing order; the table is in vcpu_state.c. */
enum vcpu_substate {
	SUBSTATE_CPUID,
	SUBSTATE_TSC_KHZ,
	SUBSTATE_FEATURE_CONTROL,       /* one MSR, by itself because its place is before sregs */
	SUBSTATE_REGS,
	SUBSTATE_SREGS,
	SUBSTATE_NESTED,
	SUBSTATE_XCRS,
	SUBSTATE_XSAVE,
	SUBSTATE_LAPIC,
	SUBSTATE_TSC_OFFSET,            /* guest TSC less the host's; written instead of the MSR */
	SUBSTATE_MSRS,
	SUBSTATE_EVENTS,
	SUBSTATE_LATCHED_EVENTS,        /* NMI pending and SIPI vector, which travel in VCPU_EVENTS */
	SUBSTATE_MP_STATE,
	SUBSTATE_DEBUGREGS,
	SUBSTATE_GUEST_DEBUG,
	SUBSTATE_COUNT
};

/*
 * Occasions of writing back.  RUNTIME: other vCPUs may be running and time goes on, so nothing that
 * the kernel itself moves is written.  RESET: a system reset, all vCPUs stopped.  FULL: after
 * creation or a load, all stopped.
 */
enum vcpu_level {
	VCPU_LEVEL_RUNTIME = 1,
	VCPU_LEVEL_RESET,
	VCPU_LEVEL_FULL,
};

/* Which ioctls carry the extended processor state: never mixed on one vCPU. */
enum vcpu_fpu_kind { VCPU_FPU_XSAVE2, VCPU_FPU_XSAVE, VCPU_FPU_LEGACY };

struct vcpu_latched_events {
	uint8_t nmi_pending;
	uint32_t sipi_vector;
};

/* "regs", as query-vcpu-sync shows it. */
const char *vcpu_substate_name(enum vcpu_substate sub);

/* The lowest level that writes it.  For MSRs each has its own (msr.h); this is the lowest of all. */
enum vcpu_level vcpu_substate_level(enum vcpu_substate sub);

struct vcpu_state {
	/* Constant after vcpu_state_init(). */
	struct kvm_handle *vcpu;
	const struct msr_table *msr_table;
	int index;                      /* of the vCPU, for messages */
	uint32_t offered;               /* bit per substate: what the host's KVM can get or set */
	enum vcpu_fpu_kind fpu_kind;

	uint32_t fetched;               /* bit per substate: the copy below is the vCPU's state */
	uint32_t dirty;                 /* bit per substate: the copy below is newer than the kernel's */
	bool io_committed;              /* no I/O exit waits for completion; else no SET is allowed */
	bool has_run;                   /* KVM_RUN has entered the guest at least once */
	bool loaded;                    /* it has run elsewhere: vcpu_state_after_load() */

	/* ioctls issued for each substate since the state was made. */
	uint64_t gets[SUBSTATE_COUNT], sets[SUBSTATE_COUNT];

	struct kvm_cpuid2 *cpuid;       /* allocated when first fetched or edited */
	uint32_t tsc_khz;
	uint64_t feature_control;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;        /* from KVM_GET_SREGS where there is no SREGS2 */
	struct kvm_nested_state *nested;/* caps.nested_size bytes, allocated when first fetched */
	struct kvm_xcrs xcrs;
	void *xsave;                    /* struct kvm_xsave of caps.xsave_size, or struct kvm_fpu */
	struct kvm_lapic_state *lapic;  /* allocated when first fetched */
	uint64_t tsc_offset;
	/* By position in msr_table; the three live and die with msr_value, made when first fetched. */
	uint64_t *msr_value;
	bool *msr_absent;               /* the kernel refuses to read it on this vCPU */
	bool *msr_dirty;
	struct kvm_vcpu_events events;
	struct vcpu_latched_events latched;
	struct kvm_mp_state mp_state;
	struct kvm_debugregs debugregs;
	struct kvm_guest_debug guest_debug;
};

/*
 * Prepares the state of a vCPU that has just been created.  Issues no ioctl.  `vcpu` and `table`
 * must outlive the state.  vcpu_state_destroy() frees what it holds.
 */
void vcpu_state_init(struct vcpu_state *s, struct kvm_handle *vcpu, const struct msr_table *table,
		     int index);
void vcpu_state_destroy(struct vcpu_state *s);

static inline bool vcpu_state_offers(const struct vcpu_state *s, enum vcpu_substate sub)
{
	return s->offered >> sub & 1;
}

/*
 * Fetches all substates of `mask` (bit per enum vcpu_substate; those the host does not offer are
 * passed over) in the order in which they must be read: MP_STATE first, because the kernel may
 * consume a pending INIT or SIPI when it is read, then events, then the rest.  For readers that
 * want several substates of one and the same instant.
 */
int vcpu_state_fetch(struct vcpu_state *s, uint32_t mask, struct error *err);

/* Readers. */
const struct kvm_cpuid2 *vcpu_state_cpuid(struct vcpu_state *s, struct error *err);
const uint32_t *vcpu_state_tsc_khz(struct vcpu_state *s, struct error *err);
const uint64_t *vcpu_state_feature_control(struct vcpu_state *s, struct error *err);
const struct kvm_regs *vcpu_state_regs(struct vcpu_state *s, struct error *err);
const struct kvm_sregs2 *vcpu_state_sregs(struct vcpu_state *s, struct error *err);
const struct kvm_nested_state *vcpu_state_nested(struct vcpu_state *s, struct error *err);
const struct kvm_xcrs *vcpu_state_xcrs(struct vcpu_state *s, struct error *err);
const struct kvm_lapic_state *vcpu_state_lapic(struct vcpu_state *s, struct error *err);
const uint64_t *vcpu_state_tsc_offset(struct vcpu_state *s, struct error *err);
const struct kvm_vcpu_events *vcpu_state_events(struct vcpu_state *s, struct error *err);
const struct vcpu_latched_events *vcpu_state_latched_events(struct vcpu_state *s, struct error *err);
const struct kvm_mp_state *vcpu_state_mp_state(struct vcpu_state *s, struct error *err);
const struct kvm_debugregs *vcpu_state_debugregs(struct vcpu_state *s, struct error *err);

/* What the debugger last asked for; the kernel has no GET, so this never fails. */
const struct kvm_guest_debug *vcpu_state_guest_debug(const struct vcpu_state *s);

/*
 * Extended processor state: the XSAVE area in the standard format (Intel SDM vol. 1, 13.4), at
 * least 4096 bytes, where the host has XSAVE; else NULL, and vcpu_state_fpu() has what there is.
 * vcpu_state_fpu() works on every host: x87 and SSE registers, taken from the XSAVE area where
 * that is how the host keeps them.
 */
const struct kvm_xsave *vcpu_state_xsave(struct vcpu_state *s, struct error *err);
int vcpu_state_fpu(struct vcpu_state *s, struct kvm_fpu *fpu, struct error *err);

/*
 * One MSR of the table by position (see msr_table_find()).  Returns -1 with ENOENT when the kernel
 * refused to read that MSR on this vCPU.
 */
int vcpu_state_msr(struct vcpu_state *s, unsigned int position, uint64_t *value, struct error *err);

/*
 * Writers.  The substate is fetched first, so that a caller changes what it means to change and
 * nothing else.  Nothing reaches the kernel before the next hook of a sufficient level; what is
 * dirty above the level of a hook stays dirty (and stays what readers see) until a higher one.
 * cpuid is refused with EBUSY once the vCPU has run: the kernel does not take it any more.
 */
struct kvm_regs *vcpu_state_regs_edit(struct vcpu_state *s, struct error *err);
struct kvm_sregs2 *vcpu_state_sregs_edit(struct vcpu_state *s, struct error *err);
struct kvm_nested_state *vcpu_state_nested_edit(struct vcpu_state *s, struct error *err);
struct kvm_xcrs *vcpu_state_xcrs_edit(struct vcpu_state *s, struct error *err);
struct kvm_xsave *vcpu_state_xsave_edit(struct vcpu_state *s, struct error *err);
struct kvm_fpu *vcpu_state_fpu_edit(struct vcpu_state *s, struct error *err);  /* legacy hosts only */
struct kvm_lapic_state *vcpu_state_lapic_edit(struct vcpu_state *s, struct error *err);
uint64_t *vcpu_state_tsc_offset_edit(struct vcpu_state *s, struct error *err);
struct kvm_vcpu_events *vcpu_state_events_edit(struct vcpu_state *s, struct error *err);
struct vcpu_latched_events *vcpu_state_latched_events_edit(struct vcpu_state *s, struct error *err);
struct kvm_mp_state *vcpu_state_mp_state_edit(struct vcpu_state *s, struct error *err);
struct kvm_debugregs *vcpu_state_debugregs_edit(struct vcpu_state *s, struct error *err);
struct kvm_guest_debug *vcpu_state_guest_debug_edit(struct vcpu_state *s, struct error *err);
uint32_t *vcpu_state_tsc_khz_edit(struct vcpu_state *s, struct error *err);
uint64_t *vcpu_state_feature_control_edit(struct vcpu_state *s, struct error *err);
/* Marks that one MSR dirty and no other. */
int vcpu_state_msr_edit(struct vcpu_state *s, unsigned int position, uint64_t value,
			struct error *err);
/* Takes back the edit of one MSR, which a hook could not write: it is what the kernel has. */
void vcpu_state_msr_revert(struct vcpu_state *s, unsigned int position);
/* Takes a copy of the table. */
int vcpu_state_cpuid_edit(struct vcpu_state *s, const struct kvm_cpuid2 *table, struct error *err);

/*
 * For a load, which replaces substates as a whole: the copies of those of `mask` become edited ones
 * without having been read, all zero, and the caller fills them in, above, before the next hook.
 * (MSRs: none is edited yet, and all count as present; vcpu_state_msr_edit() goes on from there.)
 * Those that the host does not offer are passed over.  Not for cpuid, which has a writer for just
 * that, and not for guest_debug.
 */
int vcpu_state_replace(struct vcpu_state *s, uint32_t mask, struct error *err);

/*
 * The hooks: the only writers to the kernel.  Each writes, in the order of the table, what is dirty
 * and belongs to its level or a lower one.  At FULL, regs go before sregs, each written once, so
 * that paging is still off when KVM_SET_REGS comes: that keeps the stale-CR3 bug of Linux 2.6.38 to
 * 2.6.39 quiet.  (The exceptions are for nested guests: a state outside of VMX and SVM operation is
 * written in front of regs and sregs, since leaving an inner guest overwrites those; and of a vCPU
 * restored inside one KVM's VMX code takes RIP, RSP and RFLAGS from its control block in
 * KVM_SET_NESTED_STATE, so there regs follow.)  A hook that fails says which request and why; what
 * it had not written stays dirty.
 */
int vcpu_state_after_init(struct vcpu_state *s, struct error *err);     /* FULL */
int vcpu_state_after_load(struct vcpu_state *s, struct error *err);     /* FULL */
int vcpu_state_after_reset(struct vcpu_state *s, struct error *err);    /* RESET */
/* RUNTIME; on success what was fetched is forgotten, for the vCPU may run from here on. */
int vcpu_state_before_run(struct vcpu_state *s, struct error *err);

/*
 * The vCPU has parked: I/O is committed, and the run page holds regs, sregs and events as asked by
 * caps.sync_regs (kvm_valid_regs of the last KVM_RUN; `sync` is 0 when it handed over nothing).
 * They are taken over at no cost, except where they would not be the whole truth: sregs of a guest
 * in PAE paging (the run page has no PDPTRs).  `has_run` says whether KVM_RUN may have entered the
 * guest by now.
 */
void vcpu_state_parked(struct vcpu_state *s, const struct kvm_sync_regs *page, uint64_t sync,
		       bool has_run);

/*
 * The vCPU has been inside KVM_RUN for a moment, without the guest being entered: all that was
 * fetched is forgotten, what is dirty stays.
 */
void vcpu_state_settled(struct vcpu_state *s);

/*
 * Forgets what the kernel moves by itself even while the vCPU is parked: the LAPIC (its timer, and
 * interrupts from devices) and MSRs (time), unless dirty.  To be called when somebody sets out to
 * look anew.
 */
void vcpu_state_refresh(struct vcpu_state *s);

/* An NMI was sent to the parked vCPU through KVM: what is known of its events is old. */
void vcpu_state_events_moved(struct vcpu_state *s);

/* CR0.PG, CR4.PAE and not EFER.LMA: the PDPTRs are state of their own. */
bool vcpu_sregs_use_pdptrs(const struct kvm_sregs2 *sregs);

#endif
