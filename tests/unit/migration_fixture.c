/* SPDX-License-Identifier: MIT */
#include "tests/unit/migration_fixture.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/snapshot_machine.h"
#include "vmm/log.h"

static char log_text[4096], directory[64];

static void on_log(enum log_level level, const char *line)
{
	size_t used = strlen(log_text);

	if (level == LOG_LEVEL_ERROR)
		snprintf(log_text + used, sizeof(log_text) - used, "%s%s", used ? "\n" : "", line);
}

void transfers_begin(void)
{
	log_text[0] = '\0';
	log_set_sink(on_log, LOG_LEVEL_WARNING);
	strcpy(directory, "/tmp/vmond-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	machine_host();
}

void transfers_end(void)
{
	DIR *d = opendir(directory);
	struct dirent *entry;

	while ((entry = readdir(d)))
		unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	ck_assert_int_eq(rmdir(directory), 0);
	log_set_sink(NULL, LOG_LEVEL_INFO);
	ck_assert_str_eq(log_text, "");
}

const char *logged(void)
{
	static char last[sizeof(log_text)];

	memcpy(last, log_text, sizeof(last));
	log_text[0] = '\0';
	return last;
}

const char *file_named(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory, name);
	return path[turn];
}

/* ---- The far end ---- */

static int finish(void *opaque, bool complete, const _Atomic bool *cancelled, struct error *err)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct far_end *end = opaque;

	while (end->holds && !*cancelled && sem_trywait(&end->go_on) < 0)
		nanosleep(&moment, NULL);
	end->finished++;
	end->complete = complete;
	end->cancelled = *cancelled;
	/* The file in memory stays, for the next. */
	if (end->fails)
		return error_set(err, EIO, "%s", end->fails);
	return 0;
}

static struct migration_channel channel_of(struct far_end *end)
{
	sem_init(&end->go_on, 0, 0);
	return (struct migration_channel){ .fd = end->fd, .finish = finish, .opaque = end };
}

struct migration_channel to_memory(struct far_end *end)
{
	*end = (struct far_end){ .fd = memfd_create("stream", MFD_CLOEXEC) };
	ck_assert_int_ge(end->fd, 0);
	return channel_of(end);
}

struct migration_channel to_nowhere(struct far_end *end)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	/* Its other end stays open, so that it only fills up. */
	*end = (struct far_end){ .fd = fds[1] };
	return channel_of(end);
}

struct migration_channel from_memory(struct far_end *end, const struct far_end *written, size_t len)
{
	off_t at = 0;

	to_memory(end);
	while (len) {
		ssize_t n = sendfile(end->fd, written->fd, &at, len < 1 << 30 ? len : 1 << 30);

		ck_assert_int_ge(n, 0);
		if (!n)
			break;
		len -= (size_t)n;
	}
	ck_assert_int_eq(lseek(end->fd, 0, SEEK_SET), 0);
	return channel_of(end);
}

struct migration_channel from_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return (struct migration_channel){ .fd = fd };
}

void far_end_close(struct far_end *end)
{
	close(end->fd);
	sem_destroy(&end->go_on);
}

/* ---- Transfers ---- */

void migrate_to(const struct migration_channel *channel)
{
	const struct migration_parameters parameters = { .zstd_level = 0 };
	struct error err = { .code = 0 };

	ck_assert_msg(vm_migration_begin(machine.vm, MIGRATION_OUT, &err) == 0, "%s", err.text);
	ck_assert_msg(vm_migrate(machine.vm, channel, &parameters, &err) == 0, "%s", err.text);
}

void migrate_from(const struct migration_channel *channel)
{
	struct error err = { .code = 0 };

	ck_assert_msg(vm_migration_begin(machine.vm, MIGRATION_IN, &err) == 0, "%s", err.text);
	ck_assert_msg(vm_migrate_incoming(machine.vm, channel, &err) == 0, "%s", err.text);
}

enum migration_status status_now(void)
{
	struct migration_info info;

	vm_migration_info(machine.vm, &info);
	return info.status;
}

const char *error_now(void)
{
	struct migration_info info;

	vm_migration_info(machine.vm, &info);
	return info.error ? info.error : "";
}

void fill_guest(void)
{
	uint64_t seed = 42;

	for (unsigned int i = 0; i < machine.vm->nr_vcpus; i++) {
		struct fake_vcpu *v = machine_model(i);

		fill_vcpu(v, FILL_LONG, &seed);
		memset(&v->events, 0, sizeof(v->events));
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	}
	for (uint64_t gpa = 0; gpa < machine.vm->memory.size; gpa += 4096)
		memory_write(&machine.vm->memory, gpa, &gpa, sizeof(gpa));
}

void setup_guest(void)
{
	transfers_begin();
	machine_start(2);
	fill_guest();
}

void setup_incoming(void)
{
	transfers_begin();
	machine_wait(1);
}

void teardown_machine(void)
{
	machine_stop();
	transfers_end();
}
