/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_BYTES_H
#define VMM_SNAPSHOT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * Saved state as bytes, little endian, without padding.
 *
 * Both directions fail softly, so that a device is saved and loaded by a plain list of calls and
 * asked once at its end: a writer that runs out of memory keeps taking bytes and loses them, and a
 * reader that runs out of bytes gives zeros.
 *
 * Threads: one at a time.
 */
struct bytes_out {
	uint8_t *data;
	size_t len, size;       /* used, allocated */
	bool failed;            /* memory ran out: what is here is not all */
};

void bytes_put(struct bytes_out *out, const void *data, size_t len);
void bytes_put_u8(struct bytes_out *out, uint8_t value);
void bytes_put_u16(struct bytes_out *out, uint16_t value);
void bytes_put_u32(struct bytes_out *out, uint32_t value);
void bytes_put_u64(struct bytes_out *out, uint64_t value);
void bytes_out_free(struct bytes_out *out);

/* `data` is borrowed.  Starts as { .data = ..., .len = ... }. */
struct bytes_in {
	const uint8_t *data;
	size_t len, at;
	bool failed;            /* more was asked for than there is */
};

void bytes_get(struct bytes_in *in, void *data, size_t len);
uint8_t bytes_get_u8(struct bytes_in *in);
uint16_t bytes_get_u16(struct bytes_in *in);
uint32_t bytes_get_u32(struct bytes_in *in);
uint64_t bytes_get_u64(struct bytes_in *in);
/* The next `len` bytes in place, or NULL when there are not as many; never NULL for none. */
const uint8_t *bytes_take(struct bytes_in *in, size_t len);
static inline size_t bytes_left(const struct bytes_in *in)
{
	return in->len - in->at;
}

/* All was there, and nothing is left; else an error that speaks of `what`. */
int bytes_in_end(const struct bytes_in *in, const char *what, struct error *err);

#endif
