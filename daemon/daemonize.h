/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_DAEMONIZE_H
#define DAEMON_DAEMONIZE_H

#include "vmm/error.h"

/*
 * Goes to the background, in two steps: whoever started vmond gets its prompt back only when the
 * machine is there, or with an exit status and an error line when it is not.
 */

/*
 * Forks.  Returns in the background process alone, which leads no session, so it can get no
 * controlling terminal; the foreground one waits for it and exits.  Must come before threads and
 * KVM descriptors, which do not survive a fork.
 */
int daemonize_begin(struct error *err);

/*
 * Sends standard input, output and error to /dev/null, and lets the foreground process exit with
 * status 0.  A background process that ends without it makes the foreground one exit with 1.
 */
int daemonize_ready(struct error *err);

#endif
