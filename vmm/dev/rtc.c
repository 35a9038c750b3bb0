/* SPDX-License-Identifier: MIT */
#include "vmm/dev/rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define RTC_PORT        0x70            /* index, then data */
#define RTC_PORTS       2
#define CMOS_SIZE       128

enum {
	REG_SECOND = 0x00,
	REG_MINUTE = 0x02,
	REG_HOUR = 0x04,
	REG_WEEKDAY = 0x06,             /* 1 is Sunday */
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CMOS_BASE_MEMORY = 0x15,        /* below 640 KiB, in KiB: 2 bytes */
	CMOS_EXTENDED_MEMORY = 0x17,    /* from 1 MiB up, in KiB: 2 bytes, and again at 0x30 */
	CMOS_EXTENDED_MEMORY_2 = 0x30,
	REG_CENTURY = 0x32,
	CMOS_MEMORY_16M = 0x34,         /* from 16 MiB to 4 GiB, in 64 KiB: 2 bytes */
	CMOS_MEMORY_4G = 0x5b,          /* from 4 GiB up, in 64 KiB: 3 bytes */
};

#define A_UPDATING      0x80
#define A_DEFAULT       0x26            /* 32768 Hz, periodic rate 1024 Hz */

#define B_SET           0x80            /* the time stands still, to be set */
#define B_UPDATE_IRQ    0x10
#define B_IRQS          0x78            /* periodic, alarm, update; square wave: cleared by RESET */
#define B_BINARY        0x04
#define B_24_HOUR       0x02

#define C_IRQ           0x80
#define C_UPDATE        0x10

#define D_VALID         0x80            /* the battery is good */

#define HOUR_PM         0x80

#define NSEC_PER_SEC    1000000000
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
	int64_t update_seen;            /* second of the last update that register C told of */
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

static uint8_t read_c(struct rtc *rtc)
{
	int64_t second = host_second(rtc);
	uint8_t flags = 0;

	if (second != rtc->update_seen && !(rtc->cmos[REG_B] & B_SET))
		flags = C_UPDATE | (rtc->cmos[REG_B] & B_UPDATE_IRQ ? C_IRQ : 0);
	rtc->update_seen = second;
	return flags;
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
		value &= ~B_UPDATE_IRQ;
	rtc->cmos[REG_B] = value;
	if (was_set && !(value & B_SET))
		set_clock(rtc);
}

static void write_register(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	switch (reg) {
	case REG_A:
		rtc->cmos[REG_A] = value & ~A_UPDATING;
		return;
	case REG_B:
		write_b(rtc, value);
		return;
	case REG_C:
	case REG_D:
		return;
	}
	if (!is_time(reg)) {
		rtc->cmos[reg] = value;
		return;
	}
	read_clock(rtc);
	rtc->cmos[reg] = value;
	if (!(rtc->cmos[REG_B] & B_SET))
		set_clock(rtc);
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

/* `size` in units of 1 << shift, from `start` up, as far as `len` bytes of CMOS can say it. */
static void put_memory_size(struct rtc *rtc, unsigned int at, unsigned int len, uint64_t size,
			    uint64_t start, unsigned int shift)
{
	uint64_t units = size > start ? (size - start) >> shift : 0;
	unsigned int i;

	if (units > bus_mask(len))
		units = bus_mask(len);
	for (i = 0; i < len; i++)
		rtc->cmos[at + i] = units >> (i * 8);
}

static void put_memory_sizes(struct rtc *rtc)
{
	uint64_t low = rtc->config.low_memory, base = low < 640 << 10 ? low : 640 << 10;

	put_memory_size(rtc, CMOS_BASE_MEMORY, 2, base, 0, 10);
	put_memory_size(rtc, CMOS_EXTENDED_MEMORY, 2, low, 1 << 20, 10);
	put_memory_size(rtc, CMOS_EXTENDED_MEMORY_2, 2, low, 1 << 20, 10);
	put_memory_size(rtc, CMOS_MEMORY_16M, 2, low, 16 << 20, 16);
	put_memory_size(rtc, CMOS_MEMORY_4G, 3, rtc->config.high_memory, 0, 16);
}

void rtc_reset(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	rtc->cmos[REG_B] &= ~B_IRQS;
	rtc->update_seen = host_second(rtc);
	pthread_mutex_unlock(&rtc->lock);
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
	rtc->update_seen = host_second(rtc);
	put_memory_sizes(rtc);
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
