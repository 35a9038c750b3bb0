/* SPDX-License-Identifier: MIT */
#ifndef VMM_CLONE_H
#define VMM_CLONE_H

#include "vmm/vm.h"

/*
 * A machine started from a snapshot in the form of a file, whose RAM it maps copy on write: clones
 * of one file share what they do not change, and how long it takes to start one does not depend on
 * how much RAM it has.
 *
 * Threads: the owner's.
 */
struct clone;

/*
 * Opens a snapshot, and gives `config` what the machine must be like: vCPUs, memory, where its RAM
 * comes from, incoming.  The rest of it is the caller's.  NULL on error.
 */
struct clone *clone_open(const char *path, struct vm_config *config, struct error *err);

/*
 * Puts the state into the machine that was created with that config.  Its run state is the one it
 * was saved in; for running that is paused, unless config.start_running wants it to run.  After an
 * error the machine is good for nothing.
 */
int vm_clone(struct vm *vm, struct clone *clone, struct error *err);

void clone_close(struct clone *clone);          /* NULL is allowed */

#endif
