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

/* Whether any client has come by a socket: those have its address. */
static bool is_connected(const struct monitor *monitor, const union address *address, socklen_t len)
{
	const struct monitor_client *client;
	union address other;
	socklen_t other_len;

	TAILQ_FOREACH(client, &monitor->clients, link)
		if (own_address(client->fd, &other, &other_len) && other_len == len &&
		    memcmp(&other, address, len) == 0)
			return true;
	return false;
}

/* What the kernel says of the socket, since it may have been listening when we got it. */
static void describe(const struct listener *listener, unsigned int n, struct chardev_info *info)
{
	union address address;
	socklen_t len;
	const char *gone;

	*info = (struct chardev_info){ .backend = "socket", .frontend_open = true };
	snprintf(info->label, sizeof(info->label), "compat_monitor%u", n);
	info->connected = own_address(listener->socket.fd, &address, &len) &&
			  is_connected(listener->monitor, &address, len);
	gone = info->connected ? "" : "disconnected:";
	if (address.any.sa_family == AF_UNIX) {
		snprintf(info->path, sizeof(info->path), "%.*s",
			 (int)sizeof(address.local.sun_path), address.local.sun_path);
		snprintf(info->filename, sizeof(info->filename), "%sunix:%s,server=on", gone,
			 info->path);
	} else if (getnameinfo(&address.any, len, info->host, sizeof(info->host), info->port,
			       sizeof(info->port), NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		snprintf(info->filename, sizeof(info->filename), "%stcp:%s:%s,server=on", gone,
			 info->host, info->port);
	}
}

bool monitor_chardev(struct monitor *monitor, unsigned int n, struct chardev_info *info)
{
	const struct monitor_chardevs *chardevs = monitor->config.chardevs;
	const struct listener *listener;
	unsigned int i = 0;

	TAILQ_FOREACH(listener, &monitor->listeners, link) {
		if (i == n) {
			describe(listener, n, info);
			return true;
		}
		i++;
	}
	return chardevs && chardevs->get(chardevs->opaque, n - i, info);
}

bool monitor_find_chardev(struct monitor *monitor, const char *label, struct chardev_info *info)
{
	for (unsigned int n = 0; monitor_chardev(monitor, n, info); n++)
		if (strcmp(info->label, label) == 0)
			return true;
	return false;
}
