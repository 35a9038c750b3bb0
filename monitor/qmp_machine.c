/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/hmp.h"
#include "monitor/memsave.h"
#include "monitor/monitor_internal.h"

/* Commands that ask after the machine as a whole, or move it from one run state to another. */

int qmp_query_version(struct qmp_call *call)
{
	monitor_write_version(call->reply, "return");
	return 0;
}

int qmp_query_commands(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	for (const struct qmp_command *command = qmp_commands; command->name; command++) {
		if (call->client && !command_is_allowed(call->client, command))
			continue;
		json_write_object(w, NULL);
		json_write_string(w, "name", command->name);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

int qmp_query_qmp_schema(struct qmp_call *call)
{
	json_write_raw(call->reply, "return", qmp_schema_json, qmp_schema_json_len);
	return 0;
}

int qmp_query_name(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	if (monitor_name(call->monitor))
		json_write_string(w, "name", monitor_name(call->monitor));
	json_write_object_end(w);
	return 0;
}

int qmp_query_uuid(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_string(w, "UUID", monitor_uuid(call->monitor));
	json_write_object_end(w);
	return 0;
}

int qmp_query_kvm(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_bool(w, "enabled", true);
	json_write_bool(w, "present", true);
	json_write_object_end(w);
	return 0;
}

int qmp_query_target(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_string(w, "arch", "x86_64");
	json_write_object_end(w);
	return 0;
}

int qmp_query_status(struct qmp_call *call)
{
	const struct vm *vm = monitor_vm(call->monitor);
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_string(w, "status", run_state_name(vm->state));
	json_write_bool(w, "singlestep", false);
	json_write_bool(w, "running", vm_is_running(vm));
	json_write_object_end(w);
	return 0;
}

int qmp_stop(struct qmp_call *call)
{
	if (vm_dump_refuse(monitor_vm(call->monitor), &call->error) < 0)
		return -1;
	vm_stop(monitor_vm(call->monitor));
	return 0;
}

int qmp_cont(struct qmp_call *call)
{
	return vm_cont(monitor_vm(call->monitor), &call->error);
}

int qmp_system_reset(struct qmp_call *call)
{
	return vm_system_reset(monitor_vm(call->monitor), SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
			       &call->error);
}

int qmp_system_powerdown(struct qmp_call *call)
{
	vm_system_powerdown(monitor_vm(call->monitor));
	return 0;
}

/* The index of an enum argument's value among `values`; `absent` if it is not given. */
static int chosen(const struct qmp_call *call, const char *argument, const char *const *values,
		  int absent)
{
	const struct json_value *value = json_get(call->arguments, argument);
	int i = 0;

	if (!value)
		return absent;
	/* That it is one of them has been checked. */
	while (strcmp(values[i], value->string.bytes) != 0)
		i++;
	return i;
}

int qmp_set_action(struct qmp_call *call)
{
	static const char *const reboot[] = {
		[REBOOT_ACTION_RESET] = "reset",
		[REBOOT_ACTION_SHUTDOWN] = "shutdown",
	};
	static const char *const shutdown[] = {
		[SHUTDOWN_ACTION_POWEROFF] = "poweroff",
		[SHUTDOWN_ACTION_PAUSE] = "pause",
	};
	static const char *const panic[] = {
		[PANIC_ACTION_SHUTDOWN] = "shutdown",
		[PANIC_ACTION_PAUSE] = "pause",
		[PANIC_ACTION_EXIT_FAILURE] = "exit-failure",
		[PANIC_ACTION_NONE] = "none",
	};
	struct vm_actions *actions = &monitor_vm(call->monitor)->actions;

	actions->reboot = chosen(call, "reboot", reboot, actions->reboot);
	actions->shutdown = chosen(call, "shutdown", shutdown, actions->shutdown);
	actions->panic = chosen(call, "panic", panic, actions->panic);
	return 0;
}

int qmp_quit(struct qmp_call *call)
{
	monitor_quit(call->monitor);
	return 0;
}

int qmp_inject_nmi(struct qmp_call *call)
{
	return vm_inject_nmi(monitor_vm(call->monitor), &call->error);
}

static int save_memory(struct qmp_call *call, int cpu)
{
	/* First: once it has begun, the file's old contents are lost. */
	struct qmp_pending *pending = qmp_defer(call, memsave_forget, NULL);
	struct memsave *save;

	if (!pending)
		return -1;
	save = memsave_start(call->monitor, cpu,
			     (uint64_t)json_get(call->arguments, "val")->integer,
			     (uint64_t)json_get(call->arguments, "size")->integer,
			     json_get(call->arguments, "filename")->string.bytes, &call->error);
	if (!save)
		return -1;
	memsave_await(save, pending);
	return QMP_LATER;
}

int qmp_memsave(struct qmp_call *call)
{
	int cpu;

	if (qmp_cpu_argument(call, &cpu) < 0)
		return -1;
	return save_memory(call, cpu < 0 ? 0 : cpu);
}

int qmp_pmemsave(struct qmp_call *call)
{
	return save_memory(call, MEMSAVE_PHYSICAL);
}

/*
 * Every call stands for itself: the vCPU that `cpu N` chooses is forgotten at its end, and without
 * cpu-index it is vCPU 0, as in QEMU.
 */
int qmp_human_monitor_command(struct qmp_call *call)
{
	struct text out = { 0 };
	struct hmp hmp = {
		.monitor = call->monitor,
		.client = call->client,
		.call = call,
		.vm = monitor_vm(call->monitor),
		.out = &out,
		.observing = call->client && call->client->options.mode == MONITOR_OBSERVE,
	};

	if (qmp_cpu_argument(call, &hmp.cpu) < 0)
		return -1;
	if (hmp.cpu < 0)
		hmp.cpu = 0;
	hmp_execute(&hmp, json_get(call->arguments, "command-line")->string.bytes);
	if (call->deferred)
		return QMP_LATER;
	if (hmp.refused)
		return request_only_observes(&call->error);
	request_write_text(call->reply, &out);
	text_free(&out);
	return 0;
}
