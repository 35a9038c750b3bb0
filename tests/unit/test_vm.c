/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/* The whole machine over the fake kernel: stop, cont, looking, kicks, I/O under way. */

/* ---- Looking leaves nothing to write ---- */

static const unsigned int sizes[] = { 1, 4, 64, 256 };

#define SIZES 4

START_TEST(create_and_destroy)
{
	machine_host();
	machine_start(sizes[_i]);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
	ck_assert(!vm_is_running(machine.vm));
	ck_assert_str_eq(machine_events(), "");
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_RUN), 0);
	machine_stop();
}
END_TEST

/* Before the first run: a clone that is started paused, looked at, and sent on. */
START_TEST(a_machine_looked_at_before_its_first_run)
{
	uint64_t mark;

	machine_host();
	fake_kvm_poison(machine.fake, FAKE_STALE_CR3_BY_REGS | FAKE_STALE_CR3_BY_SREGS);
	machine_start(sizes[_i]);
	mark = fake_kvm_mark(machine.fake);
	for (int i = 0; i < 2; i++)
		machine_look();
	machine_run_all();
	ck_assert_uint_eq(machine_sets(mark), 0);
	machine_stop();
}
END_TEST

START_TEST(stop_look_cont_writes_nothing)
{
	struct vm_sync_counts counts;
	uint64_t mark;

	machine_host();
	machine_start(sizes[_i]);
	machine_run_all();
	for (int round = 0; round < 3; round++) {
		vm_stop(machine.vm);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
		mark = fake_kvm_mark(machine.fake);
		for (int look = 0; look < 3; look++)
			ck_assert_pstr_eq(machine_look(), NULL);
		machine_run_all();
		ck_assert_uint_eq(machine_sets(mark), 0);
		vm_sync_counts(machine.vm, &counts);
		ck_assert_uint_eq(counts.vcpu_sets, 0);
		ck_assert_uint_eq(counts.vm_sets, 0);
	}
	ck_assert_str_eq(machine_events(), "RESUME STOP RESUME STOP RESUME STOP RESUME");
	machine_stop();
}
END_TEST

static void setup(void)
{
	machine_host();
	machine_start(4);
}

START_TEST(stopping_hands_over_registers)
{
	struct error err = { .code = 0 };
	uint64_t mark;

	machine_run_all();
	vm_stop(machine.vm);
	mark = fake_kvm_mark(machine.fake);
	ck_assert_int_eq(vm_inspect_begin(machine.vm, -1, &err), 0);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_ptr_nonnull(vcpu_state_regs(&machine.vm->vcpu[i].state, &err));
		ck_assert_ptr_nonnull(vcpu_state_sregs(&machine.vm->vcpu[i].state, &err));
		ck_assert_ptr_nonnull(vcpu_state_events(&machine.vm->vcpu[i].state, &err));
	}
	vm_inspect_end(machine.vm);
	ck_assert_uint_eq(fake_kvm_count(machine.fake, fake_filter(mark, FAKE_ANY, FAKE_ANY)), 0);
}
END_TEST

START_TEST(looking_at_a_running_machine_is_not_noticed)
{
	struct error err = { .code = 0 };
	uint64_t mark;

	machine_run_all();
	machine_events();
	mark = fake_kvm_mark(machine.fake);
	for (int round = 0; round < 5; round++) {
		ck_assert_pstr_eq(machine_look(), NULL);
		ck_assert(vm_is_running(machine.vm));
		ck_assert_int_eq(vm_inspect_begin(machine.vm, round % 4, &err), 0);
		ck_assert_ptr_nonnull(vcpu_state_mp_state(&machine.vm->vcpu[round % 4].state,
							  &err));
		vm_inspect_end(machine.vm);
	}
	ck_assert_uint_eq(machine_sets(mark), 0);
	ck_assert_uint_eq(fake_kvm_count(machine.fake,
					 fake_filter(mark, FAKE_ANY, KVM_CLASS_POLICY)), 0);
	ck_assert_str_eq(machine_events(), "");
	for (unsigned int i = 0; i < 4; i++)
		fake_vcpu_await_blocked(machine_model(i));
	ck_assert_int_eq(vm_inspect_begin(machine.vm, 4, &err), -1);
	ck_assert_msg(strstr(err.text, "4"), "%s", err.text);
}
END_TEST

/* An INIT from a sibling that is still running when this vCPU has parked already. */
START_TEST(an_init_between_two_parkings_does_no_harm)
{
	struct vcpu_state *state = &machine.vm->vcpu[1].state;
	struct error err = { .code = 0 };

	machine_run_all();
	vm_stop(machine.vm);
	fake_vcpu_send_init(machine_model(1));
	ck_assert_int_eq(vm_inspect_begin(machine.vm, -1, &err), 0);
	ck_assert_ptr_nonnull(vcpu_state_mp_state(state, &err));
	ck_assert_pstr_eq(state_difference(state, machine_model(1)), NULL);
	vm_inspect_end(machine.vm);
	/* Editing one register must not bring the others of before the INIT back. */
	vcpu_state_regs_edit(state, &err)->rbx = 5;
	fake_vcpu_send_sipi(machine_model(1), 0x9a);
	machine_cont();
	ck_assert_str_eq(machine_events(), "RESUME STOP RESUME");
	vm_stop(machine.vm);
	ck_assert_uint_ne(machine_model(1)->regs.rip, 0x1000);
}
END_TEST

START_TEST(an_edit_writes_what_it_edited)
{
	struct error err = { .code = 0 };
	struct vm_sync_counts counts;
	struct kvm_regs *regs;
	uint64_t mark;

	machine_run_all();
	vm_stop(machine.vm);
	machine_look();
	regs = vcpu_state_regs_edit(&machine.vm->vcpu[2].state, &err);
	ck_assert_ptr_nonnull(regs);
	regs->rip = 0x4242;
	regs->rax = 0x77;
	mark = fake_kvm_mark(machine.fake);
	machine_run_all();
	ck_assert_str_eq(fake_kvm_names(machine.fake, fake_filter(mark, FAKE_ANY, KVM_CLASS_SET)),
			 "SET_REGS");
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, 2, KVM_SET_REGS), 1);
	ck_assert_uint_eq(machine_model(2)->regs.rip, 0x4242);
	ck_assert_uint_eq(machine_model(2)->regs.rax, 0x77);
	vm_sync_counts(machine.vm, &counts);
	ck_assert_uint_eq(counts.vcpu_sets, 1);
}
END_TEST

/* The clock goes first, or a guest sees time jump; and it is frozen meanwhile. */
START_TEST(the_clock_is_set_before_any_vcpu_runs)
{
	const struct fake_call *set, *run;
	struct fake_filter filter;
	struct vm_sync_counts counts;
	uint64_t mark, clock;

	machine_run_all();
	vm_stop(machine.vm);
	clock = fake_kvm_vm(machine.fake, 0)->clock.clock;
	machine_model(1)->kvmclock = true;
	fake_kvm_vm(machine.fake, 0)->clock.clock += 5000000;
	mark = fake_kvm_mark(machine.fake);
	machine_run_all();
	filter = fake_filter(mark, FAKE_ANY, FAKE_ANY);
	filter.request = KVM_SET_CLOCK;
	ck_assert_uint_eq(fake_kvm_count(machine.fake, filter), 1);
	set = fake_kvm_last(machine.fake, filter);
	ck_assert_uint_eq(fake_kvm_vm(machine.fake, 0)->clock.clock, clock);
	for (int i = 0; i < 4; i++) {
		ck_assert_str_eq(fake_kvm_names(machine.fake, fake_filter(mark, i, FAKE_ANY)),
				 "KVMCLOCK_CTRL RUN");
		filter = fake_filter(mark, i, KVM_CLASS_RUN);
		run = fake_kvm_last(machine.fake, filter);
		ck_assert_uint_lt(set->seq, run->seq);
	}
	ck_assert_uint_eq(machine_model(1)->clock_ctrls, 1);
	vm_sync_counts(machine.vm, &counts);
	ck_assert_uint_ge(counts.policy, 5);
	ck_assert_uint_eq(counts.vcpu_sets, 0);
}
END_TEST

START_TEST(a_cont_that_fails_moves_nothing)
{
	struct error err = { .code = 0 };
	uint64_t mark, entries[4];

	machine_run_all();
	vm_stop(machine.vm);
	machine_events();
	for (int i = 0; i < 4; i++) {
		vcpu_state_debugregs_edit(&machine.vm->vcpu[i].state, &err)->db[0] = 0x100;
		entries[i] = machine_model((unsigned int)i)->entries;
	}
	fake_kvm_fail(machine.fake, (struct fake_fault) { KVM_SET_DEBUGREGS, .vcpu = 2, .times = 2,
							  .error = EIO });
	for (int attempt = 0; attempt < 2; attempt++) {
		err.code = 0;
		mark = fake_kvm_mark(machine.fake);
		ck_assert_int_eq(vm_cont(machine.vm, &err), -1);
		ck_assert_int_eq(err.code, EIO);
		ck_assert_msg(strstr(err.text, "vCPU 2"), "%s", err.text);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
		ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_RUN), 0);
		ck_assert_pstr_eq(machine_look(), NULL);
	}
	ck_assert_str_eq(machine_events(), "");
	machine_run_all();
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(machine_model(i)->debugregs.db[0], 0x100);
		ck_assert_uint_eq(machine_model(i)->entries, entries[i] + 1);
	}
}
END_TEST

/* ---- Kicks ---- */

/*
 * The first time that vCPU 0 comes to such a window it says so, and takes the kick that follows in
 * user space: a signal that came a moment too early for KVM_RUN.
 */
static struct window {
	sem_t reached;
	_Atomic bool armed;
} window;

static void lose_the_kick(void *opaque, struct fake_vcpu *vcpu)
{
	sigset_t all, kicks, old;

	(void)opaque;
	if (vcpu->index || !atomic_exchange(&window.armed, false))
		return;
	sigfillset(&all);
	sigemptyset(&kicks);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaddset(&kicks, sig);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	sem_post(&window.reached);
	while (sigwaitinfo(&kicks, NULL) < 0)
		ck_assert_int_eq(errno, EINTR);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop_in_window(fake_window_fn *entry, fake_window_fn *exit)
{
	sem_init(&window.reached, 0, 0);
	atomic_store(&window.armed, true);
	fake_kvm_windows(machine.fake, entry, exit, NULL);
	machine_cont();
	while (sem_wait(&window.reached) < 0)
		ck_assert_int_eq(errno, EINTR);
	vm_stop(machine.vm);
}

/* On the way into KVM_RUN, when the command to run has been seen already. */
START_TEST(a_kick_lost_before_kvm_run)
{
	stop_in_window(lose_the_kick, NULL);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	ck_assert_uint_eq(machine_model(0)->entries, 0);
	machine_run_all();
	vm_stop(machine.vm);
}
END_TEST

/* On the way out, with I/O to handle; then the vCPU would go in again. */
START_TEST(a_kick_lost_after_kvm_run)
{
	const struct fake_step out = { FAKE_OUT, .address = 0x80, .size = 1, .advance = 2 };

	fake_vcpu_script(machine_model(0), &out, 1);
	stop_in_window(NULL, lose_the_kick);
	ck_assert_uint_eq(machine_model(0)->regs.rip, 0x1002);
	ck_assert_uint_eq(machine_model(0)->entries, 1);
}
END_TEST

START_TEST(many_stops_and_conts)
{
	uint64_t mark = fake_kvm_mark(machine.fake);

	for (int round = 0; round < 300; round++) {
		machine_cont();
		if (round % 3 == 0)
			fake_vcpu_await_blocked(machine_model((unsigned int)round % 4));
		vm_stop(machine.vm);
		machine_events();
	}
	ck_assert_uint_eq(machine_sets(mark), 0);
	machine_run_all();
}
END_TEST

static void always_interrupted(void *opaque, struct fake_vcpu *vcpu, struct fake_step *step)
{
	(void)opaque;
	step->action = vcpu->entries % 5 == 4 ? FAKE_SPIN :
		       vcpu->entries % 2 ? FAKE_EINTR : FAKE_EAGAIN;
}

START_TEST(kvm_run_is_interrupted_without_a_reason)
{
	for (unsigned int i = 0; i < 4; i++)
		fake_vcpu_guest(machine_model(i), always_interrupted, NULL);
	machine_cont();
	for (unsigned int i = 0; i < 4; i++)
		fake_vcpu_await_entries(machine_model(i), 4);
	vm_stop(machine.vm);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
}
END_TEST

/* ---- I/O that is under way when the machine stops ---- */

static void stop_at_first_exit(const struct fake_step *step)
{
	fake_vcpu_script(machine_model(0), step, 1);
	stop_in_window(NULL, lose_the_kick);
}

/* Port 0xe9 gives 0xe9: the guest has it in AL before anybody looks. */
START_TEST(an_in_is_complete_when_the_machine_is_stopped)
{
	const struct fake_step in = { FAKE_IN, .address = 0xe9, .size = 1, .advance = 2 };
	struct error err = { .code = 0 };

	machine_model(0)->regs.rax = 0x1100;
	stop_at_first_exit(&in);
	ck_assert_uint_eq(vcpu_state_regs(&machine.vm->vcpu[0].state, &err)->rax, 0x11e9);
	ck_assert_uint_eq(vcpu_state_regs(&machine.vm->vcpu[0].state, &err)->rip, 0x1002);
	vcpu_state_regs_edit(&machine.vm->vcpu[0].state, &err)->rbx = 1;
	machine_run_all();
	ck_assert_uint_eq(machine_model(0)->results_dropped, 0);
	ck_assert_uint_eq(machine_model(0)->regs.rax, 0x11e9);
}
END_TEST

/* No device: all ones; and an access of 16 bytes takes one more exit while parking. */
START_TEST(a_wide_mmio_read_is_complete_when_the_machine_is_stopped)
{
	const struct fake_step read = {
		FAKE_MMIO_READ, .address = 0xd0000000, .size = 16, .advance = 4,
	};
	struct error err = { .code = 0 };

	stop_at_first_exit(&read);
	ck_assert_uint_eq(vcpu_state_regs(&machine.vm->vcpu[0].state, &err)->rip, 0x1004);
	ck_assert_uint_eq(vcpu_state_regs(&machine.vm->vcpu[0].state, &err)->rax, UINT64_MAX);
	ck_assert_uint_eq(machine_model(0)->io.bytes[15], 0xff);
}
END_TEST

START_TEST(string_io_is_handled_element_by_element)
{
	const struct fake_step ins = {
		FAKE_IN, .address = 0xe9, .size = 1, .count = 5, .advance = 2,
	};

	stop_at_first_exit(&ins);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(machine_model(0)->io.bytes[i], 0xe9);
	ck_assert_uint_eq(machine_model(0)->io.bytes[5], 0);
}
END_TEST

Suite *vm_suite(void)
{
	Suite *s = suite_create("vm");
	TCase *scale = tcase_create("scale"), *t = tcase_create("machine");

	tcase_set_timeout(scale, 60);
	tcase_add_loop_test(scale, create_and_destroy, 0, SIZES);
	tcase_add_loop_test(scale, a_machine_looked_at_before_its_first_run, 0, SIZES);
	tcase_add_loop_test(scale, stop_look_cont_writes_nothing, 0, SIZES);
	suite_add_tcase(s, scale);

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, machine_stop);
	tcase_add_test(t, stopping_hands_over_registers);
	tcase_add_test(t, looking_at_a_running_machine_is_not_noticed);
	tcase_add_test(t, an_init_between_two_parkings_does_no_harm);
	tcase_add_test(t, an_edit_writes_what_it_edited);
	tcase_add_test(t, the_clock_is_set_before_any_vcpu_runs);
	tcase_add_test(t, a_cont_that_fails_moves_nothing);
	tcase_add_test(t, a_kick_lost_before_kvm_run);
	tcase_add_test(t, a_kick_lost_after_kvm_run);
	tcase_add_test(t, many_stops_and_conts);
	tcase_add_test(t, kvm_run_is_interrupted_without_a_reason);
	tcase_add_test(t, an_in_is_complete_when_the_machine_is_stopped);
	tcase_add_test(t, a_wide_mmio_read_is_complete_when_the_machine_is_stopped);
	tcase_add_test(t, string_io_is_handled_element_by_element);
	suite_add_tcase(s, t);
	return s;
}
