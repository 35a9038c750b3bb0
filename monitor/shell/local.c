/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/shell_internal.h"

static int local_wait(struct shell *sh, const struct words *words, const char *line)
{
	(void)line;
	if (words->count != 2)
		return shell_complain(sh, "wait: for which event?");
	return shell_wait_event(sh, words->word[1].text);
}

static int local_history(struct shell *sh, const struct words *words, const char *line)
{
	struct text text = { 0 };

	(void)words;
	(void)line;
	if (!sh->line)
		return shell_complain(sh, "history: only an interactive session has one");
	line_print_history(sh->line, &text);
	shell_output(sh, &text);
	return SHELL_DONE;
}

static int local_json(struct shell *sh, const struct words *words, const char *line)
{
	const char *value = words->count == 2 ? words->word[1].text : "";

	(void)line;
	if (strcmp(value, "on") && strcmp(value, "off"))
		return shell_complain(sh, "json: on or off?");
	sh->json = strcmp(value, "on") == 0;
	return SHELL_DONE;
}

static int local_source(struct shell *sh, const struct words *words, const char *line)
{
	(void)line;
	if (words->count != 2)
		return shell_complain(sh, "source: which file?");
	return shell_read_file(sh, words->word[1].text);
}

/* The server forgets the current vCPU between two lines; so it goes with each. */
static int local_cpu(struct shell *sh, const struct words *words, const char *line)
{
	struct text text = { 0 };
	int before = sh->cpu, rc;
	char *end;
	long cpu;

	(void)line;
	if (words->count == 1) {
		text_printf(&text, sh->cpu < 0 ? "none chosen\n" : "%d\n", sh->cpu);
		shell_output(sh, &text);
		return SHELL_DONE;
	}
	cpu = strtol(words->word[1].text, &end, 0);
	if (strcmp(words->word[1].text, "none") == 0 && words->count == 2) {
		sh->cpu = -1;
		return SHELL_DONE;
	}
	if (*end || end == words->word[1].text || words->count != 2 || cpu < 0 || cpu > 1 << 20)
		return shell_complain(sh, "cpu: give the index of a vCPU, or none");
	/* The server refuses an index that it does not have. */
	sh->cpu = (int)cpu;
	rc = shell_hmp_line(sh, "");
	if (rc != SHELL_DONE)
		sh->cpu = before;
	return rc;
}

static int local_reconnect(struct shell *sh, const struct words *words, const char *line)
{
	struct error err;

	(void)words;
	(void)line;
	sh->quitting = false;
	if (shell_connect(sh, &err) == 0)
		return SHELL_DONE;
	shell_complain(sh, "%s", err.text);
	return SHELL_GONE;
}

static int local_exit(struct shell *sh, const struct words *words, const char *line)
{
	(void)words;
	(void)line;
	sh->leaving = true;
	return SHELL_DONE;
}

static const struct local_command commands[] = {
	{ "help", "help [COMMAND|EVENT]", "list the commands, or tell about one", help_command },
	{ "hmp", "hmp LINE", "give a line to the server's human monitor", NULL },
	{ "cpu", "cpu [INDEX|none]", "choose the vCPU that such lines are about", local_cpu },
	{ "events", "events [on|off|NAME...]", "say which events are shown", events_command },
	{ "wait", "wait EVENT", "wait for an event, and print its data", local_wait },
	{ "watch", "watch [-n SECONDS] COMMAND", "repeat a command, and mark what changes",
	  watch_command },
	{ "json", "json on|off", "print what is returned as JSON", local_json },
	{ "source", "source FILE", "carry out the commands of a file", local_source },
	{ "history", "history", "list the lines entered so far", local_history },
	{ "reconnect", "reconnect", "connect to the server again", local_reconnect },
	{ "exit", "exit", "leave the shell; the virtual machine runs on", local_exit },
	{ "quit-shell", "quit-shell", "the same; quit ends the virtual machine", local_exit },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Made when first asked for. */
static struct candidates names;

const struct local_command *local_find(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		if (commands[i].fn && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

const struct local_command *local_at(size_t index)
{
	return index < COMMANDS ? &commands[index] : NULL;
}

const struct candidates *local_names(void)
{
	size_t i;

	for (i = 0; i < COMMANDS && names.count < COMMANDS; i++)
		candidates_add(&names, commands[i].name, ' ', commands[i].about);
	return &names;
}

void local_names_free(void)
{
	candidates_free(&names);
}
