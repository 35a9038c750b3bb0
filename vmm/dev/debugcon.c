/* SPDX-License-Identifier: MIT */
#include "vmm/dev/debugcon.h"

#include <errno.h>
#include <stdlib.h>

struct debugcon {
	struct debugcon_config config;          /* constant */
	struct bus *bus;
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return DEBUGCON_PORT;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	const struct debugcon *d = opaque;
	uint8_t byte = value;

	(void)offset;
	(void)size;
	d->config.transmit(d->config.opaque, &byte, 1);
}

struct debugcon *debugcon_new(struct bus *pio, const struct debugcon_config *config,
			      struct error *err)
{
	struct debugcon *d = calloc(1, sizeof(*d));
	struct bus_device device = { "debugcon", debugcon_read, debugcon_write, d };

	if (!d) {
		error_errno(err, ENOMEM, "debug console");
		return NULL;
	}
	d->config = *config;
	d->bus = pio;
	if (bus_add(pio, DEBUGCON_PORT, 1, &device, err) == -1) {
		free(d);
		return NULL;
	}
	return d;
}

void debugcon_free(struct debugcon *d)
{
	if (!d)
		return;
	bus_remove(d->bus, d);
	free(d);
}
