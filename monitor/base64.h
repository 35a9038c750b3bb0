/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_BASE64_H
#define MONITOR_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 4648, section 4: the standard alphabet, with padding, and nothing else between. */

/* Characters that `len` bytes become. */
static inline size_t base64_length(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* Writes base64_length(len) characters, without a NUL behind them. */
void base64_encode(const uint8_t *bytes, size_t len, char *text);

/*
 * The other way, for text of `len` characters: writes at most len / 4 * 3 bytes and returns how
 * many in *size.  False when it is no base64, or not the one form that some bytes have.
 */
bool base64_decode(const char *text, size_t len, uint8_t *bytes, size_t *size);

#endif
