/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "vmm/dev/rtc.h"

#define NSEC    INT64_C(1000000000)
#define NEVER   INT64_MAX
/* Friday, 2024-03-01 12:34:56 UTC. */
#define NOON    (1709296496 * NSEC)

#define PIE     0x40
#define AIE     0x20
#define UIE     0x10
#define H24     0x02

static struct bus bus;
static struct rtc *rtc;
static struct {
	int64_t now, timer;
	bool level;
	unsigned int rises;
} world;

static int64_t read_now(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	return world.now;
}

static void on_irq(void *opaque, bool level)
{
	ck_assert_ptr_eq(opaque, &world);
	ck_assert_int_ne(level, world.level);
	world.level = level;
	world.rises += level;
}

static void on_set_timer(void *opaque, int64_t when)
{
	ck_assert_ptr_eq(opaque, &world);
	world.timer = when;
}

static const struct rtc_config config = { 1 << 20, 0, read_now, on_irq, on_set_timer, &world };

static uint8_t cmos(uint8_t index)
{
	bus_write(&bus, 0x70, index, 1);
	return bus_read(&bus, 0x71, 1);
}

static void set_cmos(uint8_t index, uint8_t value)
{
	bus_write(&bus, 0x70, index, 1);
	bus_write(&bus, 0x71, value, 1);
}

static void setup(void)
{
	memset(&world, 0, sizeof(world));
	world.now = NOON;
	world.timer = NEVER;
	bus_init(&bus, "I/O");
	rtc = rtc_new(&bus, &config, NULL);
	ck_assert_ptr_nonnull(rtc);
	rtc_go_on(rtc);
	set_cmos(0x0a, 0x20);           /* no periods */
}

static void teardown(void)
{
	rtc_free(rtc);
	bus_destroy(&bus);
}

/* The timer's time comes, and is all that comes. */
static void fire(void)
{
	ck_assert_int_ne(world.timer, NEVER);
	ck_assert(!world.level);
	world.now = world.timer;
	world.timer = NEVER;
	rtc_timer_fired(rtc);
}

/* The same from a nanosecond before: nothing may happen then. */
static void fire_exactly(void)
{
	int64_t when = world.timer;

	/* It has come too early, and has to be set again. */
	world.now = when - 1;
	world.timer = NEVER;
	rtc_timer_fired(rtc);
	ck_assert(!world.level);
	ck_assert_int_eq(world.timer, when);
	fire();
}

START_TEST(nothing_without_enabling)
{
	ck_assert_int_eq(world.timer, NEVER);
	set_cmos(0x0a, 0x26);
	for (uint8_t reg = 1; reg <= 5; reg += 2)
		set_cmos(reg, 0xff);
	ck_assert_int_eq(world.timer, NEVER);
	world.now += 2 * NSEC;
	/* All has happened, and can be polled. */
	ck_assert_uint_eq(cmos(0x0c), 0x70);
	ck_assert_uint_eq(cmos(0x0c), 0);
	ck_assert_uint_eq(world.rises, 0);
}
END_TEST

START_TEST(update_ended)
{
	world.now += NSEC / 3;
	set_cmos(0x0b, H24 | UIE);
	for (int i = 1; i <= 3; i++) {
		ck_assert_int_eq(world.timer, NOON + i * NSEC);
		fire_exactly();
		ck_assert(world.level);
		/* While it has not been seen, no more is waited for. */
		ck_assert_int_eq(world.timer, NEVER);
		world.now += NSEC / 4;
		ck_assert_uint_eq(cmos(0x0c), 0x90);
		ck_assert(!world.level);
	}
	set_cmos(0x0b, H24 | 0x80 | UIE);
	ck_assert_uint_eq(cmos(0x0b), H24 | 0x80);
	ck_assert_int_eq(world.timer, NEVER);
}
END_TEST

START_TEST(what_has_happened_interrupts_once_enabled)
{
	world.now += NSEC;
	set_cmos(0x0b, H24 | UIE);
	ck_assert(world.level);
	set_cmos(0x0b, H24);
	ck_assert(!world.level);
	set_cmos(0x0b, H24 | UIE);
	ck_assert_uint_eq(cmos(0x0c), 0x90);
	ck_assert(!world.level);
	ck_assert_uint_eq(world.rises, 2);
}
END_TEST

/* Rates of the data sheet's table 5, for a crystal of 32768 Hz. */
START_TEST(periodic)
{
	static const unsigned int hz[16] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64,
					     32, 16, 8, 4, 2 };
	unsigned int i;

	set_cmos(0x0a, 0x20 | _i);
	set_cmos(0x0b, H24 | PIE);
	if (!hz[_i]) {
		ck_assert_int_eq(world.timer, NEVER);
		world.now += 10 * NSEC;
		ck_assert_uint_eq(cmos(0x0c) & PIE, 0);
		return;
	}
	for (i = 1; i <= 2 * hz[_i]; i++) {
		fire_exactly();
		ck_assert_uint_eq(cmos(0x0c) & ~UIE, 0x80 | PIE);
	}
	ck_assert_int_eq(world.now, NOON + 2 * NSEC);
	/* Those that nobody has looked at are one. */
	world.now += NSEC;
	rtc_timer_fired(rtc);
	ck_assert_uint_eq(cmos(0x0c) & PIE, PIE);
	ck_assert_uint_eq(cmos(0x0c) & PIE, 0);
	ck_assert_uint_eq(world.rises, 2 * hz[_i] + 1);
	set_cmos(0x0b, H24);
	ck_assert_int_eq(world.timer, NEVER);
}
END_TEST

static const struct {
	uint8_t b, hour, minute, second;
	int64_t after;                  /* NOON, in seconds; 0: never */
} alarms[] = {
	{ H24, 0x12, 0x34, 0x57, 1 }, { H24, 0x12, 0x34, 0x56, 86400 },
	{ H24, 0x12, 0x34, 0x55, 86399 }, { H24, 0x12, 0x35, 0x00, 4 },
	{ H24, 0x13, 0x00, 0x00, 25 * 60 + 4 },
	{ H24, 0x00, 0x00, 0x00, 11 * 3600 + 25 * 60 + 4 },
	{ H24, 0xff, 0xff, 0xff, 1 }, { H24, 0xff, 0xff, 0x56, 60 }, { H24, 0xc0, 0xc0, 0x00, 4 },
	{ H24, 0xff, 0x34, 0x56, 3600 }, { H24, 0xff, 0x00, 0x00, 25 * 60 + 4 },
	{ H24, 0x12, 0xff, 0x00, 4 }, { H24, 0x11, 0xff, 0xff, 22 * 3600 + 25 * 60 + 4 },
	/* Not a time: never. */
	{ H24, 0x24, 0x00, 0x00, 0 }, { H24, 0x12, 0x60, 0x00, 0 }, { H24, 0xff, 0xff, 0x5a, 0 },
	{ H24, 0xff, 0x3a, 0xff, 0 }, { H24, 0x92, 0x34, 0x57, 0 },
	/* Binary; 12 hours; both. */
	{ H24 | 4, 12, 35, 1, 5 }, { 0, 0x92, 0x34, 0x57, 1 }, { 0, 0x12, 0x00, 0x00, 41104 },
	{ 4, 0x8c, 34, 57, 1 }, { 4, 0x81, 0, 0, 25 * 60 + 4 },
};

START_TEST(alarm_clock)
{
	set_cmos(5, alarms[_i].hour);
	set_cmos(3, alarms[_i].minute);
	set_cmos(1, alarms[_i].second);
	set_cmos(0x0b, alarms[_i].b | AIE);
	if (!alarms[_i].after) {
		ck_assert_int_eq(world.timer, NEVER);
		return;
	}
	ck_assert_int_eq(world.timer, NOON + alarms[_i].after * NSEC);
	fire_exactly();
	ck_assert_uint_eq(cmos(0x0c), 0x80 | AIE | UIE);
	ck_assert(!world.level);
	/* One that nobody waits for is noticed when somebody looks. */
	set_cmos(0x0b, alarms[_i].b);
	ck_assert_int_eq(world.timer, NEVER);
	world.now += 2 * 86400 * NSEC;
	ck_assert_uint_eq(cmos(0x0c), AIE | UIE);
}
END_TEST

/* The alarm is of the guest's clock, which it may set. */
START_TEST(alarm_of_a_clock_that_is_set)
{
	set_cmos(5, 0x06);
	set_cmos(3, 0x00);
	set_cmos(1, 0x00);
	set_cmos(0x0b, H24 | AIE);
	ck_assert_int_eq(world.timer, NOON + (17 * 3600 + 25 * 60 + 4) * NSEC);
	set_cmos(0x0b, 0x80 | H24 | AIE);
	ck_assert_int_eq(world.timer, NEVER);
	set_cmos(4, 0x05);
	set_cmos(2, 0x59);
	set_cmos(0, 0x50);
	world.now += 100 * NSEC;
	set_cmos(0x0b, H24 | AIE);
	ck_assert_int_eq(world.timer, NOON + 110 * NSEC);
	ck_assert_uint_eq(cmos(0x0c), 0);
	/* Across the alarm it is no alarm. */
	set_cmos(4, 0x06);
	ck_assert_int_eq(world.timer, NOON + (110 + 23 * 3600) * NSEC);
	ck_assert_uint_eq(cmos(0x0c), 0);
}
END_TEST

START_TEST(the_earliest_of_all)
{
	set_cmos(0x0a, 0x2f);           /* 2 Hz */
	set_cmos(5, 0xff);
	set_cmos(3, 0xff);
	set_cmos(1, 0x57);
	set_cmos(0x0b, H24 | PIE | AIE | UIE);
	ck_assert_int_eq(world.timer, NOON + NSEC / 2);
	fire();
	ck_assert_uint_eq(cmos(0x0c), 0x80 | PIE);
	ck_assert_int_eq(world.timer, NOON + NSEC);
	fire();
	ck_assert_uint_eq(cmos(0x0c), 0x80 | PIE | AIE | UIE);
	ck_assert_uint_eq(world.rises, 2);
	/* By the host's clock, whatever the guest's says. */
	for (uint8_t hour = 0x11; hour <= 0x13; hour++) {
		set_cmos(4, hour);
		set_cmos(0x0b, H24 | AIE | UIE);
		ck_assert_int_eq(world.timer, NOON + 2 * NSEC);
		set_cmos(0x0b, H24 | AIE);
		ck_assert_int_eq(world.timer, NOON + 61 * NSEC);
	}
}
END_TEST

START_TEST(reset_disables_all)
{
	set_cmos(0x0b, H24 | PIE | AIE | UIE | 0x08);
	fire();
	rtc_reset(rtc);
	ck_assert(!world.level);
	ck_assert_int_eq(world.timer, NEVER);
	ck_assert_uint_eq(cmos(0x0b), H24);
	ck_assert_uint_eq(cmos(0x0c), 0);
}
END_TEST

START_TEST(stopped)
{
	set_cmos(5, 0x12);
	set_cmos(3, 0x35);
	set_cmos(1, 0x00);
	set_cmos(0x0b, H24 | AIE);
	rtc_stop(rtc);
	ck_assert_int_eq(world.timer, NEVER);
	world.now += 3 * NSEC;
	rtc_timer_fired(rtc);           /* one that was on its way */
	rtc_go_on(rtc);
	ck_assert(!world.level);
	ck_assert_int_eq(world.timer, NOON + 4 * NSEC);
	/* An alarm that is over by then comes late, but once. */
	rtc_stop(rtc);
	world.now += 100 * NSEC;
	rtc_timer_fired(rtc);
	ck_assert(!world.level);
	rtc_go_on(rtc);
	ck_assert(world.level);
	ck_assert_uint_eq(cmos(0x0c), 0x80 | AIE | UIE);
	ck_assert_int_eq(world.timer, NOON + (86400 + 4) * NSEC);
	/* What had happened when it stopped has. */
	world.now = world.timer;
	rtc_stop(rtc);
	ck_assert(world.level);
	ck_assert_int_eq(world.timer, NEVER);
}
END_TEST

/* The host's clock is set: nothing gets stuck, and the alarm stays where it is. */
START_TEST(the_host_sets_its_clock)
{
	set_cmos(0x0a, 0x2f);
	set_cmos(0x0b, H24 | PIE);
	ck_assert_int_eq(world.timer, NOON + NSEC / 2);
	world.now -= 3600 * NSEC;
	rtc_timer_fired(rtc);
	ck_assert_uint_eq(cmos(0x0c) & PIE, PIE);
	ck_assert_int_eq(world.timer, NOON - 3600 * NSEC + NSEC / 2);
	set_cmos(5, 0x12);
	set_cmos(3, 0x35);
	set_cmos(1, 0x00);
	set_cmos(0x0b, H24 | AIE);
	ck_assert_int_eq(world.timer, NOON + 4 * NSEC);
	world.now -= 86400 * NSEC;
	rtc_timer_fired(rtc);
	ck_assert(!world.level);
	ck_assert_int_eq(world.timer, NOON + (4 - 86400) * NSEC);
}
END_TEST

Suite *rtc_irq_suite(void)
{
	Suite *s = suite_create("rtc_irq");
	TCase *t = tcase_create("rtc_irq");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nothing_without_enabling);
	tcase_add_test(t, update_ended);
	tcase_add_test(t, what_has_happened_interrupts_once_enabled);
	tcase_add_loop_test(t, periodic, 0, 16);
	tcase_add_loop_test(t, alarm_clock, 0, (int)(sizeof(alarms) / sizeof(alarms[0])));
	tcase_add_test(t, alarm_of_a_clock_that_is_set);
	tcase_add_test(t, the_earliest_of_all);
	tcase_add_test(t, reset_disables_all);
	tcase_add_test(t, stopped);
	tcase_add_test(t, the_host_sets_its_clock);
	suite_add_tcase(s, t);
	return s;
}
