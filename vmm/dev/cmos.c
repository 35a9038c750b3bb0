/* SPDX-License-Identifier: MIT */
#include "vmm/dev/cmos.h"

#include "vmm/bus.h"

#define BASE_MEMORY             0x15    /* below 640 KiB, in KiB: 2 bytes */
#define EXTENDED_MEMORY         0x17    /* from 1 MiB up, in KiB: 2 bytes, and again at 0x30 */
#define EXTENDED_MEMORY_2       0x30
#define MEMORY_16M              0x34    /* from 16 MiB to 4 GiB, in 64 KiB: 2 bytes */
#define MEMORY_4G               0x5b    /* from 4 GiB up, in 64 KiB: 3 bytes */

/* `size` in units of 1 << shift, from `start` up, as far as `len` bytes can say it. */
static void put_size(uint8_t *at, unsigned int len, uint64_t size, uint64_t start,
		     unsigned int shift)
{
	uint64_t units = size > start ? (size - start) >> shift : 0;
	unsigned int i;

	if (units > bus_mask(len))
		units = bus_mask(len);
	for (i = 0; i < len; i++)
		at[i] = units >> (i * 8);
}

void cmos_put_memory_sizes(uint8_t cmos[CMOS_SIZE], uint64_t low, uint64_t high)
{
	uint64_t base = low < 640 << 10 ? low : 640 << 10;

	put_size(cmos + BASE_MEMORY, 2, base, 0, 10);
	put_size(cmos + EXTENDED_MEMORY, 2, low, 1 << 20, 10);
	put_size(cmos + EXTENDED_MEMORY_2, 2, low, 1 << 20, 10);
	put_size(cmos + MEMORY_16M, 2, low, 16 << 20, 16);
	put_size(cmos + MEMORY_4G, 3, high, 0, 16);
}
