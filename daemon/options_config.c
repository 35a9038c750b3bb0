/* SPDX-License-Identifier: MIT */
#include "daemon/options_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONFIG (1 << 20)

/* What a key takes, for the error line. */
static const char *const expected[] = {
	[OPTION_FLAG] = "true or false",
	[OPTION_STRING] = "a string",
	[OPTION_LIST] = "a string or an array of strings",
	[OPTION_CPUS] = "a whole number",
	[OPTION_SIZE] = "a whole number or a string",
	[OPTION_LEVEL] = "a string",
};

/* One value that stands for itself; the text that the command line would have for it. */
static enum options_result set_scalar(struct options *options, const char *path,
				      const struct option_spec *spec, const json_t *value,
				      struct error *err)
{
	bool number = spec->type == OPTION_CPUS || spec->type == OPTION_SIZE;
	char digits[32];
	const char *text;
	struct error reason;

	if (json_is_boolean(value) && spec->type == OPTION_FLAG) {
		text = json_is_true(value) ? "on" : "off";
	} else if (json_is_integer(value) && number) {
		snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		text = digits;
	} else if (json_is_string(value) && spec->type != OPTION_FLAG) {
		text = json_string_value(value);
	} else {
		error_set(err, EINVAL, "%s: %s: must be %s", path, spec->name,
			  expected[spec->type]);
		return OPTIONS_USAGE;
	}
	if (option_set(options, spec, text, &reason) == 0)
		return OPTIONS_OK;
	error_set(err, reason.code, "%s: %s %s: %s", path, spec->name, text, reason.text);
	return reason.code == ENOMEM ? OPTIONS_FAILURE : OPTIONS_USAGE;
}

static enum options_result set_key(struct options *options, const char *path, const char *key,
				   const json_t *value, struct error *err)
{
	int i = option_find(key, strlen(key));
	enum options_result result = OPTIONS_OK;
	const struct option_spec *spec;
	size_t n;

	/* A file can not name another one. */
	if (i < 0 || option_specs[i].field == offsetof(struct options, config)) {
		error_set(err, EINVAL, "%s: %s: unknown key; see vmond run --help", path, key);
		return OPTIONS_USAGE;
	}
	spec = &option_specs[i];
	if (spec->type != OPTION_LIST || !json_is_array(value))
		return set_scalar(options, path, spec, value, err);
	for (n = 0; result == OPTIONS_OK && n < json_array_size(value); n++)
		result = set_scalar(options, path, spec, json_array_get(value, n), err);
	return result;
}

/* Reads the whole file; may be a pipe.  Returns a buffer of *len bytes, or NULL. */
static char *read_file(const char *path, size_t *len, struct error *err)
{
	char *text = NULL;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		error_errno(err, errno, "--config %s", path);
		return NULL;
	}
	text = malloc(MAX_CONFIG + 1);
	if (!text) {
		error_set(err, ENOMEM, "--config %s: out of memory", path);
		goto fail;
	}
	for (*len = 0; *len <= MAX_CONFIG; *len += n) {
		n = read(fd, text + *len, MAX_CONFIG + 1 - *len);
		if (n < 0) {
			error_errno(err, errno, "--config %s", path);
			goto fail;
		}
		if (n == 0) {
			close(fd);
			return text;
		}
	}
	error_set(err, EFBIG, "--config %s: larger than 1 MiB", path);
fail:
	free(text);
	close(fd);
	return NULL;
}

enum options_result options_read_config(struct options *options, const char *path,
					struct error *err)
{
	enum options_result result = OPTIONS_OK;
	json_error_t json_err;
	const char *key;
	json_t *root, *value;
	char *text;
	size_t len;

	text = read_file(path, &len, err);
	if (!text)
		return OPTIONS_FAILURE;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_err);
	free(text);
	if (!root) {
		error_set(err, EINVAL, "%s:%d:%d: %s", path, json_err.line, json_err.column,
			  json_err.text);
		return OPTIONS_USAGE;
	}
	if (!json_is_object(root)) {
		error_set(err, EINVAL, "%s: must hold a JSON object", path);
		result = OPTIONS_USAGE;
	}
	json_object_foreach(root, key, value) {
		result = set_key(options, path, key, value, err);
		if (result != OPTIONS_OK)
			break;
	}
	json_decref(root);
	return result;
}
