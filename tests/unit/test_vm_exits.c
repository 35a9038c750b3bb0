/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/* What a vCPU can not go on with, and what keeps a machine from being sent on. */

static struct error err;

static int start(const struct fake_step *step)
{
	fake_vcpu_script(machine_model(1), step, 1);
	memset(&err, 0, sizeof(err));
	return vm_cont(machine.vm, &err);
}

static void is_broken(const char *events)
{
	uint64_t entries;

	ck_assert_str_eq(machine_events(), events);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	ck_assert_int_eq(vm_cont(machine.vm, &err), -1);
	ck_assert_str_eq(err.text, "Resetting the Virtual Machine is required");
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 0);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
	entries = machine_model(0)->entries;
	machine_cont();
	fake_vcpu_await_entries(machine_model(0), entries + 1);
}

/* ---- Exits ---- */

START_TEST(events_of_the_system)
{
	const struct fake_step step = {
		FAKE_EXIT, .address = KVM_EXIT_SYSTEM_EVENT,
		.data = _i ? KVM_SYSTEM_EVENT_RESET : KVM_SYSTEM_EVENT_SHUTDOWN,
	};

	ck_assert_int_eq(start(&step), 0);
	machine_dispatch();
	ck_assert_str_eq(machine_events(), _i ? "RESUME RESET(guest-reset)" :
						"RESUME SHUTDOWN(guest-shutdown) EXIT(0)");
}
END_TEST

/* One that this version does not know, and exits that are none: the guest goes on. */
START_TEST(exits_that_mean_nothing)
{
	static const struct fake_step steps[] = {
		{ FAKE_EXIT, .address = KVM_EXIT_SYSTEM_EVENT, .data = 99 },
		{ FAKE_EXIT, .address = KVM_EXIT_INTR }, { FAKE_EXIT, .address = KVM_EXIT_IRQ_WINDOW_OPEN },
		{ FAKE_EAGAIN, .address = 0 }, { FAKE_EINTR, .address = 0 },
	};

	ck_assert_int_eq(start(&steps[_i]), 0);
	fake_vcpu_await_entries(machine_model(1), 2);
	vm_stop(machine.vm);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(exits_that_are_the_end)
{
	static const struct {
		uint32_t reason, word;
		const char *text;
	} exits[] = {
		{ KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_SIMUL_EX,
		  "vCPU 1: KVM internal error, suberror 2" },
		{ KVM_EXIT_UNKNOWN, 0, "vCPU 1: KVM_RUN returned with exit reason 0, which vmond does "
		  "not know" },
		{ 4711, 0, "vCPU 1: KVM_RUN returned with exit reason 4711, which vmond does not know" },
	};
	const struct fake_step step = {
		FAKE_EXIT, .address = exits[_i].reason, .data = exits[_i].word,
	};

	ck_assert_int_eq(start(&step), 0);
	machine_dispatch();
	ck_assert_int_eq(strncmp(logged(), exits[_i].text, strlen(exits[_i].text)), 0);
	is_broken("RESUME STOP");
}
END_TEST

/* ---- A stop, and a vCPU that breaks while it parks ---- */

static void await_woken(void)
{
	while (sem_wait(&machine.woken) < 0)
		ck_assert_int_eq(errno, EINTR);
}

/* Its exit for I/O does not get out of the kernel before it has been kicked. */
static void until_kicked(void *opaque, struct fake_vcpu *vcpu)
{
	(void)opaque;
	while (vcpu->index == 1 && vcpu->io.pending &&
	       !__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_SEQ_CST))
		sched_yield();
}

enum breakage {
	COMPLETION_BREAKS,      /* the kernel can not emulate the rest of the instruction */
	COMPLETION_FAILS,       /* it refuses the call */
	BROKEN_BEFORE,          /* and nobody has been told before the stop came */
	BREAKAGES
};

/* Whoever has stopped a machine must not be told that it could go on: the result of I/O is lost. */
START_TEST(broken_when_it_was_stopped)
{
	const struct fake_step steps[] = {
		{ FAKE_IN, .address = 0x3f8, .size = 1, .breaks = _i == COMPLETION_BREAKS },
		{ FAKE_FAIL_ENTRY, .address = 0 },
	};

	fake_kvm_windows(machine.fake, NULL, until_kicked, NULL);
	if (_i == COMPLETION_FAILS)
		fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_RUN, .vcpu = 1,
								  .nth = 2, .error = EFAULT });
	ck_assert_int_eq(start(&steps[_i == BROKEN_BEFORE]), 0);
	fake_vcpu_await_entries(machine_model(1), 1);
	if (_i == BROKEN_BEFORE)
		await_woken();
	vm_stop(machine.vm);
	fake_kvm_heal(machine.fake);
	if (_i != BROKEN_BEFORE)
		await_woken();
	vm_dispatch(machine.vm);
	ck_assert_ptr_nonnull(strstr(logged(),
				     _i == COMPLETION_FAILS ? "vCPU 1: KVM_RUN: Bad address" :
				     _i == COMPLETION_BREAKS ? "vCPU 1: KVM can not emulate" :
				     "vCPU 1: the processor refuses to enter the guest"));
	is_broken("RESUME STOP");
}
END_TEST

/* A reset is what gets a machine out of that, and one that comes first makes an end of it, too. */
START_TEST(broken_when_it_was_reset)
{
	const struct fake_step step = { FAKE_FAIL_ENTRY, .address = 0 };
	uint64_t entries;

	ck_assert_int_eq(start(&step), 0);
	await_woken();
	if (_i)
		vm_stop(machine.vm);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 0);
	vm_dispatch(machine.vm);
	ck_assert_str_eq(machine_events(), _i ? "RESUME STOP RESET(host-qmp-system-reset)" :
						"RESUME RESET(host-qmp-system-reset)");
	ck_assert_int_eq(machine.vm->state, _i ? RUN_STATE_PRELAUNCH : RUN_STATE_RUNNING);
	ck_assert_ptr_nonnull(strstr(logged(), "refuses to enter the guest"));
	vm_stop(machine.vm);
	entries = machine_model(0)->entries;
	machine_cont();
	fake_vcpu_await_entries(machine_model(0), entries + 1);
}
END_TEST

/* A KVM that has accepted an INIT meanwhile says EAGAIN, whatever it was asked. */
START_TEST(parking_is_tried_again)
{
	const struct fake_step step = { FAKE_IN, .address = 0x3f8, .size = 1, .advance = 2 };
	uint64_t rip = machine_model(1)->regs.rip;

	fake_kvm_windows(machine.fake, NULL, until_kicked, NULL);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_RUN, .vcpu = 1, .nth = 2,
							  .times = 2, .error = EAGAIN });
	ck_assert_int_eq(start(&step), 0);
	fake_vcpu_await_entries(machine_model(1), 1);
	vm_stop(machine.vm);
	ck_assert_uint_eq(machine_model(1)->regs.rip, rip + 2);
	ck_assert_uint_eq(machine_model(1)->entries, 1);
	ck_assert_pstr_eq(machine_look(), NULL);
}
END_TEST

/* ---- Sending on ---- */

/* All that is written at RUNTIME, of every vCPU. */
static void edit_all(void)
{
	for (unsigned int i = 0; i < machine.vm->nr_vcpus; i++) {
		struct vcpu_state *s = &machine.vm->vcpu[i].state;

		for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
			if (vcpu_substate_level(sub) == VCPU_LEVEL_RUNTIME && vcpu_state_offers(s, sub) &&
			    sub != SUBSTATE_MSRS)
				ck_assert(substate_cases[sub].edit(s, substate_cases[sub].fit(77), &err));
	}
}

static unsigned int countdown;

static int at_the_nth(void *opaque, unsigned long request, int vcpu)
{
	(void)opaque;
	(void)vcpu;
	return request == KVM_RUN || !countdown || --countdown ? 0 : EIO;
}

/* None of the vCPUs goes, and the machine stands still as before; what was edited is not lost. */
START_TEST(sent_on_and_refused)
{
	uint64_t entries[2], seed = 3;
	unsigned int n;

	machine_run_all();
	vm_stop(machine.vm);
	fill_vm(fake_kvm_vm(machine.fake, 0), &seed);
	for (n = 1;; n++) {
		edit_all();
		machine_events();
		for (unsigned int i = 0; i < 2; i++)
			entries[i] = machine_model(i)->entries;
		countdown = n;
		fake_kvm_fail_by(machine.fake, at_the_nth, NULL);
		if (vm_cont(machine.vm, &err) == 0)
			break;
		fake_kvm_heal(machine.fake);
		ck_assert_int_eq(err.code, EIO);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
		ck_assert_str_eq(machine_events(), "");
		for (unsigned int i = 0; i < 2; i++)
			ck_assert_uint_eq(machine_model(i)->entries, entries[i]);
	}
	fake_kvm_heal(machine.fake);
	ck_assert_uint_gt(n, 2 * 5);
	for (unsigned int i = 0; i < 2; i++) {
		fake_vcpu_await_entries(machine_model(i), entries[i] + 1);
		ck_assert_uint_eq(machine.vm->vcpu[i].state.dirty, 0);
	}
	vm_stop(machine.vm);
	ck_assert_pstr_eq(machine_look(), NULL);
}
END_TEST

/* The clock, the PIT, or that the guest is told of the pause. */
START_TEST(sent_on_without_time)
{
	static const unsigned long requests[] = { KVM_SET_CLOCK, KVM_SET_PIT2, KVM_KVMCLOCK_CTRL };
	struct fake_vm *vm = fake_kvm_vm(machine.fake, 0);
	uint64_t entries, clock;

	machine_run_all();
	vm->pit.channels[0].mode = 2;
	vm->clock.clock = 123456;
	vm_stop(machine.vm);
	machine_events();
	entries = machine_model(1)->entries;
	clock = machine.vm->clock.clock;
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = requests[_i], .vcpu = -1,
							  .error = EIO });
	ck_assert_int_eq(vm_cont(machine.vm, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, _i == 0 ? "KVM_SET_CLOCK: " : _i == 1 ?
				     "KVM_SET_PIT2: " : "vCPU 0: KVM_KVMCLOCK_CTRL: "));
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	ck_assert_str_eq(machine_events(), "");
	ck_assert_pstr_eq(machine_look(), NULL);
	ck_assert_uint_eq(machine_model(1)->entries, entries);
	/* When it does go on, then from where it was. */
	vm->clock.clock = 0;
	fake_kvm_heal(machine.fake);
	machine_run_all();
	ck_assert_uint_eq(vm->clock.clock, clock);
}
END_TEST

/* Time that can not be read is no reason to run on. */
START_TEST(stopped_without_time)
{
	uint64_t mark = fake_kvm_mark(machine.fake);

	fake_kvm_vm(machine.fake, 0)->pit.channels[0].mode = 2;
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = _i ? KVM_GET_PIT2 : KVM_GET_CLOCK, .vcpu = -1, .error = EIO });
	machine_run_all();
	vm_stop(machine.vm);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	machine_run_all();
	/* Nor is it set to what was never read. */
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_SET_CLOCK), _i);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_SET_PIT2), !_i);
}
END_TEST

/*
 * What only a reset writes stays dirty while the guest runs, and has to be looked through whenever
 * a vCPU goes on: without memory for that, one that was only looked at can not.
 */
START_TEST(looked_at_and_not_sent_on)
{
	struct vcpu_state *s = &machine.vm->vcpu[1].state;
	int tsc = msr_table_find(machine.vm->msr_table, MSR_IA32_TSC);

	ck_assert_int_eq(vcpu_state_msr_edit(s, (unsigned int)tsc, 5, &err), 0);
	machine_run_all();
	machine_events();
	ck_assert_int_eq(vm_inspect_begin(machine.vm, -1, &err), 0);
	alloc_fail_at(1);
	vm_inspect_end(machine.vm);
	ck_assert(alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_str_eq(logged(), "a vCPU that was parked can not go on: vCPU 1: msrs: Cannot allocate "
			 "memory");
	is_broken("STOP");
}
END_TEST

/* ---- NMI ---- */

START_TEST(no_nmi)
{
	static const unsigned long requests[] = { KVM_GET_LAPIC, KVM_NMI };
	const uint32_t nmi = 4U << 8;

	memcpy(machine_model(1)->lapic.regs + 0x360, &nmi, sizeof(nmi));
	machine_run_all();
	machine_events();
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = requests[_i], .vcpu = 1,
							  .error = EIO });
	ck_assert_int_eq(vm_inject_nmi(machine.vm, &err), -1);
	ck_assert_str_eq(err.text, _i ? "vCPU 1: KVM_NMI: Input/output error" :
					"vCPU 1: KVM_GET_LAPIC: Input/output error");
	/* It runs on. */
	ck_assert(vm_is_running(machine.vm));
	ck_assert_str_eq(machine_events(), "");
	for (unsigned int i = 0; i < 2; i++)
		fake_vcpu_await_entries(machine_model(i), 2);
	fake_kvm_heal(machine.fake);
	ck_assert_int_eq(vm_inject_nmi(machine.vm, &err), 0);
}
END_TEST

START_TEST(a_host_without_nmi)
{
	transfers_begin();
	fake_kvm_set_cap(machine.fake, KVM_CAP_USER_NMI, 0);
	machine_start(1);
	ck_assert_int_eq(vm_inject_nmi(machine.vm, &err), -1);
	ck_assert_str_eq(err.text, "this host's KVM has no KVM_CAP_USER_NMI");
	teardown_machine();
}
END_TEST

Suite *vm_exits_suite(void)
{
	Suite *s = suite_create("vm_exits");
	TCase *t = tcase_create("exits"), *hosts = tcase_create("hosts");

	tcase_add_checked_fixture(t, setup_guest, teardown_machine);
	tcase_add_loop_test(t, events_of_the_system, 0, 2);
	tcase_add_loop_test(t, exits_that_mean_nothing, 0, 5);
	tcase_add_loop_test(t, exits_that_are_the_end, 0, 3);
	tcase_add_loop_test(t, broken_when_it_was_stopped, 0, BREAKAGES);
	tcase_add_loop_test(t, broken_when_it_was_reset, 0, 2);
	tcase_add_test(t, parking_is_tried_again);
	tcase_add_test(t, sent_on_and_refused);
	tcase_add_loop_test(t, sent_on_without_time, 0, 3);
	tcase_add_loop_test(t, stopped_without_time, 0, 2);
	tcase_add_test(t, looked_at_and_not_sent_on);
	tcase_add_loop_test(t, no_nmi, 0, 2);
	suite_add_tcase(s, t);
	tcase_add_test(hosts, a_host_without_nmi);
	suite_add_tcase(s, hosts);
	return s;
}
