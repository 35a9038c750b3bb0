/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/log.h"

#define ESCAPE_KEY 0x01         /* Ctrl-a */

/* Whether epoll refuses a descriptor: files and devices like /dev/null are always readable. */
static bool is_unpollable(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	bool refused;

	if (epoll_fd < 0)
		return false;
	refused = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EPERM;
	close(epoll_fd);
	return refused;
}

static void input_ended(struct chardev *c)
{
	if (c->kind == CHARDEV_UNIX)
		chardev_unix_client_gone(c);
	else if (c->kind == CHARDEV_PTY)
		chardev_pty_gone(c);
	else
		chardev_input_close(c);
}

void chardev_input_watch(struct chardev *c, bool on)
{
	if (!c->read_event)
		return;
	if (!on) {
		event_del(c->read_event);
	} else if (c->in_unpollable) {
		event_active(c->read_event, EV_READ, 0);
	} else if (event_add(c->read_event, NULL) < 0) {
		log_warning("%s: input can not be watched: %s", c->config.name,
			    strerror(errno));
		/* Else it would keep its place for good, and nobody would see it go. */
		if (c->kind == CHARDEV_UNIX || c->kind == CHARDEV_PTY)
			input_ended(c);
	}
}

void chardev_input_deliver(struct chardev *c)
{
	size_t taken;
	bool stalled;

	if (c->input_len) {
		taken = c->config.receive(c->config.opaque, c->input, c->input_len);
		c->input_len -= taken;
		memmove(c->input, c->input + taken, c->input_len);
	}
	/* A terminal is read on: somebody may want to type Ctrl-a x at a guest that hangs. */
	stalled = c->input_len && !c->terminal;
	if (stalled == c->in_stalled)
		return;
	c->in_stalled = stalled;
	if (c->in_fd < 0)
		return;
	if (c->kind == CHARDEV_PTY) {
		chardev_pty_watch_closed(c, stalled);
		chardev_input_watch(c, !stalled);
		return;
	}
	/* One event at a time on a descriptor: this one is level-triggered, the other is not. */
	if (!stalled)
		chardev_unix_watch_closed(c, false);
	chardev_input_watch(c, !stalled);
	if (stalled)
		chardev_unix_watch_closed(c, true);
}

void chardev_receive_ready(struct chardev *c)
{
	if (!atomic_exchange(&c->receive_ready, true))
		c->config.wake(c->config.opaque);
}

/* Takes what is typed for vmond itself out of `bytes`; returns how many are left for the guest. */
static size_t take_escapes(struct chardev *c, uint8_t *bytes, size_t len)
{
	size_t i, kept = 0;

	for (i = 0; i < len; i++) {
		if (!c->escape && bytes[i] == ESCAPE_KEY) {
			c->escape = true;
			continue;
		}
		if (c->escape) {
			c->escape = false;
			if (bytes[i] == 'x')
				c->config.quit(c->config.opaque);
			if (bytes[i] != ESCAPE_KEY)
				continue;
		}
		bytes[kept++] = bytes[i];
	}
	return kept;
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	struct chardev *c = opaque;
	uint8_t bytes[sizeof(c->input)];
	size_t room, len;
	ssize_t n;

	(void)fd;               /* -1 for what can not be polled */
	(void)what;
	n = read(c->in_fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 && errno != ECONNRESET && !(errno == EIO && c->kind == CHARDEV_PTY))
		log_warning("%s: input: %s", c->config.name, strerror(errno));
	if (n <= 0) {
		input_ended(c);
		return;
	}
	len = c->terminal ? take_escapes(c, bytes, n) : (size_t)n;
	/* Of terminals alone more is read than the guest takes: what is typed in vain is lost. */
	room = sizeof(c->input) - c->input_len;
	if (len > room)
		len = room;
	memcpy(c->input + c->input_len, bytes, len);
	c->input_len += len;
	chardev_input_deliver(c);
	if (c->in_unpollable && !c->in_stalled)
		chardev_input_watch(c, true);
}

int chardev_input_open(struct chardev *c, int fd, struct error *err)
{
	c->in_unpollable = !c->terminal && c->kind == CHARDEV_STDIO && is_unpollable(fd);
	c->read_event = event_new(c->config.base, c->in_unpollable ? -1 : fd,
				  EV_READ | EV_PERSIST, on_readable, c);
	if (!c->read_event) {
		close(fd);
		return error_set(err, ENOMEM, "out of memory");
	}
	c->in_fd = fd;
	return 0;
}

void chardev_input_close(struct chardev *c)
{
	if (!c->read_event)
		return;
	event_free(c->read_event);
	c->read_event = NULL;
	close(c->in_fd);
	c->in_fd = -1;
}
