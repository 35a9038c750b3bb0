/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "vmm/dev/machine_devices.h"
#include "vmm/lapic.h"
#include "vmm/log.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_reset.h"
#include "vmm/vm_internal.h"

/* Ten times what a kick takes; less than a time slice. */
#define STARVED_NS 200000

bool vm_is_running(const struct vm *vm)
{
	return vm->state == RUN_STATE_RUNNING;
}

void vm_emit(struct vm *vm, struct vm_event event)
{
	if (vm->callbacks.event)
		vm->callbacks.event(vm->callbacks.opaque, &event);
}

void vm_enter_state(struct vm *vm, enum run_state state)
{
	if (vm->state == state)
		return;
	if (!run_state_may_become(vm->state, state))
		log_error("the machine goes from %s to %s, which no table of transitions has",
			  run_state_name(vm->state), run_state_name(state));
	vm->state = state;
}

/* ---- parking ---- */

/* Parked vCPUs below `end` were told by the hook that they would run; they have not. */
static void not_gone(struct vm *vm, unsigned int end)
{
	for (unsigned int i = 0; i < end; i++)
		if (vm->vcpu[i].parked)
			vcpu_state_parked(&vm->vcpu[i].state, NULL, 0, vm->vcpu[i].state.has_run);
}

/* Before vCPUs are parked: those that were to go, and are held back, stay where they are. */
static void cancel_go(struct vm *vm)
{
	if (vm->go_pending)
		not_gone(vm, vm->nr_vcpus);
	vm->go_pending = false;
}

static void park_all(struct vm *vm)
{
	cancel_go(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
	vcpus_await(vm);
}

/*
 * Writes back what is dirty on all parked vCPUs.  All hooks come before the first vCPU goes: a
 * failure moves none.
 */
static int write_back(struct vm *vm, struct error *err)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpu[i].parked && vcpu_state_before_run(&vm->vcpu[i].state, err) < 0) {
			not_gone(vm, i);
			return -1;
		}
	}
	return 0;
}

static void go(struct vm *vm)
{
	if (vm->held_back)
		vm->go_pending = true;
	else
		vcpus_go(vm);
}

void vm_hold_back(struct vm *vm)
{
	vm->held_back = true;
}

void vm_let_go(struct vm *vm)
{
	vm->held_back = false;
	if (vm->go_pending)
		vcpus_go(vm);
	vm->go_pending = false;
}

/* ---- counts ---- */

static void count_all(const struct vm *vm, struct vm_sync_counts *counts)
{
	counts->vcpu_sets = 0;
	counts->vm_sets = kvm_handle_count(&vm->handle, KVM_CLASS_SET);
	counts->policy = kvm_handle_count(&vm->handle, KVM_CLASS_POLICY);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		counts->vcpu_sets += kvm_handle_count(&vm->vcpu[i].kvm, KVM_CLASS_SET);
		counts->policy += kvm_handle_count(&vm->vcpu[i].kvm, KVM_CLASS_POLICY);
	}
}

void vm_sync_counts(const struct vm *vm, struct vm_sync_counts *counts)
{
	count_all(vm, counts);
	counts->vcpu_sets -= vm->at_stop.vcpu_sets;
	counts->vm_sets -= vm->at_stop.vm_sets;
	counts->policy -= vm->at_stop.policy;
}

void vm_mark_stop(struct vm *vm)
{
	count_all(vm, &vm->at_stop);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_mark_stop(&vm->vcpu[i]);
}

/* ---- stop and cont ---- */

void vm_stop_in_state(struct vm *vm, enum run_state state)
{
	if (!vm_is_running(vm))
		return;
	park_all(vm);
	vm_devices_stop(vm->devices);
	vm_time_stop(vm);
	vm_mark_stop(vm);
	vm_enter_state(vm, state);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_STOP });
}

void vm_stop(struct vm *vm)
{
	vm_migration_keep_stopped(vm, true);
	vm_stop_in_state(vm, RUN_STATE_PAUSED);
}

int vm_cont(struct vm *vm, struct error *err)
{
	const char *refusal = run_state_cont_refusal(vm->state);

	if (vm_dump_refuse(vm, err) < 0)
		return -1;
	if (vm_is_running(vm) || vm->state == RUN_STATE_SUSPENDED)
		return 0;
	if (vm->state == RUN_STATE_INMIGRATE) {
		vm_migration_keep_stopped(vm, false);
		return 0;
	}
	if (refusal)
		return error_set(err, EPERM, "%s", refusal);
	vcpus_await(vm);
	if (write_back(vm, err) < 0)
		return -1;
	if (vm_time_go_on(vm, err) < 0) {
		not_gone(vm, vm->nr_vcpus);
		return -1;
	}
	vm_devices_go_on(vm->devices);
	go(vm);
	vm_enter_state(vm, RUN_STATE_RUNNING);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_RESUME });
	return 0;
}

/* ---- looking ---- */

int vm_inspect_begin(struct vm *vm, int index, struct error *err)
{
	unsigned int first = index < 0 ? 0 : (unsigned int)index;
	unsigned int last = index < 0 ? vm->nr_vcpus - 1 : (unsigned int)index;

	if (last >= vm->nr_vcpus)
		return error_set(err, EINVAL, "there is no vCPU %d; they are 0 to %u", index,
				 vm->nr_vcpus - 1);
	if (vm_is_running(vm)) {
		cancel_go(vm);
		for (unsigned int i = first; i <= last; i++)
			vcpu_kick(&vm->vcpu[i]);
		/*
		 * A kicked vCPU parks within microseconds if it has a processor.  One that has none
		 * waits behind its siblings, whole time slices of them; parking those for a moment
		 * lets it through, and costs them less than it would wait.
		 */
		if (!vcpus_await_briefly(vm, STARVED_NS))
			park_all(vm);
	} else {
		vcpus_await(vm);
	}
	for (unsigned int i = first; i <= last; i++)
		vcpu_state_refresh(&vm->vcpu[i].state);
	return 0;
}

/* Sends vCPUs of a running VM on that were parked in between. */
static void send_on(struct vm *vm)
{
	struct error err;

	/* Nothing can be dirty, as editing a running VM is not allowed, so nothing is written. */
	if (write_back(vm, &err) < 0) {
		log_error("a vCPU that was parked can not go on: %s", err.text);
		vm_stop_in_state(vm, RUN_STATE_INTERNAL_ERROR);
		return;
	}
	go(vm);
}

void vm_inspect_end(struct vm *vm)
{
	if (vm_is_running(vm))
		send_on(vm);
}

/* ---- reset, power, the end ---- */

static int reset_irqchips(struct vm *vm, struct error *err)
{
	for (int i = 0; i < 3; i++)
		if (kvm_call(&vm->handle, KVM_REQ_SET_IRQCHIP, &vm->pristine.irqchip[i], err) < 0)
			return -1;
	if (vm->kvm->caps.pit_state2)
		return kvm_call(&vm->handle, KVM_REQ_SET_PIT2, &vm->pristine.pit, err);
	return 0;
}

/* Nothing has happened to this vCPU since it was created: resetting it would write what is there. */
static bool untouched(const struct vcpu *vcpu)
{
	return !vcpu->state.has_run && !vcpu->state.loaded && !vcpu->state.dirty;
}

static int reset_vcpus(struct vm *vm, struct error *err)
{
	bool untouched_all = true;

	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		untouched_all = untouched_all && untouched(&vm->vcpu[i]);
	if (untouched_all)
		return 0;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		vcpu_state_refresh(&vm->vcpu[i].state);
		if (vcpu_reset_edit(&vm->vcpu[i].state, vm->vcpu[i].apic_id, i == 0, err) < 0)
			return -1;
	}
	if (vm_boot(vm, err) < 0)
		return -1;
	if (vm->vcpu[0].state.loaded && !vm->config.boot.kernel)
		log_error("the machine has been reset and halts: it was started from saved state, "
			  "with no kernel to boot; start it with --kernel too");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vcpu_state_after_reset(&vm->vcpu[i].state, err) < 0)
			return -1;
	return 0;
}

/* What the old machine could not go on with is no concern of the new one. */
static void forget_failures(struct vm *vm)
{
	atomic_fetch_and(&vm->posted, ~(uint32_t)VM_REQUEST_INTERNAL_ERROR);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		vm->vcpu[i].failed = false;
		vm->vcpu[i].failed_insn_len = 0;
	}
}

static void shut_down(struct vm *vm, enum shutdown_cause cause, int exit_status)
{
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_SHUTDOWN, .cause = cause });
	if (vm->actions.shutdown == SHUTDOWN_ACTION_PAUSE) {
		vm_stop_in_state(vm, RUN_STATE_SHUTDOWN);
		return;
	}
	park_all(vm);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_EXIT, .exit_status = exit_status });
}

int vm_system_reset(struct vm *vm, enum shutdown_cause cause, struct error *err)
{
	bool was_running = vm_is_running(vm);

	if (vm->actions.reboot == REBOOT_ACTION_SHUTDOWN) {
		shut_down(vm, cause, 0);
		return 0;
	}
	/* Its state and its RAM are being read, or written, by another thread. */
	if (vm_migration_moving(vm))
		return error_set(err, EBUSY, "the machine is being saved or loaded; reset it when that "
				 "is done, or cancel that (migrate_cancel)");
	if (vm_dump_refuse(vm, err) < 0)
		return -1;
	park_all(vm);
	forget_failures(vm);
	vm_devices_reset(vm->devices);
	if (vm->xen)
		xen_hvm_reset(vm->xen);
	if (reset_irqchips(vm, err) < 0 || reset_vcpus(vm, err) < 0 ||
	    (was_running && write_back(vm, err) < 0)) {
		/* Neither the old machine nor a new one: it stops, instead of running half of each. */
		if (was_running)
			vm_stop_in_state(vm, RUN_STATE_INTERNAL_ERROR);
		else
			vm_enter_state(vm, RUN_STATE_INTERNAL_ERROR);
		return error_prefix(err, "the machine can not be reset");
	}
	if (vm->time_stopped)
		vm_time_reset(vm);
	if (was_running)
		go(vm);
	else if (vm->state != RUN_STATE_INMIGRATE && vm->state != RUN_STATE_FINISH_MIGRATE)
		vm_enter_state(vm, RUN_STATE_PRELAUNCH);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_RESET, .cause = cause });
	return 0;
}

void vm_system_powerdown(struct vm *vm)
{
	vm_devices_power_button(vm->devices);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_POWERDOWN });
}

void vm_quit(struct vm *vm, enum shutdown_cause cause)
{
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_SHUTDOWN, .cause = cause });
	park_all(vm);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_EXIT });
}

/*
 * As the NMI button of a PC: the line goes to LINT1 of every LAPIC, which passes it on if the guest
 * has programmed it to.
 */
static int nmi_to(struct vcpu *vcpu, struct error *err)
{
	const struct kvm_lapic_state *lapic = vcpu_state_lapic(&vcpu->state, err);
	uint32_t lint1;

	if (!lapic)
		return -1;
	lint1 = lapic_register(lapic, LAPIC_LVT_1);
	if ((lint1 & LAPIC_LVT_MASKED) || (lint1 & LAPIC_LVT_MODE) != LAPIC_LVT_MODE_NMI)
		return 0;
	if (kvm_call(&vcpu->kvm, KVM_REQ_NMI, NULL, err) < 0)
		return error_prefix(err, "vCPU %d", vcpu->index);
	vcpu_state_events_moved(&vcpu->state);
	return 0;
}

int vm_inject_nmi(struct vm *vm, struct error *err)
{
	int rc = 0;

	if (!vm->kvm->caps.user_nmi)
		return error_set(err, ENOTSUP, "this host's KVM has no KVM_CAP_USER_NMI");
	/* KVM_NMI waits for the vCPU to leave KVM_RUN, so they are made to. */
	if (vm_inspect_begin(vm, -1, err) < 0)
		return -1;
	for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++)
		rc = nmi_to(&vm->vcpu[i], err);
	vm_inspect_end(vm);
	return rc;
}

/* ---- what vCPU threads ask for ---- */

void vm_post(struct vm *vm, enum vm_request request)
{
	atomic_fetch_or(&vm->posted, request);
	if (vm->callbacks.wake)
		vm->callbacks.wake(vm->callbacks.opaque);
}

static void fail(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i].failed)
			vcpu_dump(&vm->vcpu[i]);
	vm_stop_in_state(vm, RUN_STATE_INTERNAL_ERROR);
	/* It had been stopped already, to go on later: it can not. */
	if (!run_state_cont_refusal(vm->state))
		vm_enter_state(vm, RUN_STATE_INTERNAL_ERROR);
}

static void emit_panic(struct vm *vm, enum vm_event_type type, enum guest_panic_action action)
{
	vm_emit(vm, (struct vm_event) { .type = type, .action = action });
}

/* Whether the machine has come to its end by that. */
static bool panic(struct vm *vm)
{
	enum panic_action action = vm->actions.panic;

	if (action == PANIC_ACTION_SHUTDOWN && vm->actions.shutdown == SHUTDOWN_ACTION_PAUSE)
		action = PANIC_ACTION_PAUSE;
	switch (action) {
	case PANIC_ACTION_NONE:
		emit_panic(vm, VM_EVENT_GUEST_PANICKED, GUEST_PANIC_RUN);
		return false;
	case PANIC_ACTION_PAUSE:
		emit_panic(vm, VM_EVENT_GUEST_PANICKED, GUEST_PANIC_PAUSE);
		vm_stop_in_state(vm, RUN_STATE_GUEST_PANICKED);
		return false;
	case PANIC_ACTION_SHUTDOWN:
	case PANIC_ACTION_EXIT_FAILURE:
		break;
	}
	emit_panic(vm, VM_EVENT_GUEST_PANICKED, GUEST_PANIC_POWEROFF);
	shut_down(vm, SHUTDOWN_CAUSE_GUEST_PANIC,
		  action == PANIC_ACTION_EXIT_FAILURE ? EXIT_FAILURE : EXIT_SUCCESS);
	return true;
}

void vm_dispatch(struct vm *vm)
{
	struct error err;
	uint32_t posted;

	/* Of a machine on its way nothing else can be done until it is here or gone. */
	if (vm_migration_moving(vm) &&
	    (atomic_fetch_and(&vm->posted, ~(uint32_t)VM_REQUEST_MIGRATION) & VM_REQUEST_MIGRATION))
		vm_migration_dispatch(vm);
	if (vm_dump_active(vm) &&
	    (atomic_fetch_and(&vm->posted, ~(uint32_t)VM_REQUEST_DUMP) & VM_REQUEST_DUMP))
		vm_dump_dispatch(vm);
	if (!atomic_load(&vm->posted) || vm_migration_moving(vm) || vm_dump_active(vm))
		return;
	/*
	 * As long as something is posted no vCPU enters the guest, and the one that posted waits for
	 * a new command.  So all are parked before it is taken away.
	 */
	if (vm_is_running(vm))
		park_all(vm);
	posted = atomic_exchange(&vm->posted, 0);
	if (posted & VM_REQUEST_INTERNAL_ERROR)
		fail(vm);
	if (posted & VM_REQUEST_CRASHLOADED)
		emit_panic(vm, VM_EVENT_GUEST_CRASHLOADED, GUEST_PANIC_RUN);
	/* Of several vCPUs that want different things, the one that has panicked knows best. */
	if ((posted & VM_REQUEST_PANIC) && panic(vm))
		return;
	if (posted & VM_REQUEST_DEBUG_EXIT) {
		shut_down(vm, SHUTDOWN_CAUSE_GUEST_SHUTDOWN, atomic_load(&vm->debug_exit_status));
	} else if (posted & VM_REQUEST_SHUTDOWN) {
		shut_down(vm, SHUTDOWN_CAUSE_GUEST_SHUTDOWN, 0);
	} else if (posted & VM_REQUEST_RESET) {
		if (vm_system_reset(vm, SHUTDOWN_CAUSE_GUEST_RESET, &err) < 0)
			log_error("%s", err.text);
	} else if (vm_is_running(vm)) {
		send_on(vm);
	}
}

void vm_catch_up(struct vm *vm)
{
	bool held_back = vm->held_back;

	if (vm_is_running(vm))
		park_all(vm);
	/* What this would send on again gets no further. */
	vm->held_back = true;
	vm_dispatch(vm);
	vm->held_back = held_back;
}
