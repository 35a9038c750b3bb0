/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "vmm/cpu_features.h"

/* The table of features, and sets of them. */

static const struct {
	enum cpu_feature feature, needs;
} needs[] = {
#define X(feature, needs) { CPU_##feature, CPU_##needs },
	CPU_FEATURE_NEEDS(X)
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

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(no_two_features_share_a_bit)
{
	uint32_t taken[CPU_WORD_COUNT] = { 0 };

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		const struct cpu_feature_info *info = &cpu_feature_infos[i];

		ck_assert_msg(info->bits && !(taken[info->word] & info->bits), "%s", info->name);
		taken[info->word] |= info->bits;
		for (unsigned int bit = 0; bit < 32; bit++)
			if (info->bits >> bit & 1)
				ck_assert_uint_eq(cpu_feature_of_bit(cpu_words[info->word].leaf,
								     cpu_words[info->word].subleaf,
								     cpu_words[info->word].reg, bit), i);
	}
	/* What AMD has twice has a name once. */
	ck_assert_uint_eq(taken[CPU_WORD_80000001_EDX] & CPU_AMD_REPEATED, 0);
}
END_TEST

START_TEST(every_word_is_found)
{
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
		ck_assert_uint_eq(cpu_word_find(cpu_words[i].leaf, cpu_words[i].subleaf,
						cpu_words[i].reg), i);
	ck_assert_uint_eq(cpu_word_find(7, 3, CPUID_REG_EDX), CPU_WORD_COUNT);
	ck_assert_uint_eq(cpu_feature_of_bit(1, 0, CPUID_REG_ECX, 27), CPU_FEATURE_COUNT);
}
END_TEST

START_TEST(every_name_is_found_and_no_other)
{
	char name[64];

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		snprintf(name, sizeof(name), "%s", cpu_feature_name(i));
		ck_assert_uint_eq(cpu_feature_find(name), i);
		for (char *c = name; *c; c++)
			*c = *c == '-' ? '_' : *c;
		ck_assert_uint_eq(cpu_feature_find(name), i);
		strcat(name, "!");
		ck_assert_uint_eq(cpu_feature_find(name), CPU_FEATURE_COUNT);
	}
	for (size_t i = 0; i < COUNT(aliases); i++)
		ck_assert_uint_eq(cpu_feature_find(aliases[i].name), aliases[i].feature);
	ck_assert_uint_eq(cpu_feature_find("sse4_1"), CPU_SSE4_1);
	ck_assert_uint_eq(cpu_feature_find("sse3"), CPU_PNI);
	ck_assert_uint_eq(cpu_feature_find("i64"), CPU_LM);
	ck_assert_uint_eq(cpu_feature_find(""), CPU_FEATURE_COUNT);
}
END_TEST

/* So that one pass in the order of the table does, and nothing needs itself. */
START_TEST(what_is_needed_has_been_dealt_with_before)
{
	for (size_t i = 0; i < COUNT(needs); i++) {
		ck_assert_uint_ne(needs[i].feature, needs[i].needs);
		for (size_t j = i; j < COUNT(needs); j++)
			ck_assert_msg(needs[j].feature != needs[i].needs, "%s needs %s, which needs %s",
				      cpu_feature_name(needs[i].feature),
				      cpu_feature_name(needs[i].needs),
				      cpu_feature_name(needs[j].needs));
		for (size_t j = 0; j < i; j++)
			ck_assert(needs[j].feature != needs[i].feature ||
				  needs[j].needs != needs[i].needs);
	}
}
END_TEST

static struct cpu_features everything(void)
{
	struct cpu_features set = { .word = { 0 } };

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++)
		cpu_features_put(&set, i, true);
	return set;
}

START_TEST(without_what_it_needs_a_feature_is_off)
{
	struct cpu_features set, dropped;

	for (size_t i = 0; i < COUNT(needs); i++) {
		set = everything();
		cpu_features_close(&set, &dropped);
		ck_assert(cpu_features_empty(&dropped));
		cpu_features_put(&set, needs[i].needs, false);
		ck_assert_uint_eq(cpu_feature_lacks(needs[i].feature, &set), needs[i].needs);
		cpu_features_close(&set, &dropped);
		ck_assert(!cpu_features_has(&set, needs[i].feature));
		ck_assert(cpu_features_has(&dropped, needs[i].feature));
		ck_assert(!cpu_features_has(&dropped, needs[i].needs));
		/* And nothing is left that needs something. */
		for (size_t j = 0; j < COUNT(needs); j++)
			ck_assert(!cpu_features_has(&set, needs[j].feature) ||
				  cpu_features_has(&set, needs[j].needs));
	}
}
END_TEST

START_TEST(two_bits_are_one_feature)
{
	struct cpu_features set = { .word = { 0 } };
	char text[100];

	ck_assert(cpu_features_empty(&set));
	set.word[CPU_WORD_40000001_EAX] = 1 << 3;
	ck_assert(!cpu_features_has(&set, CPU_KVMCLOCK));
	cpu_features_put(&set, CPU_KVMCLOCK, true);
	ck_assert_uint_eq(set.word[CPU_WORD_40000001_EAX], 1 << 0 | 1 << 3);
	ck_assert(cpu_features_has(&set, CPU_KVMCLOCK));
	ck_assert_uint_eq(cpu_features_text(&set, text, sizeof(text)), 1);
	ck_assert_str_eq(text, "kvmclock");
	cpu_features_put(&set, CPU_KVMCLOCK, false);
	ck_assert(cpu_features_empty(&set));
}
END_TEST

START_TEST(sets_as_text)
{
	struct cpu_features set = { .word = { 0 } };
	char text[400], small[30];

	ck_assert_uint_eq(cpu_features_text(&set, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
	cpu_features_put(&set, CPU_AVX2, true);
	cpu_features_put(&set, CPU_SSE4_1, true);
	set.word[CPU_WORD_7_0_EBX] |= 0;
	set.word[CPU_WORD_7_1_EDX] |= 1U << 31;
	set.word[CPU_WORD_80000021_EAX] |= 1U << 15;
	ck_assert_uint_eq(cpu_features_text(&set, text, sizeof(text)), 4);
	ck_assert_str_eq(text, "sse4.1, avx2, 0x7.1 EDX bit 31, 0x80000021 EAX bit 15");
	ck_assert_uint_eq(cpu_features_text(&set, small, sizeof(small)), 4);
	ck_assert_str_eq(small, "sse4.1, avx2, and 2 more");
	/* As full as it gets, in every size there is. */
	set = everything();
	for (size_t room = 20; room < sizeof(text); room++) {
		memset(text, 'x', sizeof(text));
		ck_assert_uint_eq(cpu_features_text(&set, text, room), CPU_FEATURE_COUNT);
		ck_assert_uint_lt(strlen(text), room);
		ck_assert_ptr_nonnull(strstr(text, " more"));
	}
}
END_TEST

START_TEST(names_that_are_near)
{
	ck_assert_uint_eq(cpu_name_distance("avx2", "avx2", 9), 0);
	ck_assert_uint_eq(cpu_name_distance("sse4_1", "sse4-1", 9), 0);
	ck_assert_uint_eq(cpu_name_distance("avx", "avx2", 9), 1);
	ck_assert_uint_eq(cpu_name_distance("avx2", "avx", 9), 1);
	ck_assert_uint_eq(cpu_name_distance("axv2", "avx2", 9), 2);
	ck_assert_uint_eq(cpu_name_distance("", "avx2", 9), 4);
	ck_assert_uint_eq(cpu_name_distance("kitten", "sitting", 9), 3);
	ck_assert_uint_eq(cpu_name_distance("kitten", "sitting", 2), 2);
	/* Too long for anything that could be meant. */
	ck_assert_uint_eq(cpu_name_distance("x", "00000000001111111111222222222233333333334444444444"
					    "555555555566666666667777", 5), 5);
}
END_TEST

Suite *cpu_features_suite(void)
{
	Suite *s = suite_create("cpu_features");
	TCase *table = tcase_create("table"), *sets = tcase_create("sets");

	tcase_add_test(table, no_two_features_share_a_bit);
	tcase_add_test(table, every_word_is_found);
	tcase_add_test(table, every_name_is_found_and_no_other);
	tcase_add_test(table, what_is_needed_has_been_dealt_with_before);
	suite_add_tcase(s, table);
	tcase_add_test(sets, without_what_it_needs_a_feature_is_off);
	tcase_add_test(sets, two_bits_are_one_feature);
	tcase_add_test(sets, sets_as_text);
	tcase_add_test(sets, names_that_are_near);
	suite_add_tcase(s, sets);
	return s;
}
