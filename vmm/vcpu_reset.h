/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_RESET_H
#define VMM_VCPU_RESET_H

#include <stdbool.h>

#include "vmm/vcpu_state.h"

/*
 * Edits a vCPU's state into what the processor has after a reset (Intel SDM vol. 3A, table 10-1).
 * The boot processor is left runnable at the reset vector, the others wait for an INIT.  The hook
 * vcpu_state_after_reset() puts it into the kernel.
 */
int vcpu_reset_edit(struct vcpu_state *s, uint32_t apic_id, bool boot_processor,
		    struct error *err);

#endif
