/* SPDX-License-Identifier: MIT */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/error.h"

/*
 * The system's KVM: /dev/kvm, what it can do (found once), and the ioctl seam, the only way in
 * which vmond talks to KVM.  vmm/kvm.c is the only file that calls ioctl() on a KVM descriptor.
 */

/*
 * The seam.  Each function behaves as the system call of its name: -1 (MAP_FAILED for mmap) and
 * errno on failure.  They may be called from every thread at the same time.
 */
#define KVM_HOST_ID_LEN 44

struct kvm_ops {
	int (*open)(void *ctx, const char *path, int flags);
	int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
	void *(*mmap)(void *ctx, size_t length, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *ctx, void *addr, size_t length);
	int (*close)(void *ctx, int fd);
	ssize_t (*pread)(void *ctx, int fd, void *buf, size_t len, off_t offset);
	/* The host's time stamp counter, which guest TSCs are offsets to. */
	uint64_t (*read_tsc)(void *ctx);
	/* See kvm_timer_needs_guest(). */
	bool (*timer_needs_guest)(void *ctx);
	/* See kvm_host_id(). */
	bool (*host_id)(void *ctx, uint8_t id[KVM_HOST_ID_LEN]);
};

extern const struct kvm_ops kvm_ops_system;

/* What a request does to the state of the machine, for counting. */
enum kvm_request_class {
	KVM_CLASS_GET,          /* reads state */
	KVM_CLASS_SET,          /* writes state back */
	KVM_CLASS_POLICY,       /* written at every resume whatever was looked at: clock, PIT */
	KVM_CLASS_RUN,          /* KVM_RUN */
	KVM_CLASS_OTHER,        /* set-up, interrupts, memory */
};

/*
 * Every ioctl request vmond issues, once: X(identifier, class).  KVM_REQ_<identifier> names it
 * below, "KVM_<identifier>" is its name in messages.
 *
 * SET_CLOCK, SET_PIT2 and KVMCLOCK_CTRL are policy where a resume issues them; a restore of saved
 * state uses the same requests, which is why they are counted by themselves and not as SETs.
 */
#define KVM_REQUESTS(X) \
	X(GET_API_VERSION, OTHER) X(CHECK_EXTENSION, OTHER) X(GET_VCPU_MMAP_SIZE, OTHER) \
	X(GET_MSR_INDEX_LIST, OTHER) X(GET_MSR_FEATURE_INDEX_LIST, OTHER) \
	X(GET_SUPPORTED_CPUID, OTHER) X(GET_EMULATED_CPUID, OTHER) X(CREATE_VM, OTHER) \
	X(ENABLE_CAP, OTHER) X(SET_TSS_ADDR, OTHER) X(SET_IDENTITY_MAP_ADDR, OTHER) \
	X(CREATE_IRQCHIP, OTHER) X(CREATE_PIT2, OTHER) X(SET_USER_MEMORY_REGION, OTHER) \
	X(SET_BOOT_CPU_ID, OTHER) X(CREATE_VCPU, OTHER) X(IRQ_LINE, OTHER) X(NMI, OTHER) \
	X(X86_SETUP_MCE, OTHER) X(SET_SIGNAL_MASK, OTHER) \
	X(XEN_HVM_CONFIG, OTHER) X(X86_SET_MSR_FILTER, OTHER) \
	X(GET_CLOCK, GET) X(SET_CLOCK, POLICY) X(GET_PIT2, GET) X(SET_PIT2, POLICY) \
	X(GET_IRQCHIP, GET) X(SET_IRQCHIP, SET) X(KVMCLOCK_CTRL, POLICY) \
	X(RUN, RUN) \
	X(GET_CPUID2, GET) X(SET_CPUID2, SET) X(GET_TSC_KHZ, GET) X(SET_TSC_KHZ, SET) \
	X(GET_REGS, GET) X(SET_REGS, SET) X(GET_SREGS, GET) X(SET_SREGS, SET) \
	X(GET_SREGS2, GET) X(SET_SREGS2, SET) X(GET_NESTED_STATE, GET) X(SET_NESTED_STATE, SET) \
	X(GET_XCRS, GET) X(SET_XCRS, SET) X(GET_XSAVE, GET) X(GET_XSAVE2, GET) X(SET_XSAVE, SET) \
	X(GET_FPU, GET) X(SET_FPU, SET) X(GET_LAPIC, GET) X(SET_LAPIC, SET) \
	X(GET_MSRS, GET) X(SET_MSRS, SET) X(GET_VCPU_EVENTS, GET) X(SET_VCPU_EVENTS, SET) \
	X(GET_MP_STATE, GET) X(SET_MP_STATE, SET) X(GET_DEBUGREGS, GET) X(SET_DEBUGREGS, SET) \
	X(SET_GUEST_DEBUG, SET) X(GET_DEVICE_ATTR, GET) X(SET_DEVICE_ATTR, SET) \
	X(GET_STATS_FD, OTHER) X(GET_DIRTY_LOG, OTHER)

enum kvm_request {
#define X(name, class) KVM_REQ_##name,
	KVM_REQUESTS(X)
#undef X
	KVM_REQ_COUNT
};

/* "KVM_SET_REGS". */
const char *kvm_request_name(enum kvm_request request);

/* What the host's KVM offers.  Filled once by kvm_open(), constant afterwards. */
struct kvm_caps {
	unsigned int max_vcpus;         /* KVM_CAP_MAX_VCPUS */
	unsigned int max_vcpu_id;       /* KVM_CAP_MAX_VCPU_ID: APIC ids are below that */
	unsigned int x2apic_api;        /* mask of KVM_X2APIC_API_*, 0 where there is no such thing */
	unsigned int sync_regs;         /* mask of KVM_SYNC_X86_*, 0 where the run page has none */
	size_t run_size;                /* of the run page, in bytes */
	size_t xsave_size;              /* what KVM_GET_XSAVE2 fills, >= 4096; 0 without XSAVE2 */
	size_t nested_size;             /* what KVM_GET_NESTED_STATE may fill; 0 without it */
	bool xsave, xcrs, vcpu_events, debugregs, mp_state, sregs2, tsc_control, get_tsc_khz;
	bool adjust_clock, kvmclock_ctrl, pit2, pit_state2, tss_addr, identity_map, user_nmi;
	bool set_guest_debug, exception_payload, triple_fault_event, tsc_deadline_timer;
	bool binary_stats;              /* KVM_GET_STATS_FD */
	bool vcpu_attributes;           /* KVM_VCPU_TSC_OFFSET among them */
	bool msr_features;              /* KVM_GET_MSRS on the system descriptor too */
	unsigned int xen_hvm;           /* mask of KVM_XEN_HVM_CONFIG_*, 0 without Xen */
	bool user_space_msr, msr_filter;
	unsigned int mce_banks;         /* banks a vCPU gets: 10 as real processors have, 0 without MCE */
};

struct kvm;
struct feature_msrs;

/*
 * One KVM descriptor (system, VM or vCPU) and how often each request went through it.  The
 * descriptor is written only while no other thread knows the handle; the counters are atomic and
 * may be read by any thread.
 */
struct kvm_handle {
	struct kvm *kvm;
	int fd;                                 /* -1 when closed */
	_Atomic uint64_t count[KVM_REQ_COUNT];
};

/* The host's KVM.  Constant after kvm_open(), but for the counters. */
struct kvm {
	const struct kvm_ops *ops;
	void *ops_ctx;
	struct kvm_handle sys;
	struct kvm_caps caps;
	struct kvm_msr_list *msr_list;          /* KVM_GET_MSR_INDEX_LIST */
	struct kvm_cpuid2 *supported_cpuid;     /* kvm_supported_cpuid(), NULL until then */
	struct feature_msrs *feature_msrs;      /* kvm_feature_msrs(), NULL until then */
	struct kvm_cpuid2 *emulated_cpuid;      /* kvm_emulated_cpuid(), likewise */
};

/*
 * Opens /dev/kvm through `ops` (NULL: the system's own) and finds out what it offers.  Fails with
 * the name of the missing capability when KVM lacks one that vmond can not do without.  `*kvm` is
 * the caller's; kvm_close() frees what it holds.  On failure there is nothing to close.
 */
int kvm_open(struct kvm *kvm, const struct kvm_ops *ops, void *ops_ctx, struct error *err);
void kvm_close(struct kvm *kvm);

/*
 * KVM_GET_SUPPORTED_CPUID, asked for when it is first wanted: of all that a start needs to know it
 * is the dearest where CPUID traps, as in a virtual machine.  Owner's thread.  NULL on error.
 */
const struct kvm_cpuid2 *kvm_supported_cpuid(struct kvm *kvm, struct error *err);

/*
 * KVM_GET_EMULATED_CPUID, likewise: what KVM can do in the place of a processor that can not, and
 * slowly.  Empty where KVM does not tell (KVM_CAP_EXT_EMUL_CPUID).
 */
const struct kvm_cpuid2 *kvm_emulated_cpuid(struct kvm *kvm, struct error *err);

/*
 * A list of MSRs, as KVM_REQ_GET_MSR_INDEX_LIST or KVM_REQ_GET_MSR_FEATURE_INDEX_LIST gives it,
 * malloc()ed; NULL on error.
 */
struct kvm_msr_list *kvm_read_msr_list(struct kvm *kvm, enum kvm_request request,
				       struct error *err);

/*
 * One ioctl through the seam, counted.  `arg` is a pointer or an integer cast to one, as the
 * request wants it.  Returns what ioctl() returns, -1 with errno set on failure.  EINTR is not
 * retried here.
 */
int kvm_ioctl(struct kvm_handle *h, enum kvm_request request, void *arg);

/* As kvm_ioctl(), but fills *err with the request's name and what errno means. */
int kvm_call(struct kvm_handle *h, enum kvm_request request, void *arg, struct error *err);

/* For requests that take an integer. */
static inline void *kvm_int_arg(unsigned long value)
{
	return (void *)(uintptr_t)value;
}

/* The host's time stamp counter, through the seam.  Any thread. */
static inline uint64_t kvm_host_tsc(const struct kvm *kvm)
{
	return kvm->ops->read_tsc(kvm->ops_ctx);
}

/*
 * What tells this KVM from all others, and from itself after a reboot or when its modules were
 * loaded again: where it is the same, what KVM supports is the same.  False when that is not known.
 */
static inline bool kvm_host_id(const struct kvm *kvm, uint8_t id[KVM_HOST_ID_LEN])
{
	return kvm->ops->host_id(kvm->ops_ctx, id);
}

/*
 * Whether KVM leaves the APIC timer to a timer of the processor that runs only while the guest does,
 * as KVM on VMX may: then, of a vCPU that is not halted, one that has run out does not expire before
 * the guest is entered.  True when that can not be found out.  Not fast.
 */
static inline bool kvm_timer_needs_guest(const struct kvm *kvm)
{
	return kvm->ops->timer_needs_guest(kvm->ops_ctx);
}

/* Adopts a descriptor that KVM_CREATE_VM or KVM_CREATE_VCPU returned; closes it again. */
void kvm_handle_init(struct kvm_handle *h, struct kvm *kvm, int fd);
void kvm_handle_close(struct kvm_handle *h);

/* Sum of the calls of one class through this handle. */
uint64_t kvm_handle_count(const struct kvm_handle *h, enum kvm_request_class class);

/*
 * Reads from a descriptor that KVM_GET_STATS_FD returned, as pread(); as much as there is up to
 * `len`.  Closes it.
 */
ssize_t kvm_stats_read(const struct kvm *kvm, int fd, void *buf, size_t len, off_t offset);
void kvm_stats_close(const struct kvm *kvm, int fd);

/* Maps and unmaps a vCPU's run page through the seam. */
struct kvm_run *kvm_map_run(struct kvm_handle *vcpu, struct error *err);
void kvm_unmap_run(struct kvm *kvm, struct kvm_run *run);

#endif
