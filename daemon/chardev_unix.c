/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/log.h"

#define BACKLOG 8

static void listen_later(struct chardev *c)
{
	static const struct timeval delay = { .tv_sec = 1 };

	if (event_add(c->retry_event, &delay) < 0)
		log_error("%s: can not listen any more: %s", c->config.name, strerror(errno));
}

static void listen_on(struct chardev *c)
{
	if (event_add(c->listen_event, NULL) == 0)
		return;
	log_warning("%s: can not listen: %s", c->config.name, strerror(errno));
	listen_later(c);
}

/*
 * Out of descriptors or memory: the client stays in the backlog, and the loop must not spin on it.
 */
static void accept_later(struct chardev *c)
{
	log_warning("%s: can not accept a client: %s", c->config.name, strerror(errno));
	event_del(c->listen_event);
	listen_later(c);
}

static void on_retry(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	listen_on(opaque);
}

/* Also comes, harmlessly, with every piece of input that arrives meanwhile. */
static void on_closed(evutil_socket_t fd, short what, void *opaque)
{
	struct pollfd pfd = { .fd = fd, .events = POLLRDHUP };

	(void)what;
	if (poll(&pfd, 1, 0) > 0)
		chardev_unix_client_gone(opaque);
}

/* The input and the output side each own a descriptor. */
static int open_client(struct chardev *c, int fd, struct error *err)
{
	int in_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (in_fd < 0) {
		error_errno(err, errno, "dup");
		close(fd);
		return -1;
	}
	if (chardev_input_open(c, in_fd, err) < 0) {
		close(fd);
		return -1;
	}
	/*
	 * Edge-triggered: a peer that closes with output unread is EPOLLERR, which libevent reports
	 * as readable and not as closed, and which must not come again and again.
	 */
	c->closed_event = event_new(c->config.base, in_fd,
				    EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_closed, c);
	if (!c->closed_event) {
		close(fd);
		return error_set(err, ENOMEM, "out of memory");
	}
	return chardev_output_open(c, fd, err);
}

static void on_connection(evutil_socket_t listen_fd, short what, void *opaque)
{
	struct chardev *c = opaque;
	struct error err;
	int fd;

	(void)what;
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_later(c);
		return;
	}
	/* The others wait in the backlog until this one has gone. */
	event_del(c->listen_event);
	if (open_client(c, fd, &err) < 0) {
		log_warning("%s: a client was turned away: %s", c->config.name, err.text);
		chardev_unix_client_gone(c);
		return;
	}
	log_debug("%s: client connected", c->config.name);
	c->in_stalled = false;
	chardev_input_watch(c, true);
	/* The guest may not have taken the last client's input yet. */
	chardev_input_deliver(c);
}

void chardev_unix_client_gone(struct chardev *c)
{
	if (c->write_event)
		log_debug("%s: client disconnected", c->config.name);
	if (c->closed_event)
		event_free(c->closed_event);
	c->closed_event = NULL;
	chardev_input_close(c);
	chardev_output_close(c);
	listen_on(c);
}

void chardev_unix_watch_closed(struct chardev *c, bool on)
{
	if (!c->closed_event)
		return;
	if (!on)
		event_del(c->closed_event);
	else if (event_add(c->closed_event, NULL) < 0)
		log_warning("%s: client can not be watched: %s", c->config.name,
			    strerror(errno));
}

int chardev_unix_open(struct chardev *c, struct error *err)
{
	if (unix_socket_open(&c->socket, c->path, 0600, BACKLOG, err) < 0)
		return -1;
	c->listen_event = event_new(c->config.base, c->socket.fd, EV_READ | EV_PERSIST,
				    on_connection, c);
	c->retry_event = evtimer_new(c->config.base, on_retry, c);
	if (!c->listen_event || !c->retry_event)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

int chardev_unix_start(struct chardev *c, struct error *err)
{
	if (event_add(c->listen_event, NULL) < 0)
		return error_errno(err, errno, "can not be watched");
	return 0;
}

void chardev_unix_close(struct chardev *c)
{
	if (c->closed_event)
		event_free(c->closed_event);
	if (c->listen_event)
		event_free(c->listen_event);
	if (c->retry_event)
		event_free(c->retry_event);
	unix_socket_close(&c->socket);
}
