/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_PIDFILE_H
#define DAEMON_PIDFILE_H

#include "vmm/error.h"

/*
 * A file with this process's id and a newline, locked (flock(2)) as long as the process lives, so
 * that a stale file of a process that has died is told from one in use, and is taken over.
 */
struct pidfile {
	const char *path;
	int fd;                 /* -1 when there is none */
};

#define PIDFILE_NONE ((struct pidfile){ .fd = -1 })

/*
 * Writes the file; `path` is kept.  Refuses a file that another process has locked, and an existing
 * one that holds anything but a process id, for that was named by mistake.
 */
int pidfile_create(struct pidfile *pidfile, const char *path, struct error *err);

/* Removes the file if it is still ours, and lets go of the lock.  PIDFILE_NONE is allowed. */
void pidfile_remove(struct pidfile *pidfile);

#endif
