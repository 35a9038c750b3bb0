/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_CHARDEV_H
#define DAEMON_CHARDEV_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * What is at the other end of a guest's serial line:
 *
 *	stdio           standard input and output; a terminal is put into raw mode, and there
 *	                Ctrl-a x ends vmond and Ctrl-a Ctrl-a is one Ctrl-a
 *	file:PATH       output only; the file is created (mode 0600) or emptied
 *	unix:PATH       a listening socket (mode 0600) that serves one client at a time
 *	pty             a new pseudo terminal in raw mode, for one who opens it after another
 *	null            output goes nowhere, no input
 *
 * Output never waits: a byte is written at once where that is possible, else it is queued, and of
 * what does not fit into the queue the oldest goes, which is counted and logged.  With nobody
 * connected to a socket, or having the pseudo terminal open, the queue is what the next one gets
 * first.
 *
 * SIGPIPE and SIGXFSZ must be ignored in the process.
 *
 * Threads: the event loop's, but for the two functions that say otherwise.
 */
struct chardev;
struct chardev_info;

#define CHARDEV_QUEUE_SIZE 65536        /* bytes of output */

struct chardev_config {
	const char *address;            /* kept */
	const char *name;               /* in front of its log lines; kept */
	bool append;                    /* a file keeps what it has, and is not emptied */
	struct event_base *base;
	/* Event loop: input for the guest; returns how many bytes it took. */
	size_t (*receive)(void *opaque, const uint8_t *bytes, size_t len);
	/* Event loop: somebody has typed Ctrl-a x. */
	void (*quit)(void *opaque);
	/* Any thread: chardev_dispatch() is wanted soon on the event loop.  Must not block. */
	void (*wake)(void *opaque);
	void *opaque;                   /* for all three */
};

/* Whether an address is one of the five kinds; opens nothing. */
int chardev_check_address(const char *address, struct error *err);

/*
 * Opens the other end.  Output is taken from here on; input, clients and raw mode wait for
 * chardev_start().  The errors of both are the reason alone.
 */
struct chardev *chardev_new(const struct chardev_config *config, struct error *err);
int chardev_start(struct chardev *chardev, struct error *err);

/* The pseudo terminal that stands for address pty, "/dev/pts/N"; NULL for the other kinds. */
const char *chardev_pty_name(const struct chardev *chardev);

/* Fills what clients are told but for the label and whether anybody uses it. */
void chardev_describe(const struct chardev *chardev, struct chardev_info *info);

/*
 * Gives what is queued up to a second to leave, and undoes everything.  No other thread may use the
 * chardev any more.  NULL is allowed.
 */
void chardev_free(struct chardev *chardev);

/* Output of the guest.  Any thread; does not block, except on the disk behind a file. */
void chardev_transmit(struct chardev *chardev, const uint8_t *bytes, size_t len);

/* The guest takes input again after config->receive() took less than offered.  Any thread. */
void chardev_receive_ready(struct chardev *chardev);

/* What config->wake() asked for. */
void chardev_dispatch(struct chardev *chardev);

/* The process has been continued (SIGCONT): terminal modes and job control have to be looked at. */
void chardev_continued(struct chardev *chardev);

#endif
