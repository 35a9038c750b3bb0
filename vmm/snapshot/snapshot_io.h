/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_SNAPSHOT_IO_H
#define VMM_SNAPSHOT_SNAPSHOT_IO_H

#include <stdatomic.h>

#include "vmm/memory.h"
#include "vmm/snapshot/sections.h"

/*
 * Sections and RAM on a descriptor; vmond-snapshot(5) describes the two forms.
 *
 * A *stream* is read and written front to back, on anything: RAM comes in checksummed pieces, zero
 * pages left out, if wanted compressed.  A *file* has the same sections, and behind them RAM as it
 * is, page-aligned and sparse, so that it can be mapped.  A stream can be stored in a file, too;
 * its header says what it is.
 *
 * Threads: each call runs on one thread, which need not be the machine's owner, while no vCPU
 * runs.  `transfer` is how others watch and cancel it: it ends within about 100 ms, except while
 * the kernel flushes a file to its disk.
 *
 * SIGPIPE and SIGXFSZ must be ignored in the process.
 */
enum snapshot_form { SNAPSHOT_STREAM, SNAPSHOT_FILE };

struct snapshot_transfer {
	/* Constant while it goes on. */
	uint64_t max_bandwidth;                 /* of writing; bytes a second, 0: no limit */
	int zstd_level;                         /* of a stream's RAM: 1 to 22; 0: not compressed */
	/* Any thread. */
	_Atomic bool cancelled;                 /* by others: it ends soon, with ECANCELED */
	_Atomic uint64_t total;                 /* bytes of RAM */
	_Atomic uint64_t remaining;             /* bytes of RAM still to come */
	_Atomic uint64_t transferred;           /* bytes written or read, of everything */
	_Atomic uint64_t zero_pages, normal_pages;      /* of 4096 bytes; not counted if mapped */
};

/*
 * Writes a whole stream.  `fd` may be anything that can be written to, blocking or not; a pipe or a
 * terminal is non-blocking meanwhile.  A peer that has gone is an error.  Cancelling has no effect
 * any more once the last byte has been handed over, because the peer may have it: then it is a
 * success.  Nothing is flushed to a disk.
 */
int snapshot_write_stream(int fd, const struct sections *sections, const struct memory *memory,
			  struct snapshot_transfer *transfer, struct error *err);

/*
 * Writes the file form to `path`: beside it first, then flushed, then renamed, so that under this
 * name there is either what was there before or all of the new one, whatever happens; what was
 * begun is removed on failure and on cancellation.  The new file has mode 0600, because guest
 * memory has secrets; a symbolic link is replaced, not followed; what is no regular file is
 * refused.  `path` may be the file that `memory` is mapped from.
 */
int snapshot_write_file(const char *path, const struct sections *sections,
			const struct memory *memory, struct snapshot_transfer *transfer,
			struct error *err);

/*
 * Reads the front of a snapshot, which says what machine it is of: into `sections`, which must be
 * empty and is again on failure, come all that are in front of RAM.  The file form is taken from
 * the start of a regular file only.  `fd` and `transfer` are borrowed until snapshot_close().
 */
struct snapshot_reader;
struct snapshot_reader *snapshot_open(int fd, struct snapshot_transfer *transfer,
				      struct sections *sections, struct error *err);
enum snapshot_form snapshot_reader_form(const struct snapshot_reader *reader);
/* RAM of the machine that was saved, in bytes: what `memory` must have. */
uint64_t snapshot_reader_ram(const struct snapshot_reader *reader);
/*
 * Reads what is left, RAM and the end mark, and of a stream not a byte behind it; once.  `memory`
 * must be fresh (zero), and is on failure, too.
 */
int snapshot_read_ram(struct snapshot_reader *reader, struct memory *memory,
		      struct error *err);
/*
 * File form only: maps RAM from the file instead, copy on write, over what `memory` has; pages load
 * when they are first touched.  The mapping outlives reader and fd.  The file must not be changed
 * or cut short while anybody has it mapped: snapshot_write_file() never does.  On failure `memory`
 * is fresh.
 */
int snapshot_map_ram(struct snapshot_reader *reader, struct memory *memory, struct error *err);
void snapshot_close(struct snapshot_reader *reader);    /* not fd; NULL is allowed */

#endif
