/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_RTC_H
#define VMM_DEV_RTC_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"
#include "vmm/snapshot/bytes.h"

#define RTC_PORT        0x70            /* index, then data */
#define RTC_PORTS       2

/*
 * MC146818 real-time clock and 128 bytes of CMOS memory (Motorola MC146818A data sheet) at ports
 * 0x70 and 0x71, with the century at 0x32 and the sizes of memory where PC firmware leaves them.
 * The NMI mask, bit 7 of the index, does nothing, and neither do the square wave and the divider
 * control: the crystal is one of 32768 Hz, and always on.
 *
 * Setting the time moves the guest's clock against the host's for as long as the machine lives;
 * the day of the week follows from the date.
 *
 * Periodic, alarm and update-ended interrupts follow from the host's clock: whoever looks finds
 * what has happened since somebody last looked, and the timer makes sure that somebody looks when
 * an interrupt is due.  A stopped machine gets none.  Its clock goes on meanwhile, as that of a
 * machine that sleeps, so that what it has missed (an alarm, or one of the periods) comes when it
 * goes on.
 */
struct rtc;

struct rtc_config {
	uint64_t low_memory;            /* RAM below 4 GiB, in bytes */
	uint64_t high_memory;           /* RAM from 4 GiB up, in bytes */
	clock_fn *clock;                /* UTC since 1970 */
	irq_fn *irq;
	/*
	 * rtc_timer_fired() is wanted when the clock shows `when`, or INT64_MAX for never, instead
	 * of what was wanted before.  Called with the device's lock held.
	 */
	void (*set_timer)(void *opaque, int64_t when);
	void *opaque;                   /* for all three */
};

/* Stopped at first. */
struct rtc *rtc_new(struct bus *pio, const struct rtc_config *config, struct error *err);
void rtc_free(struct rtc *rtc);

/* As the chip's RESET pin: time and memory live on. */
void rtc_reset(struct rtc *rtc);

/* The machine stops, or goes on.  After rtc_stop() there is no interrupt any more. */
void rtc_stop(struct rtc *rtc);
void rtc_go_on(struct rtc *rtc);

/* Any thread, at any time. */
void rtc_timer_fired(struct rtc *rtc);

/*
 * State; while stopped.  The guest's clock is saved as its distance from the host's, so that it
 * shows the right time whenever it is loaded.  rtc_load() leaves the interrupt line alone.
 */
void rtc_save(struct rtc *rtc, struct bytes_out *out);
int rtc_load(struct rtc *rtc, struct bytes_in *in, struct error *err);

#endif
