/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "monitor/monitor_internal.h"

/* Character devices, for people. */

void hmp_info_chardev(struct hmp *hmp, const struct hmp_args *args)
{
	struct chardev_info info;

	(void)args;
	for (unsigned int n = 0; monitor_chardev(hmp->monitor, n, &info); n++)
		text_printf(hmp->out, "%s: filename=%s\n", info.label, info.filename);
}

/* What QEMU's notation "file,id=c1,path=/x" says.  Empty where it says nothing. */
struct wanted {
	char backend[PATH_MAX], id[PATH_MAX], path[PATH_MAX];
	char append[4], server[4], wait[4];
};

_Static_assert(sizeof(((struct hmp_args *)NULL)->string) <= PATH_MAX, "no piece is longer");

/* Takes what stands before the next comma; two commas stand for one. */
static void take_piece(const char **p, char piece[PATH_MAX])
{
	size_t len = 0;
	const char *s;

	for (s = *p; *s; s++) {
		if (*s == ',' && *++s != ',')
			break;
		piece[len++] = *s;
	}
	piece[len] = '\0';
	*p = s;
}

static int set_wanted(struct wanted *w, const char *key, size_t len, const char *value,
		      struct error *err)
{
	const struct {
		const char *name;
		char *field;
		size_t size;
	} keys[] = {
		{ "backend", w->backend, sizeof(w->backend) }, { "id", w->id, sizeof(w->id) },
		{ "path", w->path, sizeof(w->path) }, { "append", w->append, sizeof(w->append) },
		{ "server", w->server, sizeof(w->server) }, { "wait", w->wait, sizeof(w->wait) },
	};

	for (unsigned int i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strncmp(keys[i].name, key, len) != 0 || keys[i].name[len])
			continue;
		if (keys[i].size == sizeof(w->append) && strcmp(value, "on") && strcmp(value, "off"))
			return error_set(err, EINVAL, "Parameter '%s' expects 'on' or 'off'",
					 keys[i].name);
		memcpy(keys[i].field, value, strlen(value) + 1);
		return 0;
	}
	return error_set(err, EINVAL, "Invalid parameter '%.*s'", (int)len, key);
}

static int parse(const char *text, struct wanted *w, struct error *err)
{
	char piece[PATH_MAX];
	bool first = true;

	memset(w, 0, sizeof(*w));
	for (; *text; first = false) {
		const char *equals;
		int rc;

		take_piece(&text, piece);
		equals = strchr(piece, '=');
		if (equals)
			rc = set_wanted(w, piece, (size_t)(equals - piece), equals + 1, err);
		else if (first)
			rc = set_wanted(w, "backend", 7, piece, err);
		else
			rc = set_wanted(w, piece, strlen(piece), "on", err);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* QEMU's rule for names that people give. */
static bool is_identifier(const char *id)
{
	const char *p = id;

	while (isalnum((unsigned char)*p) || (*p && strchr("-._", *p)))
		p++;
	return isalpha((unsigned char)*id) && !*p;
}

/* Whether it says all that is needed, and nothing that can not be. */
static int check(const struct wanted *w, struct error *err)
{
	bool file = strcmp(w->backend, "file") == 0, socket = strcmp(w->backend, "socket") == 0;

	if (!*w->id)
		return error_set(err, EINVAL, "chardev: no id specified");
	if (!is_identifier(w->id))
		return error_set(err, EINVAL, "Parameter 'id' expects an identifier: letters, "
				 "digits, '-', '.', '_', starting with a letter");
	if (!*w->backend)
		return error_set(err, EINVAL, "chardev: \"%s\" missing backend", w->id);
	if (!file && !socket && strcmp(w->backend, "null") && strcmp(w->backend, "pty"))
		return error_set(err, EINVAL, "'%s' is not a valid char driver name", w->backend);
	if (file && !*w->path)
		return error_set(err, EINVAL, "chardev: file: no filename given");
	if (socket && !*w->path)
		return error_set(err, EINVAL, "chardev: socket: no path given");
	if (socket && strcmp(w->server, "on") != 0)
		return error_set(err, EINVAL, "chardev: socket: it can only listen here: give "
				 "server=on");
	if (socket && strcmp(w->wait, "on") == 0)
		return error_set(err, EINVAL, "chardev: socket: nobody is waited for: give "
				 "wait=off");
	return 0;
}

void hmp_chardev_add(struct hmp *hmp, const struct hmp_args *args)
{
	struct chardev_info info;
	struct wanted w;
	struct error err;
	struct chardev_request request;

	if (parse(args->string, &w, &err) < 0 || check(&w, &err) < 0) {
		hmp_print_error(hmp, &err);
		return;
	}
	request = (struct chardev_request){
		.label = w.id,
		.backend = w.backend,
		.path = *w.path ? w.path : NULL,
		.append = strcmp(w.append, "on") == 0,
	};
	if (monitor_chardev_add(hmp->monitor, &request, &info, &err) < 0)
		hmp_print_error(hmp, &err);
	else if (strncmp(info.filename, "pty:", 4) == 0)
		text_printf(hmp->out, "char device redirected to %s (label %s)\n",
			    info.filename + 4, info.label);
}

void hmp_chardev_remove(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	if (monitor_chardev_remove(hmp->monitor, args->string, &err) < 0)
		hmp_print_error(hmp, &err);
}
