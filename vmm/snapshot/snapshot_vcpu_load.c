/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/nested.h"

static const struct {
	const char *name;
	size_t len;             /* 0: varies */
	bool needed;
	int substate;           /* that the host must offer, -1: for none */
} items[SNAPSHOT_ITEMS] = {
	[SNAPSHOT_CPUID] = { "cpuid", 0, true, -1 },
	[SNAPSHOT_TSC_KHZ] = { "tsc-khz", 4, false, -1 },
	[SNAPSHOT_FEATURE_CONTROL] = { "feature-control", 8, false, -1 },
	[SNAPSHOT_REGS] = { "regs", sizeof(struct kvm_regs), true, -1 },
	[SNAPSHOT_SREGS] = { "sregs", sizeof(struct kvm_sregs2), true, -1 },
	[SNAPSHOT_NESTED] = { "nested", 0, false, -1 },
	[SNAPSHOT_XCRS] = { "xcrs", sizeof(struct kvm_xcrs), false, SUBSTATE_XCRS },
	[SNAPSHOT_XSAVE] = { "xsave", 0, false, -1 },
	[SNAPSHOT_FPU] = { "fpu", sizeof(struct kvm_fpu), false, -1 },
	[SNAPSHOT_LAPIC] = { "lapic", sizeof(struct kvm_lapic_state), true, -1 },
	[SNAPSHOT_TSC] = { "tsc", 8, true, -1 },
	[SNAPSHOT_MSRS] = { "msrs", 0, true, -1 },
	[SNAPSHOT_EVENTS] = { "events", sizeof(struct kvm_vcpu_events), false, SUBSTATE_EVENTS },
	[SNAPSHOT_MP_STATE] = { "mp-state", 4, false, SUBSTATE_MP_STATE },
	[SNAPSHOT_DEBUGREGS] = { "debugregs", sizeof(struct kvm_debugregs), false,
				 SUBSTATE_DEBUGREGS },
};

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* ---- Items ---- */

static int parse_item(struct bytes_in *in, struct snapshot_vcpu *saved, struct error *err)
{
	uint16_t tag = bytes_get_u16(in), flags = bytes_get_u16(in);
	uint32_t len = bytes_get_u32(in);
	const uint8_t *data = in->failed ? NULL : bytes_take(in, len);

	if (!data)
		return error_set(err, EINVAL, "an item ends behind the end of the section");
	if (flags & ~SNAPSHOT_ITEM_OPTIONAL)
		return error_set(err, ENOTSUP,
				 "item %u has flags that this vmond does not know: 0x%x", tag,
				 flags);
	if (tag == 0 || tag >= SNAPSHOT_ITEMS) {
		if (flags & SNAPSHOT_ITEM_OPTIONAL)
			return 0;
		return error_set(err, ENOTSUP, "item %u is of a kind that this vmond does not "
				 "know; a newer one is needed", tag);
	}
	if (saved->item[tag])
		return error_set(err, EINVAL, "item \"%s\" is there twice", items[tag].name);
	if (items[tag].len && len != items[tag].len)
		return error_set(err, EINVAL, "item \"%s\" has %u bytes instead of %zu",
				 items[tag].name, len, items[tag].len);
	saved->item[tag] = data;
	saved->len[tag] = len;
	return 0;
}

static int parse_items(struct bytes_in *in, struct snapshot_vcpu *saved, struct error *err)
{
	while (bytes_left(in))
		if (parse_item(in, saved, err) < 0)
			return -1;
	for (int tag = 1; tag < SNAPSHOT_ITEMS; tag++)
		if (items[tag].needed && !saved->item[tag])
			return error_set(err, EINVAL, "item \"%s\" is not there", items[tag].name);
	return 0;
}

static int parse_cpuid(struct snapshot_vcpu *saved, struct error *err)
{
	const size_t entry = SNAPSHOT_CPUID_WORDS * sizeof(uint32_t);
	size_t nr = saved->len[SNAPSHOT_CPUID] / entry;
	const uint8_t *p = saved->item[SNAPSHOT_CPUID];

	if (saved->len[SNAPSHOT_CPUID] % entry || nr > SNAPSHOT_CPUID_MAX)
		return error_set(err, EINVAL,
				 "item \"cpuid\" has %zu bytes, which are not 0 to %d entries",
				 saved->len[SNAPSHOT_CPUID], SNAPSHOT_CPUID_MAX);
	saved->cpuid = calloc(1, sizeof(*saved->cpuid) + nr * sizeof(saved->cpuid->entries[0]));
	if (!saved->cpuid)
		return error_errno(err, ENOMEM, "the CPUID table");
	saved->cpuid->nent = (uint32_t)nr;
	for (size_t i = 0; i < nr; i++, p += entry)
		saved->cpuid->entries[i] = (struct kvm_cpuid_entry2) {
			.function = le32(p), .index = le32(p + 4), .flags = le32(p + 8),
			.eax = le32(p + 12), .ebx = le32(p + 16), .ecx = le32(p + 20),
			.edx = le32(p + 24),
		};
	return 0;
}

/* ---- What this host can not take ---- */

static int check_xsave(const struct vcpu_state *s, const struct snapshot_vcpu *saved,
		       struct error *err)
{
	size_t size = s->vcpu->kvm->caps.xsave_size, len = saved->len[SNAPSHOT_XSAVE];
	const size_t legacy_and_header = 576;

	if (!saved->item[SNAPSHOT_XSAVE] == !saved->item[SNAPSHOT_FPU])
		return error_set(err, EINVAL,
				 "there must be either an item \"xsave\" or one \"fpu\"");
	if (s->fpu_kind == VCPU_FPU_LEGACY)
		return saved->item[SNAPSHOT_FPU] ? 0 :
		       error_set(err, ENOTSUP, "the guest has XSAVE, and this host's KVM has not");
	if (saved->item[SNAPSHOT_FPU])
		return error_set(err, ENOTSUP, "the guest's FPU state is of a host without XSAVE, "
				 "and this host has it");
	if (len < legacy_and_header)
		return error_set(err, EINVAL, "item \"xsave\" has %zu bytes; an XSAVE area has at "
				 "least %zu", len, legacy_and_header);
	if (!size)
		size = sizeof(struct kvm_xsave);
	for (size_t i = size; i < len; i++)
		if (saved->item[SNAPSHOT_XSAVE][i])
			return error_set(err, ENOTSUP, "the guest uses %zu bytes of extended "
					 "processor state, and this host's KVM keeps %zu", len,
					 size);
	return 0;
}

static int check_nested(const struct vcpu_state *s, const struct snapshot_vcpu *saved,
			struct error *err)
{
	size_t len = saved->len[SNAPSHOT_NESTED], size = s->vcpu->kvm->caps.nested_size;
	struct kvm_nested_state nested;
	struct kvm_sregs2 sregs;

	if (!saved->item[SNAPSHOT_NESTED])
		return 0;
	if (len < sizeof(nested))
		return error_set(err, EINVAL, "item \"nested\" has %zu bytes; its header has %zu",
				 len,
				 sizeof(nested));
	memcpy(&nested, saved->item[SNAPSHOT_NESTED], sizeof(nested));
	memcpy(&sregs, saved->item[SNAPSHOT_SREGS], sizeof(sregs));
	if (nested_check(&nested, len, sregs.efer, err) < 0)
		return error_prefix(err, "item \"nested\"");
	if (!vcpu_state_offers(s, SUBSTATE_NESTED)) {
		if (nested_is_off(&nested))
			return 0;
		return error_set(err, ENOTSUP, "the guest has guests of its own, and this host's "
				 "KVM does not allow that; load kvm_intel or kvm_amd with nested=1");
	}
	if (len > size)
		return error_set(err, ENOTSUP,
				 "item \"nested\" has %zu bytes; this host's KVM takes %zu",
				 len, size);
	return 0;
}

/* One that is off has nothing that would be missed by a processor of the other kind. */
int snapshot_check_nested_format(struct vcpu *vcpu, bool same_host, struct snapshot_vcpu *saved,
				 struct error *err)
{
	const struct kvm_nested_state *host;
	struct kvm_nested_state nested;

	if (!saved->item[SNAPSHOT_NESTED] || !vcpu_state_offers(&vcpu->state, SUBSTATE_NESTED))
		return 0;
	memcpy(&nested, saved->item[SNAPSHOT_NESTED], sizeof(nested));
	if (same_host && nested_is_off(&nested))
		return 0;
	host = vcpu_state_nested(&vcpu->state, err);
	if (!host)
		return -1;
	if (host->format == nested.format)
		return 0;
	if (!nested_is_off(&nested))
		return error_set(err, ENOTSUP, "the guest has guests of its own by %s, and this "
				 "host's processor has %s", nested_format_name(nested.format),
				 nested_format_name(host->format));
	saved->item[SNAPSHOT_NESTED] = NULL;
	return 0;
}

/* Two KVM features that are enabled where they are there, and that may be in use. */
static int check_events(const struct vcpu_state *s, const struct snapshot_vcpu *saved,
			struct error *err)
{
	const struct kvm_caps *caps = &s->vcpu->kvm->caps;
	struct kvm_vcpu_events events;

	if (!saved->item[SNAPSHOT_EVENTS])
		return 0;
	memcpy(&events, saved->item[SNAPSHOT_EVENTS], sizeof(events));
	if ((events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) && events.exception.pending &&
	    !caps->exception_payload)
		return error_set(err, ENOTSUP, "an exception is pending, and this host's KVM can "
				 "not take one (KVM_CAP_EXCEPTION_PAYLOAD)");
	if ((events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && events.triple_fault.pending &&
	    !caps->triple_fault_event)
		return error_set(err, ENOTSUP, "a triple fault is pending, and this host's KVM can "
				 "not take one (KVM_CAP_X86_TRIPLE_FAULT_EVENT)");
	return 0;
}

/* Without SREGS2 the kernel takes PDPTRs from guest memory; where that has the same, it will do. */
static int check_sregs(const struct vcpu *vcpu, const struct snapshot_vcpu *saved,
		       struct error *err)
{
	struct kvm_sregs2 sregs;
	uint64_t entries[4];

	memcpy(&sregs, saved->item[SNAPSHOT_SREGS], sizeof(sregs));
	if (sregs.flags & ~(uint64_t)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return error_set(err, ENOTSUP, "item \"sregs\" has flags that this vmond does not "
				 "know: 0x%llx", (unsigned long long)sregs.flags);
	if (vcpu->vm->kvm->caps.sregs2 || !sregs.flags || !vcpu_sregs_use_pdptrs(&sregs))
		return 0;
	if (memory_read(&vcpu->vm->memory, sregs.cr3 & 0xffffffe0, entries, sizeof(entries)) &&
	    !memcmp(entries, sregs.pdptrs, sizeof(entries)))
		return 0;
	return error_set(err, ENOTSUP, "the guest's PDPTRs are not those in its memory, and this "
			 "host's KVM can not set them (KVM_CAP_SREGS2)");
}

static int check_feature_control(const struct vcpu_state *s, const struct snapshot_vcpu *saved,
				 bool force, struct error *err)
{
	const uint8_t *item = saved->item[SNAPSHOT_FEATURE_CONTROL];

	if (!item || !le64(item) || vcpu_state_offers(s, SUBSTATE_FEATURE_CONTROL))
		return 0;
	if (!force)
		return error_set(err, ENOTSUP, "the guest has set MSR 0x%x (IA32_FEATURE_CONTROL) "
				 "to 0x%llx, and this host's KVM does not have it",
				 MSR_IA32_FEATURE_CONTROL,
				 (unsigned long long)le64(item));
	log_warning("vCPU %d: MSR 0x%x is left out", s->index, MSR_IA32_FEATURE_CONTROL);
	return 0;
}

static int check_msrs(const struct vcpu_state *s, const struct snapshot_vcpu *saved, bool force,
		      struct error *err)
{
	const uint8_t *p = saved->item[SNAPSHOT_MSRS], *end = p + saved->len[SNAPSHOT_MSRS];

	if (saved->len[SNAPSHOT_MSRS] % SNAPSHOT_MSR_SIZE)
		return error_set(err, EINVAL, "item \"msrs\" has %zu bytes, no multiple of %d",
				 saved->len[SNAPSHOT_MSRS], SNAPSHOT_MSR_SIZE);
	for (; p < end; p += SNAPSHOT_MSR_SIZE) {
		uint32_t index = le32(p);
		const char *name = msr_name(index);

		/* One at 0 that this host does not have is not missed. */
		if (!le64(p + 4) || msr_table_find(s->msr_table, index) >= 0)
			continue;
		if (!force)
			return error_set(err, ENOTSUP, "the guest's MSR 0x%x%s%s%s is 0x%llx, and "
					 "this host's KVM does not have it", index,
					 name ? " (" : "",
					 name ? name : "", name ? ")" : "",
					 (unsigned long long)le64(p + 4));
		log_warning("vCPU %d: MSR 0x%x is left out, which this host's KVM does not have",
			    s->index, index);
	}
	return 0;
}

static int check_offered(const struct vcpu_state *s, const struct snapshot_vcpu *saved,
			 struct error *err)
{
	for (int tag = 1; tag < SNAPSHOT_ITEMS; tag++)
		if (saved->item[tag] && items[tag].substate >= 0 &&
		    !vcpu_state_offers(s, (enum vcpu_substate)items[tag].substate))
			return error_set(err, ENOTSUP,
					 "this host's KVM can not set \"%s\" of a vCPU",
					 items[tag].name);
	return 0;
}

int snapshot_parse_vcpu(struct vcpu *vcpu, struct bytes_in *in, bool force,
			struct snapshot_vcpu *saved, struct error *err)
{
	const struct vcpu_state *s = &vcpu->state;

	memset(saved, 0, sizeof(*saved));
	if (parse_items(in, saved, err) < 0 || parse_cpuid(saved, err) < 0 ||
	    check_offered(s, saved, err) < 0 || check_sregs(vcpu, saved, err) < 0 ||
	    check_xsave(s, saved, err) < 0 || check_nested(s, saved, err) < 0 ||
	    check_events(s, saved, err) < 0 || check_feature_control(s, saved, force, err) < 0 ||
	    check_msrs(s, saved, force, err) < 0)
		return -1;
	if (saved->item[SNAPSHOT_TSC_KHZ])
		saved->tsc_khz = le32(saved->item[SNAPSHOT_TSC_KHZ]);
	return 0;
}

void snapshot_free_vcpu(struct snapshot_vcpu *saved)
{
	free(saved->cpuid);
	saved->cpuid = NULL;
}

uint64_t snapshot_wall_clock(const struct snapshot_vcpu *saved)
{
	const uint8_t *p = saved->item[SNAPSHOT_MSRS], *end = p + saved->len[SNAPSHOT_MSRS];

	for (; p < end; p += SNAPSHOT_MSR_SIZE)
		if (le32(p) == MSR_KVM_WALL_CLOCK_NEW || le32(p) == MSR_KVM_WALL_CLOCK)
			return le64(p + 4);
	return 0;
}

/* ---- Edits ---- */

int snapshot_edit_processor(struct vcpu *vcpu, const struct snapshot_vcpu *saved,
			    struct error *err)
{
	struct vcpu_state *s = &vcpu->state;

	if (vcpu_state_cpuid_edit(s, saved->cpuid, err) < 0)
		return -1;
	if (!saved->tsc_khz)
		return 0;
	if (vcpu_state_replace(s, 1U << SUBSTATE_TSC_KHZ, err) < 0)
		return -1;
	s->tsc_khz = saved->tsc_khz;
	return 0;
}

/* What the snapshot has, and this host can set. */
static uint32_t substates_of(const struct vcpu_state *s, const struct snapshot_vcpu *saved)
{
	uint32_t mask = 1U << SUBSTATE_REGS | 1U << SUBSTATE_SREGS | 1U << SUBSTATE_XSAVE |
			1U << SUBSTATE_LAPIC | 1U << SUBSTATE_TSC_OFFSET;

	if (saved->item[SNAPSHOT_FEATURE_CONTROL])
		mask |= 1U << SUBSTATE_FEATURE_CONTROL;
	if (saved->item[SNAPSHOT_NESTED])
		mask |= 1U << SUBSTATE_NESTED;
	if (saved->item[SNAPSHOT_XCRS])
		mask |= 1U << SUBSTATE_XCRS;
	if (saved->item[SNAPSHOT_EVENTS])
		mask |= 1U << SUBSTATE_EVENTS | 1U << SUBSTATE_LATCHED_EVENTS;
	if (saved->item[SNAPSHOT_MP_STATE])
		mask |= 1U << SUBSTATE_MP_STATE;
	if (saved->item[SNAPSHOT_DEBUGREGS])
		mask |= 1U << SUBSTATE_DEBUGREGS;
	return mask & s->offered;
}

static void edit_events(struct vcpu_state *s, const uint8_t *item)
{
	const struct kvm_caps *caps = &s->vcpu->kvm->caps;

	memcpy(&s->events, item, sizeof(s->events));
	if (!caps->exception_payload)
		s->events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_PAYLOAD;
	if (!caps->triple_fault_event)
		s->events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	s->latched.nmi_pending = s->events.nmi.pending;
	s->latched.sipi_vector = s->events.sipi_vector;
}

static int edit_msrs(struct vcpu_state *s, const struct snapshot_vcpu *saved, struct error *err)
{
	const uint8_t *p = saved->item[SNAPSHOT_MSRS], *end = p + saved->len[SNAPSHOT_MSRS];
	uint64_t tsc = le64(saved->item[SNAPSHOT_TSC]);
	struct error why;
	int position;

	for (; p < end; p += SNAPSHOT_MSR_SIZE) {
		uint32_t index = le32(p);

		position = msr_table_find(s->msr_table, index);
		if (position < 0 || index == MSR_IA32_TSC ||
		    vcpu_state_msr_edit(s, (unsigned int)position, le64(p + 4), &why) == 0)
			continue;
		/* Known to be absent only where they were read: with `force`. */
		if (why.code != ENOENT) {
			if (err)
				*err = why;
			return -1;
		}
		if (le64(p + 4))
			log_warning("vCPU %d: MSR 0x%x is left out, which it does not have here",
				    s->index, index);
	}
	position = msr_table_find(s->msr_table, MSR_IA32_TSC);
	if (vcpu_state_offers(s, SUBSTATE_TSC_OFFSET))
		return 0;
	return vcpu_state_msr_edit(s, (unsigned int)position, tsc, err);
}

int snapshot_edit_vcpu(struct vcpu *vcpu, const struct snapshot_vcpu *saved, uint64_t tsc_base,
		       bool force, struct error *err)
{
	struct vcpu_state *s = &vcpu->state;
	size_t xsave_size = s->vcpu->kvm->caps.xsave_size;
	uint32_t mask = substates_of(s, saved);

	/* With `force` the MSRs are read, so as to know which there are. */
	if (!force)
		mask |= 1U << SUBSTATE_MSRS;
	if (vcpu_state_replace(s, mask, err) < 0)
		return -1;
#define HAS(SUB) (mask >> SUBSTATE_##SUB & 1)
	memcpy(&s->regs, saved->item[SNAPSHOT_REGS], sizeof(s->regs));
	memcpy(&s->sregs, saved->item[SNAPSHOT_SREGS], sizeof(s->sregs));
	memcpy(s->lapic, saved->item[SNAPSHOT_LAPIC], sizeof(*s->lapic));
	if (s->fpu_kind == VCPU_FPU_LEGACY) {
		memcpy(s->xsave, saved->item[SNAPSHOT_FPU], sizeof(struct kvm_fpu));
	} else {
		if (!xsave_size)
			xsave_size = sizeof(struct kvm_xsave);
		memcpy(s->xsave, saved->item[SNAPSHOT_XSAVE],
		       saved->len[SNAPSHOT_XSAVE] < xsave_size ? saved->len[SNAPSHOT_XSAVE] :
								 xsave_size);
	}
	if (HAS(FEATURE_CONTROL))
		s->feature_control = le64(saved->item[SNAPSHOT_FEATURE_CONTROL]);
	if (HAS(NESTED))
		memcpy(s->nested, saved->item[SNAPSHOT_NESTED], saved->len[SNAPSHOT_NESTED]);
	if (HAS(XCRS))
		memcpy(&s->xcrs, saved->item[SNAPSHOT_XCRS], sizeof(s->xcrs));
	if (HAS(TSC_OFFSET))
		s->tsc_offset = le64(saved->item[SNAPSHOT_TSC]) - tsc_base;
	if (HAS(EVENTS))
		edit_events(s, saved->item[SNAPSHOT_EVENTS]);
	if (HAS(MP_STATE))
		s->mp_state.mp_state = le32(saved->item[SNAPSHOT_MP_STATE]);
	if (HAS(DEBUGREGS))
		memcpy(&s->debugregs, saved->item[SNAPSHOT_DEBUGREGS], sizeof(s->debugregs));
#undef HAS
	return edit_msrs(s, saved, err);
}
