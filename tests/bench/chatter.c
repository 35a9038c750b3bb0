/* SPDX-License-Identifier: MIT */
/*
 * `chatter SOCKET CONNECTIONS DEPTH COUNT` has so many clients at a monitor at once, each of which
 * always waits for the answers to DEPTH requests, until COUNT answers have come in all.  The answer
 * is a line, and they come in order.  Prints the nanoseconds that this took, and then the latency of
 * every request, from before it is sent until its answer has been read, in the order of the answers.
 *
 * A first tenth as many are not counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX       64
#define CONNECTIONS_MAX 4096

static const char negotiation[] = "{\"execute\": \"qmp_capabilities\"}\r\n";
static const char request[] = "{\"execute\": \"query-status\"}\r\n";

struct client {
	int fd;
	int64_t sent[DEPTH_MAX];        /* when; a ring */
	unsigned int first;
};

static struct client clients[CONNECTIONS_MAX];
static unsigned int connections, depth;
static int64_t *latency;

static void die(const char *what)
{
	fprintf(stderr, "chatter: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void await_line(int fd)
{
	char byte;

	do
		if (read(fd, &byte, 1) != 1)
			die("the server's line");
	while (byte != '\n');
}

static void say(int fd, const char *bytes, size_t len)
{
	if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

static void dial(struct client *client, const char *path, int epoll)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

	strcpy(address.sun_path, path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(path);
	await_line(client->fd);
	say(client->fd, negotiation, sizeof(negotiation) - 1);
	await_line(client->fd);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		die("epoll");
}

/* Asks `count` times, in one piece. */
static void ask(struct client *client, unsigned int at, unsigned int count)
{
	char bytes[DEPTH_MAX * sizeof(request)];
	size_t len = 0;
	int64_t start = now();

	for (unsigned int i = 0; i < count; i++) {
		memcpy(bytes + len, request, sizeof(request) - 1);
		len += sizeof(request) - 1;
		client->sent[(at + i) % depth] = start;
	}
	say(client->fd, bytes, len);
}

/* Takes what answers there are and asks as many times again.  Returns how many. */
static unsigned int take_answers(struct client *client, int64_t *to)
{
	char bytes[65536];
	ssize_t len = recv(client->fd, bytes, sizeof(bytes), 0);
	unsigned int answers = 0;
	int64_t end;

	if (len <= 0)
		die("the server's answer");
	end = now();
	for (ssize_t i = 0; i < len; i++) {
		if (bytes[i] != '\n')
			continue;
		*to++ = end - client->sent[(client->first + answers++) % depth];
	}
	if (answers)
		ask(client, client->first, answers);
	client->first = (client->first + answers) % depth;
	return answers;
}

/* Until at least `count` answers have come.  Returns the time that took. */
static int64_t chat(int epoll, unsigned int count)
{
	struct epoll_event events[64];
	int64_t start = now();
	unsigned int done = 0;

	while (done < count) {
		int ready = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < ready; i++)
			done += take_answers(events[i].data.ptr, latency + done);
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	unsigned int count = argc == 5 ? (unsigned int)atoi(argv[4]) : 0;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int64_t took;

	connections = argc == 5 ? (unsigned int)atoi(argv[2]) : 0;
	depth = argc == 5 ? (unsigned int)atoi(argv[3]) : 0;
	if (!count || !connections || connections > CONNECTIONS_MAX || !depth ||
	    depth > DEPTH_MAX) {
		fprintf(stderr, "Usage: chatter SOCKET CONNECTIONS DEPTH COUNT\n");
		return 2;
	}
	/* The last round may bring more than were asked for. */
	latency = calloc((size_t)count + (size_t)connections * depth, sizeof(*latency));
	if (!latency || epoll < 0)
		die("memory");
	for (unsigned int i = 0; i < connections; i++)
		dial(&clients[i], argv[1], epoll);
	for (unsigned int i = 0; i < connections; i++)
		ask(&clients[i], 0, depth);
	chat(epoll, count / 10 + 1);
	took = chat(epoll, count);
	printf("%" PRId64 "\n", took);
	for (unsigned int i = 0; i < count; i++)
		printf("%" PRId64 "\n", latency[i]);
	return 0;
}
