/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "monitor/monitor_internal.h"

/* Character devices, as clients list them: the monitors' own and those of the process. */

static bool same_address(int fd, const struct sockaddr_un *address, socklen_t len)
{
	struct sockaddr_un own;
	socklen_t own_len = sizeof(own);

	return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 && own_len == len &&
	       memcmp(&own, address, len) == 0;
}

/* Whether any client has come by it: those have its address. */
static bool is_connected(const struct listener *listener)
{
	const struct monitor_client *client;
	struct sockaddr_un address;
	socklen_t len = sizeof(address);

	if (getsockname(listener->socket.fd, (struct sockaddr *)&address, &len) < 0)
		return false;
	TAILQ_FOREACH(client, &listener->monitor->clients, link)
		if (same_address(client->fd, &address, len))
			return true;
	return false;
}

static void describe(const struct listener *listener, unsigned int n, struct chardev_info *info)
{
	*info = (struct chardev_info){
		.backend = "socket",
		.frontend_open = true,
		.connected = is_connected(listener),
	};
	snprintf(info->label, sizeof(info->label), "compat_monitor%u", n);
	snprintf(info->path, sizeof(info->path), "%s", listener->socket.path);
	snprintf(info->filename, sizeof(info->filename), "%sunix:%s,server=on",
		 info->connected ? "" : "disconnected:", listener->socket.path);
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
