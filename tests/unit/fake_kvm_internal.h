/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FAKE_KVM_INTERNAL_H
#define TESTS_UNIT_FAKE_KVM_INTERNAL_H

#include "tests/unit/fake_kvm.h"

/*
 * Between the files of the fake kernel:
 *
 *     fake_kvm.c         the seam: descriptors, dispatch of requests
 *     fake_kvm_host.c    what the host offers, and misbehaviour
 *     fake_kvm_record.c  the record of calls and the questions to it
 *     fake_kvm_vm.c      requests of the system and of a VM
 *     fake_kvm_vcpu.c    state of a vCPU: registers, MP state, events, local APIC
 *     fake_kvm_ext.c     ... extended state, MSRs, debugging
 *     fake_kvm_cpuid.c   CPUID, of the host and of vCPUs
 *     fake_kvm_nested.c  ... nested guests
 *     fake_kvm_time.c    TSC and APIC timer
 *     fake_kvm_run.c     KVM_RUN
 *     fake_kvm_msr.c     ... the guest's MSRs: filters, and Xen's hypercall pages
 *
 * Everything here is called with the lock held.  Handlers return what ioctl() would on success, and
 * a negative errno otherwise.
 */
#define FAKE_FD_BASE            0x40000000      /* no real descriptor is that high */
#define FAKE_RUN_SIZE           12288           /* run page, port I/O page, coalesced MMIO page */
#define FAKE_MAX_CAPS           512
#define FAKE_MAX_FAULTS         32
#define FAKE_MAX_MSR_FAULTS     16

#define X86_CR0_PE      (1ULL << 0)
#define X86_CR0_PG      (1ULL << 31)
#define X86_CR4_PAE     (1ULL << 5)
#define X86_CR4_VMXE    (1ULL << 13)
#define X86_EFER_LME    (1ULL << 8)
#define X86_EFER_LMA    (1ULL << 10)
#define X86_EFER_SVME   (1ULL << 12)
#define X86_RFLAGS_FIXED 2ULL

struct fake_object {
	struct fake_kvm *fake;
	enum fake_fd_kind kind;
	struct fake_vm *vm;
	struct fake_vcpu *vcpu;
	bool open;
};

struct fake_armed_fault {
	struct fake_fault fault;
	unsigned int seen;
};

struct fake_kvm {
	pthread_mutex_t lock;           /* guards everything below, and the model */
	pthread_cond_t progress;        /* a vCPU entered the guest or began to wait */

	/* The host. */
	int cap[FAKE_MAX_CAPS];
	int api_version;
	unsigned int nr_msrs;
	struct fake_msr msr[FAKE_MAX_MSRS];
	bool listed[FAKE_MAX_MSRS];
	unsigned int nr_feature_msrs;
	struct fake_msr feature_msr[FAKE_MAX_MSRS];
	unsigned int nr_leaves;         /* of a table that is made up, where there is none: */
	struct kvm_cpuid2 *supported_cpuid, *emulated_cpuid;
	fake_alter_fn *alter_cpuid;
	void *alter_opaque;
	uint16_t nested_format;         /* KVM_STATE_NESTED_FORMAT_* */

	/* Misbehaviour. */
	unsigned int nr_faults;
	struct fake_armed_fault fault[FAKE_MAX_FAULTS];
	fake_fault_fn *fault_fn;
	void *fault_opaque;
	unsigned int nr_msr_faults;
	struct {
		uint32_t index;
		bool get, set;
	} msr_fault[FAKE_MAX_MSR_FAULTS];
	unsigned int poison;
	uint8_t host_id;
	bool time_passes;
	uint64_t host_tsc;
	fake_window_fn *entry_window, *exit_window;
	void *window_opaque;

	/* Objects.  Descriptors are never given out twice. */
	unsigned int nr_objects, objects_room;
	struct fake_object *object;
	unsigned int nr_vms;
	struct fake_vm **vm;
	fake_guest_fn *default_guest;
	void *default_opaque;

	/* The record. */
	uint64_t nr_calls, calls_room;
	struct fake_call **call;
	unsigned int violation[FAKE_VIOLATION_COUNT];
	char *text;                     /* of the last answer that is a text */
};

typedef int fake_handler(const struct fake_object *object, void *arg);

/* What the fake knows of a request, beside what KVM_REQUESTS says. */
struct fake_request {
	unsigned int kinds;             /* enum fake_fd_kind bits */
	int cap;                        /* that it depends on, -1 for none */
	bool integer;                   /* the argument is no pointer */
	fake_handler *handler;
	bool (*unmodified)(struct fake_vcpu *v, const void *arg);       /* vCPU SETs */
};
extern const struct fake_request fake_requests[KVM_REQ_COUNT];

/* fake_kvm.c */
int fake_new_fd(struct fake_kvm *fake, enum fake_fd_kind kind, struct fake_vm *vm,
		struct fake_vcpu *vcpu);

/* fake_kvm_host.c */
void *fake_alloc(size_t size);          /* zeroed; does not fail */
int fake_fault_of(struct fake_kvm *fake, unsigned long request, int vcpu);      /* errno or 0 */
bool fake_msr_fails(const struct fake_kvm *fake, uint32_t index, bool set);

/* fake_kvm_record.c */
const char *fake_request_name(unsigned long request);
enum fake_fd_kind fake_fd_kind_of(int fd);
void fake_violate(struct fake_kvm *fake, enum fake_violation violation);
struct fake_call *fake_record(struct fake_kvm *fake, const struct fake_object *object,
			      enum kvm_request request, const void *arg);
void fake_record_end(struct fake_kvm *fake, struct fake_call *call, enum kvm_request request,
		     const void *arg, int rc);

/* fake_kvm_vm.c */
void fake_vm_free(struct fake_vm *vm);
void fake_read_guest(const struct fake_vm *vm, uint64_t gpa, void *buf, size_t len, bool *ok);
void fake_write_guest(const struct fake_vm *vm, uint64_t gpa, const void *buf, size_t len);
fake_handler fake_get_api_version, fake_check_extension, fake_get_mmap_size,
	fake_get_msr_index_list, fake_get_msr_feature_index_list, fake_create_vm, fake_enable_cap,
	fake_set_tss_addr, fake_set_identity_map, fake_create_irqchip, fake_create_pit2,
	fake_set_memory_region, fake_set_boot_cpu_id, fake_create_vcpu, fake_irq_line,
	fake_get_clock, fake_set_clock, fake_get_pit2, fake_set_pit2, fake_get_irqchip,
	fake_set_irqchip;

/* fake_kvm_vcpu.c */
void fake_vcpu_power_on(struct fake_vcpu *v);
void fake_vcpu_accept_events(struct fake_vcpu *v);
fake_handler fake_get_regs, fake_set_regs, fake_get_sregs, fake_set_sregs, fake_get_sregs2,
	fake_set_sregs2, fake_get_events, fake_set_events, fake_get_mp_state, fake_set_mp_state,
	fake_get_debugregs, fake_set_debugregs, fake_get_lapic, fake_set_lapic, fake_nmi;
bool fake_same_regs(struct fake_vcpu *v, const void *arg);
bool fake_same_sregs(struct fake_vcpu *v, const void *arg);
bool fake_same_sregs2(struct fake_vcpu *v, const void *arg);
bool fake_same_events(struct fake_vcpu *v, const void *arg);
bool fake_same_mp_state(struct fake_vcpu *v, const void *arg);
bool fake_same_debugregs(struct fake_vcpu *v, const void *arg);
bool fake_same_lapic(struct fake_vcpu *v, const void *arg);

/* fake_kvm_ext.c */
size_t fake_xsave_size(const struct fake_kvm *fake);
fake_handler fake_get_tsc_khz, fake_set_tsc_khz, fake_get_xsave,
	fake_get_xsave2, fake_set_xsave, fake_get_fpu, fake_set_fpu, fake_get_xcrs, fake_set_xcrs,
	fake_get_msrs, fake_set_msrs, fake_set_guest_debug, fake_setup_mce, fake_kvmclock_ctrl;
bool fake_same_tsc_khz(struct fake_vcpu *v, const void *arg);
bool fake_same_xsave(struct fake_vcpu *v, const void *arg);
bool fake_same_fpu(struct fake_vcpu *v, const void *arg);
bool fake_same_xcrs(struct fake_vcpu *v, const void *arg);
bool fake_same_msrs(struct fake_vcpu *v, const void *arg);
bool fake_same_guest_debug(struct fake_vcpu *v, const void *arg);

/* fake_kvm_cpuid.c */
fake_handler fake_get_supported_cpuid, fake_get_emulated_cpuid, fake_get_cpuid2, fake_set_cpuid2;
bool fake_same_cpuid2(struct fake_vcpu *v, const void *arg);

/* fake_kvm_nested.c */
size_t fake_nested_size(const struct fake_kvm *fake);
void fake_nested_power_on(struct fake_vcpu *v);
bool fake_nested_takes_cr4(const struct fake_vcpu *v, uint64_t cr4);
void fake_nested_efer_set(struct fake_vcpu *v);
bool fake_nested_takes_msr(struct fake_vcpu *v, const struct fake_msr *msr, uint64_t value);
fake_handler fake_get_nested, fake_set_nested;
bool fake_same_nested(struct fake_vcpu *v, const void *arg);

/* fake_kvm_time.c */
uint64_t fake_host_tsc(struct fake_kvm *fake);
uint64_t fake_guest_tsc(struct fake_vcpu *v);
void fake_set_guest_tsc(struct fake_vcpu *v, uint64_t value);
void fake_count_timer(struct fake_vcpu *v);
void fake_start_timer(struct fake_vcpu *v);
void fake_inject_timer(struct fake_vcpu *v);
bool fake_interrupt_requested(const struct fake_vcpu *v);
void fake_deliver_ticks(struct fake_vcpu *v);
fake_handler fake_get_device_attr, fake_set_device_attr;
bool fake_same_device_attr(struct fake_vcpu *v, const void *arg);

/* fake_kvm_msr.c */
bool fake_xen_write_page(struct fake_vcpu *v, uint64_t value);  /* false: #GP */
/* RDMSR or WRMSR: 1 when the guest goes on, 0 when KVM_RUN returns; and its completion. */
int fake_guest_msr(struct fake_vcpu *v, const struct fake_step *step);
void fake_complete_msr(struct fake_vcpu *v);
void fake_vm_free_filter(struct fake_vm *vm);
fake_handler fake_xen_hvm_config, fake_set_msr_filter;

/* fake_kvm_run.c */
fake_handler fake_set_signal_mask;
int fake_run(struct fake_vcpu *v);      /* the whole KVM_RUN; called without the lock */

#endif
