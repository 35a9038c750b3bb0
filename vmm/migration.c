/* SPDX-License-Identifier: MIT */
#include "vmm/migration.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/dev/machine_devices.h"
#include "vmm/log.h"
#include "vmm/snapshot/snapshot.h"
#include "vmm/snapshot/snapshot_io.h"
#include "vmm/vm_internal.h"

#define NS_PER_MS 1000000

/*
 * The transfer of a machine.  Between starting the thread and VM_REQUEST_MIGRATION, which the
 * thread posts as its last act, `work` belongs to the thread; all else is the owner's always.
 */
struct migration {
	enum migration_status status;
	enum migration_kind kind;
	enum run_state before;          /* out: the state to go back to */
	bool resume;                    /* out: it ran, and is to go on unless it is migrated */
	bool stay;                      /* a snapshot: ... or saved */
	bool yanked;                    /* it is to fail */
	bool thread_started;
	pthread_t thread;
	int64_t begun, setup_done, stopped, ended;      /* CLOCK_MONOTONIC, ns; 0: not yet */
	struct error error;             /* why it failed */

	struct snapshot_transfer transfer;      /* has its own rules */
	struct {
		struct vm *vm;
		struct migration_channel channel;
		char *path;             /* of a snapshot; else NULL */
		struct sections sections;
		struct snapshot_machine machine;        /* in: what they are of */
		int rc;
		struct error error;
	} work;
};

static int64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

const char *migration_status_name(enum migration_status status)
{
	static const char *const names[] = {
		[MIGRATION_NONE] = "none", [MIGRATION_SETUP] = "setup",
		[MIGRATION_ACTIVE] = "active", [MIGRATION_CANCELLING] = "cancelling",
		[MIGRATION_CANCELLED] = "cancelled", [MIGRATION_COMPLETED] = "completed",
		[MIGRATION_FAILED] = "failed",
	};

	return names[status];
}

static bool under_way(const struct migration *m)
{
	return m->status == MIGRATION_SETUP || m->status == MIGRATION_ACTIVE ||
	       m->status == MIGRATION_CANCELLING;
}

bool vm_migration_under_way(const struct vm *vm)
{
	return vm->migration && under_way(vm->migration);
}

bool vm_migration_moving(const struct vm *vm)
{
	return vm->migration && vm->migration->thread_started;
}

static void enter_status(struct vm *vm, enum migration_status status)
{
	vm->migration->status = status;
	if (!under_way(vm->migration))
		vm->migration->ended = now();
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_MIGRATION, .migration = status });
}

static const char dump_blocks[] = "Live migration disabled: dump-guest-memory in progress";

int vm_migration_begin(struct vm *vm, enum migration_kind kind, struct error *err)
{
	struct migration *m = vm->migration;

	if (kind != MIGRATION_IN && vm->state == RUN_STATE_INMIGRATE)
		return error_set(err, EPERM, "Guest is waiting for an incoming migration");
	if (m && under_way(m))
		return error_set(err, EBUSY, "There's a migration process in progress");
	if (kind == MIGRATION_IN && vm->state != RUN_STATE_INMIGRATE)
		return error_set(err, EPERM, "'-incoming' was not specified on the command line");
	if (vm_dump_active(vm))
		return error_set(err, EBUSY, "%s", dump_blocks);
	if (kind == MIGRATION_OUT && vm->state == RUN_STATE_POSTMIGRATE)
		return error_set(err, EPERM,
				 "Can't migrate the vm that was paused due to previous migration");
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return error_errno(err, ENOMEM, "the migration");
		vm->migration = m;
	}
	*m = (struct migration) { .kind = kind, .begun = now() };
	m->work.vm = vm;
	m->work.channel.fd = -1;
	enter_status(vm, MIGRATION_SETUP);
	return 0;
}

/* ---- the thread ---- */

int migration_channel_finish(const struct migration_channel *channel, bool complete,
			     const _Atomic bool *cancelled, struct error *err)
{
	if (channel->finish)
		return channel->finish(channel->opaque, complete, cancelled, err);
	if (channel->fd >= 0)
		close(channel->fd);
	return 0;
}

/* Nothing more is moved: closes the far end, which may find only now that not all has arrived. */
static int finish(struct migration *m, bool complete, struct error *err)
{
	return migration_channel_finish(&m->work.channel, complete, &m->transfer.cancelled, err);
}

static int send_stream(struct migration *m, struct error *err)
{
	int rc = snapshot_write_stream(m->work.channel.fd, &m->work.sections, &m->work.vm->memory,
				       &m->transfer, err);

	if (finish(m, rc == 0, rc == 0 ? err : NULL) < 0)
		return -1;
	return rc;
}

/* Whether the machine that comes is one like this. */
static int check_machine(const struct vm *vm, const struct snapshot_machine *machine,
			 struct error *err)
{
	if (snapshot_check_vcpus(vm, machine, err) < 0)
		return -1;
	if (machine->memory != vm->memory.size)
		return error_set(err, EINVAL, "the state is of a machine with %" PRIu64 " bytes of "
				 "memory, and this one has %" PRIu64 ": start it with --memory %" PRIu64
				 "K", machine->memory, vm->memory.size, machine->memory >> 10);
	return 0;
}

static int receive(struct migration *m, struct error *err)
{
	struct memory *memory = &m->work.vm->memory;
	struct snapshot_reader *reader;
	int rc = -1;

	reader = snapshot_open(m->work.channel.fd, &m->transfer, &m->work.sections, err);
	if (reader && snapshot_machine(&m->work.sections, &m->work.machine, err) == 0)
		rc = check_machine(m->work.vm, &m->work.machine, err);
	if (rc == 0)
		rc = snapshot_reader_form(reader) == SNAPSHOT_FILE ?
		     snapshot_map_ram(reader, memory, err) : snapshot_read_ram(reader, memory, err);
	snapshot_close(reader);
	finish(m, rc == 0, NULL);
	return rc;
}

static void *move(void *opaque)
{
	struct migration *m = opaque;

	/* The event loop comes before everything; this does not. */
	setpriority(PRIO_PROCESS, 0, 0);

	switch (m->kind) {
	case MIGRATION_OUT:
		m->work.rc = send_stream(m, &m->work.error);
		break;
	case MIGRATION_SNAPSHOT:
		m->work.rc = snapshot_write_file(m->work.path, &m->work.sections,
						 &m->work.vm->memory, &m->transfer, &m->work.error);
		break;
	case MIGRATION_IN:
		m->work.rc = receive(m, &m->work.error);
		break;
	}
	vm_post(m->work.vm, VM_REQUEST_MIGRATION);
	return NULL;
}

static int start_thread(struct vm *vm, struct error *err)
{
	struct migration *m = vm->migration;
	int rc;

	m->setup_done = now();
	rc = pthread_create(&m->thread, NULL, move, m);
	if (rc)
		return error_errno(err, rc, "the thread of the migration");
	m->thread_started = true;
	enter_status(vm, MIGRATION_ACTIVE);
	return 0;
}

/* ---- the owner ---- */

/* From here on `work` is the owner's. */
static void join(struct migration *m)
{
	if (m->thread_started)
		pthread_join(m->thread, NULL);
	m->thread_started = false;
}

static void end_thread(struct migration *m)
{
	join(m);
	sections_free(&m->work.sections);
	free(m->work.path);
	m->work.path = NULL;
}

/* A transfer out is over, and the machine is still here: as before, going on if it did. */
static void go_back(struct vm *vm)
{
	struct migration *m = vm->migration;
	struct error err;

	vm_enter_state(vm, m->before == RUN_STATE_RUNNING ? RUN_STATE_PAUSED : m->before);
	if (m->resume && vm_cont(vm, &err) < 0)
		log_error("the machine can not go on after it was saved: %s", err.text);
}

/*
 * The end of a transfer that has not worked out.  What the transfer stopped goes on first, so that
 * the last event finds the final state.
 */
static void fail(struct vm *vm, const struct error *why)
{
	struct migration *m = vm->migration;
	bool cancelled = m->status == MIGRATION_CANCELLING;

	m->error = *why;
	if (m->yanked && !cancelled)
		error_set(&m->error, ECONNABORTED, "the migration was yanked");
	if (vm->state == RUN_STATE_FINISH_MIGRATE || vm->state == RUN_STATE_SAVE_VM)
		go_back(vm);
	if (!cancelled)
		log_error("%s", m->error.text);
	enter_status(vm, cancelled ? MIGRATION_CANCELLED : MIGRATION_FAILED);
	if (m->kind == MIGRATION_IN && !vm->config.incoming_defer)
		vm_emit(vm, (struct vm_event) { .type = VM_EVENT_EXIT,
						.exit_status = EXIT_FAILURE });
}

void vm_migration_failed(struct vm *vm, const struct error *why)
{
	fail(vm, why);
}

/* Stops the machine, if need be, into `state`, and collects what it has. */
static int collect(struct vm *vm, enum run_state state, struct error *err)
{
	struct migration *m = vm->migration;

	m->stopped = now();
	vm_catch_up(vm);
	m->before = vm->state;
	m->resume = vm_is_running(vm);
	if (m->resume)
		vm_stop_in_state(vm, state);
	else
		vm_enter_state(vm, state);
	return snapshot_collect(vm, m->before, &m->work.sections, err);
}

/* What it has failed by is in work.error. */
static int fail_now(struct vm *vm, struct error *err)
{
	struct migration *m = vm->migration;

	if (err)
		*err = m->work.error;
	end_thread(m);
	fail(vm, &m->work.error);
	return -1;
}

/* Stops the machine into `state` and sends it on its way. */
static int send_out(struct vm *vm, enum run_state state, struct error *err)
{
	struct error *why = &vm->migration->work.error;

	if (collect(vm, state, why) < 0 || start_thread(vm, why) < 0)
		return fail_now(vm, err);
	return 0;
}

int vm_migrate(struct vm *vm, const struct migration_channel *channel,
	       const struct migration_parameters *parameters, struct error *err)
{
	struct migration *m = vm->migration;

	m->transfer.max_bandwidth = parameters->max_bandwidth;
	m->transfer.zstd_level = parameters->zstd_level;
	m->work.channel = *channel;
	return send_out(vm, RUN_STATE_FINISH_MIGRATE, err);
}

int vm_snapshot_save(struct vm *vm, const char *path, bool stay, struct error *err)
{
	struct migration *m;

	if (vm_migration_begin(vm, MIGRATION_SNAPSHOT, err) < 0)
		return -1;
	m = vm->migration;
	m->work.path = strdup(path);
	if (!m->work.path) {
		error_errno(&m->work.error, ENOMEM, "%s", path);
		return fail_now(vm, err);
	}
	m->stay = stay;
	return send_out(vm, RUN_STATE_SAVE_VM, err);
}

int vm_migrate_incoming(struct vm *vm, const struct migration_channel *channel,
			struct error *err)
{
	struct migration *m = vm->migration;

	m->work.channel = *channel;
	if (start_thread(vm, &m->work.error) < 0)
		return fail_now(vm, err);
	return 0;
}

void vm_migrate_cancel(struct vm *vm)
{
	struct migration *m = vm->migration;

	if (!m || !under_way(m) || m->kind == MIGRATION_IN || m->status == MIGRATION_CANCELLING)
		return;
	atomic_store(&m->transfer.cancelled, true);
	enter_status(vm, MIGRATION_CANCELLING);
	if (!m->thread_started) {
		struct error err;

		error_errno(&err, ECANCELED, "the migration");
		fail(vm, &err);
	}
}

void vm_migration_yank(struct vm *vm)
{
	struct migration *m = vm->migration;

	if (!m || !under_way(m) || m->kind == MIGRATION_SNAPSHOT)
		return;
	m->yanked = true;
	atomic_store(&m->transfer.cancelled, true);
	/* Without a thread nothing has been connected yet: the caller has seen to that. */
	if (!m->thread_started)
		fail(vm, &m->error);
}

void vm_migration_keep_stopped(struct vm *vm, bool stopped)
{
	if (vm->state == RUN_STATE_INMIGRATE)
		vm->autostart = !stopped;
	else if (stopped && vm_migration_moving(vm))
		vm->migration->resume = false;
}

int vm_arrive(struct vm *vm, enum run_state saved, struct error *err)
{
	if (vm->config.generation_id &&
	    vm_devices_set_generation_id(vm->devices, vm->config.generation_id) < 0)
		log_warning("the guest is not told of its new generation id: it was saved without one");
	vm_enter_state(vm, saved == RUN_STATE_RUNNING ? RUN_STATE_PAUSED : saved);
	return saved == RUN_STATE_RUNNING && vm->autostart ? vm_cont(vm, err) : 0;
}

/* A state has come in whole: puts it in. */
static void take_in(struct vm *vm)
{
	struct migration *m = vm->migration;
	struct error err;

	if (snapshot_apply(vm, &m->work.sections, vm->config.force_cpuid, &err) < 0) {
		/* Half of a machine: nothing can be done with it any more. */
		end_thread(m);
		vm->config.incoming_defer = false;
		fail(vm, &err);
		return;
	}
	end_thread(m);
	if (vm_arrive(vm, m->work.machine.state, &err) < 0)
		log_error("%s", err.text);
	enter_status(vm, MIGRATION_COMPLETED);
}

void vm_migration_dispatch(struct vm *vm)
{
	struct migration *m = vm->migration;
	int rc;

	join(m);
	rc = m->work.rc;
	if (rc == 0 && m->kind == MIGRATION_IN) {
		take_in(vm);
		return;
	}
	end_thread(m);
	if (rc < 0) {
		fail(vm, &m->work.error);
		return;
	}
	m->resume = m->resume && !m->stay;
	if (m->kind == MIGRATION_OUT)
		vm_enter_state(vm, RUN_STATE_POSTMIGRATE);
	else
		go_back(vm);
	enter_status(vm, MIGRATION_COMPLETED);
}

void vm_migration_end(struct vm *vm)
{
	struct migration *m = vm->migration;

	if (!m)
		return;
	atomic_store(&m->transfer.cancelled, true);
	end_thread(m);
	free(m);
	vm->migration = NULL;
}

void vm_migration_info(const struct vm *vm, struct migration_info *info)
{
	const struct migration *m = vm->migration;
	int64_t end, moving;

	*info = (struct migration_info) {
		.status = MIGRATION_NONE,
		.blocked = vm_dump_active(vm) ? dump_blocks : NULL,
	};
	if (!m)
		return;
	end = m->ended ? m->ended : now();
	info->status = m->status;
	info->kind = m->kind;
	info->ram_total = atomic_load(&m->transfer.total);
	info->ram_remaining = atomic_load(&m->transfer.remaining);
	info->transferred = atomic_load(&m->transfer.transferred);
	info->zero_pages = atomic_load(&m->transfer.zero_pages);
	info->normal_pages = atomic_load(&m->transfer.normal_pages);
	info->total_ms = (uint64_t)(end - m->begun) / NS_PER_MS;
	if (m->setup_done)
		info->setup_ms = (uint64_t)(m->setup_done - m->begun) / NS_PER_MS;
	if (m->stopped)
		info->downtime_ms = (uint64_t)(end - m->stopped) / NS_PER_MS;
	moving = m->setup_done ? end - m->setup_done : 0;
	/* Bits in a microsecond are megabits in a second. */
	if (moving > 0)
		info->mbps = (double)info->transferred * 8 * 1000 / (double)moving;
	if (m->status == MIGRATION_FAILED)
		info->error = m->error.text;
}
