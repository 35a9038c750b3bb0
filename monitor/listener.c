/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define BACKLOG 128

/* How long accept() rests when descriptors or memory have run out. */
static const struct timeval accept_rest = { 0, 250 * 1000 };

/* Of peers that are refused, one log line in so long. */
#define REFUSAL_LOG_NS (INT64_C(10) * 1000 * 1000 * 1000)

static const struct access_list nobody;

static const struct access_list *common_rules(const struct monitor *monitor)
{
	return monitor->config.allow ? monitor->config.allow : &nobody;
}

/* ---- accepting ---- */

static void log_refusal(struct listener *listener, const struct ucred *peer)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	char more[64] = "";

	if (listener->refused_ns && now - listener->refused_ns < REFUSAL_LOG_NS) {
		listener->refused++;
		return;
	}
	if (listener->refused)
		snprintf(more, sizeof(more), " (and %u before it)", listener->refused);
	log_warning("monitor %s: process %ld of user %ld is refused%s; --monitor-allow lets others "
		    "in", listener->name, (long)peer->pid, (long)peer->uid, more);
	listener->refused = 0;
	listener->refused_ns = now;
}

/* A line that neither a program nor a person can take for the greeting. */
static void refuse(struct listener *listener, int fd, const struct ucred *peer)
{
	char text[256];
	int len;

	log_refusal(listener, peer);
	if (listener->options.mode == MONITOR_READLINE)
		len = snprintf(text, sizeof(text), "Error: user %ld may not use this monitor; see "
			       "--monitor-allow in vmond(8)\r\n", (long)peer->uid);
	else
		len = snprintf(text, sizeof(text), "{\"error\": {\"class\": \"GenericError\", "
			       "\"desc\": \"user %ld may not use this monitor; see --monitor-allow "
			       "in vmond(8)\"}}\r\n", (long)peer->uid);
	/* It fits, or the peer is gone. */
	if (send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("monitor %s: a refused client is not told: %s", listener->name,
			  strerror(errno));
	close(fd);
}

static void serve(struct listener *listener, int fd)
{
	struct ucred peer;
	struct error err;
	int on = 1;

	if (listener->is_unix && !access_is_allowed(common_rules(listener->monitor),
						    &listener->allow, fd, &peer)) {
		refuse(listener, fd, &peer);
		return;
	}
	/* A reply is one piece; an event right behind it need not wait for its acknowledgement. */
	if (!listener->is_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (client_add(listener->monitor, fd, listener->number, &listener->options, &err) < 0)
		log_warning("%s", err.text);
}

static void on_acceptable(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (client >= 0) {
		listener->resting = false;
		serve(listener, client);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* The client stays in the backlog, and the socket acceptable: do not spin. */
	if (!listener->resting)
		log_warning("monitor %s: can not accept clients for now: %s", listener->name,
			    strerror(errno));
	listener->resting = true;
	/* Without memory for the timer it spins, which is better than to sleep for ever. */
	if (evtimer_add(listener->retry, &accept_rest) == 0)
		event_del(listener->acceptable);
}

static void on_retry(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;

	(void)fd;
	(void)what;
	if (event_add(listener->acceptable, NULL) < 0)
		evtimer_add(listener->retry, &accept_rest);
}

/* ---- listening ---- */

static int open_unix(struct listener *listener, const struct monitor_address *address,
		     struct error *err)
{
	bool open = listener->allow.count || common_rules(listener->monitor)->count;

	listener->is_unix = true;
	if (unix_socket_open(&listener->socket, address->name, open ? 0666 : 0600, BACKLOG,
			     err) == 0)
		return 0;
	error_prefix(err, "monitor socket '%s'", address->name);
	return -1;
}

/* Tells which port it has become, if that was left to the system. */
static void announce(struct listener *listener)
{
	const struct monitor_config *config = &listener->monitor->config;
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	char host[NI_MAXHOST], port[NI_MAXSERV], text[NI_MAXHOST + NI_MAXSERV + 4];

	if (getsockname(listener->socket.fd, (struct sockaddr *)&addr, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	snprintf(text, sizeof(text), addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	snprintf(listener->name, sizeof(listener->name), "tcp:%.100s", text);
	config->listening(config->opaque, text);
}

static int open_tcp(struct listener *listener, const struct monitor_address *address,
		    struct error *err)
{
	int on = 1, fd = socket(address->tcp.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				0);

	if (fd < 0)
		return error_errno(err, errno, "monitor: socket");
	listener->socket.fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address->tcp, address->tcp_len) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return error_errno(err, errno, "monitor: the TCP port can not be listened on");
	if (!((const struct sockaddr_in *)&address->tcp)->sin_port &&
	    listener->monitor->config.listening)
		announce(listener);
	return 0;
}

/* A socket that vmond was started with, and which listens. */
static int take_listening(struct listener *listener, int fd, struct error *err)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	int flags = fcntl(fd, F_GETFL);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return error_errno(err, errno, "monitor: descriptor %d", fd);
	if (addr.ss_family != AF_UNIX && !address_is_loopback(&addr))
		return error_set(err, EINVAL, "monitor: descriptor %d is neither a Unix socket nor "
				 "one at a loopback address", fd);
	listener->is_unix = addr.ss_family == AF_UNIX;
	listener->options.untrusted_input = !listener->is_unix;
	if (listener->allow.count && !listener->is_unix)
		return error_set(err, EINVAL, "monitor: allow= is for Unix sockets, and descriptor "
				 "%d is none", fd);
	/* A client that gives up between poll and accept must not block the loop. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return error_errno(err, errno, "monitor: descriptor %d", fd);
	listener->socket.fd = fd;
	return 0;
}

static struct listener *listener_new(struct monitor *monitor, const struct monitor_address *address,
				     const char *name, struct error *err)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener) {
		error_set(err, ENOMEM, "out of memory for monitor %s", name);
		return NULL;
	}
	listener->monitor = monitor;
	listener->number = monitor->next_number++;
	listener->socket = UNIX_SOCKET_CLOSED;
	listener->options = address->options;
	listener->allow = address->allow;
	snprintf(listener->name, sizeof(listener->name), "%s", name);
	TAILQ_INSERT_TAIL(&monitor->listeners, listener, link);
	return listener;
}

static int start(struct listener *listener, struct error *err)
{
	struct event_base *base = listener->monitor->config.base;

	listener->acceptable = event_new(base, listener->socket.fd, EV_READ | EV_PERSIST,
					 on_acceptable, listener);
	listener->retry = evtimer_new(base, on_retry, listener);
	if (listener->acceptable && listener->retry && event_add(listener->acceptable, NULL) == 0)
		return 0;
	return error_set(err, ENOMEM, "out of memory for monitor %s", listener->name);
}

static bool is_taken(const struct monitor *monitor, int fd)
{
	const struct monitor_client *client;
	const struct listener *listener;

	TAILQ_FOREACH(listener, &monitor->listeners, link)
		if (listener->socket.fd == fd)
			return true;
	TAILQ_FOREACH(client, &monitor->clients, link)
		if (client->fd == fd)
			return true;
	return false;
}

/* An inherited descriptor: listening, or connected to one client. */
static int take_socket(struct monitor *monitor, const struct monitor_address *address, int fd,
		       struct error *err)
{
	struct listener *listener;
	int type = 0, listening = 0;
	socklen_t len = sizeof(type);
	char name[32];

	if (is_taken(monitor, fd))
		return error_set(err, EBUSY, "monitor: descriptor %d is another monitor's already",
				 fd);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return error_set(err, EINVAL, "monitor: descriptor %d is no stream socket", fd);
	len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
		struct monitor_options options = address->options;
		struct sockaddr_storage peer;

		len = sizeof(peer);
		if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
			return error_set(err, EINVAL, "monitor: the socket at descriptor %d neither "
					 "listens nor is connected", fd);
		/* Whoever passed it has decided who that is. */
		if (address->allow.count)
			return error_set(err, EINVAL, "monitor: allow= is for sockets that listen, "
					 "and descriptor %d is connected", fd);
		options.untrusted_input = peer.ss_family != AF_UNIX;
		return monitor_serve(monitor, fd, fd, &options, err);
	}
	snprintf(name, sizeof(name), "fd:%d", fd);
	listener = listener_new(monitor, address, name, err);
	if (!listener)
		return -1;
	if (take_listening(listener, fd, err) == 0 && start(listener, err) == 0)
		return 0;
	listener_free(listener);
	return -1;
}

static int take_passed(struct monitor *monitor, const struct monitor_address *address,
		       struct error *err)
{
	const struct monitor_config *config = &monitor->config;
	bool found = false;
	size_t i;

	if (!config->nr_passed)
		return error_set(err, ENOENT, "monitor: systemd: no sockets were passed: %s",
				 config->why_none_passed);
	for (i = 0; i < config->nr_passed; i++) {
		const struct passed_socket *passed = &config->passed[i];

		if (*address->name && strcmp(address->name, passed->name))
			continue;
		found = true;
		if (take_socket(monitor, address, passed->fd, err) < 0)
			return -1;
	}
	if (!found)
		return error_set(err, ENOENT, "monitor: systemd: no socket of the name '%s' was "
				 "passed; the first of %zu is '%s'", address->name,
				 config->nr_passed, config->passed[0].name);
	return 0;
}

int monitor_listen(struct monitor *monitor, const char *text, struct error *err)
{
	struct monitor_address address;
	struct listener *listener;
	char name[sizeof(listener->name)];
	int rc;

	if (monitor_address_parse(&address, text, err) < 0) {
		error_prefix(err, "monitor '%s'", text);
		return -1;
	}
	if (address.kind == MONITOR_FD)
		return take_socket(monitor, &address, address.fd, err);
	if (address.kind == MONITOR_SYSTEMD)
		return take_passed(monitor, &address, err);
	if (address.kind == MONITOR_STDIO)
		return error_set(err, EINVAL, "monitor '%s': it has no socket", text);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ","), text);
	listener = listener_new(monitor, &address, name, err);
	if (!listener)
		return -1;
	rc = address.kind == MONITOR_TCP ? open_tcp(listener, &address, err) :
					   open_unix(listener, &address, err);
	if (rc == 0 && start(listener, err) == 0)
		return 0;
	listener_free(listener);
	return -1;
}

void listener_free(struct listener *listener)
{
	if (listener->acceptable)
		event_free(listener->acceptable);
	if (listener->retry)
		event_free(listener->retry);
	unix_socket_close(&listener->socket);
	TAILQ_REMOVE(&listener->monitor->listeners, listener, link);
	free(listener);
}
