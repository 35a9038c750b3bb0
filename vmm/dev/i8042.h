/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_I8042_H
#define VMM_DEV_I8042_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"
#include "vmm/snapshot/bytes.h"

/*
 * i8042 keyboard controller of the AT kind (one channel, no mouse) with no keyboard plugged in:
 * ports 0x60 and 0x64 (IBM PC/AT Technical Reference, "Keyboard Controller").  Its commands work, a
 * byte sent to the keyboard times out, and no interrupt ever comes.  It answers at once: the input
 * buffer is always empty.
 *
 * What machines use it for is reset: command 0xfe, or bit 0 of its output port.  Port 0x92 (fast
 * A20 and reset) is here too.  The A20 bit reads back as written and gates nothing: A20 is always
 * open.
 */
struct i8042;

struct i8042_config {
	/* On the vCPU's thread. */
	void (*reset)(void *opaque);
	void *opaque;
};

struct i8042 *i8042_new(struct bus *pio, const struct i8042_config *config, struct error *err);
void i8042_free(struct i8042 *i8042);
void i8042_reset(struct i8042 *i8042);

/* State, while no vCPU runs. */
void i8042_save(struct i8042 *i8042, struct bytes_out *out);
int i8042_load(struct i8042 *i8042, struct bytes_in *in, struct error *err);

#endif
