/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/qom.h"

/* Commands that list what the machine has, among them those whose answer is that it has none. */

int qmp_query_machines(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	json_write_object(w, NULL);
	json_write_string(w, "name", QOM_MACHINE_NAME);
	json_write_bool(w, "is-default", true);
	json_write_uint(w, "cpu-max", vm_vcpus_max(monitor_vm(call->monitor)->kvm));
	json_write_bool(w, "hotpluggable-cpus", false);
	json_write_bool(w, "numa-mem-supported", false);
	json_write_bool(w, "deprecated", false);
	json_write_string(w, "default-cpu-type", QOM_CPU_TYPE);
	json_write_object_end(w);
	json_write_array_end(w);
	return 0;
}

static void write_option(struct json_writer *w, const struct monitor_option *option)
{
	json_write_object(w, NULL);
	json_write_array(w, "parameters");
	json_write_object(w, NULL);
	json_write_string(w, "name", option->name);
	json_write_string(w, "help", option->help);
	json_write_string(w, "type", option->type);
	json_write_object_end(w);
	json_write_array_end(w);
	json_write_string(w, "option", option->name);
	json_write_object_end(w);
}

int qmp_query_command_line_options(struct qmp_call *call)
{
	const struct json_value *wanted = json_get(call->arguments, "option");
	struct json_writer *w = call->reply;
	struct monitor_option option;
	bool found = false;

	json_write_array(w, "return");
	for (unsigned int n = 0; monitor_option(call->monitor, n, &option); n++) {
		if (wanted && strcmp(wanted->string.bytes, option.name) != 0)
			continue;
		found = true;
		write_option(w, &option);
	}
	json_write_array_end(w);
	if (wanted && !found)
		return error_set(&call->error, EINVAL, "invalid option name: %s",
				 wanted->string.bytes);
	return 0;
}

int qmp_query_memory_size_summary(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_uint(w, "base-memory", monitor_vm(call->monitor)->memory.size);
	json_write_uint(w, "plugged-memory", 0);
	json_write_object_end(w);
	return 0;
}

int qmp_query_memdev(struct qmp_call *call)
{
	const struct qom_ram ram = qom_ram(monitor_vm(call->monitor));
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	json_write_object(w, NULL);
	json_write_bool(w, "share", ram.share);
	json_write_bool(w, "reserve", ram.reserve);
	json_write_bool(w, "prealloc", ram.prealloc);
	json_write_array(w, "host-nodes");
	json_write_array_end(w);
	json_write_uint(w, "size", ram.size);
	json_write_bool(w, "merge", ram.merge);
	json_write_bool(w, "dump", ram.dump);
	json_write_string(w, "policy", "default");
	json_write_string(w, "id", QOM_RAM_ID);
	json_write_object_end(w);
	json_write_array_end(w);
	return 0;
}

int qmp_query_vm_generation_id(struct qmp_call *call)
{
	struct json_writer *w = call->reply;
	char text[37];

	qom_write_generation_id(monitor_vm(call->monitor), text);
	json_write_object(w, "return");
	json_write_string(w, "guid", text);
	json_write_object_end(w);
	return 0;
}

/* ---- what it has not ---- */

static int none(struct qmp_call *call)
{
	json_write_array(call->reply, "return");
	json_write_array_end(call->reply);
	return 0;
}

int qmp_query_memory_devices(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_iothreads(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_jobs(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_block(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_named_block_nodes(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_blockstats(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_block_jobs(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_pci(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_rx_filter(struct qmp_call *call)
{
	const struct json_value *name = json_get(call->arguments, "name");

	if (name)
		return error_set(&call->error, ENOENT, "invalid net client name: %s",
				 name->string.bytes);
	return none(call);
}

int qmp_query_tpm(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_tpm_models(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_tpm_types(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_acpi_ospm_status(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_pr_managers(struct qmp_call *call)
{
	return none(call);
}

int qmp_query_balloon(struct qmp_call *call)
{
	call->error_class = QMP_DEVICE_NOT_ACTIVE;
	return error_set(&call->error, ENODEV, "No balloon device has been activated");
}

int qmp_balloon(struct qmp_call *call)
{
	return qmp_query_balloon(call);
}

/* Taken and forgotten, as set-action does with it. */
int qmp_watchdog_set_action(struct qmp_call *call)
{
	(void)call;
	return 0;
}
