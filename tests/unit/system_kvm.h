/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SYSTEM_KVM_H
#define TESTS_UNIT_SYSTEM_KVM_H

#include "tests/unit/fake_kvm.h"

/* What is /dev/kvm, from here on, for whoever opens the system's own; NULL: the system's own. */
void system_kvm_set(struct fake_kvm *fake);

#endif
