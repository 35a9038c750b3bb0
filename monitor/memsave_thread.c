/* SPDX-License-Identifier: MIT */
#include "monitor/memsave.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "vmm/log.h"
#include "vmm/vcpu_space.h"

struct memsave {
	TAILQ_ENTRY(memsave) link;      /* in monitor->memsaves */
	struct monitor *monitor;
	struct qmp_pending *pending;    /* who waits for the end, or NULL */
	struct event *event;            /* on `done` */
	pthread_t thread;

	/* Constant while the thread runs. */
	struct memsave_range range;
	struct page_space space;
	struct kvm_sregs2 sregs;
	char *filename;
	int done;                       /* eventfd: readable when the thread has come to its end */

	_Atomic bool cancelled;

	/* The thread's until then. */
	int rc;
	struct error error;
};

static void *run(void *opaque)
{
	struct memsave *save = opaque;
	uint64_t one = 1;

	/* The event loop comes before everything; this does not. */
	setpriority(PRIO_PROCESS, 0, 0);
	save->rc = memsave_write(&save->range, save->filename, &save->cancelled, &save->error);
	while (write(save->done, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void memsave_free(struct memsave *save)
{
	if (save->event)
		event_free(save->event);
	if (save->done >= 0)
		close(save->done);
	free(save->filename);
	free(save);
}

static void on_done(evutil_socket_t fd, short what, void *opaque)
{
	struct memsave *save = opaque;

	(void)fd;
	(void)what;
	pthread_join(save->thread, NULL);
	TAILQ_REMOVE(&save->monitor->memsaves, save, link);
	if (save->pending && save->rc == 0)
		qmp_pending_return(save->pending);
	else if (save->pending)
		qmp_pending_error(save->pending, QMP_GENERIC_ERROR, &save->error);
	else if (save->rc < 0 && !save->cancelled)
		log_error("%s", save->error.text);
	memsave_free(save);
}

/* The address space that a vCPU is in, which it may leave afterwards. */
static int find_space(struct memsave *save, struct vm *vm, int cpu, struct error *err)
{
	int rc;

	if (vm_inspect_begin(vm, cpu, err) < 0)
		return -1;
	rc = vcpu_page_space(&vm->vcpu[cpu].state, &vm->memory, &save->space, err);
	if (rc == 0) {
		save->sregs = *save->space.sregs;
		save->space.sregs = &save->sregs;
		save->range.space = &save->space;
	}
	vm_inspect_end(vm);
	return rc;
}

static int begin(struct memsave *save, const char *filename, struct error *err)
{
	struct event_base *base = save->monitor->config.base;
	int code = ENOMEM;

	save->filename = strdup(filename);
	if (!save->filename)
		goto fail;
	save->done = eventfd(0, EFD_CLOEXEC);
	code = errno;
	if (save->done < 0)
		goto fail;
	save->event = event_new(base, save->done, EV_READ, on_done, save);
	code = ENOMEM;
	if (!save->event || event_add(save->event, NULL) < 0)
		goto fail;
	code = pthread_create(&save->thread, NULL, run, save);
	if (code == 0)
		return 0;
fail:
	return error_errno(err, code, "Could not save to '%s'", filename);
}

struct memsave *memsave_start(struct monitor *monitor, int cpu, uint64_t addr, uint64_t size,
			      const char *filename, struct error *err)
{
	struct vm *vm = monitor_vm(monitor);
	struct memsave *save;
	unsigned int nr = 0;

	TAILQ_FOREACH(save, &monitor->memsaves, link)
		nr++;
	if (nr >= MEMSAVES_MAX) {
		error_set(err, EBUSY, "Could not save to '%s': %u files are being written already; "
			  "try again when one is complete", filename, nr);
		return NULL;
	}
	save = calloc(1, sizeof(*save));
	if (!save) {
		error_errno(err, ENOMEM, "Could not save to '%s'", filename);
		return NULL;
	}
	save->monitor = monitor;
	save->done = -1;
	save->range = (struct memsave_range){ .memory = &vm->memory, .addr = addr, .size = size };
	if ((cpu != MEMSAVE_PHYSICAL && find_space(save, vm, cpu, err) < 0) ||
	    begin(save, filename, err) < 0) {
		memsave_free(save);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&monitor->memsaves, save, link);
	return save;
}

void memsave_await(struct memsave *save, struct qmp_pending *pending)
{
	save->pending = pending;
	if (pending)
		pending->opaque = save;
}

void memsave_forget(void *opaque)
{
	struct memsave *save = opaque;

	save->pending = NULL;
}

void memsave_end(struct monitor *monitor)
{
	struct memsave *save;

	/* All together, and then one by one. */
	TAILQ_FOREACH(save, &monitor->memsaves, link)
		atomic_store(&save->cancelled, true);
	while ((save = TAILQ_FIRST(&monitor->memsaves))) {
		pthread_join(save->thread, NULL);
		TAILQ_REMOVE(&monitor->memsaves, save, link);
		memsave_free(save);
	}
}
