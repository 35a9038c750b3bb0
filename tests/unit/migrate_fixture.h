/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_MIGRATE_FIXTURE_H
#define TESTS_UNIT_MIGRATE_FIXTURE_H

#include "tests/unit/migration_fake.h"
#include "tests/unit/wire_fixture.h"

/*
 * Commands about migration, over the wire and to a machine that does as the test says.  Texts are
 * QEMU 7.2's, but where vmond has something of its own to say.
 */

#define EXECUTE(command) "{\"execute\":\"" command "\"}"
#define COMMAND(command, arguments) \
	"{\"execute\":\"" command "\",\"arguments\":{" arguments "}}"
#define HMP(line) COMMAND("human-monitor-command", "\"command-line\":\"" line "\"")
#define TEXT(text) "{\"return\": \"" text "\"}\r\n"
#define MIGRATE(uri) COMMAND("migrate", "\"uri\":\"" uri "\"")
#define INCOMING(uri) COMMAND("migrate-incoming", "\"uri\":\"" uri "\"")
#define EVENTS_ON COMMAND("migrate-set-capabilities", \
			  "\"capabilities\":[{\"capability\":\"events\",\"state\":true}]")
#define BAD_URI ERROR("Parameter 'uri' expects a valid migration protocol")
#define IN_PROGRESS ERROR("There's a migration process in progress")
#define NO_FD(name) ERROR("File descriptor named '" name "' has not been found")

/* Of the test that runs.  The path lies in a directory of its own, and is free. */
extern struct wire migrate_wire;
extern struct peer migrate_peer;
extern char migrate_path[96];

void migrate_setup(void);
void migrate_teardown(void);

/* Sends, settles, compares. */
void expect(const char *text, const char *reply);
/* The same with %s for the path in both. */
void expect_path(const char *text, const char *reply);
/* The statuses of the events that have come, in order, each with a space behind it. */
void expect_events(const char *statuses);
/* A command, which comes to an end with `reply`, and the events of it. */
void expect_with_events(const char *text, const char *reply, const char *statuses);

/* Turns, with time to pass in them, until something has come about. */
#define AWAIT(condition) do { \
	while (!(condition)) \
		event_base_loop(migrate_wire.base, EVLOOP_ONCE); \
} while (0)

/* A socket at the path; a connection to the one there. */
int listen_at_path(int backlog);
int dial_path(void);

#endif
