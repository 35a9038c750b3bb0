/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/vm_internal.h"

/* The way out: run states, refusals, and how a machine comes back from every failure. */

static struct far_end end;
static struct error err;

static int begin(enum migration_kind kind)
{
	memset(&err, 0, sizeof(err));
	return vm_migration_begin(machine.vm, kind, &err);
}

static int save(bool stay)
{
	memset(&err, 0, sizeof(err));
	return vm_snapshot_save(machine.vm, file_named("snapshot"), stay, &err);
}

static int migrate(const struct migration_channel *channel)
{
	const struct migration_parameters parameters = { .zstd_level = 0 };

	if (begin(MIGRATION_OUT) < 0)
		return -1;
	return vm_migrate(machine.vm, channel, &parameters, &err);
}

/* ---- What goes well ---- */

START_TEST(out_of_a_running_machine)
{
	struct migration_channel channel = to_memory(&end);
	struct migration_info info;

	ck_assert_int_eq(status_now(), MIGRATION_NONE);
	machine_run_all();
	migrate_to(&channel);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_FINISH_MIGRATE);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_POSTMIGRATE);
	ck_assert_str_eq(machine_events(),
			 "RESUME MIGRATION(setup) STOP MIGRATION(active) MIGRATION(completed)");
	ck_assert(end.finished == 1 && end.complete && !end.cancelled);
	vm_migration_info(machine.vm, &info);
	ck_assert_int_eq(info.kind, MIGRATION_OUT);
	ck_assert_uint_eq(info.ram_total, machine.config.memory);
	ck_assert_uint_eq(info.ram_remaining, 0);
	ck_assert_uint_eq(info.zero_pages + info.normal_pages, machine.config.memory / 4096);
	ck_assert_uint_gt(info.transferred, machine.config.memory);
	ck_assert_ptr_null(info.error);
	/* Whoever says so knows that the other one does not run. */
	machine_run_all();
	ck_assert_str_eq(machine_events(), "RESUME");
	far_end_close(&end);
}
END_TEST

START_TEST(out_of_a_stopped_machine)
{
	struct migration_channel channel = to_memory(&end);

	if (_i) {
		machine_run_all();
		vm_stop(machine.vm);
	}
	machine_events();
	migrate_to(&channel);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_POSTMIGRATE);
	ck_assert_str_eq(machine_events(),
			 "MIGRATION(setup) MIGRATION(active) MIGRATION(completed)");
	far_end_close(&end);
}
END_TEST

/* A snapshot, of a machine that then stays or goes on. */
START_TEST(saved)
{
	machine_run_all();
	machine_events();
	ck_assert_int_eq(save(_i), 0);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_SAVE_VM);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, _i ? RUN_STATE_PAUSED : RUN_STATE_RUNNING);
	ck_assert_str_eq(machine_events(), _i ?
			 "MIGRATION(setup) STOP MIGRATION(active) MIGRATION(completed)" :
			 "MIGRATION(setup) STOP MIGRATION(active) RESUME MIGRATION(completed)");
	ck_assert_int_eq(access(file_named("snapshot"), R_OK), 0);
}
END_TEST

/* ---- Back to where it was ---- */

static const enum run_state stopped_states[] = {
	RUN_STATE_PRELAUNCH, RUN_STATE_PAUSED, RUN_STATE_SHUTDOWN, RUN_STATE_SUSPENDED,
	RUN_STATE_WATCHDOG, RUN_STATE_GUEST_PANICKED, RUN_STATE_INTERNAL_ERROR,
	RUN_STATE_IO_ERROR, RUN_STATE_POSTMIGRATE,
};

#define STOPPED_STATES ((int)(sizeof(stopped_states) / sizeof(stopped_states[0])))

/* transfers_end() finds the transition that no table has. */
START_TEST(a_stopped_machine_stays_so)
{
	struct migration_channel channel = to_nowhere(&end);
	enum run_state state = stopped_states[_i];

	machine.vm->state = state;
	ck_assert_int_eq(save(false), 0);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, state);
	ck_assert_int_eq(save(true), 0);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, state);
	machine_events();
	if (state == RUN_STATE_POSTMIGRATE) {
		ck_assert_int_eq(migrate(&channel), -1);
		ck_assert_str_eq(machine_events(), "");
	} else {
		migrate_to(&channel);
		vm_migrate_cancel(machine.vm);
		machine_dispatch();
		ck_assert_int_eq(machine.vm->state, state);
		ck_assert_str_eq(machine_events(),
				 "MIGRATION(setup) MIGRATION(active) MIGRATION(cancelling) "
				 "MIGRATION(cancelled)");
	}
	far_end_close(&end);
}
END_TEST

START_TEST(a_running_machine_goes_on)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	machine_events();
	end.fails = "the disk is gone";
	migrate_to(&channel);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_str_eq(error_now(), end.fails);
	ck_assert_str_eq(logged(), end.fails);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP MIGRATION(active) RESUME "
			 "MIGRATION(failed)");
	far_end_close(&end);
}
END_TEST

/* Also one that was to stay where it is when it is saved: it was not. */
START_TEST(a_save_that_fails)
{
	machine_run_all();
	machine_events();
	ck_assert_int_eq(vm_snapshot_save(machine.vm, "/nonexistent/file", _i, &err), 0);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
	ck_assert_ptr_nonnull(strstr(error_now(), "/nonexistent/file: "));
	ck_assert_str_eq(logged(), error_now());
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP MIGRATION(active) RESUME "
			 "MIGRATION(failed)");
}
END_TEST

/* Stop means stop, whatever becomes of the transfer, and is no second event. */
START_TEST(stopped_on_its_way)
{
	machine_run_all();
	machine_events();
	ck_assert_int_eq(_i ? vm_snapshot_save(machine.vm, "/nonexistent/file", false, &err) :
			      save(false), 0);
	vm_stop(machine.vm);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_SAVE_VM);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	ck_assert_str_eq(machine_events(), _i ?
			 "MIGRATION(setup) STOP MIGRATION(active) MIGRATION(failed)" :
			 "MIGRATION(setup) STOP MIGRATION(active) MIGRATION(completed)");
	logged();
}
END_TEST

/* ---- Refusals ---- */

static void refused(int rc, const char *text)
{
	ck_assert_int_eq(rc, -1);
	ck_assert_msg(strstr(err.text, text), "%s", err.text);
	ck_assert_int_ne(err.code, 0);
}

START_TEST(refused_while_another_goes_on)
{
	struct migration_channel channel = to_nowhere(&end);
	const char *text = "There's a migration process in progress";

	machine_run_all();
	for (int started = 0; started < 2; started++) {
		if (!started)
			ck_assert_int_eq(begin(MIGRATION_OUT), 0);
		else
			migrate_to(&channel);
		machine_events();
		refused(begin(MIGRATION_OUT), text);
		refused(save(false), text);
		ck_assert_str_eq(machine_events(), "");
		vm_migrate_cancel(machine.vm);
		if (started) {
			refused(begin(MIGRATION_OUT), text);
			machine_dispatch();
		}
		ck_assert_int_eq(status_now(), MIGRATION_CANCELLED);
	}
	far_end_close(&end);
}
END_TEST

START_TEST(refused_in_this_run_state)
{
	refused(begin(MIGRATION_IN), "'-incoming' was not specified on the command line");
	machine.vm->state = RUN_STATE_INMIGRATE;
	refused(begin(MIGRATION_OUT), "Guest is waiting for an incoming migration");
	refused(save(false), "Guest is waiting for an incoming migration");
	machine.vm->state = RUN_STATE_POSTMIGRATE;
	refused(begin(MIGRATION_OUT),
		"Can't migrate the vm that was paused due to previous migration");
	ck_assert_int_eq(status_now(), MIGRATION_NONE);
	ck_assert_str_eq(machine_events(), "");
}
END_TEST

START_TEST(what_a_machine_on_its_way_refuses)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	if (_i)
		migrate_to(&channel);
	else
		ck_assert_int_eq(save(false), 0);
	refused(vm_cont(machine.vm, &err), _i ? "Migration is not finalized yet" :
						 "is being saved");
	refused(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
		"being saved");
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, _i ? RUN_STATE_POSTMIGRATE : RUN_STATE_RUNNING);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 0);
	ck_assert_int_eq(machine.vm->state, _i ? RUN_STATE_PRELAUNCH : RUN_STATE_RUNNING);
	far_end_close(&end);
}
END_TEST

/* ---- Every step may fail ---- */

/* The channel is the caller's still, and the machine runs. */
static void nothing_has_happened(const char *events)
{
	ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_str_eq(error_now(), err.text);
	ck_assert_str_eq(logged(), err.text);
	ck_assert_str_eq(machine_events(), events);
	ck_assert_uint_eq(end.finished, 0);
	ck_assert_int_ge(fcntl(end.fd, F_GETFD), 0);
}

START_TEST(state_that_can_not_be_read)
{
	static const unsigned long requests[] = {
		KVM_GET_IRQCHIP, KVM_GET_LAPIC, KVM_GET_MSRS, KVM_GET_XSAVE2, KVM_GET_CPUID2,
	};
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	for (unsigned int i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		machine_events();
		fake_kvm_fail(machine.fake, (struct fake_fault){ .request = requests[i],
								 .vcpu = -1, .error = EIO });
		ck_assert_int_eq(_i ? save(false) : migrate(&channel), -1);
		ck_assert_int_eq(err.code, EIO);
		nothing_has_happened("MIGRATION(setup) STOP RESUME MIGRATION(failed)");
		/* Who does not want to know why need not. */
		ck_assert_int_eq(vm_snapshot_save(machine.vm, file_named("snapshot"), false, NULL),
				 -1);
		logged();
		fake_kvm_heal(machine.fake);
		ck_assert_pstr_eq(machine_look(), NULL);
	}
	far_end_close(&end);
}
END_TEST

/* A stack that no host has room for. */
static void set_stack_size(size_t size)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	ck_assert_int_eq(pthread_attr_setstacksize(&attr, size), 0);
	ck_assert_int_eq(pthread_setattr_default_np(&attr), 0);
	pthread_attr_destroy(&attr);
}

START_TEST(no_thread_for_it)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	machine_events();
	set_stack_size((size_t)1 << 47);
	ck_assert_int_eq(_i ? save(true) : migrate(&channel), -1);
	set_stack_size(1 << 20);
	ck_assert_ptr_nonnull(strstr(err.text, "the thread of the migration: "));
	nothing_has_happened("MIGRATION(setup) STOP RESUME MIGRATION(failed)");
	far_end_close(&end);
}
END_TEST

START_TEST(no_memory_for_it)
{
	struct migration_channel channel = to_memory(&end);
	unsigned int n;

	machine_run_all();
	for (n = 1;; n++) {
		machine_events();
		alloc_fail_at(n);
		if (migrate(&channel) == 0)
			break;
		ck_assert(alloc_has_failed());
		ck_assert_int_eq(err.code, ENOMEM);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
		if (n > 1)
			nothing_has_happened("MIGRATION(setup) STOP RESUME MIGRATION(failed)");
		else
			ck_assert_str_eq(machine_events(), "");
	}
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 5);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
	far_end_close(&end);
}
END_TEST

/* What it was to be sent through could not be had. */
START_TEST(nothing_to_send_it_through)
{
	struct error why = { .code = ENOENT, .text = "nobody is there" };

	machine_run_all();
	machine_events();
	ck_assert_int_eq(begin(MIGRATION_OUT), 0);
	vm_migration_failed(machine.vm, &why);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_RUNNING);
	ck_assert_str_eq(error_now(), why.text);
	ck_assert_str_eq(logged(), why.text);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) MIGRATION(failed)");
	/* The next one begins anew. */
	ck_assert_int_eq(save(false), 0);
	ck_assert_str_eq(error_now(), "");
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_COMPLETED);
}
END_TEST

/* ---- Cancellation ---- */

START_TEST(cancelled_before_it_moves)
{
	machine_run_all();
	machine_events();
	vm_migrate_cancel(machine.vm);
	ck_assert_str_eq(machine_events(), "");
	ck_assert_int_eq(begin(MIGRATION_OUT), 0);
	vm_migrate_cancel(machine.vm);
	ck_assert_int_eq(status_now(), MIGRATION_CANCELLED);
	ck_assert_str_eq(machine_events(),
			 "MIGRATION(setup) MIGRATION(cancelling) MIGRATION(cancelled)");
	ck_assert(vm_is_running(machine.vm));
	vm_migrate_cancel(machine.vm);
	ck_assert_str_eq(machine_events(), "");
	ck_assert_str_eq(error_now(), "");
}
END_TEST

START_TEST(cancelled_while_it_moves)
{
	struct migration_channel channel = to_nowhere(&end);

	machine_run_all();
	machine_events();
	migrate_to(&channel);
	vm_migrate_cancel(machine.vm);
	vm_migrate_cancel(machine.vm);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_FINISH_MIGRATE);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_CANCELLED);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP MIGRATION(active) "
			 "MIGRATION(cancelling) RESUME MIGRATION(cancelled)");
	ck_assert(end.finished == 1 && !end.complete && end.cancelled);
	far_end_close(&end);
}
END_TEST

/* Nothing is waited for, and it has failed, not been cancelled: with and without a thread. */
START_TEST(yanked)
{
	struct migration_channel channel = to_nowhere(&end);

	machine_run_all();
	machine_events();
	vm_migration_yank(machine.vm);
	ck_assert_int_eq(begin(MIGRATION_OUT), 0);
	vm_migration_yank(machine.vm);
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_str_eq(error_now(), "the migration was yanked");
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) MIGRATION(failed)");
	vm_migration_yank(machine.vm);

	migrate_to(&channel);
	vm_migration_yank(machine.vm);
	vm_migration_yank(machine.vm);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_str_eq(error_now(), "the migration was yanked");
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) STOP MIGRATION(active) "
			 "RESUME MIGRATION(failed)");
	ck_assert(end.finished == 1 && !end.complete && end.cancelled);
	ck_assert_str_eq(logged(), "the migration was yanked\nthe migration was yanked");
	far_end_close(&end);
}
END_TEST

/* The other side has it all by then, and runs: this one must not. */
START_TEST(cancelled_too_late)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	migrate_to(&channel);
	while (sem_wait(&machine.woken) < 0)
		;
	machine_events();
	vm_migrate_cancel(machine.vm);
	vm_dispatch(machine.vm);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_POSTMIGRATE);
	ck_assert_str_eq(machine_events(), "MIGRATION(cancelling) MIGRATION(completed)");
	far_end_close(&end);
}
END_TEST

/* ---- What the guest has asked for ---- */

static void let_guest_ask(enum fake_action action, uint64_t port, uint64_t data)
{
	const struct fake_step step = { action, .address = port, .size = 1, .data = data,
					.advance = 1 };

	fake_vcpu_script(machine_model(1), &step, 1);
	machine_cont();
	/* Nobody has seen it yet. */
	while (sem_wait(&machine.woken) < 0)
		;
	ck_assert_str_eq(machine_events(), "RESUME");
}

/* A reset is nowhere in the state: it is carried out before that is saved. */
START_TEST(a_reset_is_not_lost)
{
	uint32_t commands;
	uint64_t rip;

	let_guest_ask(FAKE_SHUTDOWN, 0, 0);
	if (_i) {
		vm_stop(machine.vm);
		ck_assert_str_eq(machine_events(), "STOP");
	}
	rip = machine_model(0)->regs.rip;
	commands = machine.vm->vcpu[0].command >> 2;
	ck_assert_int_eq(save(true), 0);
	/* It parks, and is not sent on in between. */
	ck_assert_uint_eq(machine.vm->vcpu[0].command >> 2, commands + !_i);
	ck_assert_uint_ne(machine_model(0)->regs.rip, rip);
	machine_dispatch();
	ck_assert_str_eq(machine_events(), _i ?
			 "MIGRATION(setup) RESET(guest-reset) MIGRATION(active) "
			 "MIGRATION(completed)" :
			 "MIGRATION(setup) RESET(guest-reset) STOP MIGRATION(active) "
			 "MIGRATION(completed)");
	ck_assert_int_eq(machine.vm->state, _i ? RUN_STATE_PRELAUNCH : RUN_STATE_PAUSED);
}
END_TEST

/* A guest that has just ended does not go on because it was saved. */
START_TEST(an_end_is_not_lost)
{
	machine.vm->actions.panic = PANIC_ACTION_PAUSE;
	let_guest_ask(FAKE_OUT, 0x505, 1);
	ck_assert_int_eq(save(false), 0);
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_GUEST_PANICKED);
	ck_assert_str_eq(machine_events(), "MIGRATION(setup) GUEST_PANICKED(pause) STOP "
			 "MIGRATION(active) MIGRATION(completed)");
}
END_TEST

/* What comes up while it moves waits until it is back. */
START_TEST(a_request_meanwhile_waits)
{
	struct migration_channel channel = to_memory(&end);

	end.holds = true;
	end.fails = "not this time";
	machine_run_all();
	migrate_to(&channel);
	machine_events();
	vm_post(machine.vm, VM_REQUEST_RESET);
	machine_dispatch();
	ck_assert_str_eq(machine_events(), "");
	sem_post(&end.go_on);
	machine_dispatch();
	ck_assert_str_eq(machine_events(), "RESUME MIGRATION(failed) RESET(guest-reset)");
	ck_assert(vm_is_running(machine.vm));
	logged();
	far_end_close(&end);
}
END_TEST

/* ---- The end of everything ---- */

START_TEST(destroyed_before_it_moves)
{
	machine_run_all();
	ck_assert_int_eq(begin(MIGRATION_OUT), 0);
}
END_TEST

START_TEST(destroyed_while_it_moves)
{
	struct migration_channel channel = to_nowhere(&end);

	machine_run_all();
	migrate_to(&channel);
	machine_stop();
	ck_assert(end.finished == 1 && !end.complete && end.cancelled);
	far_end_close(&end);
	machine_host();
	machine_start(1);
}
END_TEST

START_TEST(destroyed_before_anybody_knows_that_it_is_done)
{
	machine_run_all();
	ck_assert_int_eq(save(false), 0);
	while (sem_wait(&machine.woken) < 0)
		;
}
END_TEST

Suite *migration_suite(void)
{
	Suite *suite = suite_create("migration");
	TCase *well = tcase_create("well"), *back = tcase_create("back");
	TCase *refusals = tcase_create("refusals"), *steps = tcase_create("steps");
	TCase *cancel = tcase_create("cancel"), *guest = tcase_create("guest");
	TCase *destroy = tcase_create("destroy");
	TCase *const all[] = { well, back, refusals, steps, cancel, guest, destroy };

	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		tcase_add_checked_fixture(all[i], setup_guest, teardown_machine);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_test(well, out_of_a_running_machine);
	tcase_add_loop_test(well, out_of_a_stopped_machine, 0, 2);
	tcase_add_loop_test(well, saved, 0, 2);
	tcase_add_loop_test(back, a_stopped_machine_stays_so, 0, STOPPED_STATES);
	tcase_add_test(back, a_running_machine_goes_on);
	tcase_add_loop_test(back, a_save_that_fails, 0, 2);
	tcase_add_loop_test(back, stopped_on_its_way, 0, 2);
	tcase_add_test(refusals, refused_while_another_goes_on);
	tcase_add_test(refusals, refused_in_this_run_state);
	tcase_add_loop_test(refusals, what_a_machine_on_its_way_refuses, 0, 2);
	tcase_add_loop_test(steps, state_that_can_not_be_read, 0, 2);
	tcase_add_loop_test(steps, no_thread_for_it, 0, 2);
	tcase_add_test(steps, no_memory_for_it);
	tcase_add_test(steps, nothing_to_send_it_through);
	tcase_add_test(cancel, cancelled_before_it_moves);
	tcase_add_test(cancel, cancelled_while_it_moves);
	tcase_add_test(cancel, cancelled_too_late);
	tcase_add_test(cancel, yanked);
	tcase_add_loop_test(guest, a_reset_is_not_lost, 0, 2);
	tcase_add_test(guest, an_end_is_not_lost);
	tcase_add_test(guest, a_request_meanwhile_waits);
	tcase_add_test(destroy, destroyed_before_it_moves);
	tcase_add_test(destroy, destroyed_while_it_moves);
	tcase_add_test(destroy, destroyed_before_anybody_knows_that_it_is_done);
	return suite;
}
