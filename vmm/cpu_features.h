/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPU_FEATURES_H
#define VMM_CPU_FEATURES_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/cpu_feature_table.h"

/*
 * What CPUID says a processor can do, bit by bit, under the names that QEMU has for the bits.  All
 * of this is constant data; any thread.
 */

enum cpuid_reg { CPUID_REG_EAX, CPUID_REG_EBX, CPUID_REG_ECX, CPUID_REG_EDX };

/* "EBX" */
const char *cpuid_reg_name(enum cpuid_reg reg);
/* One register of an entry. */
uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg);
uint32_t cpuid_reg_value(const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg);

/* A register whose bits are features: CPU_WORD_7_0_EBX. */
enum cpu_word {
#define X(id, leaf, subleaf, reg) CPU_WORD_##id,
	CPU_WORD_TABLE(X)
#undef X
	CPU_WORD_COUNT
};

struct cpu_word_info {
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
};
extern const struct cpu_word_info cpu_words[CPU_WORD_COUNT];

/* The word that a register is, CPU_WORD_COUNT when it is none. */
enum cpu_word cpu_word_find(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg);

/* CPU_AVX2, ... */
enum cpu_feature {
#define X(id, name, word, bits) CPU_##id,
	CPU_FEATURE_TABLE(X)
#undef X
	CPU_FEATURE_COUNT
};

struct cpu_feature_info {
	const char *name;               /* as QEMU spells it: "sse4.1", "avx512-vpopcntdq" */
	enum cpu_word word;
	uint32_t bits;                  /* one; kvmclock has two, which are on and off together */
};
extern const struct cpu_feature_info cpu_feature_infos[CPU_FEATURE_COUNT];

/*
 * What leaf 0x80000001 EDX repeats of leaf 1 EDX on AMD's processors.  In a set these bits are off;
 * cpuid_new() puts them there.
 */
#define CPU_AMD_REPEATED 0x0183f3ffU

/* "avx2" */
static inline const char *cpu_feature_name(enum cpu_feature feature)
{
	return cpu_feature_infos[feature].name;
}

/*
 * The feature of a name, CPU_FEATURE_COUNT when there is none.  Underscores are as good as dashes,
 * and the names that others have for it are known, too: sse3, sse4_1, i64, xd, lzcnt.
 */
enum cpu_feature cpu_feature_find(const char *name);

/* The feature a bit belongs to, CPU_FEATURE_COUNT when it has no name. */
enum cpu_feature cpu_feature_of_bit(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg,
				    unsigned int bit);

/* Whether two names are the same but for underscores and dashes. */
bool cpu_same_name(const char *a, const char *b);
/*
 * How many letters must be added, taken away or exchanged to make one name of the other; at most
 * `limit`.  For finding out what somebody may have meant.
 */
unsigned int cpu_name_distance(const char *a, const char *b, unsigned int limit);

/* ---- sets ---- */

struct cpu_features {
	uint32_t word[CPU_WORD_COUNT];
};

/* Of a feature with two bits both must be there. */
bool cpu_features_has(const struct cpu_features *set, enum cpu_feature feature);
void cpu_features_put(struct cpu_features *set, enum cpu_feature feature, bool on);
bool cpu_features_empty(const struct cpu_features *set);

/* The words of a CPUID table, zeros where it lacks the leaf. */
void cpu_features_of_table(struct cpu_features *set, const struct kvm_cpuid2 *table);

/*
 * Takes features away whose prerequisites are not in the set, and then those that need these.
 * `dropped` gets what went (it is emptied first).
 */
void cpu_features_close(struct cpu_features *set, struct cpu_features *dropped);

/*
 * The first thing that a feature needs and that is not in the set; CPU_FEATURE_COUNT when there is
 * nothing.
 */
enum cpu_feature cpu_feature_lacks(enum cpu_feature feature, const struct cpu_features *set);

/*
 * "avx2, fma, 0x7 EBX bit 13": the names of a set, in the order of the table; bits without one by
 * place.  What does not fit into the room is told by ", and 12 more".  Returns how many there are.
 */
unsigned int cpu_features_text(const struct cpu_features *set, char *text, size_t room);

#endif
