/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_CHARDEVS_H
#define DAEMON_CHARDEVS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "daemon/chardev.h"
#include "monitor/monitor.h"

/*
 * The character devices of the process, as monitors list and change them: the other end of the
 * serial port, and those that clients add.  These have no device: what is sent to them
 * waits, and nothing comes.
 *
 * Threads: the event loop's.
 */
struct chardevs {
	struct monitor_chardevs calls;          /* for monitor_config */
	struct event_base *base;
	const struct chardev *serial;           /* not ours */
	const char *serial_label;               /* nor this */
	TAILQ_HEAD(, added_chardev) added;
	unsigned int nr_added;
};

/* `serial` and `label`, which clients see it by, outlive it. */
void chardevs_init(struct chardevs *chardevs, struct event_base *base,
		   const struct chardev *serial, const char *label);
/* Removes all.  One that was never initialised, but is zero, is allowed. */
void chardevs_free(struct chardevs *chardevs);

#endif
