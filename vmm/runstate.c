/* SPDX-License-Identifier: MIT */
#include "vmm/runstate.h"

#include <stddef.h>
#include <stdint.h>

#define BIT(state) (UINT32_C(1) << RUN_STATE_##state)

/*
 * For each state: its name, the states that may follow it, and why `cont` is refused in it.  To
 * internal-error there is a way from everywhere: a reset may fail half-way.
 */
static const struct {
	const char *name;
	uint32_t next;
	const char *cont_refusal;
} states[RUN_STATE_COUNT] = {
	[RUN_STATE_PRELAUNCH] = {
		"prelaunch",
		BIT(RUNNING) | BIT(INMIGRATE) | BIT(FINISH_MIGRATE) | BIT(SUSPENDED) | BIT(PAUSED) |
		BIT(SAVE_VM) | BIT(RESTORE_VM) | BIT(SHUTDOWN) | BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_INMIGRATE] = {
		"inmigrate",
		BIT(INTERNAL_ERROR) | BIT(IO_ERROR) | BIT(PAUSED) | BIT(RUNNING) | BIT(SHUTDOWN) |
		BIT(SUSPENDED) | BIT(WATCHDOG) | BIT(GUEST_PANICKED) | BIT(FINISH_MIGRATE) |
		BIT(PRELAUNCH) | BIT(POSTMIGRATE),
		NULL,
	},
	[RUN_STATE_RUNNING] = {
		"running",
		BIT(INTERNAL_ERROR) | BIT(IO_ERROR) | BIT(PAUSED) | BIT(FINISH_MIGRATE) |
		BIT(RESTORE_VM) | BIT(SAVE_VM) | BIT(SHUTDOWN) | BIT(WATCHDOG) | BIT(GUEST_PANICKED) |
		BIT(SUSPENDED),
		NULL,
	},
	[RUN_STATE_PAUSED] = {
		"paused",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(POSTMIGRATE) | BIT(PRELAUNCH) |
		BIT(SAVE_VM) | BIT(RESTORE_VM) | BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_SHUTDOWN] = {
		"shutdown",
		BIT(PAUSED) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR),
		"Resetting the Virtual Machine is required",
	},
	[RUN_STATE_SUSPENDED] = {
		"suspended",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(PRELAUNCH) | BIT(SAVE_VM) | BIT(PAUSED) |
		BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_WATCHDOG] = {
		"watchdog",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_GUEST_PANICKED] = {
		"guest-panicked",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_INTERNAL_ERROR] = {
		"internal-error",
		BIT(PAUSED) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH),
		"Resetting the Virtual Machine is required",
	},
	[RUN_STATE_IO_ERROR] = {
		"io-error",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR),
		NULL,
	},
	[RUN_STATE_SAVE_VM] = {
		"save-vm",
		BIT(RUNNING) | BIT(PAUSED) | BIT(PRELAUNCH) | BIT(INTERNAL_ERROR) | BIT(SHUTDOWN) |
		BIT(SUSPENDED) | BIT(WATCHDOG) | BIT(GUEST_PANICKED) | BIT(IO_ERROR) |
		BIT(POSTMIGRATE),
		"The virtual machine is being saved; wait until that is done",
	},
	[RUN_STATE_RESTORE_VM] = {
		"restore-vm",
		BIT(RUNNING) | BIT(PRELAUNCH) | BIT(PAUSED) | BIT(INTERNAL_ERROR),
		"The virtual machine is being restored; wait until that is done",
	},
	[RUN_STATE_FINISH_MIGRATE] = {
		"finish-migrate",
		BIT(RUNNING) | BIT(PAUSED) | BIT(POSTMIGRATE) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR) | BIT(SHUTDOWN) | BIT(SUSPENDED) | BIT(WATCHDOG) |
		BIT(GUEST_PANICKED) | BIT(IO_ERROR),
		"Migration is not finalized yet",
	},
	[RUN_STATE_POSTMIGRATE] = {
		"postmigrate",
		BIT(RUNNING) | BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(PRELAUNCH) |
		BIT(INTERNAL_ERROR),
		NULL,
	},
};

const char *run_state_name(enum run_state state)
{
	return states[state].name;
}

bool run_state_may_become(enum run_state from, enum run_state to)
{
	return states[from].next >> to & 1;
}

const char *run_state_cont_refusal(enum run_state state)
{
	return states[state].cont_refusal;
}
