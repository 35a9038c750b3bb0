/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/serial.h"

/* Each device by itself: what is saved of it, and what is not let in. */
#define NSEC    INT64_C(1000000000)
#define NOON    (1709296496 * NSEC)     /* 2024-03-01 12:34:56 UTC */
#define COM1    0x3f8

/* Two of each: what is saved of the one is loaded into the other. */
enum { FROM, TO, BOTH };
enum device { SERIAL, I8042, PM, RTC, DEVICES };

static struct side {
	struct bus bus;
	struct serial *serial;
	struct i8042 *i8042;
	struct acpi_pm *pm;
	struct rtc *rtc;
	/* What a device has done to its surroundings. */
	struct world {
		bool level;
		unsigned int changes, ready;
		int64_t timer;
	} world[DEVICES];
} side[BOTH];
static int64_t now;

static void on_irq(void *opaque, bool level)
{
	struct world *w = opaque;

	ck_assert_int_ne(level, w->level);
	w->level = level;
	w->changes++;
}

static void on_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	(void)opaque;
	(void)bytes;
	(void)len;
}

static void on_ready(void *opaque)
{
	((struct world *)opaque)->ready++;
}

static void on_request(void *opaque)
{
	(void)opaque;
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return now;
}

static void on_set_timer(void *opaque, int64_t when)
{
	((struct world *)opaque)->timer = when;
}

static void setup(void)
{
	now = NOON;
	for (int i = 0; i < BOTH; i++) {
		struct side *s = &side[i];
		struct world *w = s->world;
		const struct serial_config serial = {
			COM1, on_irq, on_transmit, on_ready, &w[SERIAL],
		};
		const struct i8042_config i8042 = { on_request, NULL };
		const struct acpi_pm_config pm = { on_irq, on_request, on_clock, &w[PM] };
		const struct rtc_config rtc = {
			1 << 20, 0, on_clock, on_irq, on_set_timer, &w[RTC],
		};

		memset(s, 0, sizeof(*s));
		bus_init(&s->bus, "I/O");
		s->serial = serial_new(&s->bus, &serial, NULL);
		s->i8042 = i8042_new(&s->bus, &i8042, NULL);
		s->pm = acpi_pm_new(&s->bus, &pm, NULL);
		s->rtc = rtc_new(&s->bus, &rtc, NULL);
		ck_assert(s->serial && s->i8042 && s->pm && s->rtc);
	}
	rtc_go_on(side[FROM].rtc);
}

static void teardown(void)
{
	for (int i = 0; i < BOTH; i++) {
		serial_free(side[i].serial);
		i8042_free(side[i].i8042);
		acpi_pm_free(side[i].pm);
		rtc_free(side[i].rtc);
		bus_destroy(&side[i].bus);
	}
}

static uint8_t in(int i, uint16_t port)
{
	return bus_read(&side[i].bus, port, 1);
}

static void out(int i, uint16_t port, uint8_t value)
{
	bus_write(&side[i].bus, port, value, 1);
}

static uint8_t cmos(int i, uint8_t index)
{
	out(i, 0x70, index);
	return in(i, 0x71);
}

static void set_cmos(int i, uint8_t index, uint8_t value)
{
	out(i, 0x70, index);
	out(i, 0x71, value);
}

static void save(int i, enum device device, struct bytes_out *bytes)
{
	*bytes = (struct bytes_out) { 0 };
	switch (device) {
	case SERIAL:
		serial_save(side[i].serial, bytes);
		break;
	case I8042:
		i8042_save(side[i].i8042, bytes);
		break;
	case PM:
		acpi_pm_save(side[i].pm, bytes);
		break;
	default:
		rtc_save(side[i].rtc, bytes);
	}
	ck_assert(!bytes->failed);
}

static int load(enum device device, const uint8_t *data, size_t len, struct error *err)
{
	struct bytes_in bytes = { .data = data, .len = len };
	int rc;

	switch (device) {
	case SERIAL:
		rc = serial_load(side[TO].serial, &bytes, err);
		break;
	case I8042:
		rc = i8042_load(side[TO].i8042, &bytes, err);
		break;
	case PM:
		rc = acpi_pm_load(side[TO].pm, &bytes, err);
		break;
	default:
		rc = rtc_load(side[TO].rtc, &bytes, err);
	}
	return rc ? rc : bytes_in_end(&bytes, "device", err);
}

static void assert_same_state(enum device device, const struct bytes_out *want)
{
	struct bytes_out got;

	save(TO, device, &got);
	ck_assert_uint_eq(got.len, want->len);
	ck_assert_mem_eq(got.data, want->data, got.len);
	bytes_out_free(&got);
}

/* Saved, the same again, loaded without a word on the line, and the same there. */
static void move(enum device device)
{
	struct world *from = &side[FROM].world[device], *to = &side[TO].world[device];
	unsigned int from_changes = from->changes, to_changes = to->changes;
	struct bytes_out bytes, again;
	struct error err;

	save(FROM, device, &bytes);
	now += 5 * NSEC;
	save(FROM, device, &again);
	ck_assert_uint_eq(bytes.len, again.len);
	ck_assert_mem_eq(bytes.data, again.data, bytes.len);
	ck_assert_msg(load(device, bytes.data, bytes.len, &err) == 0, "%s", err.text);
	assert_same_state(device, &bytes);
	ck_assert_uint_eq(from->changes, from_changes);
	ck_assert_uint_eq(to->changes, to_changes);
	/* The interrupt controllers are loaded too. */
	to->level = from->level;
	bytes_out_free(&bytes);
	bytes_out_free(&again);
}

/* A guest has been at all its registers. */
static void stir(void)
{
	static const uint16_t port[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff, 0x60, 0x64, 0x92,
					 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x60c, 0x60d,
					 0x70, 0x71, 0x71 };
	static unsigned int seed = 1;

	for (int i = 0; i < 100; i++) {
		uint16_t at = port[rand_r(&seed) % (sizeof(port) / sizeof(port[0]))];

		if (rand_r(&seed) % 4 == 0)
			in(FROM, at);
		else
			out(FROM, at, rand_r(&seed) >> 8);
		now += rand_r(&seed) % NSEC;
	}
}

/* Whatever state a guest can bring a device into can be saved and loaded. */
START_TEST(any_state)
{
	for (int i = 0; i < 300; i++) {
		rtc_go_on(side[FROM].rtc);
		stir();
		serial_receive(side[FROM].serial, (const uint8_t *)"0123456789abcdef", i % 17);
		rtc_stop(side[FROM].rtc);
		for (enum device device = 0; device < DEVICES; device++)
			move(device);
	}
}
END_TEST

START_TEST(serial_goes_on)
{
	out(FROM, COM1 + 2, 0x81);      /* FIFOs, trigger at 8 */
	out(FROM, COM1 + 4, 0x0b);
	out(FROM, COM1 + 1, 0x01);
	out(TO, COM1 + 2, 0x01);
	for (int i = 0; i < 10; i++) {
		/* So that the first is not at the FIFO's start, here and there. */
		ck_assert_uint_eq(serial_receive(side[FROM].serial, (const uint8_t *)"x", 1), 1);
		in(FROM, COM1);
		ck_assert_uint_eq(serial_receive(side[TO].serial, (const uint8_t *)"y", 1), 1);
		if (i < 7)
			in(TO, COM1);
	}
	serial_receive(side[FROM].serial, (const uint8_t *)"0123456789", 10);
	ck_assert(side[FROM].world[SERIAL].level);
	move(SERIAL);
	/* The line is up, so that reading lowers it; and then it rises as ever. */
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(in(TO, COM1), '0' + i);
	ck_assert(!side[TO].world[SERIAL].level);
	serial_receive(side[TO].serial, (const uint8_t *)"z", 1);
	ck_assert(side[TO].world[SERIAL].level);
	ck_assert_uint_eq(in(TO, COM1 + 2), 0xcc);
}
END_TEST

/* What waits outside was refused for the state before the load. */
START_TEST(serial_asks_for_input_again)
{
	ck_assert_uint_eq(serial_receive(side[TO].serial, (const uint8_t *)"ab", 2), 1);
	ck_assert_uint_eq(side[TO].world[SERIAL].ready, 0);
	move(SERIAL);
	ck_assert_uint_eq(side[TO].world[SERIAL].ready, 1);
	ck_assert_uint_eq(in(TO, COM1 + 5) & 1, 0);
	/* But not while there is no room. */
	serial_receive(side[TO].serial, (const uint8_t *)"cd", 2);
	serial_receive(side[FROM].serial, (const uint8_t *)"x", 1);
	move(SERIAL);
	ck_assert_uint_eq(side[TO].world[SERIAL].ready, 1);
	ck_assert_uint_eq(in(TO, COM1), 'x');
	ck_assert_uint_eq(side[TO].world[SERIAL].ready, 2);
}
END_TEST

/* A command that waits for its operand. */
START_TEST(i8042_goes_on)
{
	out(FROM, 0x64, 0x65);
	move(I8042);
	out(TO, 0x60, 0x5a);
	out(TO, 0x64, 0x25);
	ck_assert_uint_eq(in(TO, 0x60), 0x5a);
	/* A byte that nobody has read. */
	out(FROM, 0x60, 0x00);
	out(FROM, 0x60, 0xf2);
	out(FROM, 0x92, 0x00);
	move(I8042);
	ck_assert_uint_eq(in(TO, 0x64), 0x55);
	ck_assert_uint_eq(in(TO, 0x60), 0xfe);
	ck_assert_uint_eq(in(TO, 0x92), 0x00);
}
END_TEST

START_TEST(acpi_pm_goes_on)
{
	bus_write(&side[FROM].bus, ACPI_PM_EVENT, 0x07210000, 4);
	bus_write(&side[FROM].bus, ACPI_PM_CONTROL, 0x1400, 2);
	out(FROM, ACPI_PM_GPE0 + 1, 0x81);
	acpi_pm_power_button(side[FROM].pm);
	acpi_pm_gpe(side[FROM].pm, 7);
	ck_assert(side[FROM].world[PM].level);
	move(PM);
	ck_assert_uint_eq(bus_read(&side[TO].bus, ACPI_PM_CONTROL, 2), 0x1401);
	ck_assert_uint_eq(bus_read(&side[TO].bus, ACPI_PM_GPE0, 2), 0x8180);
	ck_assert_uint_eq(bus_read(&side[TO].bus, ACPI_PM_EVENT, 4) & ~1u, 0x07210100);
	/* Both hold it up, until the guest has seen both, and the timer's carry. */
	bus_write(&side[TO].bus, ACPI_PM_EVENT, 0x0101, 2);
	ck_assert(side[TO].world[PM].level);
	out(TO, ACPI_PM_GPE0, 0x80);
	ck_assert(!side[TO].world[PM].level);
	acpi_pm_gpe(side[TO].pm, 0);
	ck_assert(side[TO].world[PM].level);
}
END_TEST

START_TEST(rtc_goes_on)
{
	unsigned int changes;

	set_cmos(FROM, 0x0a, 0x20);
	/* A guest's clock that is an hour ahead, and an alarm on it. */
	set_cmos(FROM, 4, 0x13);
	set_cmos(FROM, 0x40, 0x5a);
	set_cmos(FROM, 5, 0x13);
	set_cmos(FROM, 3, 0x35);
	set_cmos(FROM, 1, 0x00);
	set_cmos(FROM, 0x0b, 0x22);
	rtc_stop(side[FROM].rtc);
	out(FROM, 0x70, 0x40);
	move(RTC);                      /* takes 5 seconds */
	ck_assert_uint_eq(in(TO, 0x71), 0x5a);
	ck_assert_int_eq(side[TO].world[RTC].timer, 0);
	rtc_go_on(side[TO].rtc);
	/* The real time of day, and the alarm of 4 seconds after the stop has come. */
	ck_assert_uint_eq(cmos(TO, 4), 0x13);
	ck_assert_uint_eq(cmos(TO, 2), 0x35);
	ck_assert_uint_eq(cmos(TO, 0), 0x01);
	ck_assert(side[TO].world[RTC].level);
	ck_assert_uint_eq(cmos(TO, 0x0c), 0xb0);
	ck_assert(!side[TO].world[RTC].level);
	ck_assert_int_eq(side[TO].world[RTC].timer, NOON + (86400 + 4) * NSEC);
	/* One that was up already is no edge. */
	rtc_go_on(side[FROM].rtc);
	ck_assert(side[FROM].world[RTC].level);
	rtc_stop(side[FROM].rtc);
	rtc_stop(side[TO].rtc);
	changes = side[TO].world[RTC].changes;
	move(RTC);
	rtc_go_on(side[TO].rtc);
	ck_assert_uint_eq(side[TO].world[RTC].changes, changes);
	ck_assert_uint_eq(cmos(TO, 0x0c), 0xb0);
	ck_assert_uint_eq(side[TO].world[RTC].changes, changes + 1);
}
END_TEST

/* What follows from the host's clock is no state: looking at the time changes nothing. */
START_TEST(rtc_that_is_looked_at)
{
	struct bytes_out before, after;

	out(FROM, 0x70, 0x00);
	rtc_stop(side[FROM].rtc);
	save(FROM, RTC, &before);
	ck_assert_uint_eq(in(FROM, 0x71), 0x56);
	now += NSEC;
	ck_assert_uint_eq(in(FROM, 0x71), 0x57);
	save(FROM, RTC, &after);
	ck_assert_mem_eq(before.data, after.data, before.len);
	bytes_out_free(&before);
	bytes_out_free(&after);
}
END_TEST

/* A guest that was in the middle of setting the time. */
START_TEST(rtc_that_is_being_set)
{
	set_cmos(FROM, 0x0b, 0x82);
	set_cmos(FROM, 4, 0x01);
	rtc_stop(side[FROM].rtc);
	move(RTC);
	rtc_go_on(side[TO].rtc);
	set_cmos(TO, 2, 0x02);
	set_cmos(TO, 0x0b, 0x02);
	ck_assert_uint_eq(cmos(TO, 4), 0x01);
	ck_assert_uint_eq(cmos(TO, 2), 0x02);
	ck_assert_uint_eq(cmos(TO, 0), 0x56);
	ck_assert_uint_eq(cmos(TO, 9), 0x24);
}
END_TEST

static const struct {
	enum device device;
	size_t at;                      /* this byte */
	uint8_t value;                  /* with this value is refused, */
	const char *why;                /* for this reason */
} refused[] = {
	{ SERIAL, 0, 0x10, "16550A" }, { SERIAL, 1, 0x03, "16550A" }, { SERIAL, 3, 0x20, "16550A" },
	{ SERIAL, 7, 0x10, "16550A" }, { SERIAL, 8, 0x08, "16550A" }, { SERIAL, 9, 17, "17 bytes" },
	{ SERIAL, 9, 255, "255 bytes" }, { SERIAL, 11, 0x02, "errors that no" },
	{ SERIAL, 1, 0x00, "2 bytes are more" },
	{ I8042, 33, 0x10, "state" }, { I8042, 34, 0x20, "state" }, { I8042, 34, 0xff, "state" },
	{ PM, 0, 0x20, "bits" }, { PM, 1, 0x02, "bits" }, { PM, 2, 0x02, "bits" },
	{ PM, 4, 0x01, "bits" }, { PM, 5, 0x20, "bits" },
	{ RTC, 0, 0x80, "state" }, { RTC, 11, 0x80, "state" }, { RTC, 137, 0x80, "state" },
	{ RTC, 137, 0x08, "state" }, { RTC, 145, 0x80, "state" }, { RTC, 136, 0x01, "off" },
	{ RTC, 136, 0x80, "off" },
};

START_TEST(bad_values)
{
	struct bytes_out bytes;
	struct error err;

	out(FROM, COM1 + 2, 0x01);
	serial_receive(side[FROM].serial, (const uint8_t *)"ab", 2);
	save(FROM, refused[_i].device, &bytes);
	ck_assert_int_eq(load(refused[_i].device, bytes.data, bytes.len, &err), 0);
	ck_assert_uint_lt(refused[_i].at, bytes.len);
	bytes.data[refused[_i].at] = refused[_i].value;
	ck_assert_int_eq(load(refused[_i].device, bytes.data, bytes.len, &err), -1);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_msg(strstr(err.text, refused[_i].why), "%s", err.text);
	bytes_out_free(&bytes);
}
END_TEST

/* Cut anywhere, or with any bit turned: refused, or a state as good as any other. */
START_TEST(damage)
{
	struct bytes_out bytes, first;

	out(FROM, COM1 + 2, 0x01);
	serial_receive(side[FROM].serial, (const uint8_t *)"ab", 2);
	rtc_stop(side[FROM].rtc);
	save(FROM, _i, &bytes);
	for (size_t len = 0; len < bytes.len; len++)
		ck_assert_int_eq(load(_i, bytes.data, len, NULL), -1);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.data[bit / 8] ^= 1 << bit % 8;
		if (load(_i, bytes.data, bytes.len, NULL) == 0) {
			save(TO, _i, &first);
			ck_assert_int_eq(load(_i, first.data, first.len, NULL), 0);
			assert_same_state(_i, &first);
			bytes_out_free(&first);
			/* The guest goes on with it. */
			rtc_go_on(side[TO].rtc);
			for (unsigned int port = 0x60; port < 0x610; port++)
				in(TO, port);
			rtc_stop(side[TO].rtc);
			serial_reset(side[TO].serial);
			rtc_reset(side[TO].rtc);
			acpi_pm_reset(side[TO].pm);
			for (int i = 0; i < DEVICES; i++)
				side[TO].world[i].level = false;
		}
		bytes.data[bit / 8] ^= 1 << bit % 8;
	}
	bytes_out_free(&bytes);
}
END_TEST

Suite *device_state_suite(void)
{
	Suite *s = suite_create("device_state");
	TCase *t = tcase_create("device_state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, any_state);
	tcase_add_test(t, serial_goes_on);
	tcase_add_test(t, serial_asks_for_input_again);
	tcase_add_test(t, i8042_goes_on);
	tcase_add_test(t, acpi_pm_goes_on);
	tcase_add_test(t, rtc_goes_on);
	tcase_add_test(t, rtc_that_is_looked_at);
	tcase_add_test(t, rtc_that_is_being_set);
	tcase_add_loop_test(t, bad_values, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_loop_test(t, damage, 0, DEVICES);
	suite_add_tcase(s, t);
	return s;
}
