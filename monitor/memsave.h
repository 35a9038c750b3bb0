/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MEMSAVE_H
#define MONITOR_MEMSAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"
#include "vmm/pagewalk.h"

/*
 * Saving guest memory to a file, for memsave and pmemsave of both monitors.
 *
 * The file is created, or truncated and written in place (clients hand in files that they hold open
 * themselves).  On failure a file that was created is removed and one that was there is left empty.
 * Anything but a regular file is refused.  As long as it is written it has a lock (flock(2)), so
 * that no two write to one file.
 *
 * A thread opens the file and writes it, so that the monitors stay answered however slow the disk
 * is.  A machine that runs goes on, and changes its memory meanwhile, as with QEMU, whose vCPUs run
 * on as well: who wants the memory of one moment stops the machine, and lets it stand until the
 * reply has come.  Virtual addresses are those of the address space that the vCPU was in when the
 * command was given, from the first byte to the last.
 */

/* What is to be saved. */
struct memsave_range {
	const struct memory *memory;
	const struct page_space *space; /* whose virtual addresses are meant; NULL: physical ones */
	uint64_t addr, size;
};

/*
 * Writes it to the file.  Error texts are QEMU's: "Invalid addr 0x.../size N specified" when
 * anything in a range of virtual addresses is not mapped to RAM, "Could not open '...': ...".  What
 * of a physical range is not RAM is zero in the file, as with QEMU, and a hole where the file system
 * has holes.  With *cancelled it fails soon.
 *
 * Threads: any; it takes as long as the disk does.
 */
int memsave_write(const struct memsave_range *range, const char *filename,
		  const _Atomic bool *cancelled, struct error *err);

/*
 * The rest is the event loop's.
 */
struct memsave;
struct monitor;
struct qmp_pending;

/* As many at once; more are refused. */
#define MEMSAVES_MAX            16

#define MEMSAVE_PHYSICAL        (-1)

/*
 * Starts the thread: `cpu` is the vCPU whose virtual addresses are meant, one that there is, or
 * MEMSAVE_PHYSICAL.  NULL on error.  What is returned is valid until the reply has been sent, which
 * is never before the caller has gone back to the event loop.
 */
struct memsave *memsave_start(struct monitor *monitor, int cpu, uint64_t addr, uint64_t size,
			      const char *filename, struct error *err);

/*
 * Who is told of the end, whatever it was deferred with as opaque value; may be NULL.  Without, or
 * when the client goes, the file is written all the same, and a failure is logged.
 */
void memsave_await(struct memsave *save, struct qmp_pending *pending);
void memsave_forget(void *save);                /* a qmp_gone_fn */

/* All of them, and returns when there are none left: no half of a file is either. */
void memsave_end(struct monitor *monitor);

#endif
