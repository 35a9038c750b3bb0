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

/*
 * Bits that do not speak of the host: the LAPIC's and the operating system's switches, and what is
 * told a second time.
 */
static const struct {
	enum cpu_word word;
	uint32_t bits;
} not_here[] = {
	{ CPU_WORD_1_ECX, 1U << 27 | 1U << 3 },         /* OSXSAVE, MONITOR */
	{ CPU_WORD_1_EDX, 1U << 9 },                    /* APIC */
	{ CPU_WORD_7_0_ECX, 1U << 4 },                  /* OSPKE */
	{ CPU_WORD_80000001_EDX, CPU_AMD_REPEATED },
};

/* Registers each bit of which is something to have or not, though none has a name of its own. */
static const struct {
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
} more_words[] = {
	{ 0x7, 1, CPUID_REG_EBX }, { 0x7, 1, CPUID_REG_ECX }, { 0xd, 0, CPUID_REG_EAX },
	{ 0xd, 0, CPUID_REG_EDX }, { 0xd, 1, CPUID_REG_ECX }, { 0xd, 1, CPUID_REG_EDX },
	{ 0xc0000001, 0, CPUID_REG_EDX },
};

struct missing {
	struct cpu_features features;
	unsigned int nr_others;
	size_t used;
	char others[160];               /* the first of them, each with a comma in front */
};

__attribute__((format(printf, 2, 3)))
static void add(struct missing *m, const char *fmt, ...)
{
	size_t room = sizeof(m->others) - m->used;
	va_list ap;
	int len;

	m->nr_others++;
	va_start(ap, fmt);
	len = vsnprintf(m->others + m->used, room, fmt, ap);
	va_end(ap);
	if ((size_t)len < room)
		m->used += (size_t)len;
	else
		m->others[m->used] = '\0';
}

static uint32_t word(const struct kvm_cpuid2 *table, uint32_t leaf, uint32_t subleaf,
		     enum cpuid_reg reg)
{
	const struct kvm_cpuid_entry2 *e = table ? cpuid_find(table, leaf, subleaf) : NULL;

	return e ? cpuid_reg_value(e, reg) : 0;
}

/* Whether the leaves at 0x40000000 are KVM's ("KVMKVMKVM"): others have versions there. */
static bool has_kvm_leaves(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, 0x40000000, 0);

	return e && e->ebx == 0x4b4d564b && e->ecx == 0x564b4d56 && e->edx == 0x4d;
}

/* `own`: the table of a vCPU of this host, NULL where it is not asked. */
static void compare_words(struct missing *m, const struct kvm *kvm,
			  const struct cpu_features *host, const struct kvm_cpuid2 *own,
			  const struct kvm_cpuid2 *table)
{
	struct cpu_features more = { .word = { 0 } };

	memset(m, 0, sizeof(*m));
	cpu_features_of_table(&m->features, table);
	if (!has_kvm_leaves(table))
		m->features.word[CPU_WORD_40000001_EAX] = m->features.word[CPU_WORD_40000001_EDX] = 0;
	if (own)
		cpu_features_of_table(&more, own);
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
		m->features.word[i] &= ~(host->word[i] | more.word[i]);
	for (size_t i = 0; i < sizeof(not_here) / sizeof(not_here[0]); i++)
		m->features.word[not_here[i].word] &= ~not_here[i].bits;
	for (size_t i = 0; i < sizeof(more_words) / sizeof(more_words[0]); i++) {
		uint32_t leaf = more_words[i].leaf, subleaf = more_words[i].subleaf;
		enum cpuid_reg reg = more_words[i].reg;
		uint32_t bits = word(table, leaf, subleaf, reg) &
				~word(kvm->supported_cpuid, leaf, subleaf, reg) &
				~word(own, leaf, subleaf, reg);

		for (unsigned int bit = 0; bit < 32; bit++)
			if (bits >> bit & 1)
				add(m, ", 0x%x.%u %s bit %u", leaf, subleaf, cpuid_reg_name(reg),
				    bit);
	}
}

static bool is_missing(const struct missing *m)
{
	return m->nr_others || !cpu_features_empty(&m->features);
}

/* Physical addresses that the guest may form, and this processor may not. */
static void compare_addresses(struct missing *m, const struct kvm *kvm,
			      const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *guest = cpuid_find(table, 0x80000008, 0);
	const struct kvm_cpuid_entry2 *host = cpuid_find(kvm->supported_cpuid, 0x80000008, 0);

	if (guest && host && (guest->eax & 0xff) > (host->eax & 0xff))
		add(m, ", physical addresses of %u bits instead of %u", guest->eax & 0xff,
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
	struct cpu_config config;
	struct kvm_cpuid2 *table;
	struct cpu cpu;
	int rc;

	if (!own || own->nent)
		return own;
	if (cpu_config_init(&config, "host", err) < 0 ||
	    cpu_resolve(&config, vm->kvm, &cpu, err) < 0)
		return NULL;
	table = cpuid_new(vm->kvm, &cpu, &vm->topology, 0, err);
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
	struct kvm *kvm = vcpu->vm->kvm;
	struct cpu_features host;
	struct missing missing;
	char text[280];

	if (cpu_host_features(kvm, true, &host, err) < 0)
		return -1;
	compare_words(&missing, kvm, &host, NULL, table);
	if (is_missing(&missing)) {
		const struct kvm_cpuid2 *own = table_of_vcpu(vcpu->vm, err);

		if (!own)
			return -1;
		compare_words(&missing, kvm, &host, own, table);
	}
	compare_addresses(&missing, kvm, table);
	if (!is_missing(&missing))
		return 0;
	cpu_features_text(&missing.features, text, sizeof(text));
	if (force) {
		log_warning("vCPU %d: the guest saw processor features that this host lacks: %s%s",
			    vcpu->index, text, *text ? missing.others : missing.others + 2);
		return 0;
	}
	return error_set(err, ENOTSUP, "the guest saw processor features that this host lacks: "
			 "%s%s", text, *text ? missing.others : missing.others + 2);
}
