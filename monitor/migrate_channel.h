/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MIGRATE_CHANNEL_H
#define MONITOR_MIGRATE_CHANNEL_H

#include <event2/event.h>
#include <netdb.h>
#include <sys/socket.h>

#include "monitor/descriptors.h"
#include "vmm/migration.h"

/*
 * The far ends of transfers: each of these makes one out of what follows the scheme of a URI.
 *
 * Threads: the event loop's; a channel's finish() runs on the transfer's.
 */

/* Gives up a channel that no transfer has taken.  Its process, if it has one, is killed. */
void migrate_channel_close(const struct migration_channel *channel);

/*
 * file:PATH, outgoing.  A regular file is written beside the old one, flushed, and gets the name
 * once it is complete; links are followed.  Anything else (a device, a FIFO) is written in place,
 * and so is a descriptor of a set, /dev/fdset/N, from where it stands.
 */
int migrate_file_out(const char *path, const struct fdsets *sets,
		     struct migration_channel *channel, struct error *err);
int migrate_file_in(const char *path, const struct fdsets *sets,
		    struct migration_channel *channel, struct error *err);

/*
 * fd:NAME, which is taken out of `names` (may be NULL), and fd:N, which is one that the process was
 * started with: no descriptor of vmond's own can be named.
 */
int migrate_fd_out(const char *name, struct fd_names *names, struct migration_channel *channel,
		   struct error *err);
int migrate_fd_in(const char *name, struct fd_names *names, struct migration_channel *channel,
		  struct error *err);

/*
 * exec:COMMAND, with sh -c, in a process group of its own.  Outgoing it reads the stream from its
 * standard input, and the transfer is not complete before it has exited with status 0.  Incoming it
 * writes the stream to its standard output.  When the transfer fails or is cancelled the group gets
 * SIGTERM, and SIGKILL a second later.  Standard error is vmond's; of the other two streams the one
 * that is not used is /dev/null.
 */
int migrate_exec_out(const char *command, struct migration_channel *channel, struct error *err);
int migrate_exec_in(const char *command, struct migration_channel *channel, struct error *err);

/* HOST:PORT of tcp:, with an IPv6 address in brackets and a decimal port. */
struct tcp_address {
	char host[NI_MAXHOST];          /* may be empty */
	char port[sizeof("65535")];
};
int tcp_address_parse(const char *text, struct tcp_address *address, struct error *err);

/* Addresses of a host, of which the first that answers is taken. */
#define SOCKET_ADDRESSES_MAX 16
struct socket_addresses {
	unsigned int count;
	struct {
		struct sockaddr_storage addr;
		socklen_t len;
	} at[SOCKET_ADDRESSES_MAX];
};

/*
 * getaddrinfo(3); with AI_NUMERICHOST it does not block.  Returns its error code, and for
 * EAI_SYSTEM errno.
 */
int tcp_address_lookup(const struct tcp_address *address, int flags,
		       struct socket_addresses *found);

/*
 * Looks a name up on a thread of its own, which may outlive its cancellation.  `fn` is called from
 * the event loop, and the lookup is gone then; `code` as for tcp_address_lookup().
 */
struct resolve;
typedef void resolve_fn(void *opaque, int code, const struct socket_addresses *found);
struct resolve *resolve_start(struct event_base *base, const struct tcp_address *address,
			      resolve_fn *fn, void *opaque, struct error *err);
void resolve_cancel(struct resolve *resolve);

/*
 * Connects a stream socket without blocking.  `fn` is called once, from the event loop and never
 * from within dial_...(), with a descriptor, which is its own to close, or with -1 and a reason;
 * the dial is gone then.
 */
struct dial;
typedef void dial_fn(void *opaque, int fd, const struct error *err);
struct dial *dial_unix(struct event_base *base, const char *path, dial_fn *fn, void *opaque,
		       struct error *err);
struct dial *dial_tcp(struct event_base *base, const struct tcp_address *address, dial_fn *fn,
		      void *opaque, struct error *err);
void dial_cancel(struct dial *dial);

/*
 * Waits for one peer: then, or when that fails, the socket is closed and its file removed, `fn` is
 * called as above, and the listener is gone.  The host of a TCP address is a number, "localhost",
 * or empty for all addresses of this host; port 0 takes any that is free.
 */
struct migrate_listener;
struct migrate_listener *migrate_listen_unix(struct event_base *base, const char *path,
					     dial_fn *fn, void *opaque, struct error *err);
struct migrate_listener *migrate_listen_tcp(struct event_base *base,
					    const struct tcp_address *address, dial_fn *fn,
					    void *opaque, struct error *err);
void migrate_listener_close(struct migrate_listener *listener);

/* Where it listens: the path of a Unix socket, or NULL and the TCP address as it has come out. */
const char *migrate_listener_path(const struct migrate_listener *listener);
void migrate_listener_tcp(const struct migrate_listener *listener, struct tcp_address *address,
			  bool *ipv6);

#endif
