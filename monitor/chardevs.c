/* SPDX-License-Identifier: MIT */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "monitor/monitor_internal.h"

/* Character devices, as clients list them: the monitors' own and those of the process. */

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_storage room;
};

static bool own_address(int fd, union address *address, socklen_t *len)
{
	*len = sizeof(*address);
	memset(address, 0, sizeof(*address));
	return getsockname(fd, &address->any, len) == 0;
}

static bool is_connected(const struct listener *listener)
{
	const struct monitor_client *client;

	TAILQ_FOREACH(client, &listener->monitor->clients, link)
		if (client->number == listener->number)
			return true;
	return false;
}

static struct chardev_info monitor_info(const char *backend, int number)
{
	struct chardev_info info = { .backend = backend, .frontend_open = true };

	snprintf(info.label, sizeof(info.label), MONITOR_LABEL_PREFIX "%d", number);
	return info;
}

/* What the kernel says of the socket, since it may have been listening when we got it. */
static void describe_listener(const struct listener *listener, struct chardev_info *info)
{
	union address address;
	socklen_t len;
	const char *gone;

	*info = monitor_info("socket", listener->number);
	info->fd = listener->socket.fd;
	info->connected = is_connected(listener);
	gone = info->connected ? "" : "disconnected:";
	if (!own_address(listener->socket.fd, &address, &len))
		return;
	if (address.any.sa_family == AF_UNIX) {
		snprintf(info->path, sizeof(info->path), "%.*s",
			 (int)sizeof(address.local.sun_path), address.local.sun_path);
		snprintf(info->filename, sizeof(info->filename), "%sunix:%s,server=on", gone,
			 info->path);
	} else if (getnameinfo(&address.any, len, info->host, sizeof(info->host), info->port,
			       sizeof(info->port), NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		/* As in QEMU: without anybody connected an IPv6 address has no brackets. */
		bool bare = !info->connected || address.any.sa_family != AF_INET6;

		snprintf(info->filename, sizeof(info->filename),
			 bare ? "%stcp:%s:%s,server=on" : "%stcp:[%s]:%s,server=on", gone,
			 info->host, info->port);
	}
}

/* A TCP socket's two ends; QEMU's form of them, as long as there are two. */
static void describe_tcp_pair(const union address *own, const union address *peer, socklen_t len,
			      struct chardev_info *info)
{
	char host[2][64], port[2][8];
	const union address *const end[2] = { own, peer };

	snprintf(info->filename, sizeof(info->filename), "disconnected:fd:%d", info->fd);
	for (int i = 0; i < 2; i++)
		if (getnameinfo(&end[i]->any, len, host[i], sizeof(host[i]), port[i],
				sizeof(port[i]), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
			return;
	snprintf(info->filename, sizeof(info->filename), own->any.sa_family == AF_INET6 ?
		 "tcp:[%s]:%s <-> [%s]:%s" : "tcp:%s:%s <-> %s:%s", host[0], port[0], host[1],
		 port[1]);
}

/* One that is a monitor of its own. */
static void describe_client(const struct monitor_client *client, struct chardev_info *info)
{
	union address own, peer = { .room = { 0 } };
	socklen_t len, peer_len = sizeof(peer);

	*info = monitor_info(client->is_socket ? "socket" : "stdio", client->number);
	if (!client->is_socket) {
		snprintf(info->filename, sizeof(info->filename), "stdio");
		return;
	}
	info->fd = client->fd;
	info->connected = own_address(client->fd, &own, &len) &&
			  getpeername(client->fd, &peer.any, &peer_len) == 0;
	if (own.any.sa_family == AF_UNIX)
		snprintf(info->filename, sizeof(info->filename), "unix:%.*s",
			 (int)sizeof(own.local.sun_path), own.local.sun_path);
	else
		describe_tcp_pair(&own, &peer, len, info);
}

static const struct monitor_client *of_its_own(const struct monitor_client *client)
{
	while (client && !client->is_monitor)
		client = TAILQ_NEXT(client, link);
	return client;
}

/* Both lists are in the order of the numbers. */
bool monitor_chardev(struct monitor *monitor, unsigned int n, struct chardev_info *info)
{
	const struct monitor_chardevs *chardevs = monitor->config.chardevs;
	const struct listener *listener = TAILQ_FIRST(&monitor->listeners);
	const struct monitor_client *client = of_its_own(TAILQ_FIRST(&monitor->clients));

	for (; listener || client; n--) {
		bool listens = listener && (!client || listener->number < client->number);

		if (!n) {
			if (listens)
				describe_listener(listener, info);
			else
				describe_client(client, info);
			return true;
		}
		if (listens)
			listener = TAILQ_NEXT(listener, link);
		else
			client = of_its_own(TAILQ_NEXT(client, link));
	}
	return chardevs && chardevs->get(chardevs->opaque, n, info);
}

bool monitor_serial_chardev(const struct monitor *monitor, struct chardev_info *info)
{
	const struct monitor_chardevs *chardevs = monitor->config.chardevs;

	return chardevs && chardevs->get(chardevs->opaque, 0, info);
}

bool monitor_find_chardev(struct monitor *monitor, const char *label, struct chardev_info *info)
{
	for (unsigned int n = 0; monitor_chardev(monitor, n, info); n++)
		if (strcmp(info->label, label) == 0)
			return true;
	return false;
}
