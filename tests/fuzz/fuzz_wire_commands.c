/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/hmp.h"
#include "monitor/monitor_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_wire.h"

/*
 * The commands of the schema, without a machine behind them: each does one of the things that a
 * command can do to the wire.
 */

#define COMMAND(name, action) \
	int name(struct qmp_call *call) \
	{ \
		check_allowed(call, #name); \
		return action(call); \
	}

static void check_allowed(const struct qmp_call *call, const char *name)
{
	CHECK(call->out_of_band || !call->client->pending);
	CHECK(call->client->negotiated);
	if (call->client->options.mode == MONITOR_OBSERVE)
		CHECK(!strncmp(name, "qmp_query_", 10) ||
		      !strcmp(name, "qmp_human_monitor_command"));
}

/* ---- replies that come later ---- */

#define WORKS 3

static struct qmp_pending *work[WORKS];

/* qmp_gone_fn */
static void gone(void *opaque)
{
	struct qmp_pending **slot = opaque;

	CHECK(*slot);
	*slot = NULL;
}

void fuzz_answer(void)
{
	static const struct error err = { .code = EIO, .text = "later" };
	static unsigned int turn;
	struct qmp_pending *pending;

	for (unsigned int i = 0; i < WORKS; i++) {
		pending = work[i];
		if (!pending)
			continue;
		work[i] = NULL;
		if (++turn % 2)
			qmp_pending_return(pending);
		else
			qmp_pending_error(pending, QMP_DEVICE_NOT_ACTIVE, &err);
		return;
	}
}

bool fuzz_pending(void)
{
	for (unsigned int i = 0; i < WORKS; i++)
		if (work[i])
			return true;
	return false;
}

static int defer(struct qmp_call *call)
{
	for (unsigned int i = 0; i < WORKS; i++) {
		if (work[i])
			continue;
		work[i] = qmp_defer(call, gone, &work[i]);
		return work[i] ? QMP_LATER : -1;
	}
	return error_set(&call->error, EBUSY, "all of them wait");
}

/* The end comes within a command, perhaps of the very client that waits. */
static int answer(struct qmp_call *call)
{
	(void)call;
	fuzz_answer();
	return 0;
}

/* ---- lines, of text monitors and of human-monitor-command ---- */

void hmp_execute(struct hmp *hmp, const char *line)
{
	if (*line == 'd') {
		for (unsigned int i = 0; i < WORKS; i++) {
			if (work[i])
				continue;
			work[i] = hmp_defer(hmp, gone, &work[i]);
			return;
		}
	}
	if (*line == 'a')
		fuzz_answer();
	text_printf(hmp->out, "%s\n", line);
}

size_t hmp_complete(const char *line, size_t len, char *more, size_t size, struct text *candidates)
{
	if (len % 3 == 0)
		text_printf(candidates, "%.*s\nb\n", (int)len, line);
	memcpy(more, "abc ", 4);
	return len % 2 && size > 4 ? 4 : 0;
}

static int run_line(struct qmp_call *call)
{
	struct text out = { 0 };
	struct hmp hmp = {
		.monitor = call->monitor, .client = call->client, .call = call, .out = &out,
	};

	hmp_execute(&hmp, json_get(call->arguments, "command-line")->string.bytes);
	if (!hmp.deferred)
		request_write_text(call->reply, &out);
	text_free(&out);
	return hmp.deferred ? QMP_LATER : 0;
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
COMMAND(qmp_balloon, fail)
COMMAND(qmp_calc_dirty_rate, echo)
COMMAND(qmp_chardev_add, echo)
COMMAND(qmp_chardev_remove, fail)
COMMAND(qmp_closefd, close_fd)
COMMAND(qmp_cont, emit)
COMMAND(qmp_device_list_properties, succeed)
COMMAND(qmp_dump_guest_memory, emit)
COMMAND(qmp_getfd, name_fd)
COMMAND(qmp_human_monitor_command, run_line)
COMMAND(qmp_inject_nmi, fail)
COMMAND(qmp_memsave, fail_late)
COMMAND(qmp_migrate, emit)
COMMAND(qmp_migrate_cancel, answer)
COMMAND(qmp_migrate_incoming, fail)
COMMAND(qmp_migrate_set_capabilities, echo)
COMMAND(qmp_migrate_set_parameters, echo)
COMMAND(qmp_pmemsave, fail)
COMMAND(qmp_qom_get, succeed)
COMMAND(qmp_qom_list, succeed)
COMMAND(qmp_qom_list_properties, succeed)
COMMAND(qmp_qom_list_types, succeed)
COMMAND(qmp_qom_set, echo)
COMMAND(qmp_query_acpi_ospm_status, succeed)
COMMAND(qmp_query_balloon, fail)
COMMAND(qmp_query_block, succeed)
COMMAND(qmp_query_block_jobs, succeed)
COMMAND(qmp_query_blockstats, succeed)
COMMAND(qmp_query_chardev, succeed)
COMMAND(qmp_query_chardev_backends, succeed)
COMMAND(qmp_query_command_line_options, succeed)
COMMAND(qmp_query_commands, succeed)
COMMAND(qmp_query_cpu_definitions, succeed)
COMMAND(qmp_query_cpu_model_comparison, echo)
COMMAND(qmp_query_cpu_model_expansion, echo)
COMMAND(qmp_query_cpus_fast, fail_late)
COMMAND(qmp_query_dirty_rate, succeed)
COMMAND(qmp_query_dump, succeed)
COMMAND(qmp_query_dump_guest_memory_capability, succeed)
COMMAND(qmp_query_fdsets, succeed)
COMMAND(qmp_query_hotpluggable_cpus, succeed)
COMMAND(qmp_query_iothreads, succeed)
COMMAND(qmp_query_jobs, succeed)
COMMAND(qmp_query_kvm, succeed)
COMMAND(qmp_query_machines, succeed)
COMMAND(qmp_query_memdev, succeed)
COMMAND(qmp_query_memory_devices, succeed)
COMMAND(qmp_query_memory_size_summary, succeed)
COMMAND(qmp_query_migrate, succeed)
COMMAND(qmp_query_migrate_capabilities, succeed)
COMMAND(qmp_query_migrate_parameters, succeed)
COMMAND(qmp_query_name, echo)
COMMAND(qmp_query_named_block_nodes, succeed)
COMMAND(qmp_query_pci, succeed)
COMMAND(qmp_query_pr_managers, succeed)
COMMAND(qmp_query_qmp_schema, reply_at_length)
COMMAND(qmp_query_rx_filter, echo)
COMMAND(qmp_query_stats, echo)
COMMAND(qmp_query_stats_schemas, fail_late)
COMMAND(qmp_query_status, succeed)
COMMAND(qmp_query_target, succeed)
COMMAND(qmp_query_tpm, succeed)
COMMAND(qmp_query_tpm_models, succeed)
COMMAND(qmp_query_tpm_types, succeed)
COMMAND(qmp_query_uuid, succeed)
COMMAND(qmp_query_vcpu_cpuid, echo)
COMMAND(qmp_query_vcpu_state, echo)
COMMAND(qmp_query_vcpu_sync, succeed)
COMMAND(qmp_query_version, succeed)
COMMAND(qmp_query_vm_generation_id, succeed)
COMMAND(qmp_query_xen, succeed)
COMMAND(qmp_query_yank, echo)
COMMAND(qmp_quit, emit)
COMMAND(qmp_read_memory, echo)
COMMAND(qmp_remove_fd, remove_fd)
COMMAND(qmp_set_action, echo)
COMMAND(qmp_set_vcpu_registers, echo)
COMMAND(qmp_snapshot_save, emit)
COMMAND(qmp_stop, emit)
COMMAND(qmp_system_powerdown, defer)
COMMAND(qmp_system_reset, emit)
COMMAND(qmp_watchdog_set_action, succeed)
COMMAND(qmp_write_memory, fail)
COMMAND(qmp_yank, emit)
