/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/nested.h"

/* The state cache against the kernel's habits: what writes do beside what they say. */

static const uint32_t all = (1U << SUBSTATE_COUNT) - 1;

static void setup(void)
{
	fixture_host();
	fixture_start(1);
}

static uint32_t bit(enum vcpu_substate sub)
{
	return 1U << sub;
}

/* ---- Never stale, writes included ---- */

START_TEST(side_effects_of_a_write_are_seen)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fix.model[0]->regs.rip = 0xfff0;
	fix.model[0]->mp_state = KVM_MP_STATE_HALTED;
	fix.model[0]->events.exception.pending = 1;
	fix.model[0]->events.exception.nr = PF_VECTOR;
	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
	/* SET_REGS drops the exception and fixes RFLAGS, SET_SREGS2 wakes the boot processor. */
	vcpu_state_regs_edit(s, &err)->rflags = 0;
	vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	ck_assert_int_eq(_i ? vcpu_state_after_reset(s, &err) : vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->exceptions_dropped, 1);
	ck_assert_uint_eq(fix.model[0]->mp_state, KVM_MP_STATE_RUNNABLE);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* A host that only does long mode clears CR0.PG: what is shown is what it has. */
START_TEST(sregs_read_back_differs_from_what_was_written)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	struct kvm_sregs2 *sregs;

	fake_kvm_poison(fix.fake, FAKE_NO_LEGACY_PAGING);
	sregs = vcpu_state_sregs_edit(s, &err);
	sregs->cr0 = 0x80000011;
	sregs->cr3 = 0x4000;
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(vcpu_state_sregs(s, &err)->cr0, 0x11);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* A dirty MP state survives what SET_SREGS2 does to a boot processor in its reset state. */
START_TEST(mp_state_is_written_after_sregs)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fix.model[0]->regs.rip = 0xfff0;
	vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	vcpu_state_mp_state_edit(s, &err)->mp_state = KVM_MP_STATE_HALTED;
	ck_assert_int_eq(vcpu_state_after_reset(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->mp_state, KVM_MP_STATE_HALTED);
}
END_TEST

START_TEST(events_are_written_after_regs)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	struct kvm_vcpu_events *events;

	vcpu_state_regs_edit(s, &err)->rbx = 1;
	events = vcpu_state_events_edit(s, &err);
	events->exception.pending = 1;
	events->exception.nr = PF_VECTOR;
	events->exception.has_error_code = 1;
	events->exception_has_payload = 1;
	events->exception_payload = 0xdead000;
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->events.exception.pending, 1);
	ck_assert_uint_eq(fix.model[0]->events.exception_payload, 0xdead000);
}
END_TEST

/* The interrupt that SREGS tells of is not queued a second time by writing SREGS. */
START_TEST(an_interrupt_is_not_queued_twice)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	struct kvm_vcpu_events *events;

	fix.model[0]->events.interrupt.injected = 1;
	fix.model[0]->events.interrupt.nr = 0x31;
	vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	events = vcpu_state_events_edit(s, &err);
	events->interrupt.injected = 0;
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->events.interrupt.injected, 0);
}
END_TEST

/* At RUNTIME an NMI that another vCPU sends in the same moment is not taken back. */
START_TEST(runtime_leaves_latched_events_alone)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	const struct fake_call *set;
	struct kvm_vcpu_events events;
	uint64_t mark = fake_kvm_mark(fix.fake);

	vcpu_state_events_edit(s, &err)->interrupt.shadow = 1;
	fix.model[0]->events.nmi.pending = 1;   /* behind the back of the cache */
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->events.nmi.pending, 1);
	ck_assert_uint_eq(fix.model[0]->events.interrupt.shadow, 1);
	set = fake_kvm_last(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET));
	memcpy(&events, set->in, sizeof(events));
	ck_assert_uint_eq(events.flags & (KVM_VCPUEVENT_VALID_NMI_PENDING |
					  KVM_VCPUEVENT_VALID_SIPI_VECTOR), 0);
}
END_TEST

START_TEST(latched_events_alone_leave_the_others_as_they_are)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	struct kvm_vcpu_events before;

	fix.model[0]->events.exception.pending = 1;
	fix.model[0]->events.exception.nr = PF_VECTOR;
	fix.model[0]->events.interrupt.injected = 1;
	fix.model[0]->events.interrupt.nr = 0x20;
	fix.model[0]->events.interrupt.shadow = 2;
	fix.model[0]->events.nmi.masked = 1;
	before = fix.model[0]->events;
	vcpu_state_latched_events_edit(s, &err)->nmi_pending = 1;
	ck_assert_int_eq(vcpu_state_after_reset(s, &err), 0);
	before.nmi.pending = 1;
	ck_assert_mem_eq(&before, &fix.model[0]->events, sizeof(before));
}
END_TEST

/* ---- The bug of Linux 2.6.38 ---- */

static void boot_long_mode(struct vcpu_state *s)
{
	struct error err = { .code = 0 };
	struct kvm_sregs2 *sregs = vcpu_state_sregs_edit(s, &err);
	struct kvm_regs *regs = vcpu_state_regs_edit(s, &err);

	ck_assert(sregs && regs);
	sregs->cr0 = 0x80000011;
	sregs->cr3 = 0x4000;
	sregs->cr4 = 0x20;
	sregs->efer = 0x500;
	sregs->cs.l = 1;
	regs->rip = 0x100000;
}

static bool dies_at_first_run(void)
{
	struct fake_step leave = { .action = FAKE_EINTR };
	struct error err = { .code = 0 };
	int rc;

	ck_assert_int_eq(vcpu_state_before_run(&fix.state[0], &err), 0);
	fake_vcpu_script(fix.model[0], &leave, 1);
	rc = kvm_ioctl(&fix.vcpu[0], KVM_REQ_RUN, NULL);
	return rc == 0 && fix.run[0]->exit_reason == KVM_EXIT_SHUTDOWN;
}

/* Created or loaded, parked, looked at with every reader any number of times, sent on. */
START_TEST(inspecting_a_clone_does_not_lose_cr3)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fake_kvm_poison(fix.fake, _i & 1 ? FAKE_STALE_CR3_BY_REGS : FAKE_STALE_CR3_BY_SREGS);
	boot_long_mode(s);
	ck_assert_int_eq(_i & 2 ? vcpu_state_after_load(s, &err) :
				  vcpu_state_after_init(s, &err), 0);
	for (int look = 0; look < 3; look++) {
		fixture_park(0);
		ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
		for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
			ck_assert(substate_cases[sub].read(s, &err));
		ck_assert_uint_eq(vcpu_state_sregs(s, &err)->cr3, 0x4000);
		ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	}
	fixture_park(0);
	ck_assert(!dies_at_first_run());
	ck_assert_uint_eq(fix.model[0]->sregs.cr3, 0x4000);
}
END_TEST

/* The fake does bite: an edit before the first run is what such a kernel can not take. */
START_TEST(an_edit_before_the_first_run_would_lose_it)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fake_kvm_poison(fix.fake, _i ? FAKE_STALE_CR3_BY_REGS : FAKE_STALE_CR3_BY_SREGS);
	boot_long_mode(s);
	ck_assert_int_eq(vcpu_state_after_init(s, &err), 0);
	if (_i)
		vcpu_state_regs_edit(s, &err)->rax = 1;
	else
		vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	ck_assert(dies_at_first_run());
}
END_TEST

/* ---- Nested guests ---- */

static void edit_nested_guest(struct vcpu_state *s, uint16_t format)
{
	struct error err = { .code = 0 };
	struct kvm_nested_state *nested = vcpu_state_nested_edit(s, &err);
	uint64_t rip = 0x2222;

	ck_assert_ptr_nonnull(nested);
	nested_turn_off(nested, format);
	nested->flags |= KVM_STATE_NESTED_GUEST_MODE;
	nested->size = sizeof(*nested) + 4096;
	if (format == KVM_STATE_NESTED_FORMAT_VMX) {
		nested->hdr.vmx.vmxon_pa = 0x5000;
		nested->hdr.vmx.vmcs12_pa = 0x6000;
	} else {
		nested->hdr.svm.vmcb_pa = 0x6000;
	}
	memset((uint8_t *)nested + sizeof(*nested), 0, 4096);
	memcpy((uint8_t *)nested + sizeof(*nested) + FAKE_VMCS12_RIP, &rip, sizeof(rip));
}

START_TEST(registers_follow_a_nested_guest_on_vmx)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;

	vcpu_state_regs_edit(s, &err)->rip = 0x1111;
	vcpu_state_sregs_edit(s, &err)->cr4 = 0x2000;
	edit_nested_guest(s, KVM_STATE_NESTED_FORMAT_VMX);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(_i ? vcpu_state_after_reset(s, &err) == 0 :
		      vcpu_state_after_load(s, &err) == 0, "%s", err.text);
	ck_assert_str_eq(fixture_sets(mark, 0), "SET_SREGS2 SET_NESTED_STATE SET_REGS");
	ck_assert_uint_eq(fix.model[0]->regs.rip, 0x1111);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* Not so on SVM, nor outside the inner guest. */
START_TEST(registers_come_first_otherwise)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;

	if (_i)
		nested_turn_off(fix.model[0]->nested, KVM_STATE_NESTED_FORMAT_SVM);
	vcpu_state_regs_edit(s, &err)->rip = 0x1111;
	vcpu_state_sregs_edit(s, &err)->efer = 0x1000;
	vcpu_state_sregs_edit(s, &err)->cr4 = 0x2000;
	if (_i)
		edit_nested_guest(s, KVM_STATE_NESTED_FORMAT_SVM);
	else
		vcpu_state_nested_edit(s, &err)->hdr.vmx.vmxon_pa = 0x5000;
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(vcpu_state_after_load(s, &err) == 0, "%s", err.text);
	ck_assert_str_eq(fixture_sets(mark, 0), "SET_REGS SET_SREGS2 SET_NESTED_STATE");
	ck_assert_uint_eq(fix.model[0]->regs.rip, 0x1111);
}
END_TEST

/* Registers that nobody edited: what SET_NESTED_STATE makes of them is what readers see then. */
START_TEST(a_nested_guest_moves_registers_that_were_only_read)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fix.model[0]->sregs.cr4 = 0x2000;
	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
	edit_nested_guest(s, KVM_STATE_NESTED_FORMAT_VMX);
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* ---- What is refused ---- */

START_TEST(cpuid_can_not_be_edited_after_the_first_run)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	ck_assert(substate_cases[SUBSTATE_CPUID].edit(s, 1, &err));
	ck_assert_int_eq(vcpu_state_after_init(s, &err), 0);
	fixture_run(0, NULL);
	ck_assert(!substate_cases[SUBSTATE_CPUID].edit(s, 2, &err));
	ck_assert_int_eq(err.code, EBUSY);
	ck_assert_uint_eq(s->dirty, 0);
	ck_assert_uint_eq(substate_cases[SUBSTATE_CPUID].seen(s), 1);
}
END_TEST

/* A parked vCPU that never entered the guest still takes another table. */
START_TEST(cpuid_can_be_edited_before_the_first_run)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fixture_park(0);
	ck_assert(substate_cases[SUBSTATE_CPUID].edit(s, 2, &err));
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(substate_cases[SUBSTATE_CPUID].held(fix.model[0]), 2);
}
END_TEST

/*
 * While I/O is uncommitted a SET would lose its result: an assertion in debug builds, an error in
 * release builds, in each case before anything reaches the kernel.
 */
START_TEST(nothing_is_written_while_io_is_uncommitted)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;
	pid_t child;
	int status;

	ck_assert(substate_cases[_i / 2].edit(s, 0x55, &err));
	s->io_committed = false;
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		bool refused;

		if (!freopen("/dev/null", "w", stderr))         /* the assertion's message */
			_exit(3);
		mark = fake_kvm_mark(fix.fake);
		refused = (_i % 2 ? vcpu_state_after_load(s, &err) :
				    vcpu_state_after_init(s, &err)) < 0;
		if (!refused || fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)))
			_exit(1);
		_exit(err.code && s->dirty == bit((enum vcpu_substate)(_i / 2)) ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
#ifdef NDEBUG
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
#else
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
#endif
	s->io_committed = true;
}
END_TEST

Suite *vcpu_state_kernel_suite(void)
{
	Suite *s = suite_create("vcpu_state_kernel");
	TCase *t = tcase_create("kernel");

	tcase_add_checked_fixture(t, setup, fixture_stop);
	tcase_add_loop_test(t, side_effects_of_a_write_are_seen, 0, 2);
	tcase_add_test(t, sregs_read_back_differs_from_what_was_written);
	tcase_add_test(t, mp_state_is_written_after_sregs);
	tcase_add_test(t, events_are_written_after_regs);
	tcase_add_test(t, an_interrupt_is_not_queued_twice);
	tcase_add_test(t, runtime_leaves_latched_events_alone);
	tcase_add_test(t, latched_events_alone_leave_the_others_as_they_are);
	tcase_add_loop_test(t, inspecting_a_clone_does_not_lose_cr3, 0, 4);
	tcase_add_loop_test(t, an_edit_before_the_first_run_would_lose_it, 0, 2);
	tcase_add_loop_test(t, registers_follow_a_nested_guest_on_vmx, 0, 2);
	tcase_add_loop_test(t, registers_come_first_otherwise, 0, 2);
	tcase_add_test(t, a_nested_guest_moves_registers_that_were_only_read);
	tcase_add_test(t, cpuid_can_not_be_edited_after_the_first_run);
	tcase_add_test(t, cpuid_can_be_edited_before_the_first_run);
	tcase_add_loop_test(t, nothing_is_written_while_io_is_uncommitted, 0, 2 * SUBSTATE_COUNT);
	suite_add_tcase(s, t);
	return s;
}
