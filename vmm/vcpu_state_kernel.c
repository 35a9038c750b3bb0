/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_state_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"

/* Far more than KVM's 80 (KVM_MAX_CPUID_ENTRIES was that, and is 256 now). */
#define CPUID_ENTRIES_MAX 4096

/* KVM_GET_MSRS and KVM_SET_MSRS take fewer than MAX_IO_MSRS, 256, at once (msr_io() in x86.c). */
#define MSRS_MAX 255

static int get(struct vcpu_state *s, enum vcpu_substate sub, enum kvm_request request, void *arg,
	       struct error *err)
{
	int rc;

	s->gets[sub]++;
	rc = kvm_ioctl(s->vcpu, request, arg);
	if (rc < 0)
		return error_errno(err, errno, "vCPU %d: %s", s->index, kvm_request_name(request));
	return rc;
}

static int set(struct vcpu_state *s, enum vcpu_substate sub, enum kvm_request request, void *arg,
	       struct error *err)
{
	int rc;

	s->sets[sub]++;
	rc = kvm_ioctl(s->vcpu, request, arg);
	if (rc < 0)
		return error_errno(err, errno, "vCPU %d: %s", s->index, kvm_request_name(request));
	return rc;
}

static int no_memory(const struct vcpu_state *s, enum vcpu_substate sub, struct error *err)
{
	return error_errno(err, ENOMEM, "vCPU %d: %s", s->index, vcpu_substate_name(sub));
}

/* For the substates whose copy is just what the kernel takes. */
#define PLAIN_SUBSTATE(lower, UPPER)                                                               \
	static int get_##lower(struct vcpu_state *s, struct error *err)                            \
	{                                                                                          \
		return get(s, SUBSTATE_##UPPER, KVM_REQ_GET_##UPPER, &s->lower, err);              \
	}                                                                                          \
	static int set_##lower(struct vcpu_state *s, enum vcpu_level level, bool *left,            \
			       struct error *err)                                                  \
	{                                                                                          \
		(void)level;                                                                       \
		(void)left;                                                                        \
		return set(s, SUBSTATE_##UPPER, KVM_REQ_SET_##UPPER, &s->lower, err);              \
	}

PLAIN_SUBSTATE(regs, REGS)
PLAIN_SUBSTATE(xcrs, XCRS)
PLAIN_SUBSTATE(mp_state, MP_STATE)
PLAIN_SUBSTATE(debugregs, DEBUGREGS)

static int get_cpuid(struct vcpu_state *s, struct error *err)
{
	/* The kernel answers E2BIG with the number there are (kvm_vcpu_ioctl_get_cpuid2). */
	for (uint32_t room = 64; room <= CPUID_ENTRIES_MAX; room *= 2) {
		struct kvm_cpuid2 *table;

		table = calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));
		if (!table)
			return no_memory(s, SUBSTATE_CPUID, err);
		table->nent = room;
		if (get(s, SUBSTATE_CPUID, KVM_REQ_GET_CPUID2, table, err) >= 0) {
			free(s->cpuid);
			s->cpuid = table;
			return 0;
		}
		int code = errno;
		free(table);
		if (code != E2BIG)
			return -1;
	}
	return error_set(err, E2BIG, "vCPU %d: KVM_GET_CPUID2 has more than %d entries", s->index,
			 CPUID_ENTRIES_MAX);
}

static int set_cpuid(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_CPUID, KVM_REQ_SET_CPUID2, s->cpuid, err);
}

static int get_tsc_khz(struct vcpu_state *s, struct error *err)
{
	int khz = get(s, SUBSTATE_TSC_KHZ, KVM_REQ_GET_TSC_KHZ, NULL, err);

	if (khz < 0)
		return -1;
	s->tsc_khz = (uint32_t)khz;
	return 0;
}

static int set_tsc_khz(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_TSC_KHZ, KVM_REQ_SET_TSC_KHZ, kvm_int_arg(s->tsc_khz), err);
}

/* struct kvm_msrs ends in a flexible array: this gives it room for one entry. */
union one_msr {
	struct kvm_msrs msrs;
	char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

static void one_msr_init(union one_msr *one, uint32_t index, uint64_t data)
{
	memset(one, 0, sizeof(*one));
	one->msrs.nmsrs = 1;
	one->msrs.entries[0].index = index;
	one->msrs.entries[0].data = data;
}

static int get_feature_control(struct vcpu_state *s, struct error *err)
{
	union one_msr one;
	int rc;

	one_msr_init(&one, MSR_IA32_FEATURE_CONTROL, 0);
	rc = get(s, SUBSTATE_FEATURE_CONTROL, KVM_REQ_GET_MSRS, &one, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		/* Listed for the host, but not for a vCPU without VMX: there is no such state then. */
		s->offered &= ~substate_bit(SUBSTATE_FEATURE_CONTROL);
		return error_set(err, ENOTSUP, "vCPU %d has no IA32_FEATURE_CONTROL", s->index);
	}
	s->feature_control = one.msrs.entries[0].data;
	return 0;
}

static int set_feature_control(struct vcpu_state *s, enum vcpu_level level, bool *left,
			       struct error *err)
{
	union one_msr one;
	int rc;

	(void)level;
	(void)left;
	one_msr_init(&one, MSR_IA32_FEATURE_CONTROL, s->feature_control);
	rc = set(s, SUBSTATE_FEATURE_CONTROL, KVM_REQ_SET_MSRS, &one, err);
	if (rc == 0)
		return error_set(err, EINVAL, "vCPU %d: KVM_SET_MSRS refuses IA32_FEATURE_CONTROL = "
				 "0x%llx", s->index, (unsigned long long)s->feature_control);
	return rc < 0 ? -1 : 0;
}

void sregs_from_plain(struct kvm_sregs2 *to, const struct kvm_sregs *from)
{
	memset(to, 0, sizeof(*to));
	to->cs = from->cs;
	to->ds = from->ds;
	to->es = from->es;
	to->fs = from->fs;
	to->gs = from->gs;
	to->ss = from->ss;
	to->tr = from->tr;
	to->ldt = from->ldt;
	to->gdt = from->gdt;
	to->idt = from->idt;
	to->cr0 = from->cr0;
	to->cr2 = from->cr2;
	to->cr3 = from->cr3;
	to->cr4 = from->cr4;
	to->cr8 = from->cr8;
	to->efer = from->efer;
	to->apic_base = from->apic_base;
}

static int get_sregs(struct vcpu_state *s, struct error *err)
{
	struct kvm_sregs plain;

	if (s->vcpu->kvm->caps.sregs2)
		return get(s, SUBSTATE_SREGS, KVM_REQ_GET_SREGS2, &s->sregs, err);
	if (get(s, SUBSTATE_SREGS, KVM_REQ_GET_SREGS, &plain, err) < 0)
		return -1;
	sregs_from_plain(&s->sregs, &plain);
	return 0;
}

static int set_sregs(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	const struct kvm_sregs2 *from = &s->sregs;

	(void)level;
	(void)left;
	if (s->vcpu->kvm->caps.sregs2) {
		struct kvm_sregs2 copy = *from;

		/* The kernel refuses PDPTRs outside of PAE paging (__set_sregs2), and an edit may
		 * just have left it. */
		if (!vcpu_sregs_use_pdptrs(from))
			copy.flags &= ~(__u64)KVM_SREGS2_FLAGS_PDPTRS_VALID;
		return set(s, SUBSTATE_SREGS, KVM_REQ_SET_SREGS2, &copy, err);
	}

	/* interrupt_bitmap stays zero: a set bit would queue that interrupt once more, and what is
	 * being injected belongs to events. */
	struct kvm_sregs plain = {
		.cs = from->cs, .ds = from->ds, .es = from->es, .fs = from->fs, .gs = from->gs,
		.ss = from->ss, .tr = from->tr, .ldt = from->ldt, .gdt = from->gdt, .idt = from->idt,
		.cr0 = from->cr0, .cr2 = from->cr2, .cr3 = from->cr3, .cr4 = from->cr4,
		.cr8 = from->cr8, .efer = from->efer, .apic_base = from->apic_base,
	};
	return set(s, SUBSTATE_SREGS, KVM_REQ_SET_SREGS, &plain, err);
}

static int get_nested(struct vcpu_state *s, struct error *err)
{
	if (substates_allocate(s, substate_bit(SUBSTATE_NESTED), err) < 0)
		return -1;
	s->nested->size = (__u32)s->vcpu->kvm->caps.nested_size;
	return get(s, SUBSTATE_NESTED, KVM_REQ_GET_NESTED_STATE, s->nested, err);
}

static int set_nested(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_NESTED, KVM_REQ_SET_NESTED_STATE, s->nested, err);
}

static const struct {
	enum kvm_request get, set;
} fpu_requests[] = {
	[VCPU_FPU_XSAVE2] = { KVM_REQ_GET_XSAVE2, KVM_REQ_SET_XSAVE },
	[VCPU_FPU_XSAVE] = { KVM_REQ_GET_XSAVE, KVM_REQ_SET_XSAVE },
	[VCPU_FPU_LEGACY] = { KVM_REQ_GET_FPU, KVM_REQ_SET_FPU },
};

static int get_xsave(struct vcpu_state *s, struct error *err)
{
	if (substates_allocate(s, substate_bit(SUBSTATE_XSAVE), err) < 0)
		return -1;
	return get(s, SUBSTATE_XSAVE, fpu_requests[s->fpu_kind].get, s->xsave, err);
}

static int set_xsave(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_XSAVE, fpu_requests[s->fpu_kind].set, s->xsave, err);
}

static int get_lapic(struct vcpu_state *s, struct error *err)
{
	if (substates_allocate(s, substate_bit(SUBSTATE_LAPIC), err) < 0)
		return -1;
	return get(s, SUBSTATE_LAPIC, KVM_REQ_GET_LAPIC, s->lapic, err);
}

static int set_lapic(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_LAPIC, KVM_REQ_SET_LAPIC, s->lapic, err);
}

/* An attribute of the vCPU as of a device: api.rst 4.80 and devices/vcpu.rst, 4. */
static struct kvm_device_attr tsc_offset_attr(struct vcpu_state *s)
{
	return (struct kvm_device_attr) {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&s->tsc_offset,
	};
}

static int get_tsc_offset(struct vcpu_state *s, struct error *err)
{
	struct kvm_device_attr attr = tsc_offset_attr(s);
	int rc = get(s, SUBSTATE_TSC_OFFSET, KVM_REQ_GET_DEVICE_ATTR, &attr, err);

	/* The host's vCPUs have attributes, but not this one. */
	if (rc < 0 && errno == ENXIO)
		s->offered &= ~substate_bit(SUBSTATE_TSC_OFFSET);
	return rc;
}

static int set_tsc_offset(struct vcpu_state *s, enum vcpu_level level, bool *left,
			  struct error *err)
{
	struct kvm_device_attr attr = tsc_offset_attr(s);

	(void)level;
	(void)left;
	return set(s, SUBSTATE_TSC_OFFSET, KVM_REQ_SET_DEVICE_ATTR, &attr, err);
}

/* A batch on its way to or from the kernel, and where in the table each entry belongs. */
struct msr_batch {
	unsigned int position[MSRS_MAX];
	struct kvm_msrs *msrs;
};

static int batch_allocate(struct msr_batch *batch, const struct vcpu_state *s, struct error *err)
{
	batch->msrs = calloc(1, sizeof(*batch->msrs) + MSRS_MAX * sizeof(batch->msrs->entries[0]));
	return batch->msrs ? 0 : no_memory(s, SUBSTATE_MSRS, err);
}

static void batch_add(struct msr_batch *batch, const struct vcpu_state *s, unsigned int position)
{
	struct kvm_msr_entry *entry = &batch->msrs->entries[batch->msrs->nmsrs];

	batch->position[batch->msrs->nmsrs++] = position;
	entry->index = s->msr_table->msr[position].index;
	entry->data = s->msr_value[position];
}

/*
 * Reads all but what is dirty, which is newer here than in the kernel.  The kernel stops at the
 * first MSR that it can not read and says how many it did; that one is absent on this vCPU, and the
 * rest is asked for again.
 */
static int get_msrs(struct vcpu_state *s, struct error *err)
{
	struct msr_batch batch;
	unsigned int next = 0;
	int rc = 0;

	if (substates_allocate(s, substate_bit(SUBSTATE_MSRS), err) < 0 ||
	    batch_allocate(&batch, s, err) < 0)
		return -1;
	while (next < s->msr_table->count) {
		batch.msrs->nmsrs = 0;
		for (; next < s->msr_table->count && batch.msrs->nmsrs < MSRS_MAX; next++)
			if (!s->msr_absent[next] && !s->msr_dirty[next])
				batch_add(&batch, s, next);
		if (!batch.msrs->nmsrs)
			break;
		rc = get(s, SUBSTATE_MSRS, KVM_REQ_GET_MSRS, batch.msrs, err);
		if (rc < 0)
			break;
		for (int i = 0; i < rc; i++)
			s->msr_value[batch.position[i]] = batch.msrs->entries[i].data;
		if ((uint32_t)rc < batch.msrs->nmsrs) {
			unsigned int bad = batch.position[rc];

			s->msr_absent[bad] = true;
			log_debug("vCPU %d: KVM does not read MSR 0x%x", s->index,
				  s->msr_table->msr[bad].index);
			next = bad + 1;
		}
	}
	free(batch.msrs);
	return rc < 0 ? -1 : 0;
}

/*
 * What was written is clean at once, so that a failure in the middle leaves only the rest dirty.
 * `vmx_only`: of those that describe VMX, which have an occasion of their own.
 */
static int set_some_msrs(struct vcpu_state *s, enum vcpu_level level, bool vmx_only, bool *left,
			 struct error *err)
{
	struct msr_batch batch;
	unsigned int next = 0;
	int rc = 0;

	if (batch_allocate(&batch, s, err) < 0)
		return -1;
	while (next < s->msr_table->count) {
		batch.msrs->nmsrs = 0;
		for (; next < s->msr_table->count && batch.msrs->nmsrs < MSRS_MAX; next++) {
			if (!s->msr_dirty[next])
				continue;
			if (s->msr_table->msr[next].level <= level &&
			    (!vmx_only || msr_describes_vmx(s->msr_table->msr[next].index)))
				batch_add(&batch, s, next);
			else
				*left = true;
		}
		if (!batch.msrs->nmsrs)
			break;
		rc = set(s, SUBSTATE_MSRS, KVM_REQ_SET_MSRS, batch.msrs, err);
		if (rc < 0)
			break;
		for (int i = 0; i < rc; i++)
			s->msr_dirty[batch.position[i]] = false;
		if ((uint32_t)rc < batch.msrs->nmsrs) {
			const struct kvm_msr_entry *bad = &batch.msrs->entries[rc];

			rc = error_set(err, EINVAL, "vCPU %d: KVM_SET_MSRS refuses MSR 0x%x = 0x%llx",
				       s->index, bad->index, (unsigned long long)bad->data);
			break;
		}
	}
	free(batch.msrs);
	return rc < 0 ? -1 : 0;
}

static int set_msrs(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	return set_some_msrs(s, level, false, left, err);
}

int substates_set_vmx_msrs(struct vcpu_state *s, enum vcpu_level level, struct error *err)
{
	bool left;

	if (!(s->dirty & substate_bit(SUBSTATE_MSRS)))
		return 0;
	return set_some_msrs(s, level, true, &left, err);
}

/* One GET serves both substates; neither overwrites the other's edit. */
static int get_events(struct vcpu_state *s, struct error *err)
{
	struct kvm_vcpu_events events;

	if (get(s, SUBSTATE_EVENTS, KVM_REQ_GET_VCPU_EVENTS, &events, err) < 0)
		return -1;
	if (!(s->dirty & substate_bit(SUBSTATE_EVENTS)))
		s->events = events;
	if (!(s->dirty & substate_bit(SUBSTATE_LATCHED_EVENTS))) {
		s->latched.nmi_pending = events.nmi.pending;
		s->latched.sipi_vector = events.sipi_vector;
	}
	s->fetched |= substate_bit(SUBSTATE_EVENTS) | substate_bit(SUBSTATE_LATCHED_EVENTS);
	return 0;
}

/*
 * The kernel takes exception, interrupt and injected NMI always, the rest if flagged.  NMI-pending
 * and SIPI are flagged only when they were edited and the level allows: another vCPU may have sent
 * one since they were read.
 */
static int set_events(struct vcpu_state *s, enum vcpu_level level, bool *left, struct error *err)
{
	struct kvm_vcpu_events events;
	bool latched = (s->dirty & substate_bit(SUBSTATE_LATCHED_EVENTS)) &&
		       level >= VCPU_LEVEL_RESET;

	(void)left;
	if (!(s->fetched & substate_bit(SUBSTATE_EVENTS)) && get_events(s, err) < 0)
		return -1;
	events = s->events;
	events.flags &= ~(__u32)(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR);
	if (latched) {
		events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR;
		events.nmi.pending = s->latched.nmi_pending;
		events.sipi_vector = s->latched.sipi_vector;
	}
	if (set(s, SUBSTATE_EVENTS, KVM_REQ_SET_VCPU_EVENTS, &events, err) < 0)
		return -1;
	s->dirty &= ~substate_bit(SUBSTATE_EVENTS);
	if (latched)
		s->dirty &= ~substate_bit(SUBSTATE_LATCHED_EVENTS);
	return 0;
}

static int set_guest_debug(struct vcpu_state *s, enum vcpu_level level, bool *left,
			   struct error *err)
{
	(void)level;
	(void)left;
	return set(s, SUBSTATE_GUEST_DEBUG, KVM_REQ_SET_GUEST_DEBUG, &s->guest_debug, err);
}

/* In KVM there is no KVM_GET_GUEST_DEBUG: the copy is always the truth, so nothing is to be done. */
static int get_guest_debug(struct vcpu_state *s, struct error *err)
{
	(void)s;
	(void)err;
	return 0;
}

const struct substate_ops substate_ops[SUBSTATE_COUNT] = {
	[SUBSTATE_CPUID] = { get_cpuid, set_cpuid },
	[SUBSTATE_TSC_KHZ] = { get_tsc_khz, set_tsc_khz },
	[SUBSTATE_FEATURE_CONTROL] = { get_feature_control, set_feature_control },
	[SUBSTATE_REGS] = { get_regs, set_regs },
	[SUBSTATE_SREGS] = { get_sregs, set_sregs },
	[SUBSTATE_NESTED] = { get_nested, set_nested },
	[SUBSTATE_XCRS] = { get_xcrs, set_xcrs },
	[SUBSTATE_XSAVE] = { get_xsave, set_xsave },
	[SUBSTATE_LAPIC] = { get_lapic, set_lapic },
	[SUBSTATE_TSC_OFFSET] = { get_tsc_offset, set_tsc_offset },
	[SUBSTATE_MSRS] = { get_msrs, set_msrs },
	[SUBSTATE_EVENTS] = { get_events, set_events },
	[SUBSTATE_LATCHED_EVENTS] = { get_events, set_events },
	[SUBSTATE_MP_STATE] = { get_mp_state, set_mp_state },
	[SUBSTATE_DEBUGREGS] = { get_debugregs, set_debugregs },
	[SUBSTATE_GUEST_DEBUG] = { get_guest_debug, set_guest_debug },
};

uint32_t substates_offered(const struct kvm *kvm)
{
	const struct kvm_caps *caps = &kvm->caps;
	uint32_t offered = substate_bit(SUBSTATE_CPUID) | substate_bit(SUBSTATE_REGS) |
			   substate_bit(SUBSTATE_SREGS) | substate_bit(SUBSTATE_XSAVE) |
			   substate_bit(SUBSTATE_LAPIC) | substate_bit(SUBSTATE_MSRS);

	if (caps->tsc_control && caps->get_tsc_khz)
		offered |= substate_bit(SUBSTATE_TSC_KHZ);
	for (uint32_t i = 0; i < kvm->msr_list->nmsrs; i++)
		if (kvm->msr_list->indices[i] == MSR_IA32_FEATURE_CONTROL)
			offered |= substate_bit(SUBSTATE_FEATURE_CONTROL);
	if (caps->vcpu_attributes)
		offered |= substate_bit(SUBSTATE_TSC_OFFSET);
	if (caps->nested_size >= sizeof(struct kvm_nested_state))
		offered |= substate_bit(SUBSTATE_NESTED);
	if (caps->xcrs)
		offered |= substate_bit(SUBSTATE_XCRS);
	if (caps->vcpu_events)
		offered |= substate_bit(SUBSTATE_EVENTS) | substate_bit(SUBSTATE_LATCHED_EVENTS);
	if (caps->mp_state)
		offered |= substate_bit(SUBSTATE_MP_STATE);
	if (caps->debugregs)
		offered |= substate_bit(SUBSTATE_DEBUGREGS);
	if (caps->set_guest_debug)
		offered |= substate_bit(SUBSTATE_GUEST_DEBUG);
	return offered;
}
