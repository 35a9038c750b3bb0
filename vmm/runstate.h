/* SPDX-License-Identifier: MIT */
#ifndef VMM_RUNSTATE_H
#define VMM_RUNSTATE_H

#include <stdbool.h>

/* QMP's RunState: names and meanings. */
enum run_state {
	RUN_STATE_PRELAUNCH,            /* created, never run */
	RUN_STATE_INMIGRATE,            /* waits for incoming state */
	RUN_STATE_RUNNING,
	RUN_STATE_PAUSED,
	RUN_STATE_SHUTDOWN,             /* the guest shut down, and --no-shutdown keeps the VM */
	RUN_STATE_SUSPENDED,
	RUN_STATE_WATCHDOG,
	RUN_STATE_GUEST_PANICKED,
	RUN_STATE_INTERNAL_ERROR,       /* KVM could not go on */
	RUN_STATE_IO_ERROR,
	RUN_STATE_SAVE_VM,
	RUN_STATE_RESTORE_VM,
	RUN_STATE_FINISH_MIGRATE,
	RUN_STATE_POSTMIGRATE,
	RUN_STATE_COUNT
};

/* "internal-error" */
const char *run_state_name(enum run_state state);

/* Whether the one table of transitions has from -> to. */
bool run_state_may_become(enum run_state from, enum run_state to);

/*
 * What `cont` does in a state: NULL when it may run the VM, else the reason it may not, which ends
 * with what to do instead.
 */
const char *run_state_cont_refusal(enum run_state state);

#endif
