/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_BOOT_LOADED_H
#define TESTS_UNIT_BOOT_LOADED_H

#include <stddef.h>
#include <stdint.h>

#include "tests/unit/boot_images.h"

/* An image that was loaded, and what is in the machine's RAM then. */
#define MIB             (1u << 20)
#define RAM_LOW         (8 * MIB)
#define FIRMWARE_START  0x9fc00u

extern struct memory ram;
extern struct boot_entry entry;

/*
 * Makes RAM_LOW bytes of RAM and `high` more above 4 GiB, opens what config names, and loads it as
 * often as asked for: the first time into empty RAM, then over rubbish.
 */
void load(const struct boot_config *config, uint64_t high, const char *format, int times);
void unload(void);

/* Guest RAM; the test fails where there is none. */
const void *at(uint64_t gpa, uint64_t len);
uint32_t u32(uint64_t gpa);
uint64_t u64(uint64_t gpa);
void assert_bytes(uint64_t gpa, const void *want, size_t len);
void assert_zero(uint64_t gpa, size_t len);
void assert_elf64_segments(const struct elf64_image *image);

/* What the page tables map gpa to, by a page of 2 MiB; all ones where they do not. */
uint64_t walk(uint64_t gpa);

#endif
