/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_MIGRATE_H
#define MONITOR_MIGRATE_H

#include <event2/event.h>
#include <stdbool.h>

#include "monitor/descriptors.h"
#include "monitor/qmp.h"
#include "monitor/text.h"
#include "vmm/migration.h"
#include "vmm/vm.h"

/*
 * Migration as clients see it: what URIs name is made into descriptors, which vmm/migration.h then
 * moves the machine through; and what clients have set.
 *
 *      migrate.c          the whole, and the schemes file:, unix:, tcp:, exec: and fd:
 *      migrate_file.c     file: and fd:
 *      migrate_exec.c     exec:
 *      migrate_dial.c     unix: and tcp:, outgoing: connects
 *      migrate_resolve.c  names of hosts
 *      migrate_listen.c   unix: and tcp:, incoming: waits for one peer
 *      migrate_info.c     query-migrate and info migrate
 *
 * Threads: the event loop's.
 */
struct dial;
struct hmp;
struct migrate_listener;
struct qmp_pending;

enum migrate_compression { MIGRATE_COMPRESSION_NONE, MIGRATE_COMPRESSION_ZSTD };

struct migrate {
	/* Constant. */
	struct event_base *base;
	struct vm *vm;
	const struct fdsets *fdsets;            /* for file:/dev/fdset/N */

	/* Set by clients. */
	bool events;                            /* capability: MIGRATION is sent */
	uint64_t max_bandwidth;                 /* bytes a second; 0: no limit */
	enum migrate_compression compression;
	int zstd_level;

	struct dial *dial;                      /* an outgoing one connects; else NULL */
	struct migrate_listener *listener;      /* an incoming one is waited for; else NULL */
	struct qmp_pending *waiting;            /* for the end of an outgoing one; else NULL */
};

#define MIGRATE_ZSTD_LEVEL_MIN  1
#define MIGRATE_ZSTD_LEVEL_MAX  20

void migrate_init(struct migrate *m, struct event_base *base, struct vm *vm,
		  const struct fdsets *fdsets);
/* Gives up what is being waited for.  Transfers that go on are the machine's. */
void migrate_free(struct migrate *m);

/*
 * The commands.  `names` has the descriptors that fd:NAME can name; NULL for none.
 *
 * When migrate_out() fails because nothing could be made of the URI, the transfer has begun and
 * failed, as in QEMU; a peer that can not be reached fails it later.  When migrate_in() fails
 * nothing has happened.
 */
int migrate_out(struct migrate *m, struct fd_names *names, const char *uri, struct error *err);
int migrate_in(struct migrate *m, struct fd_names *names, const char *uri, struct error *err);
int migrate_snapshot(struct migrate *m, const char *path, bool stay, struct error *err);
void migrate_cancel(struct migrate *m);
/* Whether a transfer is under way that migrate_yank() fails at once, whatever it waits for. */
bool migrate_can_yank(const struct migrate *m);
void migrate_yank(struct migrate *m);

/*
 * The line of a text monitor is to be pending until the end of the migration that is going to be
 * begun.  False if it can not be, or another is.
 */
bool migrate_wait(struct migrate *m, struct hmp *hmp);
/* It has not begun. */
void migrate_give_up_waiting(struct migrate *m, const struct error *why);
/* A status has been entered; call it after the event has been sent. */
void migrate_on_status(struct migrate *m, enum migration_status status);

/* Arguments, in what they may be.  -1 with the reason why not. */
int migrate_check_options(bool resume, bool blk, bool inc, struct error *err);
int migrate_check_zstd_level(int64_t level, struct error *err);

/* What query-migrate tells. */
struct migrate_report {
	struct migration_info info;
	bool has_ram;                   /* the figures mean something */
	uint64_t expected_downtime_ms;  /* while active: what there has been, and what is to come */
	uint64_t pages_per_second;
	const struct migrate_listener *listener;        /* or NULL */
};
void migrate_report(const struct migrate *m, struct migrate_report *report);
/* The text of `info migrate`. */
void migrate_print_report(const struct migrate_report *report, struct text *out);
const char *migrate_compression_name(enum migrate_compression compression);

#endif
