/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPU_TOPOLOGY_H
#define VMM_CPU_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * How the vCPUs of a machine are arranged, and the APIC ids that come of it.
 *
 * An APIC id has a bit field for each level, thread lowest, each as wide as the count of that level
 * needs (Intel SDM vol. 3A, 9.9.1): where counts are no powers of two, ids have gaps.  vCPUs are
 * numbered in the order of their APIC ids.  No state: any thread.
 */
#define CPU_TOPOLOGY_MAX_CPUS 1024

struct cpu_topology {
	unsigned int sockets;
	unsigned int dies;              /* of a socket */
	unsigned int cores;             /* of a die */
	unsigned int threads;           /* of a core */
};

/* One socket of `cpus` cores, which is what a machine has when nobody said anything. */
struct cpu_topology cpu_topology_of_cores(unsigned int cpus);

/*
 * "[cpus=]N[,sockets=S][,dies=D][,cores=C][,threads=T][,maxcpus=M]", as QEMU has it: of what is left
 * out dies and threads are 1, then cores is what is left over, then sockets.  The text of an error is
 * the reason alone.
 */
int cpu_topology_parse(const char *text, struct cpu_topology *topology, struct error *err);

/*
 * "4,sockets=2,cores=1,threads=2": what cpu_topology_parse() makes this topology of, for messages
 * that say what to write.  Dies only where there are several.
 */
#define CPU_TOPOLOGY_TEXT 80
const char *cpu_topology_text(const struct cpu_topology *topology, char text[CPU_TOPOLOGY_TEXT]);

bool cpu_topology_equal(const struct cpu_topology *a, const struct cpu_topology *b);

/* 1 to CPU_TOPOLOGY_MAX_CPUS of a topology that has been parsed; 0 when one of the counts is. */
unsigned int cpu_topology_cpus(const struct cpu_topology *topology);

/* Where a vCPU is: its socket, its die in that, its core in that, its thread in that. */
struct cpu_place {
	unsigned int socket, die, core, thread;
};
struct cpu_place cpu_topology_place(const struct cpu_topology *topology, unsigned int cpu);

/* The APIC id of a vCPU, all 32 bits of it, and the highest of all. */
uint32_t cpu_topology_apic_id(const struct cpu_topology *topology, unsigned int cpu);
uint32_t cpu_topology_max_apic_id(const struct cpu_topology *topology);

/* By how many bits an APIC id is to be shifted right to get a number for each core, die, socket. */
unsigned int cpu_topology_core_shift(const struct cpu_topology *topology);
unsigned int cpu_topology_die_shift(const struct cpu_topology *topology);
unsigned int cpu_topology_socket_shift(const struct cpu_topology *topology);

#endif
