/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A rest of a reply longer than this is not copied but handed over. */
#define HAND_OVER_SIZE 16384

/* Pieces of output that one system call sends. */
#define SEND_PIECES 64

/* True when the socket is merely full. */
static bool may_send_later(int code)
{
	return code == EAGAIN || code == EINTR || code == ENOBUFS;
}

/* One system call's worth of output.  Returns the bytes sent; -1 when the peer is gone. */
static ssize_t send_some(struct monitor_client *client)
{
	struct evbuffer_iovec piece[SEND_PIECES];
	struct msghdr msg = { .msg_iov = (struct iovec *)piece };
	int pieces = evbuffer_peek(client->output, -1, NULL, piece, SEND_PIECES);
	ssize_t sent;

	msg.msg_iovlen = (size_t)(pieces < SEND_PIECES ? pieces : SEND_PIECES);
	if (!msg.msg_iovlen)
		return 0;
	sent = client->is_socket ? sendmsg(client->fd, &msg, MSG_NOSIGNAL) :
				   writev(client->out_fd, msg.msg_iov, (int)msg.msg_iovlen);
	if (sent < 0)
		return may_send_later(errno) ? 0 : -1;
	evbuffer_drain(client->output, (size_t)sent);
	if (client->event_bytes > evbuffer_get_length(client->output))
		client->event_bytes = evbuffer_get_length(client->output);
	return sent;
}

void client_flush(struct monitor_client *client)
{
	if (client->wants_flush) {
		client->wants_flush = false;
		TAILQ_REMOVE(&client->monitor->flush, client, flush_link);
	}
	if (!client->writing) {
		if (send_some(client) < 0) {
			client_close(client, NULL);
			return;
		}
		client->writing = evbuffer_get_length(client->output);
		if (client->writing && event_add(client->writable, NULL) < 0)
			client->broken = true;
	}
	client_update(client);
}

void client_on_writable(evutil_socket_t fd, short what, void *opaque)
{
	struct monitor_client *client = opaque;

	(void)fd;
	(void)what;
	client->writing = false;
	client_flush(client);
}

static void release_text(const void *text, size_t len, void *opaque)
{
	(void)text;
	(void)len;
	free(opaque);
}

/* Queues what is left of w->text behind `sent`. */
static int queue_text(struct monitor_client *client, struct json_writer *w, size_t sent)
{
	size_t left = w->len - sent;

	if (left < HAND_OVER_SIZE)
		return evbuffer_add(client->output, w->text + sent, left);
	if (evbuffer_add_reference(client->output, w->text + sent, left, release_text, w->text) < 0)
		return -1;
	json_writer_init(w, w->pretty);
	return 0;
}

void client_put(struct monitor_client *client, struct json_writer *w)
{
	if (w->failed || queue_text(client, w, 0) < 0)
		client_close(client, "out of memory for a reply");
}

void client_send(struct monitor_client *client, struct json_writer *w)
{
	size_t sent = 0;
	ssize_t ret;

	if (!w->failed && client->is_socket && !evbuffer_get_length(client->output)) {
		ret = send(client->fd, w->text, w->len, MSG_NOSIGNAL);
		if (ret < 0 && !may_send_later(errno)) {
			client_close(client, NULL);
			return;
		}
		sent = ret < 0 ? 0 : (size_t)ret;
		if (sent == w->len)
			return;
	}
	if (w->failed || queue_text(client, w, sent) < 0)
		client_close(client, "out of memory for a reply");
	else
		client_flush(client);
}

static void want_flush(struct monitor_client *client)
{
	if (client->wants_flush)
		return;
	client->wants_flush = true;
	TAILQ_INSERT_TAIL(&client->monitor->flush, client, flush_link);
	monitor_want_turn(client->monitor);
}

void client_put_bytes(struct monitor_client *client, const char *bytes, size_t len)
{
	if (!len)
		return;
	if (evbuffer_add(client->output, bytes, len) < 0)
		client->broken = true;
	want_flush(client);
}

void client_queue_event(struct monitor_client *client, const char *text, size_t len,
			evbuffer_ref_cleanup_cb release, void *opaque)
{
	if (evbuffer_add_reference(client->output, text, len, release, opaque) < 0) {
		release(text, len, opaque);
		client_close(client, "out of memory for an event");
		return;
	}
	client->event_bytes += len;
	if (client->event_bytes > EVENTS_MAX) {
		client_close(client, "it is too far behind in reading events");
		return;
	}
	want_flush(client);
}

void client_finish(struct monitor_client *client)
{
	while (send_some(client) > 0)
		;
	client_close(client, NULL);
}
