/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"
#include "vmm/lapic.h"

/* Time that goes on in the kernel while the machine is stopped, and timers that run out unseen. */

#define VECTOR          0x40U
#define PERIODIC        (1U << 17)
#define DEADLINE        (2U << 17)
#define MASKED          (1U << 16)

static struct sections first, again;
static struct vm *second;

static bool requested(const struct fake_vcpu *v)
{
	return lapic_vector(&v->lapic, LAPIC_IRR, VECTOR);
}

/* What the guest has done before it is stopped. */
struct timer {
	uint32_t lvt, initial, count, mp_state;
};

static void arm(struct fake_vcpu *v, void *opaque)
{
	const struct timer *timer = opaque;

	lapic_set_register(&v->lapic, LAPIC_LVT_TIMER, timer->lvt);
	lapic_set_register(&v->lapic, LAPIC_TMICT, timer->initial);
	lapic_set_register(&v->lapic, LAPIC_TMCCT, timer->count);
	v->mp_state = timer->mp_state;
}

/* One vCPU that arms its timer and goes on, or halts, and a machine that is stopped then. */
static void start(struct timer timer)
{
	struct fake_step step = { .action = FAKE_SPIN, .before = arm, .opaque = &timer };

	machine_start(1);
	fake_vcpu_script(machine_model(0), &step, 1);
	machine_run_all();
	fake_vcpu_await_blocked(machine_model(0));
	vm_stop(machine.vm);
}

static void start_host(struct timer timer)
{
	machine_host();
	start(timer);
}

/* The first vCPU of a second machine that has been given the state, and not gone on yet. */
static struct fake_vcpu *load_second(void)
{
	second = second_machine();
	load_into(second, &first);
	return fake_kvm_vcpu(machine.fake, 1, 0);
}

static void send_on(struct vm *vm, struct fake_vcpu *v)
{
	struct error err = { .code = 0 };

	ck_assert_msg(vm_cont(vm, &err) == 0, "%s", err.text);
	fake_vcpu_await_blocked(v);
	vm_stop(vm);
}

static void end(void)
{
	vm_destroy(second);
	second = NULL;
	sections_free(&first);
	sections_free(&again);
	machine_stop();
}

static unsigned int runs(uint64_t since)
{
	return fake_kvm_count_request(machine.fake, since, FAKE_ANY, KVM_RUN);
}

static const uint32_t states[] = { KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_HALTED };

/* One tick, no more and no less, on the machine that was saved and on the one that was loaded. */
START_TEST(a_timer_that_ran_out_while_stopped)
{
	uint64_t entries;
	struct fake_vcpu *v, *w;

	start_host((struct timer) { VECTOR, 1000, 500, states[_i] });
	v = machine_model(0);
	entries = v->entries;
	fake_vcpu_expire_timer(v);
	ck_assert(!requested(v));
	save(&first);
	ck_assert_uint_eq(v->entries, entries);
	ck_assert_uint_eq(v->mp_state, states[_i]);
	w = load_second();
	ck_assert(requested(w));
	ck_assert(!w->timer_pending);
	ck_assert_uint_eq(w->mp_state, states[_i]);
	send_on(second, w);
	ck_assert_uint_eq(w->ticks, 1);
	send_on(machine.vm, v);
	ck_assert_uint_eq(v->ticks, 1);
	ck_assert_uint_eq(v->spurious_ticks, 0);
	end();
}
END_TEST

/* The guest has had its tick long ago, and must not get it again. */
START_TEST(a_timer_whose_tick_was_delivered)
{
	struct fake_vcpu *w;

	start_host((struct timer) { VECTOR, 1000, 0, states[_i] });
	save(&first);
	w = load_second();
	ck_assert(!requested(w) && !w->timer_pending);
	send_on(second, w);
	ck_assert_uint_eq(w->ticks, 0);
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	end();
}
END_TEST

/* Where only the guest makes it expire, a tick may come once too often, but is never lost. */
START_TEST(a_timer_that_needs_the_guest)
{
	struct fake_vcpu *w;

	machine_host();
	fake_kvm_poison(machine.fake, FAKE_TIMER_NEEDS_GUEST);
	start((struct timer) { VECTOR, 1000, 500, states[_i] });
	fake_vcpu_expire_timer(machine_model(0));
	save(&first);
	w = load_second();
	send_on(second, w);
	ck_assert_uint_eq(w->ticks, 1);
	end();
}
END_TEST

/* It counts: nothing is unseen, so nobody goes through KVM_RUN; it is saved as it was at first. */
START_TEST(a_timer_that_counts)
{
	struct fake_vcpu *v, *w;
	uint32_t count;
	uint64_t mark;
	size_t len;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	start((struct timer) { VECTOR, 1000, 500, states[_i] });
	v = machine_model(0);
	mark = fake_kvm_mark(machine.fake);
	save(&first);
	ck_assert_uint_eq(runs(mark), 0);
	machine_look();
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	sections_free(&again);
	fake_vcpu_expire_timer(v);
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	ck_assert_uint_eq(runs(mark), 0);
	w = load_second();
	ck_assert_uint_gt(lapic_register(&w->lapic, LAPIC_TMCCT), 400);
	ck_assert_uint_lt(lapic_register(&w->lapic, LAPIC_TMCCT), 500);
	ck_assert_uint_eq(lapic_register(&w->lapic, LAPIC_TMICT), 1000);
	send_on(machine.vm, v);
	ck_assert_uint_eq(v->ticks, 1);
	/* It has run: what was remembered is of another stop. */
	sections_free(&again);
	save(&again);
	memcpy(&count, item_data(&again, SNAPSHOT_LAPIC, &len) + LAPIC_TMCCT, sizeof(count));
	ck_assert_uint_eq(count, 0);
	end();
}
END_TEST

/* It runs out at the n-th look, between looks and settling, one time or again and again. */
START_TEST(a_timer_that_runs_out_meanwhile)
{
	bool periodic = _i & 1;
	struct fake_vcpu *w;
	uint32_t count = 5 + (uint32_t)(_i / 2) * 5;
	unsigned int ticks;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	start((struct timer) { VECTOR | (periodic ? PERIODIC : 0), 200, count,
			       KVM_MP_STATE_HALTED });
	save(&first);
	/* The tick has been seen, or it is still to come. */
	w = load_second();
	ticks = requested(w);
	if (!periodic)
		ck_assert_uint_eq(ticks + (lapic_register(&w->lapic, LAPIC_TMCCT) > 0), 1);
	else if (!ticks)
		ck_assert_uint_lt(lapic_register(&w->lapic, LAPIC_TMCCT), count);
	else
		ck_assert_uint_gt(lapic_register(&w->lapic, LAPIC_TMCCT), 100);
	ck_assert(!machine_model(0)->timer_pending);
	end();
}
END_TEST

/* A period that is over before anybody can look twice: it ends nevertheless. */
START_TEST(a_timer_that_is_too_fast)
{
	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	start((struct timer) { VECTOR | PERIODIC, 10, 10, KVM_MP_STATE_RUNNABLE });
	save(&first);
	end();
}
END_TEST

START_TEST(no_timer_no_settling)
{
	static const struct timer timers[] = {
		{ VECTOR, 0, 0, KVM_MP_STATE_HALTED },
		{ VECTOR | MASKED, 1000, 0, KVM_MP_STATE_HALTED },
		{ VECTOR | DEADLINE, 0, 0, KVM_MP_STATE_HALTED },
		{ VECTOR | DEADLINE, 1000, 0, KVM_MP_STATE_RUNNABLE },
	};
	uint64_t mark;

	start_host(timers[_i]);
	mark = fake_kvm_mark(machine.fake);
	save(&first);
	ck_assert_uint_eq(runs(mark), 0);
	end();
}
END_TEST

/* The deadline tells by itself, past or not. */
START_TEST(a_deadline_that_has_passed)
{
	struct fake_vcpu *w;

	start_host((struct timer) { VECTOR | DEADLINE, 0, 0, KVM_MP_STATE_HALTED });
	fake_vcpu_msr(machine_model(0), MSR_IA32_TSC_DEADLINE)->value = 77;
	fake_vcpu_expire_timer(machine_model(0));
	save(&first);
	w = load_second();
	ck_assert_uint_eq(fake_vcpu_msr(w, MSR_IA32_TSC_DEADLINE)->value, 77);
	ck_assert(!requested(w));
	end();
}
END_TEST

/* A machine that has never run, and processors that wait for INIT or SIPI. */
START_TEST(settling_enters_nothing)
{
	static const uint32_t waiting[] = {
		KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_HALTED,
	};
	uint64_t entries, mark;

	machine_host();
	machine_start(2);
	mark = fake_kvm_mark(machine.fake);
	lapic_set_register(&machine_model(0)->lapic, LAPIC_TMICT, 10);
	save(&first);
	vcpu_settle(&machine.vm->vcpu[0]);
	vcpus_await(machine.vm);
	ck_assert_uint_eq(runs(mark), 0);
	machine_run_all();
	vm_stop(machine.vm);
	for (unsigned int i = 0; i < 2; i++) {
		lapic_set_register(&machine_model(i)->lapic, LAPIC_LVT_TIMER, VECTOR + 1);
		lapic_set_register(&machine_model(i)->lapic, LAPIC_TMICT, 10);
		machine_model(i)->mp_state = waiting[_i];
	}
	entries = machine_model(0)->entries + machine_model(1)->entries;
	mark = fake_kvm_mark(machine.fake);
	save(&again);
	ck_assert_uint_gt(runs(mark), 0);
	ck_assert_uint_eq(machine_model(0)->entries + machine_model(1)->entries, entries);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_eq(machine_model(i)->mp_state, waiting[_i]);
		ck_assert(!machine_model(i)->has_signal_mask);
	}
	end();
}
END_TEST

/* Who has edited the timer, or reset the machine, is not overruled by what was remembered. */
START_TEST(an_edit_counts_more_than_memory)
{
	struct error err = { .code = 0 };
	struct kvm_lapic_state *lapic;
	struct fake_vcpu *w;
	uint32_t count = 123;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	start((struct timer) { VECTOR, 1000, 500, KVM_MP_STATE_RUNNABLE });
	save(&again);
	if (_i == 0) {
		lapic = vcpu_state_lapic_edit(&machine.vm->vcpu[0].state, &err);
		memcpy(lapic->regs + LAPIC_TMCCT, &count, sizeof(count));
	} else {
		ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
						 &err), 0);
		count = 0;
	}
	save(&first);
	w = load_second();
	ck_assert_uint_eq(lapic_register(&w->lapic, LAPIC_TMCCT), count);
	/* A TSC that was reset is young, and not what it would have been at the stop. */
	if (_i == 1) {
		size_t len;
		uint64_t tsc;

		memcpy(&tsc, item_data(&first, SNAPSHOT_TSC, &len), sizeof(tsc));
		ck_assert_uint_lt(tsc, 100000);
	}
	end();
}
END_TEST

/* The kernel works PPR out when it needs it; what is saved does not depend on that. */
START_TEST(a_priority_that_is_stale)
{
	static const struct {
		uint32_t in_service, tpr, stale, priority;
	} cases[] = {
		{ VECTOR, 0, 0, VECTOR }, { VECTOR, 0x51, 0, 0x51 }, { 0, 0, VECTOR, 0 },
		{ VECTOR + 5, 0x4f, 0, 0x4f }, { VECTOR + 5, 0x3f, 0, VECTOR },
	};
	struct kvm_lapic_state *lapic;
	uint32_t ppr;
	size_t len;

	start_host((struct timer) { VECTOR | MASKED, 0, 0, KVM_MP_STATE_RUNNABLE });
	lapic = &machine_model(0)->lapic;
	lapic_set_register(lapic, LAPIC_TPR, cases[_i].tpr);
	lapic_set_register(lapic, LAPIC_PPR, cases[_i].stale);
	if (cases[_i].in_service)
		lapic_set_register(lapic, LAPIC_ISR + cases[_i].in_service / 32 * 16,
				   1U << cases[_i].in_service % 32);
	save(&first);
	memcpy(&ppr, item_data(&first, SNAPSHOT_LAPIC, &len) + LAPIC_PPR, sizeof(ppr));
	ck_assert_uint_eq(ppr, cases[_i].priority);
	lapic_set_register(lapic, LAPIC_PPR, cases[_i].priority);
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	end();
}
END_TEST

/* State that somebody has edited is not taken through KVM_RUN; the tick comes by the load. */
START_TEST(an_edited_vcpu_does_not_settle)
{
	struct error err = { .code = 0 };
	struct fake_vcpu *w;
	uint64_t mark;

	start_host((struct timer) { VECTOR, 1000, 500, KVM_MP_STATE_RUNNABLE });
	fake_vcpu_expire_timer(machine_model(0));
	vcpu_state_sregs_edit(&machine.vm->vcpu[0].state, &err)->cr2 = 7;
	mark = fake_kvm_mark(machine.fake);
	save(&first);
	ck_assert_uint_eq(runs(mark), 0);
	w = load_second();
	send_on(second, w);
	ck_assert_uint_eq(w->ticks, 1);
	end();
}
END_TEST

/* The same for a fault that settling would find, and take away. */
START_TEST(a_pending_triple_fault_stays)
{
	struct fake_vcpu *w;
	uint64_t mark;

	start_host((struct timer) { VECTOR, 1000, 0, KVM_MP_STATE_RUNNABLE });
	machine_model(0)->events.triple_fault.pending = 1;
	vcpu_state_settled(&machine.vm->vcpu[0].state);
	mark = fake_kvm_mark(machine.fake);
	save(&first);
	ck_assert_uint_eq(runs(mark), 0);
	w = load_second();
	ck_assert_uint_eq(w->events.triple_fault.pending, 1);
	end();
}
END_TEST

/* ---- Two snapshots of one stop ---- */

static void use_pit(struct fake_vcpu *v, void *opaque)
{
	(void)opaque;
	v->vm->pit.channels[0].mode = 2;
	v->vm->pit.channels[0].count = 65536;
	v->vm->pit.channels[2].count_load_time = 12345;
}

START_TEST(saved_twice_is_the_same)
{
	struct fake_step step = { .action = FAKE_SPIN, .before = use_pit };

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	if (_i & 1)
		fake_kvm_set_cap(machine.fake, KVM_CAP_VCPU_ATTRIBUTES, 0);
	machine_start(3);
	if (_i & 2)
		fake_vcpu_script(machine_model(0), &step, 1);
	if (!(_i & 4)) {
		machine_run_all();
		fake_vcpu_await_blocked(machine_model(0));
		vm_stop(machine.vm);
	}
	save(&first);
	machine_look();
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	second = second_machine();
	load_into(second, &first);
	sections_free(&again);
	save_vm(second, &again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	end();
}
END_TEST

/* A PIT that the guest uses stands still while the machine does, and goes on with it. */
START_TEST(the_pit_stands_still)
{
	struct fake_step step = { .action = FAKE_SPIN, .before = use_pit };
	struct kvm_pit_state2 *pit;
	uint64_t mark;

	machine_host();
	machine_start(1);
	fake_vcpu_script(machine_model(0), &step, 1);
	machine_run_all();
	fake_vcpu_await_blocked(machine_model(0));
	pit = &fake_kvm_vm(machine.fake, 0)->pit;
	ck_assert_uint_eq(pit->channels[0].mode, 2);
	vm_stop(machine.vm);
	save(&first);
	ck_assert_uint_eq(pit->channels[0].mode, 0xff);
	mark = fake_kvm_mark(machine.fake);
	save(&again);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_SET_PIT2), 0);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	send_on(machine.vm, machine_model(0));
	second = second_machine();
	load_into(second, &first);
	pit = &fake_kvm_vm(machine.fake, 1)->pit;
	ck_assert_uint_ne(pit->channels[0].mode, 2);
	machine_cont();
	ck_assert_uint_eq(fake_kvm_vm(machine.fake, 0)->pit.channels[0].mode, 2);
	ck_assert_int_gt(fake_kvm_vm(machine.fake, 0)->pit.channels[2].count_load_time, 12345);
	{
		struct error err = { .code = 0 };

		ck_assert_int_eq(vm_cont(second, &err), 0);
		ck_assert_uint_eq(pit->channels[0].mode, 2);
		ck_assert_uint_eq(pit->channels[0].count, 65536);
	}
	vm_stop(machine.vm);
	end();
}
END_TEST

Suite *snapshot_timer_suite(void)
{
	Suite *suite = suite_create("snapshot_timer");
	TCase *timer = tcase_create("timer"), *twice = tcase_create("twice");

	tcase_add_loop_test(timer, a_timer_that_ran_out_while_stopped, 0, 2);
	tcase_add_loop_test(timer, a_timer_whose_tick_was_delivered, 0, 2);
	tcase_add_loop_test(timer, a_timer_that_needs_the_guest, 0, 2);
	tcase_add_loop_test(timer, a_timer_that_counts, 0, 2);
	tcase_add_loop_test(timer, a_timer_that_runs_out_meanwhile, 0, 16);
	tcase_add_test(timer, a_timer_that_is_too_fast);
	tcase_add_loop_test(timer, no_timer_no_settling, 0, 4);
	tcase_add_test(timer, a_deadline_that_has_passed);
	tcase_add_loop_test(timer, settling_enters_nothing, 0, 3);
	tcase_add_loop_test(timer, an_edit_counts_more_than_memory, 0, 2);
	tcase_add_test(timer, an_edited_vcpu_does_not_settle);
	tcase_add_test(timer, a_pending_triple_fault_stays);
	suite_add_tcase(suite, timer);
	tcase_add_loop_test(twice, saved_twice_is_the_same, 0, 8);
	tcase_add_loop_test(twice, a_priority_that_is_stale, 0, 5);
	tcase_add_test(twice, the_pit_stands_still);
	suite_add_tcase(suite, twice);
	return suite;
}
