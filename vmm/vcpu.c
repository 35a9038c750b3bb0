/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/log.h"
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

/* What follows an exit. */
enum after_exit {
	ENTER_AGAIN,
	HOLD,           /* the owner has been asked for something and decides */
};

static enum after_exit handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct bus *bus = &vcpu->vm->pio;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			uint64_t value = bus_read(bus, run->io.port, size);

			memcpy(data, &value, size);
		} else {
			uint64_t value = 0;

			memcpy(&value, data, size);
			bus_write(bus, run->io.port, value, size);
		}
	}
	return ENTER_AGAIN;
}

static enum after_exit handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct bus *bus = &vcpu->vm->mmio;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		bus_write(bus, run->mmio.phys_addr, value, run->mmio.len);
	} else {
		value = bus_read(bus, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
	return ENTER_AGAIN;
}

static enum after_exit handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_post(vcpu->vm, VM_REQUEST_SHUTDOWN);
		return HOLD;
	case KVM_SYSTEM_EVENT_RESET:
		vm_post(vcpu->vm, VM_REQUEST_RESET);
		return HOLD;
	default:
		log_warning("vCPU %d: unknown system event %" PRIu32 " is passed over", vcpu->index,
			    vcpu->run->system_event.type);
		return ENTER_AGAIN;
	}
}

static void note_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		log_error("vCPU %d: KVM internal error, suberror %" PRIu32, vcpu->index,
			  run->internal.suberror);
		return;
	}
	log_error("vCPU %d: KVM can not emulate the instruction", vcpu->index);
	/* data[0] has the flags, and the bytes with their number begin in data[1]. */
	if (run->internal.ndata < 4 ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	vcpu->failed_insn_len = run->emulation_failure.insn_size;
	if (vcpu->failed_insn_len > VCPU_INSN_MAX)
		vcpu->failed_insn_len = VCPU_INSN_MAX;
	memcpy(vcpu->failed_insn, run->emulation_failure.insn_bytes, vcpu->failed_insn_len);
}

static enum after_exit fail(struct vcpu *vcpu)
{
	vcpu->failed = true;
	vm_post(vcpu->vm, VM_REQUEST_INTERNAL_ERROR);
	return HOLD;
}

static enum after_exit fail_run(struct vcpu *vcpu)
{
	log_error("vCPU %d: KVM_RUN: %s", vcpu->index, strerror(errno));
	return fail(vcpu);
}

static enum after_exit handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return handle_io(vcpu);
	case KVM_EXIT_MMIO:
		return handle_mmio(vcpu);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return ENTER_AGAIN;
	case KVM_EXIT_SHUTDOWN:
		log_info("vCPU %d: triple fault", vcpu->index);
		vm_post(vcpu->vm, VM_REQUEST_RESET);
		return HOLD;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		note_internal_error(vcpu);
		return fail(vcpu);
	case KVM_EXIT_FAIL_ENTRY:
		log_error("vCPU %d: the processor refuses to enter the guest, hardware reason 0x%llx",
			  vcpu->index,
			  (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return fail(vcpu);
	default:
		log_error("vCPU %d: KVM_RUN returned with exit reason %" PRIu32 ", which vmond does "
			  "not know", vcpu->index, run->exit_reason);
		return fail(vcpu);
	}
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
				fail_run(vcpu);
			break;
		}
		if (handle_exit(vcpu) == HOLD)
			break;
	}
	vcpu->run->kvm_valid_regs = 0;
}

static void park(struct vcpu *vcpu, uint32_t command)
{
	struct vm *vm = vcpu->vm;

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
		return handle_exit(vcpu);
	switch (errno) {
	case EINTR:
		return ENTER_AGAIN;
	case EAGAIN:
		/* A processor that waited for its INIT has got it (kvm_arch_vcpu_ioctl_run). */
		return ENTER_AGAIN;
	default:
		return fail_run(vcpu);
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
	int fd = kvm_call(&vm->handle, KVM_REQ_CREATE_VCPU, kvm_int_arg((unsigned long)index), err);

	memset(vcpu, 0, sizeof(*vcpu));
	if (fd < 0)
		return error_prefix(err, "vCPU %d", index);
	vcpu->vm = vm;
	vcpu->index = index;
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
