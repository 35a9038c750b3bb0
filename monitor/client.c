/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/log.h"

static bool queue_is_full(const struct monitor_client *client)
{
	return client->queued == QUEUE_LENGTH ||
	       (client->queued && client->queue_bytes > QUEUE_BYTES);
}

/* A request with both members is in error, and takes its place in the queue like all others. */
static bool is_urgent(const struct monitor_client *client, const struct json_value *value)
{
	return client->oob && value && json_get(value, "exec-oob") && !json_get(value, "execute");
}

/* Nothing more is parsed for now.  What is typed ahead is not shown before the prompt. */
static bool is_full(const struct monitor_client *client)
{
	if (client->terminal)
		return client->queued || client->pending;
	return client->has_urgent || queue_is_full(client);
}

/* json_parser_fn: a request, or an error that takes its place in the queue. */
static bool on_value(void *opaque, struct json_value *value, const char *error)
{
	struct monitor_client *client = opaque;
	struct request *request;

	if (is_urgent(client, value)) {
		client->urgent = (struct request){ .value = *value, .urgent = true };
		client->has_urgent = true;
		value->type = JSON_NULL;
		return false;
	}
	request = &client->queue[(client->queue_first + client->queued) % QUEUE_LENGTH];
	memset(request, 0, sizeof(*request));
	if (value) {
		request->value = *value;
		value->type = JSON_NULL;
	} else {
		/* A browser can be made to send this to a port, and what follows. */
		if (client->options.untrusted_input && !client->negotiated)
			client->untrusted = true;
		request->error = strdup(error);
		if (!request->error) {
			client->broken = true;
			return false;
		}
	}
	client->queued++;
	return !queue_is_full(client);
}

void client_take_request(struct monitor_client *client, struct request *request)
{
	*request = client->queue[client->queue_first];
	client->queue_first = (client->queue_first + 1) % QUEUE_LENGTH;
	if (!--client->queued)
		client->queue_bytes = 0;
}

void request_free(struct request *request)
{
	json_clear(&request->value);
	free(request->error);
	free(request->line);
}

bool client_next_request(struct monitor_client *client, struct request *request)
{
	if (client->has_urgent) {
		*request = client->urgent;
		client->has_urgent = false;
	} else if (client->queued && !client->pending) {
		client_take_request(client, request);
	} else {
		return false;
	}
	return true;
}

bool client_has_request(const struct monitor_client *client)
{
	return client->fd >= 0 && (client->has_urgent || (client->queued && !client->pending));
}

static void drop_rest(struct monitor_client *client)
{
	free(client->rest);
	client->rest = NULL;
	client->rest_start = client->rest_len = 0;
}

static size_t feed(struct monitor_client *client, const char *bytes, size_t len)
{
	if (client->terminal)
		return terminal_feed(client, bytes, len);
	return json_parser_feed(client->parser, bytes, len);
}

/* Parses what was just read.  What the queue has no room for is kept for later. */
static void take_input(struct monitor_client *client, const char *bytes, size_t len)
{
	size_t used = feed(client, bytes, len);

	client->queue_bytes += used;
	if (used == len)
		return;
	client->rest = malloc(len - used);
	if (!client->rest) {
		client->broken = true;
		return;
	}
	memcpy(client->rest, bytes + used, len - used);
	client->rest_len = len - used;
}

/* Goes on with what was kept. */
static void take_rest(struct monitor_client *client)
{
	size_t used;

	if (client->rest_len) {
		used = feed(client, client->rest + client->rest_start, client->rest_len);
		client->queue_bytes += used;
		client->rest_start += used;
		client->rest_len -= used;
		if (!client->rest_len)
			drop_rest(client);
	}
	if (client->eof && !client->rest_len && !is_full(client) && client->parser)
		json_parser_end(client->parser);
}

/*
 * Descriptors wait for the command that takes them.  What is left over from commands that have been
 * carried out is not for the next one; as long as commands wait, nobody can tell whose it is.
 */
static void take_descriptors(struct monitor_client *client, const struct msghdr *msg)
{
	if (!client->queued)
		fd_queue_clear(&client->received);
	if (fd_queue_receive(&client->received, msg) || client->lost_fds)
		return;
	client->lost_fds = true;
	log_warning("a monitor client has passed more file descriptors than can be taken; "
		    "the last ones are closed");
}

/* Up to INPUT_SIZE bytes into monitor->input, and descriptors with them. */
static ssize_t receive(struct monitor_client *client)
{
	struct monitor *monitor = client->monitor;
	struct iovec iov = { monitor->input, sizeof(monitor->input) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FD_QUEUE_MAX * sizeof(int))];
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t len;

	if (!client->is_socket)
		return read(client->fd, monitor->input, sizeof(monitor->input));
	len = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
	if (len >= 0 && (msg.msg_controllen || (msg.msg_flags & MSG_CTRUNC)))
		take_descriptors(client, &msg);
	return len;
}

static void set_reading(struct monitor_client *client, bool reading)
{
	/* What can not be waited for, such as a file, is read once a turn: 0 would be once only. */
	static const struct timeval soon = { 0, 1 };

	if (reading == client->reading)
		return;
	if ((reading ? event_add(client->readable, client->is_pollable ? NULL : &soon) :
		       event_del(client->readable)) < 0)
		client->broken = true;
	else
		client->reading = reading;
}

/* As long as there is a rest, one of the last two holds: see client_update(). */
static bool may_read(const struct monitor_client *client)
{
	return !client->eof && !is_full(client) && !client->blocked;
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	struct monitor_client *client = opaque;
	struct monitor *monitor = client->monitor;
	bool nobody_waited;
	ssize_t len;

	(void)fd;
	(void)what;
	/*
	 * Only now that there is something which may not be read yet: most clients wait for replies
	 * before they send more, and not to read and to read again costs a call of the kernel each.
	 */
	if (!may_read(client)) {
		set_reading(client, false);
		client_update(client);
		return;
	}
	len = receive(client);
	if (len < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(client, NULL);
		return;
	}
	nobody_waited = monitor_begin(monitor);
	if (len)
		take_input(client, monitor->input, (size_t)len);
	else
		client->eof = true;
	client_update(client);
	monitor_end(monitor, nobody_waited);
}

/*
 * Who goes away while a reply is pending is to be noticed also when nothing is read from him.  It
 * is told once: a client that has merely said all it had to say would have the loop spin.
 */
static void set_watching(struct monitor_client *client, bool watching)
{
	if (watching == client->watching)
		return;
	client->watching = watching;
	if ((watching ? event_add(client->hangup, NULL) : event_del(client->hangup)) < 0)
		client->broken = true;
}

/* Not just silent from now on, waiting for a reply. */
static bool peer_is_gone(const struct monitor_client *client)
{
	struct pollfd poll_fd = { .fd = client->fd };

	return poll(&poll_fd, 1, 0) > 0;
}

void client_update(struct monitor_client *client)
{
	struct monitor *monitor = client->monitor;
	size_t unread = evbuffer_get_length(client->output);

	client->blocked = unread > (client->blocked ? OUTPUT_HIGH / 2 : OUTPUT_HIGH);
	if (!client->blocked && !is_full(client))
		take_rest(client);
	if (may_read(client))
		set_reading(client, true);
	else if (client->eof)
		set_reading(client, false);
	set_watching(client, client->pending && !client->reading && client->is_socket &&
		     !client->half_closed);

	if (client->broken || (client->parser && json_parser_is_broken(client->parser))) {
		client_close(client, "out of memory");
		return;
	}
	if (client->untrusted) {
		client_close(client, "it speaks another protocol");
		return;
	}
	if ((client->eof || client->half_closed) && client->pending && peer_is_gone(client)) {
		client_close(client, NULL);
		return;
	}
	if (client_has_request(client) && !client->blocked && !client->is_ready) {
		client->is_ready = true;
		monitor->nr_ready++;
		TAILQ_INSERT_TAIL(&monitor->ready, client, ready_link);
		monitor_want_turn(monitor);
	}
	if (client->eof && !client->queued && !client->has_urgent && !client->pending &&
	    !client->executing && !client->rest_len && !unread)
		client_close(client, NULL);
}

static void on_hangup(evutil_socket_t fd, short what, void *opaque)
{
	struct monitor_client *client = opaque;

	(void)fd;
	(void)what;
	client->watching = false;
	client->half_closed = true;
	client_update(client);
}

static void log_close(const struct monitor_client *client, const char *why)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		peer.pid = 0;
	log_warning("monitor client (process %ld) is disconnected: %s", (long)peer.pid, why);
}

void client_not_ready(struct monitor_client *client)
{
	if (!client->is_ready)
		return;
	client->is_ready = false;
	client->monitor->nr_ready--;
	TAILQ_REMOVE(&client->monitor->ready, client, ready_link);
}

void client_close(struct monitor_client *client, const char *why)
{
	struct monitor *monitor = client->monitor;
	struct request request;

	if (client->fd < 0)
		return;
	if (why)
		log_close(client, why);
	TAILQ_REMOVE(&monitor->clients, client, link);
	client_not_ready(client);
	if (client->wants_flush)
		TAILQ_REMOVE(&monitor->flush, client, flush_link);
	if (client->has_urgent)
		request_free(&client->urgent);
	client->has_urgent = false;
	while (client->queued) {
		client_take_request(client, &request);
		request_free(&request);
	}
	if (client->pending)
		pending_lose_client(client->pending);
	drop_rest(client);
	fd_queue_clear(&client->received);
	fd_names_clear(&client->names);
	if (TAILQ_EMPTY(&monitor->clients))
		fdsets_clear(&monitor->fdsets);
	json_parser_free(client->parser);
	terminal_free(client->terminal);
	if (client->readable)
		event_free(client->readable);
	if (client->writable)
		event_free(client->writable);
	if (client->hangup)
		event_free(client->hangup);
	if (client->output)
		evbuffer_free(client->output);
	if (client->out_fd != client->fd)
		close(client->out_fd);
	close(client->fd);
	client->fd = -1;
	if (!client->executing)
		client_release(client);
}

void client_release(struct monitor_client *client)
{
	free(client);
}

bool client_begin(struct monitor_client *client)
{
	bool outer = client->executing;

	client->executing = true;
	return outer;
}

void client_end(struct monitor_client *client, bool outer)
{
	client->executing = outer;
	if (outer)
		return;
	if (client->fd >= 0)
		client_update(client);
	else
		client_release(client);
}

static void greet(struct monitor_client *client)
{
	struct json_writer w;

	json_writer_init(&w, client->options.pretty);
	json_write_object(&w, NULL);
	json_write_object(&w, "QMP");
	monitor_write_version(&w, "version");
	json_write_array(&w, "capabilities");
	json_write_string(&w, NULL, "oob");
	json_write_array_end(&w);
	json_write_object_end(&w);
	json_write_object_end(&w);
	json_write_line_end(&w);
	client_send(client, &w);
	json_writer_free(&w);
}

/* A descriptor of ours does not block, and is no other program's. */
static int prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -1;
	return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* epoll(7) takes neither regular files nor, say, /dev/null, which are always ready. */
static bool is_pollable(int fd)
{
	struct epoll_event event = { 0 };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	bool pollable = epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;

	if (epoll >= 0)
		close(epoll);
	return pollable;
}

static int create_parts(struct monitor_client *client)
{
	struct event_base *base = client->monitor->config.base;

	client->readable = event_new(base, client->is_pollable ? client->fd : -1,
				     (client->is_pollable ? EV_READ : 0) | EV_PERSIST, on_readable,
				     client);
	client->writable = event_new(base, client->out_fd, EV_WRITE, client_on_writable, client);
	client->hangup = event_new(base, client->fd, EV_CLOSED, on_hangup, client);
	client->output = evbuffer_new();
	if (client->options.mode == MONITOR_READLINE)
		client->terminal = terminal_new(client->monitor);
	else
		client->parser = json_parser_new(on_value, client);
	return client->readable && client->writable && client->hangup && client->output &&
	       (client->parser || client->terminal) ? 0 : -1;
}

static int add(struct monitor *monitor, int in, int out, int number, bool is_monitor,
	       const struct monitor_options *options, struct error *err)
{
	struct monitor_client *client = calloc(1, sizeof(*client));
	struct stat st;

	if (!client) {
		close(in);
		if (out != in)
			close(out);
		return error_set(err, ENOMEM, "out of memory for a monitor client");
	}
	client->monitor = monitor;
	client->fd = in;
	client->out_fd = out;
	client->number = number;
	client->is_monitor = is_monitor;
	client->options = *options;
	client->is_socket = in == out && fstat(in, &st) == 0 && S_ISSOCK(st.st_mode);
	client->is_pollable = client->is_socket || is_pollable(in);
	TAILQ_INSERT_TAIL(&monitor->clients, client, link);

	if (prepare(in) < 0 || prepare(out) < 0) {
		error_errno(err, errno, "monitor client");
		goto fail;
	}
	if (create_parts(client) < 0) {
		error_set(err, ENOMEM, "out of memory for a monitor client");
		goto fail;
	}
	set_reading(client, true);
	if (client->broken) {
		error_set(err, ENOMEM, "the event loop does not take a monitor client");
		goto fail;
	}
	if (client->terminal)
		terminal_greet(client);
	else
		greet(client);
	return 0;

fail:
	client_close(client, NULL);
	return -1;
}

int client_add(struct monitor *monitor, int fd, int number, const struct monitor_options *options,
	       struct error *err)
{
	return add(monitor, fd, fd, number, false, options, err);
}

int monitor_add_client(struct monitor *monitor, int in, int out,
		       const struct monitor_options *options, struct error *err)
{
	return add(monitor, in, out, -1, false, options, err);
}

int monitor_serve(struct monitor *monitor, int in, int out, const struct monitor_options *options,
		  struct error *err)
{
	return add(monitor, in, out, monitor->next_number++, true, options, err);
}
