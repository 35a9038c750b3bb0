/* SPDX-License-Identifier: MIT */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/cpu_model.h"
#include "vmm/cpu_topology.h"
#include "vmm/kvm.h"
#include "vmm/memory.h"
#include "vmm/migration.h"
#include "vmm/runstate.h"
#include "vmm/vcpu.h"
#include "vmm/xen_hvm.h"

/*
 * One virtual machine.
 *
 * Threads: a VM has an owner, the thread of the event loop, which makes every call below unless the
 * call says otherwise.  vCPU threads reach the VM only through its buses, vm_irq_line() and
 * vm_post(); what they post is carried out by the owner in vm_dispatch().
 */

/* Why a machine was reset or shut down: ShutdownCause of QMP. */
enum shutdown_cause {
	SHUTDOWN_CAUSE_NONE,
	SHUTDOWN_CAUSE_HOST_ERROR,
	SHUTDOWN_CAUSE_HOST_QMP_QUIT,
	SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
	SHUTDOWN_CAUSE_HOST_SIGNAL,
	SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
	SHUTDOWN_CAUSE_GUEST_RESET,
	SHUTDOWN_CAUSE_GUEST_PANIC,
};
/* "guest-reset", and whether the guest itself brought it about. */
const char *shutdown_cause_name(enum shutdown_cause cause);
bool shutdown_cause_is_guest(enum shutdown_cause cause);

/* What the machine does when something has come about: QMP's set-action.  0 is the default. */
enum reboot_action { REBOOT_ACTION_RESET, REBOOT_ACTION_SHUTDOWN };
enum shutdown_action { SHUTDOWN_ACTION_POWEROFF, SHUTDOWN_ACTION_PAUSE };
enum panic_action {
	PANIC_ACTION_SHUTDOWN,          /* a pause, while the shutdown action is one */
	PANIC_ACTION_PAUSE,
	PANIC_ACTION_EXIT_FAILURE,      /* a shutdown, and exit status 1 */
	PANIC_ACTION_NONE,
};
struct vm_actions {
	enum reboot_action reboot;
	enum shutdown_action shutdown;
	enum panic_action panic;
};

/* What was done about a panic: GuestPanicAction of QMP. */
enum guest_panic_action { GUEST_PANIC_PAUSE, GUEST_PANIC_POWEROFF, GUEST_PANIC_RUN };
/* "poweroff" */
const char *guest_panic_action_name(enum guest_panic_action action);

enum vm_event_type {
	VM_EVENT_STOP,
	VM_EVENT_RESUME,
	VM_EVENT_RESET,         /* cause */
	VM_EVENT_SHUTDOWN,      /* cause */
	VM_EVENT_POWERDOWN,
	VM_EVENT_GUEST_PANICKED,        /* action */
	VM_EVENT_GUEST_CRASHLOADED,     /* action */
	VM_EVENT_MIGRATION,             /* migration */
	/* Not shown to clients: the process should end, with exit_status. */
	VM_EVENT_EXIT,
};

struct vm_event {
	enum vm_event_type type;
	enum shutdown_cause cause;
	enum guest_panic_action action;
	enum migration_status migration;
	int exit_status;
};

/* How the VM reports upward.  Constant once given. */
struct vm_callbacks {
	/* Owner's thread, in the middle of whatever brought the event about. */
	void (*event)(void *opaque, const struct vm_event *event);
	/* Any thread: vm_dispatch() is wanted soon on the owner's thread.  Must not block. */
	void (*wake)(void *opaque);
	/* vCPU threads: what the guest sent out of the serial port. */
	void (*serial_transmit)(void *opaque, const uint8_t *bytes, size_t len);
	/* Any thread: the serial port takes input again after vm_serial_receive() took too little. */
	void (*serial_receive_ready)(void *opaque);
	void *opaque;
};

struct clone;

struct vm_config {
	unsigned int cpus;              /* 1..1024 */
	struct cpu_topology topology;   /* of so many vCPUs; all 0: cores of one socket */
	const struct cpu_config *cpu;   /* NULL: model host.  Incoming state brings its own */
	uint64_t memory;                /* in bytes, a multiple of 4096 */
	struct boot_config boot;
	struct vm_actions actions;      /* at first */
	/* 16 bytes that the guest is told; NULL: random ones, or what incoming state has.  See
	 * vm_devices_set_generation_id(). */
	const uint8_t *generation_id;
	/* Its state comes from elsewhere (migration.h): run state inmigrate, nothing is booted. */
	bool incoming;
	/* Whose RAM is mapped; NULL once it is, or where there is none (clone.h). */
	struct clone *clone;
	const struct xen_hvm_config *xen;       /* NULL: none; it and its strings must stay */
	bool incoming_defer;            /* it is not known yet from where; one that fails may be followed */
	bool start_running;             /* what has come runs, if it ran where it was saved */
	bool force_cpuid;               /* features the guest saw and this host lacks: only a warning */
};

/* What a vCPU thread wants of the owner.  Bits, so that posting is one atomic OR. */
enum vm_request {
	VM_REQUEST_RESET = 1 << 0,              /* the guest asked for a reset, or triple-faulted */
	VM_REQUEST_SHUTDOWN = 1 << 1,           /* ACPI sleep state S5 */
	VM_REQUEST_DEBUG_EXIT = 1 << 2,         /* debug exit port; status in debug_exit_status */
	VM_REQUEST_INTERNAL_ERROR = 1 << 3,     /* KVM can not go on with a vCPU */
	VM_REQUEST_PANIC = 1 << 4,              /* pvpanic: the guest can not go on */
	VM_REQUEST_CRASHLOADED = 1 << 5,        /* pvpanic: its crash kernel takes over */
	VM_REQUEST_MIGRATION = 1 << 6,          /* the thread of a migration is done */
};

struct vm_devices;
struct migration;

/* KVM_SET_* calls: of vCPU state, of VM state, and by policy (the clock, the PIT). */
struct vm_sync_counts {
	uint64_t vcpu_sets, vm_sets, policy;
};

/* State of the interrupt controllers and the PIT as the kernel makes them; a reset goes back to it. */
struct vm_pristine {
	struct kvm_irqchip irqchip[3];  /* KVM_IRQCHIP_PIC_MASTER, _PIC_SLAVE, _IOAPIC */
	struct kvm_pit_state2 pit;
};

struct vm {
	/* Constant once created. */
	struct kvm *kvm;
	struct kvm_handle handle;
	struct vm_callbacks callbacks;
	struct vm_config config;
	struct memory memory;
	struct bus pio, mmio;
	struct vm_devices *devices;
	struct boot *boot;
	struct msr_table *msr_table;
	struct xen_hvm *xen;            /* NULL: none; of incoming state it comes with that */
	struct vm_pristine pristine;
	struct cpu_topology topology;
	struct cpu cpu;                 /* what vCPUs show; all 0 where the state came from elsewhere */
	unsigned int nr_vcpus;
	struct vcpu *vcpu;              /* nr_vcpus of them */

	/* Owner's thread only. */
	enum run_state state;
	struct vm_actions actions;
	struct migration *migration;    /* the last one; NULL before the first */
	bool autostart;                 /* what comes in may run */
	bool pdptrs_warned;             /* that snapshots lack them has been said */
	bool time_stopped;              /* what follows is of the moment when the VM stopped */
	bool clock_saved, pit_saved;    /* to be set at cont */
	bool pit_halted;                /* the kernel's does not tick until then */
	struct kvm_clock_data clock;
	struct kvm_pit_state2 pit;
	int64_t pit_ns;                 /* CLOCK_MONOTONIC of `pit` */
	uint64_t stop_tsc;              /* the host's */
	uint32_t host_tsc_khz;          /* where vCPUs have been given another frequency; else 0 */
	struct vm_sync_counts at_stop;
	bool held_back, go_pending;     /* see vm_hold_back() */

	/* Shared. */
	_Atomic uint32_t posted;        /* enum vm_request bits */
	_Atomic int debug_exit_status;
	_Atomic uint32_t nr_awaited;    /* futex: vCPUs that were kicked and have not parked yet */
	_Atomic uint32_t commands;      /* futex: changes when vCPUs were given commands */
	_Atomic bool wake_others;       /* of those who wait for it, one has been woken so far */
};

/*
 * Creates a machine: VM, memory, interrupt controllers, devices, vCPUs and their threads (parked),
 * and loads what config->boot names.  Run state prelaunch.  `kvm` and what `config` points to must
 * outlive it.  On failure *vm is NULL and nothing is left behind.
 */
int vm_create(struct vm **vm, struct kvm *kvm, const struct vm_config *config,
	      const struct vm_callbacks *callbacks, struct error *err);
/* Ends all threads and frees everything.  NULL is allowed. */
void vm_destroy(struct vm *vm);

/* Run state running; anything else is a kind of not running. */
bool vm_is_running(const struct vm *vm);

/*
 * Stops a running VM: parks all vCPUs with their I/O committed, reads the clock, state paused, event
 * STOP.  Does nothing when the VM is not running.
 */
void vm_stop(struct vm *vm);

/*
 * Sends a stopped VM on: writes back what is dirty (hook RUNTIME), sets the clock, event RESUME.
 * Does nothing when it is running or suspended.  Refused, with what to do instead, in states that
 * forbid it.  When a write-back fails the VM stays as it was.
 */
int vm_cont(struct vm *vm, struct error *err);

/*
 * Resets machine and vCPUs and loads the boot images anew; event RESET.  With the reboot action
 * "shutdown" the machine shuts down instead.
 */
int vm_system_reset(struct vm *vm, enum shutdown_cause cause, struct error *err);

/* Presses the power button: event POWERDOWN, and the guest's ACPI notices if it listens. */
void vm_system_powerdown(struct vm *vm);

/* Event SHUTDOWN, then EXIT.  Whatever the shutdown action is. */
void vm_quit(struct vm *vm, enum shutdown_cause cause);

/* An NMI to every vCPU.  Fails when KVM has no way to send one. */
int vm_inject_nmi(struct vm *vm, struct error *err);

/* Carries out what vCPU threads have posted. */
void vm_dispatch(struct vm *vm);

/* Posts a request.  Any thread. */
void vm_post(struct vm *vm, enum vm_request request);

/* Drives an interrupt line of the in-kernel controllers.  Any thread. */
void vm_irq_line(struct vm *vm, unsigned int gsi, bool level);

/*
 * Looking at vCPUs.  Between begin and end the vCPUs named are parked and their `state` may be read;
 * when the VM was running they go on at end, and nobody sees it as stopped: no event, no change of
 * state.  index -1 means all.  Nests are not allowed.  Editing is not allowed while vm_is_running().
 */
int vm_inspect_begin(struct vm *vm, int index, struct error *err);
void vm_inspect_end(struct vm *vm);

/*
 * Between these two, vCPUs that are sent on (by vm_cont(), by the end of a look, by a reset) do not
 * wake up yet, so that the reply to the command that did it can be on its way first.  On a host
 * with more vCPUs than processors they would take the processor from the one who has to answer.
 */
void vm_hold_back(struct vm *vm);
void vm_let_go(struct vm *vm);

/* Since the VM last stopped, or was created. */
void vm_sync_counts(const struct vm *vm, struct vm_sync_counts *counts);

/* Gives bytes to the serial port's receiver; returns how many it took.  Owner's thread. */
size_t vm_serial_receive(struct vm *vm, const uint8_t *bytes, size_t len);

#endif
