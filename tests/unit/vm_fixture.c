/* SPDX-License-Identifier: MIT */
#include "tests/unit/vm_fixture.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/state_fixture.h"

struct machine machine;

static void note_event(void *opaque, const struct vm_event *event)
{
	static const char *const names[] = {
		[VM_EVENT_STOP] = "STOP", [VM_EVENT_RESUME] = "RESUME", [VM_EVENT_RESET] = "RESET",
		[VM_EVENT_SHUTDOWN] = "SHUTDOWN", [VM_EVENT_POWERDOWN] = "POWERDOWN",
		[VM_EVENT_GUEST_PANICKED] = "GUEST_PANICKED",
		[VM_EVENT_GUEST_CRASHLOADED] = "GUEST_CRASHLOADED", [VM_EVENT_EXIT] = "EXIT",
		[VM_EVENT_DUMP_COMPLETED] = "DUMP_COMPLETED", [VM_EVENT_DUMP_OVER] = "DUMP_OVER",
	};
	size_t used = strlen(machine.events), room = sizeof(machine.events) - used;
	const char *gap = used ? " " : "";

	(void)opaque;
	/* How many come of these is up to the clock. */
	if (event->type == VM_EVENT_DUMP_PROGRESS)
		return;
	if (event->type == VM_EVENT_RESET || event->type == VM_EVENT_SHUTDOWN)
		snprintf(machine.events + used, room, "%s%s(%s)", gap, names[event->type],
			 shutdown_cause_name(event->cause));
	else if (event->type == VM_EVENT_GUEST_PANICKED || event->type == VM_EVENT_GUEST_CRASHLOADED)
		snprintf(machine.events + used, room, "%s%s(%s)", gap, names[event->type],
			 guest_panic_action_name(event->action));
	else if (event->type == VM_EVENT_MIGRATION)
		snprintf(machine.events + used, room, "%sMIGRATION(%s)", gap,
			 migration_status_name(event->migration));
	else if (event->type == VM_EVENT_EXIT)
		snprintf(machine.events + used, room, "%sEXIT(%d)", gap, event->exit_status);
	else
		snprintf(machine.events + used, room, "%s%s", gap, names[event->type]);
}

static void wake(void *opaque)
{
	(void)opaque;
	sem_post(&machine.woken);
}

static void swallow(void *opaque, const uint8_t *bytes, size_t len)
{
	(void)opaque;
	(void)bytes;
	(void)len;
}

void machine_host(void)
{
	struct error err = { .code = 0 };

	memset(&machine, 0, sizeof(machine));
	sem_init(&machine.woken, 0, 0);
	machine.fake = fake_kvm_new();
	machine.config.memory = 2 << 20;
	ck_assert_msg(vcpu_signal_init(&err) == 0, "%s", err.text);
}

int machine_try(unsigned int nr_vcpus, struct error *err)
{
	static const struct vm_callbacks callbacks = {
		.event = note_event, .wake = wake, .serial_transmit = swallow,
	};

	machine.config.cpus = nr_vcpus;
	if (kvm_open(&machine.kvm, &fake_kvm_ops, machine.fake, err) < 0)
		return -1;
	return vm_create(&machine.vm, &machine.kvm, &machine.config, &callbacks, err);
}

void machine_start(unsigned int nr_vcpus)
{
	struct error err = { .code = 0 };

	ck_assert_msg(machine_try(nr_vcpus, &err) == 0, "%s", err.text);
	/* With nothing to boot all wait for something; here it has come. */
	for (unsigned int i = 0; i < nr_vcpus; i++) {
		machine_model(i)->mp_state = KVM_MP_STATE_RUNNABLE;
		machine_model(i)->regs.rip = 0x1000;
		machine_model(i)->xsave[512] = 3;
	}
}

void machine_wait(unsigned int nr_vcpus)
{
	struct error err = { .code = 0 };

	machine.config.incoming = true;
	ck_assert_msg(machine_try(nr_vcpus, &err) == 0, "%s", err.text);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INMIGRATE);
}

void machine_stop(void)
{
	ck_assert_str_eq(fake_kvm_violations(machine.fake), "");
	vm_destroy(machine.vm);
	kvm_close(&machine.kvm);
	ck_assert_str_eq(fake_kvm_leaks(machine.fake), "");
	fake_kvm_free(machine.fake);
	sem_destroy(&machine.woken);
}

struct fake_vcpu *machine_model(unsigned int vcpu)
{
	return fake_kvm_vcpu(machine.fake, 0, (int)vcpu);
}

void machine_long_mode(unsigned int vcpu)
{
	static const uint64_t entries[][2] = {
		{ 0x10000, 0x11003 }, { 0x11008, 0x12003 }, { 0x12000, 0x13003 },
		{ 0x13000, 0x3003 }, { 0x13008, 0x2003 }, { 0x11010, 0x14003 }, { 0x14000, 0x83 },
	};
	struct fake_vcpu *model = machine_model(vcpu);
	uint8_t *ram = machine.vm->memory.host;

	memset(ram + 0x10000, 0, 0x5000);
	for (unsigned int i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		memcpy(ram + entries[i][0], &entries[i][1], 8);
	model->sregs.cr0 = 0x80000011;
	model->sregs.cr3 = model->wanted_cr3 = 0x10000;
	model->sregs.cr4 = 0x20;
	model->sregs.efer = 0x500;
}

void machine_cont(void)
{
	struct error err = { .code = 0 };

	ck_assert_msg(vm_cont(machine.vm, &err) == 0, "%s", err.text);
	ck_assert(vm_is_running(machine.vm));
}

void machine_run_all(void)
{
	uint64_t entries[1024];

	for (unsigned int i = 0; i < machine.vm->nr_vcpus; i++)
		entries[i] = machine_model(i)->entries;
	machine_cont();
	for (unsigned int i = 0; i < machine.vm->nr_vcpus; i++)
		fake_vcpu_await_entries(machine_model(i), entries[i] + 1);
}

void machine_dispatch(void)
{
	while (sem_wait(&machine.woken) < 0)
		ck_assert_int_eq(errno, EINTR);
	vm_dispatch(machine.vm);
}

const char *machine_events(void)
{
	static char last[sizeof(machine.events)];

	memcpy(last, machine.events, sizeof(last));
	machine.events[0] = '\0';
	return last;
}

const char *machine_look(void)
{
	const char *difference = NULL;
	struct error err = { .code = 0 };

	ck_assert_msg(vm_inspect_begin(machine.vm, -1, &err) == 0, "%s", err.text);
	for (unsigned int i = 0; i < machine.vm->nr_vcpus && !difference; i++) {
		struct vcpu_state *state = &machine.vm->vcpu[i].state;

		ck_assert_msg(vcpu_state_fetch(state, (1U << SUBSTATE_COUNT) - 1, &err) == 0, "%s",
			      err.text);
		difference = state_difference(state, machine_model(i));
	}
	vm_inspect_end(machine.vm);
	return difference;
}

unsigned int machine_sets(uint64_t since)
{
	return fake_kvm_count(machine.fake, fake_filter(since, FAKE_ANY, KVM_CLASS_SET));
}
