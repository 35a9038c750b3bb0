/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_CRC32C_H
#define VMM_SNAPSHOT_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli), as in RFC 3720 12.1: crc32c(0, "123456789", 9) is 0xe3069283.  `crc` is
 * that of what comes before, 0 in front.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* What crc32c() chooses from: the processor's instruction, and the plain way. */
bool crc32c_have_instruction(void);
uint32_t crc32c_instruction(uint32_t crc, const void *data, size_t len);
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t len);

#endif
