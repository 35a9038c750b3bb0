/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_INTERNAL_H
#define VMM_VCPU_INTERNAL_H

#include "vmm/vcpu.h"

/* What vcpu.c (the thread) and vcpu_exit.c share.  The vCPU's thread, all of it. */

/* What follows an exit. */
enum after_exit {
	ENTER_AGAIN,
	HOLD,           /* the owner has been asked for something and decides */
};

/* KVM_RUN has returned 0: does what the exit asks for. */
enum after_exit vcpu_handle_exit(struct vcpu *vcpu);

/* KVM_RUN has failed for good, with errno. */
enum after_exit vcpu_fail_run(struct vcpu *vcpu);

#endif
