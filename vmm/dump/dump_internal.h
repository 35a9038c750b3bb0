/* SPDX-License-Identifier: MIT */
#ifndef VMM_DUMP_DUMP_INTERNAL_H
#define VMM_DUMP_DUMP_INTERNAL_H

#include <linux/kvm.h>
#include <stddef.h>

#include "vmm/dump/dump.h"
#include "vmm/memory.h"
#include "vmm/pagewalk.h"
#include "vmm/snapshot/bytes.h"
#include "vmm/snapshot/snapshot_io_internal.h"

/* What of a vCPU comes into the file. */
struct dump_cpu {
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct page_space space;        /* where its addresses lead, by `sregs` */
	uint64_t kernel_gs_base;        /* MSR; 0 where KVM does not have it */
};

/* A piece of physical memory that is in the file. */
struct dump_block {
	uint64_t pa, size;
	const struct memory_part *part; /* that it lies in */
	uint64_t offset;                /* in the file, as far from a page's beginning as in RAM */
};

/* Where some of it is seen: a program header PT_LOAD. */
struct dump_load {
	uint64_t va, pa, size;
	unsigned int block;             /* that it lies in */
};

/* Page tables can describe any number of pieces in little memory; see dump_map_virtual(). */
#define DUMP_LOADS_MAX  (1u << 20)

struct dump_map {
	unsigned int nr_blocks;
	struct dump_block block[2];     /* as many as RAM has parts */
	size_t nr_loads;
	struct dump_load *load;
};

enum dump_class {
	DUMP_ELF32,                     /* no vCPU in long mode, all memory below 4 GiB */
	DUMP_ELF64_386,                 /* ... and some above */
	DUMP_ELF64,
};

/* One dump, as its thread knows it.  All but `transfer` is constant while the thread runs. */
struct dump_job {
	struct dump_config config;
	const struct memory *memory;
	unsigned int nr_cpus;
	struct dump_cpu *cpu;
	struct dump_map map;
	/* Cancelled and total as its header says; remaining counts what is not written yet. */
	struct snapshot_transfer transfer;
	/* Called now and then on the job's thread. */
	void (*progress)(void *opaque);
	void *opaque;
};

/* Which memory is wanted.  Fails when there is none. */
int dump_map_blocks(struct dump_map *map, const struct memory *memory,
		    const struct dump_config *config, struct error *err);
uint64_t dump_map_total(const struct dump_map *map);

/*
 * The loads: virtual addresses if that is wanted and some vCPU pages, else physical ones.  What
 * several vCPUs see at the same address comes once; where they see different memory there, each.
 * Fails when the tables describe more than DUMP_LOADS_MAX pieces or PAGEWALK_MAX_TABLES tables.
 */
int dump_map_loads(struct dump_job *job, struct error *err);
void dump_map_free(struct dump_map *map);

enum dump_class dump_class(const struct dump_job *job);

/*
 * All that comes in front of memory, and where in the file each block begins: fills
 * block[].offset.  -1 when memory runs out.
 */
int dump_elf(struct dump_job *job, struct bytes_out *out, struct error *err);

/* Writes the whole file to a descriptor of any kind, zero pages as holes where it can have some. */
int dump_write(struct dump_job *job, int fd, struct error *err);

#endif
