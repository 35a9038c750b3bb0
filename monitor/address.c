/* SPDX-License-Identifier: MIT */
#include "monitor/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/migrate_channel.h"

bool address_is_loopback(const struct sockaddr_storage *addr)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	if (addr->ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return addr->ss_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
		(IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127));
}

static int parse_tcp(struct monitor_address *a, const char *place, struct error *err)
{
	struct socket_addresses found;
	struct tcp_address tcp;

	if (tcp_address_parse(place, &tcp, err) < 0)
		return -1;
	if (!*tcp.host || tcp_address_lookup(&tcp, AI_NUMERICHOST, &found) != 0 || !found.count ||
	    !address_is_loopback(&found.at[0].addr))
		return error_set(err, EINVAL, "must have a loopback address, 127.0.0.1 or [::1]: "
				 "over TCP nobody can tell who a client is");
	a->tcp = found.at[0].addr;
	a->tcp_len = found.at[0].len;
	return 0;
}

static int parse_fd(struct monitor_address *a, const char *place, struct error *err)
{
	int type = 0;
	socklen_t len = sizeof(type);
	char *end;
	long fd;

	errno = 0;
	fd = strtol(place, &end, 10);
	if (*place < '0' || *place > '9' || *end || errno || fd > INT32_MAX)
		return error_set(err, EINVAL, "'%s' is no number of a descriptor", place);
	if (getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return error_set(err, errno, "descriptor %ld is %s", fd,
				 errno == ENOTSOCK ? "no socket" : "not open");
	if (type != SOCK_STREAM)
		return error_set(err, EPROTOTYPE, "descriptor %ld is no stream socket", fd);
	a->fd = (int)fd;
	return 0;
}

static int parse_name(struct monitor_address *a, const char *place, struct error *err)
{
	strcpy(a->name, place);
	return *place ? 0 : error_set(err, EINVAL, "the %s is empty",
				      a->kind == MONITOR_UNIX ? "path" : "name");
}

static int parse_place(struct monitor_address *a, const char *place, struct error *err)
{
	static const struct {
		const char *prefix;
		enum monitor_kind kind;
	} kinds[] = {
		{ "unix:", MONITOR_UNIX }, { "tcp:", MONITOR_TCP }, { "fd:", MONITOR_FD },
		{ "systemd:", MONITOR_SYSTEMD },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(place, kinds[i].prefix, len))
			continue;
		a->kind = kinds[i].kind;
		if (a->kind == MONITOR_TCP)
			return parse_tcp(a, place + len, err);
		return a->kind == MONITOR_FD ? parse_fd(a, place + len, err) :
					       parse_name(a, place + len, err);
	}
	if (strcmp(place, "systemd") && strcmp(place, "stdio"))
		return error_set(err, EINVAL, "must be unix:PATH, tcp:ADDRESS:PORT, fd:N, "
				 "systemd[:NAME] or stdio");
	a->kind = strcmp(place, "stdio") ? MONITOR_SYSTEMD : MONITOR_STDIO;
	return 0;
}

static int parse_option(struct monitor_address *a, const char *option, struct error *err)
{
	static const char *const modes[] = {
		[MONITOR_CONTROL] = "mode=control",
		[MONITOR_READLINE] = "mode=readline",
		[MONITOR_OBSERVE] = "mode=observe",
	};

	for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(option, modes[i]) != 0)
			continue;
		/* It says who may do what: the last one does not just win. */
		if (a->has_mode)
			return error_set(err, EINVAL, "mode= is given twice");
		a->has_mode = true;
		a->options.mode = i;
		return 0;
	}
	if (!strcmp(option, "pretty=on") || !strcmp(option, "pretty=off")) {
		a->options.pretty = option[strlen("pretty=o")] == 'n';
		return 0;
	}
	if (!strncmp(option, "allow=", strlen("allow="))) {
		if (access_add(&a->allow, option + strlen("allow="), err) == 0)
			return 0;
		error_prefix(err, "%s", option);
		return -1;
	}
	return error_set(err, EINVAL, "unknown option '%s'; there is mode=control, mode=readline, "
			 "mode=observe, pretty=on, pretty=off and allow=RULE", option);
}

/* What goes together. */
static int check(const struct monitor_address *a, struct error *err)
{
	if (a->options.pretty && a->options.mode == MONITOR_READLINE)
		return error_set(err, EINVAL, "pretty=on is for JSON, which mode=readline is not");
	if (a->allow.count && (a->kind == MONITOR_TCP || a->kind == MONITOR_STDIO))
		return error_set(err, EINVAL, "allow= is for Unix sockets: there alone can it be "
				 "told who a client is");
	return 0;
}

/* Takes what stands before the next comma, or the end, off *text. */
static int take_piece(const char **text, char *piece, struct error *err)
{
	size_t len = strcspn(*text, ",");

	if (len >= MONITOR_ADDRESS_PIECE)
		return error_set(err, ENAMETOOLONG, "'%.32s...' is too long", *text);
	memcpy(piece, *text, len);
	piece[len] = '\0';
	*text += len;
	return 0;
}

int monitor_address_parse(struct monitor_address *address, const char *text, struct error *err)
{
	char piece[MONITOR_ADDRESS_PIECE];

	memset(address, 0, sizeof(*address));
	address->fd = -1;
	if (take_piece(&text, piece, err) < 0 || parse_place(address, piece, err) < 0)
		return -1;
	while (*text++) {
		if (take_piece(&text, piece, err) < 0 || parse_option(address, piece, err) < 0)
			return -1;
	}
	address->options.untrusted_input = address->kind == MONITOR_TCP;
	return check(address, err);
}
