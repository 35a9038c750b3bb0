/* SPDX-License-Identifier: MIT */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* A Unix socket whose backlog is full says neither yes nor no, and is asked again. */
static const struct timeval again = { 0, 50 * 1000 };
static const struct timeval at_once = { 0, 0 };

struct dial {
	struct event_base *base;
	dial_fn *fn;
	void *opaque;
	char name[NI_MAXHOST + sizeof(":65535")];       /* of what is dialled */
	struct resolve *resolve;                /* its addresses are looked up; else NULL */
	struct socket_addresses addresses;
	unsigned int next;                      /* the address to try next */
	int code;                               /* why the last one failed */
	struct event *timer;                    /* at_once or again: goes on with `next` */
	int fd;                                 /* connects; else -1 */
	struct event *writable;
};

void dial_cancel(struct dial *dial)
{
	if (dial->resolve)
		resolve_cancel(dial->resolve);
	if (dial->timer)
		event_free(dial->timer);
	if (dial->writable)
		event_free(dial->writable);
	if (dial->fd >= 0)
		close(dial->fd);
	free(dial);
}

/* `err` is NULL when dial->fd is connected. */
static void end(struct dial *dial, const struct error *err)
{
	dial_fn *fn = dial->fn;
	void *opaque = dial->opaque;
	int fd = err ? -1 : dial->fd;

	if (!err)
		dial->fd = -1;
	dial_cancel(dial);
	fn(opaque, fd, err);
}

/* This address is not it. */
static void hang_up(struct dial *dial, int code)
{
	dial->code = code;
	if (dial->writable)
		event_free(dial->writable);
	dial->writable = NULL;
	if (dial->fd >= 0)
		close(dial->fd);
	dial->fd = -1;
}

static void try_addresses(struct dial *dial);

static void on_writable(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *dial = opaque;
	socklen_t len = sizeof(int);
	int code = 0;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (!code) {
		end(dial, NULL);
		return;
	}
	hang_up(dial, code);
	try_addresses(dial);
}

static void wait_for_answer(struct dial *dial)
{
	dial->writable = event_new(dial->base, dial->fd, EV_WRITE, on_writable, dial);
	if (!dial->writable || event_add(dial->writable, NULL) < 0)
		hang_up(dial, ENOMEM);
}

static void try_addresses(struct dial *dial)
{
	struct error err;

	while (dial->next < dial->addresses.count) {
		const struct sockaddr *addr;
		socklen_t len = dial->addresses.at[dial->next].len;

		addr = (const struct sockaddr *)&dial->addresses.at[dial->next].addr;
		dial->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (dial->fd >= 0 && connect(dial->fd, addr, len) == 0) {
			end(dial, NULL);
			return;
		}
		if (dial->fd >= 0 && errno == EAGAIN && addr->sa_family == AF_UNIX) {
			hang_up(dial, errno);
			if (evtimer_add(dial->timer, &again) == 0)
				return;
		}
		dial->next++;
		if (errno != EINPROGRESS) {
			hang_up(dial, errno);
			continue;
		}
		wait_for_answer(dial);
		if (dial->fd >= 0)
			return;
	}
	error_errno(&err, dial->code, "Failed to connect to '%s'", dial->name);
	end(dial, &err);
}

static void on_timer(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	try_addresses(opaque);
}

static void on_resolved(void *opaque, int code, const struct socket_addresses *found)
{
	struct dial *dial = opaque;
	struct error err;
	int system_code = errno;

	dial->resolve = NULL;
	if (!code) {
		dial->addresses = *found;
		try_addresses(dial);
		return;
	}
	error_set(&err, EHOSTUNREACH, "address resolution failed for %s: %s", dial->name,
		  code == EAI_SYSTEM ? strerror(system_code) : gai_strerror(code));
	end(dial, &err);
}

static struct dial *dial_new(struct event_base *base, dial_fn *fn, void *opaque, struct error *err)
{
	struct dial *dial = calloc(1, sizeof(*dial));

	if (dial) {
		*dial = (struct dial){ .base = base, .fn = fn, .opaque = opaque, .fd = -1 };
		dial->timer = evtimer_new(base, on_timer, dial);
		if (dial->timer)
			return dial;
	}
	free(dial);
	error_set(err, ENOMEM, "out of memory for a migration");
	return NULL;
}

/* Everything that follows comes from the event loop. */
static struct dial *dial_soon(struct dial *dial, struct error *err)
{
	if (evtimer_add(dial->timer, &at_once) == 0)
		return dial;
	dial_cancel(dial);
	error_set(err, ENOMEM, "out of memory for a migration");
	return NULL;
}

struct dial *dial_unix(struct event_base *base, const char *path, dial_fn *fn, void *opaque,
		       struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct dial *dial;

	if (!*path || strlen(path) >= sizeof(addr.sun_path)) {
		error_set(err, EINVAL, "'%s' is no path of a socket: the system takes 1 to %zu "
			  "bytes", path, sizeof(addr.sun_path) - 1);
		return NULL;
	}
	strcpy(addr.sun_path, path);
	dial = dial_new(base, fn, opaque, err);
	if (!dial)
		return NULL;
	strcpy(dial->name, path);
	memcpy(&dial->addresses.at[0].addr, &addr, sizeof(addr));
	dial->addresses.at[0].len = sizeof(addr);
	dial->addresses.count = 1;
	return dial_soon(dial, err);
}

struct dial *dial_tcp(struct event_base *base, const struct tcp_address *address, dial_fn *fn,
		      void *opaque, struct error *err)
{
	struct dial *dial = dial_new(base, fn, opaque, err);

	if (!dial)
		return NULL;
	snprintf(dial->name, sizeof(dial->name), "%s:%s", address->host, address->port);
	if (tcp_address_lookup(address, AI_NUMERICHOST, &dial->addresses) == 0)
		return dial_soon(dial, err);
	dial->resolve = resolve_start(base, address, on_resolved, dial, err);
	if (dial->resolve)
		return dial;
	dial_cancel(dial);
	return NULL;
}
