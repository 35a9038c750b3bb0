/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/snapshot/crc32c.h"

/*
 * No text begins with the first byte, transfers of 7 bits lose its top bit, and those that convert
 * line ends or stop at an end-of-file character change what follows the letters.
 */
static const uint8_t magic[8] = { 0x9e, 'V', 'M', 'S', '\r', '\n', 0x1a, '\n' };
#define MAGIC_LETTERS   4

/* In the header's field "form". */
#define FORM_STREAM     1
#define FORM_FILE       2

#define FLAG_REQUIRED   0x1u

/* Physical addresses of x86 end here. */
#define RAM_MAX         (1ULL << 52)

/* The front of the largest snapshot there can be: SECTIONS_MAX and the end mark. */
#define FRONT_MAX       (SNAPSHOT_HEADER_LEN + SECTIONS_BYTES_MAX + \
			 (SECTIONS_MAX + 1) * SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN)

/* Bytes of a length known beforehand, into an array: bytes_put() never has to make room. */
static struct bytes_out fixed(uint8_t *data, size_t size)
{
	return (struct bytes_out){ .data = data, .size = size };
}

/* Both kinds of header end with the checksum of what is in front of it. */
static void seal(struct bytes_out *out)
{
	bytes_put_u32(out, crc32c(0, out->data, out->len));
}

static bool sealed(const uint8_t *bytes, size_t len)
{
	struct bytes_in in = { .data = bytes, .len = len, .at = len - sizeof(uint32_t) };

	return bytes_get_u32(&in) == crc32c(0, bytes, len - sizeof(uint32_t));
}

static void header_encode(const struct snapshot_header *header, struct bytes_out *out)
{
	uint8_t bytes[SNAPSHOT_HEADER_LEN];
	struct bytes_out h = fixed(bytes, sizeof(bytes));

	bytes_put(&h, magic, sizeof(magic));
	bytes_put_u32(&h, SNAPSHOT_VERSION);
	bytes_put_u32(&h, header->form == SNAPSHOT_FILE ? FORM_FILE : FORM_STREAM);
	bytes_put_u64(&h, header->ram);
	bytes_put_u64(&h, header->front);
	bytes_put_u64(&h, header->ram_offset);
	while (h.len < SNAPSHOT_HEADER_LEN - sizeof(uint32_t))
		bytes_put_u8(&h, 0);
	seal(&h);
	bytes_put(out, bytes, sizeof(bytes));
}

static int check_magic(const uint8_t *bytes, struct error *err)
{
	if (!memcmp(bytes, magic, sizeof(magic)))
		return 0;
	if (!memcmp(bytes, magic, MAGIC_LETTERS) ||
	    !memcmp(bytes + 1, magic + 1, MAGIC_LETTERS - 1))
		return error_set(err, EINVAL, "the snapshot was damaged on its way: it seems to "
				 "have been copied as text; copy it as binary data");
	return error_set(err, EINVAL, "this is no snapshot: it does not begin as one does");
}

static bool all_zero(struct bytes_in *in, size_t len)
{
	bool zero = true;

	while (len--)
		zero &= !bytes_get_u8(in);
	return zero;
}

static bool header_sound(const struct snapshot_header *header)
{
	if (!header->ram || header->ram % SNAPSHOT_PAGE || header->ram > RAM_MAX)
		return false;
	if (header->form == SNAPSHOT_STREAM)
		return !header->front && !header->ram_offset;
	return header->front > SNAPSHOT_HEADER_LEN && header->front <= FRONT_MAX &&
	       header->ram_offset >= header->front && header->ram_offset <= RAM_MAX &&
	       header->ram_offset % SNAPSHOT_PAGE == 0;
}

int snapshot_header_decode(const uint8_t bytes[SNAPSHOT_HEADER_LEN], struct snapshot_header *header,
			   struct error *err)
{
	struct bytes_in in = { .data = bytes, .len = SNAPSHOT_HEADER_LEN };
	uint32_t version, form;
	bool zero;

	if (check_magic(bytes, err) == -1)
		return -1;
	if (!sealed(bytes, SNAPSHOT_HEADER_LEN))
		return error_set(err, EINVAL, "the snapshot is damaged: its header has a wrong "
				 "checksum");
	bytes_take(&in, sizeof(magic));
	version = bytes_get_u32(&in);
	if (version != SNAPSHOT_VERSION)
		return error_set(err, ENOTSUP, "the snapshot has format version %" PRIu32 ", and "
				 "this vmond knows version %d: use the vmond that saved it, or a "
				 "newer one", version, SNAPSHOT_VERSION);
	form = bytes_get_u32(&in);
	header->form = form == FORM_FILE ? SNAPSHOT_FILE : SNAPSHOT_STREAM;
	header->ram = bytes_get_u64(&in);
	header->front = bytes_get_u64(&in);
	header->ram_offset = bytes_get_u64(&in);
	zero = all_zero(&in, bytes_left(&in) - sizeof(uint32_t));
	if ((form != FORM_STREAM && form != FORM_FILE) || !zero || !header_sound(header))
		return error_set(err, EINVAL, "the snapshot's header is malformed");
	return 0;
}

void snapshot_section_encode(const struct snapshot_section *section,
			     uint8_t bytes[SNAPSHOT_SECTION_LEN])
{
	struct bytes_out out = fixed(bytes, SNAPSHOT_SECTION_LEN);

	bytes_put(&out, section->name, sizeof(section->name));
	bytes_put_u32(&out, section->version);
	bytes_put_u32(&out, section->required ? FLAG_REQUIRED : 0);
	bytes_put_u64(&out, section->len);
	bytes_put_u32(&out, section->crc);
	seal(&out);
}

/* The bytes behind the name are zero, so that there is one way to write it. */
static bool name_sound(const char name[SECTION_NAME_MAX + 1])
{
	size_t i = strnlen(name, SECTION_NAME_MAX + 1);

	for (; i <= SECTION_NAME_MAX; i++)
		if (name[i])
			return false;
	return !name[SECTION_NAME_MAX] && section_name_valid(name);
}

int snapshot_section_decode(const uint8_t bytes[SNAPSHOT_SECTION_LEN],
			    struct snapshot_section *section, struct error *err)
{
	struct bytes_in in = { .data = bytes, .len = SNAPSHOT_SECTION_LEN };
	uint32_t flags;

	if (!sealed(bytes, SNAPSHOT_SECTION_LEN))
		return error_set(err, EINVAL, "the snapshot is damaged: a section's header has a "
				 "wrong checksum");
	bytes_get(&in, section->name, sizeof(section->name));
	section->version = bytes_get_u32(&in);
	flags = bytes_get_u32(&in);
	section->required = flags & FLAG_REQUIRED;
	section->len = bytes_get_u64(&in);
	section->crc = bytes_get_u32(&in);
	if (!name_sound(section->name))
		return error_set(err, EINVAL, "the snapshot has a section with a malformed name");
	if (!section->version || flags & ~FLAG_REQUIRED)
		return error_set(err, EINVAL, "section \"%s\": its header is malformed",
				 section->name);
	return 0;
}

void snapshot_piece_encode(const struct snapshot_piece *piece, uint8_t bytes[SNAPSHOT_PIECE_LEN])
{
	struct bytes_out out = fixed(bytes, SNAPSHOT_PIECE_LEN);
	unsigned int i;

	bytes_put_u64(&out, piece->gpa);
	bytes_put_u32(&out, piece->encoding);
	bytes_put_u32(&out, 0);
	for (i = 0; i < SNAPSHOT_WINDOW_WORDS; i++)
		bytes_put_u64(&out, piece->pages[i]);
}

int snapshot_piece_decode(const uint8_t bytes[SNAPSHOT_PIECE_LEN], struct snapshot_piece *piece,
			  struct error *err)
{
	struct bytes_in in = { .data = bytes, .len = SNAPSHOT_PIECE_LEN };
	uint32_t encoding, zero;
	unsigned int i;

	piece->gpa = bytes_get_u64(&in);
	encoding = bytes_get_u32(&in);
	zero = bytes_get_u32(&in);
	for (i = 0; i < SNAPSHOT_WINDOW_WORDS; i++)
		piece->pages[i] = bytes_get_u64(&in);
	if (encoding > SNAPSHOT_ZSTD || zero || piece->gpa % SNAPSHOT_WINDOW ||
	    !snapshot_count_pages(piece->pages))
		return error_set(err, EINVAL, "the snapshot has a malformed RAM piece");
	piece->encoding = encoding;
	return 0;
}

uint64_t snapshot_front_len(enum snapshot_form form, const struct sections *sections)
{
	uint64_t len = SNAPSHOT_HEADER_LEN;
	unsigned int i;

	for (i = 0; i < sections->nr; i++)
		len += SNAPSHOT_SECTION_LEN + sections->section[i].content.len;
	if (form == SNAPSHOT_FILE)
		len += SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN;
	return len;
}

int snapshot_front_encode(const struct snapshot_header *header, const struct sections *sections,
			  struct bytes_out *front, struct error *err)
{
	uint8_t bytes[SNAPSHOT_SECTION_LEN], end[SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN];
	unsigned int i;

	memset(front, 0, sizeof(*front));
	if (sections_complete(sections, err) == -1)
		return -1;
	header_encode(header, front);
	for (i = 0; i < sections->nr; i++) {
		const struct section *section = &sections->section[i];
		struct snapshot_section head = {
			.version = section->version,
			.required = section->required,
			.len = section->content.len,
			.crc = crc32c(0, section->content.data, section->content.len),
		};

		memcpy(head.name, section->name, sizeof(head.name));
		snapshot_section_encode(&head, bytes);
		bytes_put(front, bytes, sizeof(bytes));
		bytes_put(front, section->content.data, section->content.len);
	}
	if (header->form == SNAPSHOT_FILE) {
		snapshot_end_encode(sections->nr, end);
		bytes_put(front, end, sizeof(end));
	}
	if (front->failed) {
		bytes_out_free(front);
		return error_set(err, ENOMEM, "out of memory for the state to be saved");
	}
	return 0;
}

void snapshot_end_encode(uint64_t sections,
			 uint8_t bytes[SNAPSHOT_SECTION_LEN + SNAPSHOT_END_LEN])
{
	struct snapshot_section end = {
		.name = "end", .version = 1, .required = true, .len = SNAPSHOT_END_LEN,
	};
	struct bytes_out content = fixed(bytes + SNAPSHOT_SECTION_LEN, SNAPSHOT_END_LEN);

	bytes_put_u64(&content, sections);
	end.crc = crc32c(0, content.data, content.len);
	snapshot_section_encode(&end, bytes);
}

bool snapshot_next_run(const uint64_t pages[SNAPSHOT_WINDOW_WORDS], unsigned int *page,
		       unsigned int *nr)
{
	unsigned int first = *page, end;

	while (first < SNAPSHOT_WINDOW_PAGES && !(pages[first / 64] >> first % 64 & 1))
		first++;
	for (end = first; end < SNAPSHOT_WINDOW_PAGES && pages[end / 64] >> end % 64 & 1; end++)
		;
	*page = first;
	*nr = end - first;
	return *nr;
}

unsigned int snapshot_count_pages(const uint64_t pages[SNAPSHOT_WINDOW_WORDS])
{
	unsigned int i, nr = 0;

	for (i = 0; i < SNAPSHOT_WINDOW_WORDS; i++)
		nr += (unsigned int)__builtin_popcountll(pages[i]);
	return nr;
}
