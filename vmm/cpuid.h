/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include "vmm/cpu_model.h"
#include "vmm/cpu_topology.h"
#include "vmm/kvm.h"
#include "vmm/log.h"

/*
 * The CPUID table of a vCPU: the processor that `cpu` describes, in a machine of this topology, whose
 * TSC runs at `tsc_khz` (0: not known).  Leaves come in ascending order; KVM's own are those from
 * 0x40000000 on, and whoever adds another hypervisor's behind them leaves these alone.  The APIC id
 * is that of vCPU 0.  Returns a malloc()ed table, NULL on error.
 */
struct kvm_cpuid2 *cpuid_new(struct kvm *kvm, const struct cpu *cpu,
			     const struct cpu_topology *topology, uint32_t tsc_khz,
			     struct error *err);

/*
 * Whether the table tells the guest how fast its TSC is; only then does cpuid_new() need to know.
 */
bool cpuid_wants_tsc_khz(const struct cpu *cpu);

/* Makes a table that cpuid_new() made that of another vCPU: what tells where it is. */
void cpuid_set_vcpu(struct kvm_cpuid2 *table, const struct cpu *cpu,
		    const struct cpu_topology *topology, unsigned int vcpu);

/* The entry of a leaf and subleaf, NULL when there is none. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t leaf,
					  uint32_t subleaf);

/*
 * Logs what of a table the kernel has changed, register by register, at level info.  Where that is
 * more than KVM is known to keep up to date itself, one line before that, at `level`, says so.
 * `told` has what was said of other vCPUs, and is not said again; NULL where there is nothing to be
 * remembered.
 */
struct cpuid_changes {
	unsigned int nr;                        /* how many registers differed */
	uint64_t hash;                          /* of which, and how */
};
void cpuid_log_changes(unsigned int vcpu, const struct kvm_cpuid2 *set,
		       const struct kvm_cpuid2 *now, enum log_level level,
		       struct cpuid_changes *told);

#endif
