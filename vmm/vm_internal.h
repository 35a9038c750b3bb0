/* SPDX-License-Identifier: MIT */
#ifndef VMM_VM_INTERNAL_H
#define VMM_VM_INTERNAL_H

#include "vmm/vm.h"

/* What vm.c (creation) and vm_run.c (running) share. */

/* Loads the boot images and edits the boot processor's state into their entry. */
int vm_boot(struct vm *vm, struct error *err);

/* The counts of this moment become the ones that "since the last stop" starts from. */
void vm_mark_stop(struct vm *vm);

#endif
