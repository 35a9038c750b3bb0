/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_RTC_H
#define VMM_DEV_RTC_H

#include "vmm/bus.h"
#include "vmm/dev/device.h"

/*
 * MC146818 real-time clock and 128 bytes of CMOS memory (Motorola MC146818A data sheet) at ports
 * 0x70 and 0x71, with the century at 0x32 and the sizes of memory where PC firmware leaves them.
 * The NMI mask, bit 7 of the index, does nothing.
 *
 * Setting the time moves the guest's clock against the host's for as long as the machine lives;
 * the day of the week follows from the date.  There are no interrupts: the update-ended flag can be
 * polled, the periodic and alarm flags stay 0, and IRQ 8 is not driven.
 */
struct rtc;

struct rtc_config {
	uint64_t low_memory;            /* RAM below 4 GiB, in bytes */
	uint64_t high_memory;           /* RAM from 4 GiB up, in bytes */
	clock_fn *clock;                /* UTC since 1970 */
	void *opaque;
};

struct rtc *rtc_new(struct bus *pio, const struct rtc_config *config, struct error *err);
void rtc_free(struct rtc *rtc);

/* As the chip's RESET pin: time and memory live on. */
void rtc_reset(struct rtc *rtc);

#endif
