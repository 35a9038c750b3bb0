/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "vmm/dev/rtc.h"

#define NSEC    1000000000LL

static struct bus bus;
static struct rtc *rtc;
static int64_t now;             /* what the clock shows, in ns */

static int64_t read_now(void *opaque)
{
	ck_assert_ptr_eq(opaque, &now);
	return now;
}

static void on_irq(void *opaque, bool level)
{
	(void)opaque;
	(void)level;
}

static void on_set_timer(void *opaque, int64_t when)
{
	(void)opaque;
	(void)when;
}

static const struct rtc_config config = { 3ULL << 30, 5ULL << 30, read_now, on_irq, on_set_timer,
					  &now };

static void setup(void)
{
	now = 0;
	bus_init(&bus, "I/O");
	rtc = rtc_new(&bus, &config, NULL);
	ck_assert_ptr_nonnull(rtc);
	rtc_go_on(rtc);
}

static void teardown(void)
{
	rtc_free(rtc);
	ck_assert_uint_eq(bus.nr_ranges, 0);
	bus_destroy(&bus);
}

static uint8_t in(uint16_t port)
{
	return bus_read(&bus, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	bus_write(&bus, port, value, 1);
}

static uint8_t cmos(uint8_t index)
{
	out(0x70, index);
	return in(0x71);
}

static void set_cmos(uint8_t index, uint8_t value)
{
	out(0x70, index);
	out(0x71, value);
}

/* Century, year, month, day, weekday, hour, minute, second, each two digits of hex. */
static uint64_t rtc_time(void)
{
	static const uint8_t reg[] = { 0x32, 9, 8, 7, 6, 4, 2, 0 };
	uint64_t all = 0;
	unsigned int i;

	for (i = 0; i < sizeof(reg); i++)
		all = all << 8 | cmos(reg[i]);
	return all;
}

START_TEST(formats)
{
	/* Tuesday, 2024-12-31 23:59:58 UTC. */
	now = 1735689598 * NSEC + NSEC / 2;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	ck_assert_uint_eq(cmos(0x0b), 0x02);
	ck_assert_uint_eq(cmos(0x0d), 0x80);
	ck_assert_uint_eq(rtc_time(), 0x2024123103235958);
	set_cmos(0x0b, 0x06);
	ck_assert_uint_eq(rtc_time(), 0x14180c1f03173b3a);
	set_cmos(0x0b, 0x04);
	ck_assert_uint_eq(cmos(4), 0x8b);
	set_cmos(0x0b, 0x00);
	ck_assert_uint_eq(cmos(4), 0x91);
	now += 2 * NSEC;
	ck_assert_uint_eq(rtc_time(), 0x2025010104120000);
	now += 12 * 3600 * NSEC;
	ck_assert_uint_eq(cmos(4), 0x92);
	now += 3600 * NSEC;
	ck_assert_uint_eq(cmos(4), 0x81);
	/* The NMI mask is no part of the index, and the index is not to be read. */
	ck_assert_uint_eq(cmos(0x84), 0x81);
	ck_assert_uint_eq(in(0x70), 0xff);
}
END_TEST

START_TEST(update_in_progress)
{
	now = 1735689598 * NSEC;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	now += NSEC - 244000 - 1;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	now += 1;
	ck_assert_uint_eq(cmos(0x0a), 0xa6);
	/* Not while the time stands still, and not by writing. */
	set_cmos(0x0b, 0x82);
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	set_cmos(0x0b, 0x02);
	now += 244000;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	set_cmos(0x0a, 0xff);
	ck_assert_uint_eq(cmos(0x0a), 0x7f);
}
END_TEST

START_TEST(setting)
{
	now = 1735689598 * NSEC;
	set_cmos(0x0b, 0x82);
	now += 100 * NSEC;
	ck_assert_uint_eq(rtc_time(), 0x2024123103235958);
	set_cmos(0x32, 0x19);
	set_cmos(0x09, 0x99);
	set_cmos(0x08, 0x12);
	set_cmos(0x07, 0x31);
	set_cmos(0x04, 0x23);
	set_cmos(0x02, 0x59);
	set_cmos(0x00, 0x59);
	set_cmos(0x0b, 0x02);
	ck_assert_uint_eq(rtc_time(), 0x1999123106235959);
	now += NSEC;
	ck_assert_uint_eq(rtc_time(), 0x2000010107000000);
	rtc_reset(rtc);
	ck_assert_uint_eq(rtc_time(), 0x2000010107000000);
	/* Without stopping it: each register by itself. */
	now += NSEC;
	set_cmos(0x04, 0x13);
	ck_assert_uint_eq(rtc_time(), 0x2000010107130001);
	/* In the other format, and 12 hours; what is 0 or 1 is so in either. */
	set_cmos(0x0b, 0x84);
	set_cmos(0x04, 0x8c);
	set_cmos(0x09, 24);
	set_cmos(0x32, 20);
	set_cmos(0x0b, 0x04);
	set_cmos(0x0b, 0x02);
	ck_assert_uint_eq(rtc_time(), 0x2024010102120001);
}
END_TEST

START_TEST(setting_to_anything)
{
	static const uint8_t reg[] = { 0x32, 9, 8, 7, 4, 2, 0 };
	unsigned int value, mode, i;

	/* The day before the first of the month before January of the year 0. */
	set_cmos(0x0b, 0x82);
	for (i = 0; i < sizeof(reg); i++)
		set_cmos(reg[i], 0);
	set_cmos(0x0b, 0x02);
	ck_assert_uint_eq(rtc_time() & 0xffffffff00ffffff, 0x9999113000000000);
	for (mode = 0; mode < 8; mode += 2) {
		for (value = 0; value < 256; value++) {
			set_cmos(0x0b, 0x80 | mode);
			for (i = 0; i < sizeof(reg); i++)
				set_cmos(reg[i], value);
			set_cmos(0x0b, mode);
			/* Whatever that is, it is shown as a time that exists. */
			set_cmos(0x0b, 0x02);
			ck_assert_uint_le(cmos(0), 0x59);
			ck_assert_uint_le(cmos(4), 0x23);
			ck_assert_uint_ge(cmos(7), 0x01);
			ck_assert_uint_le(cmos(7), 0x31);
			ck_assert_uint_le(cmos(8), 0x12);
			ck_assert_uint_le(cmos(9), 0x99);
			ck_assert_uint_le(cmos(0x32), 0x99);
			ck_assert_uint_le(cmos(6), 7);
		}
	}
}
END_TEST

START_TEST(update_ended)
{
	set_cmos(0x0a, 0x20);           /* no periods */
	ck_assert_uint_eq(cmos(0x0c), 0);
	now = NSEC;
	ck_assert_uint_eq(cmos(0x0c), 0x10);
	ck_assert_uint_eq(cmos(0x0c), 0);
	set_cmos(0x0b, 0x12);
	now = 2 * NSEC;
	ck_assert_uint_eq(cmos(0x0c), 0x90);
	/* Setting the time switches that off, and so does reset for all. */
	set_cmos(0x0b, 0x92);
	ck_assert_uint_eq(cmos(0x0b), 0x82);
	now = 3 * NSEC;
	ck_assert_uint_eq(cmos(0x0c), 0);
	set_cmos(0x0b, 0x7e);
	rtc_reset(rtc);
	ck_assert_uint_eq(cmos(0x0b), 0x06);
	set_cmos(0x0c, 0xff);
	set_cmos(0x0d, 0x00);
	ck_assert_uint_eq(cmos(0x0c), 0);
	ck_assert_uint_eq(cmos(0x0d), 0x80);
}
END_TEST

static uint32_t cmos_size(uint8_t index, unsigned int len)
{
	uint32_t size = 0;

	while (len--)
		size = size << 8 | cmos(index + len);
	return size;
}

static void check_sizes(uint64_t low, uint64_t high, uint32_t base, uint32_t extended,
			uint32_t above_16m, uint32_t above_4g)
{
	const struct rtc_config sized = { low, high, read_now, on_irq, on_set_timer, &now };

	rtc_free(rtc);
	rtc = rtc_new(&bus, &sized, NULL);
	ck_assert_uint_eq(cmos_size(0x15, 2), base);
	ck_assert_uint_eq(cmos_size(0x17, 2), extended);
	ck_assert_uint_eq(cmos_size(0x30, 2), extended);
	ck_assert_uint_eq(cmos_size(0x34, 2), above_16m);
	ck_assert_uint_eq(cmos_size(0x5b, 3), above_4g);
}

START_TEST(memory_sizes)
{
	check_sizes(1 << 20, 0, 640, 0, 0, 0);
	check_sizes(16 << 20, 0, 640, 15 * 1024, 0, 0);
	check_sizes(128 << 20, 0, 640, 0xffff, 112 * 16, 0);
	check_sizes(3ULL << 30, 5ULL << 30, 640, 0xffff, (3072 - 16) * 16, 5 * 16384);
	check_sizes(3ULL << 30, 3ULL << 40, 640, 0xffff, (3072 - 16) * 16, 0xffffff);
	/* It is memory: guests write there. */
	set_cmos(0x15, 0x12);
	set_cmos(0x7f, 0x34);
	ck_assert_uint_eq(cmos(0x15), 0x12);
	ck_assert_uint_eq(cmos(0xff), 0x34);
	/* Index and data in one access, as the bus splits it. */
	bus_write(&bus, 0x70, 0x560f, 2);
	ck_assert_uint_eq(cmos(0x0f), 0x56);
}
END_TEST

START_TEST(creation_fails)
{
	struct bus_device rival = { "rival", NULL, NULL, NULL };
	struct error err;
	struct bus other;
	unsigned int n;

	bus_init(&other, "I/O");
	for (n = 1; n <= 2; n++) {
		alloc_fail_at(n);
		ck_assert_ptr_null(rtc_new(&other, &config, &err));
		ck_assert(alloc_has_failed());
		ck_assert_int_eq(err.code, ENOMEM);
	}
	ck_assert_int_eq(bus_add(&other, 0x71, 1, &rival, NULL), 0);
	ck_assert_ptr_null(rtc_new(&other, &config, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "of rival"));
	ck_assert_uint_eq(other.nr_ranges, 1);
	bus_destroy(&other);
	rtc_free(NULL);
}
END_TEST

Suite *rtc_suite(void)
{
	Suite *s = suite_create("rtc");
	TCase *t = tcase_create("rtc");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, formats);
	tcase_add_test(t, update_in_progress);
	tcase_add_test(t, setting);
	tcase_add_test(t, setting_to_anything);
	tcase_add_test(t, update_ended);
	tcase_add_test(t, memory_sizes);
	tcase_add_test(t, creation_fails);
	suite_add_tcase(s, t);
	return s;
}
