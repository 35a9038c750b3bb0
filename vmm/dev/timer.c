/* SPDX-License-Identifier: MIT */
#include "vmm/dev/timer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vmm/log.h"

#define NSEC_PER_SEC    INT64_C(1000000000)
/* Devices do little when their time has come. */
#define STACK_SIZE      (128 * 1024)

struct timer {
	/* Constant. */
	void (*fire)(void *opaque);
	void *opaque;

	pthread_mutex_t lock;
	/* Under the lock; fd and thread are constant once there is a thread. */
	bool started;
	bool warned;
	int fd;
	pthread_t thread;

	_Atomic bool quit;
};

static void *run(void *opaque)
{
	struct timer *timer = opaque;
	uint64_t count;

	pthread_setname_np(pthread_self(), "timer");
	for (;;) {
		/* Fails with ECANCELED when the host's clock is set: then it may be time, too. */
		if (read(timer->fd, &count, sizeof(count)) == -1 && errno != ECANCELED)
			continue;
		if (atomic_load(&timer->quit))
			return NULL;
		timer->fire(timer->opaque);
	}
}

/* Returns an errno value. */
static int start_thread(struct timer *timer)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int code;

	code = pthread_attr_init(&attr);
	if (code)
		return code;
	/* The process's signals are for others; a new thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	code = pthread_create(&timer->thread, &attr, run, timer);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return code;
}

static int start(struct timer *timer)
{
	int code;

	timer->fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	if (timer->fd == -1)
		return errno;
	code = start_thread(timer);
	if (code)
		close(timer->fd);
	return code;
}

/* Called with the lock. */
static bool is_started(struct timer *timer)
{
	int code;

	if (timer->started)
		return true;
	code = start(timer);
	timer->started = code == 0;
	if (code && !timer->warned)
		log_warning("the guest's clock gives no interrupts, for it gets no timer: %s",
			    strerror(code));
	timer->warned = code != 0;
	return timer->started;
}

static void arm(struct timer *timer, int64_t when)
{
	struct itimerspec spec = { 0 };

	/* 0 would disarm it, and a time before 1970 is none. */
	if (when < 1)
		when = 1;
	spec.it_value.tv_sec = when / NSEC_PER_SEC;
	spec.it_value.tv_nsec = when % NSEC_PER_SEC;
	/* A thread that waits in read() sees the new time. */
	timerfd_settime(timer->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL);
}

void timer_set(struct timer *timer, int64_t when)
{
	pthread_mutex_lock(&timer->lock);
	if ((timer->started || when != TIMER_NEVER) && is_started(timer))
		arm(timer, when);
	pthread_mutex_unlock(&timer->lock);
}

struct timer *timer_new(void (*fire)(void *opaque), void *opaque, struct error *err)
{
	struct timer *timer = calloc(1, sizeof(*timer));

	if (!timer) {
		error_errno(err, ENOMEM, "timer");
		return NULL;
	}
	timer->fire = fire;
	timer->opaque = opaque;
	pthread_mutex_init(&timer->lock, NULL);
	return timer;
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	if (timer->started) {
		atomic_store(&timer->quit, true);
		arm(timer, 0);
		pthread_join(timer->thread, NULL);
		close(timer->fd);
	}
	pthread_mutex_destroy(&timer->lock);
	free(timer);
}
