/* SPDX-License-Identifier: MIT */
#ifndef VMM_BOOT_BOOT_STATE_H
#define VMM_BOOT_BOOT_STATE_H

#include "vmm/boot/boot.h"
#include "vmm/vcpu_state.h"

/*
 * Sets the boot processor's registers for the entry that boot_load() asked for, on top of the
 * state after reset: the substates regs and sregs become dirty, and whichever hook comes next
 * writes them.  Segments are such as VMX accepts at VM entry (Intel SDM vol. 3C, 26.3.1.2).
 * Owner's thread, while the vCPU is parked.  Fails when the state can not be fetched.
 */
int boot_state_edit(struct vcpu_state *s, const struct boot_entry *entry, struct error *err);

#endif
