/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_space.h"

#include <string.h>

#include "vmm/nested.h"

int vcpu_page_space(struct vcpu_state *s, const struct memory *memory, struct page_space *space,
		    struct error *err)
{
	const struct kvm_nested_state *nested = NULL;

	memset(space, 0, sizeof(*space));
	if (vcpu_state_fetch(s, VCPU_PAGE_SPACE, err) < 0)
		return -1;
	if (vcpu_state_offers(s, SUBSTATE_NESTED))
		nested = vcpu_state_nested(s, err);
	space->memory = memory;
	space->sregs = vcpu_state_sregs(s, err);
	space->nested = nested && nested_tables(nested, &space->ept, &space->outer);
	return 0;
}
