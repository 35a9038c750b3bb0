/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "vmm/dev/machine_devices.h"
#include "vmm/log.h"
#include "vmm/vm.h"

/* As much of a machine as devices see, and a kernel that only takes down interrupt lines. */
static struct vm vm;
static struct kvm kvm;

static struct {
	_Atomic unsigned int level[24], changes;
	_Atomic unsigned int wakes, sent, ready;
	/* What must not be and was: Check's assertions are for one thread. */
	_Atomic unsigned int wrong;
	_Atomic uint8_t last_sent;

	pthread_mutex_t log_lock;
	unsigned int lines;
	char line[8][300];
} seen = { .log_lock = PTHREAD_MUTEX_INITIALIZER };

static int take_irq(void *ctx, int fd, unsigned long request, void *arg)
{
	const struct kvm_irq_level *line = arg;

	(void)ctx;
	(void)fd;
	seen.wrong += request != KVM_IRQ_LINE || line->irq >= 24;
	/* Devices tell of changes only, in the order in which they come about. */
	seen.wrong += atomic_exchange(&seen.level[line->irq % 24], line->level) == line->level;
	seen.changes++;
	return 0;
}

static const struct kvm_ops ops = { .ioctl = take_irq };

static void on_wake(void *opaque)
{
	seen.wrong += opaque != &seen;
	seen.wakes++;
}

static void on_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	seen.wrong += opaque != &seen;
	seen.wrong += len != 1;
	seen.last_sent = *bytes;
	seen.sent++;
}

static void on_ready(void *opaque)
{
	seen.wrong += opaque != &seen;
	seen.ready++;
}

static void on_log(enum log_level level, const char *line)
{
	pthread_mutex_lock(&seen.log_lock);
	seen.wrong += level != LOG_LEVEL_INFO || strlen(line) >= sizeof(seen.line[0]);
	snprintf(seen.line[seen.lines++ % 8], sizeof(seen.line[0]), "%s", line);
	pthread_mutex_unlock(&seen.log_lock);
}

static void prepare(void)
{
	memset(&kvm, 0, sizeof(kvm));
	kvm.ops = &ops;
	memset(&vm, 0, sizeof(vm));
	vm.kvm = &kvm;
	vm.handle.kvm = &kvm;
	vm.callbacks.wake = on_wake;
	vm.callbacks.serial_transmit = on_transmit;
	vm.callbacks.serial_receive_ready = on_ready;
	vm.callbacks.opaque = &seen;
	vm.memory.nr_parts = 1;
	vm.memory.part[0].size = 128 << 20;
	bus_init(&vm.pio, "I/O");
}

static void setup(void)
{
	prepare();
	memset(seen.level, 0, sizeof(seen.level));
	seen.changes = seen.wakes = seen.sent = seen.ready = seen.wrong = seen.lines = 0;
	log_set_sink(on_log, LOG_LEVEL_INFO);
	vm.devices = vm_devices_new(&vm, NULL);
	ck_assert_ptr_nonnull(vm.devices);
	vm_devices_go_on(vm.devices);
}

static void teardown(void)
{
	vm_devices_free(vm.devices);
	ck_assert_uint_eq(vm.pio.nr_ranges, 0);
	ck_assert_uint_eq(seen.wrong, 0);
	bus_destroy(&vm.pio);
	log_set_sink(NULL, LOG_LEVEL_INFO);
}

static uint8_t in(uint16_t port)
{
	return bus_read(&vm.pio, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	bus_write(&vm.pio, port, value, 1);
}

static void say(const char *text)
{
	while (*text)
		out(0xe9, *text++);
}

START_TEST(serial_is_wired)
{
	out(0x3f8, 's');
	ck_assert_uint_eq(seen.sent, 1);
	ck_assert_uint_eq(seen.last_sent, 's');
	out(0x3fc, 0x08);
	out(0x3f9, 0x01);
	ck_assert_uint_eq(vm_devices_serial_receive(vm.devices, (const uint8_t *)"ab", 2), 1);
	ck_assert_uint_eq(seen.level[4], 1);
	ck_assert_uint_eq(in(0x3f8), 'a');
	ck_assert_uint_eq(seen.level[4], 0);
	ck_assert_uint_eq(seen.ready, 1);
}
END_TEST

START_TEST(power_is_wired)
{
	bus_write(&vm.pio, 0x602, 0x0100, 2);
	vm_devices_power_button(vm.devices);
	ck_assert_uint_eq(seen.level[9], 1);
	ck_assert_uint_eq(bus_read(&vm.pio, 0x600, 2) & 0x0100, 0x0100);
	ck_assert_uint_eq(vm.posted, 0);
	bus_write(&vm.pio, 0x604, 0x3400, 2);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_SHUTDOWN);
	ck_assert_uint_eq(seen.wakes, 1);
}
END_TEST

START_TEST(requests_are_wired)
{
	out(0x64, 0xfe);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_RESET);
	vm.posted = 0;
	out(0x92, 0x01);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_RESET);
	vm.posted = 0;
	out(0xf4, 0x10);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_DEBUG_EXIT);
	ck_assert_int_eq(vm.debug_exit_status, 0x21);
	ck_assert_uint_eq(seen.wakes, 3);
}
END_TEST

START_TEST(time_of_day_is_the_hosts)
{
	time_t before, after;
	struct tm tm;
	uint8_t minute;

	/* Between two looks at the host's, for no time is exact. */
	do {
		before = time(NULL);
		out(0x70, 0x02);
		minute = in(0x71);
		after = time(NULL);
	} while (before / 60 != after / 60);
	gmtime_r(&before, &tm);
	ck_assert_uint_eq((minute >> 4) * 10 + (minute & 0xf), tm.tm_min);
}
END_TEST

START_TEST(memory_size_is_wired)
{
	out(0x70, 0x34);
	ck_assert_uint_eq(in(0x71), 0x00);
	out(0x70, 0x35);
	ck_assert_uint_eq(in(0x71), 112 * 16 >> 8);
	teardown();
	prepare();
	vm.memory.nr_parts = 2;
	vm.memory.part[0].size = MEMORY_LOW_MAX;
	vm.memory.part[1].size = 1 << 30;
	vm.devices = vm_devices_new(&vm, NULL);
	out(0x70, 0x5c);
	ck_assert_uint_eq(in(0x71), 0x40);
}
END_TEST

START_TEST(console_goes_to_the_log)
{
	char text[301];

	ck_assert_uint_eq(in(0xe9), 0xe9);
	say("hello");
	ck_assert_uint_eq(seen.lines, 0);
	say("\r\n\n");
	ck_assert_uint_eq(seen.lines, 2);
	ck_assert_str_eq(seen.line[0], "guest: hello");
	ck_assert_str_eq(seen.line[1], "guest: ");
	/* What a terminal would obey. */
	say("a\tb\x1b[2J\x7f\xff\n");
	ck_assert_str_eq(seen.line[2], "guest: a\tb\\x1b[2J\\x7f\\xff");
	/* A line that does not end. */
	memset(text, 'x', 300);
	text[300] = '\0';
	say(text);
	ck_assert_uint_eq(seen.lines, 4);
	ck_assert_uint_eq(strlen(seen.line[3]), 7 + 255);
	say("\x01\n");
	ck_assert_uint_eq(seen.lines, 5);
	ck_assert_uint_eq(strlen(seen.line[4]), 7 + 45 + 4);
	/* Characters that need more room than is left start a new line. */
	memset(text, 'x', 253);
	text[253] = '\0';
	say(text);
	say("\x01\n");
	ck_assert_uint_eq(seen.lines, 7);
	ck_assert_uint_eq(strlen(seen.line[5]), 7 + 253);
	ck_assert_str_eq(seen.line[6], "guest: \\x01");
	/* Nothing is kept over the end of what said it. */
	say("last words");
	vm_devices_reset(vm.devices);
	ck_assert_uint_eq(seen.lines, 8);
	ck_assert_str_eq(seen.line[7], "guest: last words");
	vm_devices_reset(vm.devices);
	ck_assert_uint_eq(seen.lines, 8);
}
END_TEST

START_TEST(callbacks_may_be_missing)
{
	vm.callbacks.serial_transmit = NULL;
	vm.callbacks.serial_receive_ready = NULL;
	vm.callbacks.wake = NULL;
	out(0x3f8, 'x');
	vm_devices_serial_receive(vm.devices, (const uint8_t *)"ab", 2);
	in(0x3f8);
	out(0x64, 0xfe);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_RESET);
}
END_TEST

/* All that a guest can read without changing it, but for clocks. */
static void read_all(uint8_t all[64])
{
	static const uint16_t port[] = {
		0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x60, 0x64, 0x92, 0xe9,
		0x601, 0x602, 0x603, 0x604, 0x605, 0x60c, 0x60d, 0x70,
	};
	unsigned int i;

	memset(all, 0, 64);
	for (i = 0; i < sizeof(port) / sizeof(port[0]); i++)
		all[i] = in(port[i]);
}

START_TEST(reset_undoes_everything)
{
	uint8_t before[64], after[64];
	unsigned int port;

	read_all(before);
	for (port = 0x60; port < 0x610; port++)
		out(port, 0x2b);
	vm_devices_serial_receive(vm.devices, (const uint8_t *)"ab", 2);
	vm_devices_power_button(vm.devices);
	read_all(after);
	ck_assert_mem_ne(before, after, sizeof(after));
	vm_devices_reset(vm.devices);
	read_all(after);
	ck_assert_mem_eq(before, after, sizeof(after));
	ck_assert_uint_eq(seen.level[4] | seen.level[9], 0);
}
END_TEST

START_TEST(creation_fails)
{
	struct bus_device rival = { "rival", NULL, NULL, NULL };
	struct vm_devices *devices;
	struct error err;
	unsigned int n;

	teardown();
	prepare();
	for (n = 1;; n++) {
		alloc_fail_at(n);
		devices = vm_devices_new(&vm, &err);
		if (devices)
			break;
		ck_assert_int_eq(err.code, ENOMEM);
		ck_assert_uint_eq(vm.pio.nr_ranges, 0);
		bus_destroy(&vm.pio);
	}
	ck_assert(!alloc_has_failed());
	/* Itself, seven devices, twelve ranges, a timer. */
	ck_assert_uint_eq(n, 22);
	alloc_fail_at(0);
	vm_devices_free(devices);
	ck_assert_int_eq(bus_add(&vm.pio, 0x70, 1, &rival, NULL), 0);
	ck_assert_ptr_null(vm_devices_new(&vm, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "rtc overlaps"));
	ck_assert_uint_eq(vm.pio.nr_ranges, 1);
	bus_remove(&vm.pio, NULL);
	vm_devices_free(NULL);
	vm.devices = NULL;
}
END_TEST

static const uint16_t base[] = { 0x3f8, 0x60, 0x90, 0xe8, 0xf4, 0x600, 0x604, 0x608, 0x70,
				 0x500 };
#define NR_BASES        (sizeof(base) / sizeof(base[0]))

/* A guest that means harm: any access, around the ports of one device most of the time. */
static void one_access(unsigned int *seed, unsigned int device)
{
	uint64_t value = (uint64_t)rand_r(seed) << 32 ^ (uint64_t)rand_r(seed) << 8 ^ rand_r(seed);
	unsigned int size = rand_r(seed) % 8 + 1;
	uint64_t port = base[device % NR_BASES] + rand_r(seed) % 10;

	if (rand_r(seed) % 2)
		size = 1 << size % 3;
	if (rand_r(seed) % 16 == 0)
		port = value >> (rand_r(seed) % 64);
	if (rand_r(seed) % 2)
		bus_write(&vm.pio, port, value, size);
	else
		seen.wrong += (bus_read(&vm.pio, port, size) & ~bus_mask(size)) != 0;
}

START_TEST(garbage)
{
	uint8_t before[64], after[64], bytes[32] = { 0 };
	unsigned int seed = 1, i;

	read_all(before);
	for (i = 0; i < 100000; i++) {
		one_access(&seed, rand_r(&seed));
		if (i % 7 == 0)
			vm_devices_serial_receive(vm.devices, bytes, rand_r(&seed) % 32);
		if (i % 101 == 0)
			vm_devices_power_button(vm.devices);
		if (i % 9973 == 0)
			vm_devices_reset(vm.devices);
	}
	/* All of it has been at work, and a reset still brings everything back. */
	ck_assert_uint_gt(seen.sent, 0);
	ck_assert_uint_gt(seen.ready, 0);
	ck_assert_uint_gt(seen.lines, 0);
	ck_assert_uint_gt(seen.changes, 0);
	ck_assert_uint_eq(vm.posted, VM_REQUEST_RESET | VM_REQUEST_SHUTDOWN |
			  VM_REQUEST_DEBUG_EXIT | VM_REQUEST_PANIC | VM_REQUEST_CRASHLOADED);
	vm_devices_reset(vm.devices);
	read_all(after);
	ck_assert_mem_eq(before, after, sizeof(after));
	ck_assert_uint_eq(seen.level[4] | seen.level[9], 0);
}
END_TEST

static pthread_barrier_t barrier;

/*
 * All threads at the same device at a time: the locks of others would bring an order into their
 * accesses behind which a missing one could hide.
 */
static void *hammer(void *arg)
{
	unsigned int seed = (uintptr_t)arg, device, i;

	for (device = 0; device < NR_BASES; device++) {
		pthread_barrier_wait(&barrier);
		for (i = 0; i < 2000; i++)
			one_access(&seed, device);
	}
	return NULL;
}

START_TEST(garbage_from_many_threads)
{
	uint8_t bytes[32] = { 0 };
	pthread_t thread[4];
	unsigned int i;

	ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 4), 0);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, hammer,
						(void *)(uintptr_t)(i + 1)), 0);
	for (i = 0; i < 1000; i++) {
		vm_devices_serial_receive(vm.devices, bytes, i % 32);
		vm_devices_power_button(vm.devices);
	}
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&barrier);
	vm_devices_reset(vm.devices);
	ck_assert_uint_eq(seen.level[4] | seen.level[9], 0);
}
END_TEST

Suite *machine_devices_suite(void)
{
	Suite *s = suite_create("machine_devices");
	TCase *t = tcase_create("machine_devices");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, serial_is_wired);
	tcase_add_test(t, power_is_wired);
	tcase_add_test(t, requests_are_wired);
	tcase_add_test(t, time_of_day_is_the_hosts);
	tcase_add_test(t, memory_size_is_wired);
	tcase_add_test(t, console_goes_to_the_log);
	tcase_add_test(t, callbacks_may_be_missing);
	tcase_add_test(t, reset_undoes_everything);
	tcase_add_test(t, creation_fails);
	tcase_add_test(t, garbage);
	tcase_add_test(t, garbage_from_many_threads);
	suite_add_tcase(s, t);
	return s;
}
