/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/* Machines over the fake kernel: how they are reset and how they end; creation that fails. */

static void setup(void)
{
	machine_host();
	machine_start(4);
}

static void end_with(const struct fake_step *step)
{
	fake_vcpu_script(machine_model(3), step, 1);
	machine_cont();
	machine_dispatch();
}

START_TEST(a_triple_fault_resets)
{
	const struct fake_step fault = { FAKE_SHUTDOWN, .address = 0 };

	end_with(&fault);
	ck_assert_str_eq(machine_events(), "RESUME RESET(guest-reset)");
	ck_assert(vm_is_running(machine.vm));
	vm_stop(machine.vm);
	ck_assert_uint_eq(machine_model(3)->regs.rip, 0xfff0);
	ck_assert_uint_eq(machine_model(3)->mp_state, KVM_MP_STATE_UNINITIALIZED);
	ck_assert_pstr_eq(machine_look(), NULL);
}
END_TEST

START_TEST(a_reset_of_a_running_or_stopped_machine)
{
	struct error err = { .code = 0 };
	struct fake_vcpu *v = machine_model(1);
	uint64_t mark;

	machine_run_all();
	if (_i)
		vm_stop(machine.vm);
	machine_events();
	mark = fake_kvm_mark(machine.fake);
	ck_assert_msg(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err) == 0,
		      "%s", err.text);
	ck_assert_str_eq(machine_events(), "RESET(host-qmp-system-reset)");
	ck_assert_int_eq(vm_is_running(machine.vm), !_i);
	ck_assert_uint_gt(machine_sets(mark), 0);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_SET_CPUID2), 0);
	vm_stop(machine.vm);
	ck_assert_uint_eq(v->regs.rip, 0xfff0);
	ck_assert_uint_eq(v->regs.rflags, 2);
	ck_assert_uint_eq(v->sregs.cs.base, 0xffff0000);
	ck_assert_uint_eq(v->mp_state, KVM_MP_STATE_UNINITIALIZED);
	ck_assert_uint_ne(machine_model(0)->mp_state, KVM_MP_STATE_UNINITIALIZED);
	ck_assert_pstr_eq(machine_look(), NULL);
	mark = fake_kvm_mark(machine.fake);
	machine_cont();
	ck_assert_uint_eq(machine_sets(mark), 0);
}
END_TEST

START_TEST(without_reboot_a_reset_is_the_end)
{
	const struct fake_step fault = { FAKE_SHUTDOWN, .address = 0 };

	machine.vm->actions.reboot = REBOOT_ACTION_SHUTDOWN;
	machine.vm->actions.shutdown = _i ? SHUTDOWN_ACTION_PAUSE : SHUTDOWN_ACTION_POWEROFF;
	end_with(&fault);
	ck_assert_str_eq(machine_events(), _i ? "RESUME SHUTDOWN(guest-reset) STOP" :
						"RESUME SHUTDOWN(guest-reset) EXIT(0)");
	if (_i)
		ck_assert_int_eq(machine.vm->state, RUN_STATE_SHUTDOWN);
}
END_TEST

START_TEST(debug_exit_ends_with_a_status)
{
	const struct fake_step out = {
		FAKE_OUT, .address = 0xf4, .size = 1, .data = 3, .advance = 2,
	};

	end_with(&out);
	ck_assert_str_eq(machine_events(), "RESUME SHUTDOWN(guest-shutdown) EXIT(7)");
	ck_assert_uint_eq(machine_model(3)->entries, 1);
}
END_TEST

/*
 * Somebody looks before the end that a vCPU asked for has come: the guest gets no further.  Repeated,
 * for it depends on how fast the vCPU wakes up.
 */
START_TEST(a_look_does_not_send_an_ending_guest_on)
{
	const struct fake_step out = {
		FAKE_OUT, .address = 0xf4, .size = 1, .data = 3, .advance = 2,
	};

	fake_vcpu_script(machine_model(3), &out, 1);
	machine_cont();
	while (sem_wait(&machine.woken) < 0)
		ck_assert_int_eq(errno, EINTR);
	for (int i = 0; i < 3; i++)
		machine_look();
	vm_dispatch(machine.vm);
	ck_assert_str_eq(machine_events(), "RESUME SHUTDOWN(guest-shutdown) EXIT(7)");
	ck_assert_uint_eq(machine_model(3)->entries, 1);
}
END_TEST

START_TEST(what_kvm_can_not_go_on_with_stops_the_machine)
{
	const struct fake_step ends[] = {
		{ FAKE_INTERNAL_ERROR, .address = 0 }, { FAKE_FAIL_ENTRY, .address = 0 },
		{ FAKE_SPIN, .address = 0 },
	};
	struct error err = { .code = 0 };

	if (_i == 2)
		fake_kvm_fail(machine.fake, (struct fake_fault) { KVM_RUN, .vcpu = 3, .times = 1,
								  .error = EFAULT });
	end_with(&ends[_i]);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	ck_assert_pstr_eq(machine_look(), NULL);
	ck_assert_int_eq(vm_cont(machine.vm, &err), -1);
	ck_assert_int_ne(err.code, 0);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 0);
}
END_TEST

START_TEST(quit_ends_everything)
{
	machine_run_all();
	vm_quit(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_QUIT);
	ck_assert_str_eq(machine_events(), "RESUME SHUTDOWN(host-qmp-quit) EXIT(0)");
}
END_TEST

START_TEST(an_nmi_goes_where_the_guest_wants_it)
{
	struct error err = { .code = 0 };
	uint32_t nmi = 4U << 8;

	memcpy(machine_model(2)->lapic.regs + 0x360, &nmi, sizeof(nmi));
	memcpy(machine_model(0)->lapic.regs + 0x360, &(uint32_t) { 1U << 16 }, sizeof(nmi));
	machine_run_all();
	if (_i)
		vm_stop(machine.vm);
	ck_assert_int_eq(vm_inject_nmi(machine.vm, &err), 0);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_NMI), 1);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, 2, KVM_NMI), 1);
	if (_i) {
		ck_assert_uint_eq(vcpu_state_latched_events(&machine.vm->vcpu[2].state,
							    &err)->nmi_pending, 1);
		machine_run_all();
	} else {
		fake_vcpu_await_entries(machine_model(2), 2);
		vm_stop(machine.vm);
	}
	vm_stop(machine.vm);
	ck_assert_uint_eq(machine_model(2)->nmis_delivered, 1);
}
END_TEST

/* ---- Creation that fails ---- */

static const struct fake_fault creation_faults[] = {
	{ FAKE_OPEN, -1, 1, 0, EACCES }, { KVM_CREATE_VM, -1, 1, 0, ENOMEM },
	{ KVM_ENABLE_CAP, -1, 1, 0, EINVAL }, { KVM_ENABLE_CAP, -1, 2, 0, EINVAL },
	{ KVM_SET_IDENTITY_MAP_ADDR, -1, 1, 0, ENOMEM }, { KVM_SET_TSS_ADDR, -1, 1, 0, ENOMEM },
	{ KVM_SET_USER_MEMORY_REGION, -1, 1, 0, ENOMEM }, { KVM_CREATE_IRQCHIP, -1, 1, 0, ENOSPC },
	{ KVM_CREATE_PIT2, -1, 1, 0, ENOSPC }, { KVM_GET_IRQCHIP, -1, 2, 0, ENXIO },
	{ KVM_GET_PIT2, -1, 1, 0, ENXIO }, { KVM_CREATE_VCPU, -1, 1, 0, ENOMEM },
	{ KVM_CREATE_VCPU, -1, 4, 0, ENOSPC }, { KVM_X86_SETUP_MCE, 2, 1, 0, EINVAL },
	{ KVM_SET_CPUID2, 0, 1, 0, EINVAL }, { KVM_SET_CPUID2, 3, 1, 0, ENOMEM },
	{ KVM_GET_MP_STATE, 0, 1, 0, EIO }, { KVM_SET_SREGS2, 0, 1, 0, EIO },
	{ FAKE_MMAP, 0, 1, 0, ENOMEM }, { FAKE_MMAP, 3, 1, 0, ENOMEM },
};

START_TEST(creation_that_fails_leaves_nothing_behind)
{
	const struct fake_fault *fault = &creation_faults[_i];
	struct error err = { .code = 0 };

	machine_host();
	fake_kvm_fail(machine.fake, *fault);
	ck_assert_int_eq(machine_try(4, &err), -1);
	ck_assert_ptr_null(machine.vm);
	ck_assert_int_eq(err.code, fault->error);
	ck_assert_uint_gt(strlen(err.text), 0);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	if (fault->request == FAKE_OPEN) {
		ck_assert_str_eq(fake_kvm_leaks(machine.fake), "");
		fake_kvm_free(machine.fake);
		return;
	}
	machine_stop();
}
END_TEST

START_TEST(too_many_vcpus_are_refused)
{
	struct error err = { .code = 0 };

	machine_host();
	fake_kvm_set_cap(machine.fake, KVM_CAP_MAX_VCPUS, 8);
	ck_assert_int_eq(machine_try((unsigned int)_i, &err), -1);
	ck_assert_msg(strstr(err.text, "8"), "%s", err.text);
	machine_stop();
}
END_TEST

/* A KVM of another API, or without what is needed, is named. */
START_TEST(hosts_that_will_not_do)
{
	static const struct {
		unsigned int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	struct fake_kvm *fake = fake_kvm_new();
	struct error err = { .code = 0 };
	struct kvm kvm;

	if (_i < 4)
		fake_kvm_set_cap(fake, needed[_i].cap, 0);
	else
		fake_kvm_set_api_version(fake, 11);
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), -1);
	ck_assert_msg(strstr(err.text, _i < 4 ? needed[_i].name : "11"), "%s", err.text);
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	fake_kvm_free(fake);
}
END_TEST

/* More leaves than the first guess has room for. */
START_TEST(a_long_cpuid_table)
{
	machine_host();
	fake_kvm_set_cpuid_leaves(machine.fake, 200);
	machine_start(1);
	ck_assert_uint_eq(machine.kvm.supported_cpuid->nent, 200);
	machine_stop();
}
END_TEST

Suite *vm_ends_suite(void)
{
	Suite *s = suite_create("vm_ends");
	TCase *t = tcase_create("ends"), *creation = tcase_create("creation");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, machine_stop);
	tcase_add_test(t, a_triple_fault_resets);
	tcase_add_loop_test(t, a_reset_of_a_running_or_stopped_machine, 0, 2);
	tcase_add_loop_test(t, without_reboot_a_reset_is_the_end, 0, 2);
	tcase_add_loop_test(t, debug_exit_ends_with_a_status, 0, 10);
	tcase_add_loop_test(t, a_look_does_not_send_an_ending_guest_on, 0, 20);
	tcase_add_loop_test(t, what_kvm_can_not_go_on_with_stops_the_machine, 0, 3);
	tcase_add_test(t, quit_ends_everything);
	tcase_add_loop_test(t, an_nmi_goes_where_the_guest_wants_it, 0, 2);
	suite_add_tcase(s, t);

	tcase_add_loop_test(creation, creation_that_fails_leaves_nothing_behind, 0,
			    (int)(sizeof(creation_faults) / sizeof(creation_faults[0])));
	tcase_add_loop_test(creation, too_many_vcpus_are_refused, 9, 11);
	tcase_add_loop_test(creation, hosts_that_will_not_do, 0, 5);
	tcase_add_test(creation, a_long_cpuid_table);
	suite_add_tcase(s, creation);
	return s;
}
