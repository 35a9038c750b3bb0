/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_DEVICE_H
#define VMM_DEV_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What all devices have in common.  Each is created with what it needs of its surroundings as
 * callbacks (an interrupt line, a clock, a place for its output, a request to the machine) and
 * registers itself on a bus; *_free() takes it off again and allows NULL.
 *
 * Threads: *_new() and *_free() on the owner's thread while no vCPU runs.  Bus handlers run on vCPU
 * threads, and *_reset() on the owner's; every device that has state has a mutex around it.
 * Callbacks are made without it held, except `irq` (its order matters) and clocks.
 */

/* An interrupt line: sets its level.  Must be callable from every thread and must not block. */
typedef void irq_fn(void *opaque, bool level);

/* A clock in nanoseconds: of what, the device says.  Callable from every thread. */
typedef int64_t clock_fn(void *opaque);

/*
 * Devices whose registers are single bytes see a wider access as the ISA bus delivers it: byte by
 * byte, lowest address first.
 */
static inline uint64_t device_read_bytes(uint8_t (*read)(void *opaque, unsigned int offset),
					 void *opaque, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		value |= (uint64_t)read(opaque, offset + i) << (i * 8);
	return value;
}

static inline void device_write_bytes(void (*write)(void *opaque, unsigned int offset,
						    uint8_t value),
				      void *opaque, uint64_t offset, uint64_t value,
				      unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		write(opaque, offset + i, value >> (i * 8));
}

#endif
