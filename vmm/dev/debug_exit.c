/* SPDX-License-Identifier: MIT */
#include "vmm/dev/debug_exit.h"

#include <errno.h>
#include <stdlib.h>

struct debug_exit {
	struct debug_exit_config config;        /* constant */
	struct bus *bus;
};

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	const struct debug_exit *d = opaque;

	(void)offset;
	(void)size;
	d->config.exit(d->config.opaque, value);
}

struct debug_exit *debug_exit_new(struct bus *pio, const struct debug_exit_config *config,
				  struct error *err)
{
	struct debug_exit *d = calloc(1, sizeof(*d));
	struct bus_device device = { "debug-exit", NULL, debug_exit_write, d };

	if (!d) {
		error_errno(err, ENOMEM, "debug exit port");
		return NULL;
	}
	d->config = *config;
	d->bus = pio;
	if (bus_add(pio, DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, &device, err) == -1) {
		free(d);
		return NULL;
	}
	return d;
}

void debug_exit_free(struct debug_exit *d)
{
	if (!d)
		return;
	bus_remove(d->bus, d);
	free(d);
}
