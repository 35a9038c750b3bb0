/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"
#include "vmm/clone.h"
#include "vmm/lapic.h"

/* State that is saved and loaded while any request to KVM fails, one at a time, until none does. */

#define CPUS 2

static struct error err;
static struct sections saved;

static void one_line(int code)
{
	ck_assert_int_eq(err.code, code);
	ck_assert_uint_gt(strlen(err.text), 0);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

static const unsigned long all_requests[] = {
#define X(name, class) KVM_##name,
	KVM_REQUESTS(X)
#undef X
};
#define REQUESTS (sizeof(all_requests) / sizeof(all_requests[0]))

static void fail_request(unsigned long request, unsigned int n)
{
	fake_kvm_heal(machine.fake);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = request, .vcpu = -1, .nth = n,
							  .times = 1, .error = EIO });
}

/* ---- Saving ---- */

enum host { OF_TODAY, SCALED, WITHOUT_XSAVE, SLOW_TIMER, HOSTS };

/* Timers that have run out, so that nobody knows of their interrupts before the vCPUs settle. */
static void run_timers_out(void)
{
	bool running = vm_is_running(machine.vm);

	if (running)
		vm_stop(machine.vm);
	for (unsigned int i = 0; i < CPUS; i++) {
		struct kvm_lapic_state *lapic = &machine_model(i)->lapic;

		lapic_set_register(lapic, LAPIC_LVT_TIMER, 0x40);
		lapic_set_register(lapic, LAPIC_TMICT, 1000);
		lapic_set_register(lapic, LAPIC_TMCCT, 0);
	}
	if (running)
		machine_run_all();
	machine_events();
}

static void start(enum host host)
{
	static struct cpu_config config;

	transfers_begin();
	if (host == SCALED) {
		ck_assert_int_eq(cpu_model_parse("host,tsc-frequency=1500000000", &config, &err), 0);
		machine.config.cpu = &config;
	} else if (host == WITHOUT_XSAVE) {
		fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE2, 0);
		fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE, 0);
		fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	} else if (host == SLOW_TIMER) {
		fake_kvm_poison(machine.fake, FAKE_TIMER_NEEDS_GUEST);
	}
	machine_start(CPUS);
	fill_guest();
	run_timers_out();
	machine_run_all();
	machine_events();
}

static int save_it(void)
{
	memset(&err, 0, sizeof(err));
	return vm_snapshot_save(machine.vm, file_named("snapshot"), false, &err);
}

/* Nobody but who asked for it has noticed. */
static void goes_on(void)
{
	ck_assert_str_eq(logged(), err.text);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP RESUME MIGRATION(failed)");
	ck_assert_int_eq(access(file_named("snapshot"), F_OK), -1);
	ck_assert_pstr_eq(machine_look(), NULL);
}

static void is_saved(void)
{
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP MIGRATION(active) RESUME "
			 "MIGRATION(completed)");
	ck_assert_int_eq(unlink(file_named("snapshot")), 0);
}

/* Whether it is the machine's time that has not been read: then it goes on, with a warning. */
static bool only_time(unsigned long request, unsigned int n)
{
	return n == 1 && (request == KVM_GET_CLOCK || request == KVM_GET_PIT2);
}

START_TEST(saving)
{
	unsigned int refused = 0;
	uint64_t mark;
	bool over;

	start((enum host)_i);
	for (size_t i = 0; i < REQUESTS; i++) {
		/* What sends it on again is another matter. */
		if (all_requests[i] == KVM_RUN || all_requests[i] == KVM_SET_CLOCK ||
		    all_requests[i] == KVM_KVMCLOCK_CTRL || all_requests[i] == KVM_SET_SIGNAL_MASK)
			continue;
		over = false;
		for (unsigned int n = 1; !over; n++) {
			run_timers_out();
			fail_request(all_requests[i], n);
			mark = fake_kvm_mark(machine.fake);
			if (save_it() == 0) {
				over = fake_kvm_count_request(machine.fake, mark, FAKE_ANY,
							      all_requests[i]) < n;
				ck_assert(over || only_time(all_requests[i], n));
				fake_kvm_heal(machine.fake);
				is_saved();
				continue;
			}
			fake_kvm_heal(machine.fake);
			one_line(EIO);
			goes_on();
			refused++;
		}
	}
	ck_assert_uint_gt(refused, 15);
	teardown_machine();
}
END_TEST

START_TEST(saving_without_memory)
{
	unsigned int n;

	start((enum host)_i);
	for (n = 1;; n++) {
		run_timers_out();
		alloc_fail_at(n);
		if (save_it() == 0)
			break;
		ck_assert(alloc_has_failed());
		alloc_fail_at(0);
		one_line(ENOMEM);
		/* The first two are of the transfer itself: then nothing was stopped. */
		if (n > 2)
			goes_on();
		else
			ck_assert_pstr_eq(strstr(machine_events(), "STOP"), NULL);
		logged();
	}
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 5);
	is_saved();
	teardown_machine();
}
END_TEST

/* Then the timer's interrupt may be lost, and that is all. */
START_TEST(not_settled)
{
	start(OF_TODAY);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_SET_SIGNAL_MASK,
							  .vcpu = -1, .error = EIO });
	ck_assert_int_eq(save_it(), 0);
	is_saved();
	teardown_machine();
}
END_TEST

/* A vCPU that can not go on while it settles is in nobody knows which state: that is not saved. */
START_TEST(broken_while_settling)
{
	start(OF_TODAY);
	if (_i) {
		vm_stop(machine.vm);
		machine_events();
	}
	/* Behind what it does at the stop. */
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_RUN, .vcpu = 1,
							  .nth = _i ? 1 : 2, .times = 1,
							  .error = EFAULT });
	ck_assert_int_eq(save_it(), -1);
	one_line(EIO);
	ck_assert_ptr_nonnull(strstr(err.text, "vCPU 1"));
	ck_assert_ptr_nonnull(strstr(logged(), "vCPU 1: KVM_RUN: Bad address"));
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	ck_assert_int_eq(access(file_named("snapshot"), F_OK), -1);
	logged();
	teardown_machine();
}
END_TEST

START_TEST(saved_and_not_sent_on)
{
	start(OF_TODAY);
	ck_assert_int_eq(save_it(), 0);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_SET_CLOCK, .vcpu = -1,
							  .error = EIO });
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	ck_assert_str_eq(logged(), "the machine can not go on after it was saved: KVM_SET_CLOCK: "
			 "Input/output error");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	fake_kvm_heal(machine.fake);
	machine_run_all();
	teardown_machine();
}
END_TEST

/* ---- Loading ---- */

enum kind { PLAIN, NESTED_VMX, PAE, BY_FORCE, KINDS };

static void save_elsewhere(enum kind kind)
{
	static const enum filling fillings[] = { FILL_LONG, FILL_NESTED_VMX, FILL_PAE, FILL_LONG };

	transfers_begin();
	if (kind == PLAIN)
		fake_kvm_let_time_pass(machine.fake);
	saved_elsewhere(&saved, CPUS, fillings[kind]);
	fill_host(fillings[kind]);
	/* From a host of another frequency, or of one that is known to be another. */
	if (kind == PLAIN || kind == BY_FORCE) {
		const uint32_t khz = 1700000;

		replace_item(&saved, SNAPSHOT_TSC_KHZ, &khz, sizeof(khz));
	}
}

static int apply(enum kind kind)
{
	memset(&err, 0, sizeof(err));
	for (unsigned int i = 0; i < saved.nr; i++)
		saved.section[i].claimed = false;
	return snapshot_apply(machine.vm, &saved, kind == BY_FORCE, &err);
}

START_TEST(loading)
{
	enum kind kind = (enum kind)_i;
	unsigned int refused = 0;
	bool over = false;
	uint64_t mark;
	int rc;

	save_elsewhere(kind);
	for (size_t i = 0; i < REQUESTS; i++, over = false) {
		/* A capability that can not be asked for is one that is not there. */
		if (all_requests[i] == KVM_CHECK_EXTENSION)
			continue;
		for (unsigned int n = 1; !over; n++) {
			machine_wait(CPUS);
			fail_request(all_requests[i], n);
			mark = fake_kvm_mark(machine.fake);
			rc = apply(kind);
			over = fake_kvm_count_request(machine.fake, mark, FAKE_ANY,
						      all_requests[i]) < n;
			ck_assert_msg((rc == 0) == over, "request 0x%lx: %s", all_requests[i], err.text);
			if (rc < 0)
				one_line(EIO);
			refused += rc < 0;
			/* Nothing has run, and nothing is left behind. */
			ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, KVM_RUN),
					  0);
			ck_assert_int_eq(machine.vm->state, RUN_STATE_INMIGRATE);
			machine_stop();
			machine_host();
			fill_host(kind == NESTED_VMX ? FILL_NESTED_VMX : FILL_LONG);
		}
	}
	ck_assert_uint_gt(refused, 30);
	machine_wait(CPUS);
	sections_free(&saved);
	teardown_machine();
}
END_TEST

START_TEST(loading_without_memory)
{
	enum kind kind = (enum kind)_i;
	bool over = false;
	unsigned int n;
	int rc;

	save_elsewhere(kind);
	for (n = 1; !over; n++) {
		machine_wait(CPUS);
		alloc_fail_at(n);
		rc = apply(kind);
		over = !alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_msg((rc == 0) == over, "%s", err.text);
		if (rc < 0)
			one_line(ENOMEM);
		machine_stop();
		machine_host();
		fill_host(kind == NESTED_VMX ? FILL_NESTED_VMX : FILL_LONG);
	}
	ck_assert_uint_gt(n, 10);
	machine_wait(CPUS);
	sections_free(&saved);
	teardown_machine();
}
END_TEST

/* What comes in can not be read, for there is no thread for that: the process should end. */
START_TEST(nobody_to_take_it_in)
{
	struct migration_channel channel;
	struct far_end end;

	setup_incoming();
	channel = to_memory(&end);
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_IN, &err), 0);
	call_fail("pthread_create", 1, EAGAIN);
	ck_assert_int_eq(vm_migrate_incoming(machine.vm, &channel, &err), -1);
	one_line(EAGAIN);
	ck_assert_str_eq(logged(), err.text);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) MIGRATION(failed) EXIT(1)");
	ck_assert_uint_eq(end.finished, 0);
	far_end_close(&end);
	teardown_machine();
}
END_TEST

/* ---- Clones ---- */

/* All three steps.  `*opened`: the first has been done. */
static int make_clone(bool *opened)
{
	struct clone *clone;
	int rc = -1;

	memset(&err, 0, sizeof(err));
	clone = clone_open(file_named("snapshot"), &machine.config, &err);
	*opened = clone;
	if (clone && machine_try(machine.config.cpus, &err) == 0)
		rc = vm_clone(machine.vm, clone, &err);
	clone_close(clone);
	return rc;
}

START_TEST(cloning)
{
	static const char *const calls[] = {
		"open", "fstat", "lseek", "readv", "fcntl", "mmap", "madvise", NULL,
	};
	const char *name = calls[_i];
	bool over = false, opened;
	unsigned int before;
	int rc;

	start(OF_TODAY);
	ck_assert_int_eq(save_it(), 0);
	machine_dispatch();
	machine_stop();
	before = open_descriptors();
	for (unsigned int n = 1; !over; n++) {
		machine_host();
		fail_at(name, n, ENOMEM);
		rc = make_clone(&opened);
		over = !fail_end();
		ck_assert_msg(rc == 0 || !over, "%s", err.text);
		if (rc < 0)
			one_line(name && !strcmp(name, "lseek") ? ESPIPE : ENOMEM);
		/* Of its state nothing runs but all of it. */
		if (rc == 0)
			machine_run_all();
		if (opened) {
			machine_stop();
		} else {
			ck_assert_str_eq(fake_kvm_leaks(machine.fake), "");
			fake_kvm_free(machine.fake);
		}
		ck_assert_uint_eq(open_descriptors(), before);
	}
	transfers_end();
}
END_TEST

Suite *snapshot_requests_suite(void)
{
	Suite *s = suite_create("snapshot_requests");
	TCase *t = tcase_create("requests");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, saving, 0, HOSTS);
	tcase_add_loop_test(t, saving_without_memory, 0, HOSTS);
	tcase_add_test(t, not_settled);
	tcase_add_loop_test(t, broken_while_settling, 0, 2);
	tcase_add_test(t, saved_and_not_sent_on);
	tcase_add_loop_test(t, loading, 0, KINDS);
	tcase_add_loop_test(t, loading_without_memory, 0, KINDS);
	tcase_add_test(t, nobody_to_take_it_in);
	tcase_add_loop_test(t, cloning, 0, 8);
	suite_add_tcase(s, t);
	return s;
}
