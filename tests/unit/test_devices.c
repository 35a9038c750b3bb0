/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/debug_exit.h"
#include "vmm/dev/debugcon.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/pvpanic.h"

#define NSEC    1000000000LL

static struct bus bus;
static struct {
	int64_t now;            /* what the clock shows, in ns */
	char said[32];
	size_t said_len;
	unsigned int exits, resets, power_offs, sci_changes, panics, crashes;
	uint32_t exit_value;
	bool sci;
} world;

static int64_t world_clock(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	return world.now;
}

static void on_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	ck_assert_ptr_eq(opaque, &world);
	ck_assert_uint_lt(world.said_len + len, sizeof(world.said));
	memcpy(world.said + world.said_len, bytes, len);
	world.said_len += len;
}

static void on_exit_value(void *opaque, uint32_t value)
{
	ck_assert_ptr_eq(opaque, &world);
	world.exits++;
	world.exit_value = value;
}

static void on_reset(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	world.resets++;
}

static void on_panic(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	world.panics++;
}

static void on_crash(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	world.crashes++;
}

static void on_power_off(void *opaque)
{
	ck_assert_ptr_eq(opaque, &world);
	world.power_offs++;
}

static void on_sci(void *opaque, bool level)
{
	ck_assert_ptr_eq(opaque, &world);
	ck_assert_int_ne(level, world.sci);
	world.sci = level;
	world.sci_changes++;
}

static const struct debugcon_config debugcon_config = { on_transmit, &world };
static const struct debug_exit_config debug_exit_config = { on_exit_value, &world };
static const struct i8042_config i8042_config = { on_reset, &world };
static const struct acpi_pm_config pm_config = { on_sci, on_power_off, world_clock, &world };

static const struct pvpanic_config pvpanic_config = { on_panic, on_crash, &world };

static struct debugcon *debugcon;
static struct debug_exit *debug_exit;
static struct i8042 *i8042;
static struct acpi_pm *pm;
static struct pvpanic *pvpanic;

static void setup(void)
{
	memset(&world, 0, sizeof(world));
	bus_init(&bus, "I/O");
	ck_assert_ptr_nonnull(debugcon = debugcon_new(&bus, &debugcon_config, NULL));
	ck_assert_ptr_nonnull(debug_exit = debug_exit_new(&bus, &debug_exit_config, NULL));
	ck_assert_ptr_nonnull(i8042 = i8042_new(&bus, &i8042_config, NULL));
	ck_assert_ptr_nonnull(pm = acpi_pm_new(&bus, &pm_config, NULL));
	ck_assert_ptr_nonnull(pvpanic = pvpanic_new(&bus, &pvpanic_config, NULL));
}

static void teardown(void)
{
	debugcon_free(debugcon);
	debug_exit_free(debug_exit);
	i8042_free(i8042);
	acpi_pm_free(pm);
	pvpanic_free(pvpanic);
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

static uint16_t inw(uint16_t port)
{
	return bus_read(&bus, port, 2);
}

static void outw(uint16_t port, uint16_t value)
{
	bus_write(&bus, port, value, 2);
}

START_TEST(debug_console)
{
	ck_assert_uint_eq(in(0xe9), 0xe9);
	out(0xe9, 'h');
	out(0xe9, '\n');
	outw(0xe9, 0x4141);
	ck_assert_str_eq(world.said, "h\n");
}
END_TEST

START_TEST(debug_exit_port)
{
	ck_assert_uint_eq(bus_read(&bus, 0xf4, 4), 0xffffffff);
	ck_assert_uint_eq(world.exits, 0);
	out(0xf4, 0x2a);
	ck_assert_uint_eq(world.exit_value, 0x2a);
	bus_write(&bus, 0xf4, 0x80000001, 4);
	ck_assert_uint_eq(world.exit_value, 0x80000001);
	out(0xf7, 3);
	ck_assert_uint_eq(world.exit_value, 3);
	outw(0xf7, 4);
	ck_assert_uint_eq(world.exits, 3);
	ck_assert_int_eq(debug_exit_status(0), 1);
	ck_assert_int_eq(debug_exit_status(0x10), 0x21);
	ck_assert_int_eq(debug_exit_status(0x80), 1);
	ck_assert_int_eq(debug_exit_status(UINT32_MAX), 0xff);
}
END_TEST

START_TEST(pvpanic_port)
{
	static const struct {
		uint8_t events;
		unsigned int panics, crashes;
	} cases[] = {
		{ 0, 0, 0 }, { 1, 1, 0 }, { 2, 0, 1 }, { 3, 1, 0 }, { 4, 0, 0 }, { 0xff, 1, 0 },
		{ 0xfe, 0, 1 }, { 0xfc, 0, 0 },
	};

	ck_assert_uint_eq(in(0x505), 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		world.panics = world.crashes = 0;
		out(0x505, cases[i].events);
		ck_assert_uint_eq(world.panics, cases[i].panics);
		ck_assert_uint_eq(world.crashes, cases[i].crashes);
	}
	/* It is one port, and one byte. */
	out(0x504, 1);
	out(0x506, 1);
	outw(0x505, 1);
	ck_assert_uint_eq(world.panics, 0);
}
END_TEST

/* One command of the controller that answers with a byte. */
static uint8_t ask(uint8_t command)
{
	out(0x64, command);
	ck_assert_uint_eq(in(0x64) & 0x43, 0x01);
	return in(0x60);
}

START_TEST(i8042_commands)
{
	ck_assert_uint_eq(in(0x64), 0x14);
	ck_assert_uint_eq(ask(0x20), 0x45);
	ck_assert_uint_eq(in(0x64), 0x1c);
	out(0x64, 0x60);
	out(0x60, 0x70);
	ck_assert_uint_eq(in(0x64), 0x10);
	ck_assert_uint_eq(ask(0x20), 0x70);
	ck_assert_uint_eq(ask(0xaa), 0x55);
	ck_assert_uint_eq(ask(0x20), 0x74);
	ck_assert_uint_eq(ask(0xab), 0x00);
	out(0x64, 0xae);
	ck_assert_uint_eq(ask(0x20), 0x64);
	out(0x64, 0xad);
	ck_assert_uint_eq(ask(0x20), 0x74);
	/* The rest of its RAM. */
	out(0x64, 0x7f);
	out(0x60, 0x99);
	ck_assert_uint_eq(ask(0x3f), 0x99);
	ck_assert_uint_eq(ask(0xc0), 0x80);
	out(0x64, 0xd2);
	out(0x60, 0x1e);
	ck_assert_uint_eq(in(0x64), 0x15);
	ck_assert_uint_eq(in(0x60), 0x1e);
	ck_assert_uint_eq(in(0x64), 0x14);
	/* Nothing to say, nothing said: a command that is none. */
	out(0x64, 0x00);
	ck_assert_uint_eq(in(0x64), 0x1c);
	/* A new command takes the place of one that waits for its operand. */
	out(0x64, 0x60);
	ck_assert_uint_eq(ask(0xab), 0x00);
	out(0x60, 0x00);
	ck_assert_uint_eq(in(0x60), 0xfe);
	ck_assert_uint_eq(ask(0x20), 0x74);
}
END_TEST

START_TEST(i8042_without_keyboard_and_mouse)
{
	out(0x60, 0xf2);
	ck_assert_uint_eq(in(0x64), 0x55);
	ck_assert_uint_eq(in(0x60), 0xfe);
	ck_assert_uint_eq(in(0x64), 0x14);
	out(0x64, 0xd4);
	out(0x60, 0xf2);
	ck_assert_uint_eq(in(0x64), 0x55);
	ck_assert_uint_eq(in(0x60), 0xfe);
	/* How Linux looks for a mouse: the byte must come back flagged, or the port test pass. */
	out(0x64, 0xd3);
	out(0x60, 0x5a);
	ck_assert_uint_eq(in(0x64) & 0x21, 0x01);
	ck_assert_uint_eq(ask(0xa9), 0x01);
	/* And others: by a channel that can be switched off. */
	out(0x64, 0xa7);
	ck_assert_uint_eq(ask(0x20) & 0x20, 0);
}
END_TEST

START_TEST(i8042_resets)
{
	unsigned int command, expected = 0;

	for (command = 0xf0; command <= 0xff; command++) {
		out(0x64, command);
		expected += !(command & 1);
		ck_assert_uint_eq(world.resets, expected);
	}
	out(0x64, 0xd1);
	out(0x60, 0xdf);
	ck_assert_uint_eq(world.resets, 8);
	out(0x64, 0xd1);
	out(0x60, 0xfe);
	ck_assert_uint_eq(world.resets, 9);
	/* As data to anything else it is no reset. */
	out(0x60, 0xfe);
	ck_assert_uint_eq(world.resets, 9);
	out(0x92, 0x02);
	ck_assert_uint_eq(world.resets, 9);
	out(0x92, 0x01);
	ck_assert_uint_eq(world.resets, 10);
}
END_TEST

START_TEST(i8042_a20)
{
	ck_assert_uint_eq(in(0x92), 0x02);
	ck_assert_uint_eq(ask(0xd0), 0xc3);
	out(0x92, 0x00);
	ck_assert_uint_eq(in(0x92), 0x00);
	ck_assert_uint_eq(ask(0xd0), 0xc1);
	out(0x64, 0xd1);
	out(0x60, 0xdf);
	ck_assert_uint_eq(in(0x92), 0x02);
	out(0x64, 0xdd);
	ck_assert_uint_eq(in(0x92), 0x00);
	out(0x64, 0xdf);
	ck_assert_uint_eq(in(0x92), 0x02);
	/* The output port shows the buffer as it was. */
	out(0x64, 0xd2);
	out(0x60, 1);
	ck_assert_uint_eq(ask(0xd0), 0xd3);
	out(0x92, 0x00);
	out(0x60, 0xf2);
	out(0x64, 0xd1);
	i8042_reset(i8042);
	ck_assert_uint_eq(in(0x64), 0x14);
	ck_assert_uint_eq(in(0x92), 0x02);
	out(0x60, 0xfe);
	ck_assert_uint_eq(world.resets, 0);
}
END_TEST

START_TEST(power_button)
{
	acpi_pm_power_button(pm);
	ck_assert_uint_eq(inw(0x600), 0x0100);
	ck_assert(!world.sci);
	outw(0x602, 0xffff);
	/* Timer, global lock, power button, sleep button, clock. */
	ck_assert_uint_eq(inw(0x602), 0x0721);
	ck_assert(world.sci);
	/* Writing 0, or 1 elsewhere, clears nothing; 1 clears, by halves too. */
	outw(0x600, 0xfeff);
	ck_assert_uint_eq(inw(0x600), 0x0100);
	out(0x600, 0xff);
	ck_assert(world.sci);
	out(0x601, 0x01);
	ck_assert(!world.sci);
	ck_assert_uint_eq(bus_read(&bus, 0x600, 4), 0x07210000);
	acpi_pm_power_button(pm);
	acpi_pm_power_button(pm);
	ck_assert_uint_eq(world.sci_changes, 3);
	out(0x603, 0x04);
	ck_assert(!world.sci);
	ck_assert_uint_eq(inw(0x602), 0x0421);
	/* Status and enable at once. */
	bus_write(&bus, 0x600, 0x01000100, 4);
	ck_assert_uint_eq(bus_read(&bus, 0x600, 4), 0x01000000);
	acpi_pm_power_button(pm);
	ck_assert(world.sci);
	acpi_pm_reset(pm);
	ck_assert(!world.sci);
	ck_assert_uint_eq(bus_read(&bus, 0x600, 4), 0);
}
END_TEST

START_TEST(general_purpose_events)
{
	acpi_pm_gpe(pm, 3);
	ck_assert_uint_eq(inw(0x60c), 0x0008);
	ck_assert(!world.sci);
	out(0x60d, 0xff);
	ck_assert(world.sci);
	/* Only writing 1 clears, and only that one. */
	acpi_pm_gpe(pm, 0);
	out(0x60c, 0xf7);
	ck_assert_uint_eq(inw(0x60c), 0xff08);
	ck_assert(world.sci);
	/* The line is shared with the fixed events. */
	outw(0x602, 0x0100);
	acpi_pm_power_button(pm);
	out(0x60c, 0x08);
	ck_assert(world.sci);
	outw(0x600, 0x0100);
	ck_assert(!world.sci);
	acpi_pm_gpe(pm, 7);
	outw(0x60c, 0x7f00);
	ck_assert_uint_eq(inw(0x60c), 0x7f80);
	ck_assert(!world.sci);
	outw(0x60c, 0x8080);
	ck_assert_uint_eq(inw(0x60c), 0x8000);
	acpi_pm_gpe(pm, 7);
	ck_assert(world.sci);
	acpi_pm_reset(pm);
	ck_assert(!world.sci);
	ck_assert_uint_eq(inw(0x60c), 0);
}
END_TEST

START_TEST(power_off)
{
	unsigned int type;

	ck_assert_uint_eq(inw(0x604), 0x0001);
	for (type = 0; type < 8; type++) {
		world.power_offs = 0;
		outw(0x604, type << 10);
		ck_assert_uint_eq(inw(0x604), type << 10 | 1);
		ck_assert_uint_eq(world.power_offs, 0);
		outw(0x604, type << 10 | 0x2000);
		ck_assert_uint_eq(world.power_offs, type == 0 || type == 5);
		/* SLP_EN reads as 0. */
		ck_assert_uint_eq(inw(0x604), type << 10 | 1);
	}
	/* By bytes: the upper has it all. */
	world.power_offs = 0;
	outw(0x604, 0x1c02);
	out(0x604, 0x00);
	ck_assert_uint_eq(inw(0x604), 0x1c01);
	ck_assert_uint_eq(world.power_offs, 0);
	out(0x605, 0x34);
	ck_assert_uint_eq(world.power_offs, 1);
	acpi_pm_reset(pm);
	ck_assert_uint_eq(inw(0x604), 0x0001);
}
END_TEST

START_TEST(pm_timer)
{
	ck_assert_uint_eq(bus_read(&bus, 0x608, 4), 0);
	world.now = NSEC;
	ck_assert_uint_eq(bus_read(&bus, 0x608, 4), 3579545);
	ck_assert_uint_eq(inw(0x60a), 3579545 >> 16);
	ck_assert_uint_eq(in(0x609), 3579545 >> 8 & 0xff);
	world.now = NSEC + NSEC / 2;
	ck_assert_uint_eq(bus_read(&bus, 0x608, 4), 3579545 + 1789772);
	/* 24 bits, and no overflow on a host that has been up for 200 years. */
	world.now = 5 * NSEC;
	ck_assert_uint_eq(bus_read(&bus, 0x608, 4), 5 * 3579545 - (1 << 24));
	world.now = 200LL * 365 * 86400 * NSEC;
	ck_assert_uint_eq(bus_read(&bus, 0x608, 4),
			  200ULL * 365 * 86400 * 3579545 % (1 << 24));
	/* It is read only. */
	bus_write(&bus, 0x608, 0, 4);
	ck_assert_uint_ne(bus_read(&bus, 0x608, 4), 0);
}
END_TEST

START_TEST(pm_timer_carry)
{
	ck_assert_uint_eq(inw(0x600), 0);
	world.now = 2 * NSEC;
	ck_assert_uint_eq(inw(0x600), 0);
	/* The top bit changes after 2^23 ticks: 2.34 s. */
	world.now = 3 * NSEC;
	ck_assert_uint_eq(inw(0x600), 0x0001);
	outw(0x600, 0x0001);
	ck_assert_uint_eq(inw(0x600), 0);
	outw(0x602, 0x0001);
	ck_assert(!world.sci);
	world.now = 5 * NSEC;
	ck_assert_uint_eq(inw(0x600), 0x0001);
	ck_assert(world.sci);
	outw(0x600, 0x0001);
	ck_assert(!world.sci);
	/* After reset it counts from anew. */
	world.now = 8 * NSEC;
	acpi_pm_reset(pm);
	ck_assert_uint_eq(inw(0x600), 0);
}
END_TEST

/* Each device, when memory runs out or a port is taken at any point of its making. */
START_TEST(creation_fails)
{
	static const uint16_t ports[] = { 0xe9, 0xf6, 0x60, 0x64, 0x92, 0x603, 0x605, 0x60b,
					  0x60d, 0x505 };
	struct bus_device rival = { "rival", NULL, NULL, NULL };
	struct error err;
	unsigned int i, n;
	struct bus other;
	void *made[5];

	bus_init(&other, "I/O");
	for (i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		ck_assert_int_eq(bus_add(&other, ports[i], 1, &rival, NULL), 0);
		made[0] = debugcon_new(&other, &debugcon_config, &err);
		made[1] = debug_exit_new(&other, &debug_exit_config, &err);
		made[2] = i8042_new(&other, &i8042_config, &err);
		made[3] = acpi_pm_new(&other, &pm_config, &err);
		made[4] = pvpanic_new(&other, &pvpanic_config, &err);
		ck_assert_ptr_nonnull(strstr(err.text, "of rival"));
		for (n = 0; n < 5; n++)
			ck_assert_int_eq(!made[n], n == (unsigned int)"\0\1\2\2\2\3\3\3\3\4"[i]);
		debugcon_free(made[0]);
		debug_exit_free(made[1]);
		i8042_free(made[2]);
		acpi_pm_free(made[3]);
		pvpanic_free(made[4]);
		ck_assert_uint_eq(other.nr_ranges, 1);
		bus_remove(&other, NULL);
	}
	bus_destroy(&other);
	for (n = 1;; n++) {
		bus_init(&other, "I/O");
		alloc_fail_at(n);
		made[0] = debugcon_new(&other, &debugcon_config, &err);
		made[1] = debug_exit_new(&other, &debug_exit_config, &err);
		made[2] = i8042_new(&other, &i8042_config, &err);
		made[3] = acpi_pm_new(&other, &pm_config, &err);
		made[4] = pvpanic_new(&other, &pvpanic_config, &err);
		ck_assert_int_eq(!made[0] + !made[1] + !made[2] + !made[3] + !made[4],
				 alloc_has_failed());
		debugcon_free(made[0]);
		debug_exit_free(made[1]);
		i8042_free(made[2]);
		acpi_pm_free(made[3]);
		pvpanic_free(made[4]);
		ck_assert_uint_eq(other.nr_ranges, 0);
		bus_destroy(&other);
		if (!alloc_has_failed())
			break;
		ck_assert_int_eq(err.code, ENOMEM);
	}
	alloc_fail_at(0);
	/* Five devices and ten ranges. */
	ck_assert_uint_eq(n, 16);
}
END_TEST

Suite *devices_suite(void)
{
	Suite *s = suite_create("devices");
	TCase *t = tcase_create("devices");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, debug_console);
	tcase_add_test(t, debug_exit_port);
	tcase_add_test(t, pvpanic_port);
	tcase_add_test(t, i8042_commands);
	tcase_add_test(t, i8042_without_keyboard_and_mouse);
	tcase_add_test(t, i8042_resets);
	tcase_add_test(t, i8042_a20);
	tcase_add_test(t, power_button);
	tcase_add_test(t, general_purpose_events);
	tcase_add_test(t, power_off);
	tcase_add_test(t, pm_timer);
	tcase_add_test(t, pm_timer_carry);
	tcase_add_test(t, creation_fails);
	suite_add_tcase(s, t);
	return s;
}
