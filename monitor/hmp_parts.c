/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "monitor/qom.h"

/* What the machine has, for people. */

static const char *on(bool value)
{
	return value ? "true" : "false";
}

void hmp_info_hotpluggable_cpus(struct hmp *hmp, const struct hmp_args *args)
{
	const struct cpu_topology *topology = &hmp->vm->topology;
	char path[QOM_CPU_PATH_SIZE], type[QOM_TYPE_SIZE];

	(void)args;
	qom_cpu_type(hmp->vm, type);
	text_printf(hmp->out, "Hotpluggable CPUs:\n");
	for (unsigned int i = hmp->vm->nr_vcpus; i-- > 0;) {
		const struct cpu_place place = cpu_topology_place(topology, i);

		qom_cpu_path(i, path);
		text_printf(hmp->out, "  type: \"%s\"\n  vcpus_count: \"1\"\n"
			    "  qom_path: \"%s\"\n  CPUInstance Properties:\n"
			    "    socket-id: \"%u\"\n", type, path, place.socket);
		if (topology->dies > 1)
			text_printf(hmp->out, "    die-id: \"%u\"\n", place.die);
		text_printf(hmp->out, "    core-id: \"%u\"\n    thread-id: \"%u\"\n",
			    place.core, place.thread);
	}
}

void hmp_info_memory_size_summary(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "base memory: %" PRIu64 "\nplugged memory: 0\n",
		    hmp->vm->memory.size);
}

void hmp_info_memdev(struct hmp *hmp, const struct hmp_args *args)
{
	const struct qom_ram ram = qom_ram(hmp->vm);

	(void)args;
	text_printf(hmp->out, "memory backend: " QOM_RAM_ID "\n  size:  %" PRIu64 "\n  merge: %s\n"
		    "  dump: %s\n  prealloc: %s\n  share: %s\n  reserve: %s\n  policy: default\n"
		    "  host nodes: \n\n", ram.size, on(ram.merge), on(ram.dump), on(ram.prealloc),
		    on(ram.share), on(ram.reserve));
}

void hmp_info_vm_generation_id(struct hmp *hmp, const struct hmp_args *args)
{
	char text[37];

	(void)args;
	qom_write_generation_id(hmp->vm, text);
	text_printf(hmp->out, "%s\n", text);
}

void hmp_info_block_jobs(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "No active jobs\n");
}

void hmp_info_balloon(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "Error: No balloon device has been activated\n");
}

void hmp_balloon(struct hmp *hmp, const struct hmp_args *args)
{
	hmp_info_balloon(hmp, args);
}

/* Disks, networks and the like: QEMU prints nothing where there is none. */
void hmp_info_none(struct hmp *hmp, const struct hmp_args *args)
{
	(void)hmp;
	(void)args;
}

/* There is no watchdog: what it would do is of no consequence, but a wrong word is one. */
void hmp_watchdog_action(struct hmp *hmp, const struct hmp_args *args)
{
	static const char *const actions[] = {
		"reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi",
	};

	for (unsigned int i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(args->word, actions[i]) == 0)
			return;
	text_printf(hmp->out, "Error: invalid parameter value: %s\n", args->word);
}
