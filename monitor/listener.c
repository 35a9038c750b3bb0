/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "monitor/monitor_internal.h"
#include "vmm/log.h"

#define BACKLOG 128

/* How long accept() rests when descriptors or memory have run out. */
static const struct timeval accept_rest = { 0, 250 * 1000 };

/* Splits "unix:PATH[,pretty=on]" into a malloc()ed path and the option. */
static char *parse_address(const char *address, bool *pretty, struct error *err)
{
	const char *path = address + strlen("unix:"), *option;
	char *copy;

	if (strncmp(address, "unix:", strlen("unix:"))) {
		error_set(err, EINVAL, "monitor '%s': give it as unix:PATH", address);
		return NULL;
	}
	option = strchrnul(path, ',');
	if (option == path) {
		error_set(err, EINVAL, "monitor '%s': the path is empty", address);
		return NULL;
	}
	*pretty = !strcmp(option, ",pretty=on");
	if (*option && !*pretty && strcmp(option, ",pretty=off")) {
		error_set(err, EINVAL, "monitor '%s': unknown option '%s'; "
			  "there is pretty=on and pretty=off", address, option + 1);
		return NULL;
	}
	copy = strndup(path, (size_t)(option - path));
	if (!copy)
		error_set(err, ENOMEM, "out of memory for monitor '%s'", address);
	return copy;
}

static void on_acceptable(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct error err;

	(void)what;
	if (client >= 0) {
		listener->resting = false;
		if (monitor_add_client(listener->monitor, client, listener->pretty, &err) < 0)
			log_warning("%s", err.text);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* The client stays in the backlog, and the socket acceptable: do not spin. */
	if (!listener->resting)
		log_warning("monitor socket '%s': can not accept clients for now: %s",
			    listener->socket.path, strerror(errno));
	listener->resting = true;
	event_del(listener->acceptable);
	evtimer_add(listener->retry, &accept_rest);
}

static void on_retry(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;

	(void)fd;
	(void)what;
	event_add(listener->acceptable, NULL);
}

int monitor_listen(struct monitor *monitor, const char *address, struct error *err)
{
	struct event_base *base = monitor->config.base;
	struct listener *listener = calloc(1, sizeof(*listener));
	char *path;

	if (!listener)
		return error_set(err, ENOMEM, "out of memory for monitor '%s'", address);
	listener->monitor = monitor;
	listener->socket = UNIX_SOCKET_CLOSED;
	TAILQ_INSERT_TAIL(&monitor->listeners, listener, link);

	path = parse_address(address, &listener->pretty, err);
	if (!path)
		goto fail;
	if (unix_socket_open(&listener->socket, path, BACKLOG, err) < 0) {
		error_prefix(err, "monitor socket '%s'", path);
		free(path);
		goto fail;
	}
	free(path);
	listener->acceptable = event_new(base, listener->socket.fd, EV_READ | EV_PERSIST,
					 on_acceptable, listener);
	listener->retry = evtimer_new(base, on_retry, listener);
	if (listener->acceptable && listener->retry && event_add(listener->acceptable, NULL) == 0)
		return 0;
	error_set(err, ENOMEM, "out of memory for monitor '%s'", address);
fail:
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
