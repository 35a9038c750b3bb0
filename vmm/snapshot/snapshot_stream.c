/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vmm/snapshot/crc32c.h"

#define VECTOR_MAX      (1 + SNAPSHOT_WINDOW_RUNS)

struct stream {
	struct snapshot_fd fd;
	struct snapshot_transfer *transfer;
	uint64_t sections;                      /* so far */
	/* Only with compression: */
	ZSTD_CCtx *zstd;
	uint8_t *window, *compressed;           /* a window's pages close together; of these */
	size_t compressed_size;
};

/* What goes out as one section: iov[0] is its header and the piece's head. */
struct piece {
	struct snapshot_piece head;
	uint8_t bytes[SNAPSHOT_SECTION_LEN + SNAPSHOT_PIECE_LEN];
	struct iovec iov[VECTOR_MAX];
	int nr;
};

static int begin_compression(struct stream *stream, int level, struct error *err)
{
	size_t result;

	stream->compressed_size = ZSTD_compressBound(SNAPSHOT_WINDOW);
	stream->zstd = ZSTD_createCCtx();
	stream->window = malloc(SNAPSHOT_WINDOW);
	stream->compressed = malloc(stream->compressed_size);
	if (!stream->zstd || !stream->window || !stream->compressed)
		return error_set(err, ENOMEM, "out of memory to compress RAM");
	if (level < 1 || level > ZSTD_maxCLevel())
		return error_set(err, EINVAL, "zstd level %d: levels are 1 to %d", level,
				 ZSTD_maxCLevel());
	result = ZSTD_CCtx_setParameter(stream->zstd, ZSTD_c_compressionLevel, level);
	if (ZSTD_isError(result))
		return error_set(err, EINVAL, "zstd level %d: %s", level,
				 ZSTD_getErrorName(result));
	return 0;
}

static void add_runs(struct piece *piece, uint8_t *host)
{
	unsigned int page, nr;

	for (page = 0; snapshot_next_run(piece->head.pages, &page, &nr); page += nr)
		piece->iov[piece->nr++] = (struct iovec){
			.iov_base = host + page * SNAPSHOT_PAGE,
			.iov_len = nr * SNAPSHOT_PAGE,
		};
}

/* Puts compressed bytes in the place of the runs, unless they would be no fewer. */
static int compress(struct stream *stream, struct piece *piece, struct error *err)
{
	const uint8_t *from = piece->iov[1].iov_base;
	size_t len = 0, result;
	int i;

	for (i = 1; i < piece->nr; i++) {
		if (piece->nr > 2)
			memcpy(stream->window + len, piece->iov[i].iov_base,
			       piece->iov[i].iov_len);
		len += piece->iov[i].iov_len;
	}
	if (piece->nr > 2)
		from = stream->window;
	result = ZSTD_compress2(stream->zstd, stream->compressed, stream->compressed_size, from,
				len);
	if (ZSTD_isError(result))
		return error_set(err, EIO, "zstd: %s", ZSTD_getErrorName(result));
	if (result >= len)
		return 0;
	piece->head.encoding = SNAPSHOT_ZSTD;
	piece->iov[1] = (struct iovec){ .iov_base = stream->compressed, .iov_len = result };
	piece->nr = 2;
	return 0;
}

static int send_piece(struct stream *stream, struct piece *piece, uint8_t *host,
		      struct error *err)
{
	struct snapshot_section section = { .name = "ram", .version = 1, .required = true };
	uint8_t *head = piece->bytes + SNAPSHOT_SECTION_LEN;
	int i;

	piece->head.encoding = SNAPSHOT_RAW;
	piece->iov[0] = (struct iovec){ .iov_base = piece->bytes,
					.iov_len = sizeof(piece->bytes) };
	piece->nr = 1;
	add_runs(piece, host);
	if (stream->zstd && compress(stream, piece, err) == -1)
		return -1;
	snapshot_piece_encode(&piece->head, head);
	section.len = SNAPSHOT_PIECE_LEN;
	section.crc = crc32c(0, head, SNAPSHOT_PIECE_LEN);
	for (i = 1; i < piece->nr; i++) {
		section.len += piece->iov[i].iov_len;
		section.crc = crc32c(section.crc, piece->iov[i].iov_base, piece->iov[i].iov_len);
	}
	snapshot_section_encode(&section, piece->bytes);
	stream->sections++;
	return snapshot_fd_write(&stream->fd, piece->iov, piece->nr, err);
}

static int send_part(struct stream *stream, struct ram_scan *scan, const struct memory_part *part,
		     struct error *err)
{
	struct snapshot_transfer *transfer = stream->transfer;
	struct piece piece;
	uint64_t offset, len;
	unsigned int nr;

	for (offset = 0; offset < part->size; offset += len) {
		if (snapshot_check_cancelled(transfer, err) == -1)
			return -1;
		len = ram_scan_window(scan, part, offset, piece.head.pages);
		nr = snapshot_count_pages(piece.head.pages);
		piece.head.gpa = part->gpa + offset;
		if (nr && send_piece(stream, &piece, part->host + offset, err) == -1)
			return -1;
		transfer->normal_pages += nr;
		transfer->zero_pages += len / SNAPSHOT_PAGE - nr;
		transfer->remaining -= len;
	}
	return 0;
}

static int send_bytes(struct stream *stream, void *data, size_t len, struct error *err)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };

	return snapshot_fd_write(&stream->fd, &iov, 1, err);
}

static int send_all(struct stream *stream, const struct sections *sections,
		    const struct memory *memory, struct error *err)
{
	struct snapshot_header header = { .form = SNAPSHOT_STREAM, .ram = memory->size };
	uint8_t end[SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN];
	struct bytes_out front;
	struct ram_scan scan;
	unsigned int i;
	int result;

	if (snapshot_front_encode(&header, sections, &front, err) == -1)
		return -1;
	result = send_bytes(stream, front.data, front.len, err);
	bytes_out_free(&front);
	if (result == -1 || ram_scan_begin(&scan, memory, err) == -1)
		return -1;
	stream->sections = sections->nr;
	for (i = 0; i < memory->nr_parts && result == 0; i++)
		result = send_part(stream, &scan, &memory->part[i], err);
	ram_scan_end(&scan);
	if (result == -1)
		return -1;
	snapshot_end_encode(stream->sections, end);
	return send_bytes(stream, end, sizeof(end), err);
}

int snapshot_write_stream(int fd, const struct sections *sections, const struct memory *memory,
			  struct snapshot_transfer *transfer, struct error *err)
{
	struct stream stream = { .transfer = transfer };
	int result = 0;

	transfer->total = transfer->remaining = memory->size;
	if (snapshot_fd_begin(&stream.fd, fd, true, transfer, err) == -1)
		return -1;
	if (transfer->zstd_level)
		result = begin_compression(&stream, transfer->zstd_level, err);
	if (result == 0)
		result = send_all(&stream, sections, memory, err);
	ZSTD_freeCCtx(stream.zstd);
	free(stream.window);
	free(stream.compressed);
	snapshot_fd_end(&stream.fd);
	return result;
}
