/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/unit/wire_fixture.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "vmm/log.h"

unsigned int wire_log_lines;
char wire_log_last[1024];

static void sink(enum log_level level, const char *line)
{
	(void)level;
	wire_log_lines++;
	snprintf(wire_log_last, sizeof(wire_log_last), "%s", line);
}

static void quit(void *opaque)
{
	struct wire *wire = opaque;

	wire->quits++;
	if (wire->on_quit)
		wire->on_quit(wire);
}

void wire_open(struct wire *wire)
{
	wire_open_vm(wire, NULL);
}

void wire_open_vm(struct wire *wire, struct vm *vm)
{
	struct monitor_config config = { .vm = vm, .name = "guest", .uuid = "0", .quit = quit };
	struct error err;

	memset(wire, 0, sizeof(*wire));
	wire_log_lines = 0;
	wire_log_last[0] = '\0';
	log_set_sink(sink, LOG_LEVEL_INFO);
	wire->base = event_base_new();
	ck_assert_ptr_nonnull(wire->base);
	config.base = wire->base;
	config.opaque = wire;
	wire->monitor = monitor_new(&config, &err);
	ck_assert_ptr_nonnull(wire->monitor);
}

void wire_close(struct wire *wire)
{
	monitor_free(wire->monitor);
	/* Nobody may have left anything in the loop. */
	ck_assert_int_eq(event_base_get_num_events(wire->base, EVENT_BASE_COUNT_ADDED), 0);
	event_base_free(wire->base);
}

struct peer wire_connect_with(struct wire *wire, const struct monitor_options *options)
{
	struct peer peer = { 0 };
	struct error err;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	peer.fd = fd[0];
	ck_assert_int_eq(monitor_add_client(wire->monitor, fd[1], fd[1], options, &err), 0);
	return peer;
}

struct peer wire_connect(struct wire *wire, bool pretty)
{
	const struct monitor_options options = { .pretty = pretty };

	return wire_connect_with(wire, &options);
}

struct peer wire_connect_ready(struct wire *wire)
{
	struct peer peer = wire_connect(wire, false);

	wire_expect(wire, &peer, NEGOTIATE, GREETING OK);
	return peer;
}

void peer_read(struct peer *peer)
{
	ssize_t len;

	while (peer->fd >= 0 && !peer->eof) {
		if (peer->size - peer->len < 65536) {
			peer->size = peer->size * 2 + 131072;
			peer->text = realloc(peer->text, peer->size);
			ck_assert_ptr_nonnull(peer->text);
		}
		len = recv(peer->fd, peer->text + peer->len, peer->size - peer->len - 1,
			   MSG_DONTWAIT);
		if (len < 0 && errno == EAGAIN)
			break;
		peer->eof = len <= 0;
		if (len > 0)
			peer->len += (size_t)len;
	}
	if (peer->text)
		peer->text[peer->len] = '\0';
}

void peer_clear(struct peer *peer)
{
	free(peer->text);
	peer->text = NULL;
	peer->len = peer->size = 0;
}

void peer_close(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	peer_clear(peer);
}

unsigned int peer_count(const struct peer *peer, const char *what)
{
	const char *at;
	size_t len = strlen(what);
	unsigned int count = 0;

	/* Not strstr(), which is quadratic here where AddressSanitizer looks at its arguments. */
	for (at = peer->text; at && *at; at++)
		if (*at == *what && !strncmp(at, what, len))
			count++;
	return count;
}

unsigned int wire_clients(const struct wire *wire)
{
	const struct monitor_client *client;
	unsigned int count = 0;

	TAILQ_FOREACH(client, &wire->monitor->clients, link)
		count++;
	return count;
}

void wire_turn(struct wire *wire)
{
	event_base_loop(wire->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static bool is_quiet(const struct wire *wire)
{
	const struct monitor_client *client;

	if (!TAILQ_EMPTY(&wire->monitor->ready) || !TAILQ_EMPTY(&wire->monitor->flush) ||
	    !TAILQ_EMPTY(&wire->monitor->orphans))
		return false;
	TAILQ_FOREACH(client, &wire->monitor->clients, link) {
		struct pollfd poll_fd = {
			.fd = client->fd,
			.events = (short)((client->reading ? POLLIN : 0) |
					  (client->writing ? POLLOUT : 0)),
		};

		if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (poll_fd.events | POLLHUP)))
			return false;
	}
	return true;
}

void wire_settle(struct wire *wire, struct peer *peer)
{
	size_t before;

	do {
		before = peer ? peer->len : 0;
		wire_turn(wire);
		if (peer)
			peer_read(peer);
	} while (!is_quiet(wire) || (peer && peer->len != before));
}

void wire_send(struct wire *wire, struct peer *peer, const char *bytes, size_t len)
{
	while (len) {
		ssize_t sent = send(peer->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			bytes += sent;
			len -= (size_t)sent;
			continue;
		}
		ck_assert_int_eq(errno, EAGAIN);
		wire_turn(wire);
		peer_read(peer);
	}
}

void wire_send_fds(struct peer *peer, const char *text, const int *fds, size_t count)
{
	struct iovec iov = { (char *)text, strlen(text) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(256 * sizeof(int))] = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	ck_assert_int_eq(sendmsg(peer->fd, &msg, 0), (ssize_t)strlen(text));
}

void wire_expect(struct wire *wire, struct peer *peer, const char *text, const char *expected)
{
	wire_send(wire, peer, text, strlen(text));
	wire_settle(wire, peer);
	ck_assert_str_eq(peer->text ? peer->text : "", expected);
	peer_clear(peer);
}
