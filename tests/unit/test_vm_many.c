/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/* Machines with more vCPUs than APIC ids of 8 bits can tell apart. */
#define ALL_OF_X2APIC   (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)

static struct fake_filter calls(unsigned long request)
{
	struct fake_filter filter = fake_filter(0, FAKE_ANY, FAKE_ANY);

	filter.request = request;
	return filter;
}

/* What the VM was told of APIC ids, and whether before it had vCPUs; 0 for nothing. */
static uint64_t told(void)
{
	const struct fake_call *call = fake_kvm_last(machine.fake, calls(KVM_ENABLE_CAP));
	const struct fake_call *vcpu = fake_kvm_last(machine.fake, calls(KVM_CREATE_VCPU));
	struct kvm_enable_cap cap;

	ck_assert(call && vcpu);
	memcpy(&cap, call->in, sizeof(cap));
	if (cap.cap != KVM_CAP_X2APIC_API)
		return 0;
	ck_assert_uint_lt(call->seq, vcpu->seq);
	return cap.args[0];
}

START_TEST(ids_of_32_bits)
{
	static const struct {
		unsigned int vcpus;
		uint64_t told;
	} machines[] = { { 1, 0 }, { 255, 0 }, { 256, ALL_OF_X2APIC }, { 300, ALL_OF_X2APIC } };
	struct error err = { .code = 0 };

	machine_host();
	ck_assert_msg(machine_try(machines[_i].vcpus, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(told(), machines[_i].told);
	machine_stop();
}
END_TEST

START_TEST(a_host_without_them)
{
	static const int offers[] = { 0, KVM_X2APIC_API_USE_32BIT_IDS,
				      KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK };
	struct error err = { .code = 0 };

	machine_host();
	fake_kvm_set_cap(machine.fake, KVM_CAP_X2APIC_API, offers[_i]);
	ck_assert_int_eq(machine_try(256, &err), -1);
	ck_assert_int_eq(err.code, ENOTSUP);
	ck_assert_msg(strstr(err.text, "256 vCPUs of this topology have APIC ids up to 255; those "
			     "above 254 need KVM_CAP_X2APIC_API"), "%s", err.text);
	ck_assert_ptr_null(machine.vm);
	machine_stop();
	/* It is good enough for fewer. */
	machine_host();
	fake_kvm_set_cap(machine.fake, KVM_CAP_X2APIC_API, offers[_i]);
	ck_assert_int_eq(machine_try(255, &err), 0);
	machine_stop();
}
END_TEST

START_TEST(a_host_that_refuses)
{
	struct error err = { .code = 0 };

	machine_host();
	fake_kvm_fail(machine.fake, (struct fake_fault) { KVM_ENABLE_CAP, -1, 3, 0, EINVAL });
	ck_assert_int_eq(machine_try(256, &err), -1);
	ck_assert_msg(strstr(err.text, "KVM_CAP_X2APIC_API: "), "%s", err.text);
	machine_stop();
}
END_TEST

Suite *vm_many_suite(void)
{
	Suite *s = suite_create("vm_many");
	TCase *t = tcase_create("vm_many");

	tcase_add_loop_test(t, ids_of_32_bits, 0, 4);
	tcase_add_loop_test(t, a_host_without_them, 0, 3);
	tcase_add_test(t, a_host_that_refuses);
	suite_add_tcase(s, t);
	return s;
}
