/* SPDX-License-Identifier: MIT */
#include "tests/unit/migration_fake.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct fake_migration fake_migration;

static struct fake_migration *const fake = &fake_migration;

void fake_migration_begin(void (*event)(void *opaque, const struct vm_event *event), void *opaque)
{
	memset(fake, 0, sizeof(*fake));
	fake->on = true;
	fake->vm.callbacks.event = event;
	fake->vm.callbacks.opaque = opaque;
}

void fake_migration_end(void)
{
	ck_assert_msg(!fake->has_channel, "a channel is left over");
	fake->on = false;
}

static void become(enum migration_status status)
{
	const struct vm_event event = { .type = VM_EVENT_MIGRATION, .migration = status };

	fake->info.status = status;
	fake->vm.callbacks.event(fake->vm.callbacks.opaque, &event);
}

static void end_badly(const struct error *why)
{
	snprintf(fake->error, sizeof(fake->error), "%s", why->text);
	fake->info.error = fake->error;
	become(MIGRATION_FAILED);
}

static bool goes_on(void)
{
	return fake->info.status == MIGRATION_SETUP || fake->info.status == MIGRATION_ACTIVE;
}

static int take(const struct migration_channel *channel, struct error *err)
{
	ck_assert_int_eq(fake->info.status, MIGRATION_SETUP);
	ck_assert(!fake->has_channel);
	if (fake->refuses) {
		error_set(err, EAGAIN, "no thread for the transfer");
		end_badly(err);
		return -1;
	}
	fake->channel = *channel;
	fake->has_channel = true;
	become(MIGRATION_ACTIVE);
	return 0;
}

void fake_migration_finish(bool complete)
{
	struct error err = { .code = EIO, .text = "broken off" };
	int ret = complete ? 0 : -1;

	ck_assert(fake->has_channel);
	if (fake->channel.finish)
		ret = fake->channel.finish(fake->channel.opaque, complete, &fake->cancelled, &err);
	else
		close(fake->channel.fd);
	fake->has_channel = false;
	if (ret == 0)
		become(MIGRATION_COMPLETED);
	else if (fake->cancelled)
		become(MIGRATION_CANCELLED);
	else
		end_badly(&err);
	fake->cancelled = false;
}

/* ---- in the place of vmm/migration.c ---- */

int __real_vm_migration_begin(struct vm *vm, enum migration_kind kind, struct error *err);
int __wrap_vm_migration_begin(struct vm *vm, enum migration_kind kind, struct error *err);
void __real_vm_migration_failed(struct vm *vm, const struct error *why);
void __wrap_vm_migration_failed(struct vm *vm, const struct error *why);
int __real_vm_migrate(struct vm *vm, const struct migration_channel *channel,
		      const struct migration_parameters *parameters, struct error *err);
int __wrap_vm_migrate(struct vm *vm, const struct migration_channel *channel,
		      const struct migration_parameters *parameters, struct error *err);
int __real_vm_migrate_incoming(struct vm *vm, const struct migration_channel *channel,
			       struct error *err);
int __wrap_vm_migrate_incoming(struct vm *vm, const struct migration_channel *channel,
			       struct error *err);
int __real_vm_snapshot_save(struct vm *vm, const char *path, bool stay, struct error *err);
int __wrap_vm_snapshot_save(struct vm *vm, const char *path, bool stay, struct error *err);
void __real_vm_migrate_cancel(struct vm *vm);
void __wrap_vm_migrate_cancel(struct vm *vm);
void __real_vm_migration_yank(struct vm *vm);
void __wrap_vm_migration_yank(struct vm *vm);
void __real_vm_migration_info(const struct vm *vm, struct migration_info *info);
void __wrap_vm_migration_info(const struct vm *vm, struct migration_info *info);

int __wrap_vm_migration_begin(struct vm *vm, enum migration_kind kind, struct error *err)
{
	if (!fake->on)
		return __real_vm_migration_begin(vm, kind, err);
	if (goes_on())
		return error_set(err, EBUSY, "There's a migration process in progress");
	fake->info = (struct migration_info){ .kind = kind };
	become(MIGRATION_SETUP);
	return 0;
}

void __wrap_vm_migration_failed(struct vm *vm, const struct error *why)
{
	if (!fake->on) {
		__real_vm_migration_failed(vm, why);
		return;
	}
	ck_assert_int_eq(fake->info.status, MIGRATION_SETUP);
	end_badly(why);
}

int __wrap_vm_migrate(struct vm *vm, const struct migration_channel *channel,
		      const struct migration_parameters *parameters, struct error *err)
{
	if (!fake->on)
		return __real_vm_migrate(vm, channel, parameters, err);
	ck_assert_int_eq(fake->info.kind, MIGRATION_OUT);
	fake->parameters = *parameters;
	return take(channel, err);
}

int __wrap_vm_migrate_incoming(struct vm *vm, const struct migration_channel *channel,
			       struct error *err)
{
	if (!fake->on)
		return __real_vm_migrate_incoming(vm, channel, err);
	ck_assert_int_eq(fake->info.kind, MIGRATION_IN);
	return take(channel, err);
}

int __wrap_vm_snapshot_save(struct vm *vm, const char *path, bool stay, struct error *err)
{
	if (!fake->on)
		return __real_vm_snapshot_save(vm, path, stay, err);
	if (goes_on())
		return error_set(err, EBUSY, "There's a migration process in progress");
	fake->info = (struct migration_info){ .kind = MIGRATION_SNAPSHOT };
	snprintf(fake->path, sizeof(fake->path), "%s", path);
	fake->stay = stay;
	become(MIGRATION_SETUP);
	become(MIGRATION_COMPLETED);
	return 0;
}

void __wrap_vm_migrate_cancel(struct vm *vm)
{
	if (!fake->on) {
		__real_vm_migrate_cancel(vm);
		return;
	}
	if (!goes_on() || fake->info.kind == MIGRATION_IN)
		return;
	become(MIGRATION_CANCELLING);
	fake->cancelled = fake->has_channel;
	if (!fake->has_channel)
		become(MIGRATION_CANCELLED);
}

void __wrap_vm_migration_yank(struct vm *vm)
{
	const struct error why = { .code = ECONNABORTED, .text = "the migration was yanked" };

	if (!fake->on) {
		__real_vm_migration_yank(vm);
		return;
	}
	fake->yanks++;
	if (!fake->has_channel)
		end_badly(&why);
}

void __wrap_vm_migration_info(const struct vm *vm, struct migration_info *info)
{
	if (fake->on)
		*info = fake->info;
	else
		__real_vm_migration_info(vm, info);
}
