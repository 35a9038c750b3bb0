/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_DIRTY_RATE_H
#define MONITOR_DIRTY_RATE_H

#include "vmm/dirty_rate.h"

/* What QMP and HMP share of calc-dirty-rate. */

#define DIRTY_RATE_TIME_MIN             1       /* seconds */
#define DIRTY_RATE_TIME_MAX             60
#define DIRTY_RATE_SAMPLE_PAGES         512     /* for each GiB */
#define DIRTY_RATE_SAMPLE_PAGES_MIN     128
#define DIRTY_RATE_SAMPLE_PAGES_MAX     16384

/*
 * Checks arguments, in QEMU's words, and starts.  `mode` is a DirtyRateMeasureMode, `sample_pages`
 * NULL if not given.
 */
int dirty_rate_start(struct vm *vm, int64_t calc_time, const char *mode,
		     const int64_t *sample_pages, struct error *err);

/* The number of sample pages to show. */
unsigned int dirty_rate_sample_pages(const struct dirty_rate_info *info);

#endif
