/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_UNIX_SOCKET_H
#define MONITOR_UNIX_SOCKET_H

#include <sys/types.h>
#include <sys/un.h>

#include "vmm/error.h"

/* Bytes that the path of a socket can have, with its terminator. */
#define UNIX_SOCKET_PATH_SIZE sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* A listening stream socket and the file that it is reached by. */
struct unix_socket {
	int fd;                         /* -1 when closed */
	dev_t dev;                      /* identity of the file */
	ino_t ino;
	char path[UNIX_SOCKET_PATH_SIZE];
};

#define UNIX_SOCKET_CLOSED ((struct unix_socket){ .fd = -1 })

/*
 * Listens at `path`: not blocking, with that mode of the file.  A socket file that nobody listens
 * on is taken over; one in use, or a path that is no socket, is an error.  The text is the reason
 * alone: the caller puts in front of it what the socket is for.
 */
int unix_socket_open(struct unix_socket *sock, const char *path, mode_t mode, int backlog,
		     struct error *err);

/* Closes, and removes the file if it is still ours.  UNIX_SOCKET_CLOSED is allowed. */
void unix_socket_close(struct unix_socket *sock);

#endif
