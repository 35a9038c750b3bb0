/* SPDX-License-Identifier: MIT */
#ifndef VMM_BOOT_ACPI_H
#define VMM_BOOT_ACPI_H

#include <stdint.h>

#include "vmm/cpu_topology.h"
#include "vmm/error.h"
#include "vmm/memory.h"

/*
 * The ACPI tables that describe a machine to its guest: RSDP, XSDT, FADT, FACS, MADT, DSDT (ACPI
 * specification 6.4).  They lie in the PC's firmware area, where guests search for the RSDP, and
 * which the memory map has as reserved.
 *
 * The DSDT has a device for the machine's generation id, whose 16 bytes are not written here but
 * lie in a page of their own behind the tables; a general-purpose event tells that they changed.
 */

/* Where the RSDP is, and the other tables behind it. */
#define ACPI_TABLES_START 0xe0000u

#define ACPI_GENERATION_ID  0xff000u
#define ACPI_GENERATION_GPE 0

/*
 * Writes the tables for a machine with processors of this topology, the n-th of which has n as its
 * ACPI id.  Owner's thread, while no vCPU runs.  Fails when the area is not RAM or too small.
 */
int acpi_write_tables(const struct memory *memory, const struct cpu_topology *topology,
		      struct error *err);

#endif
