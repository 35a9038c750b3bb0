/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/kvm.h"
#include "vmm/vcpu_state.h"

struct vm;

/*
 * What the kernel moves on while the vCPU is parked, as a snapshot has it: of the stop, or the
 * first snapshot after it.  Each holds until the vCPU goes, or somebody sets that state, which the
 * counts of SETs tell.
 */
struct vcpu_frozen {
	bool timer_known, tsc_known;
	uint64_t timer_sets, tsc_sets;
	uint32_t timer_initial, timer_count;    /* of the APIC timer: registers 0x380 and 0x390 */
	uint64_t tsc;                           /* the guest's */
};

/* The longest instruction there is: Intel SDM vol. 2A, 2.3.11. */
#define VCPU_INSN_MAX 15

/*
 * One vCPU: its KVM descriptor, its run page and its thread.
 *
 * The owner of the machine (the event loop's thread) tells the vCPU to run or to park; a parked vCPU
 * has left KVM_RUN with all I/O committed and touches nothing until told to run, so the owner may
 * use its KVM descriptor and `state` directly.
 *
 * How a vCPU is made to park (no kick can be lost): the owner stores the command, then sets
 * run->immediate_exit, then sends the signal.  The vCPU clears immediate_exit when it sets out to
 * run again, and only then, behind a full fence, looks at the command.
 */
struct vcpu {
	/* Constant while the thread exists. */
	struct vm *vm;
	int index;
	uint32_t apic_id;
	struct kvm_handle kvm;
	struct kvm_run *run;            /* the vCPU thread's, but for immediate_exit */
	pthread_t thread;

	/* Owner's thread only; state only while parked. */
	struct vcpu_state state;
	bool parked;                    /* seen to have parked since it was last told to run */
	bool thread_started;
	uint64_t gets_at_stop[SUBSTATE_COUNT], sets_at_stop[SUBSTATE_COUNT];
	struct vcpu_frozen frozen;

	/* Shared between the two. */
	_Atomic uint32_t command;       /* sequence number << 2 | enum vcpu_command */
	_Atomic pid_t tid;              /* 0 until the thread runs */
	_Atomic bool has_run;           /* KVM_RUN may have entered the guest */
	/* Written by the owner before it gives the command to park anew. */
	bool settle;
	/* Written by the vCPU before it reports itself parked. */
	uint64_t handed_over;           /* KVM_SYNC_X86_* mask of what the run page holds */
	bool failed;                    /* KVM can not go on with it; the owner has yet to look */
	size_t failed_insn_len;         /* of the instruction, as far as KVM has told its bytes */
	uint8_t failed_insn[VCPU_INSN_MAX];
};

enum vcpu_command { VCPU_PARK, VCPU_RUN, VCPU_QUIT };

/*
 * Creates vCPU `index` of a VM, whose topology says which APIC id it has: descriptor, run page,
 * state.  No thread yet.  On failure there is nothing to destroy.
 */
int vcpu_create(struct vcpu *vcpu, struct vm *vm, int index, struct error *err);

/* Starts the thread, which parks at once; vcpus_await() must follow before first use. */
int vcpu_start(struct vcpu *vcpu, struct error *err);

/* Ends the thread (which must have been told to park) and frees everything. */
void vcpu_destroy(struct vcpu *vcpu);

/*
 * Asks for parking, and waits until all vCPUs of the VM that were asked have.  Two calls, so that
 * all can be kicked first and awaited together.  Kicking a parked vCPU does nothing.  Owner's thread.
 */
void vcpu_kick(struct vcpu *vcpu);
void vcpus_await(struct vm *vm);
/* As vcpus_await(), for a while only; false when some have not parked yet.  Below one second. */
bool vcpus_await_briefly(struct vm *vm, long nanoseconds);

/*
 * Lets a parked vCPU settle: it goes through KVM_RUN once, with a signal pending, so that the guest
 * is not entered, but what the kernel has put off until the next entry is done.  Above all an APIC
 * timer that has expired gets its interrupt into the IRR, which until then nothing tells of
 * (KVM_GET_LAPIC shows a timer that has run out, be it yesterday or just now).  vcpus_await() must
 * follow; everything is to be fetched anew then.  Does nothing to a vCPU that has never run.
 * Owner's thread.
 */
void vcpu_settle(struct vcpu *vcpu);

/*
 * Sends all parked vCPUs on.  The caller has called vcpu_state_before_run() on each with success.
 * Owner's thread.
 */
void vcpus_go(struct vm *vm);

/* The counts of this moment become the ones that "since the last stop" starts from. */
void vcpu_mark_stop(struct vcpu *vcpu);

/* How often one substate was read from and written to the kernel, since start and since the last
 * stop.  Owner's thread. */
struct vcpu_sync_counts {
	uint64_t gets, sets, gets_since_stop, sets_since_stop;
};
struct vcpu_sync_counts vcpu_sync_counts(const struct vcpu *vcpu, enum vcpu_substate sub);

/* Installs the (empty) handler of the signal that makes KVM_RUN return.  Once per process. */
int vcpu_signal_init(struct error *err);

#endif
