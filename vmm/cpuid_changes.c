/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid.h"

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
	unsigned int unexpected;                /* registers, and entries as a whole */
	struct cpu_features on, off;            /* unexpectedly */
};

static void note(struct changes *c, const struct kvm_cpuid_entry2 *e, uint32_t what,
		 uint32_t difference, bool expected)
{
	const uint32_t part[] = { e->function, e->index, what, difference };

	c->sum.nr++;
	c->unexpected += !expected;
	/* FNV-1a. */
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		c->sum.hash = (c->sum.hash ^ part[i]) * 0x100000001b3ULL;
}

static void log_register(const struct changes *c, const struct kvm_cpuid_entry2 *e,
			 enum cpuid_reg reg, enum cpu_word word, uint32_t from, uint32_t to)
{
	struct cpu_features on = { .word = { 0 } }, off = { .word = { 0 } };
	char names_on[160] = "", names_off[160] = "";

	if (word < CPU_WORD_COUNT) {
		on.word[word] = to & ~from;
		off.word[word] = from & ~to;
		cpu_features_text(&on, names_on, sizeof(names_on));
		cpu_features_text(&off, names_off, sizeof(names_off));
	}
	log_info("vCPU %u: KVM has changed CPUID 0x%x.%u %s from 0x%x to 0x%x%s%s%s%s", c->vcpu,
		 e->function, e->index, cpuid_reg_name(reg), from, to,
		 *names_on ? "; on: " : "", names_on, *names_off ? "; off: " : "", names_off);
}

static void compare_register(struct changes *c, const struct kvm_cpuid_entry2 *e,
			     enum cpuid_reg reg, uint32_t from, uint32_t to)
{
	uint32_t unexpected = (from ^ to) & ~maintained_bits(e->function, e->index, reg);
	enum cpu_word word = cpu_word_find(e->function, e->index, reg);

	note(c, e, reg, from ^ to, !unexpected);
	if (word < CPU_WORD_COUNT) {
		c->on.word[word] |= to & ~from & unexpected;
		c->off.word[word] |= from & ~to & unexpected;
	}
	if (!c->quiet)
		log_register(c, e, reg, word, from, to);
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

/* What is the matter with an entry as a whole: numbers behind those of the registers. */
enum { DROPPED = 4, ADDED, FLAGS };

static void compare_whole(struct changes *c, const struct kvm_cpuid_entry2 *e, uint32_t what,
			  uint32_t difference)
{
	static const char *const verb[] = { "dropped", "added", "changed the flags of" };

	note(c, e, what, difference, false);
	if (!c->quiet)
		log_info("vCPU %u: KVM has %s CPUID 0x%x.%u", c->vcpu, verb[what - DROPPED],
			 e->function, e->index);
}

static void compare(struct changes *c, const struct kvm_cpuid2 *set, const struct kvm_cpuid2 *now)
{
	for (uint32_t i = 0; i < set->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &set->entries[i], *is = same_entry(now, i, e);

		if (!is) {
			compare_whole(c, e, DROPPED, 0);
			continue;
		}
		for (enum cpuid_reg reg = CPUID_REG_EAX; reg <= CPUID_REG_EDX; reg++) {
			uint32_t from = cpuid_reg_value(e, reg), to = cpuid_reg_value(is, reg);

			if (from != to)
				compare_register(c, e, reg, from, to);
		}
		if (is->flags != e->flags)
			compare_whole(c, e, FLAGS, is->flags ^ e->flags);
	}
	for (uint32_t i = 0; i < now->nent; i++)
		if (!same_entry(set, i, &now->entries[i]))
			compare_whole(c, &now->entries[i], ADDED, 0);
}

static void log_summary(const struct changes *c, enum log_level level)
{
	char on[200], off[200];

	cpu_features_text(&c->on, on, sizeof(on));
	cpu_features_text(&c->off, off, sizeof(off));
	log_line(level, "vCPU %u: KVM has changed CPUID in %u places%s%s%s%s", c->vcpu,
		 c->unexpected, *on ? "; on, though not asked for: " : "", on,
		 *off ? "; off, though asked for: " : "", off);
}

void cpuid_log_changes(unsigned int vcpu, const struct kvm_cpuid2 *set,
		       const struct kvm_cpuid2 *now, enum log_level level,
		       struct cpuid_changes *told)
{
	struct changes c = { .vcpu = vcpu, .quiet = true };

	compare(&c, set, now);
	if (!c.sum.nr || (told && c.sum.nr == told->nr && c.sum.hash == told->hash))
		return;
	if (told)
		*told = c.sum;
	if (c.unexpected)
		log_summary(&c, level);
	c.quiet = false;
	compare(&c, set, now);
}
