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

/* What is worth knowing of it at a glance. */
struct nested_summary {
	uint16_t format;
	bool guest_mode;                /* the vCPU is in its inner guest: so are its registers */
	bool run_pending;               /* and has yet to enter it, after VMLAUNCH or VMRUN */
	bool nested_paging;             /* EPT or NPT maps the inner guest's memory */
	bool gif;                       /* SVM */
	bool mtf_pending;               /* VMX: a monitor trap */
	bool smm_vmxon, smm_guest_mode; /* VMX: where RSM goes back to */
	bool has_vmxon, has_control_block;
	uint64_t vmxon_pa;              /* VMX */
	uint64_t control_block_pa;      /* VMCS or VMCB */
};
void nested_summarize(const struct kvm_nested_state *nested, struct nested_summary *summary);

/*
 * The nested tables that map the memory of the inner guest which the vCPU is in, as struct
 * page_space has them.  False where there are none.
 */
bool nested_tables(const struct kvm_nested_state *nested, bool *ept, struct kvm_sregs2 *outer);

/*
 * Says what is wrong with a state from elsewhere: sizes, flags and addresses that no KVM gives or
 * takes (vmx_set_nested_state(), svm_set_nested_state(), and what x86.c checks before them).  `len`
 * bytes are there, at least a header; `efer` is that of the vCPU.  What is in the control block
 * itself KVM alone can tell.
 */
int nested_check(const struct kvm_nested_state *nested, size_t len, uint64_t efer,
		 struct error *err);

#endif
