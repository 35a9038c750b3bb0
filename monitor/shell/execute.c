/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/shell/args.h"
#include "monitor/shell/shell_internal.h"
#include "monitor/shell/values.h"

static bool is_blank(const char *line)
{
	line += strspn(line, " \t\r\n");
	return !*line || *line == '#';
}

/*
 * Sends a request and takes the reply; what goes wrong is said, except, if `quiet`, errors that the
 * server replies with.  On SHELL_DONE *returned is to be cleared.
 */
static int call(struct shell *sh, struct json_writer *w, bool quiet, struct json_value *returned)
{
	struct json_value reply;
	struct error err = { 0 };
	int rc = SHELL_DONE;

	returned->type = JSON_NULL;
	if (server_call(sh->server, w, shell_deadline(sh), &reply, &err) < 0) {
		shell_after_interrupt(sh, &err);
		if (err.code == ECANCELED)
			return shell_complain(sh, "interrupted; the server may still carry it out, "
					      "and its answer will be dropped");
		if (err.code == EINTR)
			return SHELL_FAILED;
		if (err.code == ETIMEDOUT || err.code == ENOMEM)
			return shell_complain(sh, "%s", err.text);
		return shell_lost(sh, &err);
	}
	if (json_get(&reply, "error") && quiet)
		rc = SHELL_FAILED;
	else if (json_get(&reply, "error"))
		rc = shell_complain_reply(sh, json_get(&reply, "error"));
	for (size_t i = 0; i < reply.object.count && rc == SHELL_DONE; i++) {
		struct json_member *member = &reply.object.member[i];

		if (strcmp(member->name, "return") == 0) {
			*returned = member->value;
			member->value.type = JSON_NULL;
		}
	}
	json_clear(&reply);
	return rc;
}

static int need_server(struct shell *sh)
{
	if (sh->server)
		return SHELL_DONE;
	shell_complain(sh, "not connected%s", sh->interactive ? "; reconnect tries again" : "");
	return SHELL_GONE;
}

int shell_call_simple(struct shell *sh, const char *command, const char *name, const char *value,
		      bool quiet, struct json_value *returned)
{
	struct json_writer w;

	returned->type = JSON_NULL;
	if (!sh->server)
		return SHELL_GONE;
	server_begin(sh->server, &w, command, false);
	if (name) {
		json_write_object(&w, "arguments");
		json_write_string(&w, name, value);
		json_write_object_end(&w);
	}
	return call(sh, &w, quiet, returned);
}

/* What the human monitor prints is for people, also when `json on` shows returns as JSON. */
static void output_hmp(struct shell *sh, const struct json_value *returned)
{
	struct text text = { 0 };

	if (sh->options->json || returned->type != JSON_STRING) {
		shell_output_return(sh, returned);
		return;
	}
	print_value(&text, &sh->style, returned);
	shell_output(sh, &text);
}

/*
 * The human monitor says what is wrong in its text.  These are the words of those errors that are
 * the same for every command; others pass for output.
 */
static bool is_hmp_error(const struct json_value *returned)
{
	static const char *const begins[] = { "unknown command: '", "Error: " };
	size_t i;

	for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (returned->type == JSON_STRING &&
		    strncmp(returned->string.bytes, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

int shell_hmp_line(struct shell *sh, const char *line)
{
	struct json_value returned;
	struct json_writer w;
	int rc;

	if (need_server(sh) != SHELL_DONE)
		return SHELL_GONE;
	server_begin(sh->server, &w, "human-monitor-command", false);
	json_write_object(&w, "arguments");
	json_write_string(&w, "command-line", line);
	if (sh->cpu >= 0)
		json_write_int(&w, "cpu-index", sh->cpu);
	json_write_object_end(&w);
	rc = call(sh, &w, false, &returned);
	if (rc != SHELL_DONE)
		return rc;
	output_hmp(sh, &returned);
	rc = is_hmp_error(&returned) ? SHELL_FAILED : SHELL_DONE;
	json_clear(&returned);
	return rc;
}

/* quit ends the VM, not this shell; people who type it may not know. */
static int confirm_quit(struct shell *sh)
{
	if (shell_confirm(sh, "End the virtual machine?")) {
		sh->quitting = true;
		return SHELL_DONE;
	}
	return shell_complain(sh, "not done; exit leaves the shell");
}

/*
 * After quit: a server may go without a word, and that is what was asked for.  With a person there
 * is nothing left to do; a script that has more to do finds that nobody is there.
 */
static int after_quit(struct shell *sh, int rc)
{
	if (rc != SHELL_FAILED && sh->interactive)
		sh->leaving = true;
	else
		sh->quitting = false;
	return rc == SHELL_GONE ? SHELL_DONE : rc;
}

static int write_args(struct shell *sh, struct json_writer *w, const struct json_value *entry,
		      const struct words *words, struct error *err)
{
	char text[] = "detach=on";
	struct words more = { .count = words->count + 1 };
	int rc;

	if (!progress_detaches(sh, entry, words))
		return args_write(w, sh->schema, entry, words, 1, err);
	more.word = calloc(more.count, sizeof(*more.word));
	if (!more.word)
		return error_set(err, ENOMEM, "out of memory for a command");
	memcpy(more.word, words->word, words->count * sizeof(*more.word));
	more.word[words->count] = (struct word){ .text = text, .equals = strcspn(text, "=") };
	rc = args_write(w, sh->schema, entry, &more, 1, err);
	free(more.word);
	return rc;
}

static const char *job_of(const struct words *words)
{
	size_t i;

	for (i = 1; i < words->count; i++)
		if (word_names(&words->word[i], "job-id"))
			return word_value(&words->word[i]);
	return NULL;
}

/* Sends a request for QMP, and shows what is returned. */
static int call_and_show(struct shell *sh, struct json_writer *w)
{
	struct json_value returned;
	int rc = call(sh, w, false, &returned);

	if (rc == SHELL_DONE)
		shell_output_return(sh, &returned);
	json_clear(&returned);
	return rc;
}

static int run_qmp(struct shell *sh, const struct json_value *entry, const struct words *words)
{
	const char *command = words->word[0].text;
	struct json_writer w;
	struct error err;
	bool quits = strcmp(command, "quit") == 0;
	int rc;

	if (quits && confirm_quit(sh) != SHELL_DONE)
		return SHELL_FAILED;
	server_begin(sh->server, &w, command,
		     server_has_oob(sh->server) && value_bool(entry, "allow-oob"));
	if (write_args(sh, &w, entry, words, &err) < 0) {
		json_writer_free(&w);
		sh->quitting = false;
		return shell_complain(sh, "%s", err.text);
	}
	rc = call_and_show(sh, &w);
	if (quits)
		return after_quit(sh, rc);
	return rc == SHELL_DONE ? progress_follow(sh, command, job_of(words)) : rc;
}

/* The id is ours on the wire: replies are told apart by it. */
static int run_raw(struct shell *sh, const char *line)
{
	struct json_value request;
	const struct json_value *oob;
	struct json_writer w;
	const char *command;
	bool quits;
	size_t i;
	int rc;

	if (!value_parse(&request, line, strlen(line)) || request.type != JSON_OBJECT) {
		json_clear(&request);
		return shell_complain(sh, "not one complete JSON object: %.100s", line);
	}
	oob = json_get(&request, "exec-oob");
	command = value_string(&request, oob ? "exec-oob" : "execute");
	quits = command && strcmp(command, "quit") == 0;
	if (quits && confirm_quit(sh) != SHELL_DONE) {
		json_clear(&request);
		return SHELL_FAILED;
	}
	server_begin(sh->server, &w, command ? command : "", oob);
	for (i = 0; i < request.object.count; i++) {
		const struct json_member *member = &request.object.member[i];

		if (strcmp(member->name, "id") &&
		    strcmp(member->name, oob ? "exec-oob" : "execute"))
			json_write_value(&w, member->name, &member->value);
	}
	rc = call_and_show(sh, &w);
	if (quits)
		rc = after_quit(sh, rc);
	else if (rc == SHELL_DONE && command)
		rc = progress_follow(sh, command, value_string(json_get(&request, "arguments"),
							       "job-id"));
	json_clear(&request);
	return rc;
}

int shell_hmp_words(struct shell *sh, const struct words *words, size_t first)
{
	struct text line = { 0 };
	size_t i;
	int rc;

	for (i = first; i < words->count; i++)
		text_printf(&line, "%s%s", i > first ? " " : "", words->word[i].text);
	rc = line.failed ? shell_complain(sh, "out of memory for a line") :
			   shell_hmp_line(sh, line.bytes);
	text_free(&line);
	return rc;
}

static int run_hmp(struct shell *sh, const char *line, const struct words *words, size_t first)
{
	const char *name = words->word[first].text;
	bool quits = strcmp(name, "q") == 0 || strcmp(name, "quit") == 0;
	int rc;

	if (quits && confirm_quit(sh) != SHELL_DONE)
		return SHELL_FAILED;
	rc = line ? shell_hmp_line(sh, line + words->word[first].start) :
		    shell_hmp_words(sh, words, first);
	if (quits)
		return after_quit(sh, rc);
	return rc == SHELL_DONE ? progress_follow(sh, name, NULL) : rc;
}

/* `line` is NULL when the words come from the command line. */
static int run_words(struct shell *sh, const char *line, const struct words *words)
{
	const char *name = words->word[0].text;
	const struct local_command *local = local_find(name);
	const struct json_value *entry;

	if (local)
		return local->fn(sh, words, line);
	if (need_server(sh) != SHELL_DONE)
		return SHELL_GONE;
	if (*name == '{')
		return run_raw(sh, line ? line : name);
	if (strcmp(name, "hmp") == 0) {
		if (words->count == 1)
			return shell_complain(sh, "hmp: which line?");
		return run_hmp(sh, line, words, 1);
	}
	if (shell_need_schema(sh) == SHELL_GONE)
		return SHELL_GONE;
	entry = schema_find_meta(sh->schema, name, "command");
	/* Without a schema only the human monitor's own words are known to be its. */
	if (!entry && (sh->schema || strcspn(name, "/") < strlen(name) ||
		       strcmp(name, "info") == 0))
		return run_hmp(sh, line, words, 0);
	if (words->open)
		return shell_complain(sh, "%s: a quote or a bracket is open at the end", name);
	return run_qmp(sh, entry, words);
}

int shell_execute(struct shell *sh, const char *line, struct words *words)
{
	struct words own = { 0 };
	struct error err;
	int rc;

	if (!words && is_blank(line))
		return SHELL_DONE;
	if (!words) {
		line += strspn(line, " \t\r\n");
		if (words_split(&own, line, strlen(line), &err) < 0)
			return shell_complain(sh, "%s", err.text);
		words = &own;
	}
	if (words->count && strcmp(words->word[0].text, "wait"))
		notes_forget(&sh->notes);
	rc = words->count ? run_words(sh, line, words) : SHELL_DONE;
	words_free(&own);
	return rc;
}
