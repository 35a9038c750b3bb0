/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/migration_fixture.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"
#include "vmm/clone.h"

/* The way in: incoming state and clones, and that looking at them before they go on is harmless. */

#define CPUS 2

static struct far_end written, end;
static struct error err;

static void teardown(void)
{
	machine_stop();
	far_end_close(&written);
	transfers_end();
}

/* Saves a guest that ran, or was stopped in a state, to both forms; then its host is gone. */
static void save_guest(enum run_state state)
{
	struct migration_channel channel;

	memset(&err, 0, sizeof(err));
	transfers_begin();
	machine_start(CPUS);
	fill_guest();
	channel = to_memory(&written);
	if (state == RUN_STATE_RUNNING)
		machine_run_all();
	else
		machine.vm->state = state;
	ck_assert_int_eq(vm_snapshot_save(machine.vm, file_named("snapshot"), false, &err), 0);
	machine_dispatch();
	migrate_to(&channel);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	machine_stop();
}

static void save_running_guest(void)
{
	save_guest(RUN_STATE_RUNNING);
}

/* Another host, and a machine that waits there. */
static void wait_for_state(unsigned int cpus, bool start_running, bool defer)
{
	machine_host();
	machine.config.incoming_defer = defer;
	machine.config.start_running = start_running;
	machine_wait(cpus);
}

static void receive(void)
{
	struct migration_channel channel = from_memory(&end, &written, SIZE_MAX);

	migrate_from(&channel);
	machine_dispatch();
	ck_assert_uint_eq(end.finished, 1);
	far_end_close(&end);
}

/* All of RAM has come, or all of it is zero. */
static void check_ram(bool there)
{
	for (uint64_t gpa = 0, value; gpa < machine.vm->memory.size; gpa += 4096) {
		ck_assert(memory_read(&machine.vm->memory, gpa, &value, sizeof(value)));
		ck_assert_uint_eq(value, there ? gpa : 0);
	}
}

/* ---- What is said before it comes ---- */

static const struct {
	bool start_running;
	int says[2];                    /* 1: cont, -1: stop */
	bool runs;
} wishes[] = {
	{ true, { 0 }, true }, { false, { 0 }, false }, { true, { -1 }, false },
	{ false, { 1 }, true }, { true, { -1, 1 }, true }, { false, { 1, -1 }, false },
};

#define WISHES ((int)(sizeof(wishes) / sizeof(wishes[0])))

START_TEST(as_both_sides_want_it)
{
	save_running_guest();
	wait_for_state(CPUS, wishes[_i].start_running, false);
	for (int i = 0; i < 2; i++) {
		if (wishes[_i].says[i] > 0)
			ck_assert_int_eq(vm_cont(machine.vm, &err), 0);
		else if (wishes[_i].says[i] < 0)
			vm_stop(machine.vm);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_INMIGRATE);
	}
	receive();
	ck_assert_int_eq(machine.vm->state, wishes[_i].runs ? RUN_STATE_RUNNING : RUN_STATE_PAUSED);
	ck_assert_str_eq(machine_events(), wishes[_i].runs ?
			 "MIGRATION(setup) MIGRATION(active) RESUME MIGRATION(completed)" :
			 "MIGRATION(setup) MIGRATION(active) MIGRATION(completed)");
	check_ram(true);
}
END_TEST

static const enum run_state stopped_states[] = {
	RUN_STATE_PRELAUNCH, RUN_STATE_PAUSED, RUN_STATE_SHUTDOWN, RUN_STATE_SUSPENDED,
	RUN_STATE_WATCHDOG, RUN_STATE_GUEST_PANICKED, RUN_STATE_INTERNAL_ERROR,
	RUN_STATE_IO_ERROR,
};

#define STOPPED_STATES ((int)(sizeof(stopped_states) / sizeof(stopped_states[0])))

/* One that was stopped stays so, in the same state, whoever wants it to run. */
START_TEST(a_stopped_machine_stays_so)
{
	save_guest(stopped_states[_i]);
	wait_for_state(CPUS, true, false);
	ck_assert_int_eq(vm_cont(machine.vm, &err), 0);
	receive();
	ck_assert_int_eq(machine.vm->state, stopped_states[_i]);
	ck_assert_str_eq(machine_events(),
			 "MIGRATION(setup) MIGRATION(active) MIGRATION(completed)");
}
END_TEST

START_TEST(refused_where_state_is_waited_for)
{
	struct migration_channel channel;

	save_running_guest();
	wait_for_state(CPUS, true, false);
	channel = from_memory(&end, &written, SIZE_MAX);
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_OUT, &err), -1);
	ck_assert_str_eq(err.text, "Guest is waiting for an incoming migration");
	migrate_from(&channel);
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_IN, &err), -1);
	ck_assert_str_eq(err.text, "There's a migration process in progress");
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_OUT, &err), -1);
	ck_assert_str_eq(err.text, "Guest is waiting for an incoming migration");
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 -1);
	ck_assert_ptr_nonnull(strstr(err.text, "loaded"));
	/* It is nobody's to cancel. */
	vm_migrate_cancel(machine.vm);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_IN, &err), -1);
	ck_assert_str_eq(err.text, "'-incoming' was not specified on the command line");
	far_end_close(&end);
}
END_TEST

/* ---- What goes wrong ---- */

/* Half of it has come, or all but the end: another can be tried, and finds RAM as it was. */
START_TEST(deferred_and_tried_again)
{
	off_t all = 0;

	save_running_guest();
	all = lseek(written.fd, 0, SEEK_END);
	wait_for_state(CPUS, true, true);
	for (int i = 0; i < 2; i++) {
		struct migration_channel channel = from_memory(&end, &written, i ? (size_t)all - 1 :
							       (size_t)all / 2);

		migrate_from(&channel);
		machine_dispatch();
		ck_assert(end.finished == 1 && !end.complete);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_INMIGRATE);
		ck_assert_str_eq(machine_events(),
				 "MIGRATION(setup) MIGRATION(active) MIGRATION(failed)");
		ck_assert_ptr_nonnull(strstr(error_now(), "ends too early"));
		ck_assert_str_eq(logged(), error_now());
		check_ram(false);
		far_end_close(&end);
	}
	receive();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
	check_ram(true);
}
END_TEST

/* Of what is not deferred there is no second. */
START_TEST(the_end_of_the_process)
{
	struct error why = { .code = ECONNRESET, .text = "the peer can not be accepted" };
	struct migration_channel channel;

	save_running_guest();
	wait_for_state(CPUS, true, false);
	if (_i) {
		ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_IN, &err), 0);
		vm_migration_failed(machine.vm, &why);
		ck_assert_str_eq(machine_events(), "MIGRATION(setup) MIGRATION(failed) EXIT(1)");
		ck_assert_str_eq(logged(), why.text);
		return;
	}
	channel = from_memory(&end, &written, 100);
	migrate_from(&channel);
	machine_dispatch();
	ck_assert_str_eq(machine_events(),
			 "MIGRATION(setup) MIGRATION(active) MIGRATION(failed) EXIT(1)");
	ck_assert_ptr_nonnull(strstr(logged(), "ends too early"));
	far_end_close(&end);
}
END_TEST

static void refuses(const char *text)
{
	receive();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INMIGRATE);
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_ptr_nonnull(strstr(logged(), text));
	check_ram(false);
}

START_TEST(another_machine)
{
	save_running_guest();
	wait_for_state(_i ? CPUS : CPUS + 1, true, true);
	if (_i) {
		vm_destroy(machine.vm);
		machine.config.memory = 4 << 20;
		kvm_close(&machine.kvm);
		ck_assert_int_eq(machine_try(CPUS, &err), 0);
	}
	refuses(_i ? "and this one has 4194304: start it with --memory 2048K" :
		     "and this one has 3: start it with --cpus 2");
}
END_TEST

/* Half of a machine is no machine: not even a deferred one waits for another. */
START_TEST(state_that_the_kernel_refuses)
{
	static const unsigned long requests[] = {
		KVM_SET_IRQCHIP, KVM_SET_CPUID2, KVM_SET_SREGS2, KVM_SET_LAPIC, KVM_SET_MSRS,
	};

	save_running_guest();
	wait_for_state(CPUS, true, true);
	fake_kvm_fail(machine.fake, (struct fake_fault){ .request = requests[_i], .vcpu = -1,
							 .error = EINVAL });
	receive();
	ck_assert_str_eq(machine_events(),
			 "MIGRATION(setup) MIGRATION(active) MIGRATION(failed) EXIT(1)");
	ck_assert_ptr_nonnull(strstr(logged(), "Invalid argument"));
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_RUN), 0);
}
END_TEST

START_TEST(no_way_to_go_on)
{
	save_running_guest();
	wait_for_state(CPUS, true, false);
	fake_kvm_fail(machine.fake, (struct fake_fault){ .request = KVM_SET_CLOCK, .vcpu = -1,
							 .error = EIO });
	receive();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	ck_assert_ptr_nonnull(strstr(logged(), "Input/output error"));
	fake_kvm_heal(machine.fake);
	machine_run_all();
}
END_TEST

START_TEST(destroyed_while_it_comes)
{
	struct migration_channel channel;
	int fds[2];

	save_running_guest();
	wait_for_state(CPUS, true, _i);
	ck_assert_int_eq(pipe(fds), 0);
	channel = (struct migration_channel){ .fd = fds[0] };
	migrate_from(&channel);
	machine_stop();
	close(fds[1]);
	machine_host();
	machine_start(1);
}
END_TEST

/* ---- The mission ---- */

enum way { BY_STREAM, BY_FILE, BY_CLONE, WAYS };

static void come_by(enum way way)
{
	struct migration_channel channel;
	struct clone *clone;

	if (way != BY_CLONE)
		wait_for_state(CPUS, false, false);
	switch (way) {
	case BY_STREAM:
		receive();
		break;
	case BY_FILE:
		channel = from_file(file_named("snapshot"));
		migrate_from(&channel);
		machine_dispatch();
		break;
	default:
		machine_host();
		clone = clone_open(file_named("snapshot"), &machine.config, &err);
		ck_assert_msg(clone, "%s", err.text);
		ck_assert_msg(machine_try(machine.config.cpus, &err) == 0, "%s", err.text);
		ck_assert_msg(vm_clone(machine.vm, clone, &err) == 0, "%s", err.text);
		clone_close(clone);
		break;
	}
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
}

/*
 * The guest pages, its CR3 is not 0, and its vCPUs have never run here.  On a host with the bug, in
 * either reading of it, it dies by a triple fault if what was only looked at is written again.
 */
static void check_mission(enum way way, unsigned int poison, int looks)
{
	struct vm_sync_counts counts;
	uint64_t mark;

	save_running_guest();
	come_by(way);
	fake_kvm_poison(machine.fake, poison);
	mark = fake_kvm_mark(machine.fake);
	for (int i = 0; i < looks; i++)
		ck_assert_pstr_eq(machine_look(), NULL);
	vm_sync_counts(machine.vm, &counts);
	ck_assert_uint_eq(counts.vcpu_sets + counts.vm_sets + counts.policy, 0);
	machine_events();
	machine_run_all();
	ck_assert_uint_eq(machine_sets(mark), 0);
	for (unsigned int i = 0; i < CPUS; i++)
		ck_assert_uint_eq(machine_model(i)->sregs.cr3, 0x3000);
	vm_dispatch(machine.vm);
	ck_assert_str_eq(machine_events(), "RESUME");
	ck_assert(vm_is_running(machine.vm));
	check_ram(true);
}

static const unsigned int poisons[] = {
	0, FAKE_STALE_CR3_BY_SREGS, FAKE_STALE_CR3_BY_REGS,
	FAKE_STALE_CR3_BY_SREGS | FAKE_STALE_CR3_BY_REGS,
};

#define POISONS 4
#define LOOKS   3

START_TEST(paused_looked_at_and_continued)
{
	check_mission((enum way)(_i % WAYS), poisons[_i / WAYS % POISONS], _i / WAYS / POISONS);
}
END_TEST

/* On a host that has had the bug since before the state came: once written, nothing is again. */
START_TEST(on_a_host_with_the_bug)
{
	uint64_t mark;

	save_running_guest();
	wait_for_state(CPUS, false, false);
	fake_kvm_poison(machine.fake, poisons[_i]);
	mark = fake_kvm_mark(machine.fake);
	receive();
	for (int i = 0; i < CPUS; i++) {
		ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, i, KVM_SET_REGS), 1);
		ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, i, KVM_SET_SREGS2), 1);
	}
	machine_look();
	machine_events();
	machine_run_all();
	vm_dispatch(machine.vm);
	ck_assert_str_eq(machine_events(), "RESUME");
}
END_TEST

/* The test can fail: what a client really has changed is written, and such a host loses CR3 then. */
START_TEST(the_bug_is_there)
{
	struct kvm_sregs2 *sregs;
	struct kvm_regs *regs;

	save_running_guest();
	come_by(BY_CLONE);
	fake_kvm_poison(machine.fake, poisons[1 + _i]);
	fake_kvm_mark(machine.fake);
	ck_assert_int_eq(vm_inspect_begin(machine.vm, -1, &err), 0);
	if (_i == 0) {
		sregs = vcpu_state_sregs_edit(&machine.vm->vcpu[0].state, &err);
		ck_assert_ptr_nonnull(sregs);
	} else {
		regs = vcpu_state_regs_edit(&machine.vm->vcpu[0].state, &err);
		ck_assert_ptr_nonnull(regs);
	}
	vm_inspect_end(machine.vm);
	machine_events();
	machine_cont();
	machine_dispatch();
	ck_assert_str_eq(machine_events(), "RESUME RESET(guest-reset)");
	logged();
}
END_TEST

/* A clone's snapshot is the one that it comes from, byte by byte, however it was looked at. */
START_TEST(a_snapshot_of_a_clone)
{
	static const char *const names[] = { "snapshot", "again" };
	char *content[2];
	FILE *f;

	save_guest(RUN_STATE_PAUSED);
	come_by((enum way)_i);
	machine_look();
	ck_assert_int_eq(vm_snapshot_save(machine.vm, file_named("again"), false, &err), 0);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	for (int i = 0; i < 2; i++) {
		content[i] = calloc(1, 3 << 20);
		f = fopen(file_named(names[i]), "r");
		ck_assert_uint_gt(fread(content[i], 1, 3 << 20, f), machine.config.memory);
		fclose(f);
	}
	ck_assert_mem_eq(content[0], content[1], 3 << 20);
	free(content[0]);
	free(content[1]);
}
END_TEST

/* ---- Processors that have more than the kernel says ---- */

static bool first_has_lm(void)
{
	const struct kvm_cpuid2 *table = vcpu_state_cpuid(&machine.vm->vcpu[0].state, &err);

	ck_assert_ptr_nonnull(table);
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == 0x80000001)
			return table->entries[i].edx >> 29 & 1;
	return false;
}

/* The guest has seen a feature that only vCPUs tell of; one here is asked before it is refused. */
START_TEST(a_feature_that_only_vcpus_tell_of)
{
	transfers_begin();
	fake_kvm_poison(machine.fake, FAKE_MORE_CPUID);
	machine_start(CPUS);
	machine_run_all();
	vm_stop(machine.vm);
	ck_assert(first_has_lm());
	struct migration_channel channel = to_memory(&written);
	migrate_to(&channel);
	machine_dispatch();
	machine_stop();

	machine_host();
	fake_kvm_poison(machine.fake, _i ? FAKE_MORE_CPUID : 0);
	machine_wait(CPUS);
	receive();
	if (_i) {
		ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
		ck_assert(first_has_lm());
		machine_run_all();
	} else {
		ck_assert_int_eq(status_now(), MIGRATION_FAILED);
		ck_assert_ptr_nonnull(strstr(logged(), "lacks: lm"));
	}
}
END_TEST

Suite *migration_in_suite(void)
{
	Suite *suite = suite_create("migration_in");
	TCase *before = tcase_create("before"), *wrong = tcase_create("wrong");
	TCase *mission = tcase_create("mission"), *cpuid = tcase_create("cpuid");
	TCase *const all[] = { before, wrong, mission, cpuid };

	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		tcase_add_checked_fixture(all[i], NULL, teardown);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_loop_test(before, as_both_sides_want_it, 0, WISHES);
	tcase_add_loop_test(before, a_stopped_machine_stays_so, 0, STOPPED_STATES);
	tcase_add_test(before, refused_where_state_is_waited_for);
	tcase_add_test(wrong, deferred_and_tried_again);
	tcase_add_loop_test(wrong, the_end_of_the_process, 0, 2);
	tcase_add_loop_test(wrong, another_machine, 0, 2);
	tcase_add_loop_test(wrong, state_that_the_kernel_refuses, 0, 5);
	tcase_add_test(wrong, no_way_to_go_on);
	tcase_add_loop_test(wrong, destroyed_while_it_comes, 0, 2);
	tcase_add_loop_test(mission, paused_looked_at_and_continued, 0, WAYS * POISONS * LOOKS);
	tcase_add_loop_test(mission, on_a_host_with_the_bug, 0, POISONS);
	tcase_add_loop_test(mission, the_bug_is_there, 0, 2);
	tcase_add_loop_test(mission, a_snapshot_of_a_clone, 0, WAYS);
	tcase_add_loop_test(cpuid, a_feature_that_only_vcpus_tell_of, 0, 2);
	return suite;
}
