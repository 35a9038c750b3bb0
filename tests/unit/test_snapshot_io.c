/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/suites.h"

static struct memory ram, copy;
static struct sections sections;
static struct place place;

static void setup(void)
{
	ck_assert_int_eq(memory_init(&ram, 5 * MIB + 2 * PAGE, NULL), 0);
	ck_assert_int_eq(memory_init(&copy, ram.size, NULL), 0);
	make_sections(&sections);
	place_begin(&place);
}

static void teardown(void)
{
	memory_destroy(&ram);
	memory_destroy(&copy);
	sections_free(&sections);
	place_end(&place);
}

/* Runs of several lengths, over the border of windows and up to the last page. */
static const uint64_t filled[] = {
	0, 2 * PAGE, 3 * PAGE, 40 * PAGE, MIB - PAGE, MIB, MIB + PAGE, 3 * MIB - PAGE,
	5 * MIB + PAGE,
};
#define NR_FILLED (sizeof(filled) / sizeof(filled[0]))

static void fill_some(void)
{
	size_t i;

	for (i = 0; i < NR_FILLED; i++)
		fill_page(&ram, filled[i]);
	/* Touched, and zero all the same. */
	memset(memory_at(&ram, 2 * MIB, MIB / 2), 0, MIB / 2);
}

static void check_some(const struct memory *memory)
{
	uint64_t gpa;
	size_t i = 0;

	for (gpa = 0; gpa < ram.size; gpa += PAGE)
		if (i < NR_FILLED && filled[i] == gpa) {
			check_page(memory, gpa);
			i++;
		} else {
			check_zero(memory, gpa, PAGE);
		}
}

static int save_file(const struct memory *memory)
{
	struct snapshot_transfer transfer = { 0 };
	struct error err;
	int fd;

	ck_assert_msg(snapshot_write_file(place.path, &sections, memory, &transfer, &err) == 0,
		      "%s", err.text);
	ck_assert_uint_eq(transfer.total, memory->size);
	ck_assert_uint_eq(transfer.remaining, 0);
	ck_assert_uint_eq(transfer.zero_pages + transfer.normal_pages, memory->size / PAGE);
	ck_assert_uint_eq(place_files(&place), 1);
	fd = open(place.path, O_RDWR);
	ck_assert_int_ne(fd, -1);
	return fd;
}

static struct snapshot_reader *open_file(int fd, struct snapshot_transfer *transfer)
{
	struct snapshot_reader *reader;
	struct sections read = { 0 };
	struct error err;

	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	reader = snapshot_open(fd, transfer, &read, &err);
	ck_assert_msg(reader != NULL, "%s", err.text);
	ck_assert_int_eq(snapshot_reader_form(reader), SNAPSHOT_FILE);
	check_sections(&read);
	sections_free(&read);
	return reader;
}

static void map_file(int fd, struct memory *memory)
{
	struct snapshot_transfer transfer = { 0 };
	struct snapshot_reader *reader = open_file(fd, &transfer);
	struct error err;

	ck_assert_uint_eq(snapshot_reader_ram(reader), memory->size);
	ck_assert_msg(snapshot_map_ram(reader, memory, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(transfer.remaining, 0);
	snapshot_close(reader);
}

static void read_back(int zstd_level)
{
	struct snapshot_transfer transfer = { 0 };
	struct sections read = { 0 };
	struct bytes_out bytes;
	struct error err = { 0 };
	int fd;

	memory_clear(&copy, NULL);
	stream_bytes(&ram, zstd_level, &bytes);
	fd = bytes_fd(bytes.data, bytes.len);
	ck_assert_msg(load_fd(fd, &copy, &read, &transfer, &err) == 0, "%s", err.text);
	check_sections(&read);
	check_some(&copy);
	ck_assert_uint_eq(transfer.total, ram.size);
	ck_assert_uint_eq(transfer.remaining, 0);
	ck_assert_uint_eq(transfer.normal_pages, NR_FILLED);
	ck_assert_uint_eq(transfer.zero_pages, ram.size / PAGE - NR_FILLED);
	ck_assert_uint_eq(transfer.transferred, bytes.len);
	sections_free(&read);
	bytes_out_free(&bytes);
	close(fd);
}

START_TEST(stream_there_and_back)
{
	fill_some();
	read_back(0);
	read_back(1);
	read_back(19);
}
END_TEST

/* What compression does not make smaller goes as it is, and both kinds may come in one stream. */
START_TEST(compression_that_does_not_pay)
{
	struct bytes_out raw, packed;
	uint64_t *word = memory_at(&ram, MIB, PAGE), value = 88172645463325252;
	size_t i;

	for (i = 0; i < PAGE / 8; i++) {
		value ^= value << 13;
		value ^= value >> 7;
		value ^= value << 17;
		word[i] = value;
	}
	stream_bytes(&ram, 0, &raw);
	stream_bytes(&ram, 9, &packed);
	ck_assert_uint_eq(packed.len, raw.len);
	ck_assert_mem_eq(packed.data, raw.data, raw.len);
	bytes_out_free(&raw);
	bytes_out_free(&packed);
	memset(ram.host, 1, MIB);
	stream_bytes(&ram, 9, &packed);
	ck_assert_uint_lt(packed.len, 3 * PAGE);
	ck_assert_int_eq(load_bytes(packed.data, packed.len, &copy, &(struct error){ 0 }), 0);
	ck_assert(!memcmp(ram.host, copy.host, ram.size));
	bytes_out_free(&packed);
}
END_TEST

/* A page is zero when all of it is. */
START_TEST(one_byte_of_a_page)
{
	struct bytes_out bytes;
	size_t i;

	for (i = 0; i < PAGE / 8; i++)
		ram.host[2 * i * PAGE + 8 * i + i % 8] = 0x80;
	stream_bytes(&ram, 1, &bytes);
	ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &copy, &(struct error){ 0 }), 0);
	ck_assert(!memcmp(ram.host, copy.host, ram.size));
	bytes_out_free(&bytes);
}
END_TEST

START_TEST(file_there_and_back)
{
	struct snapshot_transfer transfer = { 0 };
	struct snapshot_reader *reader;
	struct stat st;
	int fd;

	fill_some();
	fd = save_file(&ram);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	/* The front takes less than 2 MiB, where RAM then begins. */
	ck_assert_uint_eq(st.st_size, 2 * MIB + ram.size);
	ck_assert_uint_lt(st.st_blocks * 512, MIB);

	map_file(fd, &copy);
	check_some(&copy);
	/* Copy on write, so that the file stays as it is. */
	memset(copy.host, 0xff, copy.size);
	memory_clear(&copy, NULL);
	reader = open_file(fd, &transfer);
	ck_assert_int_eq(snapshot_read_ram(reader, &copy, NULL), 0);
	check_some(&copy);
	ck_assert_uint_eq(transfer.remaining, 0);
	ck_assert_uint_eq(transfer.zero_pages + transfer.normal_pages, ram.size / PAGE);
	snapshot_close(reader);
	close(fd);
}
END_TEST

START_TEST(mapping_keeps_what_memory_has)
{
	unsigned char resident;
	uint8_t *host = copy.host;
	int fd, status;
	pid_t pid;

	fill_some();
	fd = save_file(&ram);
	map_file(fd, &copy);
	close(fd);
	ck_assert_int_eq(unlink(place.path), 0);
	ck_assert_ptr_eq(copy.host, host);
	ck_assert(copy.from_file);
	check_some(&copy);
	pid = fork();
	ck_assert_int_ne(pid, -1);
	if (!pid)
		_exit(mincore(host, 4096, &resident) == -1 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(two_parts)
{
	static const uint64_t gpa[] = {
		0, MEMORY_LOW_MAX - PAGE, MEMORY_HIGH, MEMORY_HIGH + MIB, MEMORY_HIGH + 2 * MIB,
	};
	struct memory large, other;
	struct bytes_out bytes;
	struct error err;
	struct sysinfo si;
	int fd, way;
	size_t i;

	ck_assert_int_eq(sysinfo(&si), 0);
	if ((uint64_t)si.totalram * si.mem_unit < 2 * MEMORY_HIGH)
		return;
	ck_assert_int_eq(memory_init(&large, MEMORY_LOW_MAX + 2 * MIB + PAGE, NULL), 0);
	for (i = 0; i < 5; i++)
		fill_page(&large, gpa[i]);
	fd = save_file(&large);
	stream_bytes(&large, 0, &bytes);
	for (way = 0; way < 2; way++) {
		ck_assert_int_eq(memory_init(&other, large.size, NULL), 0);
		if (way)
			ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &other, &err), 0);
		else
			map_file(fd, &other);
		for (i = 0; i < 5; i++)
			check_page(&other, gpa[i]);
		check_zero(&other, PAGE, MIB);
		check_zero(&other, MEMORY_HIGH + PAGE, MIB - PAGE);
		memory_destroy(&other);
	}
	close(fd);
	bytes_out_free(&bytes);
	memory_destroy(&large);
}
END_TEST

/* As long as nobody reads it: by neither form, nor from a clone, and clones stay small. */
START_TEST(untouched_stays_untouched)
{
	struct memory large, clone;
	struct bytes_out bytes;
	int fd;

	ck_assert_int_eq(memory_init(&large, 256 * MIB, NULL), 0);
	/* Else the first touch brings in a large page. */
	ck_assert_int_eq(madvise(large.host, large.size, MADV_NOHUGEPAGE), 0);
	fill_page(&large, 0);
	fill_page(&large, 77 * MIB);
	fill_page(&large, 77 * MIB + 3 * PAGE);
	stream_bytes(&large, 0, &bytes);
	bytes_out_free(&bytes);
	fd = save_file(&large);
	ck_assert_uint_eq(present_pages(&large, 0, large.size), 3);

	ck_assert_int_eq(memory_init(&clone, large.size, NULL), 0);
	map_file(fd, &clone);
	close(fd);
	fill_page(&clone, 200 * MIB);
	stream_bytes(&clone, 0, &bytes);
	ck_assert_int_eq(load_bytes(bytes.data, bytes.len, &large, &(struct error){ 0 }), 0);
	check_page(&large, 77 * MIB);
	check_page(&large, 77 * MIB + 3 * PAGE);
	check_page(&large, 200 * MIB);
	bytes_out_free(&bytes);
	/* The kernel maps what lies around in the page cache, too, but nothing far away. */
	ck_assert_uint_eq(private_pages(&clone, 0, clone.size), 1);
	ck_assert_uint_eq(present_pages(&clone, 100 * MIB, 80 * MIB), 0);
	memory_destroy(&clone);
	memory_destroy(&large);
}
END_TEST

/* A clone changes some of what it was started from, and is saved onto that very file. */
START_TEST(clone_onto_its_own_file)
{
	int fd, again;

	fill_some();
	fd = save_file(&ram);
	map_file(fd, &copy);
	memset(memory_at(&copy, filled[1], PAGE), 0, PAGE);
	fill_page(&copy, 4 * MIB);
	again = save_file(&copy);
	check_page(&copy, filled[2]);
	memory_clear(&ram, NULL);
	map_file(again, &ram);
	ck_assert_mem_eq(ram.host, copy.host, ram.size);
	check_zero(&ram, filled[1], PAGE);
	check_page(&ram, 4 * MIB);
	/* And a clone of that. */
	close(save_file(&ram));
	ck_assert_mem_eq(ram.host, copy.host, ram.size);
	close(fd);
	close(again);
}
END_TEST

START_TEST(same_state_same_bytes)
{
	struct bytes_out first, second;
	int fd[2], i;
	char *data[2];

	fill_some();
	for (i = 0; i < 2; i++) {
		stream_bytes(&ram, i, &first);
		stream_bytes(&ram, i, &second);
		ck_assert_uint_eq(first.len, second.len);
		ck_assert_mem_eq(first.data, second.data, first.len);
		bytes_out_free(&first);
		bytes_out_free(&second);
		fd[i] = save_file(&ram);
		data[i] = malloc(2 * MIB + ram.size);
		ck_assert_int_eq(pread(fd[i], data[i], 2 * MIB + ram.size, 0), 2 * MIB + ram.size);
		close(fd[i]);
	}
	ck_assert(!memcmp(data[0], data[1], 2 * MIB + ram.size));
	free(data[0]);
	free(data[1]);
}
END_TEST

static size_t read_all(int fd, char *data, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, data + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

/* From a pipe and a socket, in small bites; what comes behind the end mark stays there. */
START_TEST(nothing_read_behind_the_end)
{
	struct bytes_out bytes;
	struct error err = { 0 };
	int fd[2], way, status;
	size_t at, n;
	char rest[8];
	pid_t pid;

	fill_some();
	stream_bytes(&ram, 0, &bytes);
	bytes_put(&bytes, "others", 6);
	for (way = 0; way < 2; way++) {
		struct snapshot_transfer transfer = { 0 };
		struct sections read = { 0 };

		memory_clear(&copy, NULL);
		ck_assert_int_eq(way ? pipe(fd) : socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		pid = fork();
		ck_assert_int_ne(pid, -1);
		if (!pid) {
			close(fd[0]);
			for (at = 0; at < bytes.len; at += n) {
				n = bytes.len - at < 1009 ? bytes.len - at : 1009;
				if (write(fd[1], bytes.data + at, n) != (ssize_t)n)
					_exit(1);
			}
			_exit(0);
		}
		close(fd[1]);
		ck_assert_msg(load_fd(fd[0], &copy, &read, &transfer, &err) == 0, "%s", err.text);
		check_some(&copy);
		sections_free(&read);
		ck_assert_int_eq(read_all(fd[0], rest, sizeof(rest)), 6);
		ck_assert_mem_eq(rest, "others", 6);
		close(fd[0]);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	bytes_out_free(&bytes);
}
END_TEST

START_TEST(wrong_size_of_ram)
{
	struct memory other;
	struct error err;
	struct bytes_out bytes;
	struct snapshot_transfer transfer = { 0 };
	struct snapshot_reader *reader;
	int fd = save_file(&ram);

	ck_assert_int_eq(memory_init(&other, ram.size + PAGE, NULL), 0);
	stream_bytes(&ram, 0, &bytes);
	refuse_bytes(&bytes, &other, "5251072 bytes of RAM, and this one has 5255168");
	bytes_out_free(&bytes);
	reader = open_file(fd, &transfer);
	ck_assert_int_eq(snapshot_map_ram(reader, &other, &err), -1);
	ck_assert(!other.from_file);
	snapshot_close(reader);
	close(fd);
	memory_destroy(&other);
}
END_TEST

START_TEST(streams_can_not_be_mapped)
{
	struct snapshot_transfer transfer = { 0 };
	struct snapshot_reader *reader;
	struct sections read = { 0 };
	struct bytes_out bytes;
	struct error err;
	int fd;

	stream_bytes(&ram, 0, &bytes);
	fd = bytes_fd(bytes.data, bytes.len);
	reader = snapshot_open(fd, &transfer, &read, &err);
	ck_assert_ptr_nonnull(reader);
	ck_assert_int_eq(snapshot_reader_form(reader), SNAPSHOT_STREAM);
	ck_assert_int_eq(snapshot_map_ram(reader, &copy, &err), -1);
	ck_assert_msg(strstr(err.text, "is a stream") != NULL, "%s", err.text);
	snapshot_close(reader);
	sections_free(&read);
	close(fd);
	bytes_out_free(&bytes);
	snapshot_close(NULL);
}
END_TEST

/* The form that is mapped must be a file, from its start. */
START_TEST(files_can_not_be_piped)
{
	struct snapshot_transfer transfer = { 0 };
	struct sections read = { 0 };
	struct error err;
	int file = save_file(&ram), fd[2];
	char front[4096];

	ck_assert_int_eq(pread(file, front, sizeof(front), 0), sizeof(front));
	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(write(fd[1], front, sizeof(front)), sizeof(front));
	ck_assert_ptr_null(snapshot_open(fd[0], &transfer, &read, &err));
	ck_assert_msg(strstr(err.text, "name the file") != NULL, "%s", err.text);
	ck_assert_int_eq(pwrite(file, front, sizeof(front), 4096), sizeof(front));
	ck_assert_int_eq(lseek(file, 4096, SEEK_SET), 4096);
	ck_assert_ptr_null(snapshot_open(file, &transfer, &read, &err));
	ck_assert_msg(strstr(err.text, "name the file") != NULL, "%s", err.text);
	ck_assert_uint_eq(read.nr, 0);
	close(file);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

Suite *snapshot_io_suite(void)
{
	Suite *s = suite_create("snapshot_io");
	TCase *t = tcase_create("snapshot_io");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, stream_there_and_back);
	tcase_add_test(t, compression_that_does_not_pay);
	tcase_add_test(t, one_byte_of_a_page);
	tcase_add_test(t, file_there_and_back);
	tcase_add_test(t, mapping_keeps_what_memory_has);
	tcase_add_test(t, two_parts);
	tcase_add_test(t, untouched_stays_untouched);
	tcase_add_test(t, clone_onto_its_own_file);
	tcase_add_test(t, same_state_same_bytes);
	tcase_add_test(t, nothing_read_behind_the_end);
	tcase_add_test(t, wrong_size_of_ram);
	tcase_add_test(t, streams_can_not_be_mapped);
	tcase_add_test(t, files_can_not_be_piped);
	suite_add_tcase(s, t);
	return s;
}
