/* SPDX-License-Identifier: MIT */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/unix_socket.h"

struct migrate_listener {
	dial_fn *fn;
	void *opaque;
	struct unix_socket socket;              /* without a path, if it is TCP */
	struct tcp_address address;
	bool ipv6;
	struct event *acceptable;
};

void migrate_listener_close(struct migrate_listener *listener)
{
	if (listener->acceptable)
		event_free(listener->acceptable);
	unix_socket_close(&listener->socket);
	free(listener);
}

static void on_acceptable(evutil_socket_t fd, short what, void *opaque)
{
	struct migrate_listener *listener = opaque;
	dial_fn *fn = listener->fn;
	void *fn_opaque = listener->opaque;
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), code = errno;
	struct error err;

	(void)what;
	if (peer < 0 && (code == EAGAIN || code == EINTR || code == ECONNABORTED))
		return;
	if (peer < 0)
		error_errno(&err, code, "the peer can not be accepted");
	migrate_listener_close(listener);
	fn(fn_opaque, peer, peer < 0 ? &err : NULL);
}

static struct migrate_listener *listener_new(dial_fn *fn, void *opaque, struct error *err)
{
	struct migrate_listener *listener = calloc(1, sizeof(*listener));

	if (!listener) {
		error_set(err, ENOMEM, "out of memory for a migration");
		return NULL;
	}
	listener->socket = UNIX_SOCKET_CLOSED;
	listener->fn = fn;
	listener->opaque = opaque;
	return listener;
}

/* With its socket listening; closed on error. */
static struct migrate_listener *wait_for_peer(struct migrate_listener *listener,
					      struct event_base *base, struct error *err)
{
	listener->acceptable = event_new(base, listener->socket.fd, EV_READ | EV_PERSIST,
					 on_acceptable, listener);
	if (listener->acceptable && event_add(listener->acceptable, NULL) == 0)
		return listener;
	migrate_listener_close(listener);
	error_set(err, ENOMEM, "out of memory for a migration");
	return NULL;
}

struct migrate_listener *migrate_listen_unix(struct event_base *base, const char *path,
					     dial_fn *fn, void *opaque, struct error *err)
{
	struct migrate_listener *listener = listener_new(fn, opaque, err);

	if (!listener)
		return NULL;
	if (unix_socket_open(&listener->socket, path, 0600, 1, err) < 0) {
		error_prefix(err, "migration socket '%s'", path);
		migrate_listener_close(listener);
		return NULL;
	}
	return wait_for_peer(listener, base, err);
}

static int bind_tcp(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, code;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* All addresses are those of IPv4, too. */
	if (addr->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, addr, len) == 0 && listen(fd, 1) == 0)
		return fd;
	code = errno;
	close(fd);
	errno = code;
	return -1;
}

static int listen_tcp(const struct tcp_address *address, struct error *err)
{
	static const char *const all[] = { "::", "0.0.0.0" };
	static const char *const local[] = { "127.0.0.1", "::1" };
	const char *const *hosts = NULL;
	struct tcp_address numeric = *address;
	struct socket_addresses found;
	int fd = -1;

	if (!*address->host)
		hosts = all;
	else if (!strcmp(address->host, "localhost"))
		hosts = local;
	for (unsigned int i = 0; fd < 0 && i < (hosts ? 2 : 1); i++) {
		if (hosts)
			strcpy(numeric.host, hosts[i]);
		if (tcp_address_lookup(&numeric, AI_NUMERICHOST | AI_PASSIVE, &found) != 0)
			return error_set(err, EINVAL, "'%s' is no number of an address to listen "
					 "on", address->host);
		fd = bind_tcp((const struct sockaddr *)&found.at[0].addr, found.at[0].len);
	}
	if (fd < 0)
		return error_errno(err, errno, "Failed to listen on '%s:%s'", address->host,
				   address->port);
	return fd;
}

struct migrate_listener *migrate_listen_tcp(struct event_base *base,
					    const struct tcp_address *address, dial_fn *fn,
					    void *opaque, struct error *err)
{
	struct migrate_listener *listener = listener_new(fn, opaque, err);
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (!listener)
		return NULL;
	listener->socket.fd = listen_tcp(address, err);
	if (listener->socket.fd < 0) {
		migrate_listener_close(listener);
		return NULL;
	}
	if (getsockname(listener->socket.fd, (struct sockaddr *)&addr, &len) == 0) {
		getnameinfo((const struct sockaddr *)&addr, len, listener->address.host,
			    sizeof(listener->address.host), listener->address.port,
			    sizeof(listener->address.port), NI_NUMERICHOST | NI_NUMERICSERV);
		listener->ipv6 = addr.ss_family == AF_INET6;
	}
	return wait_for_peer(listener, base, err);
}

const char *migrate_listener_path(const struct migrate_listener *listener)
{
	return *listener->socket.path ? listener->socket.path : NULL;
}

void migrate_listener_tcp(const struct migrate_listener *listener, struct tcp_address *address,
			  bool *ipv6)
{
	*address = listener->address;
	*ipv6 = listener->ipv6;
}
