/* SPDX-License-Identifier: MIT */
#include "monitor/migrate.h"

#include <errno.h>
#include <string.h>

#include "monitor/hmp.h"
#include "monitor/migrate_channel.h"
#include "monitor/qmp.h"

enum scheme { SCHEME_FILE, SCHEME_UNIX, SCHEME_TCP, SCHEME_EXEC, SCHEME_FD, SCHEME_UNKNOWN };

/* Returns the scheme of a URI, and in *rest what follows it. */
static enum scheme split_uri(const char *uri, const char **rest)
{
	static const char *const prefixes[] = {
		[SCHEME_FILE] = "file:",
		[SCHEME_UNIX] = "unix:",
		[SCHEME_TCP] = "tcp:",
		[SCHEME_EXEC] = "exec:",
		[SCHEME_FD] = "fd:",
	};
	int scheme;

	for (scheme = 0; scheme < SCHEME_UNKNOWN; scheme++) {
		*rest = uri + strlen(prefixes[scheme]);
		if (!strncmp(uri, prefixes[scheme], strlen(prefixes[scheme])))
			break;
	}
	return scheme;
}

void migrate_init(struct migrate *m, struct event_base *base, struct vm *vm,
		  const struct fdsets *fdsets)
{
	*m = (struct migrate){
		.base = base,
		.vm = vm,
		.fdsets = fdsets,
		.zstd_level = MIGRATE_ZSTD_LEVEL_MIN,
	};
}

void migrate_free(struct migrate *m)
{
	if (m->dial)
		dial_cancel(m->dial);
	if (m->listener)
		migrate_listener_close(m->listener);
	m->dial = NULL;
	m->listener = NULL;
}

void migrate_channel_close(const struct migration_channel *channel)
{
	const _Atomic bool cancelled = true;

	migration_channel_finish(channel, false, &cancelled, NULL);
}

int migrate_check_options(bool resume, bool blk, bool inc, struct error *err)
{
	if (resume)
		return error_set(err, EINVAL, "Cannot resume if there is no paused migration");
	if (blk || inc)
		return error_set(err, EINVAL, "Parameter '%s' asks for disks to be copied, which is "
				 "not done; leave it out", blk ? "blk" : "inc");
	return 0;
}

int migrate_check_zstd_level(int64_t level, struct error *err)
{
	if (level >= MIGRATE_ZSTD_LEVEL_MIN && level <= MIGRATE_ZSTD_LEVEL_MAX)
		return 0;
	return error_set(err, EINVAL,
			 "Parameter 'multifd-zstd-level' expects a value between %d and %d",
			 MIGRATE_ZSTD_LEVEL_MIN, MIGRATE_ZSTD_LEVEL_MAX);
}

/* ---- out ---- */

static int send_to(struct migrate *m, const struct migration_channel *channel, struct error *err)
{
	const struct migration_parameters parameters = {
		.max_bandwidth = m->max_bandwidth,
		.zstd_level = m->compression == MIGRATE_COMPRESSION_ZSTD ? m->zstd_level : 0,
	};

	if (vm_migrate(m->vm, channel, &parameters, err) == 0)
		return 0;
	migrate_channel_close(channel);
	return -1;
}

/* dial_fn */
static void on_connected(void *opaque, int fd, const struct error *why)
{
	const struct migration_channel channel = { .fd = fd };
	struct migrate *m = opaque;
	struct error err;

	m->dial = NULL;
	if (why)
		vm_migration_failed(m->vm, why);
	else
		send_to(m, &channel, &err);
}

/* Opens what a URI names, or begins to connect to it, and leaves channel->fd -1 then. */
static int open_out(struct migrate *m, struct fd_names *names, const char *uri,
		    struct migration_channel *channel, struct error *err)
{
	struct tcp_address address;
	const char *rest;

	switch (split_uri(uri, &rest)) {
	case SCHEME_FILE:
		return migrate_file_out(rest, m->fdsets, channel, err);
	case SCHEME_EXEC:
		return migrate_exec_out(rest, channel, err);
	case SCHEME_FD:
		return migrate_fd_out(rest, names, channel, err);
	case SCHEME_UNIX:
		m->dial = dial_unix(m->base, rest, on_connected, m, err);
		return m->dial ? 0 : -1;
	case SCHEME_TCP:
		if (tcp_address_parse(rest, &address, err) < 0)
			return -1;
		m->dial = dial_tcp(m->base, &address, on_connected, m, err);
		return m->dial ? 0 : -1;
	case SCHEME_UNKNOWN:
		break;
	}
	return error_set(err, EINVAL, "Parameter 'uri' expects a valid migration protocol");
}

int migrate_out(struct migrate *m, struct fd_names *names, const char *uri, struct error *err)
{
	struct migration_channel channel = { .fd = -1 };

	if (vm_migration_begin(m->vm, MIGRATION_OUT, err) < 0)
		return -1;
	if (open_out(m, names, uri, &channel, err) < 0) {
		vm_migration_failed(m->vm, err);
		return -1;
	}
	return channel.fd < 0 ? 0 : send_to(m, &channel, err);
}

int migrate_snapshot(struct migrate *m, const char *path, bool stay, struct error *err)
{
	/* It gives the file its name when it is complete, which a descriptor is past. */
	if (!strncmp(path, "/dev/fdset/", strlen("/dev/fdset/")))
		return error_set(err, EINVAL, "a snapshot needs a file with a name, and '%s' has "
				 "none; use migrate with file:%s", path, path);
	return vm_snapshot_save(m->vm, path, stay, err);
}

void migrate_cancel(struct migrate *m)
{
	/* First, so that nobody can answer any more. */
	if (m->dial)
		dial_cancel(m->dial);
	m->dial = NULL;
	vm_migrate_cancel(m->vm);
}

bool migrate_can_yank(const struct migrate *m)
{
	struct migration_info info;

	vm_migration_info(m->vm, &info);
	return info.kind != MIGRATION_SNAPSHOT &&
	       (info.status == MIGRATION_SETUP || info.status == MIGRATION_ACTIVE ||
		info.status == MIGRATION_CANCELLING);
}

void migrate_yank(struct migrate *m)
{
	/* Who is dialled, or waited for, can not answer any more. */
	migrate_free(m);
	vm_migration_yank(m->vm);
}

/* qmp_gone_fn */
static void on_waiter_gone(void *opaque)
{
	struct migrate *m = opaque;

	m->waiting = NULL;
}

bool migrate_wait(struct migrate *m, struct hmp *hmp)
{
	if (m->waiting)
		return false;
	m->waiting = hmp_defer(hmp, on_waiter_gone, m);
	return m->waiting;
}

void migrate_give_up_waiting(struct migrate *m, const struct error *why)
{
	struct qmp_pending *waiting = m->waiting;

	m->waiting = NULL;
	qmp_pending_error(waiting, QMP_GENERIC_ERROR, why);
}

void migrate_on_status(struct migrate *m, enum migration_status status)
{
	struct qmp_pending *waiting = m->waiting;
	struct migration_info info;

	if (!waiting || (status != MIGRATION_COMPLETED && status != MIGRATION_CANCELLED &&
			 status != MIGRATION_FAILED))
		return;
	m->waiting = NULL;
	vm_migration_info(m->vm, &info);
	if (status == MIGRATION_FAILED && info.error)
		text_printf(qmp_pending_text(waiting), "Error: %s\n", info.error);
	else if (status == MIGRATION_CANCELLED)
		text_printf(qmp_pending_text(waiting), "Error: the migration was cancelled\n");
	qmp_pending_return(waiting);
}

/* ---- in ---- */

static int receive_from(struct migrate *m, const struct migration_channel *channel,
			struct error *err)
{
	if (vm_migrate_incoming(m->vm, channel, err) == 0)
		return 0;
	migrate_channel_close(channel);
	return -1;
}

/* dial_fn */
static void on_accepted(void *opaque, int fd, const struct error *why)
{
	const struct migration_channel channel = { .fd = fd };
	struct migrate *m = opaque;
	struct error err;

	m->listener = NULL;
	if (why)
		vm_migration_failed(m->vm, why);
	else
		receive_from(m, &channel, &err);
}

static int open_in(struct migrate *m, struct fd_names *names, const char *uri,
		   struct migration_channel *channel, struct error *err)
{
	struct tcp_address address;
	const char *rest;

	switch (split_uri(uri, &rest)) {
	case SCHEME_FILE:
		return migrate_file_in(rest, m->fdsets, channel, err);
	case SCHEME_EXEC:
		return migrate_exec_in(rest, channel, err);
	case SCHEME_FD:
		return migrate_fd_in(rest, names, channel, err);
	case SCHEME_UNIX:
		m->listener = migrate_listen_unix(m->base, rest, on_accepted, m, err);
		return m->listener ? 0 : -1;
	case SCHEME_TCP:
		if (tcp_address_parse(rest, &address, err) < 0)
			return -1;
		m->listener = migrate_listen_tcp(m->base, &address, on_accepted, m, err);
		return m->listener ? 0 : -1;
	case SCHEME_UNKNOWN:
		break;
	}
	return error_set(err, EINVAL, "unknown migration protocol: %s", uri);
}

/* Whether the machine takes, or has taken, its state from somewhere. */
static bool incoming_has_begun(const struct migrate *m)
{
	struct migration_info info;

	vm_migration_info(m->vm, &info);
	return info.kind == MIGRATION_IN && info.status != MIGRATION_NONE &&
	       info.status != MIGRATION_FAILED;
}

int migrate_in(struct migrate *m, struct fd_names *names, const char *uri, struct error *err)
{
	struct migration_channel channel = { .fd = -1 };

	if (incoming_has_begun(m))
		return error_set(err, EALREADY,
				 "The incoming migration has already been started");
	/* Before anything is opened, since that may be noticed elsewhere. */
	if (m->vm->state != RUN_STATE_INMIGRATE)
		return error_set(err, EINVAL,
				 "'-incoming' was not specified on the command line");
	if (open_in(m, names, uri, &channel, err) < 0)
		return -1;
	if (vm_migration_begin(m->vm, MIGRATION_IN, err) < 0) {
		if (channel.fd >= 0)
			migrate_channel_close(&channel);
		migrate_free(m);
		return -1;
	}
	return channel.fd < 0 ? 0 : receive_from(m, &channel, err);
}
