/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/suites.h"

/* Snapshots that are damaged, forged, or of another version. */

static struct memory ram;
static struct bytes_out bytes;
static uint8_t page[PAGE];
static const uint64_t first_page[4] = { 1 };

static void setup(void)
{
	ck_assert_int_eq(memory_init(&ram, 2 * MIB + PAGE, NULL), 0);
	memset(page, 'p', sizeof(page));
	put_front(&bytes, ram.size);
}

static void teardown(void)
{
	memory_destroy(&ram);
	bytes_out_free(&bytes);
}

/* What is written is what the specification says, byte for byte. */
START_TEST(as_specified)
{
	static const uint64_t pages[4] = { 1ULL << 63, 1 };
	struct bytes_out stream;
	uint8_t both[2 * PAGE];

	memset(both, 'p', sizeof(both));
	memset(memory_at(&ram, MIB + 63 * PAGE, sizeof(both)), 'p', sizeof(both));
	memset(memory_at(&ram, 2 * MIB, PAGE), 'p', PAGE);
	put_piece(&bytes, MIB, 0, pages, both, sizeof(both));
	put_piece(&bytes, 2 * MIB, 0, first_page, page, sizeof(page));
	put_end(&bytes, 4);
	stream_bytes(&ram, 0, &stream);
	ck_assert_uint_eq(stream.len, bytes.len);
	ck_assert(!memcmp(stream.data, bytes.data, bytes.len));
	bytes_out_free(&stream);
}
END_TEST

START_TEST(every_truncation_of_a_stream)
{
	struct bytes_out stream;
	struct error err;
	size_t len;

	fill_page(&ram, 2 * PAGE);
	stream_bytes(&ram, 0, &stream);
	memory_clear(&ram, NULL);
	for (len = 0; len < stream.len; len++) {
		ck_assert_msg(load_bytes(stream.data, len, &ram, &err) == -1, "%zu bytes", len);
		ck_assert_msg(strstr(err.text, "ends too early") != NULL, "%s", err.text);
	}
	ck_assert_uint_eq(present_pages(&ram, 0, ram.size), 0);
	ck_assert_int_eq(load_bytes(stream.data, len, &ram, &err), 0);
	check_page(&ram, 2 * PAGE);
	bytes_out_free(&stream);
}
END_TEST

/* All bits of a stream whose pages are compressed to little. */
START_TEST(every_flipped_bit_of_a_stream)
{
	struct bytes_out stream;
	struct error err;
	size_t bit;

	memset(memory_at(&ram, PAGE, PAGE), 1, PAGE);
	memset(memory_at(&ram, 4 * PAGE, PAGE), 1, PAGE);
	stream_bytes(&ram, 3, &stream);
	ck_assert_uint_lt(stream.len, 1024);
	memory_clear(&ram, NULL);
	for (bit = 0; bit < 8 * stream.len; bit++) {
		stream.data[bit / 8] ^= 1 << bit % 8;
		ck_assert_msg(load_bytes(stream.data, stream.len, &ram, &err) == -1, "bit %zu",
			      bit);
		stream.data[bit / 8] ^= 1 << bit % 8;
	}
	ck_assert_uint_eq(present_pages(&ram, 0, ram.size), 0);
	ck_assert_int_eq(load_bytes(stream.data, stream.len, &ram, &err), 0);
	bytes_out_free(&stream);
}
END_TEST

/* One bit of every byte of a page that is sent as it is. */
START_TEST(flipped_bits_of_raw_ram)
{
	struct error err;
	size_t at, head = bytes.len;

	put_piece(&bytes, MIB, 0, first_page, page, sizeof(page));
	put_end(&bytes, 3);
	for (at = head; at < bytes.len; at++) {
		bytes.data[at] ^= 1 << at % 8;
		ck_assert_msg(load_bytes(bytes.data, bytes.len, &ram, &err) == -1, "byte %zu", at);
		bytes.data[at] ^= 1 << at % 8;
	}
	ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &ram, &err), 0);
	ck_assert_mem_eq(ram.host + MIB, page, PAGE);
}
END_TEST

static bool opens(int fd, struct error *err)
{
	struct snapshot_transfer transfer = { 0 };
	struct sections sections = { 0 };
	struct snapshot_reader *reader;

	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	reader = snapshot_open(fd, &transfer, &sections, err);
	sections_free(&sections);
	snapshot_close(reader);
	return reader != NULL;
}

/* Where the front of the file ends: header 64, two sections with content, the end mark. */
#define FRONT   (64 + 56 + 11 + 56 + 4 + 56 + 8)

static int written_file(struct place *place)
{
	struct snapshot_transfer transfer = { 0 };
	struct sections sections;
	int fd;

	place_begin(place);
	make_sections(&sections);
	fill_page(&ram, 0);
	ck_assert_int_eq(snapshot_write_file(place->path, &sections, &ram, &transfer, NULL), 0);
	sections_free(&sections);
	fd = open(place->path, O_RDWR);
	ck_assert_int_ne(fd, -1);
	return fd;
}

START_TEST(every_flipped_bit_of_a_file)
{
	struct place place;
	int fd = written_file(&place);
	struct error err;
	uint8_t byte;
	size_t bit;

	for (bit = 0; bit < 8 * FRONT; bit++) {
		ck_assert_int_eq(pread(fd, &byte, 1, bit / 8), 1);
		byte ^= 1 << bit % 8;
		ck_assert_int_eq(pwrite(fd, &byte, 1, bit / 8), 1);
		ck_assert_msg(!opens(fd, &err), "bit %zu", bit);
		byte ^= 1 << bit % 8;
		ck_assert_int_eq(pwrite(fd, &byte, 1, bit / 8), 1);
	}
	/* RAM has no checksum: what is there is what the guest gets. */
	byte = 0x5a;
	ck_assert_int_eq(pwrite(fd, &byte, 1, 2 * MIB + 17 * PAGE), 1);
	ck_assert(opens(fd, &err));
	close(fd);
	place_end(&place);
}
END_TEST

START_TEST(every_truncation_of_a_file)
{
	struct place place;
	int fd = written_file(&place);
	uint8_t front[FRONT];
	struct error err;
	struct stat st;
	size_t len;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(pread(fd, front, FRONT, 0), FRONT);
	ck_assert_int_eq(ftruncate(fd, st.st_size + 1), 0);
	ck_assert(!opens(fd, &err));
	ck_assert_msg(strstr(err.text, "should have 4198400 bytes and has 4198401") != NULL, "%s",
		      err.text);
	ck_assert_int_eq(ftruncate(fd, st.st_size), 0);
	ck_assert(opens(fd, &err));
	ck_assert_int_eq(ftruncate(fd, st.st_size - 1), 0);
	ck_assert(!opens(fd, &err));
	for (len = FRONT; len--; ) {
		ck_assert_int_eq(ftruncate(fd, len), 0);
		ck_assert_msg(!opens(fd, &err), "%zu bytes", len);
		/*
		 * A copy whose end was lost, and that was then made as long as it was, as well; of
		 * the end mark's number all but the first byte is zero anyway.
		 */
		ck_assert_int_eq(ftruncate(fd, st.st_size), 0);
		ck_assert_msg(!opens(fd, &err) || len > FRONT - 8, "%zu bytes", len);
		ck_assert_int_eq(pwrite(fd, front, len, 0), len);
	}
	close(fd);
	place_end(&place);
}
END_TEST

static void refuse_header(uint32_t version, uint32_t form, uint64_t ram_size, uint64_t front,
			  uint64_t offset, const char *text)
{
	bytes_out_free(&bytes);
	put_header(&bytes, version, form, ram_size, front, offset);
	put_section(&bytes, "machine", 1, 1, "", 0);
	put_end(&bytes, 1);
	refuse_bytes(&bytes, &ram, text);
}

START_TEST(headers)
{
	static const uint8_t reserved[2][20] = { { 1 }, { [19] = 0x80 } };
	uint64_t size = ram.size;
	size_t i;

	for (i = 0; i < 2; i++) {
		bytes_out_free(&bytes);
		put_header_with(&bytes, 1, FORM_STREAM, size, 0, 0, reserved[i]);
		put_end(&bytes, 0);
		refuse_bytes(&bytes, &ram, "header is malformed");
	}
	refuse_header(2, FORM_STREAM, size, 0, 0, "format version 2");
	refuse_header(0, FORM_STREAM, size, 0, 0, "format version 0");
	refuse_header(1, 0, size, 0, 0, "header is malformed");
	refuse_header(1, 3, size, 0, 0, "header is malformed");
	refuse_header(1, FORM_STREAM, 0, 0, 0, "header is malformed");
	refuse_header(1, FORM_STREAM, size + 1, 0, 0, "header is malformed");
	refuse_header(1, FORM_STREAM, 1ULL << 60, 0, 0, "header is malformed");
	refuse_header(1, FORM_STREAM, size, 184, 0, "header is malformed");
	refuse_header(1, FORM_STREAM, size, 0, PAGE, "header is malformed");
	refuse_header(1, FORM_FILE, size, 0, PAGE, "header is malformed");
	refuse_header(1, FORM_FILE, size, 184, 0, "header is malformed");
	refuse_header(1, FORM_FILE, size, 184, PAGE + 512, "header is malformed");
	refuse_header(1, FORM_FILE, size, 2 * PAGE, PAGE, "header is malformed");
	refuse_header(1, FORM_FILE, size, 1ULL << 40, 1ULL << 41, "header is malformed");
	refuse_header(1, FORM_FILE, size, 184, -PAGE, "header is malformed");
	refuse_header(1, FORM_FILE, size, 184, PAGE, "should have 2105344 bytes and has 184");

	bytes.data[4] = '\n';
	refuse_bytes(&bytes, &ram, "copied as text");
	bytes.data[0] = '#';
	refuse_bytes(&bytes, &ram, "copied as text");
	bytes.data[1] = '!';
	refuse_bytes(&bytes, &ram, "is no snapshot");
}
END_TEST

/* The length of the front and what is in it must agree. */
START_TEST(fronts_of_files)
{
	static const struct { uint64_t front; const char *text; } bad[] = {
		{ 64 + 56 + 56 + 8 - 1, "go on behind their end" },
		{ 64 + 1, "go on behind their end" },
		{ 64 + 56 + 56 + 8 + 1, "end too early" },
	};
	size_t i;

	for (i = 0; i < 4; i++) {
		uint64_t front = i < 3 ? bad[i].front : 64 + 56 + 56 + 8;

		bytes_out_free(&bytes);
		put_header(&bytes, 1, FORM_FILE, ram.size, front, PAGE);
		put_section(&bytes, "machine", 1, 1, "", 0);
		put_end(&bytes, 1);
		while (bytes.len < PAGE)
			bytes_put_u8(&bytes, 0);
		bytes_put(&bytes, ram.host, ram.size);
		if (i < 3)
			refuse_bytes(&bytes, &ram, bad[i].text);
		else
			ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &ram,
						    &(struct error){ 0 }), 0);
	}
	/* RAM pieces are for streams. */
	bytes_out_free(&bytes);
	put_header(&bytes, 1, FORM_FILE, ram.size, 64 + 56 + 48 + PAGE + 64, 3 * PAGE);
	put_piece(&bytes, 0, 0, first_page, page, sizeof(page));
	put_end(&bytes, 1);
	while (bytes.len < 3 * PAGE)
		bytes_put_u8(&bytes, 0);
	bytes_put(&bytes, ram.host, ram.size);
	refuse_bytes(&bytes, &ram, "name is reserved");
}
END_TEST

/* `len` of what is there stays; the next case is put in its place. */
static void refuse_and_rewind(size_t len, const char *text)
{
	refuse_bytes(&bytes, &ram, text);
	bytes.len = len;
}

START_TEST(sections_of_streams)
{
	size_t len = bytes.len;

	put_section(&bytes, "serial", 1, 1, "", 0);
	refuse_and_rewind(len, "\"serial\" is there twice");
	put_section(&bytes, "Serial", 1, 1, "", 0);
	refuse_and_rewind(len, "malformed name");
	put_section(&bytes, "", 1, 1, "", 0);
	refuse_and_rewind(len, "malformed name");
	put_section(&bytes, "a\0b", 1, 1, "", 0);
	memcpy(bytes.data + len, "a\0b", 3);
	refuse_and_rewind(len, "wrong checksum");
	put_section(&bytes, "rtc", 0, 1, "", 0);
	refuse_and_rewind(len, "\"rtc\": its header is malformed");
	put_section(&bytes, "rtc", 1, 2, "", 0);
	refuse_and_rewind(len, "\"rtc\": its header is malformed");
	put_end(&bytes, 1);
	refuse_and_rewind(len, "sections are missing");
	put_end(&bytes, 3);
	refuse_and_rewind(len, "sections are missing");
	put_section(&bytes, "end", 2, 1, "\2\0\0\0\0\0\0\0", 8);
	refuse_and_rewind(len, "end mark is malformed");
	put_section(&bytes, "end", 1, 1, "\2\0\0\0\0\0\0", 7);
	refuse_and_rewind(len, "end mark is malformed");
	put_section(&bytes, "end", 1, 0, "\2\0\0\0\0\0\0\0", 8);
	refuse_and_rewind(len, "end mark is malformed");
}
END_TEST

/* Lengths are not believed: neither is that much memory taken nor that much waited for. */
START_TEST(lengths_beyond_the_bound)
{
	uint8_t *data = calloc(1, SECTIONS_BYTES_MAX);
	size_t len;

	put_section_head(&bytes, "huge", 1, 1, UINT64_MAX, 0);
	refuse_and_rewind(0, "\"huge\": with it the sections have more than 67108864 bytes");
	put_header(&bytes, 1, FORM_STREAM, ram.size, 0, 0);
	put_section(&bytes, "big", 1, 1, data, SECTIONS_BYTES_MAX);
	put_section(&bytes, "small", 1, 1, "x", 1);
	refuse_and_rewind(0, "\"small\": with it the sections have more than");
	free(data);
	put_header(&bytes, 1, FORM_STREAM, ram.size, 0, 0);
	put_piece(&bytes, MIB, 0, first_page, page, PAGE);
	len = bytes.len;
	put_section_head(&bytes, "huge", 1, 0, UINT64_MAX, 0);
	refuse_and_rewind(len, "and the most is 67108864");
	put_section_head(&bytes, "ram", 1, 1, UINT64_MAX, 0);
	refuse_and_rewind(len, "wrong kind or length");
	put_section_head(&bytes, "ram", 1, 1, 48 + MIB + 1, 0);
	refuse_and_rewind(len, "wrong kind or length");
	put_section_head(&bytes, "ram", 1, 0, 48 + PAGE, 0);
	refuse_and_rewind(len, "wrong kind or length");
	put_section_head(&bytes, "end", 1, 1, UINT64_MAX, 0);
	refuse_and_rewind(len, "end mark is malformed");
}
END_TEST

START_TEST(pieces)
{
	static const uint64_t none[4] = { 0 }, last[4] = { [3] = 1ULL << 63 }, two[4] = { 3 };
	size_t len = bytes.len;

	put_piece(&bytes, PAGE, 0, first_page, page, PAGE);
	refuse_and_rewind(len, "malformed RAM piece");
	put_piece(&bytes, MIB, 0, none, page, PAGE);
	refuse_and_rewind(len, "malformed RAM piece");
	put_piece(&bytes, MIB, 2, first_page, page, PAGE);
	refuse_and_rewind(len, "malformed RAM piece");
	put_piece(&bytes, MIB, 1ULL << 32, first_page, page, PAGE);
	refuse_and_rewind(len, "malformed RAM piece");
	put_piece(&bytes, MIB, 0, first_page, page, PAGE - 1);
	refuse_and_rewind(len, "wrong length");
	put_piece(&bytes, MIB, 0, two, page, PAGE);
	refuse_and_rewind(len, "wrong length");
	put_piece(&bytes, MIB, 1, two, page, 0);
	refuse_and_rewind(len, "wrong kind or length");
	put_piece(&bytes, 2 * MIB, 0, last, page, PAGE);
	refuse_and_rewind(len, "outside of RAM");
	put_piece(&bytes, 3 * MIB, 0, first_page, page, PAGE);
	refuse_and_rewind(len, "outside of RAM");
	put_piece(&bytes, MEMORY_HIGH, 0, first_page, page, PAGE);
	refuse_and_rewind(len, "outside of RAM");
	put_piece(&bytes, -MIB, 0, last, page, PAGE);
	refuse_and_rewind(len, "outside of RAM");
	put_piece(&bytes, MIB, 0, first_page, page, PAGE);
	put_piece(&bytes, MIB, 0, last, page, PAGE);
	refuse_and_rewind(len, "out of order, or there twice");
	put_piece(&bytes, MIB, 0, first_page, page, PAGE);
	put_piece(&bytes, 0, 0, first_page, page, PAGE);
	refuse_and_rewind(len, "out of order, or there twice");
	put_section(&bytes, "ram", 2, 1, page, PAGE);
	refuse_and_rewind(len, "\"ram\" has version 2");
}
END_TEST

static void put_zstd(uint64_t gpa, const uint64_t pages[4], const void *data, size_t len,
		     size_t cut)
{
	size_t size = ZSTD_compressBound(len), n;
	uint8_t *compressed = malloc(size);

	n = ZSTD_compress(compressed, size, data, len, 1);
	ck_assert(!ZSTD_isError(n));
	put_piece(&bytes, gpa, 1, pages, compressed, n - cut);
	free(compressed);
}

START_TEST(compressed_pieces)
{
	uint8_t *many = malloc(MIB);
	struct error err;
	size_t len = bytes.len;

	memset(many, 'p', MIB);
	put_zstd(MIB, first_page, many, MIB, 0);
	refuse_and_rewind(len, "can not expand");
	put_zstd(MIB, first_page, many, PAGE + 1, 0);
	refuse_and_rewind(len, "can not expand");
	put_zstd(MIB, first_page, many, PAGE - 1, 0);
	refuse_and_rewind(len, "expands to 4095 bytes");
	put_zstd(MIB, first_page, many, PAGE, 1);
	refuse_and_rewind(len, "can not expand");
	put_piece(&bytes, MIB, 1, first_page, page, PAGE);
	refuse_and_rewind(len, "can not expand");
	put_zstd(MIB, first_page, many, PAGE, 0);
	put_end(&bytes, 3);
	ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &ram, &err), 0);
	ck_assert_mem_eq(ram.host + MIB, page, PAGE);
	free(many);
}
END_TEST

/* Between RAM pieces, where a later version may put something. */
START_TEST(sections_among_ram)
{
	size_t len;

	put_piece(&bytes, MIB, 0, first_page, page, PAGE);
	len = bytes.len;
	put_section(&bytes, "dirty-rate", 1, 1, "x", 1);
	refuse_and_rewind(len, "\"dirty-rate\" among RAM is required");
	put_section(&bytes, "dirty-rate", 1, 0, "x", 1);
	bytes.data[bytes.len - 1] = 'y';
	refuse_and_rewind(len, "\"dirty-rate\" has a wrong checksum");
	put_section(&bytes, "dirty-rate", 1, 0, "x", 1);
	put_end(&bytes, 4);
	ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &ram, &(struct error){ 0 }), 0);
	ck_assert_mem_eq(ram.host + MIB, page, PAGE);
}
END_TEST

Suite *snapshot_bad_suite(void)
{
	Suite *s = suite_create("snapshot_bad");
	TCase *t = tcase_create("snapshot_bad");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, as_specified);
	tcase_add_test(t, every_truncation_of_a_stream);
	tcase_add_test(t, every_flipped_bit_of_a_stream);
	tcase_add_test(t, flipped_bits_of_raw_ram);
	tcase_add_test(t, every_flipped_bit_of_a_file);
	tcase_add_test(t, every_truncation_of_a_file);
	tcase_add_test(t, headers);
	tcase_add_test(t, fronts_of_files);
	tcase_add_test(t, sections_of_streams);
	tcase_add_test(t, lengths_beyond_the_bound);
	tcase_add_test(t, pieces);
	tcase_add_test(t, compressed_pieces);
	tcase_add_test(t, sections_among_ram);
	suite_add_tcase(s, t);
	return s;
}
