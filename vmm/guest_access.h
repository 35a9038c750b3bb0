/* SPDX-License-Identifier: MIT */
#ifndef VMM_GUEST_ACCESS_H
#define VMM_GUEST_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;

/*
 * A look into guest memory, and a change to it, from outside: of RAM alone, since reading a device's
 * register may do something.  A machine may run meanwhile; a vCPU whose page tables are used is
 * parked for as long as that takes.  Nothing of a vCPU's state becomes dirty.
 *
 * `cpu` is the vCPU whose virtual addresses are meant, or GUEST_PHYSICAL.  The range, of 1 to
 * GUEST_ACCESS_MAX bytes, is looked up as a whole first: on error, which names the first address
 * that is not RAM, nothing has been written.  Addresses do not wrap around.
 *
 * Threads: the owner's.
 */
#define GUEST_PHYSICAL          (-1)
#define GUEST_ACCESS_MAX        ((size_t)1 << 20)

int vm_memory_read(struct vm *vm, int cpu, uint64_t address, void *buf, size_t len,
		   struct error *err);
/* Refused while another thread reads RAM (a dump, a migration, a snapshot), and in inmigrate. */
int vm_memory_write(struct vm *vm, int cpu, uint64_t address, const void *buf, size_t len,
		    struct error *err);

/*
 * The physical address behind a virtual one.  ENOENT in err->code when there is none.
 */
int vm_translate(struct vm *vm, int cpu, uint64_t address, uint64_t *gpa, struct error *err);

#endif
