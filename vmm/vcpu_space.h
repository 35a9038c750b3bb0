/* SPDX-License-Identifier: MIT */
#ifndef VMM_VCPU_SPACE_H
#define VMM_VCPU_SPACE_H

#include "vmm/pagewalk.h"
#include "vmm/vcpu_state.h"

/*
 * What vcpu_page_space() fetches, a bit per enum vcpu_substate: for who wants to fetch it together
 * with other state.
 */
#define VCPU_PAGE_SPACE (UINT32_C(1) << SUBSTATE_SREGS | UINT32_C(1) << SUBSTATE_NESTED)

/*
 * The address space that a parked vCPU is in, be it the guest's or an inner guest's.  Reads only;
 * it holds as long as what vcpu_state_sregs() returns.
 */
int vcpu_page_space(struct vcpu_state *s, const struct memory *memory, struct page_space *space,
		    struct error *err);

#endif
