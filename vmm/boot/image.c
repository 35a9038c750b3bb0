/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The end of a long path says more than its start, and the reason has to fit behind it. */
#define LABEL_PATH_MAX 200

static void make_label(struct boot_image *image, const char *what, const char *path)
{
	size_t len = strlen(path);
	const char *dots = "";

	if (len > LABEL_PATH_MAX) {
		path += len - LABEL_PATH_MAX;
		/* Not in the middle of a UTF-8 character. */
		while ((*path & 0xc0) == 0x80)
			path++;
		dots = "...";
	}
	snprintf(image->label, sizeof(image->label), "%s %s%s", what, dots, path);
	/* A message is one line. */
	for (char *c = image->label; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static const char *file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "a special file";
	}
}

int boot_image_open(struct boot_image *image, const char *what, const char *path,
		    struct error *err)
{
	struct stat st;

	make_label(image, what, path);
	/* O_NONBLOCK: opening a FIFO or a terminal line would wait for its other end. */
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (image->fd < 0)
		return error_errno(err, errno, "%s: can not open it", image->label);
	if (fstat(image->fd, &st) < 0) {
		error_errno(err, errno, "%s: can not look at it", image->label);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(err, EINVAL, "%s: it is %s; name a regular file", image->label,
			  file_kind(st.st_mode));
		goto fail;
	}
	if (st.st_size == 0) {
		error_set(err, ENOEXEC, "%s: the file is empty", image->label);
		goto fail;
	}
	image->size = st.st_size;
	image->path = strdup(path);
	if (!image->path) {
		error_errno(err, ENOMEM, "%s", image->label);
		goto fail;
	}
	return 0;
fail:
	close(image->fd);
	image->fd = -1;
	return -1;
}

void boot_image_close(struct boot_image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
	free(image->path);
	image->path = NULL;
}

int boot_image_read(const struct boot_image *image, uint64_t offset, void *buf, uint64_t len,
		    struct error *err)
{
	uint8_t *to = buf;
	ssize_t n;

	if (!boot_image_has(image, offset, len))
		return error_set(err, ENOEXEC,
				 "%s: cut short: %llu bytes wanted at offset %llu of %llu",
				 image->label, (unsigned long long)len, (unsigned long long)offset,
				 (unsigned long long)image->size);
	while (len > 0) {
		n = pread(image->fd, to, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "%s: can not read it", image->label);
		if (n == 0)
			return error_set(err, EIO, "%s: the file has become shorter; put it back",
					 image->label);
		to += n;
		offset += n;
		len -= n;
	}
	return 0;
}
