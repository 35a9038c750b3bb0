/* SPDX-License-Identifier: MIT */
#include "monitor/migrate.h"

#include <inttypes.h>

#include "monitor/migrate_channel.h"

const char *migrate_compression_name(enum migrate_compression compression)
{
	return compression == MIGRATE_COMPRESSION_ZSTD ? "zstd" : "none";
}

/*
 * The machine does not run while its state is moved, so that the downtime to expect is the time
 * that it takes: what has gone by, and what is left at the rate so far.
 */
static uint64_t expected_ms(const struct migration_info *info)
{
	uint64_t moved = info->ram_total - info->ram_remaining;
	double left = 0;

	if (info->ram_remaining && moved)
		left = (double)info->ram_remaining / (double)moved * (double)info->total_ms;
	return info->total_ms + (uint64_t)left;
}

void migrate_report(const struct migrate *m, struct migrate_report *report)
{
	struct migration_info *info = &report->info;
	uint64_t ms;

	*report = (struct migrate_report){ .listener = m->listener };
	vm_migration_info(m->vm, info);
	report->has_ram = info->status == MIGRATION_ACTIVE ||
			  info->status == MIGRATION_CANCELLING ||
			  info->status == MIGRATION_COMPLETED;
	report->expected_downtime_ms = expected_ms(info);
	ms = info->total_ms > info->setup_ms ? info->total_ms - info->setup_ms : 0;
	if (ms && info->status != MIGRATION_COMPLETED)
		report->pages_per_second = (info->zero_pages + info->normal_pages) * 1000 / ms;
}

static void print_ram(const struct migrate_report *report, struct text *out)
{
	const struct migration_info *info = &report->info;

	text_printf(out, "transferred ram: %" PRIu64 " kbytes\n", info->transferred >> 10);
	text_printf(out, "throughput: %0.2f mbps\n", info->mbps);
	text_printf(out, "remaining ram: %" PRIu64 " kbytes\n", info->ram_remaining >> 10);
	text_printf(out, "total ram: %" PRIu64 " kbytes\n", info->ram_total >> 10);
	text_printf(out, "duplicate: %" PRIu64 " pages\n", info->zero_pages);
	text_printf(out, "skipped: 0 pages\n");
	text_printf(out, "normal: %" PRIu64 " pages\n", info->normal_pages);
	text_printf(out, "normal bytes: %" PRIu64 " kbytes\n", info->normal_pages * 4);
	text_printf(out, "dirty sync count: 1\npage size: 4 kbytes\nmultifd bytes: 0 kbytes\n");
	text_printf(out, "pages-per-second: %" PRIu64 "\n", report->pages_per_second);
	text_printf(out, "downtime ram: %" PRIu64 " kbytes\n", info->transferred >> 10);
}

static void print_listener(const struct migrate_listener *listener, struct text *out)
{
	const char *path = migrate_listener_path(listener);
	struct tcp_address address;
	bool ipv6;

	text_printf(out, "socket address: [\n");
	if (path) {
		text_printf(out, "\tunix:%s\n", path);
	} else {
		migrate_listener_tcp(listener, &address, &ipv6);
		text_printf(out, "\ttcp:%s%s%s:%s\n", ipv6 ? "[" : "", address.host,
			    ipv6 ? "]" : "", address.port);
	}
	text_printf(out, "]\n");
}

void migrate_print_report(const struct migrate_report *report, struct text *out)
{
	const struct migration_info *info = &report->info;

	if (info->blocked)
		text_printf(out, "Outgoing migration blocked:\n  %s\n", info->blocked);
	if (info->status != MIGRATION_NONE) {
		text_printf(out, "Migration status: %s", migration_status_name(info->status));
		if (info->status == MIGRATION_FAILED && info->error)
			text_printf(out, " (%s)", info->error);
		text_printf(out, "\ntotal time: %" PRIu64 " ms\n",
			    report->has_ram ? info->total_ms : 0);
	}
	if (report->has_ram) {
		if (info->status == MIGRATION_COMPLETED)
			text_printf(out, "downtime: %" PRIu64 " ms\n", info->downtime_ms);
		else
			text_printf(out, "expected downtime: %" PRIu64 " ms\n",
				    report->expected_downtime_ms);
		text_printf(out, "setup: %" PRIu64 " ms\n", info->setup_ms);
		print_ram(report, out);
	}
	if (report->listener)
		print_listener(report->listener, out);
}
