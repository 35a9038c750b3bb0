/* SPDX-License-Identifier: MIT */
#include "monitor/dirty_rate.h"

#include <errno.h>
#include <string.h>

int dirty_rate_start(struct vm *vm, int64_t calc_time, const char *mode,
		     const int64_t *sample_pages, struct error *err)
{
	struct dirty_rate_config config = {
		.mode = strcmp(mode, "dirty-bitmap") == 0 ? DIRTY_RATE_DIRTY_BITMAP :
							    DIRTY_RATE_PAGE_SAMPLING,
		.sample_pages = DIRTY_RATE_SAMPLE_PAGES,
	};
	struct dirty_rate_info info;

	vm_dirty_rate_info(vm, &info);
	if (info.status == DIRTY_RATE_MEASURING)
		return error_set(err, EBUSY, "the dirty rate is already being measured.");
	if (calc_time < DIRTY_RATE_TIME_MIN || calc_time > DIRTY_RATE_TIME_MAX)
		return error_set(err, EINVAL, "calc-time is out of range[%d, %d].",
				 DIRTY_RATE_TIME_MIN, DIRTY_RATE_TIME_MAX);
	if (sample_pages && strcmp(mode, "dirty-ring") == 0)
		return error_set(err, EINVAL, "either sample-pages or dirty-ring can be specified.");
	if (sample_pages && (*sample_pages < DIRTY_RATE_SAMPLE_PAGES_MIN ||
			     *sample_pages > DIRTY_RATE_SAMPLE_PAGES_MAX))
		return error_set(err, EINVAL, "sample-pages is out of range[%d, %d].",
				 DIRTY_RATE_SAMPLE_PAGES_MIN, DIRTY_RATE_SAMPLE_PAGES_MAX);
	if (strcmp(mode, "dirty-ring") == 0)
		return error_set(err, ENOTSUP,
				 "mode dirty-ring is not enabled, use other method instead.");
	config.milliseconds = (unsigned int)calc_time * 1000;
	if (sample_pages)
		config.sample_pages = (unsigned int)*sample_pages;
	return vm_dirty_rate_start(vm, &config, err);
}

unsigned int dirty_rate_sample_pages(const struct dirty_rate_info *info)
{
	/* A bitmap samples nothing; that it has been told so all the same is shown until then. */
	return info->status == DIRTY_RATE_MEASURED &&
	       info->config.mode != DIRTY_RATE_PAGE_SAMPLING ? 0 : info->config.sample_pages;
}
