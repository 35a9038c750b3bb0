/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPU_MODEL_H
#define VMM_CPU_MODEL_H

#include "vmm/cpu_features.h"
#include "vmm/error.h"
#include "vmm/kvm.h"

/*
 * Which processor a guest is to see.  Three steps:
 *
 *     struct cpu_config   what was asked for: a model and properties; from text, no host needed
 *     struct cpu          what comes of that on this host: cpu_resolve(); no VM needed
 *     struct kvm_cpuid2   the table of a vCPU: cpuid.h
 *
 * The structures hold no pointers but to constant data: copying one is enough, nothing is freed.
 */

/* ---- models ---- */

enum cpu_model_kind {
	CPU_MODEL_HOST,         /* all that KVM supports, under the host's own name */
	CPU_MODEL_MAX,          /* and what it emulates besides */
	CPU_MODEL_BASELINE,     /* the same on every host that can run it */
};

struct cpu_model {
	const char *name;
	enum cpu_model_kind kind;
	const char *description;        /* one line, for people */
	unsigned int level;             /* of x86-64, of a baseline; 0: none */
};

/* One after the other, from 0; NULL behind the last. */
const struct cpu_model *cpu_model_at(unsigned int i);
/* NULL when there is none of that name. */
const struct cpu_model *cpu_model_find(const char *name);

/*
 * What a baseline has, and what it has where the host does and otherwise does without, saying
 * nothing: the paravirtual features of KVM.
 */
void cpu_model_features(const struct cpu_model *model, struct cpu_features *features,
			struct cpu_features *wanted);

/* ---- what is asked for ---- */

#define CPU_VENDOR_LEN   12
#define CPU_MODEL_ID_LEN 48

/* -1 and 0, and "", mean: as the model has it. */
struct cpu_config {
	const struct cpu_model *model;
	struct cpu_features plus, minus;        /* asked for one by one; no bit is in both */
	char vendor[CPU_VENDOR_LEN + 1];
	char model_id[CPU_MODEL_ID_LEN + 1];
	bool has_model_id;                      /* may be empty */
	int family, model_number, stepping;     /* as CPUID users reckon them: family 6 model 85 */
	unsigned int phys_bits;
	int host_phys_bits;                     /* 1, 0, -1 */
	uint32_t level, xlevel;                 /* highest basic and extended leaf */
	uint64_t tsc_frequency;                 /* in Hz */
	int pmu;                                /* 1, 0, -1 */
	bool kvm, vmware_cpuid_freq, migratable, enforce;
};

/* A model and nothing else; fails when there is none of that name. */
int cpu_config_init(struct cpu_config *config, const char *model, struct error *err);

/*
 * One property.  `key` is the name of a feature or a property, without a sign; `value` is text: "on"
 * and "off" (also yes, true, y, no, false, n), a number (decimal, or 0x...), a string.  What comes
 * later wins.  An error names the key, and what may have been meant.
 */
int cpu_config_set(struct cpu_config *config, const char *key, const char *value,
		   struct error *err);

/* "MODEL[,+key][,-key][,key=value][,key]", as --cpu takes it; a key alone means on. */
int cpu_model_parse(const char *text, struct cpu_config *config, struct error *err);

/* ---- what comes of it ---- */

struct cpu {
	struct cpu_config config;               /* what was asked for */
	struct cpu_features on;                 /* what the guest sees */
	struct cpu_features missing;            /* asked for, but the host's KVM has it not */
	struct cpu_features orphaned;           /* off, because what they need is off */
	char vendor[CPU_VENDOR_LEN + 1];
	char model_id[CPU_MODEL_ID_LEN + 1];
	unsigned int family, model_number, stepping;
	unsigned int phys_bits;
	uint32_t level, xlevel;                 /* before the machine's topology: see cpuid_new() */
	bool pmu;
};

/*
 * Works out what a configuration means on this host.  Missing features are no error here: see
 * cpu_check().  Fails when KVM can not be asked, or has no memory for the answer.  Owner's thread of
 * `kvm`.
 */
int cpu_resolve(const struct cpu_config *config, struct kvm *kvm, struct cpu *cpu,
		struct error *err);

/*
 * Says what of the wishes did not come true: in the log, as a warning; with `enforce` as an error.
 */
int cpu_check(const struct cpu *cpu, struct error *err);

/*
 * All features that this host can give to a guest, those that KVM only emulates too if `emulated`.
 * It is what `host` (or `max`) has with migratable=off.
 */
int cpu_host_features(struct kvm *kvm, bool emulated, struct cpu_features *set,
		      struct error *err);

/* Whether a machine of this vendor is described as AMD's are (AMD, Hygon), or as Intel's. */
bool cpu_is_amd(const struct cpu *cpu);

/* How the first of two compares with the second: CpuModelCompareResult of QMP. */
enum cpu_comparison {
	CPU_IDENTICAL,          /* the guest would see no difference */
	CPU_SUPERSET,           /* the first has all that the second has */
	CPU_SUBSET,
	CPU_INCOMPATIBLE,       /* each has what the other lacks, or they are of different vendors */
};
enum cpu_comparison cpu_compare(const struct cpu *a, const struct cpu *b);
/* "identical" */
const char *cpu_comparison_name(enum cpu_comparison comparison);

/* ---- properties, for those who list them ---- */

enum cpu_property_type { CPU_PROPERTY_BOOL, CPU_PROPERTY_NUMBER, CPU_PROPERTY_STRING };

/* The keys of cpu_config_set() that are no features. */
struct cpu_property {
	const char *name;
	enum cpu_property_type type;
	const char *description;
	uint64_t min, max;              /* of a number that may be given */
};
/* One after the other, from 0; NULL behind the last. */
const struct cpu_property *cpu_property_at(unsigned int i);

/* What a property is in a resolved configuration; one of the three, by its type. */
struct cpu_value {
	bool on;
	uint64_t number;                /* tsc-frequency: 0 when it is the host's */
	const char *string;             /* lives as long as `cpu` */
};
struct cpu_value cpu_property_value(const struct cpu *cpu, const struct cpu_property *property);

#endif
