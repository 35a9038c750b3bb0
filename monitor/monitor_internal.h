/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MONITOR_INTERNAL_H
#define MONITOR_MONITOR_INTERNAL_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "monitor/descriptors.h"
#include "monitor/json.h"
#include "monitor/migrate.h"
#include "monitor/monitor.h"
#include "monitor/unix_socket.h"

/*
 * Shared by the files that implement monitor/monitor.h:
 *
 *      listener.c  sockets that wait for clients
 *      client.c    one client's bytes: input, output, back-pressure, its end
 *      request.c   what one request does, and its reply
 *      events.c    events to all clients
 *      monitor.c   the monitor as a whole, and the order in which clients are served
 *
 * Everything belongs to the event loop's thread.
 */

/*
 * The QEMU version that QMP clients are told: the one whose protocol and commands these are.
 * libvirt wants 4.2.0 at least.
 */
#define QEMU_VERSION_MAJOR 7
#define QEMU_VERSION_MINOR 2
#define QEMU_VERSION_MICRO 0

/* Requests of one client that wait; its input is not read while they are so many. */
#define QUEUE_LENGTH 8
/* Nor while the waiting ones may hold more than this, unless it is a single one. */
#define QUEUE_BYTES ((size_t)1 << 20)

/* A client's input is not read, and its requests wait, while more output than this is unread. */
#define OUTPUT_HIGH ((size_t)1 << 20)
/* A client is dropped when so many bytes of events wait for it. */
#define EVENTS_MAX ((size_t)16 << 20)

/* One read takes up to so much. */
#define INPUT_SIZE ((size_t)64 << 10)

/* What the client asked for, or what is wrong with what it sent. */
struct request {
	struct json_value value;        /* if error is NULL */
	char *error;
};

struct monitor_client {
	struct monitor *monitor;
	TAILQ_ENTRY(monitor_client) link;       /* in monitor->clients, until closed */
	TAILQ_ENTRY(monitor_client) ready_link; /* in monitor->ready, if is_ready */
	TAILQ_ENTRY(monitor_client) flush_link; /* in monitor->flush, if wants_flush */
	bool is_ready, wants_flush;

	int fd;                                 /* -1 once closed */
	bool pretty;
	bool negotiated;                        /* qmp_capabilities has succeeded */
	bool executing;                         /* freed only afterwards */
	bool broken;                            /* memory ran out: closed at the next occasion */

	/* Input.  rest[rest_start..] was read and not parsed, because the queue was full. */
	struct event *readable;
	bool reading;                           /* `readable` is added */
	bool eof;                               /* the client sends nothing more */
	struct json_parser *parser;
	char *rest;
	size_t rest_start, rest_len;
	struct request queue[QUEUE_LENGTH];     /* a ring */
	size_t queue_first, queued;
	size_t queue_bytes;                     /* parsed since the queue was empty */
	struct fd_queue received;               /* descriptors that came with the input */
	bool lost_fds;                          /* some of them were, and it was logged */
	struct fd_names names;                  /* of getfd */

	/* Output. */
	struct event *writable;
	bool writing;                           /* `writable` is added: the socket is full */
	bool blocked;                           /* too much output is unread */
	struct evbuffer *output;
	size_t event_bytes;                     /* of events, in `output`; at most its length */
};

struct listener {
	TAILQ_ENTRY(listener) link;
	struct monitor *monitor;
	struct unix_socket socket;
	bool pretty;
	bool resting;                           /* accept() has failed, and it was logged */
	struct event *acceptable;
	struct event *retry;                    /* timer, after accept() ran out of something */
};

/* A rate-limited event.  While the timer runs, the last one waits. */
struct event_text;
struct event_limit {
	struct monitor *monitor;
	struct event *timer;                    /* NULL until first needed */
	unsigned int interval_ms;
	struct event_text *waiting;             /* or NULL */
};

struct monitor {
	struct monitor_config config;           /* name and uuid are copies */
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(client_list, monitor_client) clients;
	struct client_list ready;               /* have requests that may be carried out, in turn */
	struct client_list flush;               /* have output that nobody has tried to send yet */
	/* Timer of length 0: once per turn of the loop, while `ready` or `flush` holds anyone. */
	struct event *turn;
	struct event_limit limit[QMP_EVENT_COUNT];
	struct fdsets fdsets;                   /* closed when the last client goes */
	struct migrate migrate;
	struct json_writer writer;              /* for the message at hand; kept for its buffer */
	char input[INPUT_SIZE];
};

/* monitor.c */
/* Sees to it that the lists `ready` and `flush` are served. */
void monitor_want_turn(struct monitor *monitor);

/* listener.c */
void listener_free(struct listener *listener);

/* client.c */
/* Takes the next request off the queue, which must hold one. */
void client_take_request(struct monitor_client *client, struct request *request);
/*
 * Sends len bytes of w->text, as far as the socket takes them, and queues the rest.  May take the
 * text away from the writer.  Closes the client when that fails.
 */
void client_send(struct monitor_client *client, struct json_writer *w);
/*
 * Appends text of an event to the output without copying it; `release` is called when it is not
 * needed any more.  Closes the client when it is too far behind.
 */
void client_queue_event(struct monitor_client *client, const char *text, size_t len,
			evbuffer_ref_cleanup_cb release, void *opaque);
/* Tries to send output.  May free the client. */
void client_flush(struct monitor_client *client);
/*
 * Looks anew at what the client may do next: be read from, have requests carried out, or end.  May
 * free the client.
 */
void client_update(struct monitor_client *client);
/*
 * Ends the connection; `why` is logged unless NULL.  Frees the client, if it is executing a request
 * only once client_release() is called.
 */
void client_close(struct monitor_client *client, const char *why);
void client_release(struct monitor_client *client);
/* Sends what the socket takes without waiting, then closes and frees. */
void client_finish(struct monitor_client *client);

/* request.c */
/* Carries out the client's next request and sends the reply.  May free the client. */
void client_execute(struct monitor_client *client);

/* qmp_chardev.c: what chardev-add and chardev-remove do, for both monitors. */
int monitor_chardev_add(struct monitor *monitor, const struct chardev_request *request,
			struct chardev_info *info, struct error *err);
int monitor_chardev_remove(struct monitor *monitor, const char *label, struct error *err);

/* events.c */
/* monitor_emit() with a rate limit of the caller's instead of the schema's. */
void monitor_emit_limited(struct monitor *monitor, enum qmp_event event, const char *data,
			  unsigned int interval_ms);
void monitor_free_events(struct monitor *monitor);

#endif
