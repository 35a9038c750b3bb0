/* SPDX-License-Identifier: MIT */
#include "monitor/shell/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/shell/values.h"
#include "monitor/text.h"

#define READ_SIZE       (64 << 10)
#define READS_AT_ONCE   16              /* then keys and signals are looked at again */
#define RETRY_MS        20              /* while the backlog of a socket is full */

struct server {
	int fd;
	struct loop *loop;
	struct json_parser *parser;
	server_event_fn *event;
	void *opaque;
	struct text out;                /* not sent yet */
	size_t sent;                    /* of `out` */
	bool partial;                   /* a message has begun to come */
	struct error broken;            /* why the connection is given up; code 0: it is not */

	bool greeted, offers_oob, has_oob;
	uint64_t last_id;
	uint64_t awaited;               /* id that server_call() waits for; 0: none */
	struct json_value reply;        /* to that; JSON_NULL until it comes */
	uint64_t posted;                /* id; 0: none */
	server_post_fn *post;
};

static void take_greeting(struct server *server, const struct json_value *greeting)
{
	const struct json_value *capabilities;
	size_t count, i;

	capabilities = value_items(greeting, "capabilities", &count);
	for (i = 0; i < count; i++)
		if (capabilities[i].type == JSON_STRING &&
		    strcmp(capabilities[i].string.bytes, "oob") == 0)
			server->offers_oob = true;
	server->greeted = true;
}

static void take_reply(struct server *server, struct json_value *message)
{
	uint64_t id = value_uint(message, "id", 0);

	if (id && id == server->posted) {
		server->posted = 0;
		server->post(server->opaque, json_get(message, "return"));
		return;
	}
	/* An error about the JSON of a request comes without its id, and some replies do. */
	if (!server->awaited || (json_get(message, "id") && id != server->awaited))
		return;
	server->awaited = 0;
	server->reply = *message;
	message->type = JSON_NULL;
}

static bool take_message(void *opaque, struct json_value *message, const char *error)
{
	struct server *server = opaque;
	const struct json_value *greeting = json_get(message, "QMP");

	server->partial = false;
	if (error)
		error_set(&server->broken, EPROTO, "the server's answer is no QMP: %s", error);
	else if (!server->greeted && !greeting)
		error_set(&server->broken, EPROTO, "the server's first message is no QMP greeting");
	else if (!server->greeted)
		take_greeting(server, greeting);
	else if (value_string(message, "event"))
		server->event(server->opaque, message);
	else if (json_get(message, "return") || json_get(message, "error"))
		take_reply(server, message);
	return false;
}

static void feed(struct server *server, const char *bytes, size_t len)
{
	size_t used, i;

	while (len && !server->broken.code) {
		bool was = server->partial;

		server->partial = true;
		used = json_parser_feed(server->parser, bytes, len);
		/* No message has ended: it is white space up to here, or a part of one. */
		for (i = 0; server->partial && !was && i < used; i++)
			was = !strchr(" \t\r\n", bytes[i]) || !bytes[i];
		if (server->partial)
			server->partial = was;
		bytes += used;
		len -= used;
	}
	if (json_parser_is_broken(server->parser) && !server->broken.code)
		error_set(&server->broken, ENOMEM, "out of memory for the server's answer");
}

static void receive(struct server *server)
{
	char bytes[READ_SIZE];
	ssize_t n;
	bool gone;
	int i;

	for (i = 0; i < READS_AT_ONCE && !server->broken.code; i++) {
		n = recv(server->fd, bytes, sizeof(bytes), 0);
		/* A reset is the end, too: of a server that had not read all it was sent. */
		gone = n == 0 || (n < 0 && errno == ECONNRESET);
		if (n > 0)
			feed(server, bytes, (size_t)n);
		else if (gone && server->partial)
			error_set(&server->broken, ECONNRESET, "the server has closed the "
				  "connection in the middle of a message");
		else if (gone)
			error_set(&server->broken, ECONNRESET,
				  "the server has closed the connection");
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR)
			error_errno(&server->broken, errno, "the connection to the server");
	}
}

static void transmit(struct server *server)
{
	ssize_t n;

	while (server->sent < server->out.len) {
		n = send(server->fd, server->out.bytes + server->sent,
			 server->out.len - server->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		/* Why it can not be written shows, after what it has to say, when it is read. */
		if (n < 0 && errno != EAGAIN)
			server->sent = server->out.len;
		if (n < 0)
			return;
		server->sent += (size_t)n;
	}
	server->out.len = server->sent = 0;
}

int server_process(struct server *server, struct error *err)
{
	if (server->fd >= 0) {
		transmit(server);
		receive(server);
	}
	if (!server->broken.code)
		return 0;
	if (server->fd >= 0)
		close(server->fd);
	server->fd = -1;
	if (err)
		*err = server->broken;
	return -1;
}

int server_fd(const struct server *server)
{
	return server->fd;
}

bool server_wants_write(const struct server *server)
{
	return server->sent < server->out.len;
}

bool server_has_oob(const struct server *server)
{
	return server->has_oob;
}

int server_wait(struct server *server, bool (*done)(void *opaque), void *opaque,
		uint64_t deadline, struct error *err)
{
	unsigned int what;

	while (!done(opaque)) {
		/* A reply that came just before the end of the connection counts. */
		if (server_process(server, err) < 0)
			return done(opaque) ? 0 : -1;
		if (done(opaque))
			return 0;
		what = loop_wait(server->loop, server->fd, server_wants_write(server), -1,
				 loop_left_ms(deadline));
		if (what & LOOP_END)
			return error_set(err, EINTR, "told to end");
		if (what & LOOP_INTERRUPT)
			return error_set(err, ECANCELED, "interrupted");
		if (what & LOOP_SUSPEND)
			loop_suspend();
		if (what & LOOP_TIMEOUT)
			return error_set(err, ETIMEDOUT, "the server has not answered in time");
	}
	return 0;
}

void server_begin(struct server *server, struct json_writer *w, const char *command, bool oob)
{
	json_writer_init(w, false);
	json_write_object(w, NULL);
	json_write_string(w, oob ? "exec-oob" : "execute", command);
	json_write_uint(w, "id", ++server->last_id);
}

static int queue(struct server *server, struct json_writer *w, struct error *err)
{
	json_write_object_end(w);
	json_write_line_end(w);
	if (!w->failed)
		text_append(&server->out, w->text, w->len);
	if (w->failed || server->out.failed) {
		server->out.failed = false;
		error_set(err, ENOMEM, "out of memory for the request");
		json_writer_free(w);
		return -1;
	}
	json_writer_free(w);
	return 0;
}

static bool has_reply(void *opaque)
{
	struct server *server = opaque;

	return !server->awaited;
}

int server_call(struct server *server, struct json_writer *w, uint64_t deadline,
		struct json_value *reply, struct error *err)
{
	int rc;

	reply->type = JSON_NULL;
	if (queue(server, w, err) < 0)
		return -1;
	server->awaited = server->last_id;
	rc = server_wait(server, has_reply, server, deadline, err);
	server->awaited = 0;
	*reply = server->reply;
	server->reply.type = JSON_NULL;
	return rc;
}

void server_post(struct server *server, struct json_writer *w, server_post_fn *fn)
{
	if (server->posted || server->fd < 0) {
		json_writer_free(w);
		return;
	}
	if (queue(server, w, NULL) < 0)
		return;
	server->posted = server->last_id;
	server->post = fn;
	transmit(server);
}

/* Connecting does not wait, but a listener whose backlog is full asks to come again. */
static int dial(struct server *server, const char *path, uint64_t deadline, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	unsigned int what;

	if (strlen(path) >= sizeof(addr.sun_path))
		return error_set(err, ENAMETOOLONG, "%s: the path is too long for a socket: the "
				 "system takes %zu bytes", path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->fd < 0)
		return error_errno(err, errno, "socket");
	while (connect(server->fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return error_errno(err, errno, "%s", path);
		what = loop_wait(server->loop, -1, false, -1, RETRY_MS);
		if (what & (LOOP_INTERRUPT | LOOP_END))
			return error_set(err, ECANCELED, "%s: interrupted", path);
		if (loop_left_ms(deadline) == 0)
			return error_set(err, ETIMEDOUT, "%s: too many clients wait to be let in",
					 path);
	}
	return 0;
}

static bool is_greeted(void *opaque)
{
	struct server *server = opaque;

	return server->greeted;
}

static int greet(struct server *server, const char *path, uint64_t deadline, struct error *err)
{
	if (server_wait(server, is_greeted, server, deadline, err) == 0)
		return 0;
	if (err->code == ETIMEDOUT)
		return error_set(err, ETIMEDOUT, "%s: no greeting: this is no QMP server, or one "
				 "that another client is connected to", path);
	return error_prefix(err, "%s", path);
}

static int negotiate(struct server *server, const char *path, uint64_t deadline, struct error *err)
{
	struct json_value reply;
	struct json_writer w;
	const char *desc;
	int rc = 0;

	server_begin(server, &w, "qmp_capabilities", false);
	if (server->offers_oob) {
		json_write_object(&w, "arguments");
		json_write_array(&w, "enable");
		json_write_string(&w, NULL, "oob");
		json_write_array_end(&w);
		json_write_object_end(&w);
	}
	if (server_call(server, &w, deadline, &reply, err) < 0)
		return error_prefix(err, "%s", path);
	server->has_oob = server->offers_oob && json_get(&reply, "return");
	desc = value_string(json_get(&reply, "error"), "desc");
	if (!json_get(&reply, "return"))
		rc = error_set(err, EPROTO, "%s: qmp_capabilities: %s", path,
			       desc ? desc : "failed");
	json_clear(&reply);
	return rc;
}

struct server *server_connect(const char *path, struct loop *loop, server_event_fn *event,
			      void *opaque, unsigned int timeout_ms, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	uint64_t deadline = loop_now_ms() + timeout_ms;

	if (server) {
		*server = (struct server){
			.fd = -1, .loop = loop, .event = event, .opaque = opaque,
		};
		server->parser = json_parser_new(take_message, server);
	}
	if (!server || !server->parser) {
		error_set(err, ENOMEM, "out of memory for a connection");
	} else if (dial(server, path, deadline, err) == 0 &&
		   greet(server, path, deadline, err) == 0 &&
		   negotiate(server, path, deadline, err) == 0) {
		return server;
	}
	server_free(server);
	return NULL;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	if (server->fd >= 0)
		close(server->fd);
	json_parser_free(server->parser);
	json_clear(&server->reply);
	text_free(&server->out);
	free(server);
}
