/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPUID_INTERNAL_H
#define VMM_CPUID_INTERNAL_H

#include "vmm/cpuid.h"

/*
 * A table in the making.
 *
 *     cpuid.c             what leaves there are, and in which order; KVM's own
 *     cpuid_leaves.c      leaves about the processor
 *     cpuid_topology.c    leaves about its place, its neighbours, and the caches they share
 *     cpuid_xsave.c       leaf 0xD
 *     cpuid_changes.c     what the kernel made of it
 */
struct cpuid_maker {
	const struct cpu *cpu;
	const struct kvm_cpuid2 *host;          /* KVM_GET_SUPPORTED_CPUID */
	const struct cpu_topology *topology;
	uint32_t tsc_khz;                       /* 0: not known, or nothing to be said of it */
	bool amd;                               /* the guest's processor is described like AMD's */
	bool like_host;                         /* caches and such are the host's own */
	uint32_t level, xlevel;
	struct kvm_cpuid2 *table;
	uint32_t room;
};

/* Appends an entry; leaf and subleaf as they are in it. */
void cpuid_put(struct cpuid_maker *m, struct kvm_cpuid_entry2 entry);
/* The same as the host's, all subleaves of it. */
void cpuid_put_host(struct cpuid_maker *m, uint32_t leaf);
/* The host's entry or one of zeros, which may then be changed and put. */
struct kvm_cpuid_entry2 cpuid_host_entry(const struct cpuid_maker *m, uint32_t leaf,
					 uint32_t subleaf);
/* A new entry with a subleaf that counts. */
struct kvm_cpuid_entry2 cpuid_subleaf(uint32_t leaf, uint32_t subleaf);

/* Each puts one leaf of its number, with all subleaves; false when it has nothing to say of it. */
bool cpuid_put_processor(struct cpuid_maker *m, uint32_t leaf);
bool cpuid_put_topology(struct cpuid_maker *m, uint32_t leaf);
void cpuid_put_xsave(struct cpuid_maker *m);

#endif
