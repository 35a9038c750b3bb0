/* SPDX-License-Identifier: MIT */
#include "daemon/chardevs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each takes descriptors. */
#define ADDED_MAX       64

struct added_chardev {
	TAILQ_ENTRY(added_chardev) link;
	char label[CHARDEV_LABEL_SIZE];
	char name[sizeof("chardev ") + CHARDEV_LABEL_SIZE];
	char *address;
	struct chardev *chardev;
};

/* There is no guest behind it: what arrives is not read, and the sender notices in time. */
static size_t take_nothing(void *opaque, const uint8_t *bytes, size_t len)
{
	(void)opaque;
	(void)bytes;
	(void)len;
	return 0;
}

/* Nobody sends anything, so that there never is anything to do. */
static void ignore(void *opaque)
{
	(void)opaque;
}

static void free_added(struct added_chardev *c)
{
	chardev_free(c->chardev);
	free(c->address);
	free(c);
}

static void describe(const struct added_chardev *c, struct chardev_info *info)
{
	*info = (struct chardev_info){ .frontend_open = false };
	memcpy(info->label, c->label, sizeof(info->label));
	chardev_describe(c->chardev, info);
}

/* The address that chardev_new() takes; NULL when memory has run out. */
static char *make_address(const struct chardev_request *request)
{
	const char *backend = strcmp(request->backend, "socket") ? request->backend : "unix";
	char *address;

	if (!request->path)
		return strdup(backend);
	return asprintf(&address, "%s:%s", backend, request->path) < 0 ? NULL : address;
}

/* QEMU's texts, where it is about a file; what there is to say beyond the errno value stays. */
static int describe_failure(const struct chardev_request *request, struct error *err)
{
	bool says_more = err->code == EADDRINUSE || err->code == EEXIST ||
			 err->code == ENAMETOOLONG || err->code == ENOMEM;

	if (!request->path || !*request->path)
		;
	else if (strcmp(request->backend, "file") == 0)
		error_set(err, err->code, "Could not open '%s': %s", request->path,
			  strerror(err->code));
	else if (says_more)
		error_prefix(err, "Failed to bind socket to %s", request->path);
	else
		error_set(err, err->code, "Failed to bind socket to %s: %s", request->path,
			  strerror(err->code));
	return error_prefix(err, "Failed to add chardev '%s'", request->label);
}

static int open_added(struct chardevs *chardevs, struct added_chardev *c,
		      const struct chardev_request *request, struct error *err)
{
	const struct chardev_config config = {
		.address = c->address,
		.name = c->name,
		.append = request->append,
		.base = chardevs->base,
		.receive = take_nothing,
		.quit = ignore,
		.wake = ignore,
	};

	c->chardev = chardev_new(&config, err);
	if (c->chardev && chardev_start(c->chardev, err) == 0)
		return 0;
	return describe_failure(request, err);
}

static int add(void *opaque, const struct chardev_request *request, struct chardev_info *info,
	       struct error *err)
{
	struct chardevs *chardevs = opaque;
	struct added_chardev *c;

	if (chardevs->nr_added == ADDED_MAX)
		return error_set(err, EMFILE, "Failed to add chardev '%s': there are %d already; "
				 "remove one", request->label, ADDED_MAX);
	c = calloc(1, sizeof(*c));
	if (!c || !(c->address = make_address(request))) {
		free(c);
		return error_set(err, ENOMEM, "out of memory for chardev '%s'", request->label);
	}
	snprintf(c->label, sizeof(c->label), "%s", request->label);
	snprintf(c->name, sizeof(c->name), "chardev %s", c->label);
	if (open_added(chardevs, c, request, err) < 0) {
		free_added(c);
		return -1;
	}
	TAILQ_INSERT_TAIL(&chardevs->added, c, link);
	chardevs->nr_added++;
	describe(c, info);
	return 0;
}

static bool get(void *opaque, unsigned int n, struct chardev_info *info)
{
	struct chardevs *chardevs = opaque;
	const struct added_chardev *c;

	if (n == 0) {
		*info = (struct chardev_info){ .frontend_open = true };
		snprintf(info->label, sizeof(info->label), "%s", chardevs->serial_label);
		chardev_describe(chardevs->serial, info);
		return true;
	}
	TAILQ_FOREACH(c, &chardevs->added, link) {
		if (--n > 0)
			continue;
		describe(c, info);
		return true;
	}
	return false;
}

static void remove_label(void *opaque, const char *label)
{
	struct chardevs *chardevs = opaque;
	struct added_chardev *c;

	TAILQ_FOREACH(c, &chardevs->added, link)
		if (strcmp(c->label, label) == 0)
			break;
	if (!c)
		return;
	TAILQ_REMOVE(&chardevs->added, c, link);
	chardevs->nr_added--;
	free_added(c);
}

void chardevs_init(struct chardevs *chardevs, struct event_base *base,
		   const struct chardev *serial, const char *label)
{
	*chardevs = (struct chardevs){
		.calls = { .get = get, .add = add, .remove = remove_label, .opaque = chardevs },
		.base = base,
		.serial = serial,
		.serial_label = label,
	};
	TAILQ_INIT(&chardevs->added);
}

void chardevs_free(struct chardevs *chardevs)
{
	struct added_chardev *c;

	while ((c = TAILQ_FIRST(&chardevs->added))) {
		TAILQ_REMOVE(&chardevs->added, c, link);
		free_added(c);
	}
}
