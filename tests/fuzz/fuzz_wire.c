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
#include "tests/fuzz/fuzz_wire.h"

/*
 * libFuzzer: whole sessions.  The first byte says how the client behaves and what monitor it is at,
 * the rest is what it sends, with 0xFA in it for "nothing more for one turn of the event loop" and
 * 0xFB for "what is pending is answered".  Whatever the client does, what it receives are JSON
 * objects, one a line, or at a text monitor lines that end in CR and LF; no command is carried out
 * that the monitor does not allow, or in front of a pending reply; and a second client, well
 * behaved, is served as if it were alone.
 *
 * The commands are those of fuzz_wire_commands.c, since there is no machine.
 */
#define FLAG_PRETTY     0x01
#define FLAG_NEGOTIATE  0x02
#define FLAG_READ       0x04            /* reads what it gets as it comes */
#define FLAG_HALF_CLOSE 0x08
#define FLAG_VANISH     0x10            /* without having read anything */
#define FLAG_PASS_FDS   0x20            /* two with each system call, and too many with every 16th */
#define MODE(flags)     ((flags) >> 6)  /* 0, 3: QMP, 1: to observe, 2: text */
#define MODE_OOB        3               /* and negotiates with oob */
#define PAUSE           0xfa
#define ANSWER          0xfb

struct peer {
	int fd;
	struct json_parser *parser;
	bool pretty, passes_fds, text;
	char last;
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

static struct peer connect_peer(struct monitor *monitor, unsigned int mode, bool pretty)
{
	const struct monitor_options options = {
		.mode = mode == 1 ? MONITOR_OBSERVE : mode == 2 ? MONITOR_READLINE :
								  MONITOR_CONTROL,
		.pretty = pretty && mode != 2,
		.untrusted_input = pretty && mode == 2,
	};
	struct peer peer = { .pretty = options.pretty, .text = mode == 2 };
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
			/* A text monitor echoes what is beyond ASCII. */
			CHECK(peer->text || (bytes[i] > 0 && bytes[i] < 0x7f));
			CHECK(bytes[i] != '\n' || peer->last == '\r');
			peer->lines += bytes[i] == '\n';
			peer->last = bytes[i];
		}
		if (peer->text) {
			peer->objects += (unsigned int)len;
			continue;
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
	CHECK(peer->pretty || peer->text || peer->objects == peer->lines || peer->objects == peer->lines + 1);
	close(peer->fd);
	json_parser_free(peer->parser);
}

/* The next byte that is not meant for the monitor. */
static const uint8_t *next_special(const uint8_t *data, const uint8_t *end)
{
	while (data < end && *data != PAUSE && *data != ANSWER)
		data++;
	return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char negotiate[] = "{\"execute\":\"qmp_capabilities\"}";
	static const char with_oob[] = "{\"execute\":\"qmp_capabilities\","
				       "\"arguments\":{\"enable\":[\"oob\"]}}";
	unsigned int before, open_before = open_descriptors();
	struct event_base *base = event_base_new();
	struct monitor_config config = { .base = base, .uuid = "0" };
	struct monitor *monitor = monitor_new(&config, NULL);
	struct peer peer, other;
	const uint8_t *end = data + size, *pause;
	uint8_t flags = size ? *data++ : 0;

	CHECK(monitor);
	other = connect_peer(monitor, 0, false);
	peer = connect_peer(monitor, MODE(flags), flags & FLAG_PRETTY);
	peer.passes_fds = flags & FLAG_PASS_FDS;
	if (flags & FLAG_NEGOTIATE) {
		const char *request = MODE(flags) == MODE_OOB ? with_oob : negotiate;

		transmit(base, &peer, request, strlen(request), flags & FLAG_READ);
	}
	while (data < end) {
		pause = next_special(data, end);
		transmit(base, &peer, data, (size_t)(pause - data), flags & FLAG_READ);
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		if (pause < end && *pause == ANSWER)
			fuzz_answer();
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
	CHECK(!fuzz_pending());
	if (!(flags & FLAG_VANISH)) {
		receive(&peer);
		CHECK(peer.objects || peer.text);
		disconnect(&peer);
	}
	disconnect(&other);
	event_base_free(base);
	/* Whatever was passed, and whoever had it. */
	CHECK(open_descriptors() == open_before);
	return 0;
}
