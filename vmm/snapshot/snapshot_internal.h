/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_SNAPSHOT_INTERNAL_H
#define VMM_SNAPSHOT_SNAPSHOT_INTERNAL_H

#include "vmm/snapshot/snapshot.h"

/*
 * Between the files that turn a machine into sections and back:
 *
 *     snapshot.c            the whole, and the section "machine"
 *     snapshot_vm.c         interrupt controllers, PIT, clock
 *     snapshot_vcpu_save.c  a vCPU as items
 *     snapshot_vcpu_load.c  items checked, and put into a vCPU
 *     snapshot_cpuid.c      what the guest saw against what this host has
 *     snapshot_xen.c        Xen's hypercall pages
 *     snapshot_time.c       what the kernel moves while a vCPU is parked
 *
 * A load goes in two steps: everything is parsed and checked without an ioctl that changes
 * anything, and then put in.
 */

/*
 * A substate of a vCPU in its section: le16 tag, le16 flags, le32 length, data.  Structures are
 * those of <linux/kvm.h>, whose layout is the kernel's interface and does not change.
 */
enum snapshot_item {
	SNAPSHOT_CPUID = 1,             /* 7 le32 per entry: function, index, flags, eax to edx */
	SNAPSHOT_TSC_KHZ,               /* le32 */
	SNAPSHOT_FEATURE_CONTROL,       /* le64 */
	SNAPSHOT_REGS,                  /* struct kvm_regs */
	SNAPSHOT_SREGS,                 /* struct kvm_sregs2 */
	SNAPSHOT_NESTED,                /* struct kvm_nested_state and its data */
	SNAPSHOT_XCRS,                  /* struct kvm_xcrs */
	SNAPSHOT_XSAVE,                 /* XSAVE area, standard format */
	SNAPSHOT_FPU,                   /* struct kvm_fpu, of a host without XSAVE */
	SNAPSHOT_LAPIC,                 /* struct kvm_lapic_state */
	SNAPSHOT_TSC,                   /* le64, at the stop */
	SNAPSHOT_MSRS,                  /* le32 index, le64 value, each */
	SNAPSHOT_EVENTS,                /* struct kvm_vcpu_events */
	SNAPSHOT_MP_STATE,              /* le32 */
	SNAPSHOT_DEBUGREGS,             /* struct kvm_debugregs */
	SNAPSHOT_ITEMS
};
#define SNAPSHOT_ITEM_OPTIONAL 1        /* flag: who does not know the tag passes over it */

#define SNAPSHOT_CPUID_WORDS   7
#define SNAPSHOT_CPUID_MAX     256      /* entries; KVM takes no more */
#define SNAPSHOT_MSR_SIZE      12

/* Intel SDM vol. 4; Documentation/virt/kvm/x86/msr.rst. */
#define MSR_KVM_WALL_CLOCK_NEW 0x4b564d00
#define MSR_KVM_WALL_CLOCK     0x00000011

/* snapshot_time.c */

/*
 * Finds out, for all vCPUs, what their snapshot has for TSC and APIC timer: struct vcpu_frozen is
 * right after that.  Lets vCPUs settle where a timer may have expired unseen.
 */
int snapshot_freeze(struct vm *vm, struct error *err);

/* What the vCPU has been loaded with. */
void snapshot_loaded_time(struct vcpu *vcpu, uint64_t tsc, const struct kvm_lapic_state *lapic);

/*
 * What the TSC of a vCPU whose offset is 0 shows now, and the host's TSC at the same moment, or a
 * little later.  Where the vCPU's frequency is not the host's this reads it from the vCPU.
 */
int snapshot_tsc_base(struct vcpu *vcpu, uint64_t *base, uint64_t *host, struct error *err);

/* snapshot_cpuid.c */

/*
 * The section "host" says on which one state was saved, as kvm_host_id() has it.  There is nothing
 * to be compared on the same one: its second function says whether this is it, 1 or 0, or -1.
 */
int snapshot_save_host(struct vm *vm, struct sections *sections, struct error *err);
int snapshot_same_host(const struct vm *vm, struct sections *sections, struct error *err);

/*
 * Features in the table of one vCPU that this host's KVM does not have: an error that lists them,
 * a warning with `force`.
 */
int snapshot_check_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *table, bool force,
			 struct error *err);

/* snapshot_vcpu_save.c */

/* Everything of a vCPU whose time is frozen. */
int snapshot_save_vcpu(struct vcpu *vcpu, struct bytes_out *out, struct error *err);

/* snapshot_vcpu_load.c */

/* Items of a section: lengths and such are right.  They point into the section. */
struct snapshot_vcpu {
	const uint8_t *item[SNAPSHOT_ITEMS];    /* NULL: not there */
	size_t len[SNAPSHOT_ITEMS];
	struct kvm_cpuid2 *cpuid;               /* malloc()ed */
	uint32_t tsc_khz;                       /* 0 where it is the host's own, or not known */
};

/* No ioctl.  `saved` is to be freed even after a failure. */
int snapshot_parse_vcpu(struct vcpu *vcpu, struct bytes_in *in, bool force,
			struct snapshot_vcpu *saved, struct error *err);
void snapshot_free_vcpu(struct snapshot_vcpu *saved);

/*
 * Nested state has the format of a processor, VMX or SVM: an error if the one saved is in use and
 * not that of this host, and no item any more if it is not in use.  Asks the kernel, where it must.
 */
int snapshot_check_nested_format(struct vcpu *vcpu, bool same_host, struct snapshot_vcpu *saved,
				 struct error *err);

/*
 * Edits.  The first is what has to be in the kernel before anything can be found out there about
 * the rest; what is to be written at once may have both done, and one hook.
 */
int snapshot_edit_processor(struct vcpu *vcpu, const struct snapshot_vcpu *saved,
			    struct error *err);
/* `tsc_base` is what a TSC of offset 0 shows.  `force`: MSRs that the vCPU lacks are left out. */
int snapshot_edit_vcpu(struct vcpu *vcpu, const struct snapshot_vcpu *saved, uint64_t tsc_base,
		       bool force, struct error *err);

/* Guest-physical address of the wall clock that the guest has asked KVM for; 0: none. */
uint64_t snapshot_wall_clock(const struct snapshot_vcpu *saved);

/* snapshot_vm.c */
int snapshot_save_vm(struct vm *vm, struct sections *sections, struct error *err);

struct snapshot_vm {
	struct kvm_irqchip irqchip[3];
	bool has_pit, has_clock;
	struct kvm_pit_state2 pit;              /* count_load_time as in vm_pit_with_ages() */
	struct kvm_clock_data clock;
};
/* No ioctl. */
int snapshot_parse_vm(const struct vm *vm, struct sections *sections, bool force,
		      struct snapshot_vm *saved, struct error *err);
int snapshot_load_irqchips(struct vm *vm, const struct snapshot_vm *saved, struct error *err);

/* snapshot_xen.c */

/* Nothing, of a machine without. */
int snapshot_save_xen(struct vm *vm, struct sections *sections, struct error *err);
/*
 * No ioctl.  *saved is NULL where there is none; else xen_hvm_free() is due.  `cpuid` is what the
 * guest sees.
 */
int snapshot_parse_xen(const struct vm *vm, struct sections *sections,
		       const struct kvm_cpuid2 *cpuid, struct xen_hvm **saved, struct error *err);
/* Before vCPUs are set.  *saved is NULL where the machine has taken it over. */
int snapshot_load_xen(struct vm *vm, struct xen_hvm **saved, struct error *err);

#endif
