/* SPDX-License-Identifier: MIT */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * Guest-physical memory.  RAM is one host mapping, seen by the guest in at most two parts: below
 * the hole that PCI devices and the interrupt controllers live in, and above 4 GiB.
 *
 * Threads: the layout is constant once made, and what is behind it changes by memory_map_file() and
 * memory_clear() alone, called while nobody else touches RAM.  The bytes belong to the guest; the
 * host reads and writes them at any time as a device would, with no promise of order.
 */
#define MEMORY_PAGE     4096ULL                 /* parts of RAM begin and end at multiples of it */
#define MEMORY_LOW_MAX  (3ULL << 30)            /* RAM below the hole ends here at the latest */
#define MEMORY_HIGH     (4ULL << 30)            /* RAM above the hole starts here */

struct memory_part {
	uint64_t gpa;           /* guest-physical address */
	uint64_t size;          /* in bytes */
	uint8_t *host;          /* where this process sees it */
};

struct memory {
	uint8_t *host;          /* the whole mapping */
	uint64_t size;          /* of the whole, in bytes */
	unsigned int nr_parts;  /* 1 or 2 */
	struct memory_part part[2];

	/* After memory_map_file(): a descriptor of our own, and where in the file RAM begins. */
	bool from_file;
	int file;
	uint64_t file_offset;
};

/*
 * Maps `size` bytes (a multiple of 4096, at least 1 MiB).  Memory is zero until touched, and
 * nothing is touched here.  Fails when the host does not have that much, saying what it has.  The
 * mapping is not inherited over fork(): a child that shared guest RAM copy-on-write would double
 * what is written.
 */
int memory_init(struct memory *m, uint64_t size, struct error *err);
void memory_destroy(struct memory *m);

/*
 * Puts the bytes of a file from `offset` (a multiple of 4096) on in the place of what RAM has been
 * so far, the parts one behind the other, at the same host addresses.  Pages are read when they are
 * first touched, and copied when they are first written to; the file is never written.  It must
 * be a regular one with at least that many bytes and must keep them: a page that has gone when it
 * is touched is SIGBUS.  `fd` stays the caller's and may be closed.  On error RAM is as after
 * memory_clear().
 */
int memory_map_file(struct memory *m, int fd, uint64_t offset, struct error *err);

/*
 * Makes RAM what memory_init() made it: zero and untouched, from no file.  Fails only when the host
 * can not give that much any longer; RAM is then good for memory_destroy() alone.
 */
int memory_clear(struct memory *m, struct error *err);

/*
 * Host address of [gpa, gpa + len), or NULL unless the whole range is RAM of one part.  len may be
 * 0: then gpa itself must lie in RAM or at the end of a part.
 */
void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len);

/* How many of the `len` bytes at gpa lie together in RAM, and where; 0 when gpa is not RAM. */
size_t memory_run(const struct memory *m, uint64_t gpa, size_t len, uint8_t **host);

/*
 * Copies between guest RAM and a buffer, over the border of parts where need be.  Return false, and
 * have copied nothing, when any byte of the range is not RAM.
 */
bool memory_read(const struct memory *m, uint64_t gpa, void *buf, size_t len);
bool memory_write(const struct memory *m, uint64_t gpa, const void *buf, size_t len);

#endif
