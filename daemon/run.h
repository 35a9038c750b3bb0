/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_RUN_H
#define DAEMON_RUN_H

#include "daemon/options.h"
#include "vmm/error.h"

/*
 * The role run: one machine in this process, from its creation to its end.
 *
 * Returns the process's exit status, -1 when the machine could not be created or started; then
 * nothing is left behind.  With --daemonize only the background process comes back.
 */
int run_vm(const struct options *options, struct error *err);

#endif
