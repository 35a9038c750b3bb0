/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_WIRE_FIXTURE_H
#define TESTS_UNIT_WIRE_FIXTURE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "monitor/monitor.h"

/*
 * A monitor without a machine, and clients at the other end of socket pairs.  Time does not enter:
 * wire_settle() runs the event loop until nobody has anything left to do.
 */

#define GREETING \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, " \
	"\"package\": \"vmond-" PACKAGE_VERSION "\"}, \"capabilities\": [\"oob\"]}}\r\n"
#define NEGOTIATE "{\"execute\": \"qmp_capabilities\"}"
#define OK "{\"return\": {}}\r\n"
#define FAILURE(class, desc) \
	"\"error\": {\"class\": \"" class "\", \"desc\": \"" desc "\"}}\r\n"
#define ERROR(desc) "{" FAILURE("GenericError", desc)
#define ERROR_WITH_ID(id, desc) "{\"id\": " id ", " FAILURE("GenericError", desc)

struct wire {
	struct event_base *base;
	struct monitor *monitor;
	/* Called in the middle of the command "quit". */
	void (*on_quit)(struct wire *wire);
	unsigned int quits;
};

/* What the client's side of a connection has received, up to now. */
struct peer {
	int fd;                 /* -1 once closed */
	char *text;             /* NUL-terminated */
	size_t len, size;
	bool eof;
};

void wire_open(struct wire *wire);
/* With a machine, which may be one that only the commands to come know how to use. */
void wire_open_vm(struct wire *wire, struct vm *vm);
void wire_close(struct wire *wire);

struct peer wire_connect(struct wire *wire, bool pretty);
struct peer wire_connect_with(struct wire *wire, const struct monitor_options *options);
/* Connects, negotiates, forgets greeting and reply. */
struct peer wire_connect_ready(struct wire *wire);
/* One turn of the event loop. */
void wire_turn(struct wire *wire);
/* Turns until all is quiet.  Reads what `peer` gets; it may be NULL. */
void wire_settle(struct wire *wire, struct peer *peer);
/* Sends everything; what does not fit waits for the monitor, and for `peer` to read. */
void wire_send(struct wire *wire, struct peer *peer, const char *bytes, size_t len);
/* Sends everything, in one piece, with descriptors, which stay the caller's. */
void wire_send_fds(struct peer *peer, const char *text, const int *fds, size_t count);
/* Sends a text, settles, and compares what came with `expected`, byte by byte. */
void wire_expect(struct wire *wire, struct peer *peer, const char *text, const char *expected);
/* Connected clients. */
unsigned int wire_clients(const struct wire *wire);

/* Reads what there is without running the loop. */
void peer_read(struct peer *peer);
/* Forgets what has been read. */
void peer_clear(struct peer *peer);
void peer_close(struct peer *peer);
/* How often `what` occurs in what has been read. */
unsigned int peer_count(const struct peer *peer, const char *what);

/* Log lines since wire_open(), and the last one. */
extern unsigned int wire_log_lines;
extern char wire_log_last[1024];

#endif
