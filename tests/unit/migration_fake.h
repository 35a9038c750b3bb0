/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_MIGRATION_FAKE_H
#define TESTS_UNIT_MIGRATION_FAKE_H

#include <stdbool.h>

#include "vmm/migration.h"
#include "vmm/vm.h"

/*
 * vmm/migration.h without a machine behind it: it keeps the status, sends the events, and holds the
 * channel until the test says how the transfer ends.  It takes the place of the real functions, by
 * the linker's --wrap, from fake_migration_begin() to fake_migration_end().
 */
struct fake_migration {
	bool on;
	struct vm vm;                   /* its run state is the test's to set */
	struct migration_info info;
	struct migration_parameters parameters;
	struct migration_channel channel;
	bool has_channel;
	bool refuses;                   /* the next transfer can not be started */
	char error[512];
	char path[256];                 /* of vm_snapshot_save() */
	bool stay;
	unsigned int yanks;
	_Atomic bool cancelled;
};
extern struct fake_migration fake_migration;

/* Events go to `event`. */
void fake_migration_begin(void (*event)(void *opaque, const struct vm_event *event), void *opaque);
void fake_migration_end(void);

/* All is moved, or, with `complete` false, something has gone wrong: the transfer ends. */
void fake_migration_finish(bool complete);

#endif
