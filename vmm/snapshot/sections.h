/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_SECTIONS_H
#define VMM_SNAPSHOT_SECTIONS_H

#include "vmm/snapshot/bytes.h"

/*
 * The state of a machine without its RAM: a list of named, versioned sections ("machine", "vcpu/0",
 * "serial").  What saves state fills it, what loads state claims from it; how it lies in a file or
 * a stream is the business of snapshot_io.h.
 *
 * Threads: one at a time.
 */
#define SECTION_NAME_MAX 31

/*
 * What one snapshot may have, so that a forged one can neither take the host's memory nor its time:
 * several times what 1024 vCPUs need.
 */
#define SECTIONS_MAX            4096
#define SECTIONS_BYTES_MAX      (64u << 20)     /* of content, all together */

struct section {
	char name[SECTION_NAME_MAX + 1];
	uint32_t version;
	bool required;          /* a loader that does not know it must refuse the whole */
	bool claimed;
	struct bytes_out content;
};

struct sections {
	unsigned int nr, size;
	struct section *section;
};

/*
 * Appends a section and returns where its content goes; valid until the next one is added.  Names
 * are of the characters a-z, 0-9 and "/._-", so that they can stand in any message.  NULL when
 * memory is short, the version is 0, the name is not one, or is there already, or is "ram" or
 * "end", which belong to snapshot_io.h.
 */
struct bytes_out *sections_add(struct sections *s, const char *name, uint32_t version,
			       bool required, struct error *err);

/* Whether it can be the name of a section at all, "ram" and "end" among them. */
bool section_name_valid(const char *name);

/*
 * Finds the section of that name, which must not be newer than `version`, and marks it as known;
 * *in then reads its content.  Returns its version, 0 when there is none of that name (versions
 * start at 1), -1 on error.
 */
int sections_claim(struct sections *s, const char *name, uint32_t version, struct bytes_in *in,
		   struct error *err);

/* Fails, naming it, when a required section has not been claimed.  Others are passed over. */
int sections_all_known(const struct sections *s, struct error *err);

/*
 * Whether they can be saved: 0 when no writer ran out of memory, and all of them together keep to
 * SECTIONS_BYTES_MAX.
 */
int sections_complete(const struct sections *s, struct error *err);

/* Leaves it empty, as { 0 }. */
void sections_free(struct sections *s);

#endif
