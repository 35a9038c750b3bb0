/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_SERIAL_H
#define VMM_DEV_SERIAL_H

#include <stddef.h>

#include "vmm/bus.h"
#include "vmm/dev/device.h"
#include "vmm/snapshot/bytes.h"

/*
 * 16550A serial port with FIFOs (National Semiconductor PC16550D data sheet), 8 ports at `base`.
 *
 * Bytes take no time on this line: the transmitter is always empty, and the time after which the
 * receiver reports a FIFO that stays below its trigger level is over as soon as bytes stop coming.
 * The far end is always there: CTS, DSR and DCD are on.
 */
struct serial;

struct serial_config {
	uint16_t base;
	irq_fn *irq;
	/* Where transmitted bytes go; on the vCPU's thread.  Must not block. */
	void (*transmit)(void *opaque, const uint8_t *bytes, size_t len);
	/*
	 * The receiver is empty again after serial_receive() took less than it was offered.  Any
	 * thread.
	 */
	void (*receive_ready)(void *opaque);
	void *opaque;           /* for all three */
};

struct serial *serial_new(struct bus *pio, const struct serial_config *config, struct error *err);
void serial_free(struct serial *serial);
void serial_reset(struct serial *serial);

/*
 * Bytes from outside for the guest; returns how many the receiver took: what its FIFO (or, without
 * FIFOs, its one register) has room for, and none in loopback mode.  No byte is lost on this way.
 * Any thread.
 */
size_t serial_receive(struct serial *serial, const uint8_t *bytes, size_t len);

/*
 * State, while no vCPU runs.  serial_load() leaves the interrupt line alone; what the receiver has
 * taken before is lost.
 */
void serial_save(struct serial *serial, struct bytes_out *out);
int serial_load(struct serial *serial, struct bytes_in *in, struct error *err);

#endif
