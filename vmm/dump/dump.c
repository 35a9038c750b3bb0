/* SPDX-License-Identifier: MIT */
#include "vmm/dump/dump.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "vmm/dump/dump_internal.h"
#include "vmm/log.h"
#include "vmm/vcpu_space.h"
#include "vmm/vm_internal.h"

/*
 * A dump.  Between starting the thread and VM_REQUEST_DUMP with `done` set, which are the thread's
 * last acts, `job`, `channel`, `rc` and `error` belong to the thread (but for job.transfer, which
 * has its own rules); all else is the owner's always.
 */
struct dump {
	enum dump_status status;
	bool resume;                    /* the machine ran */
	bool thread_started;
	pthread_t thread;

	struct vm *vm;
	struct dump_job job;
	struct migration_channel channel;
	int rc;
	struct error error;             /* why it failed */
	_Atomic bool done;
};

const char *dump_status_name(enum dump_status status)
{
	static const char *const names[] = {
		[DUMP_NONE] = "none", [DUMP_ACTIVE] = "active",
		[DUMP_COMPLETED] = "completed", [DUMP_FAILED] = "failed",
	};

	return names[status];
}

bool vm_dump_active(const struct vm *vm)
{
	return vm->dump && vm->dump->status == DUMP_ACTIVE;
}

int vm_dump_refuse(const struct vm *vm, struct error *err)
{
	return vm_dump_active(vm) ?
	       error_set(err, EBUSY, "There is a dump in process, please wait.") : 0;
}

int vm_dump_check(const struct vm *vm, const struct dump_config *config, struct error *err)
{
	struct dump_map map;

	if (vm->state == RUN_STATE_INMIGRATE)
		return error_set(err, EPERM, "Dump not allowed during incoming migration.");
	if (vm_dump_refuse(vm, err) < 0)
		return -1;
	if (vm_migration_under_way(vm))
		return error_set(err, EBUSY, "disallowing migration blocker (migration/snapshot in "
				 "progress) for: Live migration disabled: dump-guest-memory in "
				 "progress");
	if (config->filter && config->length == 0)
		return error_set(err, EINVAL, "Invalid parameter 'length'");
	return dump_map_blocks(&map, &vm->memory, config, err);
}

/* ---- the thread ---- */

static void on_progress(void *opaque)
{
	struct dump *dump = opaque;

	vm_post(dump->vm, VM_REQUEST_DUMP);
}

static int write_file(struct dump *dump, struct error *err)
{
	int rc = dump_map_loads(&dump->job, err);

	if (rc == 0)
		rc = dump_write(&dump->job, dump->channel.fd, err);
	if (migration_channel_finish(&dump->channel, rc == 0, &dump->job.transfer.cancelled,
				     rc == 0 ? err : NULL) < 0)
		return -1;
	return rc;
}

static void *run(void *opaque)
{
	struct dump *dump = opaque;

	/* The event loop comes before everything; this does not. */
	setpriority(PRIO_PROCESS, 0, 0);
	dump->rc = write_file(dump, &dump->error);
	atomic_store(&dump->done, true);
	vm_post(dump->vm, VM_REQUEST_DUMP);
	return NULL;
}

/* ---- the owner ---- */

static void free_job(struct dump_job *job)
{
	dump_map_free(&job->map);
	free(job->cpu);
	job->cpu = NULL;
}

/* As it was before: going on, if it ran. */
static void go_back(struct vm *vm)
{
	struct error err;

	if (!vm->dump->resume)
		return;
	vm_enter_state(vm, RUN_STATE_PAUSED);
	if (vm_cont(vm, &err) < 0)
		log_error("the machine can not go on after it was dumped: %s", err.text);
}

/* Registers of all vCPUs, which stand still. */
static int collect(struct vm *vm, struct dump_job *job, struct error *err)
{
	const uint32_t mask = 1u << SUBSTATE_REGS | 1u << SUBSTATE_MSRS | VCPU_PAGE_SPACE;
	int gs_base = msr_table_find(vm->msr_table, MSR_KERNEL_GS_BASE);
	int rc = 0;

	job->nr_cpus = vm->nr_vcpus;
	job->cpu = calloc(vm->nr_vcpus, sizeof(*job->cpu));
	if (!job->cpu)
		return error_errno(err, ENOMEM, "dump: the registers of %u vCPUs", vm->nr_vcpus);
	if (vm_inspect_begin(vm, -1, err) < 0)
		return -1;
	for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++) {
		struct vcpu_state *s = &vm->vcpu[i].state;
		struct dump_cpu *cpu = &job->cpu[i];

		rc = vcpu_state_fetch(s, mask, err);
		if (rc < 0)
			break;
		cpu->regs = *vcpu_state_regs(s, err);
		cpu->sregs = *vcpu_state_sregs(s, err);
		vcpu_page_space(s, &vm->memory, &cpu->space, NULL);
		cpu->space.sregs = &cpu->sregs;
		if (gs_base >= 0 &&
		    vcpu_state_msr(s, (unsigned int)gs_base, &cpu->kernel_gs_base, NULL) < 0)
			cpu->kernel_gs_base = 0;
	}
	vm_inspect_end(vm);
	return rc;
}

static int start(struct vm *vm, const struct dump_config *config, struct error *err)
{
	struct dump *dump = vm->dump;
	struct dump_job *job = &dump->job;
	int rc;

	*job = (struct dump_job) {
		.config = *config, .memory = &vm->memory, .progress = on_progress, .opaque = dump,
	};
	if (dump_map_blocks(&job->map, &vm->memory, config, err) < 0 || collect(vm, job, err) < 0)
		return -1;
	job->transfer.total = job->transfer.remaining = dump_map_total(&job->map);
	rc = pthread_create(&dump->thread, NULL, run, dump);
	if (rc)
		return error_errno(err, rc, "dump: its thread");
	dump->thread_started = true;
	return 0;
}

int vm_dump(struct vm *vm, const struct dump_config *config,
	    const struct migration_channel *channel, struct error *err)
{
	struct dump *dump;

	if (vm_dump_check(vm, config, err) < 0)
		return -1;
	dump = calloc(1, sizeof(*dump));
	if (!dump)
		return error_errno(err, ENOMEM, "dump");
	free(vm->dump);
	vm->dump = dump;
	dump->vm = vm;
	dump->channel = *channel;
	vm_catch_up(vm);
	dump->resume = vm_is_running(vm);
	vm_stop_in_state(vm, RUN_STATE_SAVE_VM);
	dump->status = DUMP_ACTIVE;
	if (start(vm, config, &dump->error) < 0) {
		free_job(&dump->job);
		if (err)
			*err = dump->error;
		dump->status = DUMP_FAILED;
		go_back(vm);
		return -1;
	}
	return 0;
}

/* From here on all is the owner's. */
static void join(struct dump *dump)
{
	if (dump->thread_started)
		pthread_join(dump->thread, NULL);
	dump->thread_started = false;
}

void vm_dump_dispatch(struct vm *vm)
{
	struct dump *dump = vm->dump;

	if (!atomic_load(&dump->done)) {
		vm_emit(vm, (struct vm_event) { .type = VM_EVENT_DUMP_PROGRESS });
		return;
	}
	join(dump);
	free_job(&dump->job);
	dump->status = dump->rc == 0 ? DUMP_COMPLETED : DUMP_FAILED;
	if (dump->rc < 0)
		log_error("%s", dump->error.text);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_DUMP_COMPLETED });
	go_back(vm);
	vm_emit(vm, (struct vm_event) { .type = VM_EVENT_DUMP_OVER });
}

void vm_dump_end(struct vm *vm)
{
	struct dump *dump = vm->dump;

	if (!dump)
		return;
	atomic_store(&dump->job.transfer.cancelled, true);
	join(dump);
	free_job(&dump->job);
	free(dump);
	vm->dump = NULL;
}

void vm_dump_info(const struct vm *vm, struct dump_info *info)
{
	const struct dump *dump = vm->dump;

	*info = (struct dump_info) { .status = DUMP_NONE };
	if (!dump)
		return;
	info->status = dump->status;
	info->total = atomic_load(&dump->job.transfer.total);
	info->completed = info->total - atomic_load(&dump->job.transfer.remaining);
	if (dump->status == DUMP_FAILED)
		info->error = dump->error.text;
}
