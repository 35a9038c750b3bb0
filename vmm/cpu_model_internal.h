/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPU_MODEL_INTERNAL_H
#define VMM_CPU_MODEL_INTERNAL_H

#include "vmm/cpu_model.h"

/* Between cpu_model.c (models, what comes of a configuration) and cpu_model_config.c (its text). */

/* In the order of the table of properties. */
enum cpu_property_id {
	CPU_VENDOR, CPU_MODEL_ID, CPU_FAMILY, CPU_MODEL_NUMBER, CPU_STEPPING, CPU_PHYS_BITS,
	CPU_HOST_PHYS_BITS, CPU_LEVEL, CPU_XLEVEL, CPU_TSC_FREQUENCY, CPU_PMU, CPU_KVM,
	CPU_VMWARE_CPUID_FREQ, CPU_MIGRATABLE, CPU_ENFORCE, CPU_PROPERTY_COUNT
};
extern const struct cpu_property cpu_properties[CPU_PROPERTY_COUNT];

#endif
