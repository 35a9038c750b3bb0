/* SPDX-License-Identifier: MIT */
#include "vmm/dev/rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/dev/cmos.h"

enum {
	REG_SECOND = 0x00,
	REG_SECOND_ALARM = 0x01,
	REG_MINUTE = 0x02,
	REG_MINUTE_ALARM = 0x03,
	REG_HOUR = 0x04,
	REG_HOUR_ALARM = 0x05,
	REG_WEEKDAY = 0x06,             /* 1 is Sunday */
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
};

#define A_UPDATING      0x80
#define A_DEFAULT       0x26            /* 32768 Hz, periodic rate 1024 Hz */
#define A_RATE          0x0f

#define B_SET           0x80            /* the time stands still, to be set */
#define B_BINARY        0x04
#define B_24_HOUR       0x02
#define B_SQUARE_WAVE   0x08

#define C_IRQ           0x80            /* one of these, and its interrupt is enabled: */
/* What has happened, and at the same places in register B whether it interrupts. */
#define PERIODIC        0x40
#define ALARM           0x20
#define UPDATE          0x10
#define EVENTS          (PERIODIC | ALARM | UPDATE)

#define D_VALID         0x80            /* the battery is good */

#define HOUR_PM         0x80
#define ANY             0xc0            /* an alarm register with both bits fits always */

#define NSEC_PER_SEC    INT64_C(1000000000)
#define DAY             86400           /* in seconds */
#define CRYSTAL_HZ      32768

/* More than the registers, whatever is in them, can move the clock by, in seconds. */
#define OFFSET_MAX      (INT64_C(100000) * 366 * DAY)
/* The update flag is up for this long before a second ends (data sheet: at least 244 us). */
#define UPDATING_NS     244000

struct rtc {
	/* Constant. */
	struct rtc_config config;
	struct bus *bus;

	pthread_mutex_t lock;
	/* Under the lock. */
	uint8_t index;
	/* Registers A and B and memory; and the time, as of the last read_clock(). */
	uint8_t cmos[CMOS_SIZE];
	int64_t offset;                 /* the guest's clock minus the host's, in seconds */
	uint8_t events;                 /* since register C was last read */
	int64_t seen;                   /* the host's time up to which `events` tells, in ns */
	bool stopped;                   /* the machine is: nothing happens, whatever the time */
	bool level;                     /* of the interrupt line */
	int64_t wake;                   /* what the timer is set to */
};

static int64_t host_second(const struct rtc *rtc)
{
	return rtc->config.clock(rtc->config.opaque) / NSEC_PER_SEC;
}

static uint8_t encode(const struct rtc *rtc, unsigned int value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : (value / 10) << 4 | value % 10;
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned int hour)
{
	if (rtc->cmos[REG_B] & B_24_HOUR)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_24_HOUR)
		return decode(rtc, value);
	return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Brings the time registers up to date, unless the guest has stopped them. */
static void read_clock(struct rtc *rtc)
{
	time_t now = host_second(rtc) + rtc->offset;
	struct tm tm;
	int year;

	if ((rtc->cmos[REG_B] & B_SET) || !gmtime_r(&now, &tm))
		return;
	/* The registers hold four digits.  What a guest sets may lie a little before the year 0. */
	year = ((tm.tm_year + 1900) % 10000 + 10000) % 10000;
	rtc->cmos[REG_SECOND] = encode(rtc, tm.tm_sec);
	rtc->cmos[REG_MINUTE] = encode(rtc, tm.tm_min);
	rtc->cmos[REG_HOUR] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
	rtc->cmos[REG_CENTURY] = encode(rtc, year / 100);
}

/* Takes the time registers, whatever the guest has put there, for the time that it is now. */
static void set_clock(struct rtc *rtc)
{
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[REG_SECOND]),
		.tm_min = decode(rtc, rtc->cmos[REG_MINUTE]),
		.tm_hour = decode_hour(rtc, rtc->cmos[REG_HOUR]),
		.tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
		.tm_mon = decode(rtc, rtc->cmos[REG_MONTH]) - 1,
		.tm_year = decode(rtc, rtc->cmos[REG_CENTURY]) * 100 +
			   decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
	};

	rtc->offset = timegm(&tm) - host_second(rtc);
}

static bool is_time(uint8_t reg)
{
	switch (reg) {
	case REG_SECOND:
	case REG_MINUTE:
	case REG_HOUR:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

/* Register A: the flag follows from the clock alone, so it can not get stuck. */
static uint8_t read_a(const struct rtc *rtc)
{
	int64_t ns = rtc->config.clock(rtc->config.opaque) % NSEC_PER_SEC;
	bool updating = !(rtc->cmos[REG_B] & B_SET) && ns >= NSEC_PER_SEC - UPDATING_NS;

	return rtc->cmos[REG_A] | (updating ? A_UPDATING : 0);
}

/* Periods are counted from the start of a second: the chip divides both from one crystal. */
static int64_t crystal_ticks(int64_t ns)
{
	return ns / NSEC_PER_SEC * CRYSTAL_HZ + ns % NSEC_PER_SEC * CRYSTAL_HZ / NSEC_PER_SEC;
}

/* A period is 1 << this many ticks (data sheet, table 5); 0: there are none. */
static unsigned int period_shift(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	return rate == 0 ? 0 : rate < 3 ? rate + 6 : rate - 1;
}

static int64_t next_period(const struct rtc *rtc, int64_t ns)
{
	unsigned int shift = period_shift(rtc);
	int64_t tick = ((crystal_ticks(ns) >> shift) + 1) << shift;

	/* Rounded up: in the nanosecond before, the tick has not come. */
	return tick / CRYSTAL_HZ * NSEC_PER_SEC +
	       (tick % CRYSTAL_HZ * NSEC_PER_SEC + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

static bool alarm_fits(const struct rtc *rtc, uint8_t reg, uint8_t encoded)
{
	return (rtc->cmos[reg] & ANY) == ANY || rtc->cmos[reg] == encoded;
}

/* The first second behind `after`, on the guest's clock, that the alarm is set to. */
static int64_t next_alarm(const struct rtc *rtc, int64_t after)
{
	unsigned int second = 0, of_day;
	int64_t at = after + 1;

	while (!alarm_fits(rtc, REG_SECOND_ALARM, encode(rtc, second)))
		if (++second == 60)
			return INT64_MAX;
	while (at <= after + DAY) {
		of_day = (at % DAY + DAY) % DAY;
		if (!alarm_fits(rtc, REG_HOUR_ALARM, encode_hour(rtc, of_day / 3600)))
			at += 3600 - of_day % 3600;
		else if (!alarm_fits(rtc, REG_MINUTE_ALARM, encode(rtc, of_day / 60 % 60)))
			at += 60 - of_day % 60;
		else if (!alarm_fits(rtc, REG_SECOND_ALARM, encode(rtc, of_day % 60)))
			at++;
		else
			return at;
	}
	return INT64_MAX;
}

/* Notes what has happened up to now; to be called before anything is changed that decides that. */
static void note_events(struct rtc *rtc)
{
	int64_t now, second, seen = rtc->seen / NSEC_PER_SEC;
	unsigned int shift = period_shift(rtc);

	if (rtc->stopped)
		return;
	now = rtc->config.clock(rtc->config.opaque);
	second = now / NSEC_PER_SEC;
	if (shift && crystal_ticks(now) >> shift != crystal_ticks(rtc->seen) >> shift)
		rtc->events |= PERIODIC;
	if (second != seen && !(rtc->cmos[REG_B] & B_SET)) {
		rtc->events |= UPDATE;
		if (next_alarm(rtc, seen + rtc->offset) <= second + rtc->offset)
			rtc->events |= ALARM;
	}
	rtc->seen = now;
}

static bool interrupts(const struct rtc *rtc)
{
	return rtc->events & rtc->cmos[REG_B] & EVENTS;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When the next event is that interrupts.  While one waits to be read, more make no difference. */
static int64_t next_interrupt(const struct rtc *rtc)
{
	uint8_t enabled = rtc->cmos[REG_B] & EVENTS;
	int64_t second = rtc->seen / NSEC_PER_SEC, next = INT64_MAX, alarm;

	if (rtc->stopped || interrupts(rtc))
		return INT64_MAX;
	if ((enabled & PERIODIC) && period_shift(rtc))
		next = next_period(rtc, rtc->seen);
	if (rtc->cmos[REG_B] & B_SET)
		return next;
	if (enabled & UPDATE)
		next = earlier(next, (second + 1) * NSEC_PER_SEC);
	if (enabled & ALARM) {
		alarm = next_alarm(rtc, second + rtc->offset);
		if (alarm != INT64_MAX)
			next = earlier(next, (alarm - rtc->offset) * NSEC_PER_SEC);
	}
	return next;
}

/* Brings the interrupt line and the timer to where they belong. */
static void update_outputs(struct rtc *rtc)
{
	bool level = interrupts(rtc);
	int64_t wake = next_interrupt(rtc);

	if (level != rtc->level)
		rtc->config.irq(rtc->config.opaque, level);
	rtc->level = level;
	if (wake != rtc->wake)
		rtc->config.set_timer(rtc->config.opaque, wake);
	rtc->wake = wake;
}

static uint8_t read_c(struct rtc *rtc)
{
	uint8_t value;

	note_events(rtc);
	value = rtc->events | (interrupts(rtc) ? C_IRQ : 0);
	rtc->events = 0;
	update_outputs(rtc);
	return value;
}

static uint8_t read_register(struct rtc *rtc, uint8_t reg)
{
	switch (reg) {
	case REG_A:
		return read_a(rtc);
	case REG_C:
		return read_c(rtc);
	case REG_D:
		return D_VALID;
	}
	if (is_time(reg))
		read_clock(rtc);
	return rtc->cmos[reg];
}

static void write_b(struct rtc *rtc, uint8_t value)
{
	bool was_set = rtc->cmos[REG_B] & B_SET;

	/* Once stopped, the registers are bytes that keep the format which they were stopped in. */
	read_clock(rtc);
	if (value & B_SET)
		value &= ~UPDATE;
	rtc->cmos[REG_B] = value;
	if (was_set && !(value & B_SET))
		set_clock(rtc);
}

static void write_time(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	read_clock(rtc);
	rtc->cmos[reg] = value;
	if (!(rtc->cmos[REG_B] & B_SET))
		set_clock(rtc);
}

static void write_register(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	note_events(rtc);
	switch (reg) {
	case REG_A:
		rtc->cmos[REG_A] = value & ~A_UPDATING;
		break;
	case REG_B:
		write_b(rtc, value);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		if (is_time(reg))
			write_time(rtc, reg, value);
		else
			rtc->cmos[reg] = value;
	}
	update_outputs(rtc);
}

static uint8_t read_byte(void *opaque, unsigned int offset)
{
	struct rtc *rtc = opaque;
	uint8_t value;

	if (!offset)
		return 0xff;            /* the index can not be read */
	pthread_mutex_lock(&rtc->lock);
	value = read_register(rtc, rtc->index);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void write_byte(void *opaque, unsigned int offset, uint8_t value)
{
	struct rtc *rtc = opaque;

	pthread_mutex_lock(&rtc->lock);
	if (offset)
		write_register(rtc, rtc->index, value);
	else
		rtc->index = value % CMOS_SIZE;
	pthread_mutex_unlock(&rtc->lock);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned int size)
{
	return device_read_bytes(read_byte, opaque, offset, size);
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	device_write_bytes(write_byte, opaque, offset, value, size);
}

void rtc_reset(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	note_events(rtc);
	rtc->cmos[REG_B] &= ~(EVENTS | B_SQUARE_WAVE);
	rtc->events = 0;
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

void rtc_stop(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	note_events(rtc);
	rtc->stopped = true;
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

void rtc_go_on(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	rtc->stopped = false;
	note_events(rtc);
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

void rtc_timer_fired(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	/* It is over, and has to be set again even to the same time. */
	rtc->wake = INT64_MIN;
	note_events(rtc);
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

/* Whether a register holds no state of its own: the time, while it follows from the clock. */
static bool is_derived(const struct rtc *rtc, uint8_t reg)
{
	return is_time(reg) && !(rtc->cmos[REG_B] & B_SET);
}

void rtc_save(struct rtc *rtc, struct bytes_out *out)
{
	pthread_mutex_lock(&rtc->lock);
	bytes_put_u8(out, rtc->index);
	for (unsigned int reg = 0; reg < CMOS_SIZE; reg++)
		bytes_put_u8(out, is_derived(rtc, reg) ? 0 : rtc->cmos[reg]);
	bytes_put_u64(out, rtc->offset);
	bytes_put_u8(out, rtc->events);
	bytes_put_u64(out, rtc->seen);
	pthread_mutex_unlock(&rtc->lock);
}

int rtc_load(struct rtc *rtc, struct bytes_in *in, struct error *err)
{
	uint8_t index = bytes_get_u8(in), cmos[CMOS_SIZE], events;
	int64_t offset, seen;

	bytes_get(in, cmos, sizeof(cmos));
	offset = bytes_get_u64(in);
	events = bytes_get_u8(in);
	seen = bytes_get_u64(in);
	if (index >= CMOS_SIZE || (cmos[REG_A] & A_UPDATING) || (events & ~EVENTS) || seen < 0)
		return error_set(err, EINVAL, "its registers are in no state that the clock can "
				 "have");
	if (offset < -OFFSET_MAX || offset > OFFSET_MAX)
		return error_set(err, EINVAL, "it is %lld seconds off, which no guest can set",
				 (long long)offset);
	pthread_mutex_lock(&rtc->lock);
	rtc->index = index;
	memcpy(rtc->cmos, cmos, sizeof(cmos));
	rtc->offset = offset;
	rtc->events = events;
	rtc->seen = seen;
	rtc->level = interrupts(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}

struct rtc *rtc_new(struct bus *pio, const struct rtc_config *config, struct error *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	struct bus_device device = { "rtc", rtc_read, rtc_write, rtc };

	if (!rtc) {
		error_errno(err, ENOMEM, "real-time clock");
		return NULL;
	}
	rtc->config = *config;
	rtc->bus = pio;
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->cmos[REG_A] = A_DEFAULT;
	rtc->cmos[REG_B] = B_24_HOUR;
	rtc->seen = rtc->config.clock(rtc->config.opaque);
	rtc->stopped = true;
	rtc->wake = INT64_MAX;
	cmos_put_memory_sizes(rtc->cmos, config->low_memory, config->high_memory);
	if (bus_add(pio, RTC_PORT, RTC_PORTS, &device, err) == -1) {
		pthread_mutex_destroy(&rtc->lock);
		free(rtc);
		return NULL;
	}
	return rtc;
}

void rtc_free(struct rtc *rtc)
{
	if (!rtc)
		return;
	bus_remove(rtc->bus, rtc);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}
