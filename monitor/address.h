/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_ADDRESS_H
#define MONITOR_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "monitor/access.h"
#include "vmm/error.h"

/* What --monitor says: where a monitor is reached, and what it is for those who reach it. */

enum monitor_mode {
	MONITOR_CONTROL,        /* QMP */
	MONITOR_READLINE,       /* the human monitor, as text */
	MONITOR_OBSERVE,        /* QMP, but only what changes nothing */
};

struct monitor_options {
	enum monitor_mode mode;
	bool pretty;            /* QMP in lines, for people */
	bool untrusted_input;   /* clients may be made to send what they do not mean: TCP */
};

enum monitor_kind { MONITOR_UNIX, MONITOR_TCP, MONITOR_FD, MONITOR_SYSTEMD, MONITOR_STDIO };

/* Bytes of an address between two commas, with a terminator. */
#define MONITOR_ADDRESS_PIECE 512

struct monitor_address {
	enum monitor_kind kind;
	char name[MONITOR_ADDRESS_PIECE];       /* unix: the path; systemd: the name or "" */
	int fd;                 /* fd: its number */
	struct sockaddr_storage tcp;
	socklen_t tcp_len;
	struct monitor_options options;
	bool has_mode;          /* it was given; else it is the default */
	struct access_list allow;
};

/*
 * Parses
 *
 *      unix:PATH | tcp:ADDRESS:PORT | fd:N | systemd[:NAME] | stdio
 *
 * followed by any of ,mode=control|readline|observe ,pretty=on|off ,allow=RULE.  The error's text
 * is the reason alone.  Nothing is opened, but fd:N must be an open stream socket.
 */
int monitor_address_parse(struct monitor_address *address, const char *text, struct error *err);

/* Loopback addresses of IPv4 and IPv6, and the former as the latter. */
bool address_is_loopback(const struct sockaddr_storage *addr);

#endif
