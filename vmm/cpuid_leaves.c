/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid_internal.h"

#include <string.h>

/* Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E. */
#define LEAF1_EBX_BRAND     0x000000ff
#define LEAF1_EBX_CLFLUSH   8                   /* quadwords in a line: 64 bytes */

/* What KVM's LAPIC timer counts, in Hz: guests take the crystal for it. */
#define CRYSTAL_HZ          1000000000
#define CRYSTAL_KHZ         (CRYSTAL_HZ / 1000)

#define LINEAR_BITS         48
#define LINEAR_BITS_LA57    57

#define SVM_REVISION        1
#define SVM_ASIDS           8

/* The words of a leaf, in their registers; what is no word stays. */
static void fill_words(const struct cpuid_maker *m, struct kvm_cpuid_entry2 *e)
{
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
		if (cpu_words[i].leaf == e->function && cpu_words[i].subleaf == e->index)
			*cpuid_reg(e, cpu_words[i].reg) = m->cpu->on.word[i];
}

/* The vendor's name in EBX, EDX, ECX. */
static void fill_vendor(const struct cpuid_maker *m, struct kvm_cpuid_entry2 *e)
{
	memcpy(&e->ebx, m->cpu->vendor, 4);
	memcpy(&e->edx, m->cpu->vendor + 4, 4);
	memcpy(&e->ecx, m->cpu->vendor + 8, 4);
}

static uint32_t signature(const struct cpu *cpu)
{
	uint32_t family = cpu->family > 0xf ? 0xf00 | (cpu->family - 0xf) << 20 :
					      cpu->family << 8;

	return family | (cpu->model_number & 0xf) << 4 | (cpu->model_number >> 4) << 16 |
	       cpu->stepping;
}

/* A bit that the machine's topology decides, unless somebody has. */
static bool several(const struct cpuid_maker *m, enum cpu_feature feature)
{
	if (cpu_features_has(&m->cpu->config.minus, feature))
		return false;
	return m->topology->dies * m->topology->cores * m->topology->threads > 1 ||
	       cpu_features_has(&m->cpu->on, feature);
}

static void put_1(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = cpuid_host_entry(m, 1, 0);

	e.eax = signature(m->cpu);
	e.ebx = m->like_host ? e.ebx & LEAF1_EBX_BRAND : 0;
	e.ebx |= LEAF1_EBX_CLFLUSH << 8;
	fill_words(m, &e);
	if (several(m, CPU_HT))
		e.edx |= cpu_feature_infos[CPU_HT].bits;
	cpuid_put(m, e);
}

/* Cache and TLB descriptors: one byte that says "see leaf 4". */
static void put_2(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = { .function = 2, .eax = 0x0000ff01 };

	if (m->amd)
		e.eax = 0;
	else if (m->like_host && cpuid_find(m->host, 2, 0)) {
		cpuid_put_host(m, 2);
		return;
	}
	cpuid_put(m, e);
}

/* Subleaf 0 says how many there are; the last is the last with something in it. */
static void put_7(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 sub[3];
	uint32_t last = 0;

	for (uint32_t i = 0; i < 3; i++) {
		sub[i] = cpuid_subleaf(7, i);
		if (i && m->like_host)
			sub[i] = cpuid_host_entry(m, 7, i);
		sub[i].index = i;
		sub[i].flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		fill_words(m, &sub[i]);
		if (sub[i].eax || sub[i].ebx || sub[i].ecx || sub[i].edx)
			last = i;
	}
	sub[0].eax = last;
	for (uint32_t i = 0; i <= last; i++)
		cpuid_put(m, sub[i]);
}

static void put_if(struct cpuid_maker *m, uint32_t leaf, bool there)
{
	if (there)
		cpuid_put_host(m, leaf);
	else
		cpuid_put(m, (struct kvm_cpuid_entry2) { .function = leaf });
}

/*
 * numerator / denominator as near to khz / CRYSTAL_KHZ as it gets while the guest can multiply the
 * crystal in kHz by the numerator in 32 bits, as Linux does: the convergents of the continued
 * fraction.
 */
static void tsc_ratio(uint32_t khz, uint32_t *numerator, uint32_t *denominator)
{
	const uint64_t max = UINT32_MAX / CRYSTAL_KHZ;
	uint64_t n0 = 0, d0 = 1, n1 = 1, d1 = 0, a = khz, b = CRYSTAL_KHZ;

	while (b) {
		uint64_t times = a / b, rest = a % b, n = times * n1 + n0, d = times * d1 + d0;

		/* The first has to be taken in any case. */
		if (n > max && d1)
			break;
		n0 = n1;
		d0 = d1;
		n1 = n;
		d1 = d;
		a = b;
		b = rest;
	}
	*numerator = (uint32_t)n1;
	*denominator = (uint32_t)d1;
}

static void put_15(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = { .function = 0x15, .ecx = CRYSTAL_HZ };

	if (m->amd || !m->tsc_khz) {
		put_if(m, 0x15, m->like_host && !m->amd && !m->cpu->config.tsc_frequency);
		return;
	}
	tsc_ratio(m->tsc_khz, &e.ebx, &e.eax);
	cpuid_put(m, e);
}

static void put_80000001(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = m->like_host ? cpuid_host_entry(m, 0x80000001, 0) :
				    (struct kvm_cpuid_entry2) { .function = 0x80000001 };

	e.eax = 0;
	fill_words(m, &e);
	if (m->amd) {
		e.eax = signature(m->cpu);
		e.edx |= m->cpu->on.word[CPU_WORD_1_EDX] & CPU_AMD_REPEATED;
		if (several(m, CPU_CMP_LEGACY))
			e.ecx |= cpu_feature_infos[CPU_CMP_LEGACY].bits;
	}
	cpuid_put(m, e);
}

static void put_name(struct cpuid_maker *m, uint32_t leaf)
{
	struct kvm_cpuid_entry2 e = { .function = leaf };
	char name[CPU_MODEL_ID_LEN] = { 0 };
	const char *part = name + (leaf - 0x80000002) * 16;

	memcpy(name, m->cpu->model_id, strlen(m->cpu->model_id));
	memcpy(&e.eax, part, 4);
	memcpy(&e.ebx, part + 4, 4);
	memcpy(&e.ecx, part + 8, 4);
	memcpy(&e.edx, part + 12, 4);
	cpuid_put(m, e);
}

static void put_80000008(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 host = cpuid_host_entry(m, 0x80000008, 0);
	struct kvm_cpuid_entry2 e = { .function = 0x80000008 };
	bool la57 = cpu_features_has(&m->cpu->on, CPU_LA57);

	e.eax = m->cpu->phys_bits | (la57 ? LINEAR_BITS_LA57 : LINEAR_BITS) << 8;
	/* Bits 16 to 23: how many of them a guest can map; see the same leaf in KVM's cpuid.c. */
	if (m->like_host && (host.eax & 0xff) == m->cpu->phys_bits)
		e.eax |= host.eax & 0x00ff0000;
	fill_words(m, &e);
	cpuid_put(m, e);
}

static void put_8000000a(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 e = { .function = 0x8000000a };

	if (cpu_features_has(&m->cpu->on, CPU_SVM)) {
		e = cpuid_host_entry(m, 0x8000000a, 0);
		e.eax = e.eax ? e.eax : SVM_REVISION;
		e.ebx = e.ebx ? e.ebx : SVM_ASIDS;
		fill_words(m, &e);
	}
	cpuid_put(m, e);
}

/* A leaf whose words are ours, and the rest the host's to who sees the host's own processor. */
static void put_words(struct cpuid_maker *m, uint32_t leaf)
{
	struct kvm_cpuid_entry2 e = m->like_host ? cpuid_host_entry(m, leaf, 0) :
				    (struct kvm_cpuid_entry2) { .function = leaf };

	fill_words(m, &e);
	cpuid_put(m, e);
}

bool cpuid_put_processor(struct cpuid_maker *m, uint32_t leaf)
{
	struct kvm_cpuid_entry2 e = { .function = leaf };

	switch (leaf) {
	case 0:
		e.eax = m->level;
		fill_vendor(m, &e);
		cpuid_put(m, e);
		break;
	case 1:
		put_1(m);
		break;
	case 2:
		put_2(m);
		break;
	case 5:
		put_if(m, leaf, cpu_features_has(&m->cpu->on, CPU_MONITOR));
		break;
	case 6:
	case 0x80000007:
	case 0x80000021:
		put_words(m, leaf);
		break;
	case 7:
		put_7(m);
		break;
	case 0xa:
		put_if(m, leaf, m->cpu->pmu && !m->amd);
		break;
	case 0x15:
		put_15(m);
		break;
	case 0x80000000:
		e.eax = m->xlevel;
		if (m->amd)
			fill_vendor(m, &e);
		cpuid_put(m, e);
		break;
	case 0x80000001:
		put_80000001(m);
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		put_name(m, leaf);
		break;
	case 0x80000008:
		put_80000008(m);
		break;
	case 0x8000000a:
		put_8000000a(m);
		break;
	case 0x80000022:
		put_if(m, leaf, m->cpu->pmu && m->amd && m->like_host);
		break;
	/* Encrypted memory, which no machine of ours has; the host's own topology. */
	case 0x8000001f:
	case 0x80000026:
		cpuid_put(m, e);
		break;
	default:
		return false;
	}
	return true;
}
