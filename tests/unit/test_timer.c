/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/suites.h"
#include "vmm/dev/timer.h"
#include "vmm/log.h"

#define NSEC    INT64_C(1000000000)

static struct timer *timer;
static sem_t fired;
static _Atomic unsigned int left;       /* so often it is set again when it has fired */

static int64_t utc(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NSEC + now.tv_nsec;
}

static void on_fire(void *opaque)
{
	ck_assert_ptr_eq(opaque, &fired);
	if (left) {
		left--;
		timer_set(timer, utc() + 1000);
	}
	sem_post(&fired);
}

static void await_fired(void)
{
	while (sem_wait(&fired) == -1)
		ck_assert_int_eq(errno, EINTR);
}

static void setup(void)
{
	left = 0;
	ck_assert_int_eq(sem_init(&fired, 0, 0), 0);
	timer = timer_new(on_fire, &fired, NULL);
	ck_assert_ptr_nonnull(timer);
}

static void teardown(void)
{
	timer_free(timer);
	sem_destroy(&fired);
}

START_TEST(no_thread_before_it_is_set)
{
	unsigned int before = running_threads(), with;

	timer_set(timer, TIMER_NEVER);
	ck_assert_uint_eq(running_threads(), before);
	timer_set(timer, utc() + 3600 * NSEC);
	/* A sanitizer may have one of its own then. */
	with = running_threads();
	ck_assert_uint_gt(with, before);
	timer_set(timer, TIMER_NEVER);
	timer_set(timer, utc() + 3600 * NSEC);
	ck_assert_uint_eq(running_threads(), with);
}
END_TEST

START_TEST(fires_when_it_is_time)
{
	int64_t when = utc() + 20 * 1000 * 1000;

	timer_set(timer, when);
	await_fired();
	ck_assert_int_ge(utc(), when);
}
END_TEST

START_TEST(fires_at_once_when_it_is_past)
{
	static const int64_t past[] = { INT64_MIN, -1, 0, 1, 1500000000 * NSEC };

	for (size_t i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
		timer_set(timer, past[i]);
		await_fired();
	}
}
END_TEST

/* An earlier time takes the place of a later one while the thread waits for that. */
START_TEST(is_set_to_another_time)
{
	timer_set(timer, utc() + 3600 * NSEC);
	timer_set(timer, utc() + NSEC / 100);
	await_fired();
	/* And none: what was set does not come. */
	timer_set(timer, utc() + NSEC / 50);
	timer_set(timer, TIMER_NEVER);
	nanosleep(&(struct timespec) { .tv_nsec = NSEC / 25 }, NULL);
	ck_assert_int_eq(sem_trywait(&fired), -1);
}
END_TEST

START_TEST(is_set_again_by_who_is_called)
{
	left = 50;
	timer_set(timer, 1);
	for (unsigned int i = 0; i < 51; i++)
		await_fired();
	ck_assert_uint_eq(left, 0);
}
END_TEST

/* At any moment of a call. */
START_TEST(freeing_ends_the_calls)
{
	left = UINT32_MAX;
	timer_set(timer, 1);
	for (int i = 0; i < _i; i++)
		await_fired();
	timer_free(timer);
	timer = NULL;
}
END_TEST

START_TEST(creation_fails)
{
	struct error err;

	alloc_fail_at(1);
	ck_assert_ptr_null(timer_new(on_fire, NULL, &err));
	ck_assert_int_eq(err.code, ENOMEM);
	timer_free(NULL);
}
END_TEST

static unsigned int warnings;

static void on_log(enum log_level level, const char *line)
{
	ck_assert_int_eq(level, LOG_LEVEL_WARNING);
	ck_assert_ptr_nonnull(strstr(line, "the guest's clock gives no interrupts"));
	warnings++;
}

/* The guest goes on without, is told of once, and has one as soon as there is one again. */
START_TEST(no_timer_or_no_thread)
{
	const char *name = _i ? "pthread_create" : "timerfd_create";
	unsigned int before = running_threads();
	int fd = eventfd(0, EFD_CLOEXEC);

	close(fd);
	warnings = 0;
	log_set_sink(on_log, LOG_LEVEL_WARNING);
	for (int i = 0; i < 3; i++) {
		call_fail(name, 1, EMFILE);
		timer_set(timer, 1);
		ck_assert(call_has_failed());
		ck_assert_uint_eq(warnings, 1);
		ck_assert_uint_eq(running_threads(), before);
		/* The next descriptor is the same again. */
		ck_assert_int_eq(eventfd(0, EFD_CLOEXEC), fd);
		close(fd);
	}
	timer_set(timer, 1);
	await_fired();
	log_set_sink(NULL, LOG_LEVEL_INFO);
	ck_assert_uint_eq(warnings, 1);
}
END_TEST

/* A read that a signal has ended is no expiry; one that the host's clock has ended may be. */
START_TEST(reads_that_fail)
{
	call_fail("read", 1, _i ? ECANCELED : EINTR);
	timer_set(timer, _i ? utc() + 3600 * NSEC : 1);
	await_fired();
	ck_assert(call_has_failed());
}
END_TEST

Suite *timer_suite(void)
{
	Suite *s = suite_create("timer");
	TCase *t = tcase_create("timer");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, no_thread_before_it_is_set);
	tcase_add_test(t, fires_when_it_is_time);
	tcase_add_test(t, fires_at_once_when_it_is_past);
	tcase_add_test(t, is_set_to_another_time);
	tcase_add_test(t, is_set_again_by_who_is_called);
	tcase_add_loop_test(t, freeing_ends_the_calls, 0, 20);
	tcase_add_test(t, creation_fails);
	tcase_add_loop_test(t, no_timer_or_no_thread, 0, 2);
	tcase_add_loop_test(t, reads_that_fail, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
