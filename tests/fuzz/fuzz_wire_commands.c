/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "monitor/monitor_internal.h"

/*
 * The commands of the schema, without a machine behind them: each does one of the things that a
 * command can do to the wire.
 */

#define COMMAND(name, action) \
	int name(struct qmp_call *call) \
	{ \
		return action(call); \
	}

static int succeed(struct qmp_call *call)
{
	(void)call;
	return 0;
}

static int fail(struct qmp_call *call)
{
	call->error_class = QMP_DEVICE_NOT_FOUND;
	return error_set(&call->error, ENODEV, "no such thing: '\xff\n'");
}

/* Fails in the middle of a reply. */
static int fail_late(struct qmp_call *call)
{
	json_write_object(call->reply, "return");
	json_write_array(call->reply, "list");
	return fail(call);
}

static int echo(struct qmp_call *call)
{
	json_write_value(call->reply, "return", call->arguments);
	return 0;
}

static int emit(struct qmp_call *call)
{
	monitor_emit(call->monitor, QMP_EVENT_STOP, NULL);
	monitor_emit(call->monitor, QMP_EVENT_RESET, "{\"guest\": false, \"reason\": \"none\"}");
	return 0;
}

static int name_fd(struct qmp_call *call)
{
	return fd_names_receive(&call->client->names,
				json_get(call->arguments, "fdname")->string.bytes,
				&call->client->received, &call->error);
}

static int close_fd(struct qmp_call *call)
{
	return fd_names_close(&call->client->names,
			      json_get(call->arguments, "fdname")->string.bytes, &call->error);
}

static int add_fd(struct qmp_call *call)
{
	const struct json_value *id = json_get(call->arguments, "fdset-id");
	int fd = fd_queue_take(&call->client->received, &call->error);
	int64_t set = id && id->integer >= 0 ? id->integer : -1;

	return fd < 0 ? -1 : fdsets_add(&call->monitor->fdsets, fd, NULL, &set, &call->error);
}

static int remove_fd(struct qmp_call *call)
{
	return fdsets_remove(&call->monitor->fdsets,
			     json_get(call->arguments, "fdset-id")->integer, -1, &call->error);
}

static int reply_at_length(struct qmp_call *call)
{
	json_write_raw(call->reply, "return", qmp_schema_json, qmp_schema_json_len);
	return 0;
}

COMMAND(qmp_add_fd, add_fd)
COMMAND(qmp_closefd, close_fd)
COMMAND(qmp_cont, emit)
COMMAND(qmp_getfd, name_fd)
COMMAND(qmp_human_monitor_command, echo)
COMMAND(qmp_inject_nmi, fail)
COMMAND(qmp_memsave, fail_late)
COMMAND(qmp_migrate, emit)
COMMAND(qmp_migrate_cancel, succeed)
COMMAND(qmp_migrate_incoming, fail)
COMMAND(qmp_migrate_set_capabilities, echo)
COMMAND(qmp_migrate_set_parameters, echo)
COMMAND(qmp_pmemsave, fail)
COMMAND(qmp_query_commands, succeed)
COMMAND(qmp_query_cpu_definitions, succeed)
COMMAND(qmp_query_cpu_model_comparison, echo)
COMMAND(qmp_query_cpu_model_expansion, echo)
COMMAND(qmp_query_cpus_fast, fail_late)
COMMAND(qmp_query_fdsets, succeed)
COMMAND(qmp_query_kvm, succeed)
COMMAND(qmp_query_migrate, succeed)
COMMAND(qmp_query_migrate_capabilities, succeed)
COMMAND(qmp_query_migrate_parameters, succeed)
COMMAND(qmp_query_name, echo)
COMMAND(qmp_query_qmp_schema, reply_at_length)
COMMAND(qmp_query_status, succeed)
COMMAND(qmp_query_target, succeed)
COMMAND(qmp_query_uuid, succeed)
COMMAND(qmp_query_vcpu_cpuid, echo)
COMMAND(qmp_query_vcpu_state, echo)
COMMAND(qmp_query_vcpu_sync, succeed)
COMMAND(qmp_query_version, succeed)
COMMAND(qmp_query_xen, succeed)
COMMAND(qmp_quit, emit)
COMMAND(qmp_remove_fd, remove_fd)
COMMAND(qmp_set_action, echo)
COMMAND(qmp_set_vcpu_registers, echo)
COMMAND(qmp_snapshot_save, emit)
COMMAND(qmp_stop, emit)
COMMAND(qmp_system_powerdown, succeed)
COMMAND(qmp_system_reset, emit)
