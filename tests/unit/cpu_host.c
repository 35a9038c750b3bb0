/* SPDX-License-Identifier: MIT */
#include "tests/unit/cpu_host.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "vmm/log.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX
#define E(...) { __VA_ARGS__, { 0 } }

static const struct kvm_cpuid_entry2 intel[] = {
	E(0x0, 0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69),
	E(0x1, 0, 0, 0x000806f8, 0x07800800, 0xfefa3203, 0x0f8bfbff),
	E(0x2, 0, KVM_CPUID_FLAG_STATEFUL_FUNC, 0x00feff01, 0xf0, 0, 0),
	E(0x4, 0, INDEXED, 0x7c004121, 0x02c0003f, 0x3f, 0),
	E(0x4, 1, INDEXED, 0x7c004122, 0x01c0003f, 0x3f, 0),
	E(0x4, 2, INDEXED, 0x7c004143, 0x03c0003f, 0x7ff, 0),
	E(0x4, 3, INDEXED, 0x7c0fc163, 0x0380003f, 0x1bfff, 4),
	E(0x4, 4, INDEXED, 0, 0, 0, 0),
	E(0x6, 0, 0, 4, 0, 0, 0),
	E(0x7, 0, INDEXED, 2, 0xf1bf07ab, 0x1b415f7e, 0xbfd04410),
	E(0x7, 1, INDEXED, 0x1c30, 0, 0, 0x00004000),
	E(0x7, 2, INDEXED, 0, 0, 0, 0x17),
	E(0xa, 0, 0, 0x07300802, 0, 0, 0x603),
	E(0xb, 0, INDEXED, 1, 2, 0x100, 7),
	E(0xb, 1, INDEXED, 7, 56, 0x201, 7),
	E(0xd, 0, INDEXED, 0x602e7, 0xa88, 0x2b00, 0),
	E(0xd, 1, INDEXED, 0x1f, 0x2b00, 0x1800, 0),
	E(0xd, 2, INDEXED, 0x100, 0x240, 0, 0),
	E(0xd, 5, INDEXED, 0x40, 0x440, 0, 0),
	E(0xd, 6, INDEXED, 0x200, 0x480, 0, 0),
	E(0xd, 7, INDEXED, 0x400, 0x680, 0, 0),
	E(0xd, 9, INDEXED, 0x8, 0xa80, 0, 0),
	E(0xd, 11, INDEXED, 0x10, 0, 1, 0),
	E(0xd, 12, INDEXED, 0x18, 0, 1, 0),
	E(0xd, 17, INDEXED, 0x40, 0xac0, 2, 0),
	E(0xd, 18, INDEXED, 0x2000, 0xb00, 6, 0),
	E(0x12, 0, INDEXED, 1, 0, 0, 0),
	E(0x14, 0, INDEXED, 1, 0xf, 7, 0),
	E(0x14, 1, INDEXED, 2, 0x3f1fff, 0, 0),
	E(0x15, 0, 0, 0, 0, 0, 0),
	E(0x16, 0, 0, 0, 0, 0, 0),
	E(0x1d, 0, INDEXED, 1, 0, 0, 0),
	E(0x1d, 1, INDEXED, 0x04002000, 0x00080040, 0x10, 0),
	E(0x1e, 0, INDEXED, 0, 0x4010, 0, 0),
	E(0x1f, 0, INDEXED, 1, 2, 0x100, 7),
	E(0x80000000, 0, 0, 0x80000008, 0, 0, 0),
	E(0x80000001, 0, 0, 0, 0, 0x121, 0x2c100800),
	E(0x80000006, 0, 0, 0, 0, 0x08007040, 0),
	E(0x80000007, 0, 0, 0, 0, 0, 0x100),
	E(0x80000008, 0, 0, 0x002e3934, 0x0100d000, 0, 0),
	E(0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
	E(0x40000001, 0, 0, 0x01007efb, 0, 0, 0),
};

static const struct kvm_cpuid_entry2 amd[] = {
	E(0x0, 0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65),
	E(0x1, 0, 0, 0x00a10f11, 0x0c800800, 0xf6fa3203, 0x178bfbff),
	E(0x6, 0, 0, 4, 0, 0, 0),
	E(0x7, 0, INDEXED, 1, 0xf1bf97a9, 0x00405fce, 0x10),
	E(0x7, 1, INDEXED, 0x20, 0, 0, 0),
	E(0xb, 0, INDEXED, 1, 2, 0x100, 3),
	E(0xd, 0, INDEXED, 0x2e7, 0x988, 0x988, 0),
	E(0xd, 1, INDEXED, 0xf, 0x358, 0x1800, 0),
	E(0xd, 2, INDEXED, 0x100, 0x240, 0, 0),
	E(0xd, 5, INDEXED, 0x40, 0x340, 0, 0),
	E(0xd, 6, INDEXED, 0x200, 0x380, 0, 0),
	E(0xd, 7, INDEXED, 0x400, 0x580, 0, 0),
	E(0xd, 9, INDEXED, 0x8, 0x980, 0, 0),
	E(0xd, 11, INDEXED, 0x10, 0, 1, 0),
	E(0xd, 12, INDEXED, 0x18, 0, 1, 0),
	E(0x80000000, 0, 0, 0x80000022, 0x68747541, 0x444d4163, 0x69746e65),
	E(0x80000001, 0, 0, 0x00a10f11, 0x40000000, 0x00c003f7, 0x2fd3fbff),
	E(0x80000005, 0, 0, 0xff48ff40, 0xff48ff40, 0x20080140, 0x20080140),
	E(0x80000006, 0, 0, 0x5c002200, 0x6c004200, 0x04006140, 0x01009140),
	E(0x80000007, 0, 0, 0, 0, 0, 0x100),
	E(0x80000008, 0, 0, 0x00003034, 0x9111f205, 0x701f, 0),
	E(0x8000000a, 0, 0, 1, 8, 0, 0x0119b4ff),
	E(0x8000001d, 0, INDEXED, 0x4121, 0x01c0003f, 0x3f, 0),
	E(0x8000001d, 1, INDEXED, 0x4122, 0x01c0003f, 0x3f, 0),
	E(0x8000001d, 2, INDEXED, 0x4143, 0x01c0003f, 0x7ff, 2),
	E(0x8000001d, 3, INDEXED, 0x3c163, 0x03c0003f, 0x7fff, 1),
	E(0x8000001d, 4, INDEXED, 0, 0, 0, 0),
	E(0x8000001e, 0, 0, 3, 0x101, 0, 0),
	E(0x8000001f, 0, 0, 1, 0x33, 0, 0),
	E(0x80000021, 0, 0, 0x45, 0, 0, 0),
	E(0x80000022, 0, 0, 1, 6, 0, 0),
	E(0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
	E(0x40000001, 0, 0, 0x01007efb, 0, 0, 0),
};

static const struct kvm_cpuid_entry2 emulated[] = {
	E(0x0, 0, 0, 7, 0, 0, 0),
	E(0x1, 0, 0, 0, 0, 1 << 22, 0),
	E(0x7, 0, INDEXED, 0, 0, 1 << 22, 0),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void cpu_host_intel(struct fake_kvm *fake)
{
	fake_kvm_set_cpuid(fake, intel, COUNT(intel));
	fake_kvm_set_emulated_cpuid(fake, emulated, COUNT(emulated));
}

void cpu_host_amd(struct fake_kvm *fake)
{
	fake_kvm_set_cpuid(fake, amd, COUNT(amd));
	fake_kvm_set_emulated_cpuid(fake, emulated, COUNT(emulated));
}

void cpu_host_intel_with(struct fake_kvm *fake, uint32_t leaf, uint32_t subleaf,
			 enum cpuid_reg reg, uint32_t value)
{
	struct kvm_cpuid_entry2 copy[COUNT(intel)];

	memcpy(copy, intel, sizeof(intel));
	for (size_t i = 0; i < COUNT(intel); i++)
		if (copy[i].function == leaf && copy[i].index == subleaf)
			*cpuid_reg(&copy[i], reg) = value;
	fake_kvm_set_cpuid(fake, copy, COUNT(copy));
}

static char kept[8192];

static void keep(enum log_level level, const char *line)
{
	size_t used = strlen(kept);

	(void)level;
	snprintf(kept + used, sizeof(kept) - used, "%s\n", line);
}

void cpu_log_keep(bool all)
{
	kept[0] = '\0';
	log_set_sink(keep, all ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING);
}

const char *cpu_logged(void)
{
	static char last[sizeof(kept)];

	memcpy(last, kept, sizeof(last));
	kept[0] = '\0';
	return last;
}
