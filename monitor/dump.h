/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_DUMP_H
#define MONITOR_DUMP_H

#include "monitor/descriptors.h"
#include "vmm/dump/dump.h"

struct monitor;
struct monitor_client;

/*
 * dump-guest-memory as clients see it: where the file goes, events, and who waits for the end.
 *
 * Threads: the event loop's.
 */

/*
 * Starts a dump to `protocol`, "file:PATH" (written beside, and renamed when it is complete) or
 * "fd:NAME" out of the client's descriptors.  Refused as by vm_dump(), before anything is opened.
 */
int dump_start(struct monitor *monitor, struct monitor_client *client, const char *protocol,
	       const struct dump_config *config, struct error *err);

/* Both of them, or none: the range of physical memory.  Fails naming the one that is missing. */
int dump_set_filter(struct dump_config *config, const int64_t *begin, const int64_t *length,
		    struct error *err);

/* The reply to whoever waits for the end of the dump comes when there is one. */
struct qmp_pending;
void dump_await(struct monitor *monitor, struct qmp_pending *pending);
void dump_forget(void *monitor);                /* a qmp_gone_fn */

/* A DumpQueryResult. */
struct json_writer;
void dump_write_result(struct json_writer *w, const char *name, const struct dump_info *info);

/* Events of the machine: DUMP_PROGRESS, DUMP_COMPLETED, and the end of it. */
void dump_progress(struct monitor *monitor);
void dump_completed(struct monitor *monitor);
void dump_over(struct monitor *monitor);

#endif
