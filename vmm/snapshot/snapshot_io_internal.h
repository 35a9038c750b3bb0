/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_SNAPSHOT_IO_INTERNAL_H
#define VMM_SNAPSHOT_SNAPSHOT_IO_INTERNAL_H

#include <sys/uio.h>

#include "vmm/snapshot/snapshot_io.h"

/*
 * What the writers and readers of snapshots share.  vmond-snapshot(5) is the specification; the
 * names here are its names.
 */

/* ---- the format (snapshot_format.c) ---- */

#define SNAPSHOT_VERSION        1
#define SNAPSHOT_HEADER_LEN     64
#define SNAPSHOT_SECTION_LEN    56              /* of a section's header */
#define SNAPSHOT_END_LEN        8               /* of the end mark's content */
#define SNAPSHOT_PAGE           4096ULL

/*
 * A RAM piece is about one window, an aligned MiB of guest-physical memory, and says by a bitmap
 * which of its pages it has.
 */
#define SNAPSHOT_WINDOW         (1ULL << 20)
#define SNAPSHOT_WINDOW_PAGES   256
#define SNAPSHOT_WINDOW_WORDS   (SNAPSHOT_WINDOW_PAGES / 64)
#define SNAPSHOT_PIECE_LEN      48              /* of a piece's head */
/* No two runs of pages touch each other, and a run has at least one page. */
#define SNAPSHOT_WINDOW_RUNS    (SNAPSHOT_WINDOW_PAGES / 2)

/*
 * Where the file form's RAM may begin, and where the writer lets it begin: guest memory is aligned
 * like that on the host, so file systems that have large pages can map them.
 */
#define SNAPSHOT_RAM_ALIGN      (2ULL << 20)

struct snapshot_header {
	enum snapshot_form form;
	uint64_t ram;                           /* in bytes, a multiple of SNAPSHOT_PAGE */
	uint64_t front, ram_offset;             /* file form: where the end mark ends, RAM begins */
};

struct snapshot_section {
	char name[SECTION_NAME_MAX + 1];
	uint32_t version;
	bool required;
	uint64_t len;
	uint32_t crc;                           /* of the content */
};

enum snapshot_encoding { SNAPSHOT_RAW, SNAPSHOT_ZSTD };

struct snapshot_piece {
	uint64_t gpa;
	enum snapshot_encoding encoding;
	uint64_t pages[SNAPSHOT_WINDOW_WORDS];  /* bit n: page n of the window */
};

int snapshot_header_decode(const uint8_t bytes[SNAPSHOT_HEADER_LEN], struct snapshot_header *header,
			   struct error *err);
void snapshot_section_encode(const struct snapshot_section *section,
			     uint8_t bytes[SNAPSHOT_SECTION_LEN]);
int snapshot_section_decode(const uint8_t bytes[SNAPSHOT_SECTION_LEN],
			    struct snapshot_section *section, struct error *err);
void snapshot_piece_encode(const struct snapshot_piece *piece, uint8_t bytes[SNAPSHOT_PIECE_LEN]);
/* Whether the window lies in RAM is not checked. */
int snapshot_piece_decode(const uint8_t bytes[SNAPSHOT_PIECE_LEN], struct snapshot_piece *piece,
			  struct error *err);

/*
 * All that comes in front of RAM: header and sections, and in the file form the end mark.  To be
 * freed with bytes_out_free() on success.
 */
int snapshot_front_encode(const struct snapshot_header *header, const struct sections *sections,
			  struct bytes_out *front, struct error *err);
/* The length of that. */
uint64_t snapshot_front_len(enum snapshot_form form, const struct sections *sections);
/* The end mark, of a snapshot with so many sections. */
void snapshot_end_encode(uint64_t sections,
			 uint8_t bytes[SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN]);

/* The next run of pages from *page on: its first page and their number.  False behind the last. */
bool snapshot_next_run(const uint64_t pages[SNAPSHOT_WINDOW_WORDS], unsigned int *page,
		       unsigned int *nr);
unsigned int snapshot_count_pages(const uint64_t pages[SNAPSHOT_WINDOW_WORDS]);

/* ---- RAM to be saved (snapshot_ram.c) ---- */

/*
 * Tells pages with something in them from zero ones.  Pages that nobody has touched are known from
 * /proc/self/pagemap, and from the holes of the file that RAM is mapped from, and not read.
 */
struct ram_scan {
	const struct memory *memory;
	int pagemap;                            /* -1: unusable, everything is read */
	uint64_t *entry;                        /* of /proc/self/pagemap, for these host pages: */
	uintptr_t entry_first;
	size_t entry_nr;
	/* The extent of the file with data at or behind what was last asked for. */
	bool extents;                           /* the file system knows them */
	uint64_t data_start, data_end;
};

int ram_scan_begin(struct ram_scan *scan, const struct memory *memory, struct error *err);
/*
 * The pages that are not zero of the window at `offset` in a part; returns the window's length,
 * which is less than SNAPSHOT_WINDOW at the end of a part.
 */
uint64_t ram_scan_window(struct ram_scan *scan, const struct memory_part *part, uint64_t offset,
			 uint64_t pages[SNAPSHOT_WINDOW_WORDS]);
void ram_scan_end(struct ram_scan *scan);

/* ---- descriptors (snapshot_fd.c) ---- */

/* When a transfer may go on, and whether. */
struct snapshot_pace {
	struct snapshot_transfer *transfer;
	uint64_t started;                       /* CLOCK_MONOTONIC, in nanoseconds */
	uint64_t bytes;
};

void snapshot_pace_begin(struct snapshot_pace *pace, struct snapshot_transfer *transfer);
/* The most bytes to write at once, so that pauses stay short; at most `max`. */
size_t snapshot_pace_chunk(const struct snapshot_pace *pace, size_t max);
/* Waits until the average allows more.  Fails with ECANCELED. */
int snapshot_pace_wait(const struct snapshot_pace *pace, struct error *err);
/* So many bytes have been moved. */
void snapshot_pace_count(struct snapshot_pace *pace, size_t bytes);
/* -1 with ECANCELED when it is. */
int snapshot_check_cancelled(const struct snapshot_transfer *transfer, struct error *err);

/* A descriptor of any kind, none of whose reads and writes outlasts a cancellation for long. */
struct snapshot_fd {
	int fd;
	enum { SNAPSHOT_FD_DISK, SNAPSHOT_FD_SOCKET, SNAPSHOT_FD_OTHER } kind;
	int flags;                              /* O_NONBLOCK was set, these were before; or -1 */
	struct snapshot_pace pace;
};

int snapshot_fd_begin(struct snapshot_fd *fd, int number, bool writing,
		      struct snapshot_transfer *transfer, struct error *err);
/* Write or read all of it; the vector is used up. */
int snapshot_fd_write(struct snapshot_fd *fd, struct iovec *iov, int nr, struct error *err);
int snapshot_fd_read(struct snapshot_fd *fd, struct iovec *iov, int nr, struct error *err);
void snapshot_fd_end(struct snapshot_fd *fd);

/* ---- reading (snapshot_read.c, snapshot_read_ram.c, snapshot_read_stream.c) ---- */

#define SNAPSHOT_AHEAD  65536

struct snapshot_reader {
	struct snapshot_fd fd;
	struct snapshot_transfer *transfer;
	struct snapshot_header header;
	uint64_t sections;                      /* how many have come so far */
	struct snapshot_section next;           /* stream: the header that was read last */
	/*
	 * The file form's front is read in large bites; a stream exactly as far as it is needed,
	 * since behind its end mark somebody else's bytes may follow.
	 */
	uint64_t front_left;
	uint8_t *ahead;                         /* SNAPSHOT_AHEAD bytes, these of them unread: */
	size_t ahead_at, ahead_len;
};

int snapshot_read_bytes(struct snapshot_reader *reader, void *data, size_t len, struct error *err);
int snapshot_read_section(struct snapshot_reader *reader, struct snapshot_section *section,
			  struct error *err);
/* Content; `out` NULL: read, checked and thrown away. */
int snapshot_read_content(struct snapshot_reader *reader, const struct snapshot_section *section,
			  struct bytes_out *out, struct error *err);
int snapshot_check_crc(const struct snapshot_section *section, uint32_t crc, struct error *err);
int snapshot_read_end(struct snapshot_reader *reader, const struct snapshot_section *section,
		      struct error *err);
int snapshot_read_stream_ram(struct snapshot_reader *reader, struct memory *memory,
			     struct error *err);

#endif
