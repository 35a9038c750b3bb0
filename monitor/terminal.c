/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "monitor/hmp.h"
#include "monitor/readline.h"

/*
 * A client of the text monitor: a line is a command, and what it prints stands between that line
 * and the next prompt, as in QEMU; no events.
 */
#define PROMPT "(qemu) "

/* Programs look for the line's beginning, people for what they talk to. */
#define STRING(macro) STRING_OF(macro)
#define STRING_OF(text) #text
#define BANNER "QEMU " STRING(QEMU_VERSION_MAJOR) "." STRING(QEMU_VERSION_MINOR) "." \
	STRING(QEMU_VERSION_MICRO) " monitor - type 'help' for more information (vmond-" \
	PACKAGE_VERSION ")\r\n"

/* Tabs of a piece of input that are served.  Nobody types more; each may list all commands. */
#define COMPLETIONS_MAX 16

struct terminal {
	struct readline readline;
	struct hmp hmp;                 /* without what is one line's alone */
};

struct terminal *terminal_new(struct monitor *monitor)
{
	struct terminal *terminal = calloc(1, sizeof(*terminal));

	if (terminal)
		terminal->hmp = (struct hmp){ .monitor = monitor, .vm = monitor->config.vm };
	return terminal;
}

void terminal_free(struct terminal *terminal)
{
	if (terminal)
		readline_free(&terminal->readline);
	free(terminal);
}

static void put(struct monitor_client *client, const char *text)
{
	client_put_bytes(client, text, strlen(text));
}

void terminal_greet(struct monitor_client *client)
{
	put(client, BANNER PROMPT);
}

/* A prompt, and behind it what has been typed of the line that has come before. */
static void prompt_again(struct monitor_client *client, struct text *show)
{
	text_append(show, PROMPT, strlen(PROMPT));
	readline_show(&client->terminal->readline, true, show);
}

/* Tab: what all candidates have in common, and a list of them if that is nothing new. */
static void complete(struct monitor_client *client, struct text *show)
{
	struct readline *r = &client->terminal->readline;
	struct text candidates = { 0 };
	char more[64];
	size_t len = hmp_complete(r->line, r->cursor, more, sizeof(more), &candidates);

	if (len) {
		readline_insert(r, more, len);
		readline_show(r, false, show);
	} else if (candidates.len) {
		text_append(show, "\r\n", 2);
		text_append_crlf(show, &candidates);
		prompt_again(client, show);
	}
	text_free(&candidates);
}

/*
 * A browser that is made to speak to a port says this first.  What it says next may look like
 * commands.
 */
static bool is_http(const char *line)
{
	return strstr(line, " HTTP/") || !strncasecmp(line, "Host:", strlen("Host:"));
}

/* TLS and STUN, which it can be made to speak, too, begin with these, and no key here sends them. */
static bool is_binary(const char *bytes, size_t len)
{
	return memchr(bytes, '\0', len) || memchr(bytes, '\026', len);
}

static void take_line(struct monitor_client *client)
{
	struct readline *r = &client->terminal->readline;
	struct request *request = &client->queue[client->queue_first];

	if (client->options.untrusted_input && is_http(r->line)) {
		client->untrusted = true;
		return;
	}
	*request = (struct request){ .line = strdup(r->line) };
	if (request->line)
		client->queued = 1;
	else
		client->broken = true;
	readline_next(r, true);
}

size_t terminal_feed(struct monitor_client *client, const char *bytes, size_t len)
{
	struct readline *r = &client->terminal->readline;
	enum readline_result result = READLINE_MORE;
	unsigned int completions = 0;
	struct text show = { 0 };
	size_t used = 0;

	if (client->options.untrusted_input && is_binary(bytes, len)) {
		client->untrusted = true;
		return len;
	}
	while (used < len && result != READLINE_LINE && result != READLINE_END) {
		used += readline_feed(r, bytes + used, len - used, &show, &result);
		if (result == READLINE_COMPLETE && completions++ < COMPLETIONS_MAX)
			complete(client, &show);
		if (result == READLINE_ABORT) {
			readline_next(r, false);
			text_append(&show, "^C\r\n", 4);
			prompt_again(client, &show);
		}
	}
	if (result == READLINE_LINE) {
		text_append(&show, "\r\n", 2);
		take_line(client);
	}
	if (result == READLINE_END) {
		client->eof = true;
		used = len;
	}
	client->broken |= show.failed;
	client_put_bytes(client, show.bytes, show.len);
	text_free(&show);
	return used;
}

/*
 * Names that others have chosen do not reach into the terminal: a question mark stands for each byte
 * of a control character of ASCII, or of the second set (U+0080 to U+009F, in UTF-8).
 */
static void tame(struct text *out)
{
	for (size_t i = 0; i < out->len; i++) {
		unsigned char byte = (unsigned char)out->bytes[i];

		if (byte == 0xc2 && i + 1 < out->len && ((unsigned char)out->bytes[i + 1] & 0xe0) == 0x80)
			out->bytes[i] = out->bytes[i + 1] = '?';
		else if ((byte < ' ' && byte != '\n' && byte != '\t') || byte == 0x7f)
			out->bytes[i] = '?';
	}
}

void terminal_answer(struct monitor_client *client, struct text *out)
{
	struct text show = { 0 };

	tame(out);
	text_append_crlf(&show, out);
	if (show.failed)
		put(client, "Error: out of memory for the output\r\n");
	else
		client_put_bytes(client, show.bytes, show.len);
	text_free(&show);
	put(client, PROMPT);
}

void terminal_execute(struct monitor_client *client, const char *line)
{
	struct terminal *terminal = client->terminal;
	struct text out = { 0 };
	struct hmp hmp = terminal->hmp;

	hmp.client = client;
	hmp.out = &out;
	hmp_execute(&hmp, line);
	/* Closed, for not reading, perhaps: but not freed, as it is executing. */
	if (client->fd < 0) {
		text_free(&out);
		return;
	}
	terminal->hmp.cpu = hmp.cpu;
	terminal->hmp.last_format = hmp.last_format;
	terminal->hmp.last_size = hmp.last_size;
	if (!hmp.deferred)
		terminal_answer(client, &out);
	text_free(&out);
}
