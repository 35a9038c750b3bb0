/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "vmm/log.h"

/* Machines over the fake kernel: guests that panic, and what the log has of a vCPU that fails. */

static char log_text[8192];

static void on_log(enum log_level level, const char *line)
{
	size_t used = strlen(log_text);

	if (level == LOG_LEVEL_ERROR)
		snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

static void setup(void)
{
	log_text[0] = '\0';
	log_set_sink(on_log, LOG_LEVEL_INFO);
	machine_host();
	machine_start(4);
}

static void teardown(void)
{
	machine_stop();
	log_set_sink(NULL, LOG_LEVEL_INFO);
}

/* vCPU 2 writes to the pvpanic port. */
static void say(uint8_t events)
{
	const struct fake_step out = {
		FAKE_OUT, .address = 0x505, .size = 1, .data = events, .advance = 1,
	};

	fake_vcpu_script(machine_model(2), &out, 1);
	machine_cont();
	machine_dispatch();
}

static const struct {
	enum panic_action panic;
	enum shutdown_action shutdown;
	const char *events;
	enum run_state state;
} panics[] = {
	{ PANIC_ACTION_SHUTDOWN, SHUTDOWN_ACTION_POWEROFF,
	  "RESUME GUEST_PANICKED(poweroff) SHUTDOWN(guest-panic) EXIT(0)", RUN_STATE_RUNNING },
	{ PANIC_ACTION_SHUTDOWN, SHUTDOWN_ACTION_PAUSE,
	  "RESUME GUEST_PANICKED(pause) STOP", RUN_STATE_GUEST_PANICKED },
	{ PANIC_ACTION_PAUSE, SHUTDOWN_ACTION_POWEROFF,
	  "RESUME GUEST_PANICKED(pause) STOP", RUN_STATE_GUEST_PANICKED },
	{ PANIC_ACTION_PAUSE, SHUTDOWN_ACTION_PAUSE,
	  "RESUME GUEST_PANICKED(pause) STOP", RUN_STATE_GUEST_PANICKED },
	{ PANIC_ACTION_EXIT_FAILURE, SHUTDOWN_ACTION_POWEROFF,
	  "RESUME GUEST_PANICKED(poweroff) SHUTDOWN(guest-panic) EXIT(1)", RUN_STATE_RUNNING },
	{ PANIC_ACTION_EXIT_FAILURE, SHUTDOWN_ACTION_PAUSE,
	  "RESUME GUEST_PANICKED(poweroff) SHUTDOWN(guest-panic) STOP", RUN_STATE_SHUTDOWN },
	{ PANIC_ACTION_NONE, SHUTDOWN_ACTION_POWEROFF,
	  "RESUME GUEST_PANICKED(run)", RUN_STATE_RUNNING },
	{ PANIC_ACTION_NONE, SHUTDOWN_ACTION_PAUSE,
	  "RESUME GUEST_PANICKED(run)", RUN_STATE_RUNNING },
};

START_TEST(a_guest_panics)
{
	machine.vm->actions.panic = panics[_i].panic;
	machine.vm->actions.shutdown = panics[_i].shutdown;
	say(_i % 2 ? 1 : 3);
	ck_assert_str_eq(machine_events(), panics[_i].events);
	ck_assert_int_eq(machine.vm->state, panics[_i].state);
	if (panics[_i].panic == PANIC_ACTION_NONE)
		fake_vcpu_await_entries(machine_model(2), 2);
	else
		ck_assert_uint_eq(machine_model(2)->entries, 1);
	if (panics[_i].state == RUN_STATE_GUEST_PANICKED) {
		/* cont sends it on behind the write. */
		machine_cont();
		fake_vcpu_await_entries(machine_model(2), 2);
		ck_assert_str_eq(machine_events(), "RESUME");
		vm_stop(machine.vm);
		ck_assert_uint_eq(machine_model(2)->regs.rip, 0x1001);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	}
}
END_TEST

START_TEST(a_crash_kernel_takes_over)
{
	say(2);
	ck_assert_str_eq(machine_events(), "RESUME GUEST_CRASHLOADED(run)");
	ck_assert(vm_is_running(machine.vm));
	fake_vcpu_await_entries(machine_model(2), 2);
}
END_TEST

/* Others want something at the same moment; the end comes once. */
START_TEST(a_panic_goes_before_other_ends)
{
	machine_run_all();
	vm_post(machine.vm, VM_REQUEST_PANIC);
	vm_post(machine.vm, VM_REQUEST_RESET);
	vm_post(machine.vm, VM_REQUEST_SHUTDOWN);
	vm_dispatch(machine.vm);
	ck_assert_str_eq(machine_events(),
			 "RESUME GUEST_PANICKED(poweroff) SHUTDOWN(guest-panic) EXIT(0)");
}
END_TEST

START_TEST(actions_at_first)
{
	ck_assert_int_eq(machine.vm->actions.reboot, REBOOT_ACTION_RESET);
	ck_assert_int_eq(machine.vm->actions.shutdown, SHUTDOWN_ACTION_POWEROFF);
	ck_assert_int_eq(machine.vm->actions.panic, PANIC_ACTION_SHUTDOWN);
	machine_stop();
	machine_host();
	machine.config.actions = (struct vm_actions) {
		REBOOT_ACTION_SHUTDOWN, SHUTDOWN_ACTION_PAUSE, PANIC_ACTION_NONE,
	};
	machine_start(4);
	ck_assert_mem_eq(&machine.vm->actions, &machine.config.actions,
			 sizeof(struct vm_actions));
}
END_TEST

static bool keep_value(void *opaque, struct json_value *value, const char *error)
{
	ck_assert_msg(value, "%s", error);
	*(struct json_value *)opaque = *value;
	value->type = JSON_NULL;
	return true;
}

static void set_action(const char *arguments)
{
	struct monitor monitor = { .config.vm = machine.vm };
	struct json_value value = { .type = JSON_NULL };
	struct json_parser *parser = json_parser_new(keep_value, &value);
	struct qmp_call call = { .monitor = &monitor, .arguments = &value };

	json_parser_feed(parser, arguments, strlen(arguments));
	json_parser_free(parser);
	ck_assert_int_eq(qmp_check_arguments(qmp_find_command("set-action")->arguments, &value,
					     &call.error), 0);
	ck_assert_int_eq(qmp_set_action(&call), 0);
	json_clear(&value);
}

START_TEST(set_action_sets_what_it_names)
{
	const struct vm_actions *actions = &machine.vm->actions;
	static const struct {
		const char *name;
		enum panic_action action;
	} panic[] = {
		{ "{'panic': 'none'}", PANIC_ACTION_NONE },
		{ "{'panic': 'pause'}", PANIC_ACTION_PAUSE },
		{ "{'panic': 'exit-failure'}", PANIC_ACTION_EXIT_FAILURE },
		{ "{'panic': 'shutdown'}", PANIC_ACTION_SHUTDOWN },
		{ "{}", PANIC_ACTION_SHUTDOWN },
		{ "{'watchdog': 'pause'}", PANIC_ACTION_SHUTDOWN },
	};

	for (size_t i = 0; i < sizeof(panic) / sizeof(panic[0]); i++) {
		set_action(panic[i].name);
		ck_assert_int_eq(actions->panic, panic[i].action);
		ck_assert_int_eq(actions->reboot, REBOOT_ACTION_RESET);
		ck_assert_int_eq(actions->shutdown, SHUTDOWN_ACTION_POWEROFF);
	}
	set_action("{'reboot': 'shutdown', 'shutdown': 'pause'}");
	ck_assert_int_eq(actions->reboot, REBOOT_ACTION_SHUTDOWN);
	ck_assert_int_eq(actions->shutdown, SHUTDOWN_ACTION_PAUSE);
	ck_assert_int_eq(actions->panic, PANIC_ACTION_SHUTDOWN);
	set_action("{'reboot': 'reset'}");
	ck_assert_int_eq(actions->reboot, REBOOT_ACTION_RESET);
	ck_assert_int_eq(actions->shutdown, SHUTDOWN_ACTION_PAUSE);
	set_action("{'shutdown': 'poweroff'}");
	ck_assert_int_eq(actions->shutdown, SHUTDOWN_ACTION_POWEROFF);
}
END_TEST

/* ---- vCPUs that KVM can not go on with ---- */

static void expect_logged(const char *text)
{
	ck_assert_msg(strstr(log_text, text), "no '%s' in:\n%s", text, log_text);
}

/* In guest memory, or told by KVM (`told` bytes of it). */
static void fail_at(uint64_t base, unsigned int told)
{
	static const uint8_t code[] = { 0x0f, 0x0b, 0xf4, 0x90, 0xeb, 0xfe };
	const struct fake_step end = {
		FAKE_INTERNAL_ERROR, .size = told, .data = 0x0504030201aea70f,
	};
	struct fake_vcpu *v = machine_model(3);

	memcpy((uint8_t *)machine.vm->memory.part[0].host + 0x1000, code, sizeof(code));
	v->regs.rip = 0x1000;
	v->regs.rflags = 0x10246;
	v->regs.r13 = 0xfeedfacecafebeef;
	v->sregs.cs.base = base;
	v->sregs.cr0 = 0x60000010;
	v->sregs.cr3 = 0xabcd000;
	fake_vcpu_script(v, &end, 1);
	machine_cont();
	machine_dispatch();
	ck_assert_str_eq(machine_events(), "RESUME STOP");
}

START_TEST(where_a_vcpu_failed_is_logged)
{
	static const char *const code[] = {
		"vCPU 3: code at 0x1000: 0f 0b f4 90 eb fe 00 00 00 00 00 00 00 00 00\n",
		"vCPU 3: code at 0x1000: 0f a7 ae\n",
		"vCPU 3: code at 0xf0001000: no memory is there\n",
		/* More bytes than an instruction has are none of it. */
		"vCPU 3: code at 0x1000: 0f a7 ae 01 02 03 04 05 00 00 00 00 00 00 00\n",
	};
	static const unsigned int told[] = { 0, 3, 0, 200 };
	struct error err;
	uint64_t mark;

	fail_at(_i == 2 ? 0xf0000000 : 0, told[_i]);
	expect_logged("vCPU 3: KVM can not emulate the instruction\n");
	expect_logged("vCPU 3: RIP=0000000000001000 RFLAGS=00010246");
	expect_logged(" R13=feedfacecafebeef\n");
	expect_logged("CR0=60000010");
	expect_logged("CR3=000000000abcd000");
	expect_logged(code[_i]);
	ck_assert_ptr_null(strstr(log_text, "vCPU 2"));
	/* Looking wrote nothing, and once is enough. */
	log_text[0] = '\0';
	mark = fake_kvm_mark(machine.fake);
	vm_dispatch(machine.vm);
	ck_assert_uint_eq(machine_sets(mark), 0);
	ck_assert_str_eq(log_text, "");
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err),
			 0);
	machine_cont();
	vm_post(machine.vm, VM_REQUEST_INTERNAL_ERROR);
	vm_dispatch(machine.vm);
	ck_assert_str_eq(log_text, "");
}
END_TEST

START_TEST(registers_that_can_not_be_read_are_missed)
{
	machine_stop();
	machine_host();
	fake_kvm_set_cap(machine.fake, KVM_CAP_SYNC_REGS, 0);
	machine_start(4);
	fake_kvm_fail(machine.fake, (struct fake_fault) { KVM_GET_REGS, .vcpu = 3, .times = 1,
							  .error = EIO });
	fail_at(0, 0);
	expect_logged("vCPU 3: its registers can not be read: ");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
}
END_TEST

Suite *vm_actions_suite(void)
{
	Suite *s = suite_create("vm_actions");
	TCase *t = tcase_create("actions");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_guest_panics, 0, (int)(sizeof(panics) / sizeof(panics[0])));
	tcase_add_test(t, a_crash_kernel_takes_over);
	tcase_add_test(t, a_panic_goes_before_other_ends);
	tcase_add_test(t, actions_at_first);
	tcase_add_test(t, set_action_sets_what_it_names);
	tcase_add_loop_test(t, where_a_vcpu_failed_is_logged, 0, 4);
	tcase_add_test(t, registers_that_can_not_be_read_are_missed);
	suite_add_tcase(s, t);
	return s;
}
