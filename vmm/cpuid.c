/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Documentation/virt/kvm/x86/cpuid.rst; the timing leaf is VMware's, of which Linux knows. */
#define KVM_SIGNATURE    0x40000000
#define KVM_FEATURES     0x40000001
#define HYPERVISOR_TIMES 0x40000010

/* KVM's LAPIC timer counts at that rate, in kHz: APIC_BUS_CYCLE_NS is 1. */
#define APIC_BUS_KHZ     1000000

/* Beyond these there is nothing that could be asked for, whatever a level says. */
#define LEAF_MAX         0xff

/* More than the leaves that may come to what the host has. */
#define ROOM_FOR_MORE    192

void cpuid_put(struct cpuid_maker *m, struct kvm_cpuid_entry2 entry)
{
	if (m->table->nent < m->room)
		m->table->entries[m->table->nent++] = entry;
}

void cpuid_put_host(struct cpuid_maker *m, uint32_t leaf)
{
	for (uint32_t i = 0; i < m->host->nent; i++)
		if (m->host->entries[i].function == leaf)
			cpuid_put(m, m->host->entries[i]);
}

struct kvm_cpuid_entry2 cpuid_host_entry(const struct cpuid_maker *m, uint32_t leaf,
					 uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(m->host, leaf, subleaf);

	return e ? *e : (struct kvm_cpuid_entry2) { .function = leaf };
}

struct kvm_cpuid_entry2 cpuid_subleaf(uint32_t leaf, uint32_t subleaf)
{
	return (struct kvm_cpuid_entry2) {
		.function = leaf, .index = subleaf, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
	};
}

/*
 * Leaves that describe one feature: the host's words for it where the guest has the feature, else
 * none.  Others are passed on as they are to who sees the host's own processor.
 */
static void put_other(struct cpuid_maker *m, uint32_t leaf)
{
	static const struct {
		uint32_t leaf;
		uint16_t feature;
	} details[] = {
		{ 0x12, CPU_SGX }, { 0x14, CPU_INTEL_PT }, { 0x19, CPU_KL },
		{ 0x1c, CPU_ARCH_LBR }, { 0x1d, CPU_AMX_TILE }, { 0x1e, CPU_AMX_TILE },
		{ 0x24, CPU_AVX10 },
	};

	for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++) {
		if (details[i].leaf != leaf)
			continue;
		if (cpu_features_has(&m->cpu->on, details[i].feature))
			cpuid_put_host(m, leaf);
		return;
	}
	if (m->like_host)
		cpuid_put_host(m, leaf);
}

static void put_leaf(struct cpuid_maker *m, uint32_t leaf)
{
	if (leaf == 0xd)
		cpuid_put_xsave(m);
	else if (!cpuid_put_topology(m, leaf) && !cpuid_put_processor(m, leaf))
		put_other(m, leaf);
}

static bool tells_times(const struct cpu *cpu)
{
	return cpu->config.kvm && cpu->config.vmware_cpuid_freq &&
	       (cpu->config.tsc_frequency || cpu_features_has(&cpu->on, CPU_INVTSC));
}

static void put_kvm(struct cpuid_maker *m)
{
	const struct cpu *cpu = m->cpu;
	bool times = tells_times(cpu) && m->tsc_khz;
	struct kvm_cpuid_entry2 signature = {
		.function = KVM_SIGNATURE, .eax = times ? HYPERVISOR_TIMES : KVM_FEATURES,
	};

	if (!cpu->config.kvm)
		return;
	memcpy(&signature.ebx, "KVMK", 4);
	memcpy(&signature.ecx, "VMKV", 4);
	memcpy(&signature.edx, "M\0\0\0", 4);
	cpuid_put(m, signature);
	cpuid_put(m, (struct kvm_cpuid_entry2) {
		.function = KVM_FEATURES, .eax = cpu->on.word[CPU_WORD_40000001_EAX],
		.edx = cpu->on.word[CPU_WORD_40000001_EDX],
	});
	if (times)
		cpuid_put(m, (struct kvm_cpuid_entry2) {
			.function = HYPERVISOR_TIMES, .eax = m->tsc_khz, .ebx = APIC_BUS_KHZ,
		});
}

bool cpuid_wants_tsc_khz(const struct cpu *cpu)
{
	return tells_times(cpu) || (!cpu_is_amd(cpu) && cpu->level >= 0x15);
}

struct kvm_cpuid2 *cpuid_new(struct kvm *kvm, const struct cpu *cpu,
			     const struct cpu_topology *topology, uint32_t tsc_khz,
			     struct error *err)
{
	struct cpuid_maker m = {
		.cpu = cpu,
		.host = kvm_supported_cpuid(kvm, err),
		.topology = topology,
		.tsc_khz = tsc_khz,
		.amd = cpu_is_amd(cpu),
		.like_host = cpu->config.model->kind != CPU_MODEL_BASELINE,
		.level = cpu->level,
		.xlevel = cpu->xlevel,
	};

	if (!m.host)
		return NULL;
	m.room = m.host->nent + ROOM_FOR_MORE;
	m.table = calloc(1, sizeof(*m.table) + m.room * sizeof(m.table->entries[0]));
	if (!m.table) {
		error_errno(err, ENOMEM, "the CPUID table");
		return NULL;
	}
	/* Dies are told of in this leaf alone, and not by AMD. */
	if (topology->dies > 1 && !m.amd && !cpu->config.level && m.level < 0x1f)
		m.level = 0x1f;
	for (uint32_t leaf = 0; leaf <= m.level && leaf <= LEAF_MAX; leaf++)
		put_leaf(&m, leaf);
	put_kvm(&m);
	for (uint32_t leaf = 0; leaf <= LEAF_MAX && 0x80000000 + leaf <= m.xlevel; leaf++)
		put_leaf(&m, 0x80000000 + leaf);
	if (m.like_host)
		for (uint32_t leaf = 0xc0000000; leaf <= 0xc0000004; leaf++)
			cpuid_put_host(&m, leaf);
	cpuid_set_vcpu(m.table, cpu, topology, 0);
	return m.table;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t leaf,
					  uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}
