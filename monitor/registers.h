/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_REGISTERS_H
#define MONITOR_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;

/* The registers that can be set by name, for set-vcpu-registers and the human monitor's set. */
struct settable;

/* NULL when there is none of that name; `len` characters. */
const struct settable *settable_find(const char *name, size_t len);
const char *settable_name(const struct settable *settable);
/* In bytes: 2 or 8. */
size_t settable_size(const struct settable *settable);

struct register_value {
	const struct settable *settable;
	uint64_t value;                 /* no wider than the register */
};

/*
 * Sets registers of a stopped machine, all or, on error, none; of several values of one register the
 * last counts.  What becomes dirty is those substates that they are in.
 */
int registers_set(struct vm *vm, int64_t cpu, const struct register_value *values, size_t nr,
		  struct error *err);

#endif
