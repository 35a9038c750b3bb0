/* SPDX-License-Identifier: MIT */
#ifndef VMM_MIGRATION_H
#define VMM_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;

/*
 * A machine's state on its way out or in: one transfer at a time, whose bytes are moved by a thread
 * of its own, so that the monitor stays answered.  The machine does not run meanwhile.
 *
 * Out: the machine is stopped, its state collected and written.  A machine that ran goes on again
 * when the transfer fails or is cancelled, and after a snapshot; one that was stopped stays so,
 * always.  A migration that is complete leaves it in postmigrate.
 *
 * In: a machine created with config.incoming waits in inmigrate, takes one transfer, and then is in
 * the run state that it was saved in.  If that is running it runs, or is paused, as
 * config.start_running and what cont and stop said meanwhile want it.
 *
 * Each change of status is VM_EVENT_MIGRATION; when MIGRATION_COMPLETED comes, the run state is
 * the new one already.
 *
 * Threads: the owner's, every call.
 */
enum migration_status {
	MIGRATION_NONE,                 /* there has never been one */
	MIGRATION_SETUP,
	MIGRATION_ACTIVE,
	MIGRATION_CANCELLING,
	MIGRATION_CANCELLED,
	MIGRATION_COMPLETED,
	MIGRATION_FAILED,
};
/* "completed": MigrationStatus of QMP. */
const char *migration_status_name(enum migration_status status);

enum migration_kind {
	MIGRATION_OUT,                  /* to another vmond: stream, ends in postmigrate */
	MIGRATION_SNAPSHOT,             /* to a file that can be mapped; the machine may go on */
	MIGRATION_IN,
};

/* How a transfer is to be made.  Bytes a second, 0: as fast as it goes. */
struct migration_parameters {
	uint64_t max_bandwidth;
	int zstd_level;                 /* of a stream's RAM; 0: not compressed */
};

struct migration_info {
	enum migration_status status;
	enum migration_kind kind;
	uint64_t ram_total, ram_remaining, transferred; /* in bytes */
	uint64_t zero_pages, normal_pages;              /* of 4096 bytes */
	uint64_t total_ms, setup_ms, downtime_ms;
	double mbps;                                    /* megabits a second, on average */
	const char *error;                              /* NULL unless failed; valid until the next */
	const char *blocked;                            /* why none may begin now; NULL if one may */
};

/*
 * The far end of a transfer: a descriptor, blocking or not, that is written to or read from.
 *
 * `finish`, unless NULL, is called once, on the transfer's thread, when nothing more will be moved
 * (`complete`: because everything was), and closes `fd`; without one the transfer closes it.  It may
 * take its time, to flush a file or to wait for a process, and looks at *cancelled meanwhile.  If
 * it fails after a complete transfer out, that has failed; if it succeeds, a cancellation came too
 * late.  Of any other transfer nothing depends on what it returns.
 */
struct migration_channel {
	int fd;
	int (*finish)(void *opaque, bool complete, const _Atomic bool *cancelled,
		      struct error *err);
	void *opaque;
};

/* The end of a channel: calls finish, or closes it without one.  On the thread that has it. */
int migration_channel_finish(const struct migration_channel *channel, bool complete,
			     const _Atomic bool *cancelled, struct error *err);

/*
 * What comes before vm_migrate() and vm_migrate_incoming(): status SETUP, while a descriptor is
 * made of what the user named.  vm_migration_failed() ends it when there is none to be had (a peer
 * that is not there), vm_migrate_cancel() at once.  Refused, in QEMU's words, when a transfer is
 * under way ("There's a migration process in progress"), for MIGRATION_OUT in the run states
 * inmigrate ("Guest is waiting for an incoming migration") and postmigrate ("Can't migrate the vm
 * that was paused due to previous migration"), for MIGRATION_IN outside of inmigrate ("'-incoming'
 * was not specified on the command line").
 */
int vm_migration_begin(struct vm *vm, enum migration_kind kind, struct error *err);
void vm_migration_failed(struct vm *vm, const struct error *why);

/*
 * Sends the machine out as a stream.  The channel is the transfer's from here on.  On error it is
 * still the caller's, and the transfer has failed.
 */
int vm_migrate(struct vm *vm, const struct migration_channel *channel,
	       const struct migration_parameters *parameters, struct error *err);

/*
 * Saves it to a file of the form that can be mapped (snapshot_write_file()).  Run state save-vm
 * meanwhile; afterwards as before, or with `stay` paused if it ran.
 */
int vm_snapshot_save(struct vm *vm, const char *path, bool stay, struct error *err);

/*
 * Takes what comes from the channel (either form; of the file form RAM is mapped).  Only in
 * inmigrate, and not while another comes.  The channel as for vm_migrate().  When it fails the
 * machine has nothing to run and the process should end: VM_EVENT_EXIT with status 1 follows
 * MIGRATION_FAILED.  With config.incoming_defer another may be tried, unless this one has come in
 * whole and can not be put in.
 */
int vm_migrate_incoming(struct vm *vm, const struct migration_channel *channel,
			struct error *err);

/* Cancels an outgoing transfer; does nothing when there is none. */
void vm_migrate_cancel(struct vm *vm);

/*
 * Fails a transfer that is under way, out or in, without waiting for its far end, which may be
 * dead: the thread gives up as it does when it is cancelled, and the status is MIGRATION_FAILED
 * then.  Does nothing when there is none, and nothing to a snapshot.
 */
void vm_migration_yank(struct vm *vm);

void vm_migration_info(const struct vm *vm, struct migration_info *info);

#endif
