/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid_internal.h"

/* Intel SDM vol. 2A, CPUID, leaves 0xB and 0x1F: types of levels. */
enum { LEVEL_NONE, LEVEL_SMT, LEVEL_CORE, LEVEL_DIE = 5 };

/* A cache as leaf 4 (Intel) and leaf 0x8000001D (AMD) have it. */
enum { CACHE_NONE, CACHE_DATA, CACHE_INSTRUCTIONS, CACHE_UNIFIED };
#define CACHE_SELF_INITIALIZING (1U << 8)
#define CACHE_SHARED_SHIFT      14
#define CACHE_CORES_SHIFT       26
#define LINE_SIZE               64

/* The caches of those who do not see the host's. */
static const struct cache {
	uint8_t type, level;
	uint16_t ways;
	uint32_t sets;
} caches[] = {
	{ CACHE_DATA, 1, 8, 64 },               /* 32 KiB */
	{ CACHE_INSTRUCTIONS, 1, 8, 64 },       /* 32 KiB */
	{ CACHE_UNIFIED, 2, 8, 1024 },          /* 512 KiB */
	{ CACHE_UNIFIED, 3, 16, 16384 },        /* 16 MiB */
};
#define CACHES (sizeof(caches) / sizeof(caches[0]))

static unsigned int at_most(unsigned int value, unsigned int max)
{
	return value < max ? value : max;
}

static unsigned int of_socket(const struct cpu_topology *t)
{
	return t->dies * t->cores * t->threads;
}

/*
 * Who shares a cache, less one: as many APIC ids as there can be in a core (levels 1 and 2) or in a
 * die (level 3); with gaps that is more than there are.
 */
static uint32_t sharing(const struct cpuid_maker *m, unsigned int level)
{
	unsigned int shift = level < 3 ? cpu_topology_core_shift(m->topology) :
					 cpu_topology_die_shift(m->topology);

	return at_most((1U << shift) - 1, 4095) << CACHE_SHARED_SHIFT;
}

static struct kvm_cpuid_entry2 describe_cache(uint32_t leaf, uint32_t subleaf)
{
	const struct cache *cache = &caches[subleaf];
	struct kvm_cpuid_entry2 e = cpuid_subleaf(leaf, subleaf);

	e.eax = cache->type | (uint32_t)cache->level << 5 | CACHE_SELF_INITIALIZING;
	e.ebx = (uint32_t)(cache->ways - 1) << 22 | (LINE_SIZE - 1);
	e.ecx = cache->sets - 1;
	return e;
}

/* Subleaf after subleaf until one has no type; the host's own or those above. */
static void put_caches(struct cpuid_maker *m, uint32_t leaf, uint32_t cores)
{
	const struct kvm_cpuid_entry2 *host = cpuid_find(m->host, leaf, 0);
	bool from_host = m->like_host && host && host->eax & 0x1f;
	struct kvm_cpuid_entry2 e;
	uint32_t i = 0;

	for (;; i++) {
		if (from_host) {
			const struct kvm_cpuid_entry2 *of = cpuid_find(m->host, leaf, i);

			if (!of || !(of->eax & 0x1f) || of->index != i)
				break;
			e = *of;
			e.eax &= 0x00003fff;
		} else if (i < CACHES) {
			e = describe_cache(leaf, i);
		} else {
			break;
		}
		e.eax |= sharing(m, e.eax >> 5 & 7) | cores << CACHE_CORES_SHIFT;
		cpuid_put(m, e);
	}
	cpuid_put(m, cpuid_subleaf(leaf, i));
}

static void put_4(struct cpuid_maker *m)
{
	unsigned int bits = cpu_topology_socket_shift(m->topology) -
			    cpu_topology_core_shift(m->topology);

	if (m->amd)
		cpuid_put(m, cpuid_subleaf(4, 0));
	else
		put_caches(m, 4, at_most((1U << bits) - 1, 63));
}

static void put_level(struct cpuid_maker *m, uint32_t leaf, uint32_t subleaf, unsigned int type,
		      unsigned int shift, unsigned int count)
{
	struct kvm_cpuid_entry2 e = cpuid_subleaf(leaf, subleaf);

	e.eax = shift;
	e.ebx = count;
	e.ecx = subleaf | type << 8;
	cpuid_put(m, e);
}

/* Leaf 0xB knows threads and cores only, so that all of a socket counts as cores. */
static void put_levels(struct cpuid_maker *m, uint32_t leaf)
{
	const struct cpu_topology *t = m->topology;
	uint32_t i = 0;

	put_level(m, leaf, i++, LEVEL_SMT, cpu_topology_core_shift(t), t->threads);
	if (leaf == 0x1f && t->dies > 1) {
		put_level(m, leaf, i++, LEVEL_CORE, cpu_topology_die_shift(t),
			  t->cores * t->threads);
		put_level(m, leaf, i++, LEVEL_DIE, cpu_topology_socket_shift(t), of_socket(t));
	} else {
		put_level(m, leaf, i++, LEVEL_CORE, cpu_topology_socket_shift(t), of_socket(t));
	}
	put_level(m, leaf, i, LEVEL_NONE, 0, 0);
}

static uint32_t kib(const struct cache *cache)
{
	return (uint32_t)cache->ways * cache->sets * LINE_SIZE >> 10;
}

/* AMD APM vol. 3, E.4.4: sizes, ways and line sizes of level 1. */
static void put_80000005(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = { .function = 0x80000005 };

	if (m->amd) {
		e.ecx = kib(&caches[0]) << 24 | (uint32_t)caches[0].ways << 16 | 1 << 8 | LINE_SIZE;
		e.edx = kib(&caches[1]) << 24 | (uint32_t)caches[1].ways << 16 | 1 << 8 | LINE_SIZE;
	}
	cpuid_put(m, e);
}

/* Likewise of levels 2 and 3, the latter in units of 512 KiB; 6 and 8 stand for 8 and 16 ways. */
static void put_80000006(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = { .function = 0x80000006 };

	e.ecx = kib(&caches[2]) << 16 | 6 << 12 | LINE_SIZE;
	if (m->amd) {
		e.ecx |= 1 << 8;
		e.edx = kib(&caches[3]) / 512 << 18 | 8 << 12 | 1 << 8 | LINE_SIZE;
	}
	cpuid_put(m, e);
}

/* What cpuid_put_processor() put there, and how many APIC ids a socket has, and threads. */
static void add_counts(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 *e = &m->table->entries[m->table->nent - 1];
	const struct cpu_topology *t = m->topology;

	if (m->amd && of_socket(t) > 1)
		e->ecx = cpu_topology_socket_shift(t) << 12 | at_most(of_socket(t) - 1, 255);
}

/* How many logical processors there are in a socket; Intel counts APIC ids. */
static void add_logical(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 *e = &m->table->entries[m->table->nent - 1];
	unsigned int count = of_socket(m->topology);

	if (!m->amd)
		count = 1U << cpu_topology_socket_shift(m->topology);
	e->ebx |= at_most(count, 255) << 16;
}

static bool topoext(const struct cpuid_maker *m)
{
	return m->amd && cpu_features_has(&m->cpu->on, CPU_TOPOEXT);
}

bool cpuid_put_topology(struct cpuid_maker *m, uint32_t leaf)
{
	switch (leaf) {
	case 1:
		cpuid_put_processor(m, leaf);
		add_logical(m);
		break;
	case 4:
		put_4(m);
		break;
	case 0xb:
		put_levels(m, leaf);
		break;
	case 0x1f:
		/* AMD's have none; dies are nodes there, in leaf 0x8000001E. */
		if (!m->amd)
			put_levels(m, leaf);
		break;
	case 0x80000005:
		if (m->like_host && cpuid_host_entry(m, leaf, 0).ecx)
			return false;
		put_80000005(m);
		break;
	case 0x80000006:
		if (m->like_host && (!m->amd || cpuid_host_entry(m, leaf, 0).edx))
			return false;
		put_80000006(m);
		break;
	case 0x80000008:
		cpuid_put_processor(m, leaf);
		add_counts(m);
		break;
	case 0x8000001d:
		if (topoext(m))
			put_caches(m, leaf, 0);
		else
			cpuid_put(m, cpuid_subleaf(leaf, 0));
		break;
	case 0x8000001e:
		cpuid_put(m, (struct kvm_cpuid_entry2) { .function = leaf });
		break;
	default:
		return false;
	}
	return true;
}

/* Number of its core in the die, threads of a core, number of its node, nodes of a socket. */
static void set_8000001e(struct kvm_cpuid_entry2 *e, const struct cpu_topology *t,
			 unsigned int vcpu)
{
	struct cpu_place place = cpu_topology_place(t, vcpu);
	unsigned int node = place.socket * t->dies + place.die;

	e->eax = cpu_topology_apic_id(t, vcpu);
	e->ebx = (place.core & 0xff) | (at_most(t->threads, 256) - 1) << 8;
	e->ecx = (node & 0xff) | (at_most(t->dies, 8) - 1) << 8;
}

void cpuid_set_vcpu(struct kvm_cpuid2 *table, const struct cpu *cpu,
		    const struct cpu_topology *topology, unsigned int vcpu)
{
	uint32_t apic_id = cpu_topology_apic_id(topology, vcpu);

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0x00ffffff) | apic_id << 24;
			break;
		case 0xb:
			e->edx = apic_id;
			break;
		case 0x1f:
			if (!cpu_is_amd(cpu))
				e->edx = apic_id;
			break;
		case 0x8000001e:
			if (cpu_is_amd(cpu) && cpu_features_has(&cpu->on, CPU_TOPOEXT))
				set_8000001e(e, topology, vcpu);
			break;
		default:
			break;
		}
	}
}
