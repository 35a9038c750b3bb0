/* SPDX-License-Identifier: MIT */
#include "vmm/cpu_features.h"

#include <stdio.h>
#include <string.h>

#include "vmm/cpuid.h"

#define NAME_MAX_LEN 64

const struct cpu_word_info cpu_words[CPU_WORD_COUNT] = {
#define X(id, leaf, subleaf, reg) [CPU_WORD_##id] = { leaf, subleaf, CPUID_REG_##reg },
	CPU_WORD_TABLE(X)
#undef X
};

const struct cpu_feature_info cpu_feature_infos[CPU_FEATURE_COUNT] = {
#define X(id, name, word, bits) [CPU_##id] = { name, CPU_WORD_##word, bits },
	CPU_FEATURE_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	enum cpu_feature feature;
} aliases[] = {
#define X(name, feature) { name, CPU_##feature },
	CPU_FEATURE_ALIASES(X)
#undef X
};

static const struct {
	uint16_t feature, needs;
} needs[] = {
#define X(feature, needs) { CPU_##feature, CPU_##needs },
	CPU_FEATURE_NEEDS(X)
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *cpuid_reg_name(enum cpuid_reg reg)
{
	static const char *const names[] = { "EAX", "EBX", "ECX", "EDX" };

	return names[reg];
}

uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
	switch (reg) {
	case CPUID_REG_EAX:
		return &entry->eax;
	case CPUID_REG_EBX:
		return &entry->ebx;
	case CPUID_REG_ECX:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

uint32_t cpuid_reg_value(const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
	struct kvm_cpuid_entry2 copy = *entry;

	return *cpuid_reg(&copy, reg);
}

enum cpu_word cpu_word_find(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
	unsigned int i;

	for (i = 0; i < CPU_WORD_COUNT; i++)
		if (cpu_words[i].leaf == leaf && cpu_words[i].subleaf == subleaf &&
		    cpu_words[i].reg == reg)
			break;
	return i;
}

static char letter(char c)
{
	return c == '_' ? '-' : c;
}

bool cpu_same_name(const char *a, const char *b)
{
	while (*a && letter(*a) == letter(*b))
		a++, b++;
	return !*a && !*b;
}

enum cpu_feature cpu_feature_find(const char *name)
{
	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_same_name(cpu_feature_infos[i].name, name))
			return i;
	for (size_t i = 0; i < COUNT(aliases); i++)
		if (cpu_same_name(aliases[i].name, name))
			return aliases[i].feature;
	return CPU_FEATURE_COUNT;
}

enum cpu_feature cpu_feature_of_bit(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg,
				    unsigned int bit)
{
	enum cpu_word word = cpu_word_find(leaf, subleaf, reg);
	unsigned int i;

	for (i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_feature_infos[i].word == word && cpu_feature_infos[i].bits >> bit & 1)
			break;
	return i;
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, row by row. */
unsigned int cpu_name_distance(const char *a, const char *b, unsigned int limit)
{
	size_t len = strlen(b);
	unsigned int row[NAME_MAX_LEN + 1];

	if (len > NAME_MAX_LEN || strlen(a) > NAME_MAX_LEN)
		return limit;
	for (unsigned int j = 0; j <= len; j++)
		row[j] = j;
	for (unsigned int i = 1; *a; a++, i++) {
		unsigned int corner = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= len; j++) {
			unsigned int kept = corner + (letter(*a) != letter(b[j - 1]));

			corner = row[j];
			row[j] = least(kept, least(row[j], row[j - 1]) + 1);
		}
	}
	return least(row[len], limit);
}

bool cpu_features_has(const struct cpu_features *set, enum cpu_feature feature)
{
	const struct cpu_feature_info *info = &cpu_feature_infos[feature];

	return (set->word[info->word] & info->bits) == info->bits;
}

void cpu_features_put(struct cpu_features *set, enum cpu_feature feature, bool on)
{
	const struct cpu_feature_info *info = &cpu_feature_infos[feature];

	if (on)
		set->word[info->word] |= info->bits;
	else
		set->word[info->word] &= ~info->bits;
}

bool cpu_features_empty(const struct cpu_features *set)
{
	uint32_t any = 0;

	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
		any |= set->word[i];
	return !any;
}

void cpu_features_of_table(struct cpu_features *set, const struct kvm_cpuid2 *table)
{
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++) {
		const struct cpu_word_info *word = &cpu_words[i];
		const struct kvm_cpuid_entry2 *e = cpuid_find(table, word->leaf, word->subleaf);

		set->word[i] = e ? cpuid_reg_value(e, word->reg) : 0;
	}
}

void cpu_features_close(struct cpu_features *set, struct cpu_features *dropped)
{
	memset(dropped, 0, sizeof(*dropped));
	for (size_t i = 0; i < COUNT(needs); i++) {
		const struct cpu_feature_info *info = &cpu_feature_infos[needs[i].feature];

		if (cpu_features_has(set, needs[i].needs))
			continue;
		dropped->word[info->word] |= set->word[info->word] & info->bits;
		set->word[info->word] &= ~info->bits;
	}
}

enum cpu_feature cpu_feature_lacks(enum cpu_feature feature, const struct cpu_features *set)
{
	for (size_t i = 0; i < COUNT(needs); i++)
		if (needs[i].feature == feature && !cpu_features_has(set, needs[i].needs))
			return needs[i].needs;
	return CPU_FEATURE_COUNT;
}

/* ---- names for people ---- */

struct text {
	char *to;
	size_t room, used;
	unsigned int nr, left_out;
};

/* As far as there is room for this one, and for saying how many are left out. */
static void add_text(struct text *t, const char *one)
{
	static const char more[] = ", and 9999 more";
	size_t need = strlen(one) + (t->used ? 2 : 0);

	t->nr++;
	if (t->left_out || t->used + need + sizeof(more) > t->room) {
		t->left_out++;
		return;
	}
	t->used += (size_t)sprintf(t->to + t->used, "%s%s", t->used ? ", " : "", one);
}

static void add_word(struct text *t, enum cpu_word word, uint32_t bits)
{
	const struct cpu_word_info *info = &cpu_words[word];
	char place[48];

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		if (cpu_feature_infos[i].word != word || !(cpu_feature_infos[i].bits & bits))
			continue;
		bits &= ~cpu_feature_infos[i].bits;
		add_text(t, cpu_feature_infos[i].name);
	}
	for (unsigned int bit = 0; bit < 32; bit++) {
		if (!(bits >> bit & 1))
			continue;
		if (info->subleaf)
			snprintf(place, sizeof(place), "0x%x.%u %s bit %u", info->leaf,
				 info->subleaf, cpuid_reg_name(info->reg), bit);
		else
			snprintf(place, sizeof(place), "0x%x %s bit %u", info->leaf,
				 cpuid_reg_name(info->reg), bit);
		add_text(t, place);
	}
}

unsigned int cpu_features_text(const struct cpu_features *set, char *text, size_t room)
{
	struct text t = { .to = text, .room = room };

	*text = '\0';
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
		if (set->word[i])
			add_word(&t, i, set->word[i]);
	if (t.left_out)
		snprintf(text + t.used, room - t.used, "%s%u more", t.used ? ", and " : "",
			 t.left_out);
	return t.nr;
}
