/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_DEBUG_EXIT_H
#define VMM_DEV_DEBUG_EXIT_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"

#define DEBUG_EXIT_PORT         0xf4
#define DEBUG_EXIT_PORTS        4

/*
 * Debug exit: 4 ports at 0xf4, by which a guest ends its machine and says how it went.  Any write
 * counts; reading gives all ones.
 */
struct debug_exit;

struct debug_exit_config {
	/* On the vCPU's thread. */
	void (*exit)(void *opaque, uint32_t value);
	void *opaque;
};

struct debug_exit *debug_exit_new(struct bus *pio, const struct debug_exit_config *config,
				  struct error *err);
void debug_exit_free(struct debug_exit *debug_exit);

/* The exit status of the process for a value: odd, thus never 0, which a guest can not claim. */
static inline int debug_exit_status(uint32_t value)
{
	return (value << 1 | 1) & 0xff;
}

#endif
