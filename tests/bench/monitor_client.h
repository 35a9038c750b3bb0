/* SPDX-License-Identifier: MIT */
/*
 * The client's side of a monitor, for programs that measure when it answers.
 */
#ifndef BENCH_MONITOR_CLIENT_H
#define BENCH_MONITOR_CLIENT_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 1000000         /* between two questions whether a state has come in */

/* The program's: ends it, with a message from errno. */
static void die(const char *what) __attribute__((noreturn));

/* Watches the directory that the socket will be in. */
static inline int watch(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
	int fd = inotify_init1(IN_CLOEXEC);

	if (!directory || fd < 0 || inotify_add_watch(fd, directory, IN_CREATE | IN_MOVED_TO) < 0)
		die(path);
	free(directory);
	return fd;
}

/* The name appears with bind(), and listen() follows. */
static inline int connect_to(const char *path, int watch_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char event[4096];

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		die(path);
	strcpy(address.sun_path, path);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT) {
			if (read(watch_fd, event, sizeof(event)) < 0)
				die("inotify");
		} else if (errno != ECONNREFUSED) {
			die(path);
		}
	}
	return fd;
}

struct monitor {
	int fd;
	char bytes[4096];       /* received, behind the last line that was taken */
	size_t len;
};

/* Takes lines up to the first with `wanted` in it, and says whether `status` is there as well. */
static inline bool await_line(struct monitor *m, const char *wanted, const char *status)
{
	for (;;) {
		char *end = memchr(m->bytes, '\n', m->len);
		ssize_t more;

		if (end) {
			size_t len = (size_t)(end - m->bytes) + 1;
			bool found = memmem(m->bytes, len, wanted, strlen(wanted));
			bool both = found && memmem(m->bytes, len, status, strlen(status));

			m->len -= len;
			memmove(m->bytes, end + 1, m->len);
			if (found)
				return both;
			continue;
		}
		more = read(m->fd, m->bytes + m->len, sizeof(m->bytes) - m->len);
		if (more <= 0)
			die("the monitor's answer");
		m->len += (size_t)more;
	}
}

static inline void request(struct monitor *m, const char *text)
{
	if (send(m->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		die("the monitor's socket");
}

/* From the greeting on, until the answer to query-status is that all of a state has come in. */
static inline void await_paused(struct monitor *m)
{
	static const struct timespec pause = { .tv_nsec = POLL_NS };

	await_line(m, "\"QMP\"", "");
	request(m, "{\"execute\": \"qmp_capabilities\"}\r\n");
	await_line(m, "\"return\"", "");
	for (;;) {
		request(m, "{\"execute\": \"query-status\"}\r\n");
		if (!await_line(m, "\"return\"", "inmigrate"))
			return;
		nanosleep(&pause, NULL);
	}
}

#endif
