/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_ACCESS_H
#define MONITOR_ACCESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "vmm/error.h"

/*
 * Who may use a monitor on a Unix socket.  The system knows who has connected (SO_PEERCRED, unix(7):
 * as it was at connect(2)): the user that vmond runs as and root always may, others if a rule says
 * so.
 *
 * Threads: the event loop's.
 */
#define ACCESS_RULES_MAX 32

struct access_list {
	struct access_rule {
		bool is_group;
		id_t id;
	} rule[ACCESS_RULES_MAX];
	unsigned int count;
};

/*
 * Adds a rule: "uid:N", "gid:N", "user:NAME" or "group:NAME".  Names are looked up now.  The
 * error's text is the reason alone.
 */
int access_add(struct access_list *list, const char *rule, struct error *err);

/*
 * Whether the peer of a connected socket may, by either list; `peer` is filled in any case, with
 * pid 0 if the system does not tell who it is, who then may not.  Groups are the peer's own and its
 * supplementary ones.
 */
bool access_is_allowed(const struct access_list *common, const struct access_list *own, int fd,
		       struct ucred *peer);

#endif
