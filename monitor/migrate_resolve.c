/* SPDX-License-Identifier: MIT */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int tcp_address_parse(const char *text, struct tcp_address *address, struct error *err)
{
	const char *host = text, *end, *port;
	size_t len;
	long number;

	if (*text == '[') {
		host++;
		end = strchr(host, ']');
		port = end && end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(host, ':');
		port = end ? end + 1 : NULL;
	}
	len = port ? (size_t)(end - host) : 0;
	if (!port || len >= sizeof(address->host) || !*port ||
	    port[strspn(port, "0123456789")])
		return error_set(err, EINVAL, "error parsing address '%s'", text);
	number = strlen(port) < sizeof(address->port) ? strtol(port, NULL, 10) : -1;
	if (number < 0 || number > 65535)
		return error_set(err, EINVAL, "error parsing address '%s': there is no port %s",
				 text, port);
	memcpy(address->host, host, len);
	address->host[len] = '\0';
	strcpy(address->port, port);
	return 0;
}

int tcp_address_lookup(const struct tcp_address *address, int flags,
		       struct socket_addresses *found)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV,
	};
	struct addrinfo *list, *at;
	int code = getaddrinfo(*address->host ? address->host : NULL, address->port, &hints, &list);

	found->count = 0;
	if (code)
		return code;
	for (at = list; at && found->count < SOCKET_ADDRESSES_MAX; at = at->ai_next) {
		memcpy(&found->at[found->count].addr, at->ai_addr, at->ai_addrlen);
		found->at[found->count++].len = at->ai_addrlen;
	}
	freeaddrinfo(list);
	return 0;
}

/* What the thread and the event loop share; the last one to leave frees it. */
struct lookup {
	_Atomic unsigned int users;
	struct tcp_address address;             /* constant */
	int done;                               /* eventfd: the rest is constant from then on */
	int code, system_code;
	struct socket_addresses found;
};

struct resolve {
	struct lookup *lookup;
	struct event *event;
	resolve_fn *fn;
	void *opaque;
};

static void lookup_put(struct lookup *lookup)
{
	if (atomic_fetch_sub(&lookup->users, 1) != 1)
		return;
	close(lookup->done);
	free(lookup);
}

static void *look_up(void *opaque)
{
	struct lookup *lookup = opaque;
	uint64_t one = 1;

	lookup->code = tcp_address_lookup(&lookup->address, 0, &lookup->found);
	lookup->system_code = errno;
	while (write(lookup->done, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	lookup_put(lookup);
	return NULL;
}

static void on_done(evutil_socket_t fd, short what, void *opaque)
{
	struct resolve *resolve = opaque;
	struct lookup *lookup = resolve->lookup;
	resolve_fn *fn = resolve->fn;
	void *fn_opaque = resolve->opaque;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	event_free(resolve->event);
	free(resolve);
	errno = lookup->system_code;
	fn(fn_opaque, lookup->code, &lookup->found);
	lookup_put(lookup);
}

static int start_thread(struct lookup *lookup)
{
	pthread_attr_t attr;
	pthread_t thread;
	int code = pthread_attr_init(&attr);

	if (code)
		return code;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&lookup->users, 1);
	code = pthread_create(&thread, &attr, look_up, lookup);
	if (code)
		atomic_fetch_sub(&lookup->users, 1);
	pthread_attr_destroy(&attr);
	return code;
}

struct resolve *resolve_start(struct event_base *base, const struct tcp_address *address,
			      resolve_fn *fn, void *opaque, struct error *err)
{
	struct resolve *resolve = calloc(1, sizeof(*resolve));
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int code = ENOMEM;

	if (!resolve || !lookup)
		goto fail;
	*resolve = (struct resolve){ .lookup = lookup, .fn = fn, .opaque = opaque };
	atomic_init(&lookup->users, 1);
	lookup->address = *address;
	lookup->done = eventfd(0, EFD_CLOEXEC);
	if (lookup->done < 0) {
		code = errno;
		goto fail;
	}
	resolve->event = event_new(base, lookup->done, EV_READ | EV_PERSIST, on_done, resolve);
	if (!resolve->event || event_add(resolve->event, NULL) < 0)
		goto fail_event;
	code = start_thread(lookup);
	if (code == 0)
		return resolve;

fail_event:
	if (resolve->event)
		event_free(resolve->event);
	close(lookup->done);
fail:
	free(lookup);
	free(resolve);
	error_errno(err, code, "address resolution for %s:%s", address->host, address->port);
	return NULL;
}

void resolve_cancel(struct resolve *resolve)
{
	event_free(resolve->event);
	lookup_put(resolve->lookup);
	free(resolve);
}
