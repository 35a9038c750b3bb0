/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FAKE_KVM_H
#define TESTS_UNIT_FAKE_KVM_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm.h"

/*
 * A KVM in user space, behind the ioctl seam of vmm/kvm.h.
 *
 * It keeps the state of virtual machines as the kernel does, with those of the kernel's habits that
 * matter to whoever saves, shows or restores that state; it records every call; it runs a scripted
 * guest in KVM_RUN; and it can be told to misbehave.  Behaviour is that of Linux 6.12 (api.rst and
 * arch/x86/kvm) except where a poison mode asks for an older kernel's.
 *
 *     struct fake_kvm *fake = fake_kvm_new();
 *     kvm_open(&kvm, &fake_kvm_ops, fake, &err);
 *
 * Threads: all functions may be called from every thread.  The structures of the model may be read
 * and changed directly before the first KVM_RUN, while the vCPU concerned is not inside KVM_RUN
 * (and this thread knows so by some synchronisation of its own), and in the callbacks that are made
 * with the lock held.
 */
extern const struct kvm_ops fake_kvm_ops;       /* its ctx is a struct fake_kvm * */

struct fake_kvm;
struct fake_vm;
struct fake_vcpu;

/* A host of today: all capabilities, 45 listed MSRs, 20 CPUID leaves. */
struct fake_kvm *fake_kvm_new(void);
void fake_kvm_free(struct fake_kvm *fake);

/* ---- What the host offers: to be set before kvm_open() ---- */

/* KVM_CHECK_EXTENSION's answer; 0 takes away the ioctls that depend on the capability. */
void fake_kvm_set_cap(struct fake_kvm *fake, unsigned int cap, int value);
/* Adds an MSR (or changes it) that new vCPUs have; `listed`: named by KVM_GET_MSR_INDEX_LIST. */
void fake_kvm_add_msr(struct fake_kvm *fake, uint32_t index, uint64_t value, bool listed);
/* Adds or changes one that the system descriptor tells of: a feature MSR. */
void fake_kvm_add_feature_msr(struct fake_kvm *fake, uint32_t index, uint64_t value);
void fake_kvm_remove_msr(struct fake_kvm *fake, uint32_t index);
/* The supported CPUID becomes `nr` leaves; more than a caller has room for gives E2BIG. */
void fake_kvm_set_cpuid_leaves(struct fake_kvm *fake, unsigned int nr);
/* A table of the caller's instead, which is copied; and what KVM emulates, nothing at first. */
void fake_kvm_set_cpuid(struct fake_kvm *fake, const struct kvm_cpuid_entry2 *entries,
			unsigned int nr);
void fake_kvm_set_emulated_cpuid(struct fake_kvm *fake, const struct kvm_cpuid_entry2 *entries,
				 unsigned int nr);
/* KVM_STATE_NESTED_FORMAT_VMX, as at first, or _SVM: for new vCPUs. */
void fake_kvm_set_nested_format(struct fake_kvm *fake, uint16_t format);
void fake_kvm_set_api_version(struct fake_kvm *fake, int version);
/* A host that can be told from those of another `id`; with 0, as at first, from none. */
void fake_kvm_set_host_id(struct fake_kvm *fake, uint8_t id);

/* ---- Misbehaviour ---- */

/* A request: KVM_...; or one of these for the other functions of the seam. */
#define FAKE_OPEN       1UL
#define FAKE_MMAP       2UL
#define FAKE_PREAD      3UL

/*
 * Lets a request fail before it has any effect (KVM_RUN: after it has completed the outstanding
 * I/O, as a signal would).  Faults add up; they are counted from when they were set.
 */
struct fake_fault {
	unsigned long request;
	int vcpu;               /* index, or -1: on any; system and VM requests: -1 */
	unsigned int nth;       /* the first call that fails, from 1; 0 means 1 */
	unsigned int times;     /* how many fail in a row; 0: all from then on */
	int error;
};
void fake_kvm_fail(struct fake_kvm *fake, struct fake_fault fault);
/* Decides on each state request of a vCPU and KVM_RUN: an errno, or 0.  Lock held. */
typedef int fake_fault_fn(void *opaque, unsigned long request, int vcpu);
void fake_kvm_fail_by(struct fake_kvm *fake, fake_fault_fn *fn, void *opaque);
/* An MSR that vCPUs have and that GET or SET refuses nevertheless. */
void fake_kvm_fail_msr(struct fake_kvm *fake, uint32_t index, bool get, bool set);
/* Takes back all of the three above. */
void fake_kvm_heal(struct fake_kvm *fake);

/* Older kernels and odd hosts; bits. */
enum fake_poison {
	/*
	 * Linux 2.6.38 to 2.6.39 on VMX: the CR3 of a vCPU with paging on is read back from the
	 * VMCS, which holds the guest's CR3 only after the first KVM_RUN.  In the first reading of
	 * the bug it is KVM_SET_SREGS that loses CR3 where paging was on before the call; in the
	 * second it is KVM_SET_REGS.  A vCPU that enters the guest with the wrong CR3 dies by a
	 * triple fault.
	 */
	FAKE_STALE_CR3_BY_SREGS = 1 << 0,
	FAKE_STALE_CR3_BY_REGS = 1 << 1,
	/* A host that can only do long mode: CR0.PG without EFER.LMA is silently cleared. */
	FAKE_NO_LEGACY_PAGING = 1 << 2,
	/* An APIC timer that has run out stays so, unseen, until the guest is entered or halts. */
	FAKE_TIMER_NEEDS_GUEST = 1 << 3,
	/* vCPUs have more than KVM_GET_SUPPORTED_CPUID says, and show it: feature "lm" here. */
	FAKE_MORE_CPUID = 1 << 4,
};
void fake_kvm_poison(struct fake_kvm *fake, unsigned int poison);

/* Called when a vCPU has got a table, which it may change.  Lock held. */
typedef void fake_alter_fn(void *opaque, struct fake_vcpu *vcpu);
void fake_kvm_alter_cpuid(struct fake_kvm *fake, fake_alter_fn *fn, void *opaque);

/*
 * From here on time passes: IA32_TSC is the host's TSC, in the vCPU's frequency, and an offset; each
 * look at it and at the count of an APIC timer finds it further on.  The host's TSC moves with every
 * reading in any case.  Else all stand still, as what was last written.
 */
void fake_kvm_let_time_pass(struct fake_kvm *fake);

/*
 * Called without the lock at the last moment before KVM_RUN looks at immediate_exit, and when it
 * has returned but its caller does not know yet: the windows in which a kick's signal gets lost.
 */
typedef void fake_window_fn(void *opaque, struct fake_vcpu *vcpu);
void fake_kvm_windows(struct fake_kvm *fake, fake_window_fn *entry, fake_window_fn *exit,
		      void *opaque);

/* ---- The model ---- */

#define FAKE_MAX_MSRS   1024
#define FAKE_IO_BYTES   64

/* Where SET_NESTED_STATE finds the inner guest's registers: struct vmcs12 of arch/x86/kvm/vmx. */
#define FAKE_VMCS12_RSP         536
#define FAKE_VMCS12_RIP         544
#define FAKE_VMCS12_RFLAGS      552

/* What registers of an outer guest come back as when its inner guest is left by force. */
#define FAKE_OUTER              0x07e40000

struct fake_msr {
	uint32_t index;
	uint64_t value;
};

/* What a guest does next. */
enum fake_action {
	FAKE_SPIN,              /* runs until a signal: EINTR */
	FAKE_GO_ON,             /* what `before` does, then the next step */
	FAKE_IN, FAKE_OUT, FAKE_MMIO_READ, FAKE_MMIO_WRITE,
	FAKE_WRMSR, FAKE_RDMSR, /* of index `address`; `data` is written, or what was read */
	FAKE_HLT,               /* halts in the kernel where there is an APIC, else exits */
	FAKE_SHUTDOWN,          /* triple fault */
	FAKE_INTERNAL_ERROR,    /* tells the instruction if it has a size: `data` */
	FAKE_EXIT,              /* any other exit: its reason is `address`, its (first) word `data` */
	FAKE_FAIL_ENTRY,
	FAKE_EINTR,             /* EINTR though nobody sent a signal */
	FAKE_EAGAIN,
};

struct fake_step {
	enum fake_action action;
	uint64_t address;       /* port or guest-physical address */
	unsigned int size;      /* of an access; MMIO of more than 8 bytes takes several exits */
	unsigned int count;     /* port I/O: of a string instruction; 0 means 1 */
	uint64_t data;          /* what OUT and MMIO_WRITE send, repeated for every 8 bytes */
	unsigned int advance;   /* RIP moves so far when the instruction completes */
	bool breaks;            /* I/O: instead of completing it ends in an internal error */
	/* What the guest did before that, to its registers for example.  Lock held; may be NULL. */
	void (*before)(struct fake_vcpu *vcpu, void *opaque);
	void *opaque;
};

/* A guest as a function: fills *step, which comes zeroed (FAKE_SPIN).  Lock held. */
typedef void fake_guest_fn(void *opaque, struct fake_vcpu *vcpu, struct fake_step *step);

struct fake_vcpu {
	/* Constant. */
	struct fake_kvm *fake;
	struct fake_vm *vm;
	int index;                      /* in order of creation */
	uint32_t id;                    /* as given to KVM_CREATE_VCPU */
	int fd;
	int wake_fd;                    /* eventfd: something for a vCPU that waits in the kernel */

	/* The processor. */
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;        /* pdptrs[] is what the processor holds; flags unused */
	struct kvm_vcpu_events events;  /* flags, sipi_vector and smi.latched_init unused */
	bool pending_init, pending_sipi;/* of the APIC, not accepted yet */
	uint8_t sipi_vector;
	uint32_t mp_state;
	struct kvm_debugregs debugregs;
	struct kvm_xcrs xcrs;
	uint8_t *xsave;                 /* XSAVE area; KVM_GET_FPU shows its first 512 bytes */
	struct kvm_lapic_state lapic;
	bool timer_expired;             /* one-shot APIC timer whose tick has been delivered */
	bool timer_pending;             /* it has expired; the IRR gets to know before an entry */
	struct kvm_cpuid2 *cpuid;       /* NULL until set */
	uint32_t tsc_khz;
	uint64_t tsc_offset;            /* from the host's TSC in the vCPU's frequency */
	struct kvm_nested_state *nested;
	struct kvm_guest_debug guest_debug;
	bool kvmclock;                  /* the guest uses kvmclock: KVMCLOCK_CTRL works */
	unsigned int nr_msrs;
	struct fake_msr msr[FAKE_MAX_MSRS];

	/* KVM_RUN. */
	struct kvm_run *run;            /* NULL while not mapped */
	bool has_signal_mask;           /* KVM_SET_SIGNAL_MASK: blocked inside KVM_RUN, bit 0 is 1 */
	uint64_t signal_mask;
	bool running;                   /* a thread is inside KVM_RUN and holds the vCPU's mutex */
	bool blocked;                   /* ... and waits there for a signal */
	bool has_run;                   /* the guest has been entered */
	uint64_t vmcs_cr3;              /* GUEST_CR3 of the VMCS: 0 until then */
	uint64_t wanted_cr3;            /* what user space or the guest last loaded */
	struct {
		bool pending;           /* an exit for I/O waits for its completion */
		bool dropped;           /* KVM_SET_REGS came in between: the result goes nowhere */
		struct fake_step step;
		unsigned int done;      /* bytes of an MMIO access that are through */
		uint8_t bytes[FAKE_IO_BYTES];   /* what the last IN or MMIO_READ brought */
	} io;
	struct fake_step *script;
	unsigned int script_len, script_next;
	fake_guest_fn *guest;
	void *guest_opaque;

	/* What happened. */
	uint64_t entries;               /* into the guest */
	unsigned int results_dropped;   /* of IN and MMIO reads, by SET_REGS */
	unsigned int exceptions_dropped;/* pending ones, by SET_REGS */
	unsigned int exceptions_delivered, nmis_delivered, interrupts_delivered;
	unsigned int spurious_ticks;    /* a timer that SET_LAPIC started a second time */
	unsigned int ticks;             /* of the APIC timer, delivered */
	unsigned int spurious_wakeups;  /* out of HLT, by SET_MP_STATE or SET_SREGS */
	unsigned int clock_ctrls;       /* KVMCLOCK_CTRL with success */
	unsigned int msr_faults;        /* #GP in answer to RDMSR or WRMSR */

	/* Since the last mark or KVM_RUN. */
	bool deadline_written;

	bool fpu_set, xsave_set;        /* ever */
};

#define FAKE_DIRTY_PAGES 1024            /* of a slot, whose writes are remembered */

struct fake_slot {
	bool used;
	struct kvm_userspace_memory_region region;
	uint64_t dirty[FAKE_DIRTY_PAGES / 64];
};

#define FAKE_MAX_SLOTS  64

/* A range of KVM_X86_SET_MSR_FILTER. */
struct fake_msr_range {
	uint32_t flags, base, nmsrs;
	uint8_t *bitmap;                /* a clear bit denies */
};

struct fake_vm {
	int index;
	int fd;
	bool irqchip, pit_created, exception_payload, triple_fault_event;
	uint32_t boot_cpu_id;
	uint64_t tss_addr, identity_map;
	struct kvm_clock_data clock;
	struct kvm_pit_state2 pit;
	struct kvm_irqchip irqchips[KVM_NR_IRQCHIPS];
	struct fake_slot slot[FAKE_MAX_SLOTS];
	bool line[KVM_IOAPIC_NUM_PINS];
	struct kvm_xen_hvm_config xen;  /* msr 0: none */
	uint64_t user_space_msr;        /* KVM_MSR_EXIT_REASON_* */
	struct fake_msr_range filter[KVM_MSR_FILTER_MAX_RANGES];        /* nmsrs 0: none */
	unsigned int nr_vcpus;
	struct fake_vcpu **vcpu;
};

struct fake_vm *fake_kvm_vm(struct fake_kvm *fake, int vm);
struct fake_vcpu *fake_kvm_vcpu(struct fake_kvm *fake, int vm, int vcpu);
struct fake_msr *fake_vcpu_msr(struct fake_vcpu *vcpu, uint32_t index);         /* or NULL */
bool fake_vcpu_in_pae(const struct fake_vcpu *vcpu);

/* The guest.  A script comes before a function; a vCPU with neither spins. */
void fake_vcpu_script(struct fake_vcpu *vcpu, const struct fake_step *steps, unsigned int nr);
void fake_vcpu_guest(struct fake_vcpu *vcpu, fake_guest_fn *guest, void *opaque);
void fake_kvm_default_guest(struct fake_kvm *fake, fake_guest_fn *guest, void *opaque);

/* Another processor sends an INIT or a SIPI. */
void fake_vcpu_send_init(struct fake_vcpu *vcpu);
void fake_vcpu_send_sipi(struct fake_vcpu *vcpu, uint8_t vector);

/* The guest writes to a page; it counts while the slot logs.  Lock held, or nobody else there. */
void fake_vm_dirty(struct fake_vm *vm, uint64_t gpa);
/* Called with the lock held when the log of a slot is asked for, before it is handed out. */
typedef void fake_dirty_fn(void *opaque, struct fake_vm *vm);
void fake_kvm_on_dirty_log(struct fake_kvm *fake, fake_dirty_fn *fn, void *opaque);

/*
 * What KVM_GET_STATS_FD's descriptors hold.  At first that is one statistic of each kind: exits,
 * pages, longest_ns, cached, guest_mode, steps, linear (3 buckets), log2 (4); value n of them is
 * 100 + n for the VM and 1000 * (i + 1) + n for vCPU i.
 */
struct fake_stat {
	const char *name;
	uint32_t flags;
	int16_t exponent;
	uint16_t size;
	uint32_t offset, bucket_size;
};
/* A file of them; its data, which is not filled in, begins at the header's data_offset. */
size_t fake_stats_build(uint8_t *bytes, const struct fake_stat *stats, unsigned int nr);
void fake_kvm_set_stats(struct fake_kvm *fake, const uint8_t *bytes, size_t len);

/* The APIC timer, which counts, runs out: its count is 0. */
void fake_vcpu_expire_timer(struct fake_vcpu *vcpu);

/* Wait until the guest has been entered `entries` times, or waits in KVM_RUN for a signal. */
void fake_vcpu_await_entries(struct fake_vcpu *vcpu, uint64_t entries);
void fake_vcpu_await_blocked(struct fake_vcpu *vcpu);

/* ---- What was called ---- */

enum fake_fd_kind {
	FAKE_FD_NONE, FAKE_FD_SYSTEM = 1, FAKE_FD_VM = 2, FAKE_FD_VCPU = 4, FAKE_FD_STATS = 8,
};

struct fake_call {
	uint64_t seq;                   /* position in the record, from 0 */
	pid_t tid;
	enum fake_fd_kind kind;
	int vm, vcpu;                   /* indices, -1 where there is none */
	unsigned long request;
	const char *name;               /* "SET_REGS" */
	enum kvm_request_class class;
	bool by_run_page;               /* kvm_dirty_regs of a KVM_RUN, not an ioctl */
	int rc, error;                  /* error is 0 on success */
	bool running, has_run, io_pending;      /* of the vCPU, when the call came */
	bool unmodified;                /* a SET of what the kernel had already */
	size_t size;                    /* of the payload, in bytes */
	uint8_t *in, *out;              /* the payload before and after; NULL where there is none */
};

/* Which calls a question is about.  FAKE_ANY or the value. */
#define FAKE_ANY        (-1)
struct fake_filter {
	uint64_t since;                 /* from fake_kvm_mark() */
	int vm, vcpu;
	unsigned long request;          /* 0: any */
	int class;                      /* enum kvm_request_class */
	bool unmodified;                /* only SETs of what the kernel had already */
};
/* All calls of a class since a mark, of all vCPUs; and so on for what the caller changes. */
struct fake_filter fake_filter(uint64_t since, int vcpu, int class);

/* The number of the next call.  A new occasion starts here for what must be in order within one. */
uint64_t fake_kvm_mark(struct fake_kvm *fake);
unsigned int fake_kvm_count(struct fake_kvm *fake, struct fake_filter filter);
unsigned int fake_kvm_count_request(struct fake_kvm *fake, uint64_t since, int vcpu,
				    unsigned long request);
/* "SET_REGS SET_SREGS2": the names in order.  The text stays valid until the next such question. */
const char *fake_kvm_names(struct fake_kvm *fake, struct fake_filter filter);
/* The last call that the filter admits, NULL if there is none.  Valid until fake_kvm_free(). */
const struct fake_call *fake_kvm_last(struct fake_kvm *fake, struct fake_filter filter);

/* What no caller should do. */
enum fake_violation {
	FAKE_BUSY_VCPU,                 /* state of a vCPU inside KVM_RUN: the call would block */
	FAKE_GET_BEFORE_COMPLETION,     /* state read while I/O is uncommitted */
	FAKE_SET_BEFORE_COMPLETION,     /* ... and written */
	FAKE_MIXED_FPU,                 /* SET_FPU and SET_XSAVE on one vCPU */
	FAKE_NESTED_BEFORE_SREGS,       /* guest mode restored before VMX or SVM was enabled */
	FAKE_VMX_MSR_IN_VMX,            /* what VMX can do set while the guest makes use of it */
	FAKE_DEADLINE_BEFORE_TSC,       /* the deadline is compared with the old TSC */
	FAKE_DEADLINE_BEFORE_LAPIC,     /* the timer may not be in deadline mode yet: dropped */
	FAKE_LATE_CPUID,                /* SET_CPUID2 with another table after the first run */
	FAKE_BAD_FD,                    /* a descriptor that is closed, or of another kind */
	FAKE_UNKNOWN_REQUEST,
	FAKE_MISSING_CAP,               /* a request whose capability the host has said it lacks */
	FAKE_XEN_MSR_SET,               /* KVM_SET_MSRS of Xen's MSR, which writes a page */
	FAKE_UNMAPPED_RUN,              /* KVM_RUN without a run page; an unmap of something else */
	FAKE_VIOLATION_COUNT
};
unsigned int fake_kvm_violation(struct fake_kvm *fake, enum fake_violation violation);
/* All of them, one per line with how often; "" when there was none. */
const char *fake_kvm_violations(struct fake_kvm *fake);
/* What is still open or mapped, one per line; "" when nothing is. */
const char *fake_kvm_leaks(struct fake_kvm *fake);

#endif
