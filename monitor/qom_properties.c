/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/qom_internal.h"
#include "vmm/cpuid.h"
#include "vmm/dev/machine_devices.h"

/* One function may serve several properties. */
static bool is_named(const struct qom_question *q, const char *name)
{
	return strcmp(q->property->name, name) == 0;
}

static int get_type(const struct qom_question *q, struct error *err)
{
	(void)err;
	json_write_string(q->w, q->name, q->object->type);
	return 0;
}

static int get_true(const struct qom_question *q, struct error *err)
{
	(void)err;
	json_write_bool(q->w, q->name, true);
	return 0;
}

static int get_false(const struct qom_question *q, struct error *err)
{
	(void)err;
	json_write_bool(q->w, q->name, false);
	return 0;
}

/* ---- the machine ---- */

static int get_boot(const struct qom_question *q, struct error *err)
{
	const struct boot_config *boot = &monitor_vm(q->monitor)->config.boot;
	const char *text = is_named(q, "kernel") ? boot->kernel : boot->append;

	(void)err;
	json_write_string(q->w, q->name, text ? text : "");
	return 0;
}

/* Several are one text with commas between, as QEMU takes the modules of a multiboot kernel. */
static int get_initrd(const struct qom_question *q, struct error *err)
{
	const struct boot_config *boot = &monitor_vm(q->monitor)->config.boot;
	struct text all = { 0 };

	for (unsigned int i = 0; i < boot->nr_initrd; i++)
		text_printf(&all, "%s%s", i ? "," : "", boot->initrd[i]);
	if (all.failed) {
		text_free(&all);
		return error_set(err, ENOMEM, "out of memory");
	}
	json_write_string(q->w, q->name, all.bytes ? all.bytes : "");
	text_free(&all);
	return 0;
}

static int get_memory(const struct qom_question *q, struct error *err)
{
	(void)err;
	json_write_object(q->w, q->name);
	json_write_uint(q->w, "size", monitor_vm(q->monitor)->memory.size);
	json_write_object_end(q->w);
	return 0;
}

static int get_smp(const struct qom_question *q, struct error *err)
{
	const struct cpu_topology *topology = &monitor_vm(q->monitor)->topology;
	unsigned int cpus = monitor_vm(q->monitor)->nr_vcpus;

	(void)err;
	json_write_object(q->w, q->name);
	json_write_uint(q->w, "cpus", cpus);
	json_write_uint(q->w, "maxcpus", cpus);
	json_write_uint(q->w, "threads", topology->threads);
	json_write_uint(q->w, "cores", topology->cores);
	json_write_uint(q->w, "dies", topology->dies);
	json_write_uint(q->w, "sockets", topology->sockets);
	json_write_uint(q->w, "clusters", 1);
	json_write_object_end(q->w);
	return 0;
}

static bool ram_of_machine(struct monitor *monitor, const struct qom_object *object,
			   struct qom_object *target)
{
	(void)object;
	qom_ram_at(monitor_vm(monitor), target);
	return true;
}

/* ---- memory ---- */

struct qom_ram qom_ram(const struct vm *vm)
{
	/* One private mapping, of which the host gives pages when they are touched. */
	return (struct qom_ram){ .size = vm->memory.size, .dump = true, .reserve = true };
}

static int get_ram(const struct qom_question *q, struct error *err)
{
	const struct qom_ram ram = qom_ram(monitor_vm(q->monitor));

	(void)err;
	if (is_named(q, "size"))
		json_write_uint(q->w, q->name, ram.size);
	else
		json_write_bool(q->w, q->name, is_named(q, "merge") ? ram.merge :
				is_named(q, "dump") ? ram.dump :
				is_named(q, "prealloc") ? ram.prealloc :
				is_named(q, "share") ? ram.share : ram.reserve);
	return 0;
}

/* Where the file is now, if it is anywhere. */
static int get_mem_path(const struct qom_question *q, struct error *err)
{
	const struct memory *memory = &monitor_vm(q->monitor)->memory;
	char link[40], path[PATH_MAX];
	ssize_t len = -1;

	(void)err;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", memory->file);
	if (memory->from_file)
		len = readlink(link, path, sizeof(path));
	json_write_string_len(q->w, q->name, path, len < 0 ? 0 : (size_t)len);
	return 0;
}

/* ---- devices ---- */

static bool bus_of_device(struct monitor *monitor, const struct qom_object *object,
			  struct qom_object *target)
{
	(void)monitor;
	if (object->place != QOM_DEVICE ||
	    device_infos[object->index].place == DEVICE_ON_NOTHING)
		return false;
	qom_at(device_infos[object->index].place == DEVICE_ON_ISA ? QOM_ISA_BUS : QOM_SYSTEM_BUS,
	       target);
	return true;
}

static int get_serial_chardev(const struct qom_question *q, struct error *err)
{
	struct chardev_info info;

	(void)err;
	json_write_string(q->w, q->name, monitor_serial_chardev(q->monitor, &info) ?
			  info.label : "");
	return 0;
}

void qom_write_generation_id(const struct vm *vm, char text[37])
{
	/* The first three fields of a GUID are little endian. */
	static const uint8_t place[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	const uint8_t *id = vm_devices_generation_id(vm->devices);

	for (unsigned int i = 0; i < 16; i++)
		text += sprintf(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				id[place[i]]);
}

static int get_guid(const struct qom_question *q, struct error *err)
{
	char text[37];

	(void)err;
	qom_write_generation_id(monitor_vm(q->monitor), text);
	json_write_string(q->w, q->name, text);
	return 0;
}

/* ---- vCPUs ---- */

void qom_cpu_path(unsigned int index, char path[QOM_CPU_PATH_SIZE])
{
	snprintf(path, QOM_CPU_PATH_SIZE, "/machine/unattached/device[%u]", index);
}

void qom_cpu_type(const struct vm *vm, char type[QOM_TYPE_SIZE])
{
	const struct cpu_model *model = vm->cpu.config.model;

	snprintf(type, QOM_TYPE_SIZE, "%s", QOM_CPU_TYPE);
	if (model)
		snprintf(type, QOM_TYPE_SIZE, "%s-x86_64-cpu", model->name);
}

/* Of a vCPU, and the id of its LAPIC. */
static int get_place(const struct qom_question *q, struct error *err)
{
	const struct cpu_topology *topology = &monitor_vm(q->monitor)->topology;
	const struct cpu_place place = cpu_topology_place(topology, q->object->index);

	(void)err;
	json_write_uint(q->w, q->name, is_named(q, "socket-id") ? place.socket :
			is_named(q, "die-id") ? place.die :
			is_named(q, "core-id") ? place.core :
			is_named(q, "thread-id") ? place.thread :
			cpu_topology_apic_id(topology, q->object->index));
	return 0;
}

/* A leaf of a vCPU's CPUID table; zeros where it has none.  Parks it for as long as that takes. */
static int read_cpuid(struct vm *vm, unsigned int index, uint32_t leaf, uint32_t regs[4],
		      struct error *err)
{
	const struct kvm_cpuid_entry2 *entry;
	const struct kvm_cpuid2 *table;

	memset(regs, 0, 4 * sizeof(*regs));
	if (vm_inspect_begin(vm, (int)index, err) < 0)
		return -1;
	table = vcpu_state_cpuid(&vm->vcpu[index].state, err);
	entry = table ? cpuid_find(table, leaf, 0) : NULL;
	if (entry) {
		regs[0] = entry->eax;
		regs[1] = entry->ebx;
		regs[2] = entry->ecx;
		regs[3] = entry->edx;
	}
	vm_inspect_end(vm);
	return table ? 0 : -1;
}

/* Intel SDM vol. 2, CPUID leaf 1: the version in EAX. */
static int get_version(const struct qom_question *q, struct error *err)
{
	uint32_t regs[4], family, model;

	if (read_cpuid(monitor_vm(q->monitor), q->object->index, 1, regs, err) < 0)
		return -1;
	family = regs[0] >> 8 & 0xf;
	model = regs[0] >> 4 & 0xf;
	if (family == 6 || family == 15)
		model |= regs[0] >> 12 & 0xf0;
	if (family == 15)
		family += regs[0] >> 20 & 0xff;
	json_write_uint(q->w, q->name, is_named(q, "family") ? family :
			is_named(q, "model") ? model : regs[0] & 0xf);
	return 0;
}

static int get_vendor(const struct qom_question *q, struct error *err)
{
	uint32_t regs[4], text[4] = { 0 };

	if (read_cpuid(monitor_vm(q->monitor), q->object->index, 0, regs, err) < 0)
		return -1;
	text[0] = regs[1];
	text[1] = regs[3];
	text[2] = regs[2];
	json_write_string(q->w, q->name, (const char *)text);
	return 0;
}

static int get_model_id(const struct qom_question *q, struct error *err)
{
	uint32_t text[13] = { 0 };

	for (unsigned int i = 0; i < 3; i++)
		if (read_cpuid(monitor_vm(q->monitor), q->object->index, 0x80000002 + i, text + 4 * i,
			       err) < 0)
			return -1;
	json_write_string(q->w, q->name, (const char *)text);
	return 0;
}

/* ---- sockets ---- */

static int get_socket(const struct qom_question *q, struct error *err)
{
	struct chardev_info info;

	(void)err;
	monitor_chardev(q->monitor, q->object->index, &info);
	if (is_named(q, "connected")) {
		json_write_bool(q->w, q->name, info.connected);
		return 0;
	}
	json_write_object(q->w, q->name);
	if (*info.path) {
		json_write_string(q->w, "path", info.path);
		json_write_string(q->w, "type", "unix");
	} else if (*info.host) {
		json_write_string(q->w, "port", info.port);
		json_write_string(q->w, "host", info.host);
		json_write_string(q->w, "type", "inet");
	} else {
		char number[16];

		snprintf(number, sizeof(number), "%d", info.fd);
		json_write_string(q->w, "str", number);
		json_write_string(q->w, "type", "fd");
	}
	json_write_object_end(q->w);
	return 0;
}

/* ---- which type has what ---- */

static const struct qom_property of_object[] = {
	{ "type", "string", .get = get_type },
	{ .name = NULL },
};

static const struct qom_property of_device[] = {
	{ "parent_bus", "link<bus>", .target = bus_of_device },
	{ "realized", "bool", .get = get_true },
	{ "hotplugged", "bool", .get = get_false },
	{ "hotpluggable", "bool", .get = get_false },
	{ .name = NULL },
};

static const struct qom_property of_machine[] = {
	{ "kernel", "string", "Linux kernel image file", .get = get_boot },
	{ "append", "string", "Linux kernel command line", .get = get_boot },
	{ "initrd", "string", "Linux initial ramdisk file", .get = get_initrd },
	{ "memory", "MemorySizeConfiguration", "Memory size configuration", .get = get_memory },
	{ "smp", "SMPConfiguration", "CPU topology", .get = get_smp },
	{ "memory-backend", "link<memory-backend>", "What the memory is made of",
	  .target = ram_of_machine },
	{ .name = NULL },
};

static const struct qom_property of_memory_backend[] = {
	{ "size", "int", "In bytes", .get = get_ram },
	{ "share", "bool", "Whether other processes see what the guest writes", .get = get_ram },
	{ "merge", "bool", "Whether the host may merge pages that are the same", .get = get_ram },
	{ "dump", "bool", "Whether it is part of a core dump of the process", .get = get_ram },
	{ "prealloc", "bool", "Whether all of it was there from the beginning", .get = get_ram },
	{ "reserve", "bool", "Whether the host has promised to have room for it", .get = get_ram },
	{ .name = NULL },
};

static const struct qom_property of_memory_file[] = {
	{ "mem-path", "string", "The file", .get = get_mem_path },
	{ .name = NULL },
};

static const struct qom_property of_cpu[] = {
	{ "apic-id", "uint32", .get = get_place, .fixed = true },
	{ "socket-id", "int32", .get = get_place, .fixed = true },
	{ "die-id", "int32", .get = get_place, .fixed = true },
	{ "core-id", "int32", .get = get_place, .fixed = true },
	{ "thread-id", "int32", .get = get_place, .fixed = true },
	{ "vendor", "string", .get = get_vendor },
	{ "family", "int", .get = get_version },
	{ "model", "int", .get = get_version },
	{ "stepping", "int", .get = get_version },
	{ "model-id", "string", .get = get_model_id },
	{ .name = NULL },
};

static const struct qom_property of_apic[] = {
	{ "id", "uint32", .get = get_place, .fixed = true },
	{ .name = NULL },
};

static const struct qom_property of_serial[] = {
	{ "chardev", "str", "The other end of the line", .get = get_serial_chardev, .fixed = true },
	{ .name = NULL },
};

static const struct qom_property of_generation_id[] = {
	{ "guid", "str", "What the guest is told", .get = get_guid, .fixed = true },
	{ .name = NULL },
};

static const struct qom_property of_socket[] = {
	{ "connected", "bool", .get = get_socket },
	{ "addr", "SocketAddress", .get = get_socket },
	{ .name = NULL },
};

const struct qom_property *qom_properties_of(const char *type)
{
	static const struct {
		const char *type;
		const struct qom_property *properties;
	} all[] = {
		{ "object", of_object },
		{ "device", of_device },
		{ "machine", of_machine },
		{ "memory-backend", of_memory_backend },
		{ "memory-backend-file", of_memory_file },
		{ "x86_64-cpu", of_cpu },
		{ "apic-common", of_apic },
		{ "isa-serial", of_serial },
		{ "vmgenid", of_generation_id },
		{ "chardev-socket", of_socket },
	};

	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].type, type) == 0)
			return all[i].properties;
	return NULL;
}
