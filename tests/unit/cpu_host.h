/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CPU_HOST_H
#define TESTS_UNIT_CPU_HOST_H

#include "tests/unit/fake_kvm.h"
#include "vmm/cpuid.h"

/*
 * Hosts whose KVM tells of a processor as there are: a server of Intel's with AVX-512 and AMX, and
 * one of AMD's with AVX-512.  What KVM emulates is MOVBE and RDPID.
 */
void cpu_host_intel(struct fake_kvm *fake);
void cpu_host_amd(struct fake_kvm *fake);

/* The same with one register changed before it is given to the fake kernel. */
void cpu_host_intel_with(struct fake_kvm *fake, uint32_t leaf, uint32_t subleaf,
			 enum cpuid_reg reg, uint32_t value);

/*
 * What is logged, of warnings and errors and, with `all`, of the rest: kept from here on, and asked
 * for as a whole; lines end in newlines.
 */
void cpu_log_keep(bool all);
const char *cpu_logged(void);

#endif
