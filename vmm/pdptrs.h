/* SPDX-License-Identifier: MIT */
#ifndef VMM_PDPTRS_H
#define VMM_PDPTRS_H

#include <linux/kvm.h>

#include "vmm/error.h"
#include "vmm/pagewalk.h"
#include "vmm/vcpu_state.h"

/*
 * The PDPTRs of PAE paging, four registers that a processor loads from memory when CR3 is written,
 * or CR0 or CR4 in what concerns paging, and at no other time (Intel SDM vol. 3A, 4.4.1).
 */

/*
 * Makes the PDPTRs of `after` what they are behind an edit of special registers that `space->sregs`
 * holds as they were before; `space` is the vCPU's, and `cpuid` its table.
 *
 *   - `set` (bit per PDPTR) are those that the edit has set itself.  They need PAE paging after it,
 *     a host with KVM_CAP_SREGS2, and a value that the processor takes.
 *   - The others are loaded from memory where the processor would: `cr3_written`, or paging has
 *     become PAE paging, or bits of CR0 and CR4 have changed that bring it about.  Where memory has
 *     nothing that can be loaded, that is an error; the processor's would be #GP.
 *   - Else they stay.  Out of PAE paging there are none.
 *
 * On a host without KVM_CAP_SREGS2 nothing is known of PDPTRs, and KVM loads them by itself, when
 * special registers are written, whatever was changed.
 */
int pdptrs_after_edit(const struct page_space *space, const struct kvm_cpuid2 *cpuid,
		      bool host_has_sregs2, struct kvm_sregs2 *after, unsigned int set,
		      bool cr3_written, struct error *err);

#endif
