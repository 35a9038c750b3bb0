/* SPDX-License-Identifier: MIT */
#ifndef VMM_DIRTY_RATE_H
#define VMM_DIRTY_RATE_H

#include <stdint.h>

#include "vmm/error.h"

struct vm;

/*
 * How fast the guest writes to its memory, measured for a while by a thread, with no vCPU stopped.
 *
 * Page sampling takes hashes of some pages and looks later how many have changed.  It costs next to
 * nothing, does not tell a page that was written with what it held, and counts what vmond itself
 * has written, too.  The dirty bitmap has the kernel note each page that vCPUs write to: exact, and
 * each first write to a page costs the guest an exit.
 *
 * Threads: the owner's.
 */
enum dirty_rate_status { DIRTY_RATE_UNSTARTED, DIRTY_RATE_MEASURING, DIRTY_RATE_MEASURED };
enum dirty_rate_mode { DIRTY_RATE_PAGE_SAMPLING, DIRTY_RATE_DIRTY_BITMAP };

/* "unstarted", "page-sampling": DirtyRateStatus and DirtyRateMeasureMode of QMP. */
const char *dirty_rate_status_name(enum dirty_rate_status status);
const char *dirty_rate_mode_name(enum dirty_rate_mode mode);

struct dirty_rate_config {
	enum dirty_rate_mode mode;
	unsigned int milliseconds;
	unsigned int sample_pages;      /* for each GiB of RAM */
};

struct dirty_rate_info {
	enum dirty_rate_status status;
	struct dirty_rate_config config;        /* of the last one; zero before the first */
	int64_t start_ms;               /* CLOCK_MONOTONIC when it was started */
	int64_t rate;                   /* MiB a second; -1: not measured */
};

/* Refused while one is being made: "the dirty rate is already being measured." */
int vm_dirty_rate_start(struct vm *vm, const struct dirty_rate_config *config, struct error *err);
void vm_dirty_rate_info(const struct vm *vm, struct dirty_rate_info *info);

#endif
