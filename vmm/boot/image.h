/* SPDX-License-Identifier: MIT */
#ifndef VMM_BOOT_IMAGE_H
#define VMM_BOOT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"

/* A regular file that is kept open.  All zero but for fd == -1 when there is none. */
struct boot_image {
	int fd;
	uint64_t size;                  /* when it was opened; what it grows later is not seen */
	char *path;
	char label[256];                /* "kernel /boot/vmlinux": begins every message about it */
};

/*
 * Opens a regular, non-empty file.  Anything else is refused without blocking.  `what` and `path`
 * make the label.  boot_image_close() is for every image that was opened or set to fd == -1.
 */
int boot_image_open(struct boot_image *image, const char *what, const char *path,
		    struct error *err);
void boot_image_close(struct boot_image *image);

/* Reads exactly len bytes, or fails. */
int boot_image_read(const struct boot_image *image, uint64_t offset, void *buf, uint64_t len,
		    struct error *err);

/* Whether [offset, offset + len) is inside the file. */
static inline bool boot_image_has(const struct boot_image *image, uint64_t offset, uint64_t len)
{
	return offset <= image->size && len <= image->size - offset;
}

#endif
