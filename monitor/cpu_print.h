/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_CPU_PRINT_H
#define MONITOR_CPU_PRINT_H

#include "monitor/json.h"
#include "monitor/text.h"
#include "vmm/cpu_features.h"

/* What processors can do, for people and as JSON. */

/*
 * A line, or as many as it takes, of the features that one register of CPUID shows: `label`, and
 * the names of the bits that are set, from column `indent` on; "bit9" for one without a name.
 * Nothing, where the register is 0, or its bits are no features.
 */
void cpu_print_register(struct text *out, const char *label, unsigned int indent,
			const struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg);

/* Likewise the features of a set; nothing, where there are none. */
void cpu_print_features(struct text *out, const char *label, unsigned int indent,
			const struct cpu_features *set);

/* An array of names. */
void cpu_write_features(struct json_writer *w, const char *name, const struct cpu_features *set);

/* An array of CpuidEntry. */
void cpu_write_table(struct json_writer *w, const char *name, const struct kvm_cpuid2 *table);

#endif
