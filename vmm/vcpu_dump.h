/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_DUMP_H
#define VMM_VCPU_DUMP_H

#include "vmm/vcpu.h"

/*
 * Logs, at level error, where a vCPU that KVM can not go on with stands: its registers, and the
 * bytes of the instruction, from KVM's report or else from guest memory.  What can not be read is
 * said to be missing.  Nothing becomes dirty; `failed` and what belongs to it are cleared.
 *
 * Owner's thread; the vCPU is parked.
 */
void vcpu_dump(struct vcpu *vcpu);

#endif
