/* SPDX-License-Identifier: MIT */
#include "tests/unit/migrate_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct wire migrate_wire;
struct peer migrate_peer;
char migrate_path[96];
static char directory[64];

static void on_event(void *opaque, const struct vm_event *event)
{
	struct wire *w = opaque;

	monitor_vm_event(w->monitor, event);
}

void migrate_setup(void)
{
	strcpy(directory, "/tmp/vmond-migrate-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(migrate_path, sizeof(migrate_path), "%s/vm", directory);
	fake_migration_begin(on_event, &migrate_wire);
	fake_migration.vm.state = RUN_STATE_PAUSED;
	wire_open_vm(&migrate_wire, &fake_migration.vm);
	migrate_peer = wire_connect_ready(&migrate_wire);
}

void migrate_teardown(void)
{
	peer_close(&migrate_peer);
	wire_settle(&migrate_wire, NULL);
	wire_close(&migrate_wire);
	fake_migration_end();
	unlink(migrate_path);
	ck_assert_int_eq(rmdir(directory), 0);
}

void expect(const char *text, const char *reply)
{
	wire_expect(&migrate_wire, &migrate_peer, text, reply);
}

void expect_path(const char *text, const char *reply)
{
	char filled[2][1024];

	snprintf(filled[0], sizeof(filled[0]), text, migrate_path);
	snprintf(filled[1], sizeof(filled[1]), reply, migrate_path);
	expect(filled[0], filled[1]);
}

void expect_events(const char *statuses)
{
	char seen[256] = "";
	const char *at;

	wire_settle(&migrate_wire, &migrate_peer);
	for (at = migrate_peer.text; at && (at = strstr(at, "\"MIGRATION\"")); at++) {
		char status[32];

		ck_assert_int_eq(sscanf(at, "\"MIGRATION\", \"data\": {\"status\": \"%31[a-z]\"",
					status), 1);
		sprintf(seen + strlen(seen), "%s ", status);
	}
	ck_assert_str_eq(seen, statuses);
	peer_clear(&migrate_peer);
}

void expect_with_events(const char *text, const char *reply, const char *statuses)
{
	size_t len = strlen(reply);

	wire_send(&migrate_wire, &migrate_peer, text, strlen(text));
	wire_settle(&migrate_wire, &migrate_peer);
	ck_assert_msg(migrate_peer.len >= len &&
		      !strcmp(migrate_peer.text + migrate_peer.len - len, reply), "%s",
		      migrate_peer.text);
	expect_events(statuses);
}

int listen_at_path(int backlog)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, migrate_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

int dial_path(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, migrate_path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

