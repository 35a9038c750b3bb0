/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid_internal.h"

/*
 * Leaf 0xD: the components of the XSAVE area, their places and sizes.  Intel SDM vol. 1, 13.4 and
 * vol. 2A, CPUID.  What a component is, and where, is the hardware's to say; which of them there are
 * follows from the features.
 */
#define LEGACY_AREA     576             /* x87 and SSE, and the header: 13.4.1, 13.4.2 */
#define ALWAYS          0x3ULL          /* x87, SSE */

static bool either(const struct cpuid_maker *m, enum cpu_feature a, enum cpu_feature b)
{
	return cpu_features_has(&m->cpu->on, a) || cpu_features_has(&m->cpu->on, b);
}

static bool component_on(const struct cpuid_maker *m, unsigned int component)
{
	switch (component) {
	case 0:
	case 1:
		return true;
	case 2:
		return cpu_features_has(&m->cpu->on, CPU_AVX);
	case 3:
	case 4:
		return cpu_features_has(&m->cpu->on, CPU_MPX);
	case 5:
	case 6:
	case 7:
		return either(m, CPU_AVX512F, CPU_AVX10);
	case 8:
		return cpu_features_has(&m->cpu->on, CPU_INTEL_PT);
	case 9:
		return cpu_features_has(&m->cpu->on, CPU_PKU);
	case 10:
		return cpu_features_has(&m->cpu->on, CPU_ENQCMD);
	case 11:
	case 12:
		return either(m, CPU_SHSTK, CPU_IBT);
	case 14:
		return cpu_features_has(&m->cpu->on, CPU_UINTR);
	case 15:
		return cpu_features_has(&m->cpu->on, CPU_ARCH_LBR);
	case 17:
	case 18:
		return cpu_features_has(&m->cpu->on, CPU_AMX_TILE);
	case 62:
		return cpu_features_has(&m->cpu->on, CPU_LWP);
	default:
		return m->like_host;
	}
}

static uint64_t components(const struct cpuid_maker *m, uint32_t low, uint32_t high)
{
	uint64_t mask = (uint64_t)high << 32 | low;

	for (unsigned int i = 0; i < 64; i++)
		if (mask >> i & 1 && !component_on(m, i))
			mask &= ~(1ULL << i);
	return mask;
}

/* The end of the last component in the standard format, where each of XCR0's has its place. */
static uint32_t standard_size(const struct cpuid_maker *m, uint64_t mask)
{
	uint32_t size = LEGACY_AREA;

	for (unsigned int i = 2; i < 63; i++) {
		struct kvm_cpuid_entry2 e = cpuid_host_entry(m, 0xd, i);

		if (mask >> i & 1 && e.ebx + e.eax > size)
			size = e.ebx + e.eax;
	}
	return size;
}

void cpuid_put_xsave(struct cpuid_maker *m)
{
	struct kvm_cpuid_entry2 main = cpuid_host_entry(m, 0xd, 0);
	struct kvm_cpuid_entry2 more = cpuid_host_entry(m, 0xd, 1);
	bool on = cpu_features_has(&m->cpu->on, CPU_XSAVE) && cpuid_find(m->host, 0xd, 0);
	bool compacted = either(m, CPU_XSAVEC, CPU_XSAVES);
	uint64_t user = on ? components(m, main.eax, main.edx) | ALWAYS : 0;
	uint64_t supervisor = 0;

	if (on && cpu_features_has(&m->cpu->on, CPU_XSAVES))
		supervisor = components(m, more.ecx, more.edx);
	main = cpuid_subleaf(0xd, 0);
	if (!on) {
		cpuid_put(m, main);
		return;
	}
	main.eax = (uint32_t)user;
	main.edx = (uint32_t)(user >> 32);
	/* EBX is for what XCR0 has on, which is x87 now; KVM keeps it up to date. */
	main.ebx = LEGACY_AREA;
	main.ecx = standard_size(m, user);
	cpuid_put(m, main);

	more = cpuid_subleaf(0xd, 1);
	more.eax = m->cpu->on.word[CPU_WORD_D_1_EAX];
	/* The same of the compacted format, and of XCR0 and IA32_XSS. */
	more.ebx = compacted ? LEGACY_AREA : 0;
	more.ecx = (uint32_t)supervisor;
	more.edx = (uint32_t)(supervisor >> 32);
	cpuid_put(m, more);

	for (unsigned int i = 2; i < 63; i++)
		if ((user | supervisor) >> i & 1 && cpuid_find(m->host, 0xd, i))
			cpuid_put(m, cpuid_host_entry(m, 0xd, i));
}
