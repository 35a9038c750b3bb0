/* SPDX-License-Identifier: MIT */
#include "monitor/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Digits; -1, the largest, is nobody's id. */
static int parse_id(const char *text, id_t *id)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value >= (id_t)-1)
		return -1;
	*id = (id_t)value;
	return 0;
}

/* The functions without _r are for one thread, which this is. */
static int parse_rule(struct access_rule *rule, const char *text, struct error *err)
{
	const char *value = strchr(text, ':');
	const struct passwd *user;
	const struct group *group;
	size_t len = value ? (size_t)(value++ - text) : 0;

	rule->is_group = len && *text == 'g';
	if ((len == 3 && !memcmp(text, "uid", 3)) || (len == 3 && !memcmp(text, "gid", 3)))
		return parse_id(value, &rule->id) == 0 ? 0 :
		       error_set(err, EINVAL, "'%s' is no number of a %s", value,
				 rule->is_group ? "group" : "user");
	if (len == 4 && !memcmp(text, "user", 4)) {
		user = getpwnam(value);
		if (!user)
			return error_set(err, ENOENT, "there is no user '%s'", value);
		rule->id = user->pw_uid;
		return 0;
	}
	if (len == 5 && !memcmp(text, "group", 5)) {
		group = getgrnam(value);
		if (!group)
			return error_set(err, ENOENT, "there is no group '%s'", value);
		rule->id = group->gr_gid;
		return 0;
	}
	return error_set(err, EINVAL, "must have the form uid:N, gid:N, user:NAME or group:NAME");
}

int access_add(struct access_list *list, const char *rule, struct error *err)
{
	if (list->count == ACCESS_RULES_MAX)
		return error_set(err, E2BIG, "there are %d rules already; use a group",
				 ACCESS_RULES_MAX);
	if (parse_rule(&list->rule[list->count], rule, err) < 0)
		return -1;
	list->count++;
	return 0;
}

/* The peer's supplementary groups, malloc()ed; NULL if there are none, or they can not be told. */
static gid_t *peer_groups(int fd, size_t *count)
{
	socklen_t len = 0;
	gid_t *groups;

	*count = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return NULL;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0) {
		free(groups);
		return NULL;
	}
	*count = len / sizeof(*groups);
	return groups;
}

static bool has_group(const struct ucred *peer, const gid_t *groups, size_t count, gid_t gid)
{
	size_t i;

	for (i = 0; i < count && groups[i] != gid; i++)
		;
	return peer->gid == gid || i < count;
}

bool access_is_allowed(const struct access_list *common, const struct access_list *own, int fd,
		       struct ucred *peer)
{
	const struct access_list *const lists[] = { common, own };
	socklen_t len = sizeof(*peer);
	bool allowed = false;
	size_t nr_groups;
	gid_t *groups;

	*peer = (struct ucred){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) < 0)
		return false;
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	groups = peer_groups(fd, &nr_groups);
	for (unsigned int l = 0; l < 2; l++) {
		for (unsigned int i = 0; i < lists[l]->count; i++) {
			const struct access_rule *rule = &lists[l]->rule[i];

			allowed |= rule->is_group ? has_group(peer, groups, nr_groups, rule->id) :
						    peer->uid == rule->id;
		}
	}
	free(groups);
	return allowed;
}
