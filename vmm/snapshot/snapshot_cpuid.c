/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/log.h"

#define HOST_VERSION 1

enum reg { EAX, EBX, ECX, EDX };
static const char *const reg_names[] = { "EAX", "EBX", "ECX", "EDX" };

/*
 * Registers of CPUID each bit of which is a feature: Intel SDM vol. 2A, CPUID; AMD APM vol. 3,
 * appendix E; Documentation/virt/kvm/x86/cpuid.rst.  `not_here` are bits that do not speak of the
 * host: the LAPIC's and the operating system's switches, and what our own table adds.
 */
static const struct {
	uint32_t leaf, subleaf;
	enum reg reg;
	uint32_t not_here;
} feature_words[] = {
	{ 0x1, 0, ECX, 1U << 31 | 1U << 27 | 1U << 3 }, /* hypervisor, OSXSAVE, MONITOR */
	{ 0x1, 0, EDX, 1U << 28 | 1U << 9 },            /* HTT, APIC */
	{ 0x6, 0, EAX, 0 },
	{ 0x7, 0, EBX, 0 },
	{ 0x7, 0, ECX, 1U << 4 },                       /* OSPKE */
	{ 0x7, 0, EDX, 0 },
	{ 0x7, 1, EAX, 0 },
	{ 0x7, 1, EBX, 0 },
	{ 0x7, 1, ECX, 0 },
	{ 0x7, 1, EDX, 0 },
	{ 0x7, 2, EDX, 0 },
	{ 0xd, 0, EAX, 0 },
	{ 0xd, 0, EDX, 0 },
	{ 0xd, 1, EAX, 0 },
	{ 0xd, 1, ECX, 0 },
	{ 0xd, 1, EDX, 0 },
	{ 0x40000001, 0, EAX, 0 },
	{ 0x80000001, 0, ECX, 0 },
	{ 0x80000001, 0, EDX, 1U << 9 },                /* APIC */
	{ 0x80000007, 0, EDX, 0 },
	{ 0x80000008, 0, EBX, 0 },
	{ 0x8000000a, 0, EDX, 0 },
	{ 0x80000021, 0, EAX, 0 },
	{ 0xc0000001, 0, EDX, 0 },
};

#define LEAF1_ECX_TSC_DEADLINE (1U << 24)

/* Names of the features that tell one generation of processors from the next. */
static const struct {
	uint32_t leaf;
	enum reg reg;
	uint8_t bit;
	const char *name;
} names[] = {
	{ 0x1, ECX, 0, "sse3" }, { 0x1, ECX, 5, "vmx" }, { 0x1, ECX, 9, "ssse3" },
	{ 0x1, ECX, 12, "fma" }, { 0x1, ECX, 13, "cx16" }, { 0x1, ECX, 17, "pcid" },
	{ 0x1, ECX, 19, "sse4.1" }, { 0x1, ECX, 20, "sse4.2" }, { 0x1, ECX, 21, "x2apic" },
	{ 0x1, ECX, 22, "movbe" }, { 0x1, ECX, 23, "popcnt" }, { 0x1, ECX, 24, "tsc-deadline" },
	{ 0x1, ECX, 25, "aes" }, { 0x1, ECX, 26, "xsave" }, { 0x1, ECX, 28, "avx" },
	{ 0x1, ECX, 29, "f16c" }, { 0x1, ECX, 30, "rdrand" },
	{ 0x7, EBX, 0, "fsgsbase" }, { 0x7, EBX, 1, "tsc-adjust" }, { 0x7, EBX, 3, "bmi1" },
	{ 0x7, EBX, 4, "hle" }, { 0x7, EBX, 5, "avx2" }, { 0x7, EBX, 7, "smep" },
	{ 0x7, EBX, 8, "bmi2" }, { 0x7, EBX, 9, "erms" }, { 0x7, EBX, 10, "invpcid" },
	{ 0x7, EBX, 11, "rtm" }, { 0x7, EBX, 16, "avx512f" }, { 0x7, EBX, 18, "rdseed" },
	{ 0x7, EBX, 19, "adx" }, { 0x7, EBX, 20, "smap" }, { 0x7, EBX, 29, "sha-ni" },
	{ 0x7, ECX, 2, "umip" }, { 0x7, ECX, 3, "pku" }, { 0x7, ECX, 7, "shstk" },
	{ 0x7, ECX, 16, "la57" }, { 0x7, ECX, 22, "rdpid" }, { 0x7, EDX, 20, "ibt" },
	{ 0x7, EDX, 24, "amx-tile" }, { 0x7, EDX, 26, "spec-ctrl" },
	{ 0xd, EAX, 3, "xsaves" },
	{ 0x80000001, ECX, 2, "svm" }, { 0x80000001, ECX, 5, "lzcnt" },
	{ 0x80000001, EDX, 20, "nx" }, { 0x80000001, EDX, 26, "1g-pages" },
	{ 0x80000001, EDX, 27, "rdtscp" }, { 0x80000001, EDX, 29, "lm" },
};

static const char *name_of(uint32_t leaf, uint32_t subleaf, enum reg reg, unsigned int bit)
{
	/* Of leaf 0xd the names are those of subleaf 1, of the others those of subleaf 0. */
	if (subleaf != (leaf == 0xd))
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].leaf == leaf && names[i].reg == reg && names[i].bit == bit)
			return names[i].name;
	return NULL;
}

static uint32_t word(const struct kvm_cpuid_entry2 *e, enum reg reg)
{
	switch (reg) {
	case EAX:
		return e->eax;
	case EBX:
		return e->ebx;
	case ECX:
		return e->ecx;
	default:
		return e->edx;
	}
}

/* The list of what is missing, as far as a line takes it. */
struct missing {
	unsigned int nr;
	size_t used;
	char text[360];
};

__attribute__((format(printf, 2, 3)))
static void add(struct missing *m, const char *fmt, ...)
{
	char one[64];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(one, sizeof(one), fmt, ap);
	va_end(ap);
	m->nr++;
	if (m->used + (size_t)len + 3 > sizeof(m->text))
		return;
	m->used += (size_t)sprintf(m->text + m->used, "%s%s", m->used ? ", " : "", one);
}

static void add_bits(struct missing *m, uint32_t leaf, uint32_t subleaf, enum reg reg,
		     uint32_t bits)
{
	for (unsigned int bit = 0; bit < 32; bit++) {
		const char *name = name_of(leaf, subleaf, reg, bit);

		if (!(bits >> bit & 1))
			continue;
		if (name)
			add(m, "%s", name);
		else if (subleaf)
			add(m, "0x%x.%u %s bit %u", leaf, subleaf, reg_names[reg], bit);
		else
			add(m, "0x%x %s bit %u", leaf, reg_names[reg], bit);
	}
}

/* Whether the leaves at 0x40000000 are KVM's ("KVMKVMKVM"): others have versions there. */
static bool has_kvm_leaves(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, 0x40000000, 0);

	return e && e->ebx == 0x4b4d564b && e->ecx == 0x564b4d56 && e->edx == 0x4d;
}

/* `own`: the table of a vCPU of this host, NULL where it is not asked. */
static void compare_words(struct missing *m, const struct kvm *kvm, const struct kvm_cpuid2 *own,
			  const struct kvm_cpuid2 *table)
{
	for (size_t i = 0; i < sizeof(feature_words) / sizeof(feature_words[0]); i++) {
		uint32_t leaf = feature_words[i].leaf, subleaf = feature_words[i].subleaf;
		enum reg reg = feature_words[i].reg;
		const struct kvm_cpuid_entry2 *guest = cpuid_find(table, leaf, subleaf);
		const struct kvm_cpuid_entry2 *host;
		uint32_t have;

		if (!guest || (leaf == 0x40000001 && !has_kvm_leaves(table)))
			continue;
		host = cpuid_find(kvm->supported_cpuid, leaf, subleaf);
		have = feature_words[i].not_here | (host ? word(host, reg) : 0);
		host = own ? cpuid_find(own, leaf, subleaf) : NULL;
		have |= host ? word(host, reg) : 0;
		if (leaf == 1 && reg == ECX && kvm->caps.tsc_deadline_timer)
			have |= LEAF1_ECX_TSC_DEADLINE;
		add_bits(m, leaf, subleaf, reg, word(guest, reg) & ~have);
	}
}

/* Physical addresses that the guest may form, and this processor may not. */
static void compare_addresses(struct missing *m, const struct kvm *kvm,
			      const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *guest = cpuid_find(table, 0x80000008, 0);
	const struct kvm_cpuid_entry2 *host = cpuid_find(kvm->supported_cpuid, 0x80000008, 0);

	if (guest && host && (guest->eax & 0xff) > (host->eax & 0xff))
		add(m, "physical addresses of %u bits instead of %u", guest->eax & 0xff,
		    host->eax & 0xff);
}

/*
 * What a vCPU of this host says that it has.  There are kernels whose vCPUs have more than
 * KVM_GET_SUPPORTED_CPUID says, so the first one is given that table and asked for its own.
 */
static const struct kvm_cpuid2 *table_of_vcpu(struct vm *vm, struct error *err)
{
	struct vcpu_state *state = &vm->vcpu[0].state;
	const struct kvm_cpuid2 *own = vcpu_state_cpuid(state, err);
	struct kvm_cpuid2 *table;
	int rc;

	if (!own || own->nent)
		return own;
	table = cpuid_new(vm->kvm, vm->nr_vcpus, err);
	if (!table)
		return NULL;
	rc = vcpu_state_cpuid_edit(state, table, err);
	free(table);
	if (rc < 0 || vcpu_state_after_init(state, err) < 0)
		return NULL;
	return vcpu_state_cpuid(state, err);
}

int snapshot_save_host(struct vm *vm, struct sections *sections, struct error *err)
{
	uint8_t id[KVM_HOST_ID_LEN];
	struct bytes_out *out;

	/* With that the guest may have features of another host, which this one lacks. */
	if (vm->config.force_cpuid || !kvm_host_id(vm->kvm, id))
		return 0;
	out = sections_add(sections, "host", HOST_VERSION, false, err);
	if (!out)
		return -1;
	bytes_put(out, id, sizeof(id));
	return 0;
}

int snapshot_same_host(const struct vm *vm, struct sections *sections, struct error *err)
{
	uint8_t id[KVM_HOST_ID_LEN], saved[KVM_HOST_ID_LEN];
	struct bytes_in in;
	int version = sections_claim(sections, "host", HOST_VERSION, &in, err);

	if (version <= 0)
		return version;
	bytes_get(&in, saved, sizeof(saved));
	if (bytes_in_end(&in, "section \"host\"", err) < 0)
		return -1;
	return kvm_host_id(vm->kvm, id) && !memcmp(id, saved, sizeof(id));
}

int snapshot_check_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *table, bool force,
			 struct error *err)
{
	const struct kvm *kvm = vcpu->vm->kvm;
	struct missing missing = { .nr = 0 };
	unsigned int left;

	if (!kvm_supported_cpuid(vcpu->vm->kvm, err))
		return -1;
	compare_words(&missing, kvm, NULL, table);
	if (missing.nr) {
		const struct kvm_cpuid2 *own = table_of_vcpu(vcpu->vm, err);

		if (!own)
			return -1;
		memset(&missing, 0, sizeof(missing));
		compare_words(&missing, kvm, own, table);
	}
	compare_addresses(&missing, kvm, table);
	if (!missing.nr)
		return 0;
	left = 1;
	for (const char *c = missing.text; *c; c++)
		left += *c == ',';
	left = missing.nr - left;
	if (force) {
		log_warning("vCPU %d: the guest saw processor features that this host lacks: %s%s",
			    vcpu->index, missing.text, left ? ", ..." : "");
		return 0;
	}
	if (left)
		return error_set(err, ENOTSUP, "the guest saw processor features that this host "
				 "lacks: %s and %u more", missing.text, left);
	return error_set(err, ENOTSUP, "the guest saw processor features that this host lacks: %s",
			 missing.text);
}
