/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEV_TIMER_H
#define VMM_DEV_TIMER_H

#include <stdint.h>

#include "vmm/error.h"

/*
 * A timer of the host's time of day, for a device that has to act when no guest asks it to.  It
 * makes its calls on a thread of its own, which is started when the timer is first set: a machine
 * whose guest never uses it has no thread.
 *
 * A call says no more than that it may be time: it also comes when somebody sets the host's clock,
 * and now and then without a reason.  Who is called looks at the clock, and sets the timer again.
 */
struct timer;

#define TIMER_NEVER INT64_MAX           /* in the year 2262 */

/* `fire` is called without locks held, and may call timer_set(). */
struct timer *timer_new(void (*fire)(void *opaque), void *opaque, struct error *err);

/* Waits for a call that goes on; no more come after it.  NULL is allowed. */
void timer_free(struct timer *timer);

/*
 * One call at `when`, in nanoseconds of UTC since 1970, instead of what was set before; at once if
 * that is over.  Any thread, but none while timer_free() runs.  When the host can not start a
 * thread the log says so, and no call comes.
 */
void timer_set(struct timer *timer, int64_t when);

#endif
