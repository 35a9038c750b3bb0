/* SPDX-License-Identifier: MIT */
#include "monitor/shell/target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "monitor/shell/candidates.h"

#define SYSTEM_DIRECTORY "/run/vmond"
#define SUFFIX           ".sock"
#define DIRECTORIES      2

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The directory by number, to be freed; NULL when it is not there. */
static char *directory_at(unsigned int i)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (i)
		return strdup(SYSTEM_DIRECTORY);
	if (!runtime || *runtime != '/' || asprintf(&path, "%s/vmond", runtime) < 0)
		return NULL;
	return path;
}

static char *socket_of(const char *directory, const char *name)
{
	char *path;

	if (!directory || asprintf(&path, "%s/%s" SUFFIX, directory, name) < 0)
		return NULL;
	if (is_socket(path))
		return path;
	free(path);
	return NULL;
}

/* The length of a file's name without the suffix; 0 when it is not a name with that behind it. */
static size_t name_length(const char *file)
{
	size_t len = strlen(file), n = strlen(SUFFIX);

	return len > n && strcmp(file + len - n, SUFFIX) == 0 ? len - n : 0;
}

char *target_name(const char *path)
{
	const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
	size_t len = name_length(file);

	return len ? strndup(file, len) : strdup(file);
}

static void list_directory(struct candidates *list, const char *directory)
{
	DIR *dir = directory ? opendir(directory) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t len = name_length(entry->d_name);

		if (len)
			candidates_add_prefixed(list, "", entry->d_name, len, ' ', NULL);
	}
	if (dir)
		closedir(dir);
}

static void list_names(struct candidates *list)
{
	unsigned int i;

	for (i = 0; i < DIRECTORIES; i++) {
		char *directory = directory_at(i);

		list_directory(list, directory);
		free(directory);
	}
	candidates_sort(list);
}

static char *find_name(const char *name, struct error *err)
{
	char *path = NULL;
	unsigned int i;

	for (i = 0; i < DIRECTORIES && !path; i++) {
		char *directory = directory_at(i);

		path = socket_of(directory, name);
		free(directory);
	}
	if (!path && is_socket(name))
		path = strdup(name);
	if (!path)
		error_set(err, ENOENT, "%s: no VM of this name: there is no %s.sock in "
			  "$XDG_RUNTIME_DIR/vmond and " SYSTEM_DIRECTORY "; a path has a slash",
			  name, name);
	return path;
}

/* The one that there is. */
static char *find_only(struct error *err)
{
	struct candidates list = { 0 };
	char *path = NULL, names[200] = "";
	size_t i, used = 0;

	list_names(&list);
	if (list.count == 1)
		path = find_name(list.item[0].text, err);
	for (i = 0; i < list.count && used < sizeof(names); i++)
		used += snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
				 list.item[i].text);
	if (list.count > 1)
		error_set(err, EINVAL, "which VM?  Say -s and one of: %s", names);
	else if (!path)
		error_set(err, ENOENT, "which server?  Say -s SOCKET, or set VMOND_SOCKET");
	candidates_free(&list);
	return path;
}

char *target_find(const char *target, struct error *err)
{
	char *path;

	if (!target)
		target = getenv("VMOND_SOCKET");
	if (!target || !*target)
		return find_only(err);
	if (strncmp(target, "unix:", 5) == 0)
		target += 5;
	else if (!strchr(target, '/'))
		return find_name(target, err);
	path = strdup(target);
	if (!path)
		error_set(err, ENOMEM, "out of memory for a path");
	return path;
}
