/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "vmm/bus.h"

/* A device that says what it was asked: all bits set but for its number and the offset. */
struct probe {
	unsigned int number;
	unsigned int reads, writes, size;
	uint64_t offset, value;
};

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct probe *p = opaque;

	p->reads++;
	p->offset = offset;
	p->size = size;
	return (UINT64_MAX << 16) | p->number << 8 | (offset & 0xff);
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct probe *p = opaque;

	p->writes++;
	p->offset = offset;
	p->value = value;
	p->size = size;
}

static struct bus bus;
static struct probe probe[64];

static void setup(void)
{
	unsigned int i;

	bus_init(&bus, "I/O");
	for (i = 0; i < 64; i++)
		probe[i] = (struct probe){ .number = i };
}

static void teardown(void)
{
	bus_destroy(&bus);
}

static int add(unsigned int i, const char *name, uint64_t start, uint64_t size, struct error *err)
{
	struct bus_device device = { name, probe_read, probe_write, &probe[i] };

	return bus_add(&bus, start, size, &device, err);
}

START_TEST(nobody)
{
	ck_assert_uint_eq(bus_read(&bus, 0, 1), 0xff);
	ck_assert_uint_eq(bus_read(&bus, 0x3f8, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX, 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(&bus, 0, 8), UINT64_MAX);
	ck_assert_uint_eq(bus_read(&bus, 0, 3), 0xffffff);
	bus_write(&bus, 0, 0, 4);
}
END_TEST

START_TEST(every_address_finds_its_device)
{
	unsigned int i, order, reads = 0;
	uint64_t a;

	/* Device i at 16 i, 8 + i % 8 bytes long, added in a scrambled order. */
	for (i = 0; i < 64; i++) {
		order = i * 37 % 64;
		ck_assert_int_eq(add(order, "d", 16 * order, 8 + order % 8, NULL), 0);
	}
	ck_assert_uint_eq(bus.nr_ranges, 64);
	for (a = 0; a < 64 * 16 + 32; a++) {
		i = a / 16;
		if (i < 64 && a % 16 < 8 + i % 8) {
			ck_assert_uint_eq(bus_read(&bus, a, 1), a % 16);
			ck_assert_uint_eq(probe[i].offset, a % 16);
			reads++;
		} else {
			ck_assert_uint_eq(bus_read(&bus, a, 1), 0xff);
		}
	}
	for (i = 0; i < 64; i++)
		ck_assert_uint_eq(probe[i].reads, 8 + i % 8);
	ck_assert_uint_eq(reads, 64 * 8 + 8 * 28);
	for (i = 1; i < 64; i++)
		ck_assert_uint_lt(bus.range[i - 1].start, bus.range[i].start);
}
END_TEST

START_TEST(accesses_that_cross_reach_nobody)
{
	ck_assert_int_eq(add(1, "a", 0x100, 4, NULL), 0);
	ck_assert_int_eq(add(2, "b", 0x104, 8, NULL), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x102, 4), 0xffffffff);
	bus_write(&bus, 0x103, 0, 2);
	ck_assert_uint_eq(bus_read(&bus, 0xff, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&bus, 0x10b, 8), UINT64_MAX);
	ck_assert_uint_eq(probe[1].reads + probe[1].writes + probe[2].reads + probe[2].writes, 0);
	ck_assert_uint_eq(bus_read(&bus, 0x102, 2), 0x102);
	ck_assert_uint_eq(bus_read(&bus, 0x104, 8), (UINT64_MAX << 16) | 0x200);
}
END_TEST

START_TEST(values_are_as_wide_as_the_access)
{
	ck_assert_int_eq(add(5, "a", 0x100, 16, NULL), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x101, 1), 0x01);
	ck_assert_uint_eq(bus_read(&bus, 0x101, 2), 0x501);
	ck_assert_uint_eq(bus_read(&bus, 0x101, 3), 0xff0501);
	ck_assert_uint_eq(bus_read(&bus, 0x101, 4), 0xffff0501);
	bus_write(&bus, 0x104, UINT64_MAX, 1);
	ck_assert_uint_eq(probe[5].value, 0xff);
	ck_assert_uint_eq(probe[5].offset, 4);
	ck_assert_uint_eq(probe[5].size, 1);
	bus_write(&bus, 0x104, UINT64_MAX, 8);
	ck_assert_uint_eq(probe[5].value, UINT64_MAX);
	ck_assert_uint_eq(probe[5].size, 8);
}
END_TEST

START_TEST(overlaps_are_refused)
{
	static const struct {
		uint64_t start, size;
	} overlap[] = {
		{ 0x3f8, 8 }, { 0x3f0, 9 }, { 0x3ff, 1 }, { 0x3f8, 1 }, { 0x3fa, 2 },
		{ 0x300, 0x200 }, { 0, UINT64_MAX },
	};
	struct error err;
	unsigned int i;

	ck_assert_int_eq(add(1, "serial", 0x3f8, 8, NULL), 0);
	for (i = 0; i < sizeof(overlap) / sizeof(overlap[0]); i++) {
		memset(&err, 0, sizeof(err));
		ck_assert_int_eq(add(2, "floppy", overlap[i].start, overlap[i].size, &err), -1);
		ck_assert_int_eq(err.code, EBUSY);
		ck_assert_ptr_nonnull(strstr(err.text, "floppy"));
		ck_assert_ptr_nonnull(strstr(err.text, "0x3f8-0x3ff of serial"));
	}
	ck_assert_uint_eq(bus.nr_ranges, 1);
	ck_assert_int_eq(add(2, "below", 0x3f0, 8, NULL), 0);
	ck_assert_int_eq(add(3, "above", 0x400, 1, NULL), 0);
}
END_TEST

START_TEST(ends_of_the_address_space)
{
	struct error err;

	ck_assert_int_eq(add(1, "top", UINT64_MAX - 3, 4, NULL), 0);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX, 1), 3);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX, 2), 0xffff);
	ck_assert_int_eq(add(2, "empty", 0, 0, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "empty"));
	ck_assert_int_eq(add(2, "wraps", UINT64_MAX - 7, 16, &err), -1);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_int_eq(add(2, "all but", 0, UINT64_MAX - 3, NULL), 0);
}
END_TEST

START_TEST(one_way_devices)
{
	struct bus_device device = { "none", NULL, NULL, NULL };

	ck_assert_int_eq(bus_add(&bus, 0, 4, &device, NULL), 0);
	ck_assert_uint_eq(bus_read(&bus, 0, 2), 0xffff);
	bus_write(&bus, 0, 1, 2);
}
END_TEST

START_TEST(removal)
{
	ck_assert_int_eq(add(1, "a", 0x10, 4, NULL), 0);
	ck_assert_int_eq(add(2, "b", 0x20, 4, NULL), 0);
	ck_assert_int_eq(add(1, "a", 0x30, 4, NULL), 0);
	bus_remove(&bus, &probe[1]);
	ck_assert_uint_eq(bus.nr_ranges, 1);
	ck_assert_uint_eq(bus_read(&bus, 0x10, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&bus, 0x20, 2), 0x200);
	ck_assert_uint_eq(bus_read(&bus, 0x30, 2), 0xffff);
	ck_assert_int_eq(add(3, "c", 0x30, 4, NULL), 0);
}
END_TEST

START_TEST(out_of_memory)
{
	struct error err;

	ck_assert_int_eq(add(1, "a", 0x10, 4, NULL), 0);
	alloc_fail_at(1);
	ck_assert_int_eq(add(2, "b", 0x20, 4, &err), -1);
	ck_assert(alloc_has_failed());
	ck_assert_int_eq(err.code, ENOMEM);
	ck_assert_uint_eq(bus_read(&bus, 0x10, 2), 0x100);
	ck_assert_uint_eq(bus_read(&bus, 0x20, 2), 0xffff);
	ck_assert_int_eq(add(2, "b", 0x20, 4, NULL), 0);
}
END_TEST

Suite *bus_suite(void)
{
	Suite *s = suite_create("bus");
	TCase *t = tcase_create("bus");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nobody);
	tcase_add_test(t, every_address_finds_its_device);
	tcase_add_test(t, accesses_that_cross_reach_nobody);
	tcase_add_test(t, values_are_as_wide_as_the_access);
	tcase_add_test(t, overlaps_are_refused);
	tcase_add_test(t, ends_of_the_address_space);
	tcase_add_test(t, one_way_devices);
	tcase_add_test(t, removal);
	tcase_add_test(t, out_of_memory);
	suite_add_tcase(s, t);
	return s;
}
