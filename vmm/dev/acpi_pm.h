/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_ACPI_PM_H
#define VMM_DEV_ACPI_PM_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"
#include "vmm/snapshot/bytes.h"

/*
 * ACPI hardware (ACPI specification 6.4, section 4.8): PM1a event block, PM1a control block, PM
 * timer, and a block of eight general-purpose events.  There is no SMI command port: the machine is
 * always in ACPI mode and SCI_EN is 1.
 *
 * SLP_EN with SLP_TYP 5 (or 0, which guests without our tables use) asks for power off; other sleep
 * types do nothing.  The timer has 24 bits and counts at 3.579545 MHz.  Its carry shows in TMR_STS,
 * but raises the SCI only when the guest next touches the event block.
 */
#define ACPI_PM_EVENT   0x600           /* 4 ports: PM1_STS, PM1_EN */
#define ACPI_PM_CONTROL 0x604           /* 2 ports: PM1_CNT */
#define ACPI_PM_TIMER   0x608           /* 4 ports */
#define ACPI_PM_GPE0    0x60c           /* 2 ports: GPE0_STS, GPE0_EN */
#define ACPI_PM_S5      5               /* SLP_TYP of soft off */

struct acpi_pm;

struct acpi_pm_config {
	irq_fn *sci;                    /* level triggered, active high */
	void (*power_off)(void *opaque);
	clock_fn *clock;                /* the machine's; never negative */
	void *opaque;                   /* for all three */
};

struct acpi_pm *acpi_pm_new(struct bus *pio, const struct acpi_pm_config *config,
			    struct error *err);
void acpi_pm_free(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);

/* Sets PWRBTN_STS and with it, if the guest has enabled that, the SCI.  Any thread. */
void acpi_pm_power_button(struct acpi_pm *pm);

/* Sets the status of a general-purpose event, 0 to 7, likewise.  Any thread. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned int event);

/*
 * State, while no vCPU runs.  The timer follows from the clock, which is none of it.
 * acpi_pm_load() leaves the SCI alone.
 */
void acpi_pm_save(struct acpi_pm *pm, struct bytes_out *out);
int acpi_pm_load(struct acpi_pm *pm, struct bytes_in *in, struct error *err);

#endif
