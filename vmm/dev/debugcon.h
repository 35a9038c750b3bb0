/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_DEBUGCON_H
#define VMM_DEV_DEBUGCON_H

#include <stddef.h>

#include "vmm/bus.h"
#include "vmm/dev/device.h"

#define DEBUGCON_PORT   0xe9

/* Debug console: a byte written to port 0xe9 is output; reading gives 0xe9, so guests can probe. */
struct debugcon;

struct debugcon_config {
	/* On the vCPU's thread, several at a time.  Must not block. */
	void (*transmit)(void *opaque, const uint8_t *bytes, size_t len);
	void *opaque;
};

struct debugcon *debugcon_new(struct bus *pio, const struct debugcon_config *config,
			      struct error *err);
void debugcon_free(struct debugcon *debugcon);

#endif
