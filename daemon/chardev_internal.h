/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_CHARDEV_IMPL_H
#define DAEMON_CHARDEV_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "daemon/chardev.h"
#include "monitor/unix_socket.h"

/*
 * Between chardev.c (output and the whole), chardev_input.c, chardev_pty.c, chardev_stdio.c,
 * chardev_unix.c.
 */

enum chardev_kind { CHARDEV_NULL, CHARDEV_STDIO, CHARDEV_FILE, CHARDEV_UNIX, CHARDEV_PTY };

struct chardev {
	/* Constant after chardev_new(). */
	struct chardev_config config;
	enum chardev_kind kind;
	const char *path;               /* in config.address */
	bool terminal;                  /* input comes from a terminal */
	char pty_name[32];              /* of CHARDEV_PTY */

	/* Event loop's thread. */
	int in_fd;                      /* -1: no input, or not any more */
	bool in_unpollable;             /* epoll refuses it (EPERM): a file, /dev/null */
	bool in_stalled;                /* not watched: the guest has to take `input` first */
	bool escape;                    /* the last key was Ctrl-a */
	uint8_t input[4096];            /* read and not yet taken by the guest */
	size_t input_len;
	struct event *read_event;
	struct event *write_event;      /* of out_fd; NULL exactly when no output is open */
	struct unix_socket socket;
	struct event *listen_event;
	struct event *retry_event;      /* unix: accepts again after a shortage; pty: looks again */
	struct event *closed_event;     /* of a client whose input is stalled */

	pthread_mutex_t lock;
	/* Under the lock. */
	int out_fd;                     /* -1: nobody there */
	uint8_t *queue;                 /* ring of CHARDEV_QUEUE_SIZE bytes */
	size_t queue_start, queue_len;
	bool wake_sent;                 /* and chardev_dispatch() has not come yet */
	bool watched;                   /* write_event is pending: the queue will be seen to */
	uint64_t dropped;               /* bytes, since output last went through */
	bool drop_known;                /* and that has been logged */
	int out_errno;                  /* why the last write failed, 0 if it did not */

	/* Any thread. */
	atomic_bool receive_ready;
};

/* chardev.c: writes what is queued, watches out_fd for the rest, logs what was dropped. */
void chardev_flush(struct chardev *c);
/* Opens the output side on a descriptor that does not block, and closes both again. */
int chardev_output_open(struct chardev *c, int fd, struct error *err);
void chardev_output_close(struct chardev *c);

/* chardev_input.c: as above, for the input side. */
int chardev_input_open(struct chardev *c, int fd, struct error *err);
void chardev_input_close(struct chardev *c);
/* Watches in_fd, or not. */
void chardev_input_watch(struct chardev *c, bool on);
/* Offers the guest what has been read. */
void chardev_input_deliver(struct chardev *c);

/* chardev_stdio.c */
int chardev_stdio_open(struct chardev *c, struct error *err);
void chardev_stdio_close(struct chardev *c);

/* chardev_pty.c */
int chardev_pty_open(struct chardev *c, struct error *err);
void chardev_pty_start(struct chardev *c);
void chardev_pty_close(struct chardev *c);
/* Nobody has the terminal open any more; somebody may again. */
void chardev_pty_gone(struct chardev *c);
/* Whether to notice that it is closed although nothing is read from it. */
void chardev_pty_watch_closed(struct chardev *c, bool on);

/* chardev_unix.c */
int chardev_unix_open(struct chardev *c, struct error *err);
int chardev_unix_start(struct chardev *c, struct error *err);
void chardev_unix_close(struct chardev *c);
/* The client has gone; the next one may come. */
void chardev_unix_client_gone(struct chardev *c);
/* Whether to notice a client that goes although nothing is read from it.  No client: nothing. */
void chardev_unix_watch_closed(struct chardev *c, bool on);

#endif
