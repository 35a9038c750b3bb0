/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_ACTIVATION_H
#define DAEMON_ACTIVATION_H

#include <stddef.h>

#include "monitor/monitor.h"
#include "vmm/error.h"

/*
 * Sockets that a service manager has opened for this process, by the protocol of
 * sd_listen_fds_with_names(3): descriptors from 3 on, and the environment variables LISTEN_PID,
 * LISTEN_FDS and LISTEN_FDNAMES.
 */
#define ACTIVATION_MAX 64

struct activation {
	struct passed_socket passed[ACTIVATION_MAX];
	size_t count;
	struct error why_none;          /* when count is 0 */
	char names[4096];
};

/*
 * Takes them, for good: no program that this one starts inherits the descriptors or finds the
 * variables.  Before any other thread runs, and before the process id changes.
 */
void activation_take(struct activation *activation);

#endif
