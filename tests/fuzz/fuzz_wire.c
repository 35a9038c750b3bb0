/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "monitor/monitor.h"

/*
 * libFuzzer: whole sessions.  The first byte says how the client behaves, the rest is what it
 * sends, with 0xFA in it for "nothing more for one turn of the event loop".  Whatever the client
 * does, what it receives are JSON objects, one a line; and a second client, well behaved, is served
 * as if it were alone.
 *
 * The commands are those of fuzz_wire_commands.c, since there is no machine.
 */
#define FLAG_PRETTY     0x01
#define FLAG_NEGOTIATE  0x02
#define FLAG_READ       0x04            /* reads what it gets as it comes */
#define FLAG_HALF_CLOSE 0x08
#define FLAG_VANISH     0x10            /* without having read anything */
#define FLAG_PASS_FDS   0x20            /* two with each system call, and too many with every 16th */
#define PAUSE           0xfa

struct peer {
	int fd;
	struct json_parser *parser;
	bool pretty, passes_fds;
	unsigned int sends;
	unsigned int objects, lines;
};

static bool take_object(void *opaque, struct json_value *value, const char *error)
{
	struct peer *peer = opaque;

	CHECK(!error && value->type == JSON_OBJECT);
	CHECK(json_get(value, peer->objects ? "return" : "QMP") || json_get(value, "error") ||
	      json_get(value, "event"));
	peer->objects++;
	return true;
}

static struct peer connect_peer(struct monitor *monitor, bool pretty)
{
	const struct monitor_options options = { .pretty = pretty };
	struct peer peer = { .pretty = pretty };
	int fd[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
	peer.fd = fd[0];
	CHECK(!monitor_add_client(monitor, fd[1], fd[1], &options, NULL));
	return peer;
}

static void receive(struct peer *peer)
{
	char bytes[65536];
	ssize_t len, i;

	if (!peer->parser)
		peer->parser = json_parser_new(take_object, peer);
	while ((len = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		for (i = 0; i < len; i++) {
			CHECK(bytes[i] > 0 && bytes[i] < 0x7f);
			peer->lines += bytes[i] == '\n';
		}
		CHECK(json_parser_feed(peer->parser, bytes, (size_t)len) == (size_t)len);
	}
}

static ssize_t send_fds(struct peer *peer, const void *bytes, size_t len)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(100 * sizeof(int))] = { 0 };
	size_t count = ++peer->sends % 16 ? 2 : 100, i;
	struct iovec iov = { (void *)bytes, len };
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
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &(int){ STDERR_FILENO }, sizeof(int));
	return sendmsg(peer->fd, &msg, MSG_NOSIGNAL);
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;
	int fd;

	for (fd = 0; fd < 512; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void transmit(struct event_base *base, struct peer *peer, const void *bytes, size_t len,
		     bool reading)
{
	ssize_t sent;

	while (len) {
		sent = peer->passes_fds ? send_fds(peer, bytes, len) :
					  send(peer->fd, bytes, len, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN)
			return;
		if (sent < 0 && !reading)
			return;
		if (sent > 0) {
			bytes = (const char *)bytes + sent;
			len -= (size_t)sent;
		}
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		if (reading)
			receive(peer);
	}
}

static void disconnect(struct peer *peer)
{
	/* The last line may have been cut off in front of its end. */
	CHECK(peer->pretty || peer->objects == peer->lines || peer->objects == peer->lines + 1);
	close(peer->fd);
	json_parser_free(peer->parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char negotiate[] = "{\"execute\":\"qmp_capabilities\"}";
	unsigned int before, open_before = open_descriptors();
	struct event_base *base = event_base_new();
	struct monitor_config config = { .base = base, .uuid = "0" };
	struct monitor *monitor = monitor_new(&config, NULL);
	struct peer peer, other;
	const uint8_t *end = data + size, *pause;
	uint8_t flags = size ? *data++ : 0;

	CHECK(monitor);
	other = connect_peer(monitor, false);
	peer = connect_peer(monitor, flags & FLAG_PRETTY);
	peer.passes_fds = flags & FLAG_PASS_FDS;
	if (flags & FLAG_NEGOTIATE)
		transmit(base, &peer, negotiate, strlen(negotiate), flags & FLAG_READ);
	while (data < end) {
		pause = memchr(data, PAUSE, (size_t)(end - data));
		if (!pause)
			pause = end;
		transmit(base, &peer, data, (size_t)(pause - data), flags & FLAG_READ);
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		data = pause < end ? pause + 1 : end;
	}
	if (flags & FLAG_HALF_CLOSE)
		shutdown(peer.fd, SHUT_WR);
	if (flags & FLAG_VANISH)
		disconnect(&peer);
	event_base_loop(base, EVLOOP_NONBLOCK);

	receive(&other);
	before = other.objects;
	transmit(base, &other, negotiate, strlen(negotiate), true);
	event_base_loop(base, EVLOOP_NONBLOCK);
	receive(&other);
	CHECK(other.objects == before + 1);

	monitor_free(monitor);
	if (!(flags & FLAG_VANISH)) {
		receive(&peer);
		CHECK(peer.objects);
		disconnect(&peer);
	}
	disconnect(&other);
	event_base_free(base);
	/* Whatever was passed, and whoever had it. */
	CHECK(open_descriptors() == open_before);
	return 0;
}
