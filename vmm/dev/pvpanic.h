/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_PVPANIC_H
#define VMM_DEV_PVPANIC_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"

/*
 * pvpanic: one port at 0x505, on which a guest says what has become of it (the kernel's
 * include/uapi/misc/pvpanic.h, QEMU's docs/specs/pvpanic.txt).  Reading gives the events that are
 * understood.  Of several bits written at once the gravest counts; unknown ones do not.
 */
struct pvpanic;

#define PVPANIC_PORT            0x505
#define PVPANIC_PANICKED        (1 << 0)        /* the guest can not go on */
#define PVPANIC_CRASHLOADED     (1 << 1)        /* it has, and a crash kernel of its own takes over */

struct pvpanic_config {
	/* Both on the vCPU's thread. */
	void (*panicked)(void *opaque);
	void (*crashloaded)(void *opaque);
	void *opaque;
};

struct pvpanic *pvpanic_new(struct bus *pio, const struct pvpanic_config *config,
			    struct error *err);
void pvpanic_free(struct pvpanic *pvpanic);

#endif
