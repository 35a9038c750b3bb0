/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_MACHINE_DEVICES_H
#define VMM_DEV_MACHINE_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;

/*
 * All devices of a machine, on vm->pio, wired to its interrupt lines, its requests (vm_post) and
 * its callbacks.  Serial port: 0x3f8, GSI 4.  SCI: GSI 9.  What the guest says on the debug console
 * goes to the log, line by line.
 *
 * Threads: the owner's, while no vCPU runs, unless it says otherwise.
 */
struct vm_devices;

/* Needs vm->pio, vm->memory and vm->callbacks to be set.  Keeps `vm`. */
struct vm_devices *vm_devices_new(struct vm *vm, struct error *err);
void vm_devices_free(struct vm_devices *devices);       /* NULL is allowed */
void vm_devices_reset(struct vm_devices *devices);

/* Any thread, whether vCPUs run or not.  vm_devices_serial_receive() as serial_receive(). */
void vm_devices_power_button(struct vm_devices *devices);
size_t vm_devices_serial_receive(struct vm_devices *devices, const uint8_t *bytes, size_t len);

#endif
