/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/snapshot_machine.h"
#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/log.h"
#include "vmm/nested.h"

/* Saved state of guests of guests, and of PAE paging on a host that does not tell PDPTRs. */

static struct sections first;

static void end(struct vm *second)
{
	if (second)
		vm_destroy(second);
	sections_free(&first);
	machine_stop();
}

/* Saved on a processor with VMX, loaded on one with SVM, and the other way round. */
START_TEST(the_host_has_the_other_kind_of_nested_guests)
{
	static const char *const texts[] = {
		"the guest has guests of its own by vmx, and this host's processor has svm",
		"the guest has guests of its own by svm, and this host's processor has vmx",
	};
	bool svm = _i % 2;
	struct fake_filter sets;

	machine_host();
	if (svm)
		fake_kvm_set_nested_format(machine.fake, KVM_STATE_NESTED_FORMAT_SVM);
	saved_elsewhere(&first, 1, _i < 2 ? svm ? FILL_NESTED_SVM : FILL_NESTED_VMX : FILL_LONG);
	fake_kvm_set_nested_format(machine.fake, svm ? KVM_STATE_NESTED_FORMAT_VMX :
							KVM_STATE_NESTED_FORMAT_SVM);
	machine_start(1);
	if (_i < 2) {
		refused(&first, true, texts[_i]);
	} else {
		/* Which makes no use of it, and gets what the processor has. */
		sets = fake_filter(fake_kvm_mark(machine.fake), 0, KVM_CLASS_SET);
		load_into(machine.vm, &first);
		sets.request = KVM_SET_NESTED_STATE;
		ck_assert_uint_eq(fake_kvm_count(machine.fake, sets), 0);
	}
	end(NULL);
}
END_TEST

/*
 * Bytes of the header changed at random: what KVM would refuse is refused before anything is set,
 * and what is taken is set as it is.
 */
START_TEST(nested_state_that_is_damaged)
{
	uint64_t seed = 0x1234567 + (uint64_t)_i;
	enum filling filling = _i % 2 ? FILL_NESTED_SVM : FILL_NESTED_VMX;
	unsigned int loaded = 0, rejected = 0;
	uint8_t whole[sizeof(struct kvm_nested_state)];

	machine_host();
	saved_elsewhere(&first, 1, filling);
	fill_host(filling);
	machine_start(1);
	for (int round = 0; round < 400; round++) {
		struct error err = { .code = 0 };
		uint64_t mark = fake_kvm_mark(machine.fake);
		size_t len;
		uint8_t *nested = item_data(&first, SNAPSHOT_NESTED, &len);

		memcpy(whole, nested, sizeof(whole));
		for (uint64_t n = fixture_random(&seed) % 3 + 1; n; n--) {
			/* Most of the header is padding. */
			size_t at = fixture_random(&seed) % (round % 4 ? 40 : sizeof(whole));

			nested[at] ^= (uint8_t)(1u << fixture_random(&seed) % 8);
		}
		if (snapshot_apply(machine.vm, &first, false, &err) == 0) {
			loaded++;
			ck_assert_mem_eq(machine_model(0)->nested, nested, len);
			nested_turn_off(machine_model(0)->nested, machine_model(0)->nested->format);
			machine.vm->vcpu[0].state.loaded = false;
			vcpu_state_settled(&machine.vm->vcpu[0].state);
		} else {
			rejected++;
			ck_assert_msg(strstr(err.text, "nested"), "%s", err.text);
			ck_assert_msg(!machine_sets(mark), "%s", err.text);
			ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
		}
		memcpy(nested, whole, sizeof(whole));
	}
	ck_assert_uint_gt(loaded, 10);
	ck_assert_uint_gt(rejected, 10);
	end(NULL);
}
END_TEST

static unsigned int said;

static void count_pdptrs(enum log_level level, const char *text)
{
	said += level == LOG_LEVEL_WARNING && strstr(text, "PDPTRs");
}

/* A host that does not tell them: the snapshot says so, and the log, once of all saves. */
START_TEST(pdptrs_that_are_not_told)
{
	static const uint64_t other[4] = { 0x5001, 0x6001, 0x7001, 0x8001 };
	struct snapshot_machine header;
	struct error err = { .code = 0 };
	struct vm *second;
	uint64_t seed;

	machine_host();
	if (_i != 1)
		fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	seed = 4711;
	machine_start(2);
	for (unsigned int i = 0; i < 2; i++)
		fill_vcpu(machine_model(i), _i == 2 ? FILL_LONG : FILL_PAE, &seed);
	said = 0;
	log_set_sink(count_pdptrs, LOG_LEVEL_WARNING);
	save(&first);
	ck_assert_uint_eq(said, _i == 0);
	sections_free(&first);
	save(&first);
	ck_assert_uint_eq(said, _i == 0);
	second = second_machine();
	memcpy(memory_at(&second->memory, 0x3000, sizeof(other)), other, sizeof(other));
	load_into(second, &first);
	ck_assert_uint_eq(said, _i == 0 ? 2 : 0);
	log_set_sink(NULL, LOG_LEVEL_INFO);
	if (_i == 0)
		ck_assert_mem_eq(fake_kvm_vcpu(machine.fake, 1, 1)->sregs.pdptrs, other,
				 sizeof(other));
	else
		ck_assert_mem_eq(fake_kvm_vcpu(machine.fake, 1, 1)->sregs.pdptrs,
				 machine_model(1)->sregs.pdptrs, sizeof(other));
	sections_free(&first);
	save(&first);
	ck_assert_int_eq(snapshot_machine(&first, &header, &err), 0);
	ck_assert_int_eq(header.without_pdptrs, _i == 0);
	end(second);
}
END_TEST

Suite *snapshot_nested_suite(void)
{
	Suite *suite = suite_create("snapshot_nested");
	TCase *t = tcase_create("nested");

	tcase_set_timeout(t, 60);       /* hundreds of loads, slow where sanitizers are in */
	tcase_add_loop_test(t, the_host_has_the_other_kind_of_nested_guests, 0, 4);
	tcase_add_loop_test(t, nested_state_that_is_damaged, 0, 4);
	tcase_add_loop_test(t, pdptrs_that_are_not_told, 0, 3);
	suite_add_tcase(suite, t);
	return suite;
}
