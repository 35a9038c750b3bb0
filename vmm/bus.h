/* SPDX-License-Identifier: MIT */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdint.h>

#include "vmm/error.h"

/*
 * Port I/O and memory-mapped I/O of the guest, dispatched to devices by address.
 *
 * Threads: ranges are registered before the first vCPU runs and never change afterwards.  Handlers
 * are called on vCPU threads, several at a time; each device guards its own data with its own lock.
 *
 * Accesses are 1 to 8 bytes, little endian: 1, 2, 4 or 8 as a rule, but KVM splits one that crosses
 * a page, and then any length may come.  Where no device claims an address, reads give all ones and
 * writes go nowhere, as on a PC's bus.
 */
struct bus_device {
	const char *name;               /* as info mtree shows it: "serial"; outlives the bus */
	/*
	 * `offset` counts from the start of the range; `size` is the access's, in bytes, and never
	 * reaches beyond the range.  Bits of `value` above the size are 0, and those that read()
	 * returns are ignored.  NULL: as if nobody claimed the address.
	 */
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned int size);
	void *opaque;
};

struct bus_range {
	uint64_t start, size;
	struct bus_device device;
};

/* One address space: ranges sorted by start, none overlapping. */
struct bus {
	const char *name;               /* "I/O" or "memory" */
	unsigned int nr_ranges;
	struct bus_range *range;
};

void bus_init(struct bus *bus, const char *name);
void bus_destroy(struct bus *bus);

/* Claims [start, start + size).  Fails when another device has any of it, naming both. */
int bus_add(struct bus *bus, uint64_t start, uint64_t size, const struct bus_device *device,
	    struct error *err);

/* Gives up every range that was claimed with this opaque pointer. */
void bus_remove(struct bus *bus, const void *opaque);

/* The bits that an access of `size` bytes carries. */
static inline uint64_t bus_mask(unsigned int size)
{
	return size < 8 ? (UINT64_C(1) << (size * 8)) - 1 : UINT64_MAX;
}

/* An access that runs over the end of a device's range reaches no device. */
uint64_t bus_read(const struct bus *bus, uint64_t address, unsigned int size);
void bus_write(const struct bus *bus, uint64_t address, uint64_t value, unsigned int size);

#endif
