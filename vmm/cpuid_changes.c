/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid.h"

#include <stdio.h>

#include "vmm/log.h"

/*
 * Bits that KVM maintains itself, whatever it is given (kvm_update_cpuid_runtime() and its likes in
 * arch/x86/kvm/cpuid.c): switches of the guest's, its APIC, sizes for what XCR0 has on, PV features
 * that go with how the guest halts.
 */
static const struct {
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	uint32_t bits;
} maintained[] = {
	{ 0x1, 0, CPUID_REG_ECX, 1U << 27 | 1U << 24 | 1U << 3 }, /* OSXSAVE, TSC deadline, MONITOR */
	{ 0x1, 0, CPUID_REG_EDX, 1U << 9 },             /* APIC */
	{ 0x7, 0, CPUID_REG_ECX, 1U << 4 },             /* OSPKE */
	{ 0xd, 0, CPUID_REG_EBX, ~0U },
	{ 0xd, 1, CPUID_REG_EBX, ~0U },
	{ 0x40000001, 0, CPUID_REG_EAX, 1U << 7 },      /* kvm-pv-unhalt */
	{ 0x80000001, 0, CPUID_REG_EDX, 1U << 9 },      /* APIC, again */
};

static uint32_t maintained_bits(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
	for (size_t i = 0; i < sizeof(maintained) / sizeof(maintained[0]); i++)
		if (maintained[i].leaf == leaf && maintained[i].subleaf == subleaf &&
		    maintained[i].reg == reg)
			return maintained[i].bits;
	return 0;
}

struct changes {
	unsigned int vcpu;
	bool quiet;                             /* only count */
	struct cpuid_changes sum;
};

static void note(struct changes *c, uint32_t leaf, uint32_t subleaf, uint32_t what, uint32_t from,
		 uint32_t to)
{
	const uint32_t part[] = { leaf, subleaf, what, from ^ to };

	c->sum.nr++;
	/* FNV-1a. */
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		c->sum.hash = (c->sum.hash ^ part[i]) * 0x100000001b3ULL;
}

static void log_register(struct changes *c, const struct kvm_cpuid_entry2 *e, enum cpuid_reg reg,
			 uint32_t from, uint32_t to)
{
	enum cpu_word word = cpu_word_find(e->function, e->index, reg);
	uint32_t unexpected = (from ^ to) & ~maintained_bits(e->function, e->index, reg);
	enum log_level level = unexpected ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
	struct cpu_features on = { .word = { 0 } }, off = { .word = { 0 } };
	char names_on[160] = "", names_off[160] = "";

	note(c, e->function, e->index, reg, from, to);
	if (c->quiet)
		return;
	if (word < CPU_WORD_COUNT) {
		on.word[word] = to & ~from;
		off.word[word] = from & ~to;
		cpu_features_text(&on, names_on, sizeof(names_on));
		cpu_features_text(&off, names_off, sizeof(names_off));
	}
	log_line(level, "vCPU %u: KVM has changed CPUID 0x%x.%u %s from 0x%x to 0x%x%s%s%s%s", c->vcpu,
		 e->function, e->index, cpuid_reg_name(reg), from, to,
		 *names_on ? "; on: " : "", names_on, *names_off ? "; off: " : "", names_off);
}

static const struct kvm_cpuid_entry2 *same_entry(const struct kvm_cpuid2 *table, uint32_t hint,
						 const struct kvm_cpuid_entry2 *e)
{
	/* Almost always it is at the same place. */
	if (hint < table->nent && table->entries[hint].function == e->function &&
	    table->entries[hint].index == e->index)
		return &table->entries[hint];
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == e->function &&
		    table->entries[i].index == e->index)
			return &table->entries[i];
	return NULL;
}

/* Entries of `set` against those of `now`. */
static void compare(struct changes *c, const struct kvm_cpuid2 *set, const struct kvm_cpuid2 *now)
{
	for (uint32_t i = 0; i < set->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &set->entries[i], *is = same_entry(now, i, e);

		if (!is) {
			note(c, e->function, e->index, 8, 0, 1);
			if (!c->quiet)
				log_warning("vCPU %u: KVM has dropped CPUID 0x%x.%u", c->vcpu,
					    e->function, e->index);
			continue;
		}
		for (enum cpuid_reg reg = CPUID_REG_EAX; reg <= CPUID_REG_EDX; reg++) {
			uint32_t from = cpuid_reg_value(e, reg), to = cpuid_reg_value(is, reg);

			if (from != to)
				log_register(c, e, reg, from, to);
		}
		if (is->flags != e->flags) {
			note(c, e->function, e->index, 9, e->flags, is->flags);
			if (!c->quiet)
				log_warning("vCPU %u: KVM has changed the flags of CPUID 0x%x.%u "
					    "from 0x%x to 0x%x", c->vcpu, e->function, e->index,
					    e->flags, is->flags);
		}
	}
	for (uint32_t i = 0; i < now->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &now->entries[i];

		if (same_entry(set, i, e))
			continue;
		note(c, e->function, e->index, 10, 0, 1);
		if (!c->quiet)
			log_warning("vCPU %u: KVM has added CPUID 0x%x.%u", c->vcpu, e->function,
				    e->index);
	}
}

void cpuid_log_changes(unsigned int vcpu, const struct kvm_cpuid2 *set,
		       const struct kvm_cpuid2 *now, struct cpuid_changes *told)
{
	struct changes c = { .vcpu = vcpu, .quiet = true };

	compare(&c, set, now);
	if (!c.sum.nr || (told && c.sum.nr == told->nr && c.sum.hash == told->hash))
		return;
	if (told)
		*told = c.sum;
	c.quiet = false;
	compare(&c, set, now);
}
