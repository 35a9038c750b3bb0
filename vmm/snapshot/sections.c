/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/sections.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 16

static struct section *find(const struct sections *s, const char *name)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (!strcmp(s->section[i].name, name))
			return &s->section[i];
	return NULL;
}

bool section_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len && len <= SECTION_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789/._-") == len;
}

static int check_new(const struct sections *s, const char *name, uint32_t version,
		     struct error *err)
{
	if (!section_name_valid(name))
		return error_set(err, EINVAL, "the name of a section has 1 to %d of the characters "
				 "a-z, 0-9 and \"/._-\"", SECTION_NAME_MAX);
	if (!strcmp(name, "ram") || !strcmp(name, "end"))
		return error_set(err, EINVAL, "section \"%s\": the name is reserved", name);
	if (!version)
		return error_set(err, EINVAL, "section \"%s\": version 0; the first is 1", name);
	if (find(s, name))
		return error_set(err, EEXIST, "section \"%s\" is there twice", name);
	if (s->nr == SECTIONS_MAX)
		return error_set(err, E2BIG, "more than %d sections", SECTIONS_MAX);
	return 0;
}

static int make_room(struct sections *s, struct error *err)
{
	unsigned int size = s->size ? 2 * s->size : SIZE_MIN;
	struct section *section;

	if (s->nr < s->size)
		return 0;
	section = realloc(s->section, size * sizeof(*section));
	if (!section)
		return error_set(err, ENOMEM, "out of memory for %u sections", size);
	s->section = section;
	s->size = size;
	return 0;
}

struct bytes_out *sections_add(struct sections *s, const char *name, uint32_t version,
			       bool required, struct error *err)
{
	struct section *section;

	if (check_new(s, name, version, err) == -1 || make_room(s, err) == -1)
		return NULL;
	section = &s->section[s->nr++];
	*section = (struct section){ .version = version, .required = required };
	memcpy(section->name, name, strlen(name));
	return &section->content;
}

int sections_claim(struct sections *s, const char *name, uint32_t version, struct bytes_in *in,
		   struct error *err)
{
	struct section *section = find(s, name);

	*in = (struct bytes_in){ 0 };
	if (!section)
		return 0;
	if (section->version > version)
		return error_set(err, ENOTSUP, "section \"%s\" has version %" PRIu32 ", and this "
				 "vmond knows it up to %" PRIu32 ": use the vmond that saved it, "
				 "or a newer one", name, section->version, version);
	section->claimed = true;
	in->data = section->content.data;
	in->len = section->content.len;
	/* A version is no larger than the one a caller in this source knows. */
	return (int)section->version;
}

int sections_all_known(const struct sections *s, struct error *err)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (s->section[i].required && !s->section[i].claimed)
			return error_set(err, ENOTSUP, "section \"%s\" is required, and this vmond "
					 "or this machine does not know it", s->section[i].name);
	return 0;
}

int sections_complete(const struct sections *s, struct error *err)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (s->section[i].content.failed)
			return error_set(err, ENOMEM, "section \"%s\": out of memory",
					 s->section[i].name);
		bytes += s->section[i].content.len;
	}
	if (bytes > SECTIONS_BYTES_MAX)
		return error_set(err, E2BIG, "the sections have %" PRIu64 " bytes together, and "
				 "the most is %u", bytes, SECTIONS_BYTES_MAX);
	return 0;
}

void sections_free(struct sections *s)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		bytes_out_free(&s->section[i].content);
	free(s->section);
	memset(s, 0, sizeof(*s));
}
