/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "monitor/monitor.h"

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

static int reply_at_length(struct qmp_call *call)
{
	json_write_raw(call->reply, "return", qmp_schema_json, qmp_schema_json_len);
	return 0;
}

COMMAND(qmp_cont, emit)
COMMAND(qmp_human_monitor_command, echo)
COMMAND(qmp_inject_nmi, fail)
COMMAND(qmp_memsave, fail_late)
COMMAND(qmp_pmemsave, fail)
COMMAND(qmp_query_commands, succeed)
COMMAND(qmp_query_cpus_fast, fail_late)
COMMAND(qmp_query_kvm, succeed)
COMMAND(qmp_query_name, echo)
COMMAND(qmp_query_qmp_schema, reply_at_length)
COMMAND(qmp_query_status, succeed)
COMMAND(qmp_query_target, succeed)
COMMAND(qmp_query_uuid, succeed)
COMMAND(qmp_query_vcpu_state, echo)
COMMAND(qmp_query_vcpu_sync, succeed)
COMMAND(qmp_query_version, succeed)
COMMAND(qmp_quit, emit)
COMMAND(qmp_set_action, echo)
COMMAND(qmp_set_vcpu_registers, echo)
COMMAND(qmp_stop, emit)
COMMAND(qmp_system_powerdown, succeed)
COMMAND(qmp_system_reset, emit)
