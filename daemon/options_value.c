/* SPDX-License-Identifier: MIT */
#include "daemon/options_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chardev.h"
#include "monitor/address.h"
#include "monitor/monitor.h"
#include "vmm/cpu_model.h"
#include "vmm/cpu_topology.h"

#define MAX_CPUS 1024
#define PAGE_BYTES 4096

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

/*
 * Decimal digits, at least one.  Returns what follows them, NULL if there are none.  A number that
 * is too large becomes UINT64_MAX.
 */
static const char *parse_digits(const char *s, uint64_t *value)
{
	if (!isdigit((unsigned char)*s))
		return NULL;
	for (*value = 0; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*s - '0'), value))
			*value = UINT64_MAX;
	return s;
}

static int parse_cpus(unsigned int *cpus, const char *text, struct error *err)
{
	uint64_t value = 0;
	const char *end = parse_digits(text, &value);

	if (!end || *end || value < 1 || value > MAX_CPUS)
		return error_set(err, EINVAL, "must be a number from 1 to %d", MAX_CPUS);
	*cpus = value;
	return 0;
}

static int parse_size(uint64_t *size, const char *text, struct error *err)
{
	static const char suffixes[] = "KMGT";
	uint64_t value = 0;
	const char *end = parse_digits(text, &value), *suffix = NULL;

	if (end && *end)
		suffix = strchr(suffixes, toupper((unsigned char)*end));
	if (!end || (*end && (!suffix || end[1])))
		return error_set(err, EINVAL,
				 "must be a number, with a suffix K, M, G or T if not in bytes");
	if (suffix && __builtin_mul_overflow(value, 1ULL << (suffix - suffixes + 1) * 10, &value))
		value = UINT64_MAX;
	if (value == UINT64_MAX)
		return error_set(err, EINVAL, "is too large");
	if (!value || value % PAGE_BYTES)
		return error_set(err, EINVAL, "must be a multiple of 4K above 0%s",
				 suffix ? "" : " (without a suffix it is in bytes)");
	*size = value;
	return 0;
}

static int parse_level(enum log_level *level, const char *text, struct error *err)
{
	size_t i;

	for (i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = i;
			return 0;
		}
	}
	return error_set(err, EINVAL, "must be error, warning, info or debug");
}

static int parse_flag(bool *flag, const char *text, struct error *err)
{
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return error_set(err, EINVAL, "must be on or off");
	*flag = strcmp(text, "on") == 0;
	return 0;
}

/* A copy of `text`, checked; NULL on failure. */
static char *parse_string(const struct option_spec *spec, const char *text, struct error *err)
{
	char *copy = strdup(text);

	if (!copy) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (spec->check && spec->check(copy, err) < 0) {
		free(copy);
		return NULL;
	}
	return copy;
}

static int set_string(char **field, const struct option_spec *spec, const char *text,
		      struct error *err)
{
	char *copy = parse_string(spec, text, err);

	if (!copy)
		return -1;
	free(*field);
	*field = copy;
	return 0;
}

static int add_to_list(struct option_list *list, const struct option_spec *spec, const char *text,
		       struct error *err)
{
	char **item, *copy = parse_string(spec, text, err);

	if (!copy)
		return -1;
	item = reallocarray(list->item, list->count + 1, sizeof(*item));
	if (!item) {
		free(copy);
		return error_set(err, ENOMEM, "out of memory");
	}
	list->item = item;
	list->item[list->count++] = copy;
	return 0;
}

int option_set(struct options *options, const struct option_spec *spec, const char *value,
	       struct error *err)
{
	void *field = (char *)options + spec->field;

	switch (spec->type) {
	case OPTION_FLAG:
		return parse_flag(field, value, err);
	case OPTION_STRING:
		return set_string(field, spec, value, err);
	case OPTION_LIST:
		return add_to_list(field, spec, value, err);
	case OPTION_CPUS:
		return parse_cpus(field, value, err);
	case OPTION_SIZE:
		return parse_size(field, value, err);
	case OPTION_LEVEL:
		return parse_level(field, value, err);
	}
	return error_set(err, EINVAL, "has no type");
}

int option_check_file(char *value, struct error *err)
{
	return *value ? 0 : error_set(err, EINVAL, "must name a file");
}

/* It stands in log lines and replies. */
int option_check_name(char *value, struct error *err)
{
	size_t i, len = strlen(value);

	for (i = 0; i < len && !iscntrl((unsigned char)value[i]); i++)
		;
	if (i < len || len < 1 || len > 255)
		return error_set(err, EINVAL,
				 "must have 1 to 255 bytes and no control characters");
	return 0;
}

int option_check_uuid(char *value, struct error *err)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i;

	for (i = 0; value[i] && form[i]; i++) {
		if (form[i] == 'x' ? !isxdigit((unsigned char)value[i]) : value[i] != form[i])
			break;
		value[i] = tolower((unsigned char)value[i]);
	}
	if (value[i] || form[i])
		return error_set(err, EINVAL, "must have the form %s, in hexadecimal", form);
	return 0;
}

int option_check_generation_id(char *value, struct error *err)
{
	if (strcmp(value, "auto") == 0)
		return 0;
	if (option_check_uuid(value, NULL) < 0)
		return error_set(err, EINVAL, "must be auto, or have the form of a UUID");
	return 0;
}

int option_check_monitor(char *value, struct error *err)
{
	struct monitor_address address;

	return monitor_address_parse(&address, value, err);
}

int option_check_monitor_allow(char *value, struct error *err)
{
	struct access_list list = { 0 };

	return access_add(&list, value, err);
}

int option_check_serial(char *value, struct error *err)
{
	return chardev_check_address(value, err);
}

/* The names that monitors have are theirs alone. */
int option_check_serial_id(char *value, struct error *err)
{
	size_t i, len = strlen(value);

	for (i = 0; i < len && !iscntrl((unsigned char)value[i]) && value[i] != '/'; i++)
		;
	if (i < len || len < 1 || len >= CHARDEV_LABEL_SIZE)
		return error_set(err, EINVAL, "must have 1 to %d bytes, and no control characters "
				 "or slashes", CHARDEV_LABEL_SIZE - 1);
	if (strncmp(value, MONITOR_LABEL_PREFIX, strlen(MONITOR_LABEL_PREFIX)) == 0)
		return error_set(err, EINVAL, "names that begin with " MONITOR_LABEL_PREFIX
				 " are those of monitors");
	return 0;
}

int option_check_smp(char *value, struct error *err)
{
	struct cpu_topology topology;

	return cpu_topology_parse(value, &topology, err);
}

int option_check_cpu(char *value, struct error *err)
{
	struct cpu_config config;

	return cpu_model_parse(value, &config, err);
}
