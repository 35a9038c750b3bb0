/* SPDX-License-Identifier: MIT */
#include "vmm/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/snapshot/snapshot.h"
#include "vmm/snapshot/snapshot_io.h"
#include "vmm/vm_internal.h"

struct clone {
	const char *path;       /* the caller's */
	int fd;
	struct snapshot_transfer transfer;
	struct sections sections;
	struct snapshot_reader *reader;
	struct snapshot_machine machine;
};

static int open_snapshot(struct clone *clone, struct error *err)
{
	clone->fd = open(clone->path, O_RDONLY | O_CLOEXEC);
	if (clone->fd < 0)
		return error_errno(err, errno, "%s", clone->path);
	clone->reader = snapshot_open(clone->fd, &clone->transfer, &clone->sections, err);
	if (!clone->reader)
		return error_prefix(err, "%s", clone->path);
	if (snapshot_reader_form(clone->reader) != SNAPSHOT_FILE)
		return error_set(err, EINVAL, "%s: a stream can not be mapped; start it with "
				 "--incoming file:%s, or save it with snapshot-save", clone->path,
				 clone->path);
	if (snapshot_machine(&clone->sections, &clone->machine, err) < 0)
		return error_prefix(err, "%s", clone->path);
	return 0;
}

struct clone *clone_open(const char *path, struct vm_config *config, struct error *err)
{
	struct clone *clone = calloc(1, sizeof(*clone));

	if (!clone) {
		error_errno(err, ENOMEM, "%s", path);
		return NULL;
	}
	clone->path = path;
	clone->fd = -1;
	if (open_snapshot(clone, err) < 0) {
		clone_close(clone);
		return NULL;
	}
	config->cpus = clone->machine.cpus;
	config->topology = clone->machine.topology;
	config->memory = clone->machine.memory;
	config->incoming = true;
	config->clone = clone;
	return clone;
}

int clone_map_ram(struct clone *clone, struct memory *memory, struct error *err)
{
	if (snapshot_map_ram(clone->reader, memory, err) < 0)
		return error_prefix(err, "%s", clone->path);
	return 0;
}

int vm_clone(struct vm *vm, struct clone *clone, struct error *err)
{
	vcpus_await(vm);
	if (snapshot_apply(vm, &clone->sections, vm->config.force_cpuid, err) < 0)
		return error_prefix(err, "%s", clone->path);
	return vm_arrive(vm, clone->machine.state, err);
}

void clone_close(struct clone *clone)
{
	if (!clone)
		return;
	snapshot_close(clone->reader);
	sections_free(&clone->sections);
	if (clone->fd >= 0)
		close(clone->fd);
	free(clone);
}
