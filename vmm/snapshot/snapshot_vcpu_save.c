/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/lapic.h"

static void begin_item(struct bytes_out *out, enum snapshot_item tag, size_t len)
{
	bytes_put_u16(out, tag);
	bytes_put_u16(out, 0);
	bytes_put_u32(out, (uint32_t)len);
}

static void put_item(struct bytes_out *out, enum snapshot_item tag, const void *data, size_t len)
{
	begin_item(out, tag, len);
	bytes_put(out, data, len);
}

static int save_cpuid(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	const struct kvm_cpuid2 *cpuid = vcpu_state_cpuid(s, err);

	if (!cpuid)
		return -1;
	begin_item(out, SNAPSHOT_CPUID, cpuid->nent * SNAPSHOT_CPUID_WORDS * sizeof(uint32_t));
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		bytes_put_u32(out, e->function);
		bytes_put_u32(out, e->index);
		bytes_put_u32(out, e->flags);
		bytes_put_u32(out, e->eax);
		bytes_put_u32(out, e->ebx);
		bytes_put_u32(out, e->ecx);
		bytes_put_u32(out, e->edx);
	}
	return 0;
}

/* One that this host's vCPUs turn out not to have is none at all. */
static int save_feature_control(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	const uint64_t *value = vcpu_state_feature_control(s, err);

	if (value) {
		begin_item(out, SNAPSHOT_FEATURE_CONTROL, sizeof(*value));
		bytes_put_u64(out, *value);
		return 0;
	}
	return vcpu_state_offers(s, SUBSTATE_FEATURE_CONTROL) ? -1 : 0;
}

static int save_sregs(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	const struct kvm_sregs2 *sregs = vcpu_state_sregs(s, err);

	if (!sregs)
		return -1;
	put_item(out, SNAPSHOT_SREGS, sregs, sizeof(*sregs));
	return 0;
}

static int save_xsave(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	size_t size = s->vcpu->kvm->caps.xsave_size;
	const struct kvm_xsave *xsave;
	struct kvm_fpu fpu;

	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		if (vcpu_state_fpu(s, &fpu, err) < 0)
			return -1;
		put_item(out, SNAPSHOT_FPU, &fpu, sizeof(fpu));
		return 0;
	}
	xsave = vcpu_state_xsave(s, err);
	if (!xsave)
		return -1;
	put_item(out, SNAPSHOT_XSAVE, xsave, size ? size : sizeof(*xsave));
	return 0;
}

static int save_lapic(struct vcpu *vcpu, struct bytes_out *out, struct error *err)
{
	const struct kvm_lapic_state *now = vcpu_state_lapic(&vcpu->state, err);
	const struct vcpu_frozen *frozen = &vcpu->frozen;
	struct kvm_lapic_state lapic;

	if (!now)
		return -1;
	lapic = *now;
	lapic_set_register(&lapic, LAPIC_TMICT, frozen->timer_initial);
	lapic_set_register(&lapic, LAPIC_TMCCT, frozen->timer_count);
	/* Else it would depend on when the kernel last cared. */
	lapic_set_register(&lapic, LAPIC_PPR, lapic_priority(&lapic));
	put_item(out, SNAPSHOT_LAPIC, &lapic, sizeof(lapic));
	return 0;
}

/*
 * The TSC has an item to itself.  And some can be read as MSRs but are no state of a guest of ours:
 * Hyper-V's reference counter is the clock in other units, and its run time that of our thread.
 */
static bool is_saved(uint32_t index)
{
	return index != MSR_IA32_TSC && index != 0x40000020 && index != 0x40000010;
}

static int save_msrs(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	const struct msr_table *table = s->msr_table;
	uint64_t value;
	size_t nr = 0;

	if (vcpu_state_fetch(s, 1U << SUBSTATE_MSRS, err) < 0)
		return -1;
	/* Those that fail now are those that this vCPU does not have. */
	for (unsigned int i = 0; i < table->count; i++)
		if (is_saved(table->msr[i].index) && vcpu_state_msr(s, i, &value, NULL) == 0)
			nr++;
	begin_item(out, SNAPSHOT_MSRS, nr * SNAPSHOT_MSR_SIZE);
	for (unsigned int i = 0; i < table->count; i++) {
		if (!is_saved(table->msr[i].index) || vcpu_state_msr(s, i, &value, NULL) < 0)
			continue;
		bytes_put_u32(out, table->msr[i].index);
		bytes_put_u64(out, value);
	}
	return 0;
}

/* NMI pending and the SIPI's vector are a substate to themselves, and part of this structure. */
static int save_events(struct vcpu_state *s, struct bytes_out *out, struct error *err)
{
	const struct kvm_vcpu_events *now = vcpu_state_events(s, err);
	const struct vcpu_latched_events *latched = now ? vcpu_state_latched_events(s, err) : NULL;
	struct kvm_vcpu_events events;

	if (!latched)
		return -1;
	events = *now;
	events.nmi.pending = latched->nmi_pending;
	events.sipi_vector = latched->sipi_vector;
	put_item(out, SNAPSHOT_EVENTS, &events, sizeof(events));
	return 0;
}

/* A substate whose copy is the kernel's structure. */
#define SAVE_PLAIN(lower, TAG, size)                                                               \
	static int save_##lower(struct vcpu_state *s, struct bytes_out *out, struct error *err)    \
	{                                                                                          \
		__auto_type now = vcpu_state_##lower(s, err);                                      \
                                                                                                   \
		if (!now)                                                                          \
			return -1;                                                                 \
		put_item(out, TAG, now, size);                                                     \
		return 0;                                                                          \
	}

SAVE_PLAIN(tsc_khz, SNAPSHOT_TSC_KHZ, sizeof(*now))
SAVE_PLAIN(regs, SNAPSHOT_REGS, sizeof(*now))
SAVE_PLAIN(nested, SNAPSHOT_NESTED, now->size)
SAVE_PLAIN(xcrs, SNAPSHOT_XCRS, sizeof(*now))
SAVE_PLAIN(mp_state, SNAPSHOT_MP_STATE, sizeof(*now))
SAVE_PLAIN(debugregs, SNAPSHOT_DEBUGREGS, sizeof(*now))

/* In the order of the tags; what the host does not offer has no item. */
int snapshot_save_vcpu(struct vcpu *vcpu, struct bytes_out *out, struct error *err)
{
	struct vcpu_state *s = &vcpu->state;

#define OFFERED(SUB, call) (!vcpu_state_offers(s, SUBSTATE_##SUB) || (call) == 0)
	if (vcpu_state_fetch(s, ~0U, err) < 0 || save_cpuid(s, out, err) < 0 ||
	    !OFFERED(TSC_KHZ, save_tsc_khz(s, out, err)) ||
	    !OFFERED(FEATURE_CONTROL, save_feature_control(s, out, err)) ||
	    save_regs(s, out, err) < 0 || save_sregs(s, out, err) < 0 ||
	    !OFFERED(NESTED, save_nested(s, out, err)) ||
	    !OFFERED(XCRS, save_xcrs(s, out, err)) || save_xsave(s, out, err) < 0 ||
	    save_lapic(vcpu, out, err) < 0)
		return -1;
	begin_item(out, SNAPSHOT_TSC, sizeof(vcpu->frozen.tsc));
	bytes_put_u64(out, vcpu->frozen.tsc);
	if (save_msrs(s, out, err) < 0 || !OFFERED(EVENTS, save_events(s, out, err)) ||
	    !OFFERED(MP_STATE, save_mp_state(s, out, err)) ||
	    !OFFERED(DEBUGREGS, save_debugregs(s, out, err)))
		return -1;
	return 0;
#undef OFFERED
}
