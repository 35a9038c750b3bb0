/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "vmm/feature_msrs.h"

/* What KVM says of MSRs before there is a vCPU, and what new vCPUs get of it. */

#define UCODE   0x8b
#define PLATFORM 0xce
#define ARCH    0x10a
#define PERF    0x345

static struct error err;

static void setup(void)
{
	machine_host();
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	machine_stop();
}

static const struct feature_msrs *read_all(void)
{
	ck_assert_msg(kvm_open(&machine.kvm, &fake_kvm_ops, machine.fake, &err) == 0, "%s",
		      err.text);
	return kvm_feature_msrs(&machine.kvm, &err);
}

static unsigned int reads(void)
{
	return fake_kvm_count_request(machine.fake, 0, -1, KVM_GET_MSRS);
}

START_TEST(read_once)
{
	const struct feature_msrs *msrs = read_all();
	uint64_t value = 0;

	ck_assert_ptr_nonnull(msrs);
	ck_assert_uint_eq(msrs->count, 4);
	ck_assert(feature_msrs_find(msrs, ARCH, &value));
	ck_assert_uint_eq(value, 0x6b);
	ck_assert(feature_msrs_find(msrs, UCODE, &value));
	ck_assert_uint_eq(value, UINT64_C(0xde) << 32);
	ck_assert(!feature_msrs_find(msrs, 0x480, &value));
	ck_assert_ptr_eq(kvm_feature_msrs(&machine.kvm, &err), msrs);
	ck_assert_uint_eq(reads(), 1);
}
END_TEST

START_TEST(not_there)
{
	const struct feature_msrs *msrs;

	fake_kvm_set_cap(machine.fake, KVM_CAP_GET_MSR_FEATURES, 0);
	msrs = read_all();
	ck_assert_ptr_nonnull(msrs);
	ck_assert_uint_eq(msrs->count, 0);
	ck_assert_uint_eq(reads(), 0);
}
END_TEST

/* At each place a list can end short; more of them than one call takes. */
START_TEST(short_counts)
{
	static const unsigned int bad[] = { 0, 1, 254, 255, 256, 299 };
	const struct feature_msrs *msrs;
	uint64_t value;

	for (uint32_t i = 0; i < 300 - 4; i++)
		fake_kvm_add_feature_msr(machine.fake, 0x1000 + i, i);
	/* The first four are the host's own. */
	fake_kvm_fail_msr(machine.fake, UCODE, true, false);
	fake_kvm_fail_msr(machine.fake, PLATFORM, true, false);
	for (unsigned int i = 2; i < sizeof(bad) / sizeof(bad[0]); i++)
		fake_kvm_fail_msr(machine.fake, 0x1000 + bad[i] - 4, true, false);
	msrs = read_all();
	ck_assert_ptr_nonnull(msrs);
	ck_assert_uint_eq(msrs->count, 300 - sizeof(bad) / sizeof(bad[0]));
	for (uint32_t i = 0; i < 300 - 4; i++) {
		bool missing = i + 4 == 254 || i + 4 == 255 || i + 4 == 256 || i + 4 == 299;

		ck_assert_int_eq(feature_msrs_find(msrs, 0x1000 + i, &value), !missing);
		if (!missing)
			ck_assert_uint_eq(value, i);
	}
}
END_TEST

START_TEST(refused_requests)
{
	static const struct {
		unsigned long request;
		const char *text;
	} cases[] = {
		{ KVM_GET_MSR_FEATURE_INDEX_LIST, "KVM_GET_MSR_FEATURE_INDEX_LIST: " },
		{ KVM_GET_MSRS, "KVM_GET_MSRS: " },
	};
	const struct fake_fault fault = { cases[_i].request, -1, 0, 0, EIO };

	fake_kvm_fail(machine.fake, fault);
	ck_assert_ptr_null(read_all());
	ck_assert_int_eq(err.code, EIO);
	ck_assert_ptr_nonnull(strstr(err.text, cases[_i].text));
	/* It was not a lasting one. */
	fake_kvm_heal(machine.fake);
	ck_assert_ptr_nonnull(kvm_feature_msrs(&machine.kvm, &err));
}
END_TEST

START_TEST(memory_runs_out)
{
	const struct feature_msrs *msrs;
	unsigned int failures = 0;

	ck_assert_int_eq(kvm_open(&machine.kvm, &fake_kvm_ops, machine.fake, &err), 0);
	for (;; failures++) {
		alloc_fail_at(failures + 1);
		msrs = kvm_feature_msrs(&machine.kvm, &err);
		if (!alloc_has_failed())
			break;
		ck_assert_ptr_null(msrs);
		ck_assert_int_eq(err.code, ENOMEM);
	}
	alloc_fail_at(0);
	ck_assert_uint_eq(failures, 4);
	ck_assert_uint_eq(msrs->count, 4);
}
END_TEST

static uint64_t has(uint32_t index)
{
	return fake_vcpu_msr(machine_model(0), index)->value;
}


static void check_dirty(void)
{
	for (unsigned int i = 0; i < machine.vm->nr_vcpus; i++)
		ck_assert_uint_eq(machine.vm->vcpu[i].state.dirty, 0);
}

static void give_arch_capabilities(struct vcpu_state *s, bool on)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + sizeof(table->entries[0]));

	table->nent = 1;
	table->entries[0].function = 7;
	table->entries[0].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	table->entries[0].edx = on ? 1U << 29 : 0;
	ck_assert_int_eq(vcpu_state_cpuid_edit(s, table, &err), 0);
	ck_assert_int_eq(vcpu_state_after_init(s, &err), 0);
	free(table);
}

START_TEST(vcpus_get_theirs)
{
	struct vcpu_state *s;
	const struct feature_msrs *host;
	uint64_t mark;

	fake_kvm_add_msr(machine.fake, UCODE, 0x1000065, true);
	fake_kvm_add_msr(machine.fake, PLATFORM, 0, true);
	machine_start(1);
	s = &machine.vm->vcpu[0].state;
	host = kvm_feature_msrs(&machine.kvm, &err);

	give_arch_capabilities(s, true);
	fake_vcpu_msr(machine_model(0), UCODE)->value = 1;
	fake_vcpu_msr(machine_model(0), ARCH)->value = 0;
	ck_assert_int_eq(feature_msrs_apply(s, host, true, &err), 0);
	ck_assert_uint_eq(has(ARCH), 0x6b);
	ck_assert_uint_eq(has(UCODE), UINT64_C(0xde) << 32);
	ck_assert_uint_eq(has(PLATFORM), 1U << 31);
	ck_assert_uint_eq(has(PERF), 0);
	check_dirty();
	/* What is right already is not written. */
	mark = fake_kvm_mark(machine.fake);
	ck_assert_int_eq(feature_msrs_apply(s, host, true, &err), 0);
	ck_assert_uint_eq(machine_sets(mark), 0);

	/* Of another processor than the host's: no microcode; and no arch-capabilities. */
	give_arch_capabilities(s, false);
	fake_vcpu_msr(machine_model(0), UCODE)->value = 1;
	ck_assert_int_eq(feature_msrs_apply(s, host, false, &err), 0);
	ck_assert_uint_eq(has(ARCH), 0);
	ck_assert_uint_eq(has(UCODE), 1);
	check_dirty();
}
END_TEST

START_TEST(a_machine_has_them)
{
	machine_start(2);
	ck_assert_uint_eq(has(UCODE), UINT64_C(0xde) << 32);
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_uint_eq(fake_vcpu_msr(machine_model(i), PLATFORM)->value, 1U << 31);
	check_dirty();
}
END_TEST

/* One that is told of another processor is not told of this one's microcode. */
START_TEST(a_machine_of_another_processor)
{
	struct cpu_config config;

	ck_assert_int_eq(cpu_config_init(&config, "base", &err), 0);
	machine.config.cpu = &config;
	machine_start(1);
	ck_assert_uint_eq(has(UCODE), 0);
	ck_assert_uint_eq(has(PLATFORM), 1U << 31);
	check_dirty();
}
END_TEST

/* The kernel says that it supports a value, and then does not take it: the others are set still. */
START_TEST(a_value_is_refused)
{
	fake_kvm_add_msr(machine.fake, PLATFORM, 0, true);
	fake_kvm_fail_msr(machine.fake, PLATFORM, false, true);
	ck_assert_msg(machine_try(1, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(has(PLATFORM), 0);
	ck_assert_uint_eq(has(UCODE), UINT64_C(0xde) << 32);
	check_dirty();
}
END_TEST

START_TEST(they_can_not_be_written)
{
	fake_kvm_fail(machine.fake, (struct fake_fault){ KVM_SET_MSRS, 0, 1, 0, EIO });
	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_int_eq(err.code, EIO);
}
END_TEST

/* One edit is taken back, and no other. */
START_TEST(reverting)
{
	struct vcpu_state *s;
	int ucode, platform;
	uint64_t value;

	machine_start(1);
	s = &machine.vm->vcpu[0].state;
	vcpu_state_msr_revert(s, 0);
	ucode = msr_table_find(s->msr_table, UCODE);
	platform = msr_table_find(s->msr_table, PLATFORM);
	ck_assert_int_eq(vcpu_state_msr_edit(s, ucode, 1, &err), 0);
	ck_assert_int_eq(vcpu_state_msr_edit(s, platform, 2, &err), 0);
	vcpu_state_msr_revert(s, ucode);
	ck_assert_int_eq(vcpu_state_msr(s, ucode, &value, &err), 0);
	ck_assert_uint_eq(value, UINT64_C(0xde) << 32);
	ck_assert_int_eq(vcpu_state_msr(s, platform, &value, &err), 0);
	ck_assert_uint_eq(value, 2);
	ck_assert_int_eq(vcpu_state_after_init(s, &err), 0);
	ck_assert_uint_eq(has(UCODE), UINT64_C(0xde) << 32);
	ck_assert_uint_eq(has(PLATFORM), 2);
	check_dirty();
}
END_TEST

START_TEST(vcpus_without_them)
{
	struct vcpu_state *s;

	fake_kvm_remove_msr(machine.fake, PLATFORM);
	machine_start(1);
	s = &machine.vm->vcpu[0].state;
	/* Listed, and this vCPU has none. */
	fake_kvm_fail_msr(machine.fake, UCODE, true, true);
	give_arch_capabilities(s, true);
	ck_assert_int_eq(feature_msrs_apply(s, kvm_feature_msrs(&machine.kvm, &err), true, &err),
			 0);
	ck_assert_uint_eq(has(ARCH), 0x6b);
	check_dirty();
}
END_TEST

START_TEST(they_can_not_be_read)
{
	/* The table is read back before. */
	static const struct fake_fault faults[] = {
		{ KVM_GET_MSRS, -1, 1, 0, EIO }, { KVM_GET_MSRS, 0, 1, 0, EIO },
		{ KVM_GET_CPUID2, 0, 1, 0, EIO },
	};

	fake_kvm_fail(machine.fake, faults[_i]);
	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_int_eq(err.code, EIO);
}
END_TEST

/* Several are set, and behind each the rest is read anew: any of these may fail. */
START_TEST(they_can_not_be_read_again)
{
	unsigned int n;

	for (n = 1;; n++) {
		fake_kvm_add_msr(machine.fake, PLATFORM, 0, true);
		fake_kvm_add_msr(machine.fake, UCODE, 0, true);
		fake_kvm_fail(machine.fake, (struct fake_fault){ KVM_GET_MSRS, 0, n, 1, EIO });
		if (machine_try(1, &err) == 0)
			break;
		ck_assert_int_eq(err.code, EIO);
		machine_stop();
		machine_host();
	}
	ck_assert_uint_gt(n, 2);
	ck_assert_uint_eq(has(UCODE), UINT64_C(0xde) << 32);
	check_dirty();
}
END_TEST

Suite *feature_msrs_suite(void)
{
	Suite *suite = suite_create("feature_msrs");
	TCase *tc;

	tc = tcase_create("system");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, read_once);
	tcase_add_test(tc, not_there);
	tcase_add_test(tc, short_counts);
	tcase_add_loop_test(tc, refused_requests, 0, 2);
	tcase_add_test(tc, memory_runs_out);
	suite_add_tcase(suite, tc);
	tc = tcase_create("vcpu");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, vcpus_get_theirs);
	tcase_add_test(tc, a_machine_has_them);
	tcase_add_test(tc, a_machine_of_another_processor);
	tcase_add_test(tc, a_value_is_refused);
	tcase_add_test(tc, they_can_not_be_written);
	tcase_add_test(tc, reverting);
	tcase_add_test(tc, vcpus_without_them);
	tcase_add_loop_test(tc, they_can_not_be_read, 0, 3);
	tcase_add_test(tc, they_can_not_be_read_again);
	suite_add_tcase(suite, tc);
	return suite;
}
