/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MEMSAVE_H
#define MONITOR_MEMSAVE_H

#include <stdint.h>

#include "vmm/error.h"
#include "vmm/vm.h"

/*
 * Saving guest memory to a file, for memsave and pmemsave of both monitors.
 *
 * The file is created, or truncated and written in place (clients hand in files that they hold open
 * themselves).  On failure a file that was created is removed and one that was there is left empty.
 * Anything but a regular file is refused: writing to it could hold up the event loop for ever.
 *
 * Threads: the owner's.  A running VM is held up for a piece of 1 MiB at a time, never while the
 * file is written.
 */

/*
 * Virtual memory as vCPU `cpu` sees it.  Error texts are QEMU's: "Invalid addr 0x.../size N
 * specified" when anything in the range is not mapped to RAM, "Could not open '...': ...",
 * "Parameter 'cpu-index' expects a CPU number".
 */
int memsave_virtual(struct vm *vm, int cpu, uint64_t addr, uint64_t size, const char *filename,
		    struct error *err);

/*
 * Physical memory.  What is not RAM is zero in the file, as with QEMU, and a hole where the file
 * system has holes.
 */
int memsave_physical(struct vm *vm, uint64_t addr, uint64_t size, const char *filename,
		     struct error *err);

#endif
