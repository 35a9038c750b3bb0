/* SPDX-License-Identifier: MIT */
#include "monitor/qom.h"

#include <stdio.h>
#include <string.h>

static void set(struct qom_object *object, enum qom_place place, unsigned int index,
		const char *type)
{
	object->place = place;
	object->index = index;
	snprintf(object->type, sizeof(object->type), "%s", type);
}

void qom_at(enum qom_place place, struct qom_object *object)
{
	static const struct {
		const char *name, *type;
	} fixed[] = {
		[QOM_ROOT] = { "", "container" },
		[QOM_MACHINE] = { "machine", QOM_MACHINE_TYPE },
		[QOM_PERIPHERAL] = { "peripheral", "container" },
		[QOM_PERIPHERAL_ANON] = { "peripheral-anon", "container" },
		[QOM_UNATTACHED] = { "unattached", "container" },
		[QOM_OBJECTS] = { "objects", "container" },
		[QOM_CHARDEVS] = { "chardevs", "container" },
		[QOM_ISA_BUS] = { "isa.0", "ISA" },
		[QOM_SYSTEM_BUS] = { "sysbus", "System" },
	};

	set(object, place, 0, fixed[place].type);
	snprintf(object->name, sizeof(object->name), "%s", fixed[place].name);
}

void qom_ram_at(const struct vm *vm, struct qom_object *object)
{
	set(object, QOM_RAM, 0,
	    vm->memory.from_file ? "memory-backend-file" : "memory-backend-ram");
	snprintf(object->name, sizeof(object->name), QOM_RAM_ID);
}

/* One of some places, of each of which there is one. */
static bool nth_place(const enum qom_place *places, unsigned int count, unsigned int n,
		      struct qom_object *child)
{
	if (n >= count)
		return false;
	qom_at(places[n], child);
	return true;
}

static void name_device(struct qom_object *object, unsigned int number)
{
	snprintf(object->name, sizeof(object->name), "device[%u]", number);
}

/* Device number n of those that this machine has. */
static bool nth_device(const struct vm *vm, unsigned int n, struct qom_object *child)
{
	unsigned int there = 0;

	for (unsigned int i = 0; device_infos[i].type; i++) {
		if (!device_is_there(&device_infos[i], &vm->kvm->caps))
			continue;
		if (there++ != n)
			continue;
		set(child, QOM_DEVICE, i, device_infos[i].type);
		name_device(child, vm->nr_vcpus + n);
		return true;
	}
	return false;
}

static unsigned int count_devices(const struct vm *vm)
{
	struct qom_object device;
	unsigned int n = 0;

	while (nth_device(vm, n, &device))
		n++;
	return n;
}

static bool unattached_child(const struct vm *vm, unsigned int n, struct qom_object *child)
{
	static const enum qom_place buses[] = { QOM_ISA_BUS, QOM_SYSTEM_BUS };
	char type[QOM_TYPE_SIZE];

	if (n < vm->nr_vcpus) {
		qom_cpu_type(vm, type);
		set(child, QOM_CPU, n, type);
		name_device(child, n);
		return true;
	}
	n -= vm->nr_vcpus;
	return nth_device(vm, n, child) || nth_place(buses, 2, n - count_devices(vm), child);
}

static bool chardev_child(struct monitor *monitor, unsigned int n, struct qom_object *child)
{
	struct chardev_info info;
	char type[64];

	if (!monitor_chardev(monitor, n, &info))
		return false;
	snprintf(type, sizeof(type), "chardev-%s", info.backend);
	set(child, QOM_CHARDEV, n, type);
	memcpy(child->name, info.label, sizeof(info.label));
	return true;
}

bool qom_child(struct monitor *monitor, const struct qom_object *parent, unsigned int n,
	       struct qom_object *child)
{
	static const enum qom_place root[] = { QOM_MACHINE, QOM_OBJECTS, QOM_CHARDEVS };
	static const enum qom_place machine[] = {
		QOM_UNATTACHED, QOM_PERIPHERAL, QOM_PERIPHERAL_ANON,
	};

	switch (parent->place) {
	case QOM_ROOT:
		return nth_place(root, 3, n, child);
	case QOM_MACHINE:
		return nth_place(machine, 3, n, child);
	case QOM_OBJECTS:
		if (n > 0)
			return false;
		qom_ram_at(monitor_vm(monitor), child);
		return true;
	case QOM_UNATTACHED:
		return unattached_child(monitor_vm(monitor), n, child);
	case QOM_CHARDEVS:
		return chardev_child(monitor, n, child);
	case QOM_CPU:
		if (n > 0)
			return false;
		set(child, QOM_LAPIC, parent->index, "kvm-apic");
		snprintf(child->name, sizeof(child->name), "lapic");
		return true;
	default:
		return false;
	}
}

/* Of an object that is not the root. */
static void parent_of(const struct qom_object *object, struct qom_object *parent)
{
	switch (object->place) {
	case QOM_MACHINE:
	case QOM_OBJECTS:
	case QOM_CHARDEVS:
		qom_at(QOM_ROOT, parent);
		break;
	case QOM_LAPIC:
		set(parent, QOM_CPU, object->index, "x86_64-cpu");
		name_device(parent, object->index);
		break;
	case QOM_CPU:
	case QOM_DEVICE:
	case QOM_ISA_BUS:
	case QOM_SYSTEM_BUS:
		qom_at(QOM_UNATTACHED, parent);
		break;
	case QOM_RAM:
		qom_at(QOM_OBJECTS, parent);
		break;
	case QOM_CHARDEV:
		qom_at(QOM_CHARDEVS, parent);
		break;
	default:
		qom_at(QOM_MACHINE, parent);
	}
}

void qom_print_path(struct text *out, const struct qom_object *object)
{
	struct qom_object parent;

	if (object->place == QOM_ROOT) {
		text_printf(out, "/");
		return;
	}
	parent_of(object, &parent);
	if (parent.place != QOM_ROOT)
		qom_print_path(out, &parent);
	text_printf(out, "/%s", object->name);
}

bool qom_find_property(const struct qom_object *object, const char *name,
		       struct qom_property *property)
{
	for (unsigned int n = 0; qom_type_property(object->type, n, property); n++) {
		if (strcmp(property->name, name) != 0)
			continue;
		/* Of devices of one type, each has its own values. */
		if (object->place == QOM_DEVICE && !property->get && !property->target)
			for (const struct device_property *own = device_infos[object->index].property;
			     own->name; own++)
				if (strcmp(own->name, name) == 0)
					property->constant = own->value;
		return true;
	}
	return false;
}

/* The child, or what a link refers to, of a name of `len` characters. */
static bool step(struct monitor *monitor, const struct qom_object *from, const char *name,
		 size_t len, struct qom_object *to)
{
	qom_target_fn *target;

	for (unsigned int n = 0; qom_child(monitor, from, n, to); n++)
		if (strncmp(to->name, name, len) == 0 && !to->name[len])
			return true;
	target = qom_type_link(from->type, name, len);
	return target && target(monitor, from, to);
}

/* Goes down from an object; steps of no length count for nothing. */
static bool walk(struct monitor *monitor, const struct qom_object *from, const char *path,
		 struct qom_object *to)
{
	struct qom_object at = *from;
	size_t len;

	for (; *path; path += len) {
		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (len && !step(monitor, &at, path, len, to))
			return false;
		if (len)
			at = *to;
	}
	*to = at;
	return true;
}

/* Finds what the path leads to from `from` or from anything below it. */
static bool search(struct monitor *monitor, const struct qom_object *from, const char *path,
		   struct qom_object *found, bool *ambiguous)
{
	struct qom_object child, below;
	bool any = walk(monitor, from, path, found);

	for (unsigned int n = 0; qom_child(monitor, from, n, &child); n++) {
		if (search(monitor, &child, path, &below, ambiguous)) {
			*ambiguous |= any;
			*found = below;
			any = true;
		}
		if (*ambiguous)
			return false;
	}
	return any;
}

bool qom_resolve(struct monitor *monitor, const char *path, struct qom_object *object,
		 bool *ambiguous)
{
	struct qom_object root;

	*ambiguous = false;
	qom_at(QOM_ROOT, &root);
	if (*path == '/')
		return walk(monitor, &root, path, object);
	return search(monitor, &root, path, object, ambiguous);
}
