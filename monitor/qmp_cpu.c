/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "monitor/cpu_print.h"
#include "monitor/monitor.h"
#include "vmm/cpu_model.h"

/* Commands about the processor that guests see: its models, and the table of a vCPU. */

/* QEMU's model that has nothing, in terms of which others are described. */
#define BASE_MODEL "base"

/* ---- query-cpu-definitions ---- */

static void write_definition(struct json_writer *w, const struct cpu_model *model, struct kvm *kvm)
{
	struct cpu_config config;
	struct error err;
	struct cpu cpu;
	char type[80];

	snprintf(type, sizeof(type), "%s-x86_64-cpu", model->name);
	json_write_object(w, NULL);
	json_write_string(w, "name", model->name);
	json_write_string(w, "typename", type);
	/* There are clients that an error reply kills: without an answer of KVM's that part is left out. */
	if (cpu_config_init(&config, model->name, &err) == 0 &&
	    cpu_resolve(&config, kvm, &cpu, &err) == 0)
		cpu_write_features(w, "unavailable-features", &cpu.missing);
	json_write_bool(w, "static", strcmp(model->name, BASE_MODEL) == 0);
	json_write_bool(w, "migration-safe", model->kind == CPU_MODEL_BASELINE);
	json_write_bool(w, "deprecated", false);
	json_write_object_end(w);
}

int qmp_query_cpu_definitions(struct qmp_call *call)
{
	const struct cpu_model *model;

	json_write_array(call->reply, "return");
	for (unsigned int i = 0; (model = cpu_model_at(i)); i++)
		write_definition(call->reply, model, monitor_vm(call->monitor)->kvm);
	json_write_array_end(call->reply);
	return 0;
}

/* ---- models with properties ---- */

static const struct cpu_property *find_property(const char *name)
{
	const struct cpu_property *property;

	for (unsigned int i = 0; (property = cpu_property_at(i)); i++)
		if (cpu_same_name(property->name, name))
			return property;
	return NULL;
}

static int wrong_type(const char *name, const char *expected, struct error *err)
{
	return error_set(err, EINVAL, "Invalid parameter type for '%s', expected: %s", name,
			 expected);
}

/* A property's value as the text that --cpu has for it. */
static int set_property(struct cpu_config *config, const struct json_member *member,
			struct error *err)
{
	const struct cpu_property *property = find_property(member->name);
	const struct json_value *value = &member->value;
	enum cpu_property_type type = property ? property->type : CPU_PROPERTY_BOOL;
	struct error reason;
	char number[24];

	if (!property && cpu_feature_find(member->name) == CPU_FEATURE_COUNT)
		return error_set(err, ENOENT, "Property '%s-x86_64-cpu.%s' not found",
				 config->model->name, member->name);
	switch (type) {
	case CPU_PROPERTY_BOOL:
		if (value->type != JSON_BOOL)
			return wrong_type(member->name, "boolean", err);
		return cpu_config_set(config, member->name, value->boolean ? "on" : "off", err);
	case CPU_PROPERTY_NUMBER:
		if (value->type == JSON_UINT)
			snprintf(number, sizeof(number), "%" PRIu64, value->uinteger);
		else if (value->type == JSON_INT)
			snprintf(number, sizeof(number), "%" PRId64, value->integer);
		else
			return wrong_type(member->name, "integer", err);
		if (cpu_config_set(config, member->name, number, &reason) == 0)
			return 0;
		return error_set(err, EINVAL, "Property .%s doesn't take value %s (minimum: %" PRIu64
				 ", maximum: %" PRIu64 ")", property->name, number, property->min,
				 property->max);
	case CPU_PROPERTY_STRING:
		break;
	}
	if (value->type != JSON_STRING)
		return wrong_type(member->name, "string", err);
	if (cpu_config_set(config, member->name, value->string.bytes, &reason) == 0)
		return 0;
	return error_set(err, EINVAL, "Property '.%s' doesn't take value '%s'", property->name,
			 value->string.bytes);
}

/* What a CpuModelInfo means on this host. */
static int resolve(struct qmp_call *call, const char *argument, struct cpu *cpu)
{
	const struct json_value *model = json_get(call->arguments, argument);
	const struct json_value *props = json_get(model, "props");
	struct cpu_config config;
	struct error reason;

	if (cpu_config_init(&config, json_get(model, "name")->string.bytes, &reason) < 0)
		return error_set(&call->error, ENOENT, "CPU model '%s' not found",
				 json_get(model, "name")->string.bytes);
	if (props && props->type != JSON_OBJECT) {
		char path[32];

		snprintf(path, sizeof(path), "%s.props", argument);
		return wrong_type(path, "object", &call->error);
	}
	for (size_t i = 0; props && i < props->object.count; i++)
		if (set_property(&config, &props->object.member[i], &call->error) < 0)
			return -1;
	return cpu_resolve(&config, monitor_vm(call->monitor)->kvm, cpu, &call->error);
}

static void write_property(struct json_writer *w, const struct cpu *cpu,
			   const struct cpu_property *property)
{
	struct cpu_value value = cpu_property_value(cpu, property);

	/* What is not known here, as the frequency of a TSC, is no value that could be given either. */
	if (property->type == CPU_PROPERTY_NUMBER && value.number < property->min)
		return;
	switch (property->type) {
	case CPU_PROPERTY_BOOL:
		json_write_bool(w, property->name, value.on);
		break;
	case CPU_PROPERTY_NUMBER:
		json_write_uint(w, property->name, value.number);
		break;
	case CPU_PROPERTY_STRING:
		json_write_string(w, property->name, value.string);
		break;
	}
}

/* ---- query-cpu-model-expansion ---- */

/*
 * Whether a property describes the processor; the others say how to go about it, and have done so
 * when there is a processor to describe.
 */
static bool is_description(const struct cpu_property *property)
{
	static const char *const instructions[] = { "enforce", "migratable", "host-phys-bits" };

	for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
		if (strcmp(property->name, instructions[i]) == 0)
			return false;
	return true;
}

int qmp_query_cpu_model_expansion(struct qmp_call *call)
{
	bool full = strcmp(json_get(call->arguments, "type")->string.bytes, "full") == 0;
	const struct cpu_property *property;
	struct json_writer *w = call->reply;
	struct cpu cpu;

	if (resolve(call, "model", &cpu) < 0)
		return -1;
	json_write_object(w, "return");
	json_write_object(w, "model");
	json_write_string(w, "name", full ? cpu.config.model->name : BASE_MODEL);
	json_write_object(w, "props");
	for (int i = 0; i < CPU_FEATURE_COUNT; i++)
		json_write_bool(w, cpu_feature_name((enum cpu_feature)i),
				cpu_features_has(&cpu.on, (enum cpu_feature)i));
	for (unsigned int i = 0; (property = cpu_property_at(i)); i++)
		if (full || is_description(property))
			write_property(w, &cpu, property);
	json_write_object_end(w);
	json_write_object_end(w);
	json_write_object_end(w);
	return 0;
}

/* ---- query-cpu-model-comparison ---- */

static bool same_value(const struct cpu *a, const struct cpu *b,
		       const struct cpu_property *property)
{
	struct cpu_value x = cpu_property_value(a, property), y = cpu_property_value(b, property);

	switch (property->type) {
	case CPU_PROPERTY_BOOL:
		return x.on == y.on;
	case CPU_PROPERTY_NUMBER:
		return x.number == y.number;
	case CPU_PROPERTY_STRING:
		break;
	}
	return strcmp(x.string, y.string) == 0;
}

int qmp_query_cpu_model_comparison(struct qmp_call *call)
{
	const struct cpu_property *property;
	struct json_writer *w = call->reply;
	struct cpu a, b;

	if (resolve(call, "modela", &a) < 0 || resolve(call, "modelb", &b) < 0)
		return -1;
	json_write_object(w, "return");
	json_write_string(w, "result", cpu_comparison_name(cpu_compare(&a, &b)));
	json_write_array(w, "responsible-properties");
	for (int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_features_has(&a.on, (enum cpu_feature)i) !=
		    cpu_features_has(&b.on, (enum cpu_feature)i))
			json_write_string(w, NULL, cpu_feature_name((enum cpu_feature)i));
	for (unsigned int i = 0; (property = cpu_property_at(i)); i++)
		if (is_description(property) && !same_value(&a, &b, property))
			json_write_string(w, NULL, property->name);
	json_write_array_end(w);
	json_write_object_end(w);
	return 0;
}

/* ---- query-vcpu-cpuid ---- */

static void write_vcpu(struct json_writer *w, int index, const struct kvm_cpuid2 *table)
{
	json_write_object(w, NULL);
	json_write_int(w, "cpu-index", index);
	cpu_write_table(w, "entries", table);
	json_write_object_end(w);
}

int qmp_query_vcpu_cpuid(struct qmp_call *call)
{
	struct vm *vm = monitor_vm(call->monitor);
	unsigned int first, last;
	int index, rc = 0;

	if (qmp_cpu_argument(call, &index) < 0 || vm_inspect_begin(vm, index, &call->error) < 0)
		return -1;
	first = index < 0 ? 0 : (unsigned int)index;
	last = index < 0 ? vm->nr_vcpus - 1 : (unsigned int)index;
	for (unsigned int i = first; rc == 0 && i <= last; i++)
		rc = vcpu_state_fetch(&vm->vcpu[i].state, 1U << SUBSTATE_CPUID, &call->error);
	if (rc == 0) {
		json_write_array(call->reply, "return");
		for (unsigned int i = first; i <= last; i++)
			write_vcpu(call->reply, (int)i,
				   vcpu_state_cpuid(&vm->vcpu[i].state, &call->error));
		json_write_array_end(call->reply);
	}
	vm_inspect_end(vm);
	return rc;
}
