/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "monitor/migrate_channel.h"
#include "monitor/monitor_internal.h"

static bool is_true(const struct qmp_call *call, const char *argument)
{
	const struct json_value *value = json_get(call->arguments, argument);

	return value && value->boolean;
}

int qmp_migrate(struct qmp_call *call)
{
	if (migrate_check_options(is_true(call, "resume"), is_true(call, "blk"),
				  is_true(call, "inc"), &call->error) < 0)
		return -1;
	return migrate_out(&call->monitor->migrate, &call->client->names,
			   json_get(call->arguments, "uri")->string.bytes, &call->error);
}

int qmp_migrate_incoming(struct qmp_call *call)
{
	return migrate_in(&call->monitor->migrate, &call->client->names,
			  json_get(call->arguments, "uri")->string.bytes, &call->error);
}

int qmp_migrate_cancel(struct qmp_call *call)
{
	migrate_cancel(&call->monitor->migrate);
	return 0;
}

int qmp_snapshot_save(struct qmp_call *call)
{
	return migrate_snapshot(&call->monitor->migrate,
				json_get(call->arguments, "filename")->string.bytes,
				is_true(call, "stay"), &call->error);
}

int qmp_migrate_set_capabilities(struct qmp_call *call)
{
	const struct json_value *list = json_get(call->arguments, "capabilities");

	/* There is one, "events", and no other has passed the check. */
	for (size_t i = 0; i < list->array.count; i++)
		call->monitor->migrate.events = json_get(&list->array.item[i], "state")->boolean;
	return 0;
}

int qmp_query_migrate_capabilities(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	json_write_object(w, NULL);
	json_write_bool(w, "state", call->monitor->migrate.events);
	json_write_string(w, "capability", "events");
	json_write_object_end(w);
	json_write_array_end(w);
	return 0;
}

int qmp_migrate_set_parameters(struct qmp_call *call)
{
	const struct json_value *bandwidth = json_get(call->arguments, "max-bandwidth");
	const struct json_value *compression = json_get(call->arguments, "multifd-compression");
	const struct json_value *level = json_get(call->arguments, "multifd-zstd-level");
	struct migrate *m = &call->monitor->migrate;

	if (level && migrate_check_zstd_level(level->integer, &call->error) < 0)
		return -1;
	if (bandwidth)
		m->max_bandwidth = bandwidth->type == JSON_UINT ? bandwidth->uinteger :
								  (uint64_t)bandwidth->integer;
	if (compression)
		m->compression = strcmp(compression->string.bytes, "zstd") == 0 ?
				 MIGRATE_COMPRESSION_ZSTD : MIGRATE_COMPRESSION_NONE;
	if (level)
		m->zstd_level = (int)level->integer;
	return 0;
}

int qmp_query_migrate_parameters(struct qmp_call *call)
{
	const struct migrate *m = &call->monitor->migrate;
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_uint(w, "max-bandwidth", m->max_bandwidth);
	json_write_string(w, "multifd-compression", migrate_compression_name(m->compression));
	json_write_int(w, "multifd-zstd-level", m->zstd_level);
	json_write_object_end(w);
	return 0;
}

/* Each page is sent once, while the machine is stopped: what QEMU counts beyond that is 0. */
static void write_ram(struct json_writer *w, const struct migrate_report *report)
{
	const struct migration_info *info = &report->info;

	json_write_object(w, "ram");
	json_write_uint(w, "total", info->ram_total);
	json_write_int(w, "postcopy-requests", 0);
	json_write_int(w, "dirty-sync-count", 1);
	json_write_int(w, "multifd-bytes", 0);
	json_write_uint(w, "pages-per-second", report->pages_per_second);
	json_write_uint(w, "downtime-bytes", info->transferred);
	json_write_int(w, "page-size", 4096);
	json_write_uint(w, "remaining", info->ram_remaining);
	json_write_int(w, "postcopy-bytes", 0);
	json_write_double(w, "mbps", info->mbps);
	json_write_uint(w, "transferred", info->transferred);
	json_write_int(w, "dirty-sync-missed-zero-copy", 0);
	json_write_int(w, "precopy-bytes", 0);
	json_write_uint(w, "duplicate", info->zero_pages);
	json_write_int(w, "dirty-pages-rate", 0);
	json_write_int(w, "skipped", 0);
	json_write_uint(w, "normal-bytes", info->normal_pages * 4096);
	json_write_uint(w, "normal", info->normal_pages);
	json_write_object_end(w);
}

static void write_listener(struct json_writer *w, const struct migrate_listener *listener)
{
	const char *path = migrate_listener_path(listener);
	struct tcp_address address;
	bool ipv6;

	json_write_array(w, "socket-address");
	json_write_object(w, NULL);
	if (path) {
		json_write_string(w, "path", path);
	} else {
		migrate_listener_tcp(listener, &address, &ipv6);
		json_write_string(w, "port", address.port);
		json_write_bool(w, ipv6 ? "ipv6" : "ipv4", true);
		json_write_string(w, "host", address.host);
	}
	json_write_string(w, "type", path ? "unix" : "inet");
	json_write_object_end(w);
	json_write_array_end(w);
}

int qmp_query_migrate(struct qmp_call *call)
{
	struct json_writer *w = call->reply;
	struct migrate_report report;
	const struct migration_info *info = &report.info;

	migrate_report(&call->monitor->migrate, &report);
	json_write_object(w, "return");
	if (info->status != MIGRATION_NONE)
		json_write_string(w, "status", migration_status_name(info->status));
	if (report.has_ram) {
		json_write_uint(w, "setup-time", info->setup_ms);
		if (info->status == MIGRATION_COMPLETED)
			json_write_uint(w, "downtime", info->downtime_ms);
		else
			json_write_uint(w, "expected-downtime", report.expected_downtime_ms);
		json_write_uint(w, "total-time", info->total_ms);
		write_ram(w, &report);
	}
	if (info->status == MIGRATION_FAILED && info->error)
		json_write_string(w, "error-desc", info->error);
	if (info->blocked) {
		json_write_array(w, "blocked-reasons");
		json_write_string(w, NULL, info->blocked);
		json_write_array_end(w);
	}
	if (report.listener)
		write_listener(w, report.listener);
	json_write_object_end(w);
	return 0;
}
