/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_DEVICE_INFO_H
#define VMM_DEV_DEVICE_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm.h"

/*
 * What devices a machine has, for those who list them.  Types, and the names and types of
 * properties, are QEMU's where QEMU has such a device ("isa-serial", "iobase").
 *
 * The devices in machine_devices.c, then those that KVM has for every machine.  Constant; any
 * thread.
 */

enum device_place {
	DEVICE_ON_ISA,          /* in port I/O space, beside what else a PC has there */
	DEVICE_ON_SYSTEM,       /* in memory space */
	DEVICE_ON_NOTHING,      /* known to the guest's firmware tables alone */
};

/* A value that is the same for the machine's whole life. */
struct device_property {
	const char *name;
	const char *type;       /* "bool", "uint8", "uint16", "uint32" */
	uint32_t value;
};

#define DEVICE_PROPERTIES_MAX 4

struct device_info {
	const char *type;
	const char *parent;     /* the type that this one is a kind of: "isa-device" */
	enum device_place place;
	bool needs_pit;         /* there only where KVM has a PIT */
	struct device_property property[DEVICE_PROPERTIES_MAX + 1];     /* ends with name NULL */
};

/* All that any machine can have, ended by type NULL.  Two may be of one type. */
extern const struct device_info device_infos[];

/* Whether a machine on this host has it. */
bool device_is_there(const struct device_info *device, const struct kvm_caps *caps);

#endif
