/* SPDX-License-Identifier: MIT */
#include "vmm/cpu_model_internal.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/log.h"

/* Bits that are no property of a processor, but of a moment or a machine. */
#define OSXSAVE       (1U << 27)        /* of CPU_WORD_1_ECX */
#define OSPKE         (1U << 4)         /* of CPU_WORD_7_0_ECX */

#define PHYS_BITS_OLD      36           /* where there is no leaf 0x80000008 */
#define PHYS_BITS_BASELINE 40

#define LEVEL_BASELINE     0xd
#define XLEVEL_BASELINE    0x80000008

/* ---- models ---- */

/*
 * Each level of x86-64 has the features of those below (System V ABI, AMD64 supplement, 3.1.1); all
 * have what a guest of KVM needs besides.
 */
static const uint16_t guest_features[] = {
	/* To run a kernel: memory management, interrupts, machine checks, time. */
	CPU_HYPERVISOR, CPU_X2APIC, CPU_TSC_DEADLINE, CPU_ARAT,
	CPU_DE, CPU_PSE, CPU_TSC, CPU_MSR, CPU_PAE, CPU_MCE, CPU_APIC, CPU_SEP, CPU_MTRR, CPU_PGE,
	CPU_MCA, CPU_PAT, CPU_PSE36, CPU_CLFLUSH, CPU_NX, CPU_RDTSCP, CPU_LM,
	/* x86-64-v1. */
	CPU_FPU, CPU_CX8, CPU_CMOV, CPU_MMX, CPU_FXSR, CPU_SSE, CPU_SSE2, CPU_SYSCALL,
};
static const uint16_t v2_features[] = {
	CPU_CX16, CPU_LAHF_LM, CPU_POPCNT, CPU_PNI, CPU_SSSE3, CPU_SSE4_1, CPU_SSE4_2,
};
static const uint16_t v3_features[] = {
	CPU_AVX, CPU_AVX2, CPU_BMI1, CPU_BMI2, CPU_F16C, CPU_FMA, CPU_ABM, CPU_MOVBE, CPU_XSAVE,
	CPU_XSAVEOPT,
};
static const uint16_t v4_features[] = {
	CPU_AVX512F, CPU_AVX512BW, CPU_AVX512CD, CPU_AVX512DQ, CPU_AVX512VL, CPU_XSAVEC,
};
static const uint16_t paravirtual_features[] = {
	CPU_KVMCLOCK, CPU_KVM_NOPIODELAY, CPU_KVM_ASYNCPF, CPU_KVM_ASYNCPF_INT,
	CPU_KVM_STEAL_TIME, CPU_KVM_PV_EOI, CPU_KVM_PV_UNHALT, CPU_KVM_PV_TLB_FLUSH,
	CPU_KVM_PV_IPI, CPU_KVM_POLL_CONTROL, CPU_KVM_PV_SCHED_YIELD, CPU_KVMCLOCK_STABLE_BIT,
};

static const struct {
	const uint16_t *feature;
	size_t nr;
} levels[] = {
#define LIST(list) { list, sizeof(list) / sizeof((list)[0]) }
	LIST(guest_features), LIST(v2_features), LIST(v3_features), LIST(v4_features),
};

static const struct cpu_model models[] = {
	{ "host", CPU_MODEL_HOST, "all that this host's KVM supports", 0 },
	{ "max", CPU_MODEL_MAX, "all that this host's KVM supports or emulates", 0 },
	{ "base", CPU_MODEL_BASELINE, "no features at all", 0 },
	{ "x86-64-v1", CPU_MODEL_BASELINE, "level 1 of x86-64, of 2003", 1 },
	{ "x86-64-v2", CPU_MODEL_BASELINE, "level 2 of x86-64, to SSE4.2, of 2009", 2 },
	{ "x86-64-v3", CPU_MODEL_BASELINE, "level 3 of x86-64, to AVX2, of 2013", 3 },
	{ "x86-64-v4", CPU_MODEL_BASELINE, "level 4 of x86-64, to AVX-512, of 2017", 4 },
};

const struct cpu_model *cpu_model_at(unsigned int i)
{
	return i < sizeof(models) / sizeof(models[0]) ? &models[i] : NULL;
}

const struct cpu_model *cpu_model_find(const char *name)
{
	for (unsigned int i = 0; cpu_model_at(i); i++)
		if (strcmp(models[i].name, name) == 0)
			return &models[i];
	return NULL;
}

void cpu_model_features(const struct cpu_model *model, struct cpu_features *features,
			struct cpu_features *wanted)
{
	memset(features, 0, sizeof(*features));
	memset(wanted, 0, sizeof(*wanted));
	for (unsigned int level = 0; level < model->level; level++)
		for (size_t i = 0; i < levels[level].nr; i++)
			cpu_features_put(features, levels[level].feature[i], true);
	for (size_t i = 0; model->level && i < sizeof(paravirtual_features) / sizeof(uint16_t); i++)
		cpu_features_put(wanted, paravirtual_features[i], true);
}

/* ---- the host ---- */

int cpu_host_features(struct kvm *kvm, bool emulated, struct cpu_features *set,
		      struct error *err)
{
	const struct kvm_cpuid2 *table = kvm_supported_cpuid(kvm, err);
	struct cpu_features more;

	if (!table)
		return -1;
	cpu_features_of_table(set, table);
	if (emulated) {
		table = kvm_emulated_cpuid(kvm, err);
		if (!table)
			return -1;
		cpu_features_of_table(&more, table);
		for (unsigned int i = 0; i < CPU_WORD_COUNT; i++)
			set->word[i] |= more.word[i];
	}
	set->word[CPU_WORD_1_ECX] &= ~OSXSAVE;
	set->word[CPU_WORD_7_0_ECX] &= ~OSPKE;
	set->word[CPU_WORD_80000001_EDX] &= ~CPU_AMD_REPEATED;
	/* The in-kernel LAPIC has it where KVM says so; the supported table leaves it out. */
	if (kvm->caps.tsc_deadline_timer)
		cpu_features_put(set, CPU_TSC_DEADLINE, true);
	/* These say something about the machine, or about us, not about what KVM can do. */
	cpu_features_put(set, CPU_HYPERVISOR, true);
	cpu_features_put(set, CPU_KVM_HINT_DEDICATED, true);
	cpu_features_put(set, CPU_HT, true);
	cpu_features_put(set, CPU_CMP_LEGACY, true);
	cpu_features_put(set, CPU_TOPOEXT, true);
	return 0;
}

static void host_identity(const struct kvm_cpuid2 *table, struct cpu *cpu)
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(table, 0, 0);
	const struct kvm_cpuid_entry2 *leaf1 = cpuid_find(table, 1, 0);
	const struct kvm_cpuid_entry2 *size = cpuid_find(table, 0x80000008, 0);
	uint32_t eax = leaf1 ? leaf1->eax : 0;

	if (leaf0) {
		memcpy(cpu->vendor, &leaf0->ebx, 4);
		memcpy(cpu->vendor + 4, &leaf0->edx, 4);
		memcpy(cpu->vendor + 8, &leaf0->ecx, 4);
	}
	cpu->family = (eax >> 8 & 0xf) + ((eax >> 8 & 0xf) == 0xf ? eax >> 20 & 0xff : 0);
	cpu->model_number = (eax >> 4 & 0xf) | (eax >> 12 & 0xf0);
	cpu->stepping = eax & 0xf;
	cpu->phys_bits = size ? size->eax & 0xff : PHYS_BITS_OLD;
}

bool cpu_is_amd(const struct cpu *cpu)
{
	return strcmp(cpu->vendor, "AuthenticAMD") == 0 || strcmp(cpu->vendor, "HygonGenuine") == 0;
}

/* ---- what comes of a configuration ---- */

/*
 * A baseline is nobody's product, but kernels know by the number how threads and caches are told of:
 * on AMD's processors the way we do it since family 0x17 (threads), model 0x20 (caches; see
 * cacheinfo.c in Linux).  Others do not care, and get the first that had all of x86-64.
 */
static void baseline_identity(struct cpu *cpu)
{
	const char *name = cpu->config.model->name;

	if (strcmp(cpu->vendor, "AuthenticAMD") == 0) {
		cpu->family = 0x17;
		cpu->model_number = 0x31;
		cpu->stepping = 0;
	} else if (cpu_is_amd(cpu)) {
		cpu->family = 0x18;
		cpu->model_number = 0;
		cpu->stepping = 1;
	} else {
		cpu->family = 15;
		cpu->model_number = 6;
		cpu->stepping = 1;
	}
	strcpy(cpu->model_id, name);
	strcat(cpu->model_id, " virtual processor");
}

/* The processor's name, which KVM leaves out of its table (arch/x86/kvm/cpuid.c). */
static void host_name(struct cpu *cpu)
{
	uint32_t name[CPU_MODEL_ID_LEN / sizeof(uint32_t)];

	for (unsigned int i = 0; i < 3; i++)
		__cpuid(0x80000002 + i, name[4 * i], name[4 * i + 1], name[4 * i + 2],
			name[4 * i + 3]);
	memcpy(cpu->model_id, name, CPU_MODEL_ID_LEN);
}

static void choose_identity(struct cpu *cpu)
{
	const struct cpu_config *config = &cpu->config;

	if (config->vendor[0])
		strcpy(cpu->vendor, config->vendor);
	if (config->model->kind == CPU_MODEL_BASELINE) {
		baseline_identity(cpu);
		if (config->host_phys_bits != 1 && cpu->phys_bits > PHYS_BITS_BASELINE)
			cpu->phys_bits = PHYS_BITS_BASELINE;
	} else {
		host_name(cpu);
		if (config->host_phys_bits == 0 && cpu->phys_bits > PHYS_BITS_BASELINE)
			cpu->phys_bits = PHYS_BITS_BASELINE;
	}
	if (config->phys_bits)
		cpu->phys_bits = config->phys_bits;
	if (config->has_model_id)
		strcpy(cpu->model_id, config->model_id);
	if (config->family >= 0)
		cpu->family = (unsigned int)config->family;
	if (config->model_number >= 0)
		cpu->model_number = (unsigned int)config->model_number;
	if (config->stepping >= 0)
		cpu->stepping = (unsigned int)config->stepping;
}

/* Off unless asked for by name. */
static void take_away(struct cpu *cpu, struct cpu_features *asked, enum cpu_feature feature)
{
	if (!cpu_features_has(&cpu->config.plus, feature))
		cpu_features_put(asked, feature, false);
}

static void choose_features(struct cpu *cpu, const struct cpu_features *host)
{
	static const uint16_t of_pmu[] = {
		CPU_PDCM, CPU_ARCH_LBR, CPU_PERFCTR_CORE, CPU_PERFCTR_NB,
	};
	const struct cpu_config *config = &cpu->config;
	struct cpu_features asked, wanted = { .word = { 0 } };

	if (config->model->kind == CPU_MODEL_BASELINE) {
		cpu_model_features(config->model, &asked, &wanted);
		cpu_features_put(&wanted, CPU_TOPOEXT, config->model->level && cpu_is_amd(cpu));
	} else {
		asked = *host;
		/* What the machine decides, and what is only a promise. */
		take_away(cpu, &asked, CPU_KVM_HINT_DEDICATED);
		take_away(cpu, &asked, CPU_HT);
		take_away(cpu, &asked, CPU_CMP_LEGACY);
		if (!cpu_is_amd(cpu))
			take_away(cpu, &asked, CPU_TOPOEXT);
		if (config->migratable)
			take_away(cpu, &asked, CPU_INVTSC);
	}
	for (size_t i = 0; !cpu->pmu && i < sizeof(of_pmu) / sizeof(of_pmu[0]); i++)
		take_away(cpu, &asked, of_pmu[i]);
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++) {
		asked.word[i] = (asked.word[i] | config->plus.word[i]) & ~config->minus.word[i];
		wanted.word[i] &= ~config->minus.word[i];
		cpu->missing.word[i] = asked.word[i] & ~host->word[i];
		cpu->on.word[i] = (asked.word[i] | wanted.word[i]) & host->word[i];
	}
	cpu_features_close(&cpu->on, &cpu->orphaned);
	if (!config->kvm) {
		for (unsigned int i = CPU_WORD_40000001_EAX; i <= CPU_WORD_40000001_EDX; i++) {
			cpu->orphaned.word[i] = config->plus.word[i] & cpu->on.word[i];
			cpu->on.word[i] = cpu->missing.word[i] = 0;
		}
	}
}

static void at_least(uint32_t *level, uint32_t leaf)
{
	if (*level < leaf)
		*level = leaf;
}

/* The highest leaves, as far as that is up to the processor. */
static void choose_levels(struct cpu *cpu, const struct kvm_cpuid2 *host)
{
	static const struct {
		uint16_t feature;
		uint32_t leaf;
	} needed[] = {
		{ CPU_SGX, 0x12 }, { CPU_INTEL_PT, 0x14 }, { CPU_KL, 0x19 }, { CPU_ARCH_LBR, 0x1c },
		{ CPU_AMX_TILE, 0x1e }, { CPU_AVX10, 0x24 }, { CPU_SVM, 0x8000000a },
	};
	const struct cpu_config *config = &cpu->config;
	const struct kvm_cpuid_entry2 *basic = cpuid_find(host, 0, 0);
	const struct kvm_cpuid_entry2 *extended = cpuid_find(host, 0x80000000, 0);

	if (config->model->kind == CPU_MODEL_BASELINE) {
		cpu->level = LEVEL_BASELINE;
		cpu->xlevel = XLEVEL_BASELINE;
	} else {
		cpu->level = basic ? basic->eax : LEVEL_BASELINE;
		cpu->xlevel = extended ? extended->eax : XLEVEL_BASELINE;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (cpu_features_has(&cpu->on, needed[i].feature))
			at_least(needed[i].leaf & 0x80000000 ? &cpu->xlevel : &cpu->level,
				 needed[i].leaf);
	if (cpu->on.word[CPU_WORD_80000021_EAX])
		at_least(&cpu->xlevel, 0x80000021);
	if (cpu_is_amd(cpu) && cpu_features_has(&cpu->on, CPU_TOPOEXT))
		at_least(&cpu->xlevel, 0x8000001e);
	/* AMD's processors have no leaf for it. */
	if (config->tsc_frequency && !cpu_is_amd(cpu))
		at_least(&cpu->level, 0x15);
	if (config->level)
		cpu->level = config->level;
	if (config->xlevel)
		cpu->xlevel = config->xlevel;
}

int cpu_resolve(const struct cpu_config *config, struct kvm *kvm, struct cpu *cpu,
		struct error *err)
{
	const struct kvm_cpuid2 *table = kvm_supported_cpuid(kvm, err);
	struct cpu_features host, useless;

	if (!table || cpu_host_features(kvm, config->model->kind == CPU_MODEL_MAX, &host, err) < 0)
		return -1;
	memset(cpu, 0, sizeof(*cpu));
	cpu->config = *config;
	cpu->pmu = config->pmu < 0 ? config->model->kind != CPU_MODEL_BASELINE : config->pmu;
	host_identity(table, cpu);
	choose_identity(cpu);
	/* There are hosts that offer what can not be used, for they lack what it needs. */
	cpu_features_close(&host, &useless);
	choose_features(cpu, &host);
	choose_levels(cpu, table);
	return 0;
}

/* ---- what did not come true ---- */

#define LIST_MAX 300

/*
 * One line for all that went with what it needs.  Of them the one is explained with which it began:
 * what it needs is not one of them.
 */
static void describe_orphans(const struct cpu *cpu, const struct cpu_features *orphans,
			     char *line, size_t room)
{
	enum cpu_feature first = CPU_FEATURE_COUNT, lacks = CPU_FEATURE_COUNT;
	char list[LIST_MAX];
	unsigned int nr = cpu_features_text(orphans, list, sizeof(list));

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		if (!cpu_features_has(orphans, i) ||
		    (first != CPU_FEATURE_COUNT && !cpu_features_has(&cpu->orphaned, lacks)))
			continue;
		first = i;
		lacks = cpu_feature_lacks(i, &cpu->on);
		if (lacks == CPU_FEATURE_COUNT)
			break;
	}
	if (lacks == CPU_FEATURE_COUNT)
		snprintf(line, room, "%s %s off, because kvm is off", list, nr == 1 ? "is" : "are");
	else if (nr == 1)
		snprintf(line, room, "%s is off, because it needs %s", list,
			 cpu_feature_name(lacks));
	else
		snprintf(line, room, "%s are off, because %s needs %s, and so on", list,
			 cpu_feature_name(first), cpu_feature_name(lacks));
}

int cpu_check(const struct cpu *cpu, struct error *err)
{
	struct cpu_features asked, others;
	char text[LIST_MAX + 120];

	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++) {
		asked.word[i] = cpu->orphaned.word[i] & cpu->config.plus.word[i];
		others.word[i] = cpu->orphaned.word[i] & ~asked.word[i];
	}
	if (!cpu_features_empty(&cpu->missing)) {
		cpu_features_text(&cpu->missing, text, LIST_MAX);
		if (cpu->config.enforce)
			return error_set(err, ENOTSUP, "this host's KVM lacks features of the "
					 "processor asked for: %s", text);
		log_warning("this host's KVM lacks features of the processor asked for: %s", text);
	}
	if (!cpu_features_empty(&asked)) {
		describe_orphans(cpu, &asked, text, sizeof(text));
		if (cpu->config.enforce)
			return error_set(err, EINVAL, "%s", text);
		log_warning("%s", text);
	}
	if (!cpu_features_empty(&others)) {
		describe_orphans(cpu, &others, text, sizeof(text));
		log_info("%s", text);
	}
	return 0;
}

/* ---- comparison, properties ---- */

static bool same_identity(const struct cpu *a, const struct cpu *b)
{
	return a->family == b->family && a->model_number == b->model_number &&
	       a->stepping == b->stepping && a->level == b->level && a->xlevel == b->xlevel &&
	       a->pmu == b->pmu && strcmp(a->model_id, b->model_id) == 0 &&
	       a->config.tsc_frequency == b->config.tsc_frequency &&
	       a->config.kvm == b->config.kvm;
}

enum cpu_comparison cpu_compare(const struct cpu *a, const struct cpu *b)
{
	bool a_more = a->phys_bits > b->phys_bits, b_more = b->phys_bits > a->phys_bits;

	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++) {
		a_more |= (a->on.word[i] & ~b->on.word[i]) != 0;
		b_more |= (b->on.word[i] & ~a->on.word[i]) != 0;
	}
	if (strcmp(a->vendor, b->vendor) != 0 || (a_more && b_more))
		return CPU_INCOMPATIBLE;
	if (b_more)
		return CPU_SUBSET;
	return a_more || !same_identity(a, b) ? CPU_SUPERSET : CPU_IDENTICAL;
}

const char *cpu_comparison_name(enum cpu_comparison comparison)
{
	static const char *const names[] = { "identical", "superset", "subset", "incompatible" };

	return names[comparison];
}

struct cpu_value cpu_property_value(const struct cpu *cpu, const struct cpu_property *property)
{
	const struct cpu_config *config = &cpu->config;

	switch ((enum cpu_property_id)(property - cpu_properties)) {
	case CPU_VENDOR:
		return (struct cpu_value) { .string = cpu->vendor };
	case CPU_MODEL_ID:
		return (struct cpu_value) { .string = cpu->model_id };
	case CPU_FAMILY:
		return (struct cpu_value) { .number = cpu->family };
	case CPU_MODEL_NUMBER:
		return (struct cpu_value) { .number = cpu->model_number };
	case CPU_STEPPING:
		return (struct cpu_value) { .number = cpu->stepping };
	case CPU_PHYS_BITS:
		return (struct cpu_value) { .number = cpu->phys_bits };
	case CPU_HOST_PHYS_BITS:
		return (struct cpu_value) {
			.on = !config->phys_bits && (config->host_phys_bits < 0 ?
			      config->model->kind != CPU_MODEL_BASELINE : config->host_phys_bits),
		};
	case CPU_LEVEL:
		return (struct cpu_value) { .number = cpu->level };
	case CPU_XLEVEL:
		return (struct cpu_value) { .number = cpu->xlevel };
	case CPU_TSC_FREQUENCY:
		return (struct cpu_value) { .number = config->tsc_frequency };
	case CPU_PMU:
		return (struct cpu_value) { .on = cpu->pmu };
	case CPU_KVM:
		return (struct cpu_value) { .on = config->kvm };
	case CPU_VMWARE_CPUID_FREQ:
		return (struct cpu_value) { .on = config->vmware_cpuid_freq };
	case CPU_MIGRATABLE:
		return (struct cpu_value) { .on = config->migratable };
	default:
		return (struct cpu_value) { .on = config->enforce };
	}
}
