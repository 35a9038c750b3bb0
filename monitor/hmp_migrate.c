/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "monitor/monitor_internal.h"

/*
 * As in QEMU: the text monitor waits for the end, unless there is -d, and who calls it by
 * human-monitor-command does not.
 */
void hmp_migrate(struct hmp *hmp, const struct hmp_args *args)
{
	struct migrate *m = &hmp->monitor->migrate;
	bool detach = hmp_has_flag(args, 'd'), waits;
	struct error err;

	if (migrate_check_options(hmp_has_flag(args, 'r'), hmp_has_flag(args, 'b'),
				  hmp_has_flag(args, 'i'), &err) == -1) {
		hmp_print_error(hmp, &err);
		return;
	}
	waits = !detach && !hmp->call && migrate_wait(m, hmp);
	if (migrate_out(m, &hmp->client->names, args->string, &err) == -1) {
		/* If the end has come, and been told, nobody waits any more. */
		if (waits && m->waiting)
			migrate_give_up_waiting(m, &err);
		else if (!waits)
			hmp_print_error(hmp, &err);
	} else if (!detach && !waits) {
		text_printf(hmp->out, "terminal does not allow synchronous migration, "
			    "continuing detached\n");
	}
}

void hmp_migrate_cancel(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	migrate_cancel(&hmp->monitor->migrate);
}

void hmp_migrate_incoming(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (migrate_in(&hmp->monitor->migrate, &hmp->client->names, args->string, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_snapshot_save(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (migrate_snapshot(&hmp->monitor->migrate, args->string, hmp_has_flag(args, 's'),
			     &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_savevm(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (migrate_snapshot(&hmp->monitor->migrate, args->string, false, &err) == -1)
		hmp_print_error(hmp, &err);
	else
		migrate_wait(&hmp->monitor->migrate, hmp);
}

void hmp_loadvm(struct hmp *hmp, const struct hmp_args *args)
{
	text_printf(hmp->out, "A VM that exists can not become another: start one with vmond run --clone "
		    "%s\n", args->string);
}

void hmp_delvm(struct hmp *hmp, const struct hmp_args *args)
{
	text_printf(hmp->out, "A snapshot is a file, which nothing here keeps: remove %s where it is, "
		    "when no clone of it runs any more\n", args->string);
}

void hmp_info_snapshots(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "Snapshots are files, wherever savevm and snapshot_save were told to write "
		    "them; there is no list\n");
}

void hmp_migrate_set_capability(struct hmp *hmp, const struct hmp_args *args)
{
	if (strcmp(args->word, "events") == 0)
		hmp->monitor->migrate.events = args->on;
	else
		text_printf(hmp->out, "Error: invalid parameter value: %s\n", args->word);
}

/* Decimal, maybe with a fraction, then a letter for a power of 1024; without one it is 'M'. */
static int parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "BKMGTPE";
	unsigned long long whole;
	double fraction = 0;
	unsigned int shift = 20;
	const char *unit;
	char *end;

	errno = 0;
	whole = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || errno)
		return -1;
	if (*end == '.')
		fraction = strtod(end, &end);
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || end[1])
			return -1;
		shift = (unsigned int)(unit - units) * 10;
	}
	if (!(fraction < 1) || whole > UINT64_MAX >> shift)
		return -1;
	*size = (whole << shift) + (uint64_t)(fraction * (double)(1ULL << shift));
	return 0;
}

static int set_parameter(struct migrate *m, const char *name, const char *value, struct error *err)
{
	char *end;
	long level;

	if (strcmp(name, "max-bandwidth") == 0)
		return parse_size(value, &m->max_bandwidth) == 0 ? 0 :
		       error_set(err, EINVAL, "Invalid size %s", value);
	if (strcmp(name, "multifd-zstd-level") == 0) {
		level = strtol(value, &end, 10);
		if (migrate_check_zstd_level(*end ? 0 : level, err) == -1)
			return -1;
		m->zstd_level = (int)level;
		return 0;
	}
	if (strcmp(name, "multifd-compression") != 0)
		return error_set(err, EINVAL, "invalid parameter value: %s", name);
	if (strcmp(value, "none") == 0)
		m->compression = MIGRATE_COMPRESSION_NONE;
	else if (strcmp(value, "zstd") == 0)
		m->compression = MIGRATE_COMPRESSION_ZSTD;
	else
		return error_set(err, EINVAL, "Parameter 'multifd-compression' does not accept "
				 "value '%.200s'", value);
	return 0;
}

void hmp_migrate_set_parameter(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (set_parameter(&hmp->monitor->migrate, args->word, args->string, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_getfd(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (fd_names_receive(&hmp->client->names, args->word, &hmp->client->received, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_closefd(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (fd_names_close(&hmp->client->names, args->word, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_info_migrate(struct hmp *hmp, const struct hmp_args *args)
{
	struct migrate_report report;

	(void)args;
	migrate_report(&hmp->monitor->migrate, &report);
	migrate_print_report(&report, hmp->out);
}

void hmp_info_migrate_capabilities(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "events: %s\n", hmp->monitor->migrate.events ? "on" : "off");
}

void hmp_info_migrate_parameters(struct hmp *hmp, const struct hmp_args *args)
{
	const struct migrate *m = &hmp->monitor->migrate;

	(void)args;
	text_printf(hmp->out, "max-bandwidth: %" PRIu64 " bytes/second\n", m->max_bandwidth);
	text_printf(hmp->out, "multifd-compression: %s\n",
		    migrate_compression_name(m->compression));
	text_printf(hmp->out, "multifd-zstd-level: %d\n", m->zstd_level);
}
