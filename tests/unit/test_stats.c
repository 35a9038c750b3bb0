/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "vmm/stats.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct error err;

static void setup(void)
{
	memset(&err, 0, sizeof(err));
	machine_host();
}

static void teardown(void)
{
	machine_stop();
}

static const struct stats_schema *schema(enum stats_target target)
{
	memset(&err, 0, sizeof(err));
	return vm_stats_schema(machine.vm, target, &err);
}

START_TEST(schemas)
{
	static const struct stats_desc expected[] = {
		{ "exits", STATS_CUMULATIVE, STATS_UNIT_NONE, 10, 0, 0, 1, 0 },
		{ "pages", STATS_INSTANT, STATS_UNIT_NONE, 10, 0, 0, 1, 8 },
		{ "longest_ns", STATS_PEAK, STATS_UNIT_SECONDS, 10, -9, 0, 1, 16 },
		{ "cached", STATS_INSTANT, STATS_UNIT_BYTES, 2, 20, 0, 1, 24 },
		{ "guest_mode", STATS_INSTANT, STATS_UNIT_BOOLEAN, 10, 0, 0, 1, 32 },
		{ "steps", STATS_CUMULATIVE, STATS_UNIT_CYCLES, 10, 2, 0, 1, 40 },
		{ "linear", STATS_LINEAR_HISTOGRAM, STATS_UNIT_SECONDS, 10, -6, 250, 3, 48 },
		{ "log2", STATS_LOG2_HISTOGRAM, STATS_UNIT_NONE, 10, 0, 0, 4, 72 },
	};

	machine_start(2);
	for (int target = STATS_VM; target <= STATS_VCPU; target++) {
		const struct stats_schema *s = schema((enum stats_target)target);

		ck_assert_msg(s, "%s", err.text);
		ck_assert_uint_eq(s->nr, COUNT(expected));
		for (size_t i = 0; i < s->nr; i++) {
			const struct stats_desc *d = &s->desc[i], *e = &expected[i];

			ck_assert_str_eq(d->name, e->name);
			ck_assert_int_eq(d->type, e->type);
			ck_assert_int_eq(d->unit, e->unit);
			ck_assert_uint_eq(d->base, e->base);
			ck_assert_int_eq(d->exponent, e->exponent);
			ck_assert_uint_eq(d->bucket_size, e->bucket_size);
			ck_assert_uint_eq(d->nr, e->nr);
			ck_assert_uint_eq(d->at, e->at);
		}
	}
}
END_TEST

static void check_values(enum stats_target target, unsigned int index, uint64_t first)
{
	const struct stats_schema *s = schema(target);
	const uint8_t *bytes = vm_stats_read(machine.vm, target, index, &err);
	uint64_t expected = first;

	ck_assert_msg(bytes, "%s", err.text);
	for (unsigned int i = 0; i < s->nr; i++)
		for (unsigned int n = 0; n < s->desc[i].nr; n++)
			ck_assert_uint_eq(stats_value(&s->desc[i], bytes, n), expected++);
}

START_TEST(values)
{
	machine_start(2);
	check_values(STATS_VM, 0, 100);
	check_values(STATS_VCPU, 0, 1000);
	check_values(STATS_VCPU, 1, 2000);
	check_values(STATS_VM, 0, 100);
}
END_TEST

/* The first look parks the vCPUs, for their descriptors; no later one even knocks. */
START_TEST(running)
{
	uint64_t mark, entries[2];

	machine_start(2);
	machine_run_all();
	for (unsigned int i = 0; i < 2; i++)
		entries[i] = machine_model(i)->entries;
	check_values(STATS_VCPU, 1, 2000);
	ck_assert(vm_is_running(machine.vm));
	for (unsigned int i = 0; i < 2; i++)
		fake_vcpu_await_entries(machine_model(i), entries[i] + 1);
	mark = fake_kvm_mark(machine.fake);
	entries[1] = machine_model(1)->entries;
	for (int i = 0; i < 100; i++) {
		check_values(STATS_VCPU, 0, 1000);
		check_values(STATS_VCPU, 1, 2000);
	}
	ck_assert_uint_eq(machine_model(1)->entries, entries[1]);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY, 0), 0);
	ck_assert_str_eq(machine_events(), "RESUME");
	ck_assert_uint_eq(machine_sets(mark), 0);
}
END_TEST

START_TEST(no_capability)
{
	fake_kvm_set_cap(machine.fake, KVM_CAP_BINARY_STATS_FD, 0);
	machine_start(1);
	ck_assert_ptr_null(schema(STATS_VM));
	ck_assert_int_eq(err.code, ENOTSUP);
	ck_assert_str_eq(err.text, "this host's KVM has no KVM_CAP_BINARY_STATS_FD");
	ck_assert_ptr_null(vm_stats_read(machine.vm, STATS_VCPU, 0, &err));
}
END_TEST

/* What is open stays so, or is closed, and the next question gets its answer. */
START_TEST(ioctls_fail)
{
	machine_start(3);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_STATS_FD, .vcpu = -1,
							  .times = 1, .error = EMFILE });
	ck_assert_ptr_null(schema(STATS_VM));
	ck_assert_str_eq(err.text, "KVM_GET_STATS_FD: Too many open files");
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_STATS_FD, .vcpu = 1,
							  .times = 1, .error = ENOMEM });
	machine_run_all();
	ck_assert_ptr_null(schema(STATS_VCPU));
	ck_assert_str_eq(err.text, "vCPU 1: KVM_GET_STATS_FD: Cannot allocate memory");
	ck_assert(vm_is_running(machine.vm));
	check_values(STATS_VM, 0, 100);
	check_values(STATS_VCPU, 2, 3000);
}
END_TEST

START_TEST(reads_fail)
{
	struct fake_fault fault = { .request = FAKE_PREAD, .vcpu = -1, .times = 1, .error = EIO };
	unsigned int n;

	machine_start(1);
	/* Each read in its turn; the last loop has none that fails. */
	for (n = 1; n < 100; n++) {
		fake_kvm_heal(machine.fake);
		fault.nth = n;
		fake_kvm_fail(machine.fake, fault);
		if (schema(STATS_VM) && vm_stats_read(machine.vm, STATS_VM, 0, &err))
			break;
		ck_assert_str_eq(err.text, "statistics of KVM: Input/output error");
	}
	ck_assert_uint_gt(n, 3);
	ck_assert_uint_lt(n, 100);
	/* A signal is no failure. */
	fake_kvm_heal(machine.fake);
	fault.nth = 1;
	fault.error = EINTR;
	fake_kvm_fail(machine.fake, fault);
	check_values(STATS_VM, 0, 100);
}
END_TEST

START_TEST(no_memory)
{
	const uint8_t *bytes;
	unsigned int n;

	machine_start(2);
	for (n = 1; n < 50; n++) {
		alloc_fail_at(n);
		bytes = vm_stats_read(machine.vm, n % 2 ? STATS_VM : STATS_VCPU, 0, &err);
		if (!alloc_has_failed() && n > 12)
			break;
		ck_assert(bytes || err.code == ENOMEM);
	}
	alloc_fail_at(0);
	check_values(STATS_VM, 0, 100);
	check_values(STATS_VCPU, 1, 2000);
}
END_TEST

/* ---- kernels gone mad ---- */

#define ONE(...) (struct fake_stat) { "one", KVM_STATS_TYPE_INSTANT, 0, __VA_ARGS__, 0 }

static uint8_t file[1 << 16];

/* A header's member, and what it becomes. */
struct header_case {
	size_t at;
	uint32_t value;
	const char *error;
};

#define HEADER(member) offsetof(struct kvm_stats_header, member)
#define SAYS(what) "KVM_GET_STATS_FD: the kernel's descriptor has " what

static const struct header_case header_cases[] = {
	{ HEADER(name_size), 0, SAYS("names of no possible size") },
	{ HEADER(name_size), 1, SAYS("names of no possible size") },
	{ HEADER(name_size), 1025, SAYS("names of no possible size") },
	{ HEADER(name_size), UINT32_MAX, SAYS("names of no possible size") },
	{ HEADER(num_desc), 0, SAYS("no possible number of statistics") },
	{ HEADER(num_desc), 4097, SAYS("no possible number of statistics") },
	{ HEADER(num_desc), UINT32_MAX, SAYS("no possible number of statistics") },
	{ HEADER(num_desc), 4096, SAYS("an end too early") },
	{ HEADER(desc_offset), UINT32_MAX, SAYS("an end too early") },
	{ HEADER(desc_offset), 100, SAYS("an end too early") },
	/* Inside the name of the id: nothing is there that could be a name. */
	{ HEADER(desc_offset), 24, NULL },
};

START_TEST(bad_header)
{
	const struct header_case *c = &header_cases[_i];
	size_t len = fake_stats_build(file, &ONE(1, 0), 1);

	memcpy(file + c->at, &c->value, sizeof(c->value));
	fake_kvm_set_stats(machine.fake, file, len);
	machine_start(1);
	ck_assert_ptr_null(schema(STATS_VM));
	ck_assert_int_eq(err.code, EPROTO);
	if (c->error)
		ck_assert_str_eq(err.text, c->error);
	ck_assert_ptr_null(schema(STATS_VCPU));
	ck_assert_int_eq(err.code, EPROTO);
}
END_TEST

START_TEST(short_file)
{
	size_t len = fake_stats_build(file, &ONE(1, 0), 1);

	machine_start(1);
	/* Without the value the schema is whole; with less nothing is. */
	for (size_t n = 0; n < len - 8; n++) {
		fake_kvm_set_stats(machine.fake, file, n);
		ck_assert_ptr_null(schema(STATS_VM));
		ck_assert_str_eq(err.text, SAYS("an end too early"));
	}
	fake_kvm_set_stats(machine.fake, file, len - 1);
	ck_assert_ptr_nonnull(schema(STATS_VM));
	ck_assert_ptr_null(vm_stats_read(machine.vm, STATS_VM, 0, &err));
	ck_assert_str_eq(err.text, SAYS("an end too early"));
	fake_kvm_set_stats(machine.fake, file, len);
	ck_assert_ptr_nonnull(vm_stats_read(machine.vm, STATS_VM, 0, &err));
}
END_TEST

START_TEST(bad_descs)
{
	static const struct {
		struct fake_stat stat;
		const char *error;
	} cases[] = {
		{ { "", 1, 0, 1, 0, 0 }, SAYS("a name without an end, or an empty one") },
		{ { "x", 1, 0, 0, 0, 0 }, SAYS("a statistic without values") },
		{ { "x", 1, 0, 1, UINT32_MAX, 0 }, SAYS("values too far away") },
		{ { "x", 1, 0, 1, (1 << 20) - 7, 0 }, SAYS("values too far away") },
		{ { "x", 1, 0, UINT16_MAX, (1 << 20) - 8, 0 }, SAYS("values too far away") },
	};

	machine_start(1);
	for (size_t i = 0; i < COUNT(cases); i++) {
		fake_stats_build(file, &cases[i].stat, 1);
		fake_kvm_set_stats(machine.fake, file, 24 + 48 + 64 + 8);
		ck_assert_ptr_null(schema(STATS_VM));
		ck_assert_str_eq(err.text, cases[i].error);
	}
	/* A name that fills all its room. */
	fake_stats_build(file, &ONE(1, 0), 1);
	memset(file + 24 + 48 + 16, 'n', 48);
	fake_kvm_set_stats(machine.fake, file, 24 + 48 + 64 + 8);
	ck_assert_ptr_null(schema(STATS_VM));
	ck_assert_str_eq(err.text, cases[0].error);
}
END_TEST

/* What newer kernels may count in ways that nobody knows here is left out, and nothing else. */
START_TEST(unknown_kinds)
{
	static const struct fake_stat stats[] = {
		{ "type", 5, 0, 1, 0, 0 }, { "unit", 5 << 4, 0, 1, 8, 0 },
		{ "base", 2 << 8, 0, 1, 16, 0 }, { "known", 1, 0, 1, 24, 0 },
	};
	const struct stats_schema *s;
	size_t len = fake_stats_build(file, stats, COUNT(stats));

	fake_kvm_set_stats(machine.fake, file, len);
	machine_start(1);
	s = schema(STATS_VM);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->nr, 1);
	ck_assert_str_eq(s->desc[0].name, "known");
	ck_assert_ptr_nonnull(vm_stats_read(machine.vm, STATS_VM, 0, &err));
	/* Of the vCPUs' nothing is left. */
	fake_kvm_set_stats(machine.fake, file, fake_stats_build(file, stats, 3));
	s = schema(STATS_VCPU);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->nr, 0);
	ck_assert_ptr_nonnull(vm_stats_read(machine.vm, STATS_VCPU, 0, &err));
}
END_TEST

Suite *stats_suite(void)
{
	Suite *suite = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, schemas);
	tcase_add_test(tc, values);
	tcase_add_test(tc, running);
	tcase_add_test(tc, no_capability);
	tcase_add_test(tc, ioctls_fail);
	tcase_add_test(tc, reads_fail);
	tcase_add_test(tc, no_memory);
	tcase_add_loop_test(tc, bad_header, 0, COUNT(header_cases));
	tcase_add_test(tc, short_file);
	tcase_add_test(tc, bad_descs);
	tcase_add_test(tc, unknown_kinds);
	suite_add_tcase(suite, tc);
	return suite;
}
