/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vmm/snapshot/crc32c.h"

struct loader {
	struct snapshot_reader *reader;
	struct memory *memory;
	uint64_t next;                          /* no piece may begin below this address */
	uint64_t pages;                         /* so far */
	/* From the first compressed piece on: */
	ZSTD_DCtx *zstd;
	uint8_t *compressed, *window;           /* SNAPSHOT_WINDOW bytes each */
};

/* A piece's pages in guest memory. */
struct runs {
	struct iovec iov[SNAPSHOT_WINDOW_RUNS];
	int nr;
	size_t len;                             /* together */
};

static int find_runs(const struct memory *memory, const struct snapshot_piece *piece,
		     struct runs *runs, struct error *err)
{
	unsigned int page, nr;
	struct iovec *iov;

	runs->nr = 0;
	runs->len = 0;
	for (page = 0; snapshot_next_run(piece->pages, &page, &nr); page += nr) {
		iov = &runs->iov[runs->nr++];
		iov->iov_len = nr * SNAPSHOT_PAGE;
		iov->iov_base = memory_at(memory, piece->gpa + page * SNAPSHOT_PAGE,
					  iov->iov_len);
		if (!iov->iov_base)
			return error_set(err, EINVAL, "the snapshot has a RAM piece at 0x%" PRIx64
					 " that is outside of RAM", piece->gpa);
		runs->len += iov->iov_len;
	}
	return 0;
}

static int read_raw(struct loader *loader, const struct snapshot_section *section,
		    const struct runs *runs, uint32_t crc, struct error *err)
{
	struct iovec iov[SNAPSHOT_WINDOW_RUNS];
	int i;

	/* Reading uses the vector up. */
	memcpy(iov, runs->iov, (size_t)runs->nr * sizeof(*iov));
	if (snapshot_fd_read(&loader->reader->fd, iov, runs->nr, err) == -1)
		return -1;
	for (i = 0; i < runs->nr; i++)
		crc = crc32c(crc, runs->iov[i].iov_base, runs->iov[i].iov_len);
	return snapshot_check_crc(section, crc, err);
}

static int begin_decompression(struct loader *loader, struct error *err)
{
	if (loader->zstd)
		return 0;
	loader->compressed = malloc(SNAPSHOT_WINDOW);
	loader->window = malloc(SNAPSHOT_WINDOW);
	loader->zstd = ZSTD_createDCtx();
	if (!loader->compressed || !loader->window || !loader->zstd)
		return error_set(err, ENOMEM, "out of memory to read compressed RAM");
	return 0;
}

static int decompress(struct loader *loader, const struct snapshot_piece *piece, size_t len,
		      const struct runs *runs, struct error *err)
{
	uint8_t *to = runs->nr == 1 ? runs->iov[0].iov_base : loader->window;
	size_t result;
	int i;

	result = ZSTD_decompressDCtx(loader->zstd, to, runs->len, loader->compressed, len);
	if (ZSTD_isError(result))
		return error_set(err, EINVAL, "the snapshot has a RAM piece at 0x%" PRIx64
				 " that zstd can not expand: %s", piece->gpa,
				 ZSTD_getErrorName(result));
	if (result != runs->len)
		return error_set(err, EINVAL, "the snapshot has a RAM piece at 0x%" PRIx64
				 " that expands to %zu bytes, not to %zu", piece->gpa, result,
				 runs->len);
	if (to != loader->window)
		return 0;
	for (i = 0; i < runs->nr; to += runs->iov[i].iov_len, i++)
		memcpy(runs->iov[i].iov_base, to, runs->iov[i].iov_len);
	return 0;
}

static int read_zstd(struct loader *loader, const struct snapshot_section *section,
		     const struct snapshot_piece *piece, const struct runs *runs, uint32_t crc,
		     struct error *err)
{
	size_t len = section->len - SNAPSHOT_PIECE_LEN;

	if (begin_decompression(loader, err) == -1 ||
	    snapshot_read_bytes(loader->reader, loader->compressed, len, err) == -1 ||
	    snapshot_check_crc(section, crc32c(crc, loader->compressed, len), err) == -1)
		return -1;
	return decompress(loader, piece, len, runs, err);
}

static void count(struct loader *loader, uint64_t end, size_t len)
{
	struct snapshot_transfer *transfer = loader->reader->transfer;
	const struct memory_part *part = loader->memory->part;
	uint64_t done = end < part->size ? end : part->size;

	if (end > MEMORY_HIGH && loader->memory->nr_parts > 1)
		done += end - MEMORY_HIGH < part[1].size ? end - MEMORY_HIGH : part[1].size;
	loader->pages += len / SNAPSHOT_PAGE;
	transfer->normal_pages = loader->pages;
	transfer->zero_pages = done / SNAPSHOT_PAGE - loader->pages;
	transfer->remaining = loader->memory->size - done;
}

static int read_piece(struct loader *loader, const struct snapshot_section *section,
		      struct error *err)
{
	uint8_t bytes[SNAPSHOT_PIECE_LEN];
	struct snapshot_piece piece;
	struct runs runs;
	uint32_t crc;
	int result;

	if (section->version != 1)
		return error_set(err, ENOTSUP, "section \"ram\" has version %" PRIu32 ", and this "
				 "vmond knows version 1: use the vmond that saved it, or a newer "
				 "one", section->version);
	if (!section->required || section->len <= SNAPSHOT_PIECE_LEN ||
	    section->len > SNAPSHOT_PIECE_LEN + SNAPSHOT_WINDOW)
		return error_set(err, EINVAL, "the snapshot has a RAM piece of a wrong kind or "
				 "length");
	if (snapshot_read_bytes(loader->reader, bytes, sizeof(bytes), err) == -1 ||
	    snapshot_piece_decode(bytes, &piece, err) == -1)
		return -1;
	if (piece.gpa < loader->next)
		return error_set(err, EINVAL, "the snapshot has a RAM piece at 0x%" PRIx64 " that "
				 "is out of order, or there twice", piece.gpa);
	if (find_runs(loader->memory, &piece, &runs, err) == -1)
		return -1;
	if (piece.encoding == SNAPSHOT_RAW && section->len != SNAPSHOT_PIECE_LEN + runs.len)
		return error_set(err, EINVAL, "the snapshot has a RAM piece of a wrong length");
	crc = crc32c(0, bytes, sizeof(bytes));
	result = piece.encoding == SNAPSHOT_RAW ?
		 read_raw(loader, section, &runs, crc, err) :
		 read_zstd(loader, section, &piece, &runs, crc, err);
	if (result == -1)
		return -1;
	loader->reader->sections++;
	loader->next = piece.gpa + SNAPSHOT_WINDOW;
	count(loader, loader->next, runs.len);
	return 0;
}

static int read_all(struct loader *loader, struct error *err)
{
	struct snapshot_reader *reader = loader->reader;
	const struct snapshot_section *section = &reader->next;
	int result;

	for (;;) {
		if (!strcmp(section->name, "end"))
			return snapshot_read_end(reader, section, err);
		if (!strcmp(section->name, "ram"))
			result = read_piece(loader, section, err);
		else if (section->required)
			result = error_set(err, ENOTSUP, "section \"%s\" among RAM is required, "
					   "and this vmond does not know it", section->name);
		else
			result = snapshot_read_content(reader, section, NULL, err);
		if (result == -1 || snapshot_read_section(reader, &reader->next, err) == -1)
			return -1;
	}
}

int snapshot_read_stream_ram(struct snapshot_reader *reader, struct memory *memory,
			     struct error *err)
{
	struct loader loader = { .reader = reader, .memory = memory };
	int result = read_all(&loader, err);

	if (result == 0)
		count(&loader, UINT64_MAX, 0);
	ZSTD_freeDCtx(loader.zstd);
	free(loader.compressed);
	free(loader.window);
	return result;
}
