/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/vm_internal.h"

/*
 * Guest time stands still while the machine is stopped: kvmclock, PIT and the host's TSC are read
 * when it stops, and clock and PIT set again when it goes on.
 */

/* A PIT channel in this mode has not been programmed since reset (arch/x86/kvm/i8254.c). */
#define PIT_MODE_UNUSED 0xff

/* A moment as how long before `now` it was, or the other way round.  Saved state may hold any. */
static int64_t before(int64_t now, int64_t ns)
{
	return (int64_t)((uint64_t)now - (uint64_t)ns);
}

void vm_time_stop(struct vm *vm)
{
	const struct kvm_caps *caps = &vm->kvm->caps;
	struct error err;

	vm->time_stopped = true;
	vm->clock_saved = false;
	vm->pit_saved = false;
	vm->pit_halted = false;
	vm->stop_tsc = kvm_host_tsc(vm->kvm);
	if (caps->adjust_clock) {
		if (kvm_call(&vm->handle, KVM_REQ_GET_CLOCK, &vm->clock, &err) < 0)
			log_warning("guest time goes on while the machine is stopped: %s", err.text);
		else
			vm->clock_saved = true;
	}
	if (caps->pit_state2) {
		vm->pit_ns = clock_ns(CLOCK_MONOTONIC);
		if (kvm_call(&vm->handle, KVM_REQ_GET_PIT2, &vm->pit, &err) < 0)
			log_warning("the PIT goes on while the machine is stopped: %s", err.text);
		else
			vm->pit_saved = vm->pit.channels[0].mode != PIT_MODE_UNUSED;
	}
}

int vm_pit_halt(struct vm *vm, struct error *err)
{
	struct kvm_pit_state2 halted = vm->pit;

	if (!vm->pit_saved || vm->pit_halted)
		return 0;
	halted.channels[0].mode = PIT_MODE_UNUSED;
	if (kvm_call(&vm->handle, KVM_REQ_SET_PIT2, &halted, err) < 0)
		return -1;
	vm->pit_halted = true;
	return 0;
}

void vm_time_load(struct vm *vm, uint64_t host_tsc, const struct kvm_clock_data *clock,
		  const struct kvm_pit_state2 *pit)
{
	vm->time_stopped = true;
	vm->stop_tsc = host_tsc;
	vm->clock_saved = clock;
	if (clock)
		vm->clock = *clock;
	vm->pit_saved = pit;
	vm->pit_halted = pit;           /* the kernel's has never been programmed */
	vm->pit_ns = clock_ns(CLOCK_MONOTONIC);
	if (!pit)
		return;
	vm->pit = *pit;
	for (int i = 0; i < 3; i++)
		vm->pit.channels[i].count_load_time =
			before(vm->pit_ns, pit->channels[i].count_load_time);
}

void vm_time_reset(struct vm *vm)
{
	vm->pit_saved = false;
	vm->pit = vm->pristine.pit;
	vm->stop_tsc = kvm_host_tsc(vm->kvm);
}

void vm_pit_with_ages(const struct vm *vm, struct kvm_pit_state2 *pit)
{
	*pit = vm->pit;
	for (int i = 0; i < 3; i++)
		pit->channels[i].count_load_time =
			before(vm->pit_ns, pit->channels[i].count_load_time);
}

/* A channel counts on from where it was: the kernel computes that from when it was loaded. */
static int resume_pit(struct vm *vm, struct error *err)
{
	struct kvm_pit_state2 pit = vm->pit;
	int64_t paused = clock_ns(CLOCK_MONOTONIC) - vm->pit_ns;

	for (int i = 0; i < 3; i++)
		pit.channels[i].count_load_time = before(pit.channels[i].count_load_time, -paused);
	return kvm_call(&vm->handle, KVM_REQ_SET_PIT2, &pit, err);
}

/* Clock before vCPUs: a guest that sees time jump back and forth stays stuck for minutes. */
int vm_time_go_on(struct vm *vm, struct error *err)
{
	if (vm->clock_saved) {
		struct kvm_clock_data clock = { .clock = vm->clock.clock };

		if (kvm_call(&vm->handle, KVM_REQ_SET_CLOCK, &clock, err) < 0)
			return -1;
	}
	if (vm->pit_saved && resume_pit(vm, err) < 0)
		return -1;
	if (vm->clock_saved && vm->kvm->caps.kvmclock_ctrl)
		for (unsigned int i = 0; i < vm->nr_vcpus; i++)
			/* So that the guest's watchdogs forgive the pause; EINVAL is a guest that
			 * does not use kvmclock. */
			if (kvm_ioctl(&vm->vcpu[i].kvm, KVM_REQ_KVMCLOCK_CTRL, NULL) < 0 &&
			    errno != EINVAL)
				return error_errno(err, errno, "vCPU %u: KVM_KVMCLOCK_CTRL", i);
	vm->time_stopped = false;
	vm->clock_saved = false;
	vm->pit_saved = false;
	return 0;
}
