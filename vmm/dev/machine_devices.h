/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_MACHINE_DEVICES_H
#define VMM_DEV_MACHINE_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"
#include "vmm/snapshot/sections.h"

struct vm;

/* Where devices answer that could be elsewhere, and their interrupt lines. */
#define MACHINE_SERIAL_PORT     0x3f8
#define MACHINE_SERIAL_GSI      4
#define MACHINE_RTC_GSI         8
#define MACHINE_SCI_GSI         9

/*
 * All devices of a machine, on vm->pio, wired to its interrupt lines, its requests (vm_post) and
 * its callbacks; device_info.h lists them.  What the guest says on the debug console goes to the
 * log, line by line.
 *
 * Devices have two clocks: the host's time of day, and the machine's own, which starts at 0 and
 * counts while the machine goes on.
 *
 * Threads: the owner's, while no vCPU runs, unless it says otherwise.
 */
struct vm_devices;

/* Needs vm->pio, vm->memory, vm->callbacks and vm->config to be set.  Keeps `vm`.  Stopped. */
struct vm_devices *vm_devices_new(struct vm *vm, struct error *err);
void vm_devices_free(struct vm_devices *devices);       /* NULL is allowed */
void vm_devices_reset(struct vm_devices *devices);

/* Writes into RAM what devices have there.  Whenever boot images have been loaded. */
void vm_devices_boot(struct vm_devices *devices);

/*
 * The machine stops (its vCPUs have parked), or goes on (they have not yet).  In between the
 * machine's clock stands still, and nothing comes from devices by itself.
 */
void vm_devices_stop(struct vm_devices *devices);
void vm_devices_go_on(struct vm_devices *devices);

/*
 * State of all devices, while stopped: a required section each ("serial"), the same bytes whenever
 * it is saved.  Loaded into devices of a machine that has not run.
 *
 * Loading drives no interrupt line.  A device takes its line for where its registers want it, and
 * whoever loads the interrupt controllers too has it there: their state has the level of
 * level-triggered lines (the SCI; IRR of the IOAPIC), whose interrupt is not lost then, and for
 * edge-triggered ones (serial port, clock) whether the edge has been seen, so that it is not seen
 * twice.  When the device lowers its line, and raises it again, that is an edge as ever.
 */
int vm_devices_save(struct vm_devices *devices, struct sections *sections, struct error *err);
int vm_devices_load(struct vm_devices *devices, struct sections *sections, struct error *err);

/*
 * Gives the machine another generation id, and tells the guest, so that one which is a clone can
 * make new what must be unique (ACPI device VM_Gen_Counter; Microsoft, "Virtual Machine
 * Generation ID").
 * Nothing happens if it is the same.  While stopped; after a load of RAM, devices and interrupt
 * controllers, for all three are written to.  Fails when there is no RAM where the id belongs.
 */
int vm_devices_set_generation_id(struct vm_devices *devices, const uint8_t id[16]);

/* The generation id as it is in memory.  Any time. */
const uint8_t *vm_devices_generation_id(const struct vm_devices *devices);

/* Any thread, whether vCPUs run or not.  vm_devices_serial_receive() as serial_receive(). */
void vm_devices_power_button(struct vm_devices *devices);
size_t vm_devices_serial_receive(struct vm_devices *devices, const uint8_t *bytes, size_t len);

#endif
