/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/shell/shell_internal.h"
#include "monitor/shell/values.h"

static void show_event(struct shell *sh, const struct json_value *event)
{
	struct text text = { 0 };

	if (sh->options->json) {
		shell_json_line(sh, NULL, event);
		return;
	}
	print_event(&text, &sh->style, event);
	shell_wipe_bar(sh);
	if (sh->line && !text.failed) {
		line_show(sh->line, text.bytes, text.len);
		text_free(&text);
	} else {
		shell_output(sh, &text);
	}
}

void shell_event(void *shell, const struct json_value *event)
{
	struct shell *sh = shell;
	const char *name = value_string(event, "event");
	bool shown = notes_wants(&sh->notes, name) &&
		     !(sh->following && sh->terminal && !strcmp(name, "DUMP_PROGRESS"));

	notes_keep(&sh->notes, name, event, shown);
	if (shown)
		show_event(sh, event);
	/* Most events have to do with the run state, and asking costs little. */
	if (sh->interactive)
		shell_ask_state(sh);
}

struct awaited {
	struct shell *sh;
	const char *name;
	struct note note;
};

static bool has_come(void *opaque)
{
	struct awaited *awaited = opaque;

	return awaited->note.name ||
	       notes_take(&awaited->sh->notes, awaited->name, &awaited->note) ||
	       awaited->sh->notes.lost;
}

static void print_note(struct shell *sh, const struct note *note)
{
	struct json_value event;
	const struct json_value *data;
	struct text text = { 0 };

	if (note->shown && (sh->options->json || sh->interactive))
		return;
	/* It was a message: what it lacks is memory, and it has no data then. */
	text.failed = !value_parse(&event, note->json, strlen(note->json));
	data = json_get(&event, "data");
	if (sh->options->json && !text.failed)
		shell_json_line(sh, NULL, &event);
	else if (data)
		print_value(&text, &sh->style, data);
	shell_output(sh, &text);
	json_clear(&event);
}

int shell_wait_event(struct shell *sh, const char *name)
{
	struct awaited awaited = { .sh = sh, .name = name };
	struct error err = { 0 };
	int rc;

	/* At the end: one that has come at any time since the beginning counts. */
	if (sh->notes.awaited == name && sh->notes.found.name) {
		print_note(sh, &sh->notes.found);
		return SHELL_DONE;
	}
	if (!sh->server)
		return SHELL_GONE;
	rc = server_wait(sh->server, has_come, &awaited, shell_deadline(sh), &err);
	if (rc == 0 && !awaited.note.name)
		return shell_complain(sh, "out of memory for events: %s may have come", name);
	if (rc == 0)
		print_note(sh, &awaited.note);
	note_free(&awaited.note);
	if (rc == 0)
		return SHELL_DONE;
	shell_after_interrupt(sh, &err);
	if (err.code == ETIMEDOUT)
		return shell_complain(sh, "%s has not come in time", name);
	if (err.code == ECANCELED || err.code == EINTR)
		return shell_complain(sh, "interrupted; %s has not come", name);
	sh->quitting = false;
	return shell_lost(sh, &err);
}

int events_command(struct shell *sh, const struct words *words, const char *line)
{
	struct notes *notes = &sh->notes;
	struct text text = { 0 };
	size_t i;

	(void)line;
	for (i = 1; i < words->count; i++) {
		const char *name = words->word[i].text;
		bool on = strcmp(name, "on") == 0;

		if (on || strcmp(name, "off") == 0 || i == 1)
			notes_show_none(notes);
		notes->show_all |= on;
		if (!on && strcmp(name, "off") && !notes_show(notes, name))
			return shell_complain(sh, "out of memory for a name");
	}
	if (words->count == 1) {
		if (notes->show_all || !notes->show_count)
			text_printf(&text, "%s\n", notes->show_all ? "on" : "off");
		for (i = 0; !notes->show_all && i < notes->show_count; i++)
			text_printf(&text, "%s\n", notes->show[i]);
		shell_output(sh, &text);
	}
	return SHELL_DONE;
}
