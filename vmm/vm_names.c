/* SPDX-License-Identifier: MIT */
#include "vmm/vm.h"

static const struct {
	const char *name;
	bool guest;
} causes[] = {
	[SHUTDOWN_CAUSE_NONE] = { "none", false },
	[SHUTDOWN_CAUSE_HOST_ERROR] = { "host-error", false },
	[SHUTDOWN_CAUSE_HOST_QMP_QUIT] = { "host-qmp-quit", false },
	[SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET] = { "host-qmp-system-reset", false },
	[SHUTDOWN_CAUSE_HOST_SIGNAL] = { "host-signal", false },
	[SHUTDOWN_CAUSE_GUEST_SHUTDOWN] = { "guest-shutdown", true },
	[SHUTDOWN_CAUSE_GUEST_RESET] = { "guest-reset", true },
	[SHUTDOWN_CAUSE_GUEST_PANIC] = { "guest-panic", true },
};

const char *shutdown_cause_name(enum shutdown_cause cause)
{
	return causes[cause].name;
}

bool shutdown_cause_is_guest(enum shutdown_cause cause)
{
	return causes[cause].guest;
}

const char *guest_panic_action_name(enum guest_panic_action action)
{
	static const char *const names[] = {
		[GUEST_PANIC_PAUSE] = "pause",
		[GUEST_PANIC_POWEROFF] = "poweroff",
		[GUEST_PANIC_RUN] = "run",
	};

	return names[action];
}
