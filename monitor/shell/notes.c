/* SPDX-License-Identifier: MIT */
#include "monitor/shell/notes.h"

#include <stdlib.h>
#include <string.h>

bool notes_wants(const struct notes *notes, const char *name)
{
	size_t i;

	for (i = 0; i < notes->show_count; i++)
		if (strcmp(notes->show[i], name) == 0)
			return true;
	return notes->show_all;
}

bool notes_show(struct notes *notes, const char *name)
{
	char **grown, *copy;

	grown = realloc(notes->show, (notes->show_count + 1) * sizeof(*grown));
	if (!grown)
		return false;
	notes->show = grown;
	copy = strdup(name);
	if (!copy)
		return false;
	notes->show[notes->show_count++] = copy;
	return true;
}

void notes_show_none(struct notes *notes)
{
	while (notes->show_count)
		free(notes->show[--notes->show_count]);
	free(notes->show);
	notes->show = NULL;
	notes->show_all = false;
}

void note_free(struct note *note)
{
	free(note->name);
	free(note->json);
	memset(note, 0, sizeof(*note));
}

static void make_note(struct note *note, const char *name, const struct json_value *event,
		      bool shown)
{
	struct json_writer w;

	memset(note, 0, sizeof(*note));
	json_writer_init(&w, false);
	json_write_value(&w, NULL, event);
	if (!w.failed) {
		note->name = strdup(name);
		note->json = strndup(w.text, w.len);
		note->shown = shown;
	}
	json_writer_free(&w);
	if (!note->name || !note->json)
		note_free(note);
}

static void drop(struct notes *notes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		note_free(&notes->kept[i]);
	notes->count -= n;
	memmove(notes->kept, notes->kept + n, notes->count * sizeof(notes->kept[0]));
}

void notes_keep(struct notes *notes, const char *name, const struct json_value *event, bool shown)
{
	if (notes->awaited && !notes->found.name && strcmp(notes->awaited, name) == 0)
		make_note(&notes->found, name, event, shown);
	if (notes->count == NOTES_KEPT)
		drop(notes, 1);
	make_note(&notes->kept[notes->count], name, event, shown);
	if (notes->kept[notes->count].name)
		notes->count++;
	else
		notes->lost = true;
}

bool notes_take(struct notes *notes, const char *name, struct note *note)
{
	size_t i;

	for (i = 0; i < notes->count; i++) {
		if (strcmp(notes->kept[i].name, name))
			continue;
		*note = notes->kept[i];
		memset(&notes->kept[i], 0, sizeof(notes->kept[i]));
		drop(notes, i + 1);
		return true;
	}
	return false;
}

const char *notes_find(const struct notes *notes, const char *name, size_t *at)
{
	while (*at < notes->count)
		if (strcmp(notes->kept[(*at)++].name, name) == 0)
			return notes->kept[*at - 1].json;
	return NULL;
}

void notes_forget(struct notes *notes)
{
	drop(notes, notes->count);
	notes->lost = false;
}

void notes_free(struct notes *notes)
{
	notes_forget(notes);
	notes_show_none(notes);
	note_free(&notes->found);
}
