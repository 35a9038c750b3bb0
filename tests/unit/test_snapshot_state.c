/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/snapshot_machine.h"
#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/boot/boot_internal.h"
#include "vmm/vm_internal.h"

/* The state of a machine as sections, and back: all of it, in order, once. */

static struct sections first, again;
static uint64_t seed;

static void start(unsigned int nr_vcpus, enum filling filling)
{
	seed = 4711;
	fill_host(filling);
	machine_start(nr_vcpus);
	for (unsigned int i = 0; i < nr_vcpus; i++)
		fill_vcpu(machine_model(i), filling, &seed);
	fill_vm(fake_kvm_vm(machine.fake, 0), &seed);
}

static void end(struct vm *second)
{
	vm_destroy(second);
	sections_free(&first);
	sections_free(&again);
	machine_stop();
}

static void check_vm(const struct fake_vm *a, const struct fake_vm *b)
{
	for (int i = 0; i < 3; i++)
		ck_assert_mem_eq(&a->irqchips[i].chip, &b->irqchips[i].chip,
				 i < 2 ? sizeof(a->irqchips[i].chip.pic) :
					 sizeof(a->irqchips[i].chip.ioapic));
}

/* ---- All of it ---- */

START_TEST(loaded_as_it_was_saved)
{
	struct vm *second;
	uint64_t mark;

	machine_host();
	start(2, (enum filling)_i);
	mark = fake_kvm_mark(machine.fake);
	save(&first);
	ck_assert_uint_eq(machine_sets(mark), 0);
	second = second_machine();
	load_into(second, &first);
	for (int i = 0; i < 2; i++)
		ck_assert_pstr_eq(vcpu_difference(machine_model((unsigned int)i),
						  fake_kvm_vcpu(machine.fake, 1, i)), NULL);
	check_vm(fake_kvm_vm(machine.fake, 0), fake_kvm_vm(machine.fake, 1));
	end(second);
}
END_TEST

/* A clone's own snapshot is the one that it was made from. */
START_TEST(a_snapshot_of_what_was_loaded_is_the_same)
{
	struct vm *second;

	machine_host();
	if (_i / FILLINGS)
		fake_kvm_let_time_pass(machine.fake);
	start(2, (enum filling)(_i % FILLINGS));
	save(&first);
	second = second_machine();
	load_into(second, &first);
	save_vm(second, &again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	end(second);
}
END_TEST

/* Hosts that lack something, where the machine has been saved there as well. */
static const unsigned int lacking[][2] = {
	{ KVM_CAP_SREGS2 }, { KVM_CAP_XSAVE2 }, { KVM_CAP_XSAVE, KVM_CAP_XSAVE2 }, { KVM_CAP_XCRS },
	{ KVM_CAP_NESTED_STATE }, { KVM_CAP_VCPU_EVENTS }, { KVM_CAP_MP_STATE },
	{ KVM_CAP_DEBUGREGS }, { KVM_CAP_TSC_CONTROL }, { KVM_CAP_GET_TSC_KHZ },
	{ KVM_CAP_VCPU_ATTRIBUTES }, { KVM_CAP_EXCEPTION_PAYLOAD },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT }, { KVM_CAP_PIT_STATE2 }, { KVM_CAP_ADJUST_CLOCK },
	{ KVM_CAP_SYNC_REGS }, { KVM_CAP_MCE },
};

#define LACKING ((int)(sizeof(lacking) / sizeof(lacking[0])))

START_TEST(on_a_host_that_lacks_something)
{
	struct vm *second;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	for (int i = 0; i < 2; i++)
		if (lacking[_i][i])
			fake_kvm_set_cap(machine.fake, lacking[_i][i], 0);
	start(2, FILL_LONG);
	if (!machine.kvm.caps.exception_payload)
		for (unsigned int i = 0; i < 2; i++)
			memset(&machine_model(i)->events, 0, sizeof(machine_model(i)->events));
	save(&first);
	second = second_machine();
	load_into(second, &first);
	save_vm(second, &again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	/* Where no substate is lacking, neither is anything in the kernel. */
	if (machine.kvm.caps.xsave && machine.vm->vcpu[0].state.offered == (1U << SUBSTATE_COUNT) - 1 &&
	    machine.kvm.caps.exception_payload && machine.kvm.caps.triple_fault_event)
		ck_assert_pstr_eq(vcpu_difference(machine_model(0),
						  fake_kvm_vcpu(machine.fake, 1, 0)), NULL);
	end(second);
}
END_TEST

/* Entries of a PAE guest that memory has otherwise by now: they are as the processor had them. */
START_TEST(pdptrs_are_not_those_in_memory)
{
	static const uint64_t other[4] = { 0x5001, 0x6001, 0x7001, 0x8001 };
	struct vm *second;

	machine_host();
	start(1, FILL_PAE);
	save(&first);
	second = second_machine();
	memcpy(memory_at(&second->memory, 0x3000, sizeof(other)), other, sizeof(other));
	load_into(second, &first);
	ck_assert_mem_eq(fake_kvm_vcpu(machine.fake, 1, 0)->sregs.pdptrs,
			 machine_model(0)->sregs.pdptrs, sizeof(other));
	ck_assert_mem_ne(machine_model(0)->sregs.pdptrs, other, sizeof(other));
	end(second);
}
END_TEST

/* The guest's RAM is as it was, also where the kernel writes when it is told of a wall clock. */
START_TEST(a_wall_clock_is_not_written)
{
	static const uint32_t mine[3] = { 6, 1234567, 89 };
	struct vm *second;
	uint64_t gpa = 0x5008;

	machine_host();
	start(2, FILL_LONG);
	for (unsigned int i = 0; i < 2; i++)
		fake_vcpu_msr(machine_model(i), 0x4b564d00)->value = gpa;
	save(&first);
	second = second_machine();
	memcpy(memory_at(&second->memory, gpa, sizeof(mine)), mine, sizeof(mine));
	load_into(second, &first);
	ck_assert_mem_eq(memory_at(&second->memory, gpa, sizeof(mine)), mine, sizeof(mine));
	ck_assert_uint_eq(fake_vcpu_msr(fake_kvm_vcpu(machine.fake, 1, 1), 0x4b564d00)->value, gpa);
	end(second);
}
END_TEST

/* Hyper-V's clocks can be read as MSRs, though nobody has them. */
START_TEST(what_is_no_state_is_not_saved)
{
	static const uint32_t no_state[] = { 0x10, 0x40000010, 0x40000020 };
	const uint8_t *msrs;
	uint32_t index;
	size_t len;

	machine_host();
	fake_kvm_add_msr(machine.fake, no_state[_i], 99, true);
	fake_kvm_add_msr(machine.fake, 0x40000021, 99, true);
	machine_start(1);
	save(&first);
	msrs = item_data(&first, SNAPSHOT_MSRS, &len);
	for (size_t at = 0; at < len; at += SNAPSHOT_MSR_SIZE) {
		memcpy(&index, msrs + at, sizeof(index));
		ck_assert_uint_ne(index, no_state[_i]);
	}
	end(NULL);
}
END_TEST

/* ---- In order, once, and no more ---- */

static const char order[] =
	"SET_IRQCHIP SET_IRQCHIP SET_IRQCHIP SET_CPUID2 SET_MSRS SET_NESTED_STATE SET_REGS "
	"SET_SREGS2 SET_XCRS SET_XSAVE SET_LAPIC SET_DEVICE_ATTR SET_MSRS SET_VCPU_EVENTS "
	"SET_MP_STATE SET_DEBUGREGS";
static const char order_nested[] =
	"SET_IRQCHIP SET_IRQCHIP SET_IRQCHIP SET_CPUID2 SET_MSRS SET_SREGS2 SET_NESTED_STATE "
	"SET_REGS SET_XCRS SET_XSAVE SET_LAPIC SET_DEVICE_ATTR SET_MSRS SET_VCPU_EVENTS "
	"SET_MP_STATE SET_DEBUGREGS";

START_TEST(each_is_written_once_and_in_order)
{
	struct fake_filter filter;
	struct vm *second;
	uint64_t mark;

	machine_host();
	start(1, _i ? FILL_NESTED_VMX : FILL_LONG);
	save(&first);
	second = second_machine();
	mark = fake_kvm_mark(machine.fake);
	load_into(second, &first);
	filter = fake_filter(mark, FAKE_ANY, KVM_CLASS_SET);
	ck_assert_str_eq(fake_kvm_names(machine.fake, filter), _i ? order_nested : order);
	/*
	 * Nothing is read that is going to be replaced, but what kind of nested guests there can
	 * be; and the TSC is not written as an MSR.
	 */
	filter.class = KVM_CLASS_GET;
	ck_assert_str_eq(fake_kvm_names(machine.fake, filter),
			 "GET_NESTED_STATE GET_TSC_KHZ GET_DEVICE_ATTR");
	filter.class = KVM_CLASS_SET;
	filter.request = KVM_SET_MSRS;
	{
		const struct kvm_msrs *msrs =
			(const struct kvm_msrs *)fake_kvm_last(machine.fake, filter)->in;

		for (uint32_t i = 0; i < msrs->nmsrs; i++)
			ck_assert_uint_ne(msrs->entries[i].index, MSR_IA32_TSC);
		ck_assert_uint_eq(msrs->entries[msrs->nmsrs - 1].index, MSR_IA32_TSC_DEADLINE);
	}
	end(second);
}
END_TEST

static void look(struct vm *vm)
{
	struct error err = { .code = 0 };

	ck_assert_int_eq(vm_inspect_begin(vm, -1, &err), 0);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		ck_assert_msg(vcpu_state_fetch(&vm->vcpu[i].state, (1U << SUBSTATE_COUNT) - 1,
					       &err) == 0, "%s", err.text);
	vm_inspect_end(vm);
}

/* The bug that this is all about, in either reading of it. */
START_TEST(loaded_looked_at_and_sent_on)
{
	static const unsigned int poisons[] = {
		FAKE_STALE_CR3_BY_SREGS, FAKE_STALE_CR3_BY_REGS,
	};
	struct error err = { .code = 0 };
	struct fake_filter policy;
	struct fake_vcpu *v;
	struct vm *second;
	uint64_t mark;

	machine_host();
	fake_kvm_poison(machine.fake, poisons[_i % 2]);
	start(1, _i / 2 ? FILL_PAE : FILL_LONG);
	machine_model(0)->events.triple_fault.pending = 0;
	save(&first);
	second = second_machine();
	load_into(second, &first);
	mark = fake_kvm_mark(machine.fake);
	for (int i = 0; i < 3; i++)
		look(second);
	save_vm(second, &again);
	v = fake_kvm_vcpu(machine.fake, 1, 0);
	ck_assert_uint_eq(v->entries, 0);
	ck_assert_msg(vm_cont(second, &err) == 0, "%s", err.text);
	fake_vcpu_await_blocked(v);
	ck_assert_uint_eq(machine_sets(mark), 0);
	/* The clock before the first entry, and the guest told of the pause. */
	policy = fake_filter(mark, FAKE_ANY, KVM_CLASS_POLICY);
	policy.vm = 1;
	ck_assert_str_eq(fake_kvm_names(machine.fake, policy), "SET_CLOCK SET_PIT2 KVMCLOCK_CTRL");
	ck_assert_uint_eq(v->sregs.cr3, 0x3000);
	ck_assert_uint_eq(v->entries, 1);
	ck_assert(vm_is_running(second));
	vm_stop(second);
	ck_assert(!v->run || v->run->exit_reason != KVM_EXIT_SHUTDOWN);
	end(second);
}
END_TEST

/* ---- Time ---- */

/* Saved as of the stop, and so set before the first vCPU runs; it was lost elsewhere. */
START_TEST(the_clock_goes_on_from_where_it_was)
{
	struct error err = { .code = 0 };
	struct fake_filter filter;
	const struct fake_call *set, *run;
	struct vm *second;
	uint64_t clock, mark;

	machine_host();
	machine_start(1);
	machine_run_all();
	fake_kvm_vm(machine.fake, 0)->clock.clock = 123456789000;
	vm_stop(machine.vm);
	clock = fake_kvm_vm(machine.fake, 0)->clock.clock;
	save(&first);
	save(&again);
	ck_assert_pstr_eq(sections_difference(&first, &again), NULL);
	ck_assert_uint_eq(fake_kvm_vm(machine.fake, 0)->clock.clock, clock);
	second = second_machine();
	load_into(second, &first);
	mark = fake_kvm_mark(machine.fake);
	ck_assert_int_eq(vm_cont(second, &err), 0);
	fake_vcpu_await_blocked(fake_kvm_vcpu(machine.fake, 1, 0));
	filter = fake_filter(mark, FAKE_ANY, FAKE_ANY);
	filter.vm = 1;
	filter.request = KVM_SET_CLOCK;
	set = fake_kvm_last(machine.fake, filter);
	ck_assert_ptr_nonnull(set);
	ck_assert_uint_eq(((const struct kvm_clock_data *)set->in)->clock, clock);
	filter.request = KVM_RUN;
	run = fake_kvm_last(machine.fake, filter);
	ck_assert_uint_lt(set->seq, run->seq);
	end(second);
}
END_TEST

/* What a vCPU's TSC shows when the host's shows `host`. */
static uint64_t shown(const struct fake_vcpu *v, uint64_t host)
{
	return host + v->tsc_offset;
}

START_TEST(tscs_keep_their_relations)
{
	struct fake_vcpu *v[3], *w[3];
	struct vm *second;
	uint64_t before, after;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	machine_start(3);
	machine_model(1)->tsc_offset = machine_model(2)->tsc_offset = 5000000;
	machine_model(2)->tsc_offset += 77;
	machine_run_all();
	vm_stop(machine.vm);
	save(&first);
	second = second_machine();
	before = kvm_host_tsc(&machine.kvm);
	load_into(second, &first);
	after = kvm_host_tsc(&machine.kvm);
	for (int i = 0; i < 3; i++) {
		v[i] = machine_model((unsigned int)i);
		w[i] = fake_kvm_vcpu(machine.fake, 1, i);
		ck_assert_uint_eq(v[i]->tsc_offset - v[0]->tsc_offset,
				  w[i]->tsc_offset - w[0]->tsc_offset);
	}
	/* At the moment of the load it was what it had been at the stop. */
	ck_assert_uint_lt(shown(w[0], before), machine.vm->stop_tsc);
	ck_assert_uint_gt(shown(w[0], after), machine.vm->stop_tsc);
	end(second);
}
END_TEST

/* A vCPU's TSC now, as the kernel tells it. */
static uint64_t read_tsc(struct vcpu *vcpu)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one;

	memset(&one, 0, sizeof(one));
	one.msrs.nmsrs = 1;
	one.msrs.entries[0].index = MSR_IA32_TSC;
	ck_assert_int_eq(kvm_ioctl(&vcpu->kvm, KVM_REQ_GET_MSRS, &one), 1);
	return one.msrs.entries[0].data;
}

/* A guest from a host whose TSC runs at another rate: it keeps its rate and its time. */
START_TEST(tscs_of_another_frequency)
{
	static const uint32_t frequencies[] = { 2600000, 1700000, 2000100 };
	struct fake_vcpu *v;
	uint64_t tsc, saved, now;
	struct vm *second;
	uint32_t khz = frequencies[_i];
	size_t len;

	machine_host();
	fake_kvm_let_time_pass(machine.fake);
	machine_start(2);
	machine_model(1)->tsc_offset = 1000000;
	save(&first);
	memcpy(&tsc, item_data(&first, SNAPSHOT_TSC, &len), sizeof(tsc));
	for (int i = 0; i < 2; i++) {
		/* As if it had come from there. */
		struct section *s = section_named(&first, i ? "vcpu/1" : "vcpu/0");
		uint8_t *at = s->content.data + 8;

		while (at[-8] != SNAPSHOT_TSC_KHZ)
			at += 8 + ((uint32_t)at[-4] | (uint32_t)at[-3] << 8);
		memcpy(at, &khz, sizeof(khz));
	}
	second = second_machine();
	load_into(second, &first);
	v = fake_kvm_vcpu(machine.fake, 1, 0);
	ck_assert_uint_eq(v->tsc_khz, khz);
	now = read_tsc(&second->vcpu[0]);
	ck_assert_uint_gt(now, tsc);
	ck_assert_uint_lt(now, tsc + 100000);
	ck_assert_uint_eq(fake_kvm_vcpu(machine.fake, 1, 1)->tsc_offset - v->tsc_offset, 1000000);
	save_vm(second, &again);
	memcpy(&saved, item_data(&again, SNAPSHOT_TSC, &len), sizeof(saved));
	ck_assert_uint_eq(saved, tsc);
	/* It runs on from there, and its next snapshot is of a little later. */
	{
		struct error err = { .code = 0 };

		ck_assert_int_eq(vm_cont(second, &err), 0);
		fake_vcpu_await_blocked(v);
		vm_stop(second);
		now = read_tsc(&second->vcpu[0]);
		sections_free(&again);
		for (int i = 0; i < 100; i++)
			kvm_host_tsc(&machine.kvm);
		save_vm(second, &again);
		memcpy(&saved, item_data(&again, SNAPSHOT_TSC, &len), sizeof(saved));
		ck_assert_uint_lt(saved, now + 5000);
		ck_assert_uint_gt(saved, now - 50000);
	}
	end(second);
}
END_TEST

/* ---- After a load ---- */

START_TEST(reset_after_a_load)
{
	struct error err = { .code = 0 };
	struct vm *second;
	struct fake_vcpu *v;

	machine_host();
	start(1, FILL_LONG);
	save(&first);
	second = second_machine();
	memset(memory_at(&second->memory, 0x7000, 0x1000), 0xcc, 0x1000);
	second->boot->ram_written = false;
	load_into(second, &first);
	ck_assert(second->boot->ram_written);
	v = fake_kvm_vcpu(machine.fake, 1, 0);
	fake_kvm_mark(machine.fake);
	ck_assert_msg(vm_system_reset(second, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err) == 0,
		      "%s", err.text);
	/* What there is to boot is nothing: it halts, in real mode. */
	ck_assert_uint_eq(v->regs.rip, 0x7c00);
	ck_assert_uint_eq(v->sregs.cr0 & 0x80000001, 0);
	ck_assert_uint_eq(*(uint8_t *)memory_at(&second->memory, 0x7c00, 1), 0xf4);
	ck_assert_uint_eq(fake_vcpu_msr(v, 0xc0000082)->value, 0);
	ck_assert_uint_eq(v->events.exception.pending, 0);
	ck_assert_int_eq(second->state, RUN_STATE_PRELAUNCH);
	/* Its clock goes on, its PIT is as new, its TSC is young. */
	save_vm(second, &again);
	ck_assert_ptr_nonnull(section_named(&again, "clock"));
	ck_assert(second->clock_saved && !second->pit_saved);
	end(second);
}
END_TEST

START_TEST(a_machine_that_has_been_loaded_takes_no_other_state)
{
	struct error err = { .code = 0 };
	struct vm *second;

	machine_host();
	start(1, FILL_LONG);
	save(&first);
	second = second_machine();
	load_into(second, &first);
	ck_assert_int_eq(snapshot_apply(second, &first, true, &err), -1);
	ck_assert_str_eq(err.text, "state can be loaded only into a machine that has never run");
	end(second);
}
END_TEST

START_TEST(a_running_machine_is_not_saved)
{
	struct error err = { .code = 0 };

	machine_host();
	machine_start(1);
	machine_run_all();
	memset(&first, 0, sizeof(first));
	ck_assert_int_eq(snapshot_collect(machine.vm, RUN_STATE_RUNNING, &first, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "runs"));
	end(NULL);
}
END_TEST

/* What a run state becomes on its way; those that only speak of a transfer say nothing. */
static const enum run_state saved_as[RUN_STATE_COUNT] = {
	[RUN_STATE_PRELAUNCH] = RUN_STATE_PRELAUNCH, [RUN_STATE_INMIGRATE] = RUN_STATE_PAUSED,
	[RUN_STATE_RUNNING] = RUN_STATE_RUNNING, [RUN_STATE_PAUSED] = RUN_STATE_PAUSED,
	[RUN_STATE_SHUTDOWN] = RUN_STATE_SHUTDOWN, [RUN_STATE_SUSPENDED] = RUN_STATE_SUSPENDED,
	[RUN_STATE_WATCHDOG] = RUN_STATE_WATCHDOG,
	[RUN_STATE_GUEST_PANICKED] = RUN_STATE_GUEST_PANICKED,
	[RUN_STATE_INTERNAL_ERROR] = RUN_STATE_INTERNAL_ERROR,
	[RUN_STATE_IO_ERROR] = RUN_STATE_IO_ERROR, [RUN_STATE_SAVE_VM] = RUN_STATE_PAUSED,
	[RUN_STATE_RESTORE_VM] = RUN_STATE_PAUSED, [RUN_STATE_FINISH_MIGRATE] = RUN_STATE_PAUSED,
	[RUN_STATE_POSTMIGRATE] = RUN_STATE_PAUSED,
};

START_TEST(the_machine_says_what_it_is)
{
	struct snapshot_machine m;
	struct error err = { .code = 0 };

	machine_host();
	machine_start(3);
	memset(&first, 0, sizeof(first));
	ck_assert_int_eq(snapshot_collect(machine.vm, (enum run_state)_i, &first, &err), 0);
	ck_assert_int_eq(snapshot_machine(&first, &m, &err), 0);
	ck_assert_uint_eq(m.cpus, 3);
	ck_assert_uint_eq(m.memory, machine.config.memory);
	ck_assert_int_eq(m.state, saved_as[_i]);
	ck_assert(run_state_may_become(RUN_STATE_INMIGRATE, m.state));
	ck_assert_uint_eq(m.tsc_khz, 2000000);
	end(NULL);
}
END_TEST

/* Edits that wait for a cont are part of the state, and go on to wait. */
START_TEST(edits_that_wait_are_saved)
{
	struct error err = { .code = 0 };
	struct vm *second;

	machine_host();
	machine_start(1);
	machine_run_all();
	vm_stop(machine.vm);
	vcpu_state_regs_edit(&machine.vm->vcpu[0].state, &err)->rbx = 0x1234;
	save(&first);
	ck_assert_uint_ne(machine_model(0)->regs.rbx, 0x1234);
	ck_assert_uint_ne(machine.vm->vcpu[0].state.dirty, 0);
	second = second_machine();
	load_into(second, &first);
	ck_assert_uint_eq(fake_kvm_vcpu(machine.fake, 1, 0)->regs.rbx, 0x1234);
	end(second);
}
END_TEST

Suite *snapshot_state_suite(void)
{
	Suite *suite = suite_create("snapshot_state");
	TCase *whole = tcase_create("whole"), *order_case = tcase_create("order");
	TCase *time = tcase_create("time"), *after = tcase_create("after");

	tcase_add_loop_test(whole, loaded_as_it_was_saved, 0, FILLINGS);
	tcase_add_loop_test(whole, a_snapshot_of_what_was_loaded_is_the_same, 0, 2 * FILLINGS);
	tcase_add_loop_test(whole, on_a_host_that_lacks_something, 0, LACKING);
	tcase_add_test(whole, pdptrs_are_not_those_in_memory);
	tcase_add_test(whole, a_wall_clock_is_not_written);
	tcase_add_loop_test(whole, what_is_no_state_is_not_saved, 0, 3);
	tcase_add_test(whole, edits_that_wait_are_saved);
	tcase_add_loop_test(whole, the_machine_says_what_it_is, 0, RUN_STATE_COUNT);
	suite_add_tcase(suite, whole);
	tcase_add_loop_test(order_case, each_is_written_once_and_in_order, 0, 2);
	tcase_add_loop_test(order_case, loaded_looked_at_and_sent_on, 0, 4);
	suite_add_tcase(suite, order_case);
	tcase_add_test(time, the_clock_goes_on_from_where_it_was);
	tcase_add_test(time, tscs_keep_their_relations);
	tcase_add_loop_test(time, tscs_of_another_frequency, 0, 3);
	suite_add_tcase(suite, time);
	tcase_add_test(after, reset_after_a_load);
	tcase_add_test(after, a_machine_that_has_been_loaded_takes_no_other_state);
	tcase_add_test(after, a_running_machine_is_not_saved);
	suite_add_tcase(suite, after);
	return suite;
}
