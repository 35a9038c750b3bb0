/* SPDX-License-Identifier: MIT */
#include "vmm/dev/pvpanic.h"

#include <errno.h>
#include <stdlib.h>

struct pvpanic {
	struct pvpanic_config config;           /* constant */
	struct bus *bus;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED | PVPANIC_CRASHLOADED;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	const struct pvpanic *p = opaque;

	(void)offset;
	(void)size;
	if (value & PVPANIC_PANICKED)
		p->config.panicked(p->config.opaque);
	else if (value & PVPANIC_CRASHLOADED)
		p->config.crashloaded(p->config.opaque);
}

struct pvpanic *pvpanic_new(struct bus *pio, const struct pvpanic_config *config,
			    struct error *err)
{
	struct pvpanic *p = calloc(1, sizeof(*p));
	struct bus_device device = { "pvpanic", pvpanic_read, pvpanic_write, p };

	if (!p) {
		error_errno(err, ENOMEM, "pvpanic");
		return NULL;
	}
	p->config = *config;
	p->bus = pio;
	if (bus_add(pio, PVPANIC_PORT, 1, &device, err) == -1) {
		free(p);
		return NULL;
	}
	return p;
}

void pvpanic_free(struct pvpanic *p)
{
	if (!p)
		return;
	bus_remove(p->bus, p);
	free(p);
}
