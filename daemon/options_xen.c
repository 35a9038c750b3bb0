/* SPDX-License-Identifier: MIT */
#include "daemon/options_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of the version that the guest sees, unless it is given. */
#define VERSION_MAJOR   4
#define VERSION_MINOR   17

static const char *const keys[] = { "msr", "blob32", "blob64", "version", "path" };
enum key { KEY_MSR, KEY_BLOB32, KEY_BLOB64, KEY_VERSION, KEY_PATH, KEYS };

/* A number as C has them, but no octal one, up to `max`; the rest of the text in *end. */
static bool parse_number(const char *text, unsigned long max, unsigned long *value, char **end)
{
	int base = text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10;

	if (!isdigit((unsigned char)*text) || (base == 16 && !isxdigit((unsigned char)text[2])))
		return false;
	errno = 0;
	*value = strtoul(text, end, base);
	return errno == 0 && *value <= max;
}

static int set_msr(struct xen_hvm_config *config, const char *text, struct error *err)
{
	unsigned long value;
	char *end;

	if (!parse_number(text, UINT32_MAX, &value, &end) || *end)
		return error_set(err, EINVAL, "msr must be a number of 32 bits");
	config->msr = (uint32_t)value;
	return 0;
}

static int set_version(struct xen_hvm_config *config, const char *text, struct error *err)
{
	unsigned long major = 0, minor = 0;
	char *end;

	if (!parse_number(text, UINT16_MAX, &major, &end) || *end != '.' ||
	    !parse_number(end + 1, UINT16_MAX, &minor, &end) || *end)
		return error_set(err, EINVAL, "version must be two numbers, as in 4.17");
	config->major = (uint16_t)major;
	config->minor = (uint16_t)minor;
	return 0;
}

static int set_path(struct xen_hvm_config *config, const char *text, struct error *err)
{
	for (int path = XEN_HVM_PATH_KERNEL; path <= XEN_HVM_PATH_USER_SPACE; path++) {
		if (strcmp(text, xen_hvm_path_name(path)) == 0) {
			config->path = path;
			return 0;
		}
	}
	return error_set(err, EINVAL, "path must be kernel or user-space");
}

static int set_key(struct xen_hvm_config *config, enum key key, const char *value,
		   struct error *err)
{
	switch (key) {
	case KEY_MSR:
		return set_msr(config, value, err);
	case KEY_VERSION:
		return set_version(config, value, err);
	case KEY_PATH:
		return set_path(config, value, err);
	default:
		if (!*value)
			return error_set(err, EINVAL, "%s must name a file", keys[key]);
		config->blob[key == KEY_BLOB64] = value;
		return 0;
	}
}

/*
 * Cuts off what stands before the next comma; two commas are one that belongs to the value.  *text
 * is then what follows, NULL at the end.
 */
static char *cut(char **text)
{
	char *start = *text, *from = start, *to = start;

	for (; *from && (*from != ',' || from[1] == ','); from++) {
		if (*from == ',')
			from++;
		*to++ = *from;
	}
	*text = *from ? from + 1 : NULL;
	*to = '\0';
	return start;
}

int option_parse_xen_hvm(char *text, struct xen_hvm_config *config, struct error *err)
{
	bool given[KEYS] = { false };

	*config = (struct xen_hvm_config) {
		.msr = XEN_HVM_MSR_DEFAULT, .major = VERSION_MAJOR, .minor = VERSION_MINOR,
	};
	while (text) {
		char *name = cut(&text), *value = strchr(name, '=');
		enum key key = 0;

		if (value)
			*value++ = '\0';
		while (key < KEYS && strcmp(name, keys[key]) != 0)
			key++;
		if (key == KEYS || !value)
			return error_set(err, EINVAL, "'%s' is not one of msr=, blob32=, blob64=, "
					 "version= and path=", name);
		if (given[key])
			return error_set(err, EINVAL, "%s is given twice", name);
		given[key] = true;
		if (set_key(config, key, value, err) < 0)
			return -1;
	}
	return xen_hvm_check_config(config, err);
}

int option_check_xen_hvm(char *value, struct error *err)
{
	struct xen_hvm_config config;
	char *copy = strdup(value);
	int rc;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	rc = option_parse_xen_hvm(copy, &config, err);
	free(copy);
	return rc;
}
