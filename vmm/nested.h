/* SPDX-License-Identifier: MIT */
#ifndef VMM_NESTED_H
#define VMM_NESTED_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * What KVM keeps of a vCPU that has guests of its own, struct kvm_nested_state (api.rst 4.114 and
 * 4.115), read and checked.  Functions of their arguments alone; any thread.
 *
 * The format is that of the host's processor, VMX or SVM, whatever the guest does with it.
 */

/* "vmx", "svm", or NULL for one that is not known here. */
const char *nested_format_name(uint16_t format);

/*
 * As after a reset: not in VMX operation, or for SVM outside of any inner guest and with GIF set.
 * Such a state can be set on any vCPU of a host with that format, at any time.
 */
bool nested_is_off(const struct kvm_nested_state *nested);

/* Makes it so, in that format; the size becomes that of the header. */
void nested_turn_off(struct kvm_nested_state *nested, uint16_t format);

/*
 * Says what is wrong with a state from elsewhere: sizes, flags and addresses that no KVM gives or
 * takes (vmx_set_nested_state(), svm_set_nested_state(), and what x86.c checks before them).  `len`
 * bytes are there, at least a header; `efer` is that of the vCPU.  What is in the control block itself
 * KVM alone can tell.
 */
int nested_check(const struct kvm_nested_state *nested, size_t len, uint64_t efer,
		 struct error *err);

#endif
