/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <event2/event.h>
#include <stdbool.h>

#include "monitor/address.h"
#include "monitor/qmp.h"
#include "vmm/error.h"
#include "vmm/vm.h"

/*
 * The monitor of one machine: listening sockets, clients, commands, events.
 *
 * Threads: everything here belongs to the event loop's thread.
 */
struct monitor;

/* A descriptor that the process was started with, for monitors at "systemd". */
struct passed_socket {
	int fd;
	const char *name;
};

#define CHARDEV_LABEL_SIZE      128     /* of one that a client gives, with the NUL */
/* Of the monitors' own character devices; a number follows. */
#define MONITOR_LABEL_PREFIX    "compat_monitor"

/* A character device as clients see it. */
struct chardev_info {
	char label[CHARDEV_LABEL_SIZE]; /* "serial0" */
	const char *backend;            /* ChardevBackendKind of QMP: "socket" */
	char filename[192];             /* as QEMU has it: "file", "pty:/dev/pts/3" */
	bool frontend_open;             /* a device or a monitor uses it */
	bool connected;                 /* socket: somebody is */
	char path[109];                 /* Unix socket: what it listens on; else empty */
	char host[64], port[8];         /* TCP socket: the same */
	int fd;                         /* socket that listens on neither: the descriptor */
};

/* What chardev-add is to make. */
struct chardev_request {
	const char *label;
	const char *backend;
	const char *path;               /* file, socket; else NULL */
	bool append;                    /* file: it keeps what it has */
};

/*
 * The character devices of the process, but for the monitors' own.  The event loop's thread.
 */
struct monitor_chardevs {
	/* Number n, 0 being the serial port's; false when there are no more. */
	bool (*get)(void *opaque, unsigned int n, struct chardev_info *info);
	/* The label is new.  *info is what has been made. */
	int (*add)(void *opaque, const struct chardev_request *request, struct chardev_info *info,
		   struct error *err);
	/* One that exists and that nobody uses. */
	void (*remove)(void *opaque, const char *label);
	void *opaque;
};

/* One option that the machine can be started with: CommandLineOptionInfo of QMP. */
struct monitor_option {
	const char *name;
	const char *type;               /* CommandLineParameterType: "string" */
	const char *help;
};

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
	/* The system has chosen the port of a monitor at a TCP port of 0.  May be NULL. */
	void (*listening)(void *opaque, const char *address);
	void *opaque;
	/* Who may connect to Unix sockets besides this user and root.  NULL: nobody. */
	const struct access_list *allow;
	/* And if they are none, the reason (a line). */
	const struct passed_socket *passed;
	size_t nr_passed;
	const char *why_none_passed;
	const struct monitor_chardevs *chardevs;        /* NULL for none; kept */
	/* Number n of the options that there are; false when there are no more.  NULL for none. */
	bool (*option)(unsigned int n, struct monitor_option *option);
};

struct monitor *monitor_new(const struct monitor_config *config, struct error *err);
/*
 * Sends what is queued as far as the sockets take it without waiting, closes, unlinks sockets.  Not
 * from inside a callback of the monitor's.  NULL is allowed.
 */
void monitor_free(struct monitor *monitor);

/*
 * Serves any number of clients at an address as monitor_address_parse() takes it, but for "stdio".
 *
 * unix: makes a socket file, of mode 0600, or 0666 where rules let others in, who are told apart
 * when they connect.  A socket file that nobody listens on is taken over; one in use, or a path that
 * is no socket, is an error.  fd: and systemd take sockets that listen, and are the monitor's from
 * here on, or are connected to a client already.
 *
 * A Unix socket's client that may not connect gets a line that says so, and is disconnected.
 */
int monitor_listen(struct monitor *monitor, const char *address, struct error *err);

/*
 * Serves one client: a connected socket, or two descriptors of anything.  They are the monitor's
 * from here on, also on failure; of two that are not the same only their own descriptors are
 * closed at the end.
 */
int monitor_add_client(struct monitor *monitor, int in, int out,
		       const struct monitor_options *options, struct error *err);
/* The same, as a monitor of its own: it is one of the character devices until it ends. */
int monitor_serve(struct monitor *monitor, int in, int out, const struct monitor_options *options,
		  struct error *err);

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

/*
 * Character device number n: monitors in the order of their making, "compat_monitor0" and so on,
 * then config.chardevs.  False when there are no more.
 */
bool monitor_chardev(struct monitor *monitor, unsigned int n, struct chardev_info *info);
/* The one at the serial port.  False in a process that has none. */
bool monitor_serial_chardev(const struct monitor *monitor, struct chardev_info *info);
/* The one of that label. */
bool monitor_find_chardev(struct monitor *monitor, const char *label, struct chardev_info *info);

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
/* config.option(), where there is one. */
bool monitor_option(const struct monitor *monitor, unsigned int n, struct monitor_option *option);
/* Writes VersionInfo, {"qemu": {...}, "package": "..."}. */
void monitor_write_version(struct json_writer *w, const char *name);

#endif
