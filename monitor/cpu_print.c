/* SPDX-License-Identifier: MIT */
#include "monitor/cpu_print.h"

#include <stdio.h>
#include <string.h>

#define LINE_WIDTH 80

/* Words behind a label, on as many lines as they take. */
struct words {
	struct text *out;
	unsigned int indent;
	size_t column;
};

static struct words words_begin(struct text *out, const char *label, unsigned int indent)
{
	text_printf(out, "%-*s", (int)indent, label);
	return (struct words) { out, indent, indent };
}

static void words_add(struct words *words, const char *word)
{
	size_t len = strlen(word);

	if (words->column > words->indent && words->column + 1 + len > LINE_WIDTH) {
		text_printf(words->out, "\n%*s", (int)words->indent, "");
		words->column = words->indent;
	}
	text_printf(words->out, " %s", word);
	words->column += 1 + len;
}

static void words_end(struct words *words)
{
	text_printf(words->out, "\n");
}

/* NULL for a bit that is not the first of its feature. */
static const char *bit_name(const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg,
			    unsigned int bit, char number[8])
{
	enum cpu_feature feature = cpu_feature_of_bit(entry->function, entry->index, reg, bit);
	uint32_t below = (1U << bit) - 1;

	if (feature == CPU_FEATURE_COUNT) {
		snprintf(number, 8, "bit%u", bit & 31);
		return number;
	}
	if (cpu_feature_infos[feature].bits & below & cpuid_reg_value(entry, reg))
		return NULL;
	return cpu_feature_name(feature);
}

void cpu_print_register(struct text *out, const char *label, unsigned int indent,
			const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
	uint32_t value = cpuid_reg_value(entry, reg);
	struct words words;

	if (!value || cpu_word_find(entry->function, entry->index, reg) == CPU_WORD_COUNT)
		return;
	words = words_begin(out, label, indent);
	for (unsigned int bit = 0; bit < 32; bit++) {
		char number[8];
		const char *name = value >> bit & 1 ? bit_name(entry, reg, bit, number) : NULL;

		if (name)
			words_add(&words, name);
	}
	words_end(&words);
}

void cpu_print_features(struct text *out, const char *label, unsigned int indent,
			const struct cpu_features *set)
{
	struct words words;

	if (cpu_features_empty(set))
		return;
	words = words_begin(out, label, indent);
	for (int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_features_has(set, (enum cpu_feature)i))
			words_add(&words, cpu_feature_name((enum cpu_feature)i));
	words_end(&words);
}

void cpu_write_features(struct json_writer *w, const char *name, const struct cpu_features *set)
{
	json_write_array(w, name);
	for (int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_features_has(set, (enum cpu_feature)i))
			json_write_string(w, NULL, cpu_feature_name((enum cpu_feature)i));
	json_write_array_end(w);
}

void cpu_write_table(struct json_writer *w, const char *name, const struct kvm_cpuid2 *table)
{
	json_write_array(w, name);
	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];

		json_write_object(w, NULL);
		json_write_uint(w, "function", e->function);
		json_write_uint(w, "index", e->index);
		json_write_uint(w, "flags", e->flags);
		json_write_uint(w, "eax", e->eax);
		json_write_uint(w, "ebx", e->ebx);
		json_write_uint(w, "ecx", e->ecx);
		json_write_uint(w, "edx", e->edx);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}
