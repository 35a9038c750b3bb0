/* SPDX-License-Identifier: MIT */
#include "vmm/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void bus_init(struct bus *bus, const char *name)
{
	*bus = (struct bus){ .name = name };
}

void bus_destroy(struct bus *bus)
{
	free(bus->range);
	*bus = (struct bus){ .name = bus->name };
}

/* How many ranges start at or below the address: the one before that number may hold it. */
static unsigned int ranges_up_to(const struct bus *bus, uint64_t address)
{
	unsigned int low = 0, high = bus->nr_ranges;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (bus->range[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Last addresses, not ends: a range may reach the top of the address space. */
static uint64_t range_last(const struct bus_range *range)
{
	return range->start + (range->size - 1);
}

int bus_add(struct bus *bus, uint64_t start, uint64_t size, const struct bus_device *device,
	    struct error *err)
{
	const struct bus_range *rival = NULL;
	struct bus_range *range;
	unsigned int at;
	uint64_t last = start + (size - 1);

	if (!size || last < start)
		return error_set(err, EINVAL, "%s: no such %s range: 0x%" PRIx64 ", 0x%" PRIx64
				 " bytes", device->name, bus->name, start, size);
	at = ranges_up_to(bus, start);
	if (at > 0 && range_last(&bus->range[at - 1]) >= start)
		rival = &bus->range[at - 1];
	else if (at < bus->nr_ranges && bus->range[at].start <= last)
		rival = &bus->range[at];
	if (rival)
		return error_set(err, EBUSY, "%s range 0x%" PRIx64 "-0x%" PRIx64 " of %s overlaps "
				 "0x%" PRIx64 "-0x%" PRIx64 " of %s", bus->name, start, last,
				 device->name, rival->start, range_last(rival),
				 rival->device.name);
	range = realloc(bus->range, (bus->nr_ranges + 1) * sizeof(*range));
	if (!range)
		return error_errno(err, ENOMEM, "%s: %s range", device->name, bus->name);
	bus->range = range;
	memmove(&range[at + 1], &range[at], (bus->nr_ranges - at) * sizeof(*range));
	range[at] = (struct bus_range){ .start = start, .size = size, .device = *device };
	bus->nr_ranges++;
	return 0;
}

void bus_remove(struct bus *bus, const void *opaque)
{
	unsigned int from, to = 0;

	for (from = 0; from < bus->nr_ranges; from++)
		if (bus->range[from].device.opaque != opaque)
			bus->range[to++] = bus->range[from];
	bus->nr_ranges = to;
}

/* The range that holds the whole access, or NULL. */
static const struct bus_range *bus_find(const struct bus *bus, uint64_t address, unsigned int size)
{
	unsigned int at = ranges_up_to(bus, address);
	const struct bus_range *range;
	uint64_t offset;

	if (!at)
		return NULL;
	range = &bus->range[at - 1];
	offset = address - range->start;
	if (offset >= range->size || size > range->size - offset)
		return NULL;
	return range;
}

uint64_t bus_read(const struct bus *bus, uint64_t address, unsigned int size)
{
	const struct bus_range *range = bus_find(bus, address, size);
	uint64_t value = UINT64_MAX;

	if (range && range->device.read)
		value = range->device.read(range->device.opaque, address - range->start, size);
	return value & bus_mask(size);
}

void bus_write(const struct bus *bus, uint64_t address, uint64_t value, unsigned int size)
{
	const struct bus_range *range = bus_find(bus, address, size);

	if (range && range->device.write)
		range->device.write(range->device.opaque, address - range->start,
				    value & bus_mask(size), size);
}
