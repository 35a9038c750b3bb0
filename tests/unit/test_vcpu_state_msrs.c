/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/* MSRs in the state cache: each dirty by itself, some absent, in the right order. */

static void setup(void)
{
	fixture_host();
	fixture_start(1);
}

static uint32_t bit(enum vcpu_substate sub)
{
	return 1U << sub;
}

static uint64_t kernel_msr(unsigned int position)
{
	return fake_vcpu_msr(fix.model[0], fix.table->msr[position].index)->value;
}

START_TEST(msrs_are_dirty_one_by_one)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	const struct fake_call *set;
	struct kvm_msrs msrs;
	uint64_t mark, value;

	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR_2, 0x22, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RESET_MSR, 0x33, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_FULL_MSR, 0x44, &err), 0);
	/* Others, of which the kernel has newer values, are not touched. */
	fake_vcpu_msr(fix.model[0], fix.table->msr[FIXTURE_RUNTIME_MSR].index)->value = 0x99;
	for (enum vcpu_level level = VCPU_LEVEL_RUNTIME; level <= VCPU_LEVEL_FULL; level++) {
		mark = fake_kvm_mark(fix.fake);
		if (level == VCPU_LEVEL_RUNTIME)
			fixture_run(0, NULL);
		else
			ck_assert_int_eq(level == VCPU_LEVEL_RESET ?
					 vcpu_state_after_reset(s, &err) :
					 vcpu_state_after_init(s, &err), 0);
		ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_MSRS), 1);
		set = fake_kvm_last(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET));
		memcpy(&msrs, set->in, sizeof(msrs));
		ck_assert_uint_eq(msrs.nmsrs, 1);
		ck_assert_uint_eq(kernel_msr(FIXTURE_RUNTIME_MSR_2), 0x22);
		ck_assert_uint_eq(kernel_msr(FIXTURE_RESET_MSR),
				  level >= VCPU_LEVEL_RESET ? 0x33 : 0);
		ck_assert_uint_eq(kernel_msr(FIXTURE_FULL_MSR),
				  level >= VCPU_LEVEL_FULL ? 0x44 : 0);
		ck_assert_uint_eq(kernel_msr(FIXTURE_RUNTIME_MSR), 0x99);
		ck_assert_int_eq(vcpu_state_msr(s, FIXTURE_RESET_MSR, &value, &err), 0);
		ck_assert_uint_eq(value, 0x33);
	}
	ck_assert_uint_eq(s->dirty, 0);
}
END_TEST

/* While one MSR is dirty, the others are looked at anew after a run. */
START_TEST(other_msrs_are_not_stale_beside_a_dirty_one)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t value;

	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_TSC, 0x33, &err), 0);
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	fake_vcpu_msr(fix.model[0], fix.table->msr[FIXTURE_RUNTIME_MSR].index)->value = 0x99;
	fake_vcpu_msr(fix.model[0], MSR_IA32_TSC)->value = 0x77;
	fixture_park(0);
	ck_assert_int_eq(vcpu_state_msr(s, FIXTURE_RUNTIME_MSR, &value, &err), 0);
	ck_assert_uint_eq(value, 0x99);
	ck_assert_int_eq(vcpu_state_msr(s, FIXTURE_TSC, &value, &err), 0);
	ck_assert_uint_eq(value, 0x33);
}
END_TEST

/* KVM_GET_MSRS stops at an MSR this vCPU does not have; the rest is read all the same. */
START_TEST(absent_msrs_do_not_hide_the_others)
{
	static const unsigned int absent[3] = {
		FIXTURE_RUNTIME_MSR, FIXTURE_RESET_MSR, FIXTURE_DEADLINE,
	};
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t value;

	for (int i = 0; i < 3; i++)
		fake_kvm_fail_msr(fix.fake, fix.table->msr[absent[i]].index, true, true);
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		fake_vcpu_msr(fix.model[0], fix.table->msr[m].index)->value = 0x100 + m;
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++) {
		bool here = m != absent[0] && m != absent[1] && m != absent[2];

		err.code = 0;
		ck_assert_int_eq(vcpu_state_msr(s, m, &value, &err), here ? 0 : -1);
		if (here)
			ck_assert_uint_eq(value, 0x100 + m);
		else
			ck_assert_int_eq(err.code, ENOENT);
		ck_assert_int_eq(vcpu_state_msr_edit(s, m, 0x200 + m, &err), here ? 0 : -1);
	}
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		if (m != absent[0] && m != absent[1] && m != absent[2])
			ck_assert_uint_eq(kernel_msr(m), 0x200 + m);
}
END_TEST

START_TEST(an_msr_that_can_not_be_written_is_named)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR, 1, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR_2, 2, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR_3, 3, &err), 0);
	fake_kvm_fail_msr(fix.fake, fix.table->msr[FIXTURE_RUNTIME_MSR_2].index, false, true);
	ck_assert_int_eq(vcpu_state_before_run(s, &err), -1);
	ck_assert_msg(strstr(err.text, "175"), "%s", err.text);
	ck_assert_msg(strstr(err.text, "vCPU 0"), "%s", err.text);
	ck_assert_int_ne(err.code, 0);
	ck_assert_uint_eq(s->dirty, bit(SUBSTATE_MSRS));
	fake_kvm_heal(fix.fake);
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(kernel_msr(FIXTURE_RUNTIME_MSR), 1);
	ck_assert_uint_eq(kernel_msr(FIXTURE_RUNTIME_MSR_2), 2);
	ck_assert_uint_eq(kernel_msr(FIXTURE_RUNTIME_MSR_3), 3);
	ck_assert_uint_eq(s->dirty, 0);
}
END_TEST

/* The order comes from the table; the fake kernel complains when the deadline is early. */
START_TEST(the_deadline_comes_last)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint32_t periodic = 1U << 17;

	/* So far the timer is periodic: only after SET_LAPIC does it take a deadline. */
	memcpy(fix.model[0]->lapic.regs + 0x320, &periodic, sizeof(periodic));
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_DEADLINE, 0x9000, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_TSC, 0x8000, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_RUNTIME_MSR, 1, &err), 0);
	vcpu_state_lapic_edit(s, &err)->regs[0x322] = 4;
	fake_kvm_mark(fix.fake);
	ck_assert_int_eq(_i ? vcpu_state_after_load(s, &err) : vcpu_state_after_reset(s, &err), 0);
	ck_assert_uint_eq(kernel_msr(FIXTURE_DEADLINE), 0x9000);
	ck_assert_uint_eq(kernel_msr(FIXTURE_TSC), 0x8000);
	ck_assert_str_eq(fake_kvm_violations(fix.fake), "");
}
END_TEST

/* More MSRs than the kernel takes in one call. */
static void setup_many_msrs(void)
{
	struct msr_table *table = calloc(1, sizeof(*table) + 700 * sizeof(table->msr[0]));

	fixture_host();
	ck_assert_ptr_nonnull(table);
	table->count = 700;
	for (uint32_t i = 0; i < 700; i++) {
		table->msr[i] = (struct msr_info) { 0x10000 + i, VCPU_LEVEL_RUNTIME,
						    MSR_GROUP_PLAIN, true, 0 };
		if (i % 97 != 5)
			fake_kvm_add_msr(fix.fake, 0x10000 + i, i * 3, false);
	}
	fixture_use_table(table);
	fixture_start(1);
}

START_TEST(many_msrs_are_read_and_written_in_parts)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t value;

	for (unsigned int m = 0; m < 700; m++) {
		bool here = m % 97 != 5;

		ck_assert_int_eq(vcpu_state_msr(s, m, &value, &err), here ? 0 : -1);
		if (!here)
			continue;
		ck_assert_uint_eq(value, m * 3);
		ck_assert_int_eq(vcpu_state_msr_edit(s, m, m * 7 + 1, &err), 0);
	}
	ck_assert_msg(vcpu_state_before_run(s, &err) == 0, "%s", err.text);
	for (unsigned int m = 0; m < 700; m++)
		if (m % 97 != 5)
			ck_assert_uint_eq(kernel_msr(m), m * 7 + 1);
}
END_TEST

Suite *vcpu_state_msrs_suite(void)
{
	Suite *s = suite_create("vcpu_state_msrs");
	TCase *t = tcase_create("msrs"), *many = tcase_create("many_msrs");

	tcase_add_checked_fixture(t, setup, fixture_stop);
	tcase_add_test(t, msrs_are_dirty_one_by_one);
	tcase_add_test(t, other_msrs_are_not_stale_beside_a_dirty_one);
	tcase_add_test(t, absent_msrs_do_not_hide_the_others);
	tcase_add_test(t, an_msr_that_can_not_be_written_is_named);
	tcase_add_loop_test(t, the_deadline_comes_last, 0, 2);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(many, setup_many_msrs, fixture_stop);
	tcase_add_test(many, many_msrs_are_read_and_written_in_parts);
	suite_add_tcase(s, many);
	return s;
}
