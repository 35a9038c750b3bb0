/* SPDX-License-Identifier: MIT */
#include "vmm/dirty_rate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/snapshot/crc32c.h"
#include "vmm/vm_internal.h"

#define NS_PER_MS       1000000LL
#define GIB             (1ULL << 30)

struct sample {
	const uint8_t *page;
	uint32_t hash;
};

/*
 * One measurement.  Until `done`, the last act of its thread, `rate` and what the pointers lead to
 * is the thread's; the rest is constant.  `mutex` guards `cancelled`.
 */
struct dirty_rate {
	struct vm *vm;
	struct dirty_rate_config config;
	int64_t start_ms;
	pthread_t thread;

	size_t nr_samples;
	struct sample *sample;
	uint64_t *bitmap;               /* room for that of the largest part; NULL: sampling */
	int64_t rate;
	_Atomic bool done;

	pthread_mutex_t mutex;
	pthread_cond_t cond;            /* CLOCK_MONOTONIC */
	bool cancelled;
};

const char *dirty_rate_status_name(enum dirty_rate_status status)
{
	static const char *const names[] = {
		[DIRTY_RATE_UNSTARTED] = "unstarted", [DIRTY_RATE_MEASURING] = "measuring",
		[DIRTY_RATE_MEASURED] = "measured",
	};

	return names[status];
}

const char *dirty_rate_mode_name(enum dirty_rate_mode mode)
{
	return mode == DIRTY_RATE_PAGE_SAMPLING ? "page-sampling" : "dirty-bitmap";
}

/* ---- the thread ---- */

/* False when it was cancelled. */
static bool wait_until(struct dirty_rate *d, int64_t ns)
{
	struct timespec end = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	bool cancelled;
	int rc = 0;

	pthread_mutex_lock(&d->mutex);
	while (!d->cancelled && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&d->cond, &d->mutex, &end);
	cancelled = d->cancelled;
	pthread_mutex_unlock(&d->mutex);
	return !cancelled;
}

/*
 * The guest, or whoever changes its memory, may write to the page meanwhile, and any mixture of old
 * and new bytes will do.
 */
__attribute__((no_sanitize("thread")))
static uint32_t hash_page(const uint8_t *page)
{
	const volatile uint64_t *from = (const volatile uint64_t *)(const void *)page;
	uint64_t copy[MEMORY_PAGE / sizeof(uint64_t)];

	for (size_t i = 0; i < sizeof(copy) / sizeof(copy[0]); i++)
		copy[i] = from[i];
	return crc32c(0, copy, sizeof(copy));
}

/* So many bytes in so many nanoseconds, in MiB a second. */
static int64_t rate_of(double bytes, int64_t ns)
{
	return (int64_t)(bytes / (1 << 20) * 1e9 / (double)(ns > 0 ? ns : 1));
}

static int64_t measure_samples(struct dirty_rate *d)
{
	int64_t start;
	uint64_t changed = 0;

	for (size_t i = 0; i < d->nr_samples; i++)
		d->sample[i].hash = hash_page(d->sample[i].page);
	start = clock_ns(CLOCK_MONOTONIC);
	if (!wait_until(d, start + d->config.milliseconds * NS_PER_MS))
		return -1;
	for (size_t i = 0; i < d->nr_samples; i++)
		changed += hash_page(d->sample[i].page) != d->sample[i].hash;
	return rate_of((double)d->vm->memory.size * (double)changed / (double)d->nr_samples,
		       clock_ns(CLOCK_MONOTONIC) - start);
}

/* How many pages were written to since the last time, which is forgotten by that. */
static int count_dirty(struct dirty_rate *d, uint64_t *pages, struct error *err)
{
	const struct memory *memory = &d->vm->memory;

	*pages = 0;
	for (unsigned int i = 0; i < memory->nr_parts; i++) {
		struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = d->bitmap };
		size_t words = (memory->part[i].size / MEMORY_PAGE + 63) / 64;

		/* The kernel leaves the bitmap alone where it has nothing to tell. */
		memset(d->bitmap, 0, words * sizeof(*d->bitmap));
		if (kvm_call(&d->vm->handle, KVM_REQ_GET_DIRTY_LOG, &log, err) < 0)
			return -1;
		for (size_t word = 0; word < words; word++)
			*pages += (unsigned int)__builtin_popcountll(d->bitmap[word]);
	}
	return 0;
}

static int64_t measure_log(struct dirty_rate *d)
{
	struct error err;
	uint64_t pages;
	int64_t start;

	/* What was noted before anybody looked, the whole of memory on some hosts, does not count. */
	if (count_dirty(d, &pages, &err) < 0)
		goto fail;
	start = clock_ns(CLOCK_MONOTONIC);
	if (!wait_until(d, start + d->config.milliseconds * NS_PER_MS))
		return -1;
	if (count_dirty(d, &pages, &err) < 0)
		goto fail;
	return rate_of((double)pages * MEMORY_PAGE, clock_ns(CLOCK_MONOTONIC) - start);

fail:
	log_error("the dirty rate can not be measured: %s", err.text);
	return -1;
}

/* Switches the noting of writes for parts below `end` on or off. */
static int set_logging(struct vm *vm, unsigned int end, bool on, struct error *err)
{
	for (unsigned int i = 0; i < end; i++) {
		struct kvm_userspace_memory_region region = vm_memory_region(vm, i);

		if (on)
			region.flags = KVM_MEM_LOG_DIRTY_PAGES;
		if (kvm_call(&vm->handle, KVM_REQ_SET_USER_MEMORY_REGION, &region, err) < 0) {
			if (on)
				set_logging(vm, i, false, NULL);
			return -1;
		}
	}
	return 0;
}

static void *run(void *opaque)
{
	struct dirty_rate *d = opaque;
	struct error err;

	/* The event loop comes before everything; this does not. */
	setpriority(PRIO_PROCESS, 0, 0);
	d->rate = d->bitmap ? measure_log(d) : measure_samples(d);
	if (d->bitmap && set_logging(d->vm, d->vm->memory.nr_parts, false, &err) < 0)
		log_warning("the guest's writes are noted on: %s", err.text);
	atomic_store(&d->done, true);
	return NULL;
}

/* ---- the owner ---- */

static void dirty_rate_free(struct dirty_rate *d)
{
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->mutex);
	free(d->sample);
	free(d->bitmap);
	free(d);
}

static struct dirty_rate *dirty_rate_new(struct vm *vm, const struct dirty_rate_config *config)
{
	struct dirty_rate *d = calloc(1, sizeof(*d));
	pthread_condattr_t attr;

	if (!d)
		return NULL;
	d->vm = vm;
	d->config = *config;
	d->start_ms = clock_ns(CLOCK_MONOTONIC) / NS_PER_MS;
	pthread_mutex_init(&d->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->cond, &attr);
	pthread_condattr_destroy(&attr);
	return d;
}

/* Pages by chance, some maybe twice. */
static int choose_samples(struct dirty_rate *d, struct error *err)
{
	const struct memory *memory = &d->vm->memory;
	uint64_t pages = memory->size / MEMORY_PAGE, random = 0;

	d->nr_samples = (size_t)((double)memory->size * d->config.sample_pages / (double)GIB);
	if (!d->nr_samples)
		d->nr_samples = 1;
	d->sample = calloc(d->nr_samples, sizeof(*d->sample));
	if (!d->sample)
		return error_errno(err, ENOMEM, "%zu sample pages", d->nr_samples);
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint64_t)d->start_ms;
	for (size_t i = 0; i < d->nr_samples; i++) {
		/* The high bits of a multiplicative generator are good enough for this. */
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		d->sample[i].page = memory->host + (random >> 11) % pages * MEMORY_PAGE;
	}
	return 0;
}

static int start_logging(struct dirty_rate *d, struct error *err)
{
	const struct memory *memory = &d->vm->memory;
	uint64_t largest = 0;

	for (unsigned int i = 0; i < memory->nr_parts; i++)
		if (memory->part[i].size > largest)
			largest = memory->part[i].size;
	d->bitmap = calloc((largest / MEMORY_PAGE + 63) / 64, sizeof(*d->bitmap));
	if (!d->bitmap)
		return error_errno(err, ENOMEM, "the bitmap of the dirty rate");
	return set_logging(d->vm, memory->nr_parts, true, err);
}

static bool measuring(const struct dirty_rate *d)
{
	return d && !atomic_load(&d->done);
}

static int start(struct dirty_rate *d, struct error *err)
{
	int rc = d->config.mode == DIRTY_RATE_DIRTY_BITMAP ? start_logging(d, err) :
							     choose_samples(d, err);

	if (rc < 0)
		return -1;
	rc = pthread_create(&d->thread, NULL, run, d);
	if (rc) {
		if (d->bitmap)
			set_logging(d->vm, d->vm->memory.nr_parts, false, NULL);
		return error_errno(err, rc, "the thread that measures the dirty rate");
	}
	return 0;
}

int vm_dirty_rate_start(struct vm *vm, const struct dirty_rate_config *config, struct error *err)
{
	struct dirty_rate *d;

	if (measuring(vm->dirty_rate))
		return error_set(err, EBUSY, "the dirty rate is already being measured.");
	/* RAM may be replaced at any moment. */
	if (vm->state == RUN_STATE_INMIGRATE)
		return error_set(err, EBUSY, "the machine waits for incoming state, and nothing writes "
				 "to its memory");
	d = dirty_rate_new(vm, config);
	if (!d)
		return error_errno(err, ENOMEM, "the dirty rate");
	if (start(d, err) < 0) {
		dirty_rate_free(d);
		return -1;
	}
	vm_dirty_rate_end(vm);
	vm->dirty_rate = d;
	return 0;
}

void vm_dirty_rate_end(struct vm *vm)
{
	struct dirty_rate *d = vm->dirty_rate;

	if (!d)
		return;
	pthread_mutex_lock(&d->mutex);
	d->cancelled = true;
	pthread_cond_signal(&d->cond);
	pthread_mutex_unlock(&d->mutex);
	pthread_join(d->thread, NULL);
	dirty_rate_free(d);
	vm->dirty_rate = NULL;
}

void vm_dirty_rate_info(const struct vm *vm, struct dirty_rate_info *info)
{
	const struct dirty_rate *d = vm->dirty_rate;

	*info = (struct dirty_rate_info) { .status = DIRTY_RATE_UNSTARTED, .rate = -1 };
	if (!d)
		return;
	info->status = measuring(d) ? DIRTY_RATE_MEASURING : DIRTY_RATE_MEASURED;
	info->config = d->config;
	info->start_ms = d->start_ms;
	if (info->status == DIRTY_RATE_MEASURED)
		info->rate = d->rate;
}
