/* SPDX-License-Identifier: MIT */
#include "vmm/cpu_topology.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- APIC ids ---- */

static unsigned int bits_for(unsigned int count)
{
	unsigned int bits = 0;

	while (bits < 31 && (1U << bits) < count)
		bits++;
	return bits;
}

struct cpu_topology cpu_topology_of_cores(unsigned int cpus)
{
	return (struct cpu_topology) { .sockets = 1, .dies = 1, .cores = cpus, .threads = 1 };
}

bool cpu_topology_equal(const struct cpu_topology *a, const struct cpu_topology *b)
{
	return a->sockets == b->sockets && a->dies == b->dies && a->cores == b->cores &&
	       a->threads == b->threads;
}

unsigned int cpu_topology_cpus(const struct cpu_topology *t)
{
	return t->sockets * t->dies * t->cores * t->threads;
}

struct cpu_place cpu_topology_place(const struct cpu_topology *t, unsigned int cpu)
{
	return (struct cpu_place) {
		.thread = cpu % t->threads,
		.core = cpu / t->threads % t->cores,
		.die = cpu / t->threads / t->cores % t->dies,
		.socket = cpu / t->threads / t->cores / t->dies,
	};
}

unsigned int cpu_topology_core_shift(const struct cpu_topology *t)
{
	return bits_for(t->threads);
}

unsigned int cpu_topology_die_shift(const struct cpu_topology *t)
{
	return cpu_topology_core_shift(t) + bits_for(t->cores);
}

unsigned int cpu_topology_socket_shift(const struct cpu_topology *t)
{
	return cpu_topology_die_shift(t) + bits_for(t->dies);
}

uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned int cpu)
{
	struct cpu_place place = cpu_topology_place(t, cpu);

	return place.socket << cpu_topology_socket_shift(t) |
	       place.die << cpu_topology_die_shift(t) |
	       place.core << cpu_topology_core_shift(t) | place.thread;
}

uint32_t cpu_topology_max_apic_id(const struct cpu_topology *t)
{
	return cpu_topology_apic_id(t, cpu_topology_cpus(t) - 1);
}

/* ---- as text ---- */

const char *cpu_topology_text(const struct cpu_topology *t, char text[CPU_TOPOLOGY_TEXT])
{
	char dies[24] = "";

	if (t->dies > 1)
		snprintf(dies, sizeof(dies), ",dies=%u", t->dies);
	snprintf(text, CPU_TOPOLOGY_TEXT, "%u,sockets=%u%s,cores=%u,threads=%u",
		 cpu_topology_cpus(t), t->sockets, dies, t->cores, t->threads);
	return text;
}

enum { CPUS, SOCKETS, DIES, CORES, THREADS, MAXCPUS, KEYS };
static const char *const keys[KEYS] = {
	[CPUS] = "cpus", [SOCKETS] = "sockets", [DIES] = "dies", [CORES] = "cores",
	[THREADS] = "threads", [MAXCPUS] = "maxcpus",
};

static int find_key(const char *text, size_t len)
{
	for (int i = 0; i < KEYS; i++)
		if (strlen(keys[i]) == len && memcmp(keys[i], text, len) == 0)
			return i;
	return -1;
}

/* Decimal digits to the end, from 1 to the most there can be. */
static int parse_count(const char *text, size_t len, unsigned int *count, struct error *err)
{
	*count = 0;
	for (size_t i = 0; i < len && *count <= CPU_TOPOLOGY_MAX_CPUS; i++) {
		if (!isdigit((unsigned char)text[i])) {
			*count = 0;
			break;
		}
		*count = *count * 10 + (unsigned int)(text[i] - '0');
	}
	if (*count < 1 || *count > CPU_TOPOLOGY_MAX_CPUS)
		return error_set(err, EINVAL, "must be a number from 1 to %d",
				 CPU_TOPOLOGY_MAX_CPUS);
	return 0;
}

/* One part, of `len` bytes: "key=count", or the first, which may be the number of vCPUs alone. */
static int parse_part(const char *part, size_t len, bool first, unsigned int count[KEYS],
		      struct error *err)
{
	const char *equals = memchr(part, '=', len);
	size_t key_len = equals ? (size_t)(equals - part) : 0;
	int key = equals ? find_key(part, key_len) : first ? CPUS : -1;
	size_t skip = equals ? key_len + 1 : 0;

	if (key < 0)
		return error_set(err, EINVAL, "%.*s: must be cpus, sockets, dies, cores, threads or "
				 "maxcpus with a number", (int)(len < 40 ? len : 40), part);
	if (count[key])
		return error_set(err, EINVAL, "%s: given twice", keys[key]);
	if (parse_count(part + skip, len - skip, &count[key], err) < 0)
		return equals ? error_prefix(err, "%s", keys[key]) : -1;
	return 0;
}

/* What is left out: as QEMU does from machine version 6.2 on, cores before sockets. */
static void fill_in(unsigned int count[KEYS])
{
	unsigned int all = count[MAXCPUS] ? count[MAXCPUS] : count[CPUS];

	if (!count[DIES])
		count[DIES] = 1;
	if (!all)
		all = (count[SOCKETS] ? count[SOCKETS] : 1) * count[DIES] *
		      (count[CORES] ? count[CORES] : 1) * (count[THREADS] ? count[THREADS] : 1);
	if (!count[CORES]) {
		count[SOCKETS] = count[SOCKETS] ? count[SOCKETS] : 1;
		count[THREADS] = count[THREADS] ? count[THREADS] : 1;
		count[CORES] = all / (count[SOCKETS] * count[DIES] * count[THREADS]);
	} else if (!count[SOCKETS]) {
		count[THREADS] = count[THREADS] ? count[THREADS] : 1;
		count[SOCKETS] = all / (count[DIES] * count[CORES] * count[THREADS]);
	}
	if (!count[THREADS])
		count[THREADS] = all / (count[SOCKETS] * count[DIES] * count[CORES]);
	count[MAXCPUS] = all;
	if (!count[CPUS])
		count[CPUS] = all;
}

int cpu_topology_parse(const char *text, struct cpu_topology *topology, struct error *err)
{
	unsigned int count[KEYS] = { 0 };
	const char *part = text;
	uint64_t product;

	for (;;) {
		size_t len = strcspn(part, ",");

		if (parse_part(part, len, part == text, count, err) < 0)
			return -1;
		if (!part[len])
			break;
		part += len + 1;
	}
	/* Four factors of at most 1024: far from overflowing what follows, but for fill_in(). */
	if ((uint64_t)(count[SOCKETS] ? count[SOCKETS] : 1) * (count[DIES] ? count[DIES] : 1) *
	    (count[CORES] ? count[CORES] : 1) * (count[THREADS] ? count[THREADS] : 1) >
	    CPU_TOPOLOGY_MAX_CPUS)
		return error_set(err, EINVAL, "sockets, dies, cores and threads make more than %d "
				 "vCPUs", CPU_TOPOLOGY_MAX_CPUS);
	fill_in(count);
	product = (uint64_t)count[SOCKETS] * count[DIES] * count[CORES] * count[THREADS];
	if (count[CPUS] > count[MAXCPUS])
		return error_set(err, EINVAL, "maxcpus (%u) must be equal to or greater than cpus "
				 "(%u)", count[MAXCPUS], count[CPUS]);
	if (product != count[MAXCPUS])
		return error_set(err, EINVAL, "sockets (%u) * dies (%u) * cores (%u) * threads (%u) "
				 "make %u vCPUs, not %u", count[SOCKETS], count[DIES], count[CORES],
				 count[THREADS], (unsigned int)product, count[MAXCPUS]);
	if (count[MAXCPUS] != count[CPUS])
		return error_set(err, EINVAL, "maxcpus (%u) must be the number of vCPUs, %u: none "
				 "can be plugged in later", count[MAXCPUS], count[CPUS]);
	topology->sockets = count[SOCKETS];
	topology->dies = count[DIES];
	topology->cores = count[CORES];
	topology->threads = count[THREADS];
	return 0;
}
