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
#include "monitor/text.h"
#include "monitor/unix_socket.h"

/*
 * Shared by the files that implement monitor/monitor.h:
 *
 *      listener.c  sockets that wait for clients
 *      address.c   what --monitor says
 *      access.c    who may connect
 *      client.c    one client: its input, what it may do next, its end
 *      client_output.c  what it is sent
 *      request.c   what one request does, and its reply
 *      pending.c   replies that come later
 *      terminal.c  clients of the text monitor
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

/*
 * Scheduling.  Clients that have requests stand in line.  In a turn of the event loop the first of
 * them has a batch carried out, of up to QUEUE_LENGTH requests, but none is begun once the turn has
 * taken TURN_NS; if that is not so yet the next client has its batch, none twice; and who has more
 * to do stands at the end of the line again.  So what a client waits for, once its request has
 * arrived, is one request of each other client, or the TURN_NS that many short ones of it may take;
 * whether those read their replies or not, since nothing waits for a socket.
 */
#define TURN_NS 100000

/* One read takes up to so much. */
#define INPUT_SIZE ((size_t)64 << 10)

/* What the client asked for, or what is wrong with what it sent. */
struct request {
	struct json_value value;        /* if the other two are NULL */
	char *error;
	char *line;                     /* of a text monitor */
	bool urgent;                    /* exec-oob */
};

/* A reply that comes later.  See monitor/qmp.h. */
struct qmp_pending {
	struct monitor *monitor;
	struct monitor_client *client;          /* NULL once it is gone */
	TAILQ_ENTRY(qmp_pending) link;          /* in monitor->orphans, if client is NULL */
	qmp_gone_fn *gone;
	void *opaque;
	struct qmp_call *call;                  /* while the handler that deferred runs; else NULL */
	struct json_value request;              /* from then on; JSON_NULL before */
	const struct json_value *id;            /* in the request, or NULL */
	struct json_writer reply;
	bool is_text;                           /* it is `text` that is to be returned */
	struct text text;
};

struct monitor_client {
	struct monitor *monitor;
	TAILQ_ENTRY(monitor_client) link;       /* in monitor->clients, until closed */
	TAILQ_ENTRY(monitor_client) ready_link; /* in monitor->ready, if is_ready */
	TAILQ_ENTRY(monitor_client) flush_link; /* in monitor->flush, if wants_flush */
	bool is_ready, wants_flush;

	int fd;                                 /* -1 once closed */
	int out_fd;                             /* the same, for sockets */
	bool is_socket, is_pollable;            /* of `fd` */
	int number;                             /* of its listener; -1: it has none */
	bool is_monitor;                        /* it is one of its own, and the number is its own */
	struct monitor_options options;
	struct terminal *terminal;              /* of a text monitor; else NULL */
	bool negotiated;                        /* qmp_capabilities has succeeded */
	bool oob;                               /* and has enabled exec-oob */
	bool executing;                         /* freed only afterwards */
	struct qmp_pending *pending;            /* the reply that the queue waits for, or NULL */
	bool broken;                            /* memory ran out: closed at the next occasion */
	bool untrusted;                         /* it does not mean what it says: the same */

	/* Input.  rest[rest_start..] was read and not parsed, because the queue was full. */
	struct event *readable;
	bool reading;                           /* `readable` is added */
	struct event *hangup;                   /* while it is not, and a reply is pending */
	bool watching;                          /* `hangup` is added */
	bool eof;                               /* the client sends nothing more */
	bool half_closed;                       /* the same, and it has not been read so far yet */
	struct json_parser *parser;
	char *rest;
	size_t rest_start, rest_len;
	struct request queue[QUEUE_LENGTH];     /* a ring */
	size_t queue_first, queued;
	size_t queue_bytes;                     /* parsed since the queue was empty */
	struct request urgent;                  /* exec-oob: before those of the queue */
	bool has_urgent;
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
	int number;                             /* of the monitors that were asked for, from 0 on */
	char name[UNIX_SOCKET_PATH_SIZE + 8];   /* for log lines */
	struct unix_socket socket;              /* without a path, but for unix: */
	bool is_unix;                           /* peers have credentials */
	struct monitor_options options;
	struct access_list allow;
	unsigned int refused;                   /* since the last line that said so */
	int64_t refused_ns;                     /* of that line, CLOCK_MONOTONIC; 0: none yet */
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
	int next_number;                        /* in both lists they only grow */
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(client_list, monitor_client) clients;
	struct client_list ready;               /* have requests that may be carried out, in turn */
	size_t nr_ready;
	int64_t turn_ns;                        /* TURN_NS, but for tests */
	bool busy;                              /* lists are being served, or will be right away */
	TAILQ_HEAD(, qmp_pending) orphans;      /* have lost their client, and are to be told */
	struct client_list flush;               /* have output that nobody has tried to send yet */
	/* Timer of length 0: once per turn of the loop, while `ready` or `flush` holds anyone. */
	struct event *turn;
	struct event_limit limit[QMP_EVENT_COUNT];
	struct fdsets fdsets;                   /* closed when the last client goes */
	struct migrate migrate;
	TAILQ_HEAD(, memsave) memsaves;         /* files that are being written */
	struct qmp_pending *dump_pending;       /* who waits for the end of a dump; else NULL */
	struct json_writer writer;              /* for the message at hand; kept for its buffer */
	char input[INPUT_SIZE];
};

/* monitor.c */
/* Sees to it that the lists `ready`, `flush` and `orphans` are served. */
void monitor_want_turn(struct monitor *monitor);
/*
 * Around what input of a client brings about: a request that nobody stands before is carried out at
 * once, in the second.  That takes what the first has returned.
 */
bool monitor_begin(struct monitor *monitor);
void monitor_end(struct monitor *monitor, bool nobody_waited);

/* listener.c */
void listener_free(struct listener *listener);

/* client.c */
/* Of the listener `number`: as monitor_add_client(), which is for those of none. */
int client_add(struct monitor *monitor, int fd, int number, const struct monitor_options *options,
	       struct error *err);
/* Takes the next request off the queue, which must hold one. */
void client_take_request(struct monitor_client *client, struct request *request);
void request_free(struct request *request);
/* Whether it has one that may be carried out now. */
bool client_has_request(const struct monitor_client *client);
/* Takes it out of the list of those that have. */
void client_not_ready(struct monitor_client *client);
/* The urgent one, or else the next of the queue if it does not wait for a reply.  False: neither. */
bool client_next_request(struct monitor_client *client, struct request *request);
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
/*
 * Between these two the client may be closed and is not freed; that and client_update() follow with
 * the second, unless it was executing before (`outer`, what the first has returned).
 */
bool client_begin(struct monitor_client *client);
void client_end(struct monitor_client *client, bool outer);

/* client_output.c */
/*
 * Sends the text of `w`, as far as the socket takes it, and queues the rest.  May take the text away
 * from the writer.  Closes the client when that fails.
 */
void client_send(struct monitor_client *client, struct json_writer *w);
/* The same with more to follow right away: client_send() or client_flush() sends it. */
void client_put(struct monitor_client *client, struct json_writer *w);
/* Appends to the output of a text monitor; it is sent soon. */
void client_put_bytes(struct monitor_client *client, const char *bytes, size_t len);
/*
 * Appends text of an event to the output without copying it; `release` is called when it is not
 * needed any more.  Closes the client when it is too far behind.
 */
void client_queue_event(struct monitor_client *client, const char *text, size_t len,
			evbuffer_ref_cleanup_cb release, void *opaque);
/* Tries to send output.  May free the client. */
void client_flush(struct monitor_client *client);
/* event_callback_fn of client->writable. */
void client_on_writable(evutil_socket_t fd, short what, void *opaque);
/* Sends what the socket takes without waiting, then closes and frees. */
void client_finish(struct monitor_client *client);

/* request.c */
/*
 * Carries out a batch of the client's requests, the first whatever the time is and no other after
 * `end` (CLOCK_MONOTONIC), and sends the replies.  May free the client.
 */
void client_execute(struct monitor_client *client, int64_t end);
/*
 * The parts of a reply: in front of what the handler writes, and behind it.  Both may fail, as
 * writers do; request_write_failure() then says so instead.
 */
void request_begin_reply(struct json_writer *w);
void request_end_reply(struct json_writer *w, const struct json_value *id);
void request_write_failure(struct json_writer *w, const struct json_value *id);
/* What an HMP command has printed, as "return", with CR and LF at the ends of lines as in QEMU. */
void request_write_text(struct json_writer *w, const struct text *out);
/* A reply as a whole, instead of whatever has been written. */
void request_write_error(struct json_writer *w, const struct json_value *id,
			 enum qmp_error_class class, const char *description);

/* What a client that only observes may do, and what it is told otherwise; -1. */
bool command_is_allowed(const struct monitor_client *client, const struct qmp_command *command);
int request_only_observes(struct error *err);
/* Sends the reply that the client's queue has waited for, which is no longer pending. */
void client_answer(struct monitor_client *client, struct json_writer *w);

/* pending.c */
/* The handler has returned: the pending reply keeps the request, for its id. */
void pending_keep_request(struct qmp_pending *pending, struct json_value *request);
/* There will be no reply through this one, and nobody is told. */
void pending_abandon(struct qmp_pending *pending);
/* The client is being closed. */
void pending_lose_client(struct qmp_pending *pending);
/* Tells those who would have replied.  Once a turn, as long as there are any. */
void monitor_drop_orphans(struct monitor *monitor);

/* terminal.c */
/* What a client of the text monitor has: a line that it edits, and what its commands keep. */
struct terminal *terminal_new(struct monitor *monitor);
void terminal_free(struct terminal *terminal);
/* Banner and prompt, as the first output. */
void terminal_greet(struct monitor_client *client);
/*
 * Takes input up to the end of a line, which is then in client->queue, and returns how much that is.
 * What a terminal shows of it is appended to the output.
 */
size_t terminal_feed(struct monitor_client *client, const char *bytes, size_t len);
/* Runs a line and appends what it prints, and the prompt, to the output, unless it is pending. */
void terminal_execute(struct monitor_client *client, const char *line);
/* What a line has printed, which is changed where it has control characters, and the prompt. */
void terminal_answer(struct monitor_client *client, struct text *out);

/* qmp_chardev.c: what chardev-add and chardev-remove do, for both monitors. */
int monitor_chardev_add(struct monitor *monitor, const struct chardev_request *request,
			struct chardev_info *info, struct error *err);
int monitor_chardev_remove(struct monitor *monitor, const char *label, struct error *err);

/* events.c */
/* monitor_emit() with a rate limit of the caller's instead of the schema's. */
void monitor_emit_limited(struct monitor *monitor, enum qmp_event event, const char *data,
			  unsigned int interval_ms);
/* Forgets an event that waits because of its rate limit. */
void monitor_drop_event(struct monitor *monitor, enum qmp_event event);
void monitor_free_events(struct monitor *monitor);

#endif
