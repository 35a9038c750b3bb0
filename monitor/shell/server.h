/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_SERVER_H
#define MONITOR_SHELL_SERVER_H

#include "monitor/json.h"
#include "monitor/shell/loop.h"
#include "vmm/error.h"

/*
 * The server at the other end of a QMP socket: one request at a time that somebody waits for, and
 * one that is posted and answered when the server likes.  Replies are told apart by their ids; one
 * that nobody waits for any more is dropped.
 */
struct server;

/* Called for each event, from any function here that waits or reads. */
typedef void server_event_fn(void *opaque, const struct json_value *event);
/* The answer to what was posted: the "return"; NULL for an error. */
typedef void server_post_fn(void *opaque, const struct json_value *returned);

/*
 * Connects, takes the greeting, and ends the negotiation, with out-of-band execution if the server
 * offers it.  All of that may take `timeout_ms`.
 */
struct server *server_connect(const char *path, struct loop *loop, server_event_fn *event,
			      void *opaque, unsigned int timeout_ms, struct error *err);
void server_free(struct server *server);

/* What loop_wait() needs. */
int server_fd(const struct server *server);             /* -1 once the connection is gone */
bool server_wants_write(const struct server *server);

/* Whether out-of-band execution was agreed on. */
bool server_has_oob(const struct server *server);

/* Reads and writes what is possible without waiting.  -1 when the connection has ended. */
int server_process(struct server *server, struct error *err);

/*
 * Begins a request in `w`, which the caller may add "arguments" to, and hands to one of the two
 * below; both free it.
 */
void server_begin(struct server *server, struct json_writer *w, const char *command, bool oob);

/*
 * Sends the request and waits for the reply, at most until `deadline` (see loop.h).  *reply is the
 * whole message: it has a "return" or an "error"; the caller clears it.  On -1, err->code tells:
 * ECANCELED  SIGINT: the request may still be carried out
 * ETIMEDOUT  the deadline has passed
 * EINTR      the process is to end
 * ENOMEM     nothing was sent
 * other      the connection is gone
 */
int server_call(struct server *server, struct json_writer *w, uint64_t deadline,
		struct json_value *reply, struct error *err);

/* Sends the request, unless one that was posted is not answered yet. */
void server_post(struct server *server, struct json_writer *w, server_post_fn *fn);

/*
 * Waits until `done` returns true, which is asked after each message, or the deadline.  Errors as
 * those of server_call().
 */
int server_wait(struct server *server, bool (*done)(void *opaque), void *opaque,
		uint64_t deadline, struct error *err);

#endif
