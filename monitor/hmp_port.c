/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "monitor/hmp_internal.h"

/* An access of 8 bytes there is not: as in QEMU it is one of a single byte. */
static unsigned int access_size(const struct hmp_args *args)
{
	return args->size == 8 ? 1 : args->size;
}

/* Ports of KVM's own devices can not be reached from outside of it: that has been said then. */
static bool reaches_bus(struct hmp *hmp, uint16_t port, unsigned int size)
{
	const char *owner = hmp_kvm_port(hmp->vm, port, size);

	if (!owner)
		return true;
	text_printf(hmp->out, "Port 0x%04x is of a device in the kernel (%s), which only the guest can "
		    "reach\n", port, owner);
	return false;
}

void hmp_i(struct hmp *hmp, const struct hmp_args *args)
{
	uint16_t port = (uint16_t)args->index;
	unsigned int size = access_size(args);
	char suffix = size == 1 ? 'b' : size == 2 ? 'w' : 'l';

	if (reaches_bus(hmp, port, size))
		text_printf(hmp->out, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", suffix, port,
			    (int)args->size * 2, bus_read(&hmp->vm->pio, port, size));
}

void hmp_o(struct hmp *hmp, const struct hmp_args *args)
{
	uint16_t port = (uint16_t)args->index;
	unsigned int size = access_size(args);

	if (reaches_bus(hmp, port, size))
		bus_write(&hmp->vm->pio, port, args->number[0] & bus_mask(size), size);
}
