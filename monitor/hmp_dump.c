/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "monitor/dirty_rate.h"
#include "monitor/dump.h"
#include "monitor/hmp_internal.h"

void hmp_dump_guest_memory(struct hmp *hmp, const struct hmp_args *args)
{
	int64_t begin = (int64_t)args->number[0], length = (int64_t)args->number[1];
	struct dump_config config = { .paging = hmp_has_flag(args, 'p') };
	char protocol[sizeof("file:") + sizeof(args->string)];
	struct qmp_pending *pending;
	struct error err;

	snprintf(protocol, sizeof(protocol), "file:%s", args->string);
	if (dump_set_filter(&config, args->nr_numbers > 0 ? &begin : NULL,
			    args->nr_numbers > 1 ? &length : NULL, &err) == -1 ||
	    dump_start(hmp->monitor, hmp->client, protocol, &config, &err) == -1) {
		hmp_print_error(hmp, &err);
		return;
	}
	if (hmp_has_flag(args, 'd'))
		return;
	pending = hmp_defer(hmp, dump_forget, hmp->monitor);
	if (pending)
		dump_await(hmp->monitor, pending);
}

void hmp_info_dump(struct hmp *hmp, const struct hmp_args *args)
{
	struct dump_info info;

	(void)args;
	vm_dump_info(hmp->vm, &info);
	text_printf(hmp->out, "Status: %s\n", dump_status_name(info.status));
	if (info.status == DUMP_ACTIVE)
		text_printf(hmp->out, "Finished: %.2f %%\n",
			    100.0 * (double)info.completed / (double)info.total);
}

void hmp_calc_dirty_rate(struct hmp *hmp, const struct hmp_args *args)
{
	bool ring = hmp_has_flag(args, 'r'), bitmap = hmp_has_flag(args, 'b');
	int64_t pages = (int64_t)args->number[0];
	struct error err;

	if (!args->index) {
		text_printf(hmp->out, "Incorrect period length specified!\n");
	} else if (ring && bitmap) {
		text_printf(hmp->out, "Either dirty ring or dirty bitmap can be specified!\n");
	} else if (dirty_rate_start(hmp->vm, args->index, ring ? "dirty-ring" : bitmap ?
				    "dirty-bitmap" : "page-sampling",
				    args->nr_numbers ? &pages : NULL, &err) == -1) {
		hmp_print_error(hmp, &err);
	} else {
		text_printf(hmp->out, "Starting dirty rate measurement with period %" PRIu32
			    " seconds\n[Please use 'info dirty_rate' to check results]\n",
			    args->index);
	}
}

void hmp_info_dirty_rate(struct hmp *hmp, const struct hmp_args *args)
{
	struct dirty_rate_info info;

	(void)args;
	vm_dirty_rate_info(hmp->vm, &info);
	/* QEMU says (ms) of what are seconds; here it is what it says. */
	text_printf(hmp->out, "Status: %s\nStart Time: %" PRId64 " (ms)\nSample Pages: %u (per GB)\n"
		    "Period: %u (sec)\nMode: %s\n", dirty_rate_status_name(info.status),
		    info.start_ms, dirty_rate_sample_pages(&info),
		    info.config.milliseconds / 1000, dirty_rate_mode_name(info.config.mode));
	if (info.rate >= 0)
		text_printf(hmp->out, "Dirty rate: %" PRId64 " (MB/s)\n", info.rate);
	else
		text_printf(hmp->out, "Dirty rate: (not ready)\n");
}
