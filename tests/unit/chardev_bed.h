/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CHARDEV_BED_H
#define TESTS_UNIT_CHARDEV_BED_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/chardev.h"

/*
 * What a chardev needs around it: an event loop, a guest that takes as much input as `appetite`
 * allows, a log, a directory.  Standard input and output are the test's to replace.
 */
struct chardev_bed {
	struct event_base *base;
	struct event *wake_event;
	struct chardev *chardev;
	char directory[32];
	char address[64], *path;
	int saved_stdin, saved_stdout, wake_fd;
	size_t appetite;                /* bytes that the guest takes yet */
	size_t eaten_len;
	uint8_t eaten[65536];           /* what it took */
	unsigned int quits;             /* how often Ctrl-a x came */
	unsigned int log_lines;         /* warnings and errors */
	size_t log_dropped;             /* sum of the bytes that they say were dropped */
	char last_log[1024];
};
extern struct chardev_bed bed;

void bed_setup(void);
void bed_teardown(void);

/* As chardev_config.wake.  Any thread. */
void bed_wake(void *opaque);

/* Creates and starts bed.chardev; the second must succeed. */
int bed_try_open(const char *what, struct error *err);
void bed_open(const char *what);
void bed_free_chardev(void);

/* "KIND:/tmp/.../port"; the path alone is in bed.path. */
const char *bed_address(const char *kind);

/* All that the loop has to do by itself. */
void bed_settle(void);

void bed_transmit(const char *text);

/* Bytes [from, to) of a stream of which every piece shows where it stands, `step` at a time. */
void bed_transmit_stream(size_t from, size_t to, size_t step);
void bed_expect_stream(const uint8_t *bytes, size_t from, size_t len);

/* What a descriptor has to give without anybody's waiting; the second must be that. */
size_t bed_read_available(int fd, uint8_t *bytes, size_t size);
void bed_expect_text(int fd, const char *text);

/* What the guest has taken since the start.  Waits for it, as a terminal takes its own time. */
void bed_expect_eaten(const char *text);

#endif
