/* SPDX-License-Identifier: MIT */
#ifndef VMM_STATS_H
#define VMM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;

/*
 * What KVM counts of a machine and of each of its vCPUs: api.rst 4.133, KVM_GET_STATS_FD.
 *
 * Descriptors are opened when they are first asked for.  Opening a vCPU's takes the kernel's lock of
 * that vCPU, so all are parked for that moment, once; reading takes no lock and stops nobody.
 *
 * Threads: the owner's.
 */
enum stats_target { STATS_VM, STATS_VCPU };

enum stats_type {
	STATS_CUMULATIVE,
	STATS_INSTANT,
	STATS_PEAK,
	STATS_LINEAR_HISTOGRAM,
	STATS_LOG2_HISTOGRAM,
};

enum stats_unit {
	STATS_UNIT_NONE,
	STATS_UNIT_BYTES,
	STATS_UNIT_SECONDS,
	STATS_UNIT_CYCLES,
	STATS_UNIT_BOOLEAN,
};

/* One thing that is counted: in units of base^exponent `unit`. */
struct stats_desc {
	const char *name;
	enum stats_type type;
	enum stats_unit unit;
	unsigned int base;              /* 10 or 2 */
	int exponent;
	uint32_t bucket_size;           /* of a linear histogram */
	unsigned int nr;                /* values: 1, or the buckets of a histogram */
	size_t at;                      /* of the first, in the bytes of struct stats_values */
};

struct stats_schema {
	unsigned int nr;
	struct stats_desc *desc;
	/* The rest is for stats.c. */
	char *text;                     /* names */
	uint64_t data_offset;           /* in the descriptor's file */
	size_t data_size;
};

/*
 * What there is of a target.  Types, units and bases that a newer kernel may have are left out.  The
 * schema stays as it is as long as the machine does.  NULL on error, and with err->code ENOTSUP on
 * a host without KVM_CAP_BINARY_STATS_FD.
 */
const struct stats_schema *vm_stats_schema(struct vm *vm, enum stats_target target,
					   struct error *err);

/*
 * Reads the values of the VM, or of vCPU `index`, all at once: the bytes belong to the machine and
 * stay as they are until the next call.  NULL on error.
 */
const uint8_t *vm_stats_read(struct vm *vm, enum stats_target target, unsigned int index,
			     struct error *err);

/* Value n of those. */
uint64_t stats_value(const struct stats_desc *desc, const uint8_t *bytes, unsigned int n);

/* "cumulative", "seconds": StatsType and StatsUnit of QMP. */
const char *stats_type_name(enum stats_type type);
const char *stats_unit_name(enum stats_unit unit);

#endif
