/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_CMOS_H
#define VMM_DEV_CMOS_H

#include <stdint.h>

/* The memory behind the real-time clock, as PC firmware leaves it to kernels. */
#define CMOS_SIZE       128

/* Puts the sizes of RAM where they belong: in bytes, below 4 GiB and from there up. */
void cmos_put_memory_sizes(uint8_t cmos[CMOS_SIZE], uint64_t low, uint64_t high);

#endif
