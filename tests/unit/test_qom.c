/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/hmp.h"
#include "monitor/monitor_internal.h"
#include "monitor/qom.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "tests/unit/wire_fixture.h"
#include "vmm/dev/machine_devices.h"

/* The object tree and the lists of what the machine has.  Error texts are those of QEMU 7.2. */

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))

static struct wire wire;
static struct peer peer;

static void open_monitor(void)
{
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
}

static void setup(void)
{
	machine_host();
	machine_start(2);
	open_monitor();
}

static void teardown(void)
{
	peer_close(&peer);
	wire_close(&wire);
	machine_stop();
}

/* What a command with these arguments answers: the text behind the first ": ", without the end. */
static const char *ask(const char *command, const char *arguments)
{
	static char answer[65536];
	char request[1024], *start;
	size_t len;

	snprintf(request, sizeof(request), "{'execute': '%s', 'arguments': {%s}}", command,
		 arguments);
	peer_clear(&peer);
	wire_send(&wire, &peer, request, strlen(request));
	wire_settle(&wire, &peer);
	start = strstr(peer.text, ": ");
	ck_assert_ptr_nonnull(start);
	len = strlen(start);
	ck_assert(len > 5 && len < sizeof(answer));
	memcpy(answer, start + 2, len - 5);
	answer[len - 5] = '\0';
	return answer;
}

/* ---- commands and their answers ---- */

#define FAILS(class, desc)      "{\"class\": \"" class "\", \"desc\": \"" desc "\"}"
#define ABSENT(desc)            FAILS("DeviceNotFound", desc " not found")
#define WRONG(desc)             FAILS("GenericError", desc)
#define CPU(n)                  "/machine/unattached/device[" n "]"
#define CONTAINER               "[{\"name\": \"type\", \"type\": \"string\"}]"
#define PROPERTY(name, type)    "{\"name\": \"" name "\", \"type\": \"" type "\"}"
#define DEVICE_PROPERTIES       PROPERTY("type", "string") ", " \
	PROPERTY("parent_bus", "link<bus>") ", " PROPERTY("realized", "bool") ", " \
	PROPERTY("hotplugged", "bool") ", " PROPERTY("hotpluggable", "bool")

static const struct {
	const char *command, *arguments, *answer;
} answers[] = {
	{ "qom-list", "'path': '/'", "[" PROPERTY("type", "string") ", "
	  PROPERTY("machine", "child<vmond-0.1-machine>") ", "
	  PROPERTY("objects", "child<container>") ", "
	  PROPERTY("chardevs", "child<container>") "]" },
	{ "qom-list", "'path': '/machine/peripheral'", CONTAINER },
	{ "qom-list", "'path': 'peripheral-anon'", CONTAINER },
	{ "qom-list", "'path': '//machine///peripheral/'", CONTAINER },
	{ "qom-list", "'path': 'machine/peripheral'", CONTAINER },
	{ "qom-list", "'path': '" CPU("1") "/lapic'",
	  "[" DEVICE_PROPERTIES ", " PROPERTY("id", "uint32") "]" },
	{ "qom-list", "'path': 'device[0]/lapic'",
	  "[" DEVICE_PROPERTIES ", " PROPERTY("id", "uint32") "]" },
	/* By way of a link. */
	{ "qom-list", "'path': 'device[2]/parent_bus'", CONTAINER },
	{ "qom-list", "'path': '/chardevs'", CONTAINER },
	{ "qom-list", "'path': '/x'", ABSENT("Device '/x'") },
	{ "qom-list", "'path': 'x'", ABSENT("Device 'x'") },
	{ "qom-list", "'path': '/machine/x'", ABSENT("Device '/machine/x'") },
	{ "qom-list", "'path': '/machine/type'", ABSENT("Device '/machine/type'") },
	{ "qom-list", "'path': '/machin'", ABSENT("Device '/machin'") },
	{ "qom-list", "'path': '/machinery'", ABSENT("Device '/machinery'") },
	{ "qom-list", "'path': 'device[9999]'", ABSENT("Device 'device[9999]'") },
	/* A link that refers to nothing. */
	{ "qom-list", "'path': '" CPU("0") "/parent_bus'",
	  ABSENT("Device '" CPU("0") "/parent_bus'") },
	{ "qom-list", "'path': ''", WRONG("Path '' is ambiguous") },
	{ "qom-list", "'path': 'lapic'", WRONG("Path 'lapic' is ambiguous") },

	{ "qom-get", "'path': '/', 'property': 'type'", "\"container\"" },
	{ "qom-get", "'path': '/', 'property': 'machine'", "\"/machine\"" },
	{ "qom-get", "'path': '/machine', 'property': 'type'", "\"vmond-0.1-machine\"" },
	{ "qom-get", "'path': '/machine', 'property': 'kernel'", "\"\"" },
	{ "qom-get", "'path': '/machine', 'property': 'append'", "\"\"" },
	{ "qom-get", "'path': '/machine', 'property': 'initrd'", "\"\"" },
	{ "qom-get", "'path': '/machine', 'property': 'memory'", "{\"size\": 2097152}" },
	{ "qom-get", "'path': '/machine', 'property': 'smp'",
	  "{\"cpus\": 2, \"maxcpus\": 2, \"threads\": 1, \"cores\": 2, \"dies\": 1, "
	  "\"sockets\": 1, \"clusters\": 1}" },
	{ "qom-get", "'path': '/machine', 'property': 'memory-backend'", "\"/objects/ram\"" },
	{ "qom-get", "'path': 'ram', 'property': 'size'", "2097152" },
	{ "qom-get", "'path': 'ram', 'property': 'share'", "false" },
	{ "qom-get", "'path': 'ram', 'property': 'dump'", "true" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'type'", "\"host-x86_64-cpu\"" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'apic-id'", "1" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'core-id'", "1" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'thread-id'", "0" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'parent_bus'", "\"\"" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'lapic'", "\"" CPU("1") "/lapic\"" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'realized'", "true" },
	{ "qom-get", "'path': '" CPU("1") "', 'property': 'hotplugged'", "false" },
	{ "qom-get", "'path': '" CPU("2") "', 'property': 'type'", "\"isa-serial\"" },
	{ "qom-get", "'path': '" CPU("2") "', 'property': 'iobase'", "1016" },
	{ "qom-get", "'path': '" CPU("2") "', 'property': 'irq'", "4" },
	{ "qom-get", "'path': '" CPU("2") "', 'property': 'parent_bus'",
	  "\"/machine/unattached/isa.0\"" },
	/* Two of one type: each has its own values. */
	{ "qom-get", "'path': '" CPU("10") "', 'property': 'master'", "true" },
	{ "qom-get", "'path': '" CPU("11") "', 'property': 'master'", "false" },
	{ "qom-get", "'path': '" CPU("11") "', 'property': 'iobase'", "160" },
	{ "qom-get", "'path': '" CPU("12") "', 'property': 'parent_bus'",
	  "\"/machine/unattached/sysbus\"" },
	{ "qom-get", "'path': '/machine', 'property': 'zzz'",
	  WRONG("Property 'vmond-0.1-machine.zzz' not found") },
	{ "qom-get", "'path': '" CPU("0") "', 'property': 'iobase'",
	  WRONG("Property 'host-x86_64-cpu.iobase' not found") },
	{ "qom-get", "'path': '/x', 'property': 'type'", ABSENT("Device '/x'") },
	{ "qom-get", "'path': '', 'property': 'type'", ABSENT("Device ''") },
	{ "qom-get", "'path': 'lapic', 'property': 'type'", ABSENT("Device 'lapic'") },

	{ "qom-set", "'path': '/machine', 'property': 'type', 'value': 1",
	  WRONG("Property 'vmond-0.1-machine.type' is not writable") },
	{ "qom-set", "'path': '/machine', 'property': 'unattached', 'value': 1",
	  WRONG("Property 'vmond-0.1-machine.unattached' is not writable") },
	{ "qom-set", "'path': '" CPU("2") "', 'property': 'parent_bus', 'value': null",
	  WRONG("Property 'isa-serial.parent_bus' is not writable") },
	{ "qom-set", "'path': '" CPU("2") "', 'property': 'iobase', 'value': 1",
	  WRONG("Attempt to set property 'iobase' on anonymous device (type 'isa-serial') after "
		"it was realized") },
	{ "qom-set", "'path': '/machine', 'property': 'zzz', 'value': {}",
	  WRONG("Property 'vmond-0.1-machine.zzz' not found") },
	{ "qom-set", "'path': '/x', 'property': 'type', 'value': 1", ABSENT("Device '/x'") },

	{ "qom-list-types", "'implements': 'zzz'", "[]" },
	{ "qom-list-types", "'implements': 'bus'", "[{\"name\": \"ISA\", \"parent\": \"bus\"}, "
	  "{\"name\": \"System\", \"parent\": \"bus\"}]" },
	{ "qom-list-types", "'implements': 'pic-common', 'abstract': true",
	  "[{\"name\": \"pic-common\", \"abstract\": true, \"parent\": \"isa-device\"}, "
	  "{\"name\": \"kvm-i8259\", \"parent\": \"pic-common\"}]" },
	{ "qom-list-types", "'implements': 'pic-common', 'abstract': false",
	  "[{\"name\": \"kvm-i8259\", \"parent\": \"pic-common\"}]" },
	{ "qom-list-properties", "'typename': 'container'", CONTAINER },
	{ "qom-list-properties", "'typename': 'device'", "[" DEVICE_PROPERTIES "]" },
	{ "qom-list-properties", "'typename': 'zzz'", ABSENT("Class 'zzz'") },
	{ "device-list-properties", "'typename': 'mc146818rtc'",
	  "[" PROPERTY("iobase", "uint16") ", " PROPERTY("irq", "uint8") "]" },
	{ "device-list-properties", "'typename': 'i8042'", "[]" },
	{ "device-list-properties", "'typename': 'zzz'", ABSENT("Device 'zzz'") },
	{ "device-list-properties", "'typename': 'container'",
	  WRONG("Parameter 'typename' expects a non-abstract device type") },
	{ "device-list-properties", "'typename': 'isa-device'",
	  WRONG("Parameter 'typename' expects a non-abstract device type") },

	{ "query-chardev", "", "[]" },
	{ "query-chardev-backends", "", "[{\"name\": \"file\"}, {\"name\": \"null\"}, "
	  "{\"name\": \"pty\"}, {\"name\": \"socket\"}, {\"name\": \"stdio\"}]" },
	{ "query-command-line-options", "", "[]" },
	{ "query-hotpluggable-cpus", "",
	  "[{\"props\": {\"core-id\": 1, \"thread-id\": 0, \"socket-id\": 0}, "
	  "\"vcpus-count\": 1, \"qom-path\": \"" CPU("1") "\", \"type\": \"host-x86_64-cpu\"}, "
	  "{\"props\": {\"core-id\": 0, \"thread-id\": 0, \"socket-id\": 0}, "
	  "\"vcpus-count\": 1, \"qom-path\": \"" CPU("0") "\", \"type\": \"host-x86_64-cpu\"}]" },
	{ "query-memory-size-summary", "", "{\"base-memory\": 2097152, \"plugged-memory\": 0}" },
	{ "query-memdev", "", "[{\"share\": false, \"reserve\": true, \"prealloc\": false, "
	  "\"host-nodes\": [], \"size\": 2097152, \"merge\": false, \"dump\": true, "
	  "\"policy\": \"default\", \"id\": \"ram\"}]" },
	{ "query-memory-devices", "", "[]" },
	{ "query-iothreads", "", "[]" },
	{ "query-jobs", "", "[]" },
	{ "query-block", "", "[]" },
	{ "query-named-block-nodes", "'flat': true", "[]" },
	{ "query-blockstats", "'query-nodes': true", "[]" },
	{ "query-block-jobs", "", "[]" },
	{ "query-pci", "", "[]" },
	{ "query-rx-filter", "", "[]" },
	{ "query-rx-filter", "'name': 'n'", WRONG("invalid net client name: n") },
	{ "query-tpm", "", "[]" },
	{ "query-tpm-models", "", "[]" },
	{ "query-tpm-types", "", "[]" },
	{ "query-acpi-ospm-status", "", "[]" },
	{ "query-pr-managers", "", "[]" },
	{ "query-balloon", "",
	  FAILS("DeviceNotActive", "No balloon device has been activated") },
	{ "balloon", "'value': 1",
	  FAILS("DeviceNotActive", "No balloon device has been activated") },
	{ "watchdog-set-action", "'action': 'none'", "{}" },
	{ "watchdog-set-action", "'action': 'zzz'",
	  WRONG("Parameter 'action' does not accept value 'zzz'") },
};

START_TEST(test_answers)
{
	ck_assert_str_eq(ask(answers[_i].command, answers[_i].arguments), answers[_i].answer);
}
END_TEST

START_TEST(test_machines)
{
	char expected[256];

	snprintf(expected, sizeof(expected), "[{\"name\": \"vmond-0.1\", \"is-default\": true, "
		 "\"cpu-max\": %u, \"hotpluggable-cpus\": false, \"numa-mem-supported\": false, "
		 "\"deprecated\": false, \"default-cpu-type\": \"host-x86_64-cpu\"}]",
		 machine.kvm.caps.max_vcpus);
	ck_assert_str_eq(ask("query-machines", ""), expected);
	ck_assert_uint_eq(vm_vcpus_max(&machine.kvm), machine.kvm.caps.max_vcpus);
	machine.kvm.caps.max_vcpus = 100000;
	ck_assert_uint_eq(vm_vcpus_max(&machine.kvm), 1024);
}
END_TEST

START_TEST(test_options)
{
	ck_assert_str_eq(ask("query-command-line-options", "'option': 'x'"),
			 WRONG("invalid option name: x"));
}
END_TEST

/* ---- the tree as a whole ---- */

/* Every object: its type is one, its path leads to it, and what it lists can be got and not set. */
static unsigned int walk(const struct qom_object *object)
{
	struct text path = { 0 }, other_path = { 0 };
	struct qom_object other, child;
	struct qom_property property;
	struct json_writer w;
	struct qom_type type;
	struct error err;
	bool ambiguous;
	unsigned int n, count = 1;

	ck_assert_msg(qom_find_type(object->type, &type), "%s", object->type);
	ck_assert(!type.abstract);
	qom_print_path(&path, object);
	ck_assert(qom_resolve(wire.monitor, path.bytes, &other, &ambiguous));
	qom_print_path(&other_path, &other);
	ck_assert_str_eq(path.bytes, other_path.bytes);
	ck_assert_str_eq(object->type, other.type);
	for (n = 0; qom_type_property(object->type, n, &property); n++) {
		json_writer_init(&w, false);
		ck_assert_msg(qom_get(wire.monitor, object, property.name, &w, NULL, &err) == 0,
			      "%s %s: %s", path.bytes, property.name, err.text);
		ck_assert_uint_gt(w.len, 0);
		json_writer_free(&w);
		ck_assert_int_eq(qom_set(wire.monitor, object, property.name, &err), -1);
	}
	ck_assert_uint_ge(n, 1);
	for (n = 0; qom_child(wire.monitor, object, n, &child); n++)
		count += walk(&child);
	text_free(&path);
	text_free(&other_path);
	return count;
}

START_TEST(test_whole_tree)
{
	struct qom_object root;
	uint64_t mark;

	qom_at(QOM_ROOT, &root);
	/* A running machine goes on, and nobody hears of it. */
	machine_run_all();
	machine_events();
	ck_assert_uint_eq(walk(&root), 8 + 2 * 2 + 12 + 2);
	ck_assert(vm_is_running(machine.vm));
	ck_assert_str_eq(machine_events(), "");
	/* A stopped one is not changed by it. */
	vm_stop(machine.vm);
	mark = fake_kvm_mark(machine.fake);
	walk(&root);
	machine_cont();
	ck_assert_uint_eq(machine_sets(mark), 0);
}
END_TEST

/* Every type goes back to "object" and can be listed. */
START_TEST(test_types)
{
	struct qom_type type, parent, again;
	struct qom_property first;
	unsigned int n;

	for (n = 0; qom_type_at(n, &type); n++) {
		ck_assert(qom_is_a(type.name, "object"));
		ck_assert(qom_is_a(type.name, type.name));
		ck_assert(qom_find_type(type.name, &again));
		ck_assert_ptr_eq(type.name, again.name);        /* it is not there twice */
		ck_assert(qom_type_property(type.name, 0, &first));
		ck_assert_str_eq(first.name, "type");
		if (type.parent)
			ck_assert_msg(qom_find_type(type.parent, &parent), "%s", type.parent);
		else
			ck_assert_str_eq(type.name, "object");
	}
	ck_assert_uint_gt(n, 30);
	ck_assert(!qom_is_a("object", "device"));
	ck_assert(!qom_is_a("zzz", "object"));
	ck_assert(qom_is_a("host-x86_64-cpu", "device"));
	ck_assert(!qom_find_type("tcg-accel", &type));
}
END_TEST

/* Topology and model as they were asked for, everywhere that shows them. */
START_TEST(test_cpu_places)
{
	static const struct {
		const char *command, *arguments, *answer;
	} asked[] = {
		{ "qom-get", "'path': '" CPU("1") "', 'property': 'die-id'", "1" },
		{ "qom-get", "'path': '" CPU("1") "', 'property': 'core-id'", "0" },
		{ "qom-get", "'path': '" CPU("1") "', 'property': 'type'", "\"x86-64-v2-x86_64-cpu\"" },
		{ "qom-get", "'path': '/machine', 'property': 'smp'",
		  "{\"cpus\": 2, \"maxcpus\": 2, \"threads\": 1, \"cores\": 1, \"dies\": 2, "
		  "\"sockets\": 1, \"clusters\": 1}" },
		{ "query-hotpluggable-cpus", "",
		  "[{\"props\": {\"core-id\": 0, \"thread-id\": 0, \"die-id\": 1, \"socket-id\": 0}, "
		  "\"vcpus-count\": 1, \"qom-path\": \"" CPU("1") "\", "
		  "\"type\": \"x86-64-v2-x86_64-cpu\"}, "
		  "{\"props\": {\"core-id\": 0, \"thread-id\": 0, \"die-id\": 0, \"socket-id\": 0}, "
		  "\"vcpus-count\": 1, \"qom-path\": \"" CPU("0") "\", "
		  "\"type\": \"x86-64-v2-x86_64-cpu\"}]" },
	};

	machine.vm->topology = (struct cpu_topology){ 1, 2, 1, 1 };
	machine.vm->cpu.config.model = cpu_model_find("x86-64-v2");
	for (unsigned int i = 0; i < COUNT(asked); i++)
		ck_assert_str_eq(ask(asked[i].command, asked[i].arguments), asked[i].answer);
	/* A clone's tables have no model. */
	machine.vm->cpu.config.model = NULL;
	ck_assert_str_eq(ask("qom-get", "'path': '" CPU("1") "', 'property': 'type'"),
			 "\"host-x86_64-cpu\"");
}
END_TEST

/* What a client finds by the names of query-cpu-definitions. */
START_TEST(test_models_are_types)
{
	const struct cpu_model *model;
	struct qom_type type;
	char name[64];

	for (unsigned int i = 0; (model = cpu_model_at(i)); i++) {
		snprintf(name, sizeof(name), "%s-x86_64-cpu", model->name);
		ck_assert_msg(qom_find_type(name, &type) && !type.abstract, "%s", name);
		ck_assert(qom_is_a(name, "x86_64-cpu"));
	}
}
END_TEST

static const struct bus_range *range_at(const struct bus *bus, uint64_t start)
{
	for (unsigned int i = 0; i < bus->nr_ranges; i++)
		if (bus->range[i].start == start)
			return &bus->range[i];
	return NULL;
}

/* What the list says is what is on the bus, and all of that is in the list. */
START_TEST(test_devices_are_there)
{
	static const uint64_t i8042[] = { 0x60, 0x64, 0x92 };
	const struct bus *pio = &machine.vm->pio;
	unsigned int listed = 0;

	for (const struct device_info *d = device_infos; d->type; d++) {
		if (strncmp(d->type, "kvm-", 4) == 0)
			continue;
		for (const struct device_property *p = d->property; p->name; p++) {
			if (strcmp(p->name, "iobase") && strcmp(p->name, "ioport"))
				continue;
			ck_assert_msg(range_at(pio, p->value), "%s is not at 0x%x", d->type,
				      p->value);
			listed++;
		}
	}
	for (unsigned int i = 0; i < COUNT(i8042); i++)
		listed += range_at(pio, i8042[i]) != NULL;
	/* The ranges of ACPI's registers: the first of them is listed. */
	for (unsigned int i = 0; i < pio->nr_ranges; i++)
		listed += pio->range[i].start > 0x600 && pio->range[i].start < 0x610;
	ck_assert_uint_eq(listed, pio->nr_ranges);
}
END_TEST

START_TEST(test_no_pit)
{
	struct qom_object object;
	bool ambiguous;

	ck_assert(qom_resolve(wire.monitor, CPU("13"), &object, &ambiguous));
	ck_assert_str_eq(object.type, "kvm-pit");
	machine.kvm.caps.pit2 = false;
	ck_assert(!qom_resolve(wire.monitor, CPU("13"), &object, &ambiguous));
	ck_assert(qom_resolve(wire.monitor, "/machine/unattached/isa.0", &object, &ambiguous));
	machine.kvm.caps.pit2 = true;
}
END_TEST

START_TEST(test_generation_id)
{
	static const uint8_t id[16] = {
		0xaf, 0x6e, 0x4e, 0x32, 0xd1, 0xd1, 0xf6, 0x4b,
		0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91, 0xfb, 0x87,
	};

	/* As in the notation, so the other way round in memory: the first three fields. */
	memcpy((uint8_t *)vm_devices_generation_id(machine.vm->devices), id, sizeof(id));
	ck_assert_str_eq(ask("query-vm-generation-id", ""),
			 "{\"guid\": \"324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87\"}");
	ck_assert_str_eq(ask("qom-get", "'path': 'device[9]', 'property': 'guid'"),
			 "\"324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87\"");
}
END_TEST

START_TEST(test_cpu_identity)
{
	struct fake_vcpu *model = machine_model(1);
	unsigned int i;

	/* A table of our own, which the kernel then hands out. */
	for (i = 0; i < model->cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &model->cpuid->entries[i];

		if (e->function == 1)
			e->eax = 0x00a10f11;
		if (e->function != 0)
			continue;
		memcpy(&e->ebx, "Auth", 4);
		memcpy(&e->edx, "enti", 4);
		memcpy(&e->ecx, "cAMD", 4);
	}
	machine_run_all();      /* and what is known from before is forgotten */
	ck_assert_str_eq(ask("qom-get", "'path': 'device[1]', 'property': 'vendor'"),
			 "\"AuthenticAMD\"");
	ck_assert_str_eq(ask("qom-get", "'path': 'device[1]', 'property': 'family'"), "25");
	ck_assert_str_eq(ask("qom-get", "'path': 'device[1]', 'property': 'model'"), "17");
	ck_assert_str_eq(ask("qom-get", "'path': 'device[1]', 'property': 'stepping'"), "1");
}
END_TEST

/* In a clone it is a file's. */
START_TEST(test_memory_of_a_file)
{
	char name[] = "/tmp/vmond-qom-XXXXXX", expected[64];
	struct memory *memory = &machine.vm->memory;

	memory->file = mkstemp(name);
	ck_assert_int_ge(memory->file, 0);
	memory->from_file = true;
	snprintf(expected, sizeof(expected), "\"%s\"", name);
	ck_assert_str_eq(ask("qom-get", "'path': 'ram', 'property': 'type'"),
			 "\"memory-backend-file\"");
	ck_assert_str_eq(ask("qom-get", "'path': 'ram', 'property': 'mem-path'"), expected);
	unlink(name);
	close(memory->file);
	/* Whatever has become of it. */
	ck_assert_str_eq(ask("qom-get", "'path': 'ram', 'property': 'mem-path'"), "\"\"");
	memory->from_file = false;
	ck_assert_str_eq(ask("qom-get", "'path': 'ram', 'property': 'mem-path'"),
			 WRONG("Property 'memory-backend-ram.mem-path' not found"));
}
END_TEST

START_TEST(test_kernel_refuses)
{
	uint64_t entries;

	machine_run_all();
	entries = machine_model(1)->entries;
	fake_kvm_fail(machine.fake, (struct fake_fault){
		.request = KVM_GET_CPUID2, .vcpu = 1, .error = EIO });
	ck_assert_ptr_nonnull(strstr(ask("qom-get", "'path': 'device[1]', 'property': 'vendor'"),
				     "KVM_GET_CPUID2"));
	fake_kvm_heal(machine.fake);
	/* It is not left parked. */
	fake_vcpu_await_entries(machine_model(1), entries + 1);
}
END_TEST

/* ---- for people ---- */

static struct text out;

static const char *run(const char *line)
{
	struct hmp hmp = { .monitor = wire.monitor, .vm = machine.vm, .out = &out };

	text_free(&out);
	hmp_execute(&hmp, line);
	ck_assert(!out.failed);
	return out.bytes ? out.bytes : "";
}

static const struct {
	const char *line, *text;
} lines[] = {
	{ "qom-list", "/\n" },
	{ "qom-list /objects", "type (string)\nram (child<memory-backend-ram>)\n" },
	{ "qom-list /x", "Error: Device '/x' not found\n" },
	{ "qom-list lapic", "Error: Path 'lapic' is ambiguous\n" },
	{ "qom-list / x", "qom-list: extraneous characters at the end of line\n"
	  "Try \"help qom-list\" for more information\n" },
	{ "qom-get /machine type", "\"vmond-0.1-machine\"\n" },
	{ "qom-get /machine memory", "{\n    \"size\": 2097152\n}\n" },
	{ "qom-get /machine x", "Error: Property 'vmond-0.1-machine.x' not found\n" },
	{ "qom-get /x type", "Error: Device '/x' not found\n" },
	{ "qom-get lapic type", "Error: Device 'lapic' not found\n" },
	{ "qom-get /machine", "qom-get: string expected\n"
	  "Try \"help qom-get\" for more information\n" },
	{ "qom-set /machine type x", "Error: Property 'vmond-0.1-machine.type' is not writable\n" },
	{ "qom-set -j /machine x 1", "Error: Property 'vmond-0.1-machine.x' not found\n" },
	{ "qom-set /machine type", "qom-set: string expected\n" },
	{ "qom-set /x type 1", "Error: Device '/x' not found\n" },
	{ "info qom-tree /machine/peripheral", "/peripheral (container)\n" },
	{ "info qom-tree /objects", "/objects (container)\n  /ram (memory-backend-ram)\n" },
	{ "info qom-tree device[1]", "/device[1] (host-x86_64-cpu)\n  /lapic (kvm-apic)\n" },
	{ "info qom-tree /x", "Path '/x' could not be resolved.\n" },
	{ "info qom-tree lapic", "Path 'lapic' is ambiguous.\n" },
	{ "info block", "" },
	{ "info network", "" },
	{ "info pci", "" },
	{ "info iothreads", "" },
	{ "info memory-devices", "" },
	{ "info roms", "" },
	{ "info tpm", "" },
	{ "info usernet", "" },
	{ "info blockstats", "" },
	{ "info jobs", "No active jobs\n" },
	{ "info block-jobs", "No active jobs\n" },
	{ "info balloon", "Error: No balloon device has been activated\n" },
	{ "balloon 64", "Error: No balloon device has been activated\n" },
	{ "info memory_size_summary", "base memory: 2097152\nplugged memory: 0\n" },
	{ "info memdev", "memory backend: ram\n  size:  2097152\n  merge: false\n  dump: true\n"
	  "  prealloc: false\n  share: false\n  reserve: true\n  policy: default\n"
	  "  host nodes: \n\n" },
	{ "watchdog_action none", "" },
	{ "watchdog_action zz", "Error: invalid parameter value: zz\n" },
};

START_TEST(test_lines)
{
	ck_assert_str_eq(run(lines[_i].line), lines[_i].text);
	text_free(&out);
}
END_TEST

START_TEST(test_long_lines)
{
	char id[37];

	/* Sorted as QEMU sorts: by the bytes of the names. */
	ck_assert_ptr_eq(strstr(run("info qom-tree"),
		"/machine (vmond-0.1-machine)\n  /peripheral (container)\n"
		"  /peripheral-anon (container)\n  /unattached (container)\n"
		"    /device[0] (host-x86_64-cpu)\n      /lapic (kvm-apic)\n"
		"    /device[10] (kvm-i8259)\n    /device[11] (kvm-i8259)\n"), out.bytes);
	ck_assert_ptr_eq(strstr(run("info qtree"),
		"bus: main-system-bus\n  type System\n  dev: kvm-ioapic, id \"\"\n"
		"    gsi_base = 0 (0x0)\nbus: isa.0\n  type ISA\n  dev: isa-serial, id \"\"\n"
		"    chardev = \"\"\n    index = 0 (0x0)\n    iobase = 1016 (0x3f8)\n"), out.bytes);
	ck_assert_ptr_nonnull(strstr(out.bytes, "    master = true\n"));
	ck_assert_ptr_nonnull(strstr(out.bytes, "    iobase = 160 (0xa0)\n"));
	ck_assert_ptr_nonnull(strstr(out.bytes, "    master = false\n"));
	ck_assert_ptr_null(strstr(out.bytes, "cpu"));
	ck_assert_ptr_eq(strstr(run("info hotpluggable-cpus"),
		"Hotpluggable CPUs:\n  type: \"host-x86_64-cpu\"\n  vcpus_count: \"1\"\n"
		"  qom_path: \"" CPU("1") "\"\n  CPUInstance Properties:\n    socket-id: \"0\"\n"
		"    core-id: \"1\"\n    thread-id: \"0\"\n"), out.bytes);
	qom_write_generation_id(machine.vm, id);
	ck_assert_ptr_eq(strstr(run("info vm-generation-id"), id), out.bytes);
	ck_assert_str_eq(out.bytes + 36, "\n");
	text_free(&out);
}
END_TEST

/* Memory that runs out anywhere gives an error or a mark, and no crash. */
START_TEST(test_memory_runs_out)
{
	static const char *const hungry[] = {
		"info qom-tree", "info qtree", "qom-get /machine smp", "qom-get device[0] lapic",
		"qom-get /machine initrd",
	};
	struct hmp hmp = { .monitor = wire.monitor, .vm = machine.vm, .out = &out };
	const char *modules[] = { "one", "two" };
	unsigned int n = 0;

	machine.vm->config.boot.initrd = modules;
	machine.vm->config.boot.nr_initrd = 2;
	ck_assert_str_eq(run("qom-get /machine initrd"), "\"one,two\"\n");
	do {
		text_free(&out);
		alloc_fail_at(++n);
		hmp_execute(&hmp, hungry[_i]);
		if (alloc_has_failed() && !out.failed)
			ck_assert_ptr_nonnull(strstr(out.bytes, "out of memory"));
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 1);
	text_free(&out);
	machine.vm->config.boot.nr_initrd = 0;
}
END_TEST

Suite *qom_suite(void)
{
	Suite *suite = suite_create("qom");
	TCase *tc = tcase_create("qom");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_answers, 0, COUNT(answers));
	tcase_add_test(tc, test_machines);
	tcase_add_test(tc, test_options);
	tcase_add_test(tc, test_whole_tree);
	tcase_add_test(tc, test_types);
	tcase_add_test(tc, test_cpu_places);
	tcase_add_test(tc, test_models_are_types);
	tcase_add_test(tc, test_devices_are_there);
	tcase_add_test(tc, test_no_pit);
	tcase_add_test(tc, test_generation_id);
	tcase_add_test(tc, test_cpu_identity);
	tcase_add_test(tc, test_memory_of_a_file);
	tcase_add_test(tc, test_kernel_refuses);
	tcase_add_loop_test(tc, test_lines, 0, COUNT(lines));
	tcase_add_test(tc, test_long_lines);
	tcase_add_loop_test(tc, test_memory_runs_out, 0, 5);
	suite_add_tcase(suite, tc);
	return suite;
}
