/* SPDX-License-Identifier: MIT */
/*
 * `echo_event SOCKET LENGTH` is the least that a server on libevent can do for clients of a monitor:
 * it greets with a line, and answers each line with one of LENGTH bytes.  Nothing is parsed and
 * nothing looked up.  Says so on standard output when clients may connect.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

static const char greeting[] = "{\"QMP\": {}}\r\n";
static char *reply;
static size_t reply_len;

static void on_input(struct bufferevent *client, void *opaque)
{
	struct evbuffer *input = bufferevent_get_input(client);
	char *line;

	(void)opaque;
	while ((line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF))) {
		free(line);
		bufferevent_write(client, reply, reply_len);
	}
}

static void on_end(struct bufferevent *client, short what, void *opaque)
{
	(void)what;
	(void)opaque;
	bufferevent_free(client);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
			  struct sockaddr *address, int len, void *opaque)
{
	struct bufferevent *client = bufferevent_socket_new(opaque, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)listener;
	(void)address;
	(void)len;
	if (!client)
		abort();
	bufferevent_setcb(client, on_input, NULL, on_end, NULL);
	bufferevent_write(client, greeting, strlen(greeting));
	bufferevent_enable(client, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path) || atoi(argv[2]) < 2) {
		fprintf(stderr, "Usage: echo_event SOCKET LENGTH\n");
		return 2;
	}
	reply_len = (size_t)atoi(argv[2]);
	reply = malloc(reply_len);
	if (!reply || !config)
		return 1;
	memset(reply, 'x', reply_len);
	memcpy(reply + reply_len - 2, "\r\n", 2);
	strcpy(address.sun_path, argv[1]);
	/* What vmond asks of libevent, and of the system. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	setpriority(PRIO_PROCESS, 0, -10);
	if (!base || !evconnlistener_new_bind(base, on_connection, base, LEV_OPT_CLOSE_ON_FREE, 128,
					      (struct sockaddr *)&address, sizeof(address))) {
		perror("echo_event");
		return 1;
	}
	if (write(STDOUT_FILENO, "E", 1) != 1)
		return 1;
	return event_base_dispatch(base) == 0 ? 0 : 1;
}
