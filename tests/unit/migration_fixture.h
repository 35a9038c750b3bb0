/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_MIGRATION_FIXTURE_H
#define TESTS_UNIT_MIGRATION_FIXTURE_H

#include <semaphore.h>

#include "tests/unit/vm_fixture.h"
#include "vmm/migration.h"

/*
 * Transfers of the machine of vm_fixture.h.  All log lines of errors are kept, and those of a test
 * that looks at none make it fail.
 *
 *     transfers_begin();               machine_host(), and room for files
 *     ...                              machine_start() and so on
 *     transfers_end();                 machine_stop() must have been called
 */
void transfers_begin(void);
void transfers_end(void);

/* The errors in the log since the last question. */
const char *logged(void);

/* A path in a directory that goes away at the end. */
const char *file_named(const char *name);

/* The far end of a transfer, and what becomes of it. */
struct far_end {
	int fd;                         /* -1 once the transfer has closed it */
	const char *fails;              /* finish() fails with this text */
	bool holds;                     /* it waits until the test says so, or is cancelled */
	sem_t go_on;
	/* What happened. */
	unsigned int finished;
	bool complete, cancelled;
};
/* An empty file in memory; a pipe that nobody reads. */
struct migration_channel to_memory(struct far_end *end);
struct migration_channel to_nowhere(struct far_end *end);
/* What is in the file, and `len` bytes of it at most, from the start. */
struct migration_channel from_memory(struct far_end *end, const struct far_end *written, size_t len);
struct migration_channel from_file(const char *path);
void far_end_close(struct far_end *end);

/* vm_migration_begin() and vm_migrate(), which must succeed. */
void migrate_to(const struct migration_channel *channel);
/* The same for what comes in. */
void migrate_from(const struct migration_channel *channel);

enum migration_status status_now(void);
const char *error_now(void);

/* vCPUs of a guest in long mode, with distinct state that lets it go on. */
void fill_guest(void);

/*
 * Fixtures of test cases: a machine of two vCPUs and fill_guest(), or one that waits for incoming
 * state; and the end of any.
 */
void setup_guest(void);
void setup_incoming(void);
void teardown_machine(void);

#endif
