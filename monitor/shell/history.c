/* SPDX-License-Identifier: MIT */
#include "monitor/shell/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the directories in front of the last slash. */
static int make_directories(char *path)
{
	char *slash;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			*slash = '/';
			return -1;
		}
		*slash = '/';
	}
	return 0;
}

char *history_path(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path;
	int rc = -1;

	if (state && *state == '/')
		rc = asprintf(&path, "%s/vmonsh/history", state);
	else if (home && *home == '/')
		rc = asprintf(&path, "%s/.local/state/vmonsh/history", home);
	if (rc < 0)
		return NULL;
	if (make_directories(path) == 0)
		return path;
	free(path);
	return NULL;
}

static FILE *open_private(const char *path, int flags, const char *mode)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *file;

	if (fd < 0)
		return NULL;
	file = fdopen(fd, mode);
	if (!file)
		close(fd);
	return file;
}

/* The last lines, in a ring. */
struct ring {
	char *line[HISTORY_LINES];
	size_t count;           /* of all lines that there were */
};

static void read_ring(FILE *file, struct ring *ring)
{
	char *line = NULL, *copy;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, file)) > 0) {
		char **slot = &ring->line[ring->count % HISTORY_LINES];

		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (!len)
			continue;
		copy = strdup(line);
		if (!copy)
			continue;
		free(*slot);
		*slot = copy;
		ring->count++;
	}
	free(line);
}

/* Beside the old one and renamed, so that no line is lost whenever it ends. */
static void rewrite(const char *path, const struct ring *ring)
{
	char *beside;
	FILE *file;
	bool failed;
	size_t i;

	if (asprintf(&beside, "%s.%ld", path, (long)getpid()) < 0)
		return;
	file = open_private(beside, O_WRONLY | O_CREAT | O_EXCL, "w");
	if (file) {
		for (i = 0; i < HISTORY_LINES; i++)
			fprintf(file, "%s\n", ring->line[(ring->count + i) % HISTORY_LINES]);
		failed = ferror(file);
		if (fclose(file) || failed || rename(beside, path) < 0)
			unlink(beside);
	}
	free(beside);
}

void history_load(const char *path, void (*fn)(void *opaque, const char *line), void *opaque)
{
	FILE *file = path ? open_private(path, O_RDONLY, "r") : NULL;
	struct ring ring = { 0 };
	size_t i;

	if (!file)
		return;
	read_ring(file, &ring);
	fclose(file);
	for (i = ring.count > HISTORY_LINES ? ring.count - HISTORY_LINES : 0; i < ring.count; i++)
		fn(opaque, ring.line[i % HISTORY_LINES]);
	if (ring.count >= 2 * HISTORY_LINES)
		rewrite(path, &ring);
	for (i = 0; i < HISTORY_LINES; i++)
		free(ring.line[i]);
}

void history_append(const char *path, const char *line)
{
	FILE *file;

	if (!path || !*line || *line == ' ')
		return;
	file = open_private(path, O_WRONLY | O_APPEND | O_CREAT, "a");
	if (!file)
		return;
	fprintf(file, "%s\n", line);
	fclose(file);
}
