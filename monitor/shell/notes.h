/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_NOTES_H
#define MONITOR_SHELL_NOTES_H

#include "monitor/json.h"

/* Which events are shown, and which have come that somebody may still wait for. */

#define NOTES_KEPT 256          /* the oldest go first */

struct note {
	char *name;
	char *json;             /* the whole event, as one line without its end */
	bool shown;
};

struct notes {
	bool show_all;
	char **show;            /* names, if not all */
	size_t show_count;
	struct note kept[NOTES_KEPT];
	size_t count;
	bool lost;              /* one that memory had run out for, since notes_forget() */
	const char *awaited;    /* --wait-event: the first of that name is kept for the end */
	struct note found;      /* it; name NULL until it comes */
};

bool notes_wants(const struct notes *notes, const char *name);
/* False when memory runs out. */
bool notes_show(struct notes *notes, const char *name);
void notes_show_none(struct notes *notes);

void notes_keep(struct notes *notes, const char *name, const struct json_value *event, bool shown);
/* Takes out the first of that name, and all that came before it.  The caller frees it. */
bool notes_take(struct notes *notes, const char *name, struct note *note);
/* The event's JSON, of the first of that name from *at on, which is moved behind it; else NULL. */
const char *notes_find(const struct notes *notes, const char *name, size_t *at);
void notes_forget(struct notes *notes);
void note_free(struct note *note);
void notes_free(struct notes *notes);

#endif
