/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/monitor.h"
#include "monitor/qom.h"
#include "vmm/stats.h"

/* Whether a list of strings, NULL for any, has this one. */
static bool names_it(const struct json_value *list, const char *name)
{
	if (!list)
		return true;
	for (size_t i = 0; i < list->array.count; i++)
		if (strcmp(list->array.item[i].string.bytes, name) == 0)
			return true;
	return false;
}

static bool names_any(const struct json_value *list, const struct stats_schema *schema)
{
	for (unsigned int i = 0; i < schema->nr; i++)
		if (names_it(list, schema->desc[i].name))
			return true;
	return false;
}

static void write_value(struct json_writer *w, const struct stats_desc *desc, const uint8_t *bytes)
{
	if (desc->nr > 1) {
		json_write_array(w, "value");
		for (unsigned int i = 0; i < desc->nr; i++)
			json_write_uint(w, NULL, stats_value(desc, bytes, i));
		json_write_array_end(w);
	} else if (desc->unit == STATS_UNIT_BOOLEAN) {
		json_write_bool(w, "value", stats_value(desc, bytes, 0));
	} else {
		json_write_uint(w, "value", stats_value(desc, bytes, 0));
	}
}

/* An entry of the list, unless nothing of it is wanted. */
static int write_result(struct qmp_call *call, enum stats_target target, unsigned int index,
			const struct stats_schema *schema, const struct json_value *names)
{
	const uint8_t *bytes = vm_stats_read(monitor_vm(call->monitor), target, index,
					     &call->error);
	struct json_writer *w = call->reply;
	char path[QOM_CPU_PATH_SIZE];

	if (!bytes)
		return -1;
	json_write_object(w, NULL);
	json_write_string(w, "provider", "kvm");
	if (target == STATS_VCPU) {
		qom_cpu_path(index, path);
		json_write_string(w, "qom-path", path);
	}
	json_write_array(w, "stats");
	for (unsigned int i = 0; i < schema->nr; i++) {
		if (!names_it(names, schema->desc[i].name))
			continue;
		json_write_object(w, NULL);
		json_write_string(w, "name", schema->desc[i].name);
		write_value(w, &schema->desc[i], bytes);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	json_write_object_end(w);
	return 0;
}

static int write_results(struct qmp_call *call, enum stats_target target,
			 const struct stats_schema *schema, const struct json_value *names)
{
	const struct json_value *vcpus = json_get(call->arguments, "vcpus");
	unsigned int nr = target == STATS_VM ? 1 : monitor_vm(call->monitor)->nr_vcpus;
	char path[QOM_CPU_PATH_SIZE];

	if (!names_any(names, schema))
		return 0;
	for (unsigned int i = 0; i < nr; i++) {
		qom_cpu_path(i, path);
		if (names_it(vcpus, path) && write_result(call, target, i, schema, names) < 0)
			return -1;
	}
	return 0;
}

static enum stats_target target_argument(const struct qmp_call *call)
{
	return strcmp(json_get(call->arguments, "target")->string.bytes, "vm") == 0 ? STATS_VM :
										   STATS_VCPU;
}

int qmp_query_stats(struct qmp_call *call)
{
	const struct json_value *providers = json_get(call->arguments, "providers");
	enum stats_target target = target_argument(call);
	struct vm *vm = monitor_vm(call->monitor);
	const struct stats_schema *schema = NULL;
	int rc = 0;

	if (vm->kvm->caps.binary_stats) {
		schema = vm_stats_schema(vm, target, &call->error);
		if (!schema)
			return -1;
	}
	json_write_array(call->reply, "return");
	if (schema && !providers)
		rc = write_results(call, target, schema, NULL);
	/* There is but one, which may be asked several times. */
	for (size_t i = 0; rc == 0 && schema && providers && i < providers->array.count; i++)
		rc = write_results(call, target, schema,
				   json_get(&providers->array.item[i], "names"));
	json_write_array_end(call->reply);
	return rc;
}

static void write_schema_value(struct json_writer *w, const struct stats_desc *desc)
{
	json_write_object(w, NULL);
	json_write_string(w, "name", desc->name);
	json_write_string(w, "type", stats_type_name(desc->type));
	if (desc->unit != STATS_UNIT_NONE)
		json_write_string(w, "unit", stats_unit_name(desc->unit));
	if (desc->exponent)
		json_write_uint(w, "base", desc->base);
	json_write_int(w, "exponent", desc->exponent);
	if (desc->type == STATS_LINEAR_HISTOGRAM)
		json_write_uint(w, "bucket-size", desc->bucket_size);
	json_write_object_end(w);
}

int qmp_query_stats_schemas(struct qmp_call *call)
{
	static const char *const names[] = { [STATS_VM] = "vm", [STATS_VCPU] = "vcpu" };
	const struct stats_schema *schemas[] = { NULL, NULL };
	struct vm *vm = monitor_vm(call->monitor);
	struct json_writer *w = call->reply;

	for (int i = STATS_VM; vm->kvm->caps.binary_stats && i <= STATS_VCPU; i++) {
		schemas[i] = vm_stats_schema(vm, (enum stats_target)i, &call->error);
		if (!schemas[i])
			return -1;
	}
	json_write_array(w, "return");
	for (int target = STATS_VCPU; target >= STATS_VM && schemas[target]; target--) {
		json_write_object(w, NULL);
		json_write_string(w, "provider", "kvm");
		json_write_array(w, "stats");
		for (unsigned int i = 0; i < schemas[target]->nr; i++)
			write_schema_value(w, &schemas[target]->desc[i]);
		json_write_array_end(w);
		json_write_string(w, "target", names[target]);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}
