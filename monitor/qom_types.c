/* SPDX-License-Identifier: MIT */
#include "monitor/qom.h"

#include <string.h>

#include "monitor/qom_internal.h"

/*
 * QEMU's types, as far as there are objects of them here, or could be, and what they are derived
 * from.  Types of devices are in device_infos.  There is no tcg-accel, which would make libvirt ask
 * what a machine without KVM is like.  There are memory-backend-file and none-machine, the latter
 * without a use: libvirt 9.0 asks after the properties of both, and crashes if it gets none.
 */
static const struct qom_type types[] = {
	{ .name = "object", .abstract = true },
	{ .name = "container", .parent = "object" },
	{ .name = "machine", .parent = "object", .abstract = true },
	{ .name = QOM_MACHINE_TYPE, .parent = "machine" },
	{ .name = "none-machine", .parent = "machine" },
	{ .name = "accel", .parent = "object" },
	{ .name = "kvm-accel", .parent = "accel" },
	{ .name = "memory-backend", .parent = "object", .abstract = true },
	{ .name = "memory-backend-file", .parent = "memory-backend" },
	{ .name = "memory-backend-ram", .parent = "memory-backend" },
	{ .name = "bus", .parent = "object", .abstract = true },
	{ .name = "ISA", .parent = "bus" },
	{ .name = "System", .parent = "bus" },
	{ .name = "chardev", .parent = "object", .abstract = true },
	{ .name = "chardev-fd", .parent = "chardev", .abstract = true },
	{ .name = "chardev-file", .parent = "chardev-fd" },
	{ .name = "chardev-null", .parent = "chardev" },
	{ .name = "chardev-pty", .parent = "chardev" },
	{ .name = "chardev-socket", .parent = "chardev" },
	{ .name = "chardev-stdio", .parent = "chardev-fd" },
	{ .name = "device", .parent = "object", .abstract = true },
	{ .name = "isa-device", .parent = "device", .abstract = true },
	{ .name = "sys-bus-device", .parent = "device", .abstract = true },
	{ .name = "pic-common", .parent = "isa-device", .abstract = true },
	{ .name = "pit-common", .parent = "isa-device", .abstract = true },
	{ .name = "ioapic-common", .parent = "sys-bus-device", .abstract = true },
	{ .name = "apic-common", .parent = "device", .abstract = true },
	{ .name = "kvm-apic", .parent = "apic-common" },
	{ .name = "cpu", .parent = "device", .abstract = true },
	{ .name = "x86_64-cpu", .parent = "cpu", .abstract = true },
	/* The models of query-cpu-definitions. */
	{ .name = "base-x86_64-cpu", .parent = "x86_64-cpu" },
	{ .name = "max-x86_64-cpu", .parent = "x86_64-cpu" },
	{ .name = QOM_CPU_TYPE, .parent = "max-x86_64-cpu" },
	{ .name = "x86-64-v1-x86_64-cpu", .parent = "x86_64-cpu" },
	{ .name = "x86-64-v2-x86_64-cpu", .parent = "x86_64-cpu" },
	{ .name = "x86-64-v3-x86_64-cpu", .parent = "x86_64-cpu" },
	{ .name = "x86-64-v4-x86_64-cpu", .parent = "x86_64-cpu" },
};
#define NR_TYPES        (sizeof(types) / sizeof(types[0]))

static void fixed_type(unsigned int n, struct qom_type *type)
{
	*type = types[n];
	type->properties = qom_properties_of(type->name);
}

static void device_type(const struct device_info *device, struct qom_type *type)
{
	*type = (struct qom_type){
		.name = device->type,
		.parent = device->parent,
		.properties = qom_properties_of(device->type),
		.constants = device->property,
	};
}

static const struct device_info *first_device(const char *type)
{
	for (const struct device_info *device = device_infos; device->type; device++)
		if (strcmp(device->type, type) == 0)
			return device;
	return NULL;
}

bool qom_type_at(unsigned int n, struct qom_type *type)
{
	if (n < NR_TYPES) {
		fixed_type(n, type);
		return true;
	}
	n -= NR_TYPES;
	for (const struct device_info *device = device_infos; device->type; device++) {
		if (first_device(device->type) != device || n-- > 0)
			continue;
		device_type(device, type);
		return true;
	}
	return false;
}

bool qom_find_type(const char *name, struct qom_type *type)
{
	const struct device_info *device;

	for (unsigned int n = 0; n < NR_TYPES; n++) {
		if (strcmp(types[n].name, name) == 0) {
			fixed_type(n, type);
			return true;
		}
	}
	device = first_device(name);
	if (device)
		device_type(device, type);
	return device != NULL;
}

bool qom_is_a(const char *name, const char *ancestor)
{
	struct qom_type type;

	while (name && strcmp(name, ancestor) != 0)
		name = qom_find_type(name, &type) ? type.parent : NULL;
	return name != NULL;
}

/* Number *n of what the type has of its own; else *n less their number. */
static bool own_property(const struct qom_type *type, unsigned int *n,
			 struct qom_property *property)
{
	for (const struct qom_property *p = type->properties; p && p->name; p++) {
		if ((*n)-- == 0) {
			*property = *p;
			return true;
		}
	}
	for (const struct device_property *p = type->constants; p && p->name; p++) {
		if ((*n)-- == 0) {
			*property = (struct qom_property){
				.name = p->name, .type = p->type, .constant = p->value,
				.fixed = true,
			};
			return true;
		}
	}
	return false;
}

/* The same with those of its ancestors, which come first. */
static bool any_property(const char *name, unsigned int *n, struct qom_property *property)
{
	struct qom_type type;

	return name && qom_find_type(name, &type) &&
	       (any_property(type.parent, n, property) || own_property(&type, n, property));
}

bool qom_type_property(const char *type, unsigned int n, struct qom_property *property)
{
	return any_property(type, &n, property);
}

qom_target_fn *qom_type_link(const char *name, const char *link, size_t len)
{
	struct qom_type type;

	for (; name && qom_find_type(name, &type); name = type.parent)
		for (const struct qom_property *p = type.properties; p && p->name; p++)
			if (p->target && strncmp(p->name, link, len) == 0 && !p->name[len])
				return p->target;
	return NULL;
}
