/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/suites.h"
#include "vmm/dev/machine_devices.h"
#include "vmm/vm.h"

/* All devices of a machine: their clock, what is saved of them, and the generation id. */
#define PM_TIMER        0x608
#define GENERATION_ID   0xff000
#define NR_SECTIONS     6

/* Two machines, of which only what devices see is there. */
static struct vm vm[2];
static struct kvm kvm[2];
static struct {
	_Atomic bool level[24];
	_Atomic unsigned int changes;
} seen[2];
static struct sections sections;
static struct error err;

static int take_irq(void *ctx, int fd, unsigned long request, void *arg)
{
	const struct kvm_irq_level *line = arg;
	int i = ctx == &seen[1];

	(void)fd;
	if (request != KVM_IRQ_LINE || line->irq >= 24)
		abort();
	seen[i].level[line->irq] = line->level;
	seen[i].changes++;
	return 0;
}

static const struct kvm_ops ops = { .ioctl = take_irq };

static void start(int i, const uint8_t *generation_id)
{
	memset(&vm[i], 0, sizeof(vm[i]));
	memset(&kvm[i], 0, sizeof(kvm[i]));
	memset(&seen[i], 0, sizeof(seen[i]));
	kvm[i].ops = &ops;
	kvm[i].ops_ctx = &seen[i];
	vm[i].kvm = &kvm[i];
	vm[i].handle.kvm = &kvm[i];
	vm[i].config.generation_id = generation_id;
	ck_assert_msg(memory_init(&vm[i].memory, 1 << 20, &err) == 0, "%s", err.text);
	bus_init(&vm[i].pio, "I/O");
	vm[i].devices = vm_devices_new(&vm[i], &err);
	ck_assert_msg(vm[i].devices, "%s", err.text);
}

static void end(int i)
{
	vm_devices_free(vm[i].devices);
	bus_destroy(&vm[i].pio);
	memory_destroy(&vm[i].memory);
}

static void setup(void)
{
	start(0, NULL);
	start(1, NULL);
	memset(&sections, 0, sizeof(sections));
}

static void teardown(void)
{
	end(0);
	end(1);
	sections_free(&sections);
}

static uint32_t timer(int i)
{
	return bus_read(&vm[i].pio, PM_TIMER, 4);
}

/* Until some time has passed on a machine that runs. */
static void let_time_pass(int i)
{
	uint32_t before = timer(i);

	while ((timer(i) - before) % (1 << 24) < 3579)
		nanosleep(&(struct timespec) { .tv_nsec = 100000 }, NULL);
}

static void sleep_a_little(void)
{
	nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

static int64_t host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* The timer has counted no more than what has passed on the host since, in ns, did allow. */
static void assert_counted(int64_t ns, uint32_t count)
{
	ck_assert_uint_gt(count, 0);
	ck_assert_uint_le(count, ns * 3579545 / 1000000000 + 1);
}

START_TEST(time_stands_still_while_stopped)
{
	int64_t start, ran;
	uint32_t at;

	sleep_a_little();
	ck_assert_uint_eq(timer(0), 0);
	start = host_ns();
	vm_devices_go_on(vm[0].devices);
	let_time_pass(0);
	vm_devices_go_on(vm[0].devices);
	vm_devices_stop(vm[0].devices);
	ran = host_ns() - start;
	at = timer(0);
	assert_counted(ran, at);
	sleep_a_little();
	vm_devices_stop(vm[0].devices);
	ck_assert_uint_eq(timer(0), at);
	/* From there, and not from what the host's clock has come to. */
	start = host_ns();
	vm_devices_go_on(vm[0].devices);
	let_time_pass(0);
	vm_devices_stop(vm[0].devices);
	ck_assert_uint_gt(timer(0), at);
	assert_counted(ran + host_ns() - start, timer(0));
}
END_TEST

static void save(int i)
{
	sections_free(&sections);
	memset(&sections, 0, sizeof(sections));
	ck_assert_msg(vm_devices_save(vm[i].devices, &sections, &err) == 0, "%s", err.text);
	ck_assert_int_eq(sections_complete(&sections, &err), 0);
}

static void assert_same(const struct sections *a, const struct sections *b)
{
	ck_assert_uint_eq(a->nr, b->nr);
	for (unsigned int i = 0; i < a->nr; i++) {
		ck_assert_str_eq(a->section[i].name, b->section[i].name);
		ck_assert_uint_eq(a->section[i].version, b->section[i].version);
		ck_assert_uint_eq(a->section[i].content.len, b->section[i].content.len);
		ck_assert_mem_eq(a->section[i].content.data, b->section[i].content.data,
				 a->section[i].content.len);
	}
}

/* A guest that did this and that, and stopped. */
static void live(int i)
{
	unsigned int seed = 1;

	vm_devices_go_on(vm[i].devices);
	for (unsigned int n = 0; n < 20000; n++)
		bus_write(&vm[i].pio, 0x60 + rand_r(&seed) % 0x5b0, rand_r(&seed) >> 8,
			  1 << rand_r(&seed) % 3);
	bus_write(&vm[i].pio, 0x602, 0x0100, 2);
	vm_devices_power_button(vm[i].devices);
	ck_assert(seen[i].level[9]);
	let_time_pass(i);
	vm_devices_stop(vm[i].devices);
}

START_TEST(saved_and_loaded)
{
	struct sections first;
	uint32_t at;

	live(0);
	at = timer(0);
	save(0);
	first = sections;
	memset(&sections, 0, sizeof(sections));
	sleep_a_little();
	save(0);
	assert_same(&first, &sections);
	ck_assert_uint_eq(sections.nr, NR_SECTIONS);
	for (unsigned int i = 0; i < sections.nr; i++) {
		ck_assert(sections.section[i].required);
		ck_assert_uint_eq(sections.section[i].version, 1);
	}

	ck_assert_msg(vm_devices_load(vm[1].devices, &first, &err) == 0, "%s", err.text);
	ck_assert_int_eq(sections_all_known(&first, &err), 0);
	ck_assert_uint_eq(seen[1].changes, 0);
	ck_assert_uint_eq(timer(1), at);
	save(1);
	assert_same(&first, &sections);
	sections_free(&first);
	/* It goes on from there, and may be reset like any other. */
	vm_devices_go_on(vm[1].devices);
	let_time_pass(1);
	ck_assert_uint_ne(timer(1), at);
	vm_devices_reset(vm[1].devices);
	ck_assert(!seen[1].level[9]);
}
END_TEST

/* The name of each section, as it is when a section is missing, newer, cut, or too long. */
START_TEST(sections_that_are_not_right)
{
	struct section *section;
	char name[SECTION_NAME_MAX + 1];

	live(0);
	save(0);
	section = &sections.section[_i / 4];
	strcpy(name, section->name);
	switch (_i % 4) {
	case 0:
		strcpy(section->name, "other");
		break;
	case 1:
		section->version = 2;
		break;
	case 2:
		section->content.len--;
		break;
	case 3:
		bytes_put_u8(&section->content, 0);
		break;
	}
	ck_assert_int_eq(vm_devices_load(vm[1].devices, &sections, &err), -1);
	ck_assert_msg(strstr(err.text, name), "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_uint_eq(seen[1].changes, 0);
}
END_TEST

START_TEST(a_clock_that_no_machine_has)
{
	save(0);
	ck_assert_str_eq(sections.section[0].name, "machine-clock");
	sections.section[0].content.data[7] = 0x7f;
	ck_assert_int_eq(vm_devices_load(vm[1].devices, &sections, &err), -1);
	ck_assert_msg(strstr(err.text, "machine-clock: the machine has run for longer"), "%s",
		      err.text);
	sections.section[0].content.data[7] = 0x80;
	ck_assert_int_eq(vm_devices_load(vm[1].devices, &sections, &err), -1);
}
END_TEST

static const uint8_t *id(int i)
{
	return memory_at(&vm[i].memory, GENERATION_ID, 16);
}

START_TEST(generation_id_at_boot)
{
	static const uint8_t none[16], given[16] = "sixteen bytes...";

	/* Until it boots nothing is written, for RAM may come from elsewhere. */
	ck_assert_mem_eq(id(0), none, 16);
	vm_devices_boot(vm[0].devices);
	vm_devices_boot(vm[1].devices);
	ck_assert_mem_ne(id(0), none, 16);
	ck_assert_mem_ne(id(0), id(1), 16);
	ck_assert_mem_eq(id(0) + 16, none, 16);
	end(1);
	start(1, given);
	vm_devices_boot(vm[1].devices);
	ck_assert_mem_eq(id(1), given, 16);
	/* After a reset it is the same, whatever the guest has done there. */
	memory_write(&vm[1].memory, GENERATION_ID, none, 16);
	vm_devices_reset(vm[1].devices);
	vm_devices_boot(vm[1].devices);
	ck_assert_mem_eq(id(1), given, 16);
	ck_assert_uint_eq(seen[1].changes, 0);
}
END_TEST

START_TEST(generation_id_of_a_clone)
{
	static const uint8_t first[16] = "the first......", second[16] = "the second.....";

	vm_devices_boot(vm[0].devices);
	bus_write(&vm[0].pio, 0x60d, 0x01, 1);  /* as a guest that listens */
	ck_assert_int_eq(vm_devices_set_generation_id(vm[0].devices, first), 0);
	ck_assert_mem_eq(id(0), first, 16);
	ck_assert_uint_eq(bus_read(&vm[0].pio, 0x60c, 1), 0x01);
	ck_assert(seen[0].level[9]);
	bus_write(&vm[0].pio, 0x60c, 0x01, 1);
	ck_assert(!seen[0].level[9]);
	/* The same is no change. */
	ck_assert_int_eq(vm_devices_set_generation_id(vm[0].devices, first), 0);
	ck_assert(!seen[0].level[9]);

	save(0);
	ck_assert_int_eq(vm_devices_load(vm[1].devices, &sections, &err), 0);
	memory_write(&vm[1].memory, GENERATION_ID, first, 16);
	ck_assert_int_eq(vm_devices_set_generation_id(vm[1].devices, first), 0);
	ck_assert_uint_eq(seen[1].changes, 0);
	ck_assert_int_eq(vm_devices_set_generation_id(vm[1].devices, second), 0);
	ck_assert(seen[1].level[9]);
	ck_assert_mem_eq(id(1), second, 16);
	/* What it is now is what it stays. */
	vm_devices_reset(vm[1].devices);
	vm_devices_boot(vm[1].devices);
	ck_assert_mem_eq(id(1), second, 16);
	ck_assert(!seen[1].level[9]);
}
END_TEST

START_TEST(generation_id_without_memory)
{
	static const uint8_t other[16] = "another one....";
	struct memory memory = vm[0].memory;

	vm[0].memory.nr_parts = 0;
	ck_assert_int_eq(vm_devices_set_generation_id(vm[0].devices, other), -1);
	vm_devices_boot(vm[0].devices);
	vm[0].memory = memory;
	ck_assert_uint_eq(bus_read(&vm[0].pio, 0x60c, 1), 0);
	ck_assert_uint_eq(id(0)[0], 0);
}
END_TEST

/* Update-ended interrupts, one a second, of the host's clock. */
START_TEST(clock_interrupts)
{
	bus_write(&vm[0].pio, 0x70, 0x120b, 2);
	ck_assert(!seen[0].level[8]);
	vm_devices_go_on(vm[0].devices);
	while (!seen[0].level[8])
		sleep_a_little();
	/* Read, it falls; on a stopped machine it stays. */
	bus_write(&vm[0].pio, 0x70, 0x0c, 1);
	ck_assert_uint_eq(bus_read(&vm[0].pio, 0x71, 1) & 0x90, 0x90);
	ck_assert(!seen[0].level[8]);
	vm_devices_stop(vm[0].devices);
	nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
	ck_assert(!seen[0].level[8]);
	vm_devices_go_on(vm[0].devices);
	ck_assert(seen[0].level[8]);
}
END_TEST

Suite *machine_state_suite(void)
{
	Suite *s = suite_create("machine_state");
	TCase *t = tcase_create("machine_state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, time_stands_still_while_stopped);
	tcase_add_test(t, saved_and_loaded);
	tcase_add_loop_test(t, sections_that_are_not_right, 0, NR_SECTIONS * 4);
	tcase_add_test(t, a_clock_that_no_machine_has);
	tcase_add_test(t, generation_id_at_boot);
	tcase_add_test(t, generation_id_of_a_clone);
	tcase_add_test(t, generation_id_without_memory);
	tcase_add_test(t, clock_interrupts);
	suite_add_tcase(s, t);
	return s;
}
