/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/vcpu_internal.h"
#include "vmm/vm.h"

/* Whatever the system's signals mean to the process, none of them is this one. */
#define KICK_SIGNAL SIGRTMIN

/* Device emulation and formatting of log lines happen on it, nothing deep. */
#define STACK_SIZE (256 * 1024)

/* MCG_CTL is there (MCG_CTL_P): Intel SDM vol. 3B, 16.3.1.1. */
#define MCG_CTL_P (1ULL << 8)

/* Returns early on signals and spuriously; callers look at the word again.  NULL waits for ever. */
static void futex_wait(_Atomic uint32_t *word, uint32_t while_it_is, const struct timespec *time)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, time, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int how_many)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}

static enum vcpu_command command_of(uint32_t word)
{
	return (enum vcpu_command)(word & 3);
}

/* Owner's thread: a new command under a new number, so that the same command twice is seen twice. */
static void give_command(struct vcpu *vcpu, enum vcpu_command command)
{
	uint32_t word = atomic_load_explicit(&vcpu->command, memory_order_relaxed);

	atomic_store(&vcpu->command, ((word >> 2) + 1) << 2 | command);
}

/*
 * vCPU's thread: until there is another command than `command`.  Who wakes first wakes the others:
 * for each thread it wakes the owner might lose its processor, and somebody may wait for what the
 * owner does next.
 */
static void await_command(struct vcpu *vcpu, uint32_t command)
{
	struct vm *vm = vcpu->vm;

	for (;;) {
		uint32_t given = atomic_load(&vm->commands);

		if (atomic_load(&vcpu->command) != command)
			break;
		futex_wait(&vm->commands, given, NULL);
		if (atomic_exchange(&vm->wake_others, false))
			futex_wake(&vm->commands, INT_MAX);
	}
}

/* Owner's thread: commands have been given. */
static void commands_given(struct vm *vm)
{
	atomic_store(&vm->wake_others, true);
	atomic_fetch_add(&vm->commands, 1);
	futex_wake(&vm->commands, 1);
}

static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	/* The page is shared with the kernel and, for this byte, between the two threads. */
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/*
 * Finishes the I/O that the last exit left behind: re-entering with immediate_exit completes the
 * instruction without running the guest (api.rst, section 5).  An instruction may take several
 * exits, so this goes on until the kernel reports that it was asked to leave.  The last return hands
 * over registers in the run page.
 */
static void commit_io(struct vcpu *vcpu)
{
	uint64_t sync = vcpu->vm->kvm->caps.sync_regs;

	vcpu->handed_over = 0;
	if (!atomic_load_explicit(&vcpu->has_run, memory_order_relaxed))
		return;
	set_immediate_exit(vcpu, 1);
	vcpu->run->kvm_valid_regs = sync;
	for (;;) {
		if (kvm_ioctl(&vcpu->kvm, KVM_REQ_RUN, NULL) < 0) {
			if (errno == EAGAIN)
				continue;
			if (errno == EINTR)
				vcpu->handed_over = sync;
			else
				vcpu_fail_run(vcpu);
			break;
		}
		if (vcpu_handle_exit(vcpu) == HOLD)
			break;
	}
	vcpu->run->kvm_valid_regs = 0;
}

/* Which signals are blocked inside KVM_RUN: api.rst 4.22.  The set is the kernel's, not libc's. */
static int set_kvm_signal_mask(struct vcpu *vcpu, uint64_t blocked)
{
	union {
		struct kvm_signal_mask mask;
		uint8_t room[sizeof(struct kvm_signal_mask) + sizeof(blocked)];
	} arg;

	memset(&arg, 0, sizeof(arg));
	arg.mask.len = sizeof(blocked);
	memcpy(arg.mask.sigset, &blocked, sizeof(blocked));
	return kvm_ioctl(&vcpu->kvm, KVM_REQ_SET_SIGNAL_MASK, &arg);
}

/*
 * The signal is blocked here and not inside KVM_RUN, so that the kernel finds it pending before
 * every entry into the guest, whatever it does before (vcpu_run() in x86.c).  It stays pending and
 * is taken away at the end.  That it really is there is checked, for else the guest would run.
 */
static void settle(struct vcpu *vcpu)
{
	const struct timespec at_once = { .tv_sec = 0 };
	sigset_t kick, old, pending;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	if (pthread_kill(pthread_self(), KICK_SIGNAL) == 0 && sigpending(&pending) == 0 &&
	    sigismember(&pending, KICK_SIGNAL) == 1 &&
	    set_kvm_signal_mask(vcpu, ~(UINT64_C(1) << (KICK_SIGNAL - 1))) == 0) {
		set_immediate_exit(vcpu, 0);
		for (;;) {
			if (kvm_ioctl(&vcpu->kvm, KVM_REQ_RUN, NULL) < 0) {
				if (errno != EINTR && errno != EAGAIN)
					vcpu_fail_run(vcpu);
				break;
			}
			if (vcpu_handle_exit(vcpu) == HOLD)
				break;
		}
		kvm_ioctl(&vcpu->kvm, KVM_REQ_SET_SIGNAL_MASK, NULL);
	} else {
		log_warning("vCPU %d can not settle: an APIC timer that has just expired may be "
			    "lost in a snapshot", vcpu->index);
	}
	while (sigtimedwait(&kick, NULL, &at_once) >= 0)
		;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void park(struct vcpu *vcpu, uint32_t command)
{
	struct vm *vm = vcpu->vm;

	if (vcpu->settle)
		settle(vcpu);
	vcpu->settle = false;
	commit_io(vcpu);
	if (atomic_fetch_sub(&vm->nr_awaited, 1) == 1)
		futex_wake(&vm->nr_awaited, 1);
	await_command(vcpu, command);
	/*
	 * From here on a kick must not be lost: immediate_exit is cleared first, and the command
	 * looked at (again, in the loop) behind a full fence, which the sequentially consistent
	 * accesses are.
	 */
	set_immediate_exit(vcpu, 0);
}

static enum after_exit enter(struct vcpu *vcpu)
{
	if (!atomic_load_explicit(&vcpu->has_run, memory_order_relaxed))
		atomic_store_explicit(&vcpu->has_run, true, memory_order_relaxed);
	if (kvm_ioctl(&vcpu->kvm, KVM_REQ_RUN, NULL) == 0)
		return vcpu_handle_exit(vcpu);
	switch (errno) {
	case EINTR:
		return ENTER_AGAIN;
	case EAGAIN:
		/* A processor that waited for its INIT has got it (kvm_arch_vcpu_ioctl_run). */
		return ENTER_AGAIN;
	default:
		return vcpu_fail_run(vcpu);
	}
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *vcpu = opaque;
	sigset_t kick;
	char name[16];

	snprintf(name, sizeof(name), "CPU %d/KVM", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	atomic_store(&vcpu->tid, gettid());

	for (;;) {
		uint32_t command = atomic_load(&vcpu->command);

		switch (command_of(command)) {
		case VCPU_QUIT:
			return NULL;
		case VCPU_PARK:
			park(vcpu, command);
			break;
		case VCPU_RUN:
			/* While a request waits for the owner, the guest gets no further. */
			if (atomic_load(&vcpu->vm->posted) || enter(vcpu) == HOLD)
				await_command(vcpu, command);
			break;
		}
	}
}

static void kick_handler(int signal)
{
	/* Nothing to do: that a signal came is what makes KVM_RUN and futex_wait() return. */
	(void)signal;
}

int vcpu_signal_init(struct error *err)
{
	struct sigaction action = { .sa_handler = kick_handler };

	sigemptyset(&action.sa_mask);
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return error_errno(err, errno, "the handler of signal %d", KICK_SIGNAL);
	return 0;
}

static int setup_mce(struct vcpu *vcpu, struct error *err)
{
	uint64_t mcg_cap = vcpu->vm->kvm->caps.mce_banks | MCG_CTL_P;

	if (!vcpu->vm->kvm->caps.mce_banks)
		return 0;
	return kvm_call(&vcpu->kvm, KVM_REQ_X86_SETUP_MCE, &mcg_cap, err);
}

int vcpu_create(struct vcpu *vcpu, struct vm *vm, int index, struct error *err)
{
	uint32_t apic_id = cpu_topology_apic_id(&vm->topology, (unsigned int)index);
	int fd = kvm_call(&vm->handle, KVM_REQ_CREATE_VCPU, kvm_int_arg(apic_id), err);

	memset(vcpu, 0, sizeof(*vcpu));
	if (fd < 0)
		return error_prefix(err, "vCPU %d", index);
	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->apic_id = apic_id;
	vcpu->parked = true;
	kvm_handle_init(&vcpu->kvm, vm->kvm, fd);
	vcpu->run = kvm_map_run(&vcpu->kvm, err);
	if (!vcpu->run)
		goto err_close;
	if (setup_mce(vcpu, err) < 0)
		goto err_unmap;
	vcpu_state_init(&vcpu->state, &vcpu->kvm, vm->msr_table, index);
	return 0;

err_unmap:
	kvm_unmap_run(vm->kvm, vcpu->run);
err_close:
	kvm_handle_close(&vcpu->kvm);
	return error_prefix(err, "vCPU %d", index);
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int code;

	code = pthread_attr_init(&attr);
	if (code)
		return error_errno(err, code, "the thread of vCPU %d", vcpu->index);
	/* The process's own signals are for the owner's thread; a new thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	give_command(vcpu, VCPU_PARK);
	atomic_fetch_add(&vcpu->vm->nr_awaited, 1);
	vcpu->parked = false;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	code = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (code) {
		atomic_fetch_sub(&vcpu->vm->nr_awaited, 1);
		vcpu->parked = true;
		return error_errno(err, code, "cannot start the thread of vCPU %d", vcpu->index);
	}
	vcpu->thread_started = true;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->thread_started) {
		give_command(vcpu, VCPU_QUIT);
		commands_given(vcpu->vm);
		pthread_join(vcpu->thread, NULL);
		vcpu->thread_started = false;
	}
	vcpu_state_destroy(&vcpu->state);
	kvm_unmap_run(vcpu->kvm.kvm, vcpu->run);
	vcpu->run = NULL;
	kvm_handle_close(&vcpu->kvm);
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (command_of(atomic_load_explicit(&vcpu->command, memory_order_relaxed)) == VCPU_PARK)
		return;
	atomic_fetch_add(&vcpu->vm->nr_awaited, 1);
	give_command(vcpu, VCPU_PARK);
	/* If it waits for a command, or is about to, and not in KVM_RUN: see await_command(). */
	atomic_fetch_add(&vcpu->vm->commands, 1);
	set_immediate_exit(vcpu, 1);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_settle(struct vcpu *vcpu)
{
	if (!vcpu->parked || !atomic_load_explicit(&vcpu->has_run, memory_order_relaxed))
		return;
	vcpu_state_settled(&vcpu->state);
	vcpu->parked = false;
	vcpu->settle = true;
	atomic_fetch_add(&vcpu->vm->nr_awaited, 1);
	give_command(vcpu, VCPU_PARK);
	commands_given(vcpu->vm);
}

static void adopt_parked(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		uint32_t command = atomic_load_explicit(&vcpu->command, memory_order_relaxed);

		if (vcpu->parked || command_of(command) != VCPU_PARK)
			continue;
		vcpu->parked = true;
		vcpu_state_parked(&vcpu->state, &vcpu->run->s.regs, vcpu->handed_over,
				  atomic_load_explicit(&vcpu->has_run, memory_order_relaxed));
	}
}

void vcpus_await(struct vm *vm)
{
	uint32_t left;

	while ((left = atomic_load(&vm->nr_awaited)) != 0)
		futex_wait(&vm->nr_awaited, left, NULL);
	adopt_parked(vm);
}

bool vcpus_await_briefly(struct vm *vm, long nanoseconds)
{
	const struct timespec time = { .tv_nsec = nanoseconds };
	uint32_t left = atomic_load(&vm->nr_awaited);

	if (left)
		futex_wait(&vm->nr_awaited, left, &time);
	if (atomic_load(&vm->nr_awaited))
		return false;
	adopt_parked(vm);
	return true;
}

void vcpus_go(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (!vm->vcpu[i].parked)
			continue;
		vm->vcpu[i].parked = false;
		memset(&vm->vcpu[i].frozen, 0, sizeof(vm->vcpu[i].frozen));
		give_command(&vm->vcpu[i], VCPU_RUN);
	}
	commands_given(vm);
}

void vcpu_mark_stop(struct vcpu *vcpu)
{
	memcpy(vcpu->gets_at_stop, vcpu->state.gets, sizeof(vcpu->gets_at_stop));
	memcpy(vcpu->sets_at_stop, vcpu->state.sets, sizeof(vcpu->sets_at_stop));
}

struct vcpu_sync_counts vcpu_sync_counts(const struct vcpu *vcpu, enum vcpu_substate sub)
{
	return (struct vcpu_sync_counts) {
		.gets = vcpu->state.gets[sub],
		.sets = vcpu->state.sets[sub],
		.gets_since_stop = vcpu->state.gets[sub] - vcpu->gets_at_stop[sub],
		.sets_since_stop = vcpu->state.sets[sub] - vcpu->sets_at_stop[sub],
	};
}
