/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_DESCRIPTORS_H
#define MONITOR_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "vmm/error.h"

/*
 * Descriptors that clients pass to the monitor with the bytes of a command (SCM_RIGHTS), and the
 * two places where commands put them: names of the client's own (getfd), and sets that all clients
 * share (add-fd).  All of them are closed on exec.  Functions that are given a descriptor own it
 * from there on, also when they fail.
 *
 * Threads: the event loop's.
 */

/* What one client may have waiting, in names, and what all may have in sets. */
#define FD_QUEUE_MAX    64
#define FD_NAMES_MAX    64
#define FDSETS_MAX_FDS  256

/* Those that have come and that no command has taken, in order. */
struct fd_queue {
	int fd[FD_QUEUE_MAX];
	size_t count;
};

/*
 * Takes over all descriptors of a message.  If the message was cut short (MSG_CTRUNC), or there is
 * no room, all of them are closed, so that no command gets another one's; false then.
 */
bool fd_queue_receive(struct fd_queue *queue, const struct msghdr *msg);
/* The first one; -1 and "No file descriptor supplied via SCM_RIGHTS" when there is none. */
int fd_queue_take(struct fd_queue *queue, struct error *err);
void fd_queue_clear(struct fd_queue *queue);

struct named_fd;
struct fd_names {
	LIST_HEAD(, named_fd) list;
	size_t count;
};

/* Gives a descriptor a name; one that had it is closed.  A name does not begin with a digit. */
int fd_names_put(struct fd_names *names, const char *name, int fd, struct error *err);
/* Takes a descriptor out.  -1 when there is none of that name. */
int fd_names_take(struct fd_names *names, const char *name);
/* getfd and closefd. */
int fd_names_receive(struct fd_names *names, const char *name, struct fd_queue *from,
		     struct error *err);
int fd_names_close(struct fd_names *names, const char *name, struct error *err);
void fd_names_clear(struct fd_names *names);

struct fdset_fd {
	TAILQ_ENTRY(fdset_fd) link;
	int fd;
	char *opaque;                   /* what the client said it is; NULL for nothing */
};

struct fdset {
	TAILQ_ENTRY(fdset) link;
	int64_t id;
	TAILQ_HEAD(, fdset_fd) fds;     /* in the order added; never empty */
};

struct fdsets {
	TAILQ_HEAD(, fdset) list;       /* by ascending id */
	size_t nr_fds;
};

void fdsets_init(struct fdsets *sets);
/*
 * Adds a descriptor to the set *id, or, when *id is -1, to a new one whose id is put there.  The
 * set is made if need be.
 */
int fdsets_add(struct fdsets *sets, int fd, const char *opaque, int64_t *id, struct error *err);
/*
 * Closes descriptor `fd` of a set, or all with fd -1.  Whoever uses one has a duplicate and is not
 * concerned.
 */
int fdsets_remove(struct fdsets *sets, int64_t id, int64_t fd, struct error *err);
/*
 * A duplicate of the first descriptor of a set that is open for `access` (O_RDONLY or O_WRONLY)
 * alone, or else of one open for both.
 */
int fdsets_open(const struct fdsets *sets, int64_t id, int access, struct error *err);
void fdsets_clear(struct fdsets *sets);

#endif
