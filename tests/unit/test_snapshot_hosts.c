/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"

/* State of hosts that have more than this one, or less; vCPUs that lack what their host lists. */

static struct sections first;
static struct error err;

static void end(void)
{
	sections_free(&first);
	machine_stop();
}

static void refuse_request(unsigned long request, int error)
{
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = request, .vcpu = -1,
							  .error = error });
}

/* ---- The FPU ---- */

START_TEST(fpu_state_of_a_host_without_xsave)
{
	machine_host();
	fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE2, 0);
	fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE, 0);
	saved_elsewhere(&first, 1, FILL_LONG);
	machine_start(1);
	refused(&first, true, "the guest's FPU state is of a host without XSAVE, and this host has it");
	end();
}
END_TEST

/* ---- Events ---- */

START_TEST(a_triple_fault_that_can_not_be_set)
{
	struct kvm_vcpu_events events;
	size_t len;

	machine_host();
	saved_elsewhere(&first, 1, FILL_LONG);
	memcpy(&events, item_data(&first, SNAPSHOT_EVENTS, &len), sizeof(events));
	events.triple_fault.pending = 1;
	replace_item(&first, SNAPSHOT_EVENTS, &events, sizeof(events));
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 0);
	machine_start(1);
	refused(&first, true, "a triple fault is pending, and this host's KVM can not take one");
	/* One that is not pending is not missed. */
	events.triple_fault.pending = 0;
	replace_item(&first, SNAPSHOT_EVENTS, &events, sizeof(events));
	load_into(machine.vm, &first);
	end();
}
END_TEST

/* ---- IA32_FEATURE_CONTROL ---- */

START_TEST(feature_control_that_the_host_lacks)
{
	const uint64_t zero = 0;

	machine_host();
	saved_elsewhere(&first, 1, FILL_LONG);
	fake_kvm_remove_msr(machine.fake, MSR_IA32_FEATURE_CONTROL);
	machine_start(1);
	refused(&first, false, "the guest has set MSR 0x3a (IA32_FEATURE_CONTROL) to 0x");
	if (_i)
		replace_item(&first, SNAPSHOT_FEATURE_CONTROL, &zero, sizeof(zero));
	ck_assert_msg(snapshot_apply(machine.vm, &first, !_i, &err) == 0, "%s", err.text);
	end();
}
END_TEST

/* Listed for the host, and a vCPU without VMX has none: it is saved, and reset, without. */
START_TEST(feature_control_that_the_vcpu_lacks)
{
	size_t len;

	machine_host();
	machine_start(1);
	fake_kvm_fail_msr(machine.fake, MSR_IA32_FEATURE_CONTROL, true, true);
	machine_run_all();
	vm_stop(machine.vm);
	if (_i) {
		save(&first);
		ck_assert_ptr_null(item_data(&first, SNAPSHOT_FEATURE_CONTROL, &len));
	}
	ck_assert_msg(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err) == 0,
		      "%s", err.text);
	end();
}
END_TEST

START_TEST(feature_control_that_can_not_be_set)
{
	machine_host();
	machine_start(1);
	machine_run_all();
	vm_stop(machine.vm);
	fake_vcpu_msr(machine_model(0), MSR_IA32_FEATURE_CONTROL)->value = 5;
	fake_kvm_fail_msr(machine.fake, MSR_IA32_FEATURE_CONTROL, false, true);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err), -1);
	ck_assert_str_eq(err.text, "the machine can not be reset: vCPU 0: KVM_SET_MSRS refuses "
			 "IA32_FEATURE_CONTROL = 0x0");
	fake_kvm_heal(machine.fake);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err), 0);
	ck_assert_uint_eq(fake_vcpu_msr(machine_model(0), MSR_IA32_FEATURE_CONTROL)->value, 0);
	end();
}
END_TEST

/* ---- TSC offsets ---- */

/* vCPUs have attributes, and none for the offset: the TSC itself is saved and set. */
START_TEST(vcpus_without_offsets)
{
	struct vm *second;

	machine_host();
	machine_start(2);
	refuse_request(KVM_GET_DEVICE_ATTR, ENXIO);
	refuse_request(KVM_SET_DEVICE_ATTR, ENXIO);
	fake_vcpu_msr(machine_model(1), MSR_IA32_TSC)->value = 77777;
	save(&first);
	second = second_machine();
	load_into(second, &first);
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(fake_vcpu_msr(fake_kvm_vcpu(machine.fake, 1, i), MSR_IA32_TSC)->value,
				  fake_vcpu_msr(machine_model((unsigned int)i), MSR_IA32_TSC)->value);
	vm_destroy(second);
	end();
}
END_TEST

/* ---- CPUID ---- */

/* A table that grows faster than anybody can ask for it. */
START_TEST(a_table_without_end)
{
	machine_host();
	machine_start(1);
	machine_run_all();
	vm_stop(machine.vm);
	refuse_request(KVM_GET_CPUID2, E2BIG);
	ck_assert_ptr_null(vcpu_state_cpuid(&machine.vm->vcpu[0].state, &err));
	ck_assert_str_eq(err.text, "vCPU 0: KVM_GET_CPUID2 has more than 4096 entries");
	fake_kvm_heal(machine.fake);
	ck_assert_ptr_nonnull(vcpu_state_cpuid(&machine.vm->vcpu[0].state, &err));
	end();
}
END_TEST

/*
 * vCPUs that have more than their KVM says: whether those of this host do has to be found out,
 * and that may fail at any request and for want of memory.
 */
START_TEST(more_than_kvm_says)
{
	static const unsigned long requests[] = {
		KVM_GET_CPUID2, KVM_SET_CPUID2, KVM_GET_SUPPORTED_CPUID, 0,
	};
	unsigned long request = requests[_i];
	int rc = -1;

	machine_host();
	fake_kvm_poison(machine.fake, FAKE_MORE_CPUID);
	saved_elsewhere(&first, 1, FILL_LONG);
	for (unsigned int n = 1; rc < 0; n++) {
		fake_kvm_poison(machine.fake, FAKE_MORE_CPUID);
		machine_wait(1);
		for (unsigned int i = 0; i < first.nr; i++)
			first.section[i].claimed = false;
		if (request)
			fake_kvm_fail(machine.fake, (struct fake_fault) {
				.request = request, .vcpu = -1, .nth = n, .times = 1, .error = EIO });
		else
			alloc_fail_at(n);
		rc = snapshot_apply(machine.vm, &first, false, &err);
		alloc_fail_at(0);
		if (rc < 0)
			ck_assert_msg(err.code == (request ? EIO : ENOMEM), "%s", err.text);
		else
			ck_assert_uint_gt(n, 1);
		if (rc < 0) {
			machine_stop();
			machine_host();
		}
	}
	end();
}
END_TEST

/* ---- What nobody knows yet ---- */

START_TEST(a_state_or_features_of_a_newer_vmond)
{
	uint8_t *bytes;

	machine_host();
	saved_elsewhere(&first, 1, FILL_LONG);
	machine_start(1);
	bytes = section_named(&first, "machine")->content.data;
	/* Number of vCPUs, memory, run state, frequency, features. */
	bytes[_i ? 4 + 8 + 1 + 8 : 4 + 8] |= 0x40;
	refused(&first, true, _i ? "a machine with KVM features that this vmond does not know: 0x4" :
				   "a machine in a run state that this vmond does not know: 64");
	end();
}
END_TEST

Suite *snapshot_hosts_suite(void)
{
	Suite *s = suite_create("snapshot_hosts");
	TCase *t = tcase_create("hosts");

	tcase_add_test(t, fpu_state_of_a_host_without_xsave);
	tcase_add_test(t, a_triple_fault_that_can_not_be_set);
	tcase_add_loop_test(t, feature_control_that_the_host_lacks, 0, 2);
	tcase_add_loop_test(t, feature_control_that_the_vcpu_lacks, 0, 2);
	tcase_add_test(t, feature_control_that_can_not_be_set);
	tcase_add_test(t, vcpus_without_offsets);
	tcase_add_test(t, a_table_without_end);
	tcase_add_loop_test(t, more_than_kvm_says, 0, 4);
	tcase_add_loop_test(t, a_state_or_features_of_a_newer_vmond, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
