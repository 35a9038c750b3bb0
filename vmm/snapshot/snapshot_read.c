/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/snapshot/crc32c.h"

/* Content comes in steps, so that memory is taken only for bytes that really came. */
#define STEP    16384

static int read_plain(struct snapshot_reader *reader, void *data, size_t len, struct error *err)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };

	return snapshot_fd_read(&reader->fd, &iov, 1, err);
}

static int read_ahead(struct snapshot_reader *reader, struct error *err)
{
	size_t len = reader->front_left < SNAPSHOT_AHEAD ? reader->front_left : SNAPSHOT_AHEAD;

	if (!len)
		return error_set(err, EINVAL, "the snapshot is malformed: its sections go on "
				 "behind their end");
	if (read_plain(reader, reader->ahead, len, err) == -1)
		return -1;
	reader->front_left -= len;
	reader->ahead_at = 0;
	reader->ahead_len = len;
	return 0;
}

int snapshot_read_bytes(struct snapshot_reader *reader, void *data, size_t len, struct error *err)
{
	uint8_t *to = data;
	size_t n;

	if (!reader->ahead)
		return read_plain(reader, data, len, err);
	for (; len; to += n, len -= n) {
		if (reader->ahead_at == reader->ahead_len && read_ahead(reader, err) == -1)
			return -1;
		n = reader->ahead_len - reader->ahead_at;
		if (n > len)
			n = len;
		memcpy(to, reader->ahead + reader->ahead_at, n);
		reader->ahead_at += n;
	}
	return 0;
}

int snapshot_read_section(struct snapshot_reader *reader, struct snapshot_section *section,
			  struct error *err)
{
	uint8_t bytes[SNAPSHOT_SECTION_LEN];

	if (snapshot_read_bytes(reader, bytes, sizeof(bytes), err) == -1)
		return -1;
	return snapshot_section_decode(bytes, section, err);
}

int snapshot_check_crc(const struct snapshot_section *section, uint32_t crc, struct error *err)
{
	if (crc == section->crc)
		return 0;
	return error_set(err, EINVAL, "the snapshot is damaged: section \"%s\" has a wrong "
			 "checksum", section->name);
}

int snapshot_read_content(struct snapshot_reader *reader, const struct snapshot_section *section,
			  struct bytes_out *out, struct error *err)
{
	uint8_t step[STEP];
	uint32_t crc = 0;
	uint64_t left;
	size_t n;

	if (section->len > SECTIONS_BYTES_MAX)
		return error_set(err, E2BIG, "section \"%s\": %" PRIu64 " bytes, and the most is "
				 "%u", section->name, section->len, SECTIONS_BYTES_MAX);
	for (left = section->len; left; left -= n) {
		n = left < STEP ? left : STEP;
		if (snapshot_read_bytes(reader, step, n, err) == -1)
			return -1;
		crc = crc32c(crc, step, n);
		if (out)
			bytes_put(out, step, n);
		if (out && out->failed)
			return error_set(err, ENOMEM, "section \"%s\": out of memory",
					 section->name);
	}
	reader->sections++;
	return snapshot_check_crc(section, crc, err);
}

int snapshot_read_end(struct snapshot_reader *reader, const struct snapshot_section *section,
		      struct error *err)
{
	uint64_t sections = reader->sections;
	struct bytes_out content = { 0 };
	struct bytes_in in;
	int result;

	if (section->version != 1 || !section->required || section->len != SNAPSHOT_END_LEN)
		return error_set(err, EINVAL, "the snapshot's end mark is malformed");
	result = snapshot_read_content(reader, section, &content, err);
	if (result == 0) {
		in = (struct bytes_in){ .data = content.data, .len = content.len };
		if (bytes_get_u64(&in) != sections)
			result = error_set(err, EINVAL, "the snapshot is damaged: some of its "
					   "sections are missing");
	}
	bytes_out_free(&content);
	return result;
}

/* What only a regular file can give; its size was fixed when it was written. */
static int begin_file(struct snapshot_reader *reader, struct error *err)
{
	const struct snapshot_header *header = &reader->header;
	uint64_t size = header->ram_offset + header->ram;
	struct stat st;

	if (fstat(reader->fd.fd, &st) == -1)
		return error_errno(err, errno, "cannot read the snapshot");
	if (!S_ISREG(st.st_mode) || lseek(reader->fd.fd, 0, SEEK_CUR) != SNAPSHOT_HEADER_LEN)
		return error_set(err, ESPIPE, "this snapshot is of the form that is mapped from a "
				 "file, which can not come by a pipe, a socket or in a larger "
				 "file: name the file itself");
	if ((uint64_t)st.st_size != size)
		return error_set(err, EINVAL, "the snapshot is damaged: the file should have %"
				 PRIu64 " bytes and has %" PRIu64, size, (uint64_t)st.st_size);
	reader->ahead = malloc(SNAPSHOT_AHEAD);
	if (!reader->ahead)
		return error_set(err, ENOMEM, "out of memory to read the snapshot");
	reader->front_left = header->front - SNAPSHOT_HEADER_LEN;
	return 0;
}

static int read_header(struct snapshot_reader *reader, struct error *err)
{
	uint8_t bytes[SNAPSHOT_HEADER_LEN];

	if (snapshot_read_bytes(reader, bytes, sizeof(bytes), err) == -1 ||
	    snapshot_header_decode(bytes, &reader->header, err) == -1)
		return -1;
	return reader->header.form == SNAPSHOT_FILE ? begin_file(reader, err) : 0;
}

static int read_state(struct snapshot_reader *reader, struct sections *sections, uint64_t *bytes,
		      struct error *err)
{
	const struct snapshot_section *head = &reader->next;
	struct bytes_out *content;

	*bytes += head->len;
	if (head->len > SECTIONS_BYTES_MAX || *bytes > SECTIONS_BYTES_MAX)
		return error_set(err, E2BIG, "section \"%s\": with it the sections have more than "
				 "%u bytes", head->name, SECTIONS_BYTES_MAX);
	content = sections_add(sections, head->name, head->version, head->required, err);
	if (!content)
		return -1;
	return snapshot_read_content(reader, head, content, err);
}

/* To the end mark of a file, which is read, or to the header of that or of RAM in a stream. */
static int read_front(struct snapshot_reader *reader, struct sections *sections, struct error *err)
{
	bool file = reader->header.form == SNAPSHOT_FILE;
	uint64_t bytes = 0;

	for (;;) {
		if (snapshot_read_section(reader, &reader->next, err) == -1)
			return -1;
		if (!strcmp(reader->next.name, "end"))
			break;
		if (!file && !strcmp(reader->next.name, "ram"))
			return 0;
		if (read_state(reader, sections, &bytes, err) == -1)
			return -1;
	}
	if (!file)
		return 0;
	if (snapshot_read_end(reader, &reader->next, err) == -1)
		return -1;
	if (reader->front_left || reader->ahead_at != reader->ahead_len)
		return error_set(err, EINVAL, "the snapshot is malformed: its sections end too "
				 "early");
	return 0;
}

struct snapshot_reader *snapshot_open(int fd, struct snapshot_transfer *transfer,
				      struct sections *sections, struct error *err)
{
	struct snapshot_reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		error_set(err, ENOMEM, "out of memory to read the snapshot");
		return NULL;
	}
	reader->transfer = transfer;
	if (snapshot_fd_begin(&reader->fd, fd, false, transfer, err) == -1 ||
	    read_header(reader, err) == -1 || read_front(reader, sections, err) == -1) {
		sections_free(sections);
		snapshot_close(reader);
		return NULL;
	}
	transfer->total = transfer->remaining = reader->header.ram;
	return reader;
}

enum snapshot_form snapshot_reader_form(const struct snapshot_reader *reader)
{
	return reader->header.form;
}

uint64_t snapshot_reader_ram(const struct snapshot_reader *reader)
{
	return reader->header.ram;
}

void snapshot_close(struct snapshot_reader *reader)
{
	if (!reader)
		return;
	snapshot_fd_end(&reader->fd);
	free(reader->ahead);
	free(reader);
}
