/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/terminal.h"
#include "monitor/monitor.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define CLOSE_GRACE_MS 1000

static const struct {
	const char *name;
	enum chardev_kind kind;
	bool has_path;
} kinds[] = {
	{ "stdio", CHARDEV_STDIO, false },
	{ "file:", CHARDEV_FILE, true },
	{ "unix:", CHARDEV_UNIX, true },
	{ "pty", CHARDEV_PTY, false },
	{ "null", CHARDEV_NULL, false },
};

static int parse_address(const char *address, enum chardev_kind *kind, const char **path,
			 struct error *err)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].name);

		if (strncmp(address, kinds[i].name, kinds[i].has_path ? len : len + 1) != 0)
			continue;
		*kind = kinds[i].kind;
		*path = address + len;
		if (kinds[i].has_path && !**path)
			return error_set(err, EINVAL, "needs a path after '%s'", kinds[i].name);
		if (*kind == CHARDEV_UNIX && strlen(*path) >= UNIX_SOCKET_PATH_SIZE)
			return error_set(err, ENAMETOOLONG,
					 "the path of a socket can have %zu bytes at most",
					 UNIX_SOCKET_PATH_SIZE - 1);
		return 0;
	}
	return error_set(err, EINVAL, "must be stdio, file:PATH, unix:PATH, pty or null");
}

int chardev_check_address(const char *address, struct error *err)
{
	enum chardev_kind kind;
	const char *path;

	return parse_address(address, &kind, &path, err);
}

/*
 * Writes as much as out_fd takes.  Returns how many bytes are dealt with: written, or lost for good
 * because there was an error that waiting does not cure.  Called with the lock held.
 */
static size_t put(struct chardev *c, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len && c->out_fd >= 0) {
		n = write(c->out_fd, bytes + done, len - done);
		if (n >= 0) {
			done += n;
			c->out_errno = 0;
		} else if (errno == EAGAIN) {
			c->out_errno = 0;
			break;
		} else if (errno == EINTR) {
			continue;
		} else if (c->kind == CHARDEV_UNIX && (errno == EPIPE || errno == ECONNRESET)) {
			/* The end of its input will tell the event loop that the client is gone. */
			c->out_fd = -1;
		} else {
			c->out_errno = errno;
			c->dropped += len - done;
			done = len;
		}
	}
	return done;
}

/* Puts bytes behind the queue, at the expense of the oldest.  Called with the lock held. */
static void enqueue(struct chardev *c, const uint8_t *bytes, size_t len)
{
	size_t excess, end, piece;

	if (len > CHARDEV_QUEUE_SIZE) {
		excess = len - CHARDEV_QUEUE_SIZE;
		c->dropped += excess;
		bytes += excess;
		len -= excess;
	}
	if (c->queue_len + len > CHARDEV_QUEUE_SIZE) {
		excess = c->queue_len + len - CHARDEV_QUEUE_SIZE;
		c->dropped += excess;
		c->queue_start = (c->queue_start + excess) % CHARDEV_QUEUE_SIZE;
		c->queue_len -= excess;
	}
	end = (c->queue_start + c->queue_len) % CHARDEV_QUEUE_SIZE;
	piece = len < CHARDEV_QUEUE_SIZE - end ? len : CHARDEV_QUEUE_SIZE - end;
	memcpy(c->queue + end, bytes, piece);
	memcpy(c->queue, bytes + piece, len - piece);
	c->queue_len += len;
}

/* Called with the lock held. */
static void flush_queue(struct chardev *c)
{
	size_t piece, done;

	while (c->queue_len && c->out_fd >= 0) {
		piece = CHARDEV_QUEUE_SIZE - c->queue_start;
		if (piece > c->queue_len)
			piece = c->queue_len;
		done = put(c, c->queue + c->queue_start, piece);
		c->queue_start = (c->queue_start + done) % CHARDEV_QUEUE_SIZE;
		c->queue_len -= done;
		if (done < piece)
			break;
	}
}

/* Bytes were lost, and now output goes through again.  Called with the lock held. */
static bool drops_are_over(const struct chardev *c)
{
	return c->dropped && c->out_fd >= 0 && !c->queue_len && !c->out_errno;
}

/* Whether the event loop has something to do.  Called with the lock held. */
static bool needs_loop(const struct chardev *c)
{
	return c->out_fd >= 0 && ((c->queue_len && !c->watched) ||
				  (c->dropped && !c->drop_known) || drops_are_over(c));
}

void chardev_transmit(struct chardev *c, const uint8_t *bytes, size_t len)
{
	bool wake = false;
	size_t done = 0;

	if (c->kind == CHARDEV_NULL)
		return;
	pthread_mutex_lock(&c->lock);
	if (!c->queue_len)
		done = put(c, bytes, len);
	if (done < len)
		enqueue(c, bytes + done, len - done);
	if (!c->wake_sent && needs_loop(c))
		wake = c->wake_sent = true;
	pthread_mutex_unlock(&c->lock);
	if (wake)
		c->config.wake(c->config.opaque);
}

static void log_drops(const struct chardev *c, uint64_t over, bool begun, int reason)
{
	if (over)
		log_warning("%s: %llu bytes of output were dropped", c->config.name,
			    (unsigned long long)over);
	else if (begun)
		log_warning("%s: %s; output is being dropped", c->config.name,
			    reason ? strerror(reason) : "does not take output fast enough");
}

/* Called with the lock held. */
static void watch_output(struct chardev *c, bool on)
{
	if (!c->write_event || on == c->watched)
		return;
	if (on && event_add(c->write_event, NULL) < 0)
		return;         /* the next byte of output tries again */
	if (!on)
		event_del(c->write_event);
	c->watched = on;
}

void chardev_flush(struct chardev *c)
{
	uint64_t over = 0;
	bool begun;
	int reason;

	pthread_mutex_lock(&c->lock);
	c->wake_sent = false;
	flush_queue(c);
	watch_output(c, c->queue_len && c->out_fd >= 0);
	if (drops_are_over(c)) {
		over = c->dropped;
		c->dropped = 0;
		c->drop_known = false;
	}
	begun = c->dropped && !c->drop_known && c->out_fd >= 0;
	c->drop_known |= begun;
	reason = c->out_errno;
	pthread_mutex_unlock(&c->lock);
	log_drops(c, over, begun, reason);
}

static void on_writable(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	chardev_flush(opaque);
}

int chardev_output_open(struct chardev *c, int fd, struct error *err)
{
	c->write_event = event_new(c->config.base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	if (!c->write_event) {
		close(fd);
		return error_set(err, ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&c->lock);
	c->out_fd = fd;
	c->out_errno = 0;
	pthread_mutex_unlock(&c->lock);
	chardev_flush(c);
	return 0;
}

void chardev_output_close(struct chardev *c)
{
	int fd;

	if (!c->write_event)
		return;
	fd = event_get_fd(c->write_event);
	pthread_mutex_lock(&c->lock);
	c->out_fd = -1;
	c->watched = false;
	pthread_mutex_unlock(&c->lock);
	event_free(c->write_event);
	c->write_event = NULL;
	close(fd);
}

/* O_NONBLOCK: opening a FIFO does not wait for a reader, nor writing for one that has stalled. */
static int open_file(struct chardev *c, struct error *err)
{
	int fd = open(c->path, O_WRONLY | O_CREAT | (c->config.append ? 0 : O_TRUNC) | O_APPEND |
		      O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0 && errno == ENXIO)
		return error_set(err, ENXIO, "a FIFO that nobody reads");
	if (fd < 0)
		return error_errno(err, errno, "can not be opened");
	return chardev_output_open(c, fd, err);
}

static int open_backend(struct chardev *c, struct error *err)
{
	switch (c->kind) {
	case CHARDEV_STDIO:
		return chardev_stdio_open(c, err);
	case CHARDEV_FILE:
		return open_file(c, err);
	case CHARDEV_UNIX:
		return chardev_unix_open(c, err);
	case CHARDEV_PTY:
		return chardev_pty_open(c, err);
	case CHARDEV_NULL:
		break;
	}
	return 0;
}

struct chardev *chardev_new(const struct chardev_config *config, struct error *err)
{
	struct chardev *c;
	struct error reason;

	c = calloc(1, sizeof(*c));
	if (!c) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	c->config = *config;
	c->in_fd = c->out_fd = -1;
	c->socket = UNIX_SOCKET_CLOSED;
	pthread_mutex_init(&c->lock, NULL);
	if (parse_address(config->address, &c->kind, &c->path, &reason) < 0)
		goto fail;
	if (c->kind != CHARDEV_NULL) {
		c->queue = malloc(CHARDEV_QUEUE_SIZE);
		if (!c->queue) {
			error_set(&reason, ENOMEM, "out of memory");
			goto fail;
		}
	}
	if (open_backend(c, &reason) < 0)
		goto fail;
	return c;
fail:
	*err = reason;
	chardev_free(c);
	return NULL;
}

int chardev_start(struct chardev *c, struct error *err)
{
	if (c->kind == CHARDEV_UNIX && chardev_unix_start(c, err) < 0)
		return -1;
	if (c->kind == CHARDEV_STDIO)
		chardev_input_watch(c, !c->terminal || terminal_grab());
	if (c->kind == CHARDEV_PTY)
		chardev_pty_start(c);
	return 0;
}

const char *chardev_pty_name(const struct chardev *c)
{
	return c->kind == CHARDEV_PTY ? c->pty_name : NULL;
}

void chardev_describe(const struct chardev *c, struct chardev_info *info)
{
	static const char *const backends[] = {
		[CHARDEV_NULL] = "null", [CHARDEV_STDIO] = "stdio", [CHARDEV_FILE] = "file",
		[CHARDEV_UNIX] = "socket", [CHARDEV_PTY] = "pty",
	};

	info->backend = backends[c->kind];
	info->connected = c->kind == CHARDEV_UNIX && c->write_event;
	info->path[0] = '\0';
	if (c->kind == CHARDEV_UNIX) {
		snprintf(info->path, sizeof(info->path), "%s", c->path);
		snprintf(info->filename, sizeof(info->filename), "%sunix:%s,server=on",
			 info->connected ? "" : "disconnected:", c->path);
	} else if (c->kind == CHARDEV_PTY) {
		snprintf(info->filename, sizeof(info->filename), "pty:%s", c->pty_name);
	} else {
		snprintf(info->filename, sizeof(info->filename), "%s", info->backend);
	}
}

void chardev_continued(struct chardev *c)
{
	if (c->terminal)
		chardev_input_watch(c, terminal_grab());
}

void chardev_dispatch(struct chardev *c)
{
	chardev_flush(c);
	if (atomic_exchange(&c->receive_ready, false))
		chardev_input_deliver(c);
}

static long now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* The end of a guest's output is often what matters most. */
static void drain(struct chardev *c)
{
	long left, deadline = now_ms() + CLOSE_GRACE_MS;
	struct pollfd pfd = { .events = POLLOUT };

	while (c->queue_len && c->out_fd >= 0 && (left = deadline - now_ms()) > 0) {
		pfd.fd = c->out_fd;
		if (poll(&pfd, 1, left) > 0)
			chardev_flush(c);
	}
	c->dropped += c->out_fd >= 0 ? c->queue_len : 0;
	if (c->dropped)
		log_drops(c, c->dropped, false, 0);
}

void chardev_free(struct chardev *c)
{
	if (!c)
		return;
	drain(c);
	if (c->kind == CHARDEV_STDIO)
		chardev_stdio_close(c);
	else if (c->kind == CHARDEV_UNIX)
		chardev_unix_close(c);
	else if (c->kind == CHARDEV_PTY)
		chardev_pty_close(c);
	chardev_input_close(c);
	chardev_output_close(c);
	pthread_mutex_destroy(&c->lock);
	free(c->queue);
	free(c);
}
