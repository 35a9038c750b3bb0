/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "monitor/memsave.h"
#include "monitor/monitor_internal.h"
#include "vmm/clock.h"

void monitor_want_turn(struct monitor *monitor)
{
	static const struct timeval now = { 0, 0 };

	if (monitor->busy || evtimer_pending(monitor->turn, NULL))
		return;
	/* Without memory for a timer it comes in this turn, which is better than never. */
	if (evtimer_add(monitor->turn, &now) < 0)
		event_active(monitor->turn, EV_TIMEOUT, 0);
}

/*
 * A batch of requests of each client that waits, the next one's only if the turn has time left.
 * Those that have more to do are at the end of the list again.
 */
static void serve(struct monitor *monitor)
{
	int64_t end = clock_ns(CLOCK_MONOTONIC) + monitor->turn_ns;
	struct monitor_client *client;
	size_t n;

	for (n = monitor->nr_ready; n && (client = TAILQ_FIRST(&monitor->ready)); n--) {
		client_not_ready(client);
		client_execute(client, end);
		if (clock_ns(CLOCK_MONOTONIC) >= end)
			break;
	}
}

bool monitor_begin(struct monitor *monitor)
{
	monitor->busy = true;
	return !monitor->nr_ready;
}

void monitor_end(struct monitor *monitor, bool nobody_waited)
{
	if (nobody_waited)
		serve(monitor);
	monitor->busy = false;
	if (!TAILQ_EMPTY(&monitor->ready) || !TAILQ_EMPTY(&monitor->flush) ||
	    !TAILQ_EMPTY(&monitor->orphans))
		monitor_want_turn(monitor);
}

/*
 * Once per turn of the event loop while there is work: what is queued goes out, and requests are
 * carried out.
 *
 * A timer and not event_active(), which would be served again in the same turn, before any input.
 */
static void on_turn(evutil_socket_t fd, short what, void *opaque)
{
	struct monitor *monitor = opaque;
	struct monitor_client *client;

	(void)fd;
	(void)what;
	monitor->busy = true;
	monitor_drop_orphans(monitor);
	while ((client = TAILQ_FIRST(&monitor->flush)))
		client_flush(client);
	monitor_end(monitor, true);
}

struct monitor *monitor_new(const struct monitor_config *config, struct error *err)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));

	if (!monitor)
		goto fail;
	monitor->config = *config;
	monitor->config.name = config->name ? strdup(config->name) : NULL;
	monitor->config.uuid = strdup(config->uuid);
	TAILQ_INIT(&monitor->listeners);
	TAILQ_INIT(&monitor->clients);
	TAILQ_INIT(&monitor->ready);
	TAILQ_INIT(&monitor->flush);
	TAILQ_INIT(&monitor->orphans);
	TAILQ_INIT(&monitor->memsaves);
	fdsets_init(&monitor->fdsets);
	migrate_init(&monitor->migrate, config->base, config->vm, &monitor->fdsets);
	monitor->turn_ns = TURN_NS;
	monitor->turn = evtimer_new(config->base, on_turn, monitor);
	if (!monitor->turn || !monitor->config.uuid || (config->name && !monitor->config.name))
		goto fail;
	return monitor;

fail:
	monitor_free(monitor);
	error_set(err, ENOMEM, "out of memory for the monitor");
	return NULL;
}

void monitor_free(struct monitor *monitor)
{
	struct monitor_client *client;
	struct listener *listener;

	if (!monitor)
		return;
	while ((listener = TAILQ_FIRST(&monitor->listeners)))
		listener_free(listener);
	while ((client = TAILQ_FIRST(&monitor->clients)))
		client_finish(client);
	monitor_drop_orphans(monitor);
	memsave_end(monitor);
	migrate_free(&monitor->migrate);
	monitor_free_events(monitor);
	if (monitor->turn)
		event_free(monitor->turn);
	json_writer_free(&monitor->writer);
	free((char *)monitor->config.name);
	free((char *)monitor->config.uuid);
	free(monitor);
}

struct vm *monitor_vm(const struct monitor *monitor)
{
	return monitor->config.vm;
}

const char *monitor_name(const struct monitor *monitor)
{
	return monitor->config.name;
}

const char *monitor_uuid(const struct monitor *monitor)
{
	return monitor->config.uuid;
}

void monitor_quit(struct monitor *monitor)
{
	if (monitor->config.quit)
		monitor->config.quit(monitor->config.opaque);
}

bool monitor_option(const struct monitor *monitor, unsigned int n, struct monitor_option *option)
{
	return monitor->config.option && monitor->config.option(n, option);
}

int monitor_migrate_incoming(struct monitor *monitor, const char *uri, struct error *err)
{
	return migrate_in(&monitor->migrate, NULL, uri, err);
}

void monitor_write_version(struct json_writer *w, const char *name)
{
	json_write_object(w, name);
	json_write_object(w, "qemu");
	json_write_int(w, "micro", QEMU_VERSION_MICRO);
	json_write_int(w, "minor", QEMU_VERSION_MINOR);
	json_write_int(w, "major", QEMU_VERSION_MAJOR);
	json_write_object_end(w);
	json_write_string(w, "package", "vmond-" PACKAGE_VERSION);
	json_write_object_end(w);
}
