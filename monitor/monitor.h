/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <event2/event.h>
#include <stdbool.h>

#include "monitor/qmp.h"
#include "vmm/error.h"
#include "vmm/vm.h"

/*
 * The monitor of one machine: listening sockets, clients, commands, events.
 *
 * Threads: everything here belongs to the event loop's thread.
 */
struct monitor;

struct monitor_config {
	struct event_base *base;
	struct vm *vm;                          /* NULL in tests of the wire alone */
	const char *name;                       /* --name, or NULL */
	const char *uuid;                       /* --uuid, or the nil UUID; never NULL */
	/*
	 * The quit command, in the middle of it: the events that this brings about precede the
	 * reply, which is sent when it returns.  Ends the event loop; may not free the monitor.
	 */
	void (*quit)(void *opaque);
	void *opaque;
};

struct monitor *monitor_new(const struct monitor_config *config, struct error *err);
/*
 * Sends what is queued as far as the sockets take it without waiting, closes, unlinks sockets.  Not
 * from inside a callback of the monitor's.  NULL is allowed.
 */
void monitor_free(struct monitor *monitor);

/*
 * Listens on "unix:PATH[,pretty=on]" (mode 0600).  Any number of clients each.  A socket file that
 * nobody listens on is taken over; one in use, or a path that is no socket, is an error.
 */
int monitor_listen(struct monitor *monitor, const char *address, struct error *err);

/* Serves one connected socket; the monitor owns it from here on, also on failure. */
int monitor_add_client(struct monitor *monitor, int fd, bool pretty, struct error *err);

/*
 * Sends an event to every client that has negotiated.  `data` is a complete JSON object, or NULL
 * for none.  Rate limits of the schema apply.
 */
void monitor_emit(struct monitor *monitor, enum qmp_event event, const char *data);

/* vm_callbacks.event in terms of QMP: STOP, RESUME, RESET, SHUTDOWN, POWERDOWN, MIGRATION. */
void monitor_vm_event(struct monitor *monitor, const struct vm_event *event);

/*
 * What migrate-incoming does, for --incoming URI: the machine takes what comes from there.  The
 * transfer has begun, or somebody is being waited for, when it returns; on error nothing has
 * happened.  fd:N is a descriptor that the process was started with.
 */
int monitor_migrate_incoming(struct monitor *monitor, const char *uri, struct error *err);

/* For command handlers. */
struct vm *monitor_vm(const struct monitor *monitor);
const char *monitor_name(const struct monitor *monitor);
const char *monitor_uuid(const struct monitor *monitor);
void monitor_quit(struct monitor *monitor);
/*
 * The optional argument "cpu-index": -1 when it is absent, which means all vCPUs.  Returns -1, and an
 * error, when there is no such vCPU.
 */
int qmp_cpu_argument(struct qmp_call *call, int *index);
/* Writes VersionInfo, {"qemu": {...}, "package": "..."}. */
void monitor_write_version(struct json_writer *w, const char *name);

#endif
