/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/xen_fixture.h"
#include "vmm/cpuid.h"

/* Hypercall pages on both paths, and every host that can not. */

#define RUN(...) \
	xen_run((const struct fake_step[]){ __VA_ARGS__ }, \
		sizeof((const struct fake_step[]){ __VA_ARGS__ }) / sizeof(struct fake_step))

static const void *last_payload(unsigned long request)
{
	struct fake_filter filter = fake_filter(0, FAKE_ANY, FAKE_ANY);

	filter.request = request;
	ck_assert_uint_eq(fake_kvm_count(machine.fake, filter), 1);
	return fake_kvm_last(machine.fake, filter)->in;
}

/* ---- Configuration ---- */

START_TEST(the_kernel_is_told)
{
	const struct kvm_xen_hvm_config *config;

	xen_host(_i ? XEN_HVM_PATH_ANY : XEN_HVM_PATH_KERNEL);
	machine_start(2);
	config = last_payload(KVM_XEN_HVM_CONFIG);
	ck_assert_uint_eq(config->flags, 0);
	ck_assert_uint_eq(config->msr, 0x40000000);
	ck_assert_uint_eq(config->blob_size_32, XEN_PAGES_32);
	ck_assert_uint_eq(config->blob_size_64, XEN_PAGES_64);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_X86_SET_MSR_FILTER),
			  0);
	ck_assert_int_eq(machine.vm->xen->path, XEN_HVM_PATH_KERNEL);
	xen_end();
}
END_TEST

START_TEST(one_msr_is_filtered)
{
	const struct kvm_msr_filter *filter;

	xen_host(_i ? XEN_HVM_PATH_ANY : XEN_HVM_PATH_USER_SPACE);
	xen.config.path = _i ? XEN_HVM_PATH_USER_SPACE : XEN_HVM_PATH_ANY;
	xen.config.msr = 0x40000200;
	machine_start(2);
	filter = last_payload(KVM_X86_SET_MSR_FILTER);
	ck_assert_uint_eq(filter->flags, KVM_MSR_FILTER_DEFAULT_ALLOW);
	ck_assert_uint_eq(filter->ranges[0].flags, KVM_MSR_FILTER_WRITE);
	ck_assert_uint_eq(filter->ranges[0].base, 0x40000200);
	ck_assert_uint_eq(filter->ranges[0].nmsrs, 1);
	for (int i = 1; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		ck_assert_uint_eq(filter->ranges[i].nmsrs, 0);
	ck_assert_uint_eq(fake_kvm_vm(machine.fake, 0)->user_space_msr,
			  KVM_MSR_EXIT_REASON_FILTER);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_XEN_HVM_CONFIG), 0);
	ck_assert_int_eq(machine.vm->xen->path, XEN_HVM_PATH_USER_SPACE);
	xen_end();
}
END_TEST

START_TEST(without_the_option_nothing)
{
	xen_host(XEN_HVM_PATH_ANY);
	machine.config.xen = NULL;
	machine_start(1);
	ck_assert_ptr_null(machine.vm->xen);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_XEN_HVM_CONFIG), 0);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_X86_SET_MSR_FILTER),
			  0);
	ck_assert_uint_eq(xen_hvm_find_cpuid(machine_model(0)->cpuid), 0);
	xen_end();
}
END_TEST

/* Starting fails, with this in the text, and leaves nothing behind. */
static void start_refused(const char *text)
{
	struct error err = { .code = 0 };

	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_ptr_null(machine.vm);
	ck_assert_msg(strstr(err.text, text), "%s", err.text);
	ck_assert_msg(!strncmp(err.text, "Xen PV-on-HVM: ", 15), "%s", err.text);
	ck_assert_int_ne(err.code, 0);
}

START_TEST(hosts_that_can_not)
{
	static const struct {
		int xen, user_space, filter;
		enum xen_hvm_path path;
		const char *text;
	} hosts[] = {
		{ 0, 0, 0, XEN_HVM_PATH_ANY, "neither write Xen's hypercall pages" },
		/* Xen, but not this of it. */
		{ KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, 0, 0, XEN_HVM_PATH_ANY, "neither" },
		{ 0, 1, 0, XEN_HVM_PATH_ANY, "neither" },
		{ 0, 0, 1, XEN_HVM_PATH_ANY, "neither" },
		{ 0, 1, 1, XEN_HVM_PATH_KERNEL, "leave out path=kernel" },
		{ 1, 0, 1, XEN_HVM_PATH_USER_SPACE, "leave out path=user-space" },
		{ 1, 1, 0, XEN_HVM_PATH_USER_SPACE, "leave out path=user-space" },
	};

	xen_host(XEN_HVM_PATH_ANY);
	fake_kvm_set_cap(machine.fake, KVM_CAP_XEN_HVM, hosts[_i].xen);
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_USER_SPACE_MSR, hosts[_i].user_space);
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_MSR_FILTER, hosts[_i].filter);
	xen.config.path = hosts[_i].path;
	start_refused(hosts[_i].text);
	xen_end();
}
END_TEST

START_TEST(msrs_that_can_not_be)
{
	static const struct {
		uint32_t msr;
		const char *text;
	} msrs[] = {
		{ 0, "not one of those that hypervisors make up" },
		{ 0x10, "not one of those" }, { 0x3fffffff, "not one of those" },
		{ 0x50000000, "not one of those" }, { 0xc0000080, "not one of those" },
		{ 0x4b564d00, "one of KVM's own" }, { 0x4b564dff, "one of KVM's own" },
		{ 0x40000300, "this host's KVM has itself" },
	};

	xen_host(XEN_HVM_PATH_ANY);
	fake_kvm_add_msr(machine.fake, 0x40000300, 0, true);
	xen.config.msr = msrs[_i].msr;
	start_refused(msrs[_i].text);
	xen_end();
}
END_TEST

/* Hyper-V's are in every kernel's list, and its guests are not ours. */
START_TEST(msrs_that_can_be)
{
	static const uint32_t msrs[] = {
		0x40000000, 0x400001ff, 0x40000200, 0x4b564cff, 0x4b564e00, 0x4fffffff,
	};

	xen_host(XEN_HVM_PATH_ANY);
	fake_kvm_add_msr(machine.fake, 0x40000000, 0, true);
	fake_kvm_add_msr(machine.fake, 0x400001ff, 0, true);
	xen.config.msr = msrs[_i];
	machine_start(1);
	RUN(xen_wrmsr(false, 0x5000));
	ck_assert(xen_page_is(machine.vm, 0x5000, false, 0));
	xen_end();
}
END_TEST

START_TEST(blobs_that_can_not_be)
{
	static char nowhere[] = "/nonexistent/blob";
	static const char *const texts[] = {
		"blob64 /nonexistent/blob: can not open it", "the file is empty",
		"has more than 255 pages", "needs blob32, blob64 or both", "it is a directory",
	};

	xen_host(XEN_HVM_PATH_ANY);
	if (_i == 0)
		xen.config.blob[true] = nowhere;
	if (_i == 1)
		xen_write_blob(false, 0);
	if (_i == 2)
		xen_write_blob(true, 255 * PAGE + 1);
	if (_i == 3)
		xen.config.blob[false] = xen.config.blob[true] = NULL;
	if (_i == 4)
		xen.config.blob[false] = xen.place.directory;
	start_refused(texts[_i]);
	xen_end();
}
END_TEST

START_TEST(blobs_of_all_sizes)
{
	static const size_t sizes[] = { 1, PAGE - 1, PAGE, PAGE + 1, 255 * PAGE - 1, 255 * PAGE };
	size_t size = sizes[_i];
	const struct xen_hvm_blob *blob;

	xen_host(XEN_HVM_PATH_ANY);
	xen_write_blob(true, size);
	xen.config.blob[false] = NULL;
	machine_start(1);
	blob = &machine.vm->xen->blob[true];
	ck_assert_uint_eq(blob->pages, (size + PAGE - 1) / PAGE);
	ck_assert(xen_is_of_blob(blob->data, true, 0, size));
	for (size_t i = size; i < blob->pages * PAGE; i++)
		ck_assert_uint_eq(blob->data[i], 0);
	ck_assert_ptr_null(machine.vm->xen->blob[false].data);
	RUN(xen_wrmsr(true, 0x5000 + (blob->pages - 1)), xen_wrmsr(false, 0x6000));
	ck_assert_uint_eq(machine_model(0)->msr_faults, 1);
	xen_end();
}
END_TEST

/* ---- Failures ---- */

static const struct {
	unsigned long request;
	enum xen_hvm_path path;
	unsigned int nth;
	const char *text;
} requests[] = {
	{ KVM_XEN_HVM_CONFIG, XEN_HVM_PATH_KERNEL, 1, "KVM_XEN_HVM_CONFIG" },
	/* The third capability that is switched on. */
	{ KVM_ENABLE_CAP, XEN_HVM_PATH_USER_SPACE, 3,
	  "KVM_CAP_X86_USER_SPACE_MSR: KVM_ENABLE_CAP" },
	{ KVM_X86_SET_MSR_FILTER, XEN_HVM_PATH_USER_SPACE, 1, "KVM_X86_SET_MSR_FILTER" },
	{ KVM_GET_TSC_KHZ, XEN_HVM_PATH_ANY, 1, "KVM_GET_TSC_KHZ" },
};

START_TEST(requests_that_fail)
{
	struct error err = { .code = 0 };

	xen_host(requests[_i].path);
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = requests[_i].request, .vcpu = -1, .nth = requests[_i].nth,
		.error = EIO });
	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_msg(strstr(err.text, requests[_i].text), "%s", err.text);
	ck_assert_int_eq(err.code, EIO);
	xen_end();
}
END_TEST

static struct kvm_cpuid2 *new_table(void)
{
	const struct cpu_topology topology = cpu_topology_of_cores(1);
	struct kvm_cpuid2 *table;
	struct cpu_config config;
	struct cpu cpu;

	alloc_exempt_begin();
	ck_assert_int_eq(cpu_config_init(&config, "host", NULL), 0);
	ck_assert_int_eq(cpu_resolve(&config, &machine.kvm, &cpu, NULL), 0);
	table = cpuid_new(&machine.kvm, &cpu, &topology, 0, NULL);
	alloc_exempt_end();
	ck_assert_ptr_nonnull(table);
	return table;
}

START_TEST(memory_that_runs_out)
{
	unsigned int failures = 0;
	struct error err;
	bool failed;

	xen_host(XEN_HVM_PATH_ANY);
	ck_assert_int_eq(kvm_open(&machine.kvm, &fake_kvm_ops, machine.fake, &err), 0);
	do {
		struct xen_hvm *made;
		struct kvm_cpuid2 *table = new_table();

		err.code = 0;
		alloc_fail_at(failures + 1);
		made = xen_hvm_new(&machine.kvm, &xen.config, &err);
		if (made)
			xen_hvm_add_cpuid(made, &table, 1, &err);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_int_eq(err.code, failed ? ENOMEM : 0);
		failures += failed;
		xen_hvm_free(made);
		free(table);
	} while (failed);
	/* The whole, two blobs and their names, the table. */
	ck_assert_uint_eq(failures, 6);
	xen_end();
}
END_TEST

START_TEST(a_mode_that_can_not_be_read)
{
	xen_host(XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = KVM_GET_SREGS, .vcpu = 0, .times = 1, .error = EIO });
	fake_vcpu_script(machine_model(0),
			 (const struct fake_step[]){ xen_wrmsr(true, 0x5000) }, 1);
	machine_cont();
	machine_dispatch();
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	ck_assert_uint_eq(machine_model(0)->msr_faults, 1);
	ck_assert(!xen_page_is(machine.vm, 0x5000, true, 0));
	xen_end();
}
END_TEST

/* ---- Writing ---- */

static uint8_t *ram_before;

static void remember_ram(void)
{
	ram_before = malloc(machine.vm->memory.size);
	memcpy(ram_before, machine.vm->memory.host, machine.vm->memory.size);
}

/* But for the pages in `changed`, which ends with UINT64_MAX. */
static void check_rest_of_ram(const uint64_t *changed)
{
	for (uint64_t gpa = 0; gpa < machine.vm->memory.size; gpa += PAGE) {
		if (gpa == *changed)
			changed++;
		else
			ck_assert_mem_eq(ram_before + gpa, machine.vm->memory.host + gpa, PAGE);
	}
	free(ram_before);
}

static void page_without_long_mode(struct fake_vcpu *v, void *opaque)
{
	(void)opaque;
	v->sregs.efer = 0;
	v->sregs.cr0 |= 0x80000001;
}

START_TEST(pages_of_both_blobs)
{
	const struct fake_step other = { .action = FAKE_WRMSR, .address = 0x174, .data = 0x1234,
					 .advance = 2 };
	struct fake_step paging;
	uint64_t rip;

	xen_host(_i ? XEN_HVM_PATH_KERNEL : XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	paging = xen_wrmsr(false, 0x6001);
	paging.before = page_without_long_mode;
	remember_ram();
	rip = machine_model(0)->regs.rip;
	RUN(xen_wrmsr(false, 0x1000), xen_wrmsr(false, 0x2002), xen_wrmsr(true, 0x3000),
	    xen_wrmsr(true, 0x1ff001), other, paging, xen_wrmsr(false, 0x4001),
	    xen_wrmsr(true, 0x4000));
	ck_assert(xen_page_is(machine.vm, 0x1000, false, 0));
	ck_assert(xen_page_is(machine.vm, 0x2000, false, 2));
	ck_assert(xen_page_is(machine.vm, 0x3000, true, 0));
	ck_assert(xen_page_is(machine.vm, 0x1ff000, true, 1));
	ck_assert(xen_page_is(machine.vm, 0x4000, true, 0));
	ck_assert(xen_page_is(machine.vm, 0x6000, false, 1));
	check_rest_of_ram((const uint64_t[]){ 0x1000, 0x2000, 0x3000, 0x4000, 0x6000, 0x1ff000,
						  UINT64_MAX });
	ck_assert_uint_eq(machine_model(0)->msr_faults, 0);
	ck_assert_uint_eq(machine_model(0)->regs.rip, rip + 16);
	ck_assert_uint_eq(fake_vcpu_msr(machine_model(0), 0x174)->value, 0x1234);
	xen_end();
}
END_TEST

/* As the kernel's own path answers, and nothing is changed. */
START_TEST(faults)
{
	static const struct {
		bool long_mode;
		uint64_t value;
	} writes[] = {
		{ false, 0x1000 + XEN_PAGES_32 }, { true, 0x1000 + XEN_PAGES_64 },
		{ true, 0x1fff }, { false, 0x10ff }, { true, 0x1100 }, { false, 2 << 20 },
		{ true, 0xd0000000 }, { true, 1ULL << 32 }, { false, ~UINT64_C(0xfff) },
		{ true, UINT64_MAX }, { false, 0x1fffffULL | 0xfff },
	};
	const struct fake_step rdmsr = { .action = FAKE_RDMSR, .address = XEN_HVM_MSR_DEFAULT };

	xen_host(_i % 2 ? XEN_HVM_PATH_KERNEL : XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	remember_ram();
	RUN(xen_wrmsr(writes[_i / 2].long_mode, writes[_i / 2].value), rdmsr);
	ck_assert_uint_eq(machine_model(0)->msr_faults, 2);
	check_rest_of_ram((const uint64_t[]){ UINT64_MAX });
	ck_assert_uint_eq(xen_written(machine.vm)->nr, 0);
	ck_assert_uint_eq(xen_written(machine.vm)->refused, _i % 2 ? 0 : 1);
	xen_end();
}
END_TEST

START_TEST(what_was_written_is_known)
{
	const struct xen_hvm_written *written;

	xen_host(XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	RUN(xen_wrmsr(false, 0x1000), xen_wrmsr(true, 0x3001), xen_wrmsr(false, 0x1002),
	    xen_wrmsr(true, 0x9fff), xen_wrmsr(true, 0x1000));
	written = xen_written(machine.vm);
	ck_assert(written->complete);
	ck_assert_uint_eq(written->nr, 2);
	ck_assert_uint_eq(written->refused, 1);
	ck_assert_uint_eq(written->unlisted, 0);
	ck_assert_uint_eq(written->page[0].gpa, 0x1000);
	ck_assert_uint_eq(written->page[0].count, 3);
	ck_assert_uint_eq(written->page[0].index, 0);
	ck_assert(written->page[0].long_mode);
	ck_assert_uint_eq(written->page[1].gpa, 0x3000);
	ck_assert_uint_eq(written->page[1].index, 1);
	ck_assert_uint_eq(written->page[1].count, 1);
	xen_end();
}
END_TEST

START_TEST(the_list_has_an_end)
{
	struct fake_step steps[XEN_HVM_PAGES_LISTED + 3];

	xen_host(XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	for (unsigned int i = 0; i < XEN_HVM_PAGES_LISTED + 2; i++)
		steps[i] = xen_wrmsr(true, 0x1000 * (i + 1));
	steps[XEN_HVM_PAGES_LISTED + 2] = xen_wrmsr(true, 0x1000);
	xen_run(steps, XEN_HVM_PAGES_LISTED + 3);
	ck_assert_uint_eq(xen_written(machine.vm)->nr, XEN_HVM_PAGES_LISTED);
	ck_assert_uint_eq(xen_written(machine.vm)->unlisted, 2);
	ck_assert_uint_eq(xen_written(machine.vm)->page[0].count, 2);
	ck_assert(xen_page_is(machine.vm, 0x1000 * (XEN_HVM_PAGES_LISTED + 2), true, 0));
	xen_end();
}
END_TEST

START_TEST(the_kernel_does_not_tell)
{
	xen_host(XEN_HVM_PATH_KERNEL);
	machine_start(1);
	RUN(xen_wrmsr(false, 0x1000));
	ck_assert(xen_page_is(machine.vm, 0x1000, false, 0));
	ck_assert_uint_eq(xen_written(machine.vm)->nr, 0);
	ck_assert(!xen_written(machine.vm)->complete);
	xen_end();
}
END_TEST

START_TEST(a_reset_forgets_the_pages)
{
	struct error err = { .code = 0 };

	xen_host(_i ? XEN_HVM_PATH_KERNEL : XEN_HVM_PATH_USER_SPACE);
	fake_kvm_add_msr(machine.fake, XEN_HVM_MSR_DEFAULT, 0, true);
	machine_start(1);
	RUN(xen_wrmsr(false, 0x1000), xen_wrmsr(false, 0x1fff));
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
					 &err), 0);
	ck_assert_uint_eq(xen_written(machine.vm)->nr, 0);
	ck_assert_uint_eq(xen_written(machine.vm)->refused, 0);
	ck_assert(xen_written(machine.vm)->complete == !_i);
	xen_end();
}
END_TEST

static sem_t exited;

/* KVM_RUN has returned for the first time, and the vCPU is told to park before it looks at that. */
static void wait_for_the_kick(void *opaque, struct fake_vcpu *vcpu)
{
	static _Atomic bool been_here;

	(void)opaque;
	(void)vcpu;
	if (atomic_exchange(&been_here, true))
		return;
	sem_post(&exited);
	while (!atomic_load(&machine.vm->nr_awaited))
		sched_yield();
}

/* A write under way is finished: nothing is left of it when the machine has stopped. */
START_TEST(a_stop_finishes_a_write)
{
	const struct fake_vcpu *vcpu;
	struct fake_step step;
	uint64_t rip;

	xen_host(XEN_HVM_PATH_USER_SPACE);
	machine_start(1);
	sem_init(&exited, 0, 0);
	fake_kvm_windows(machine.fake, NULL, wait_for_the_kick, NULL);
	vcpu = machine_model(0);
	rip = vcpu->regs.rip;
	step = xen_wrmsr(true, _i ? 0x5fff : 0x5001);
	fake_vcpu_script(machine_model(0), &step, 1);
	machine_cont();
	sem_wait(&exited);
	vm_stop(machine.vm);
	ck_assert(!vcpu->io.pending);
	ck_assert_uint_eq(vcpu->msr_faults, _i);
	ck_assert_uint_eq(vcpu->regs.rip, rip + (_i ? 0 : 2));
	ck_assert(xen_page_is(machine.vm, 0x5000, true, 1) == !_i);
	ck_assert_ptr_null(machine_look());
	sem_destroy(&exited);
	xen_end();
}
END_TEST

/* Only the vCPU's own thread asks, for this, and a parked vCPU has it behind it. */
START_TEST(each_vcpu_has_its_own_mode)
{
	struct fake_step a, b;
	uint64_t mark;

	xen_host(XEN_HVM_PATH_USER_SPACE);
	machine_start(2);
	a = xen_wrmsr(true, 0x1000);
	b = xen_wrmsr(false, 0x2000);
	fake_vcpu_script(machine_model(0), &a, 1);
	fake_vcpu_script(machine_model(1), &b, 1);
	mark = fake_kvm_mark(machine.fake);
	machine_cont();
	fake_vcpu_await_blocked(machine_model(0));
	fake_vcpu_await_blocked(machine_model(1));
	vm_stop(machine.vm);
	ck_assert(xen_page_is(machine.vm, 0x1000, true, 0));
	ck_assert(xen_page_is(machine.vm, 0x2000, false, 0));
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, i, KVM_GET_SREGS), 1);
	ck_assert_uint_eq(machine_sets(mark), 0);
	ck_assert_ptr_null(machine_look());
	xen_end();
}
END_TEST

/* ---- CPUID ---- */

static struct kvm_cpuid2 *table_with(const uint32_t *leaves, unsigned int nr)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + nr * sizeof(table->entries[0]));

	table->nent = nr;
	for (unsigned int i = 0; i < nr; i++)
		table->entries[i].function = leaves[i];
	return table;
}

START_TEST(the_leaves_go_where_there_is_room)
{
	static const struct {
		uint32_t leaves[4];
		unsigned int nr;
		uint32_t base;
	} cases[] = {
		{ { 0, 0x80000000 }, 2, 0x40000000 },
		{ { 0, 0x40000000, 0x40000001 }, 3, 0x40000100 },
		{ { 0, 0x400000ff }, 2, 0x40000100 },
		{ { 0x40000100, 0 }, 2, 0x40000000 },
		{ { 0x40000000, 0x40000101, 0x40000200 }, 3, 0x40000300 },
	};
	struct xen_hvm made = { .msr = 0x40000000, .version = 0x00040011 };
	struct kvm_cpuid2 *table = table_with(cases[_i].leaves, cases[_i].nr);
	uint32_t base = cases[_i].base;
	const struct kvm_cpuid_entry2 *e;

	made.blob[false].pages = 3;
	made.blob[true].pages = 2;
	ck_assert_int_eq(xen_hvm_add_cpuid(&made, &table, 2000000, NULL), 0);
	ck_assert_uint_eq(made.cpuid_base, base);
	ck_assert_uint_eq(xen_hvm_find_cpuid(table), base);
	e = cpuid_find(table, base, 0);
	ck_assert_uint_eq(e->eax, base + 4);
	ck_assert_mem_eq(&e->ebx, "XenV", 4);
	ck_assert_mem_eq(&e->ecx, "MMXe", 4);
	ck_assert_mem_eq(&e->edx, "nVMM", 4);
	ck_assert_uint_eq(cpuid_find(table, base + 1, 0)->eax, 0x00040011);
	ck_assert_uint_eq(cpuid_find(table, base + 2, 0)->eax, 2);
	ck_assert_uint_eq(cpuid_find(table, base + 2, 0)->ebx, 0x40000000);
	ck_assert_uint_eq(cpuid_find(table, base + 3, 0)->ecx, 2000000);
	ck_assert_uint_eq(cpuid_find(table, base + 3, 2)->eax, 2000000);
	ck_assert_uint_eq(cpuid_find(table, base + 4, 0)->eax, 8);
	for (uint32_t vcpu = 0; vcpu < 3; vcpu++) {
		xen_hvm_set_vcpu_id(&made, table, vcpu);
		ck_assert_uint_eq(cpuid_find(table, base + 4, 0)->ebx, vcpu);
	}
	free(table);
}
END_TEST

START_TEST(no_room_for_the_leaves)
{
	struct kvm_cpuid2 *table = table_with((const uint32_t[256]) { 0 }, 256);
	struct xen_hvm made = { .msr = 0x40000000 };
	struct error err = { .code = 0 };

	for (uint32_t i = 0; i < 256; i++)
		table->entries[i].function = 0x40000000 + i * 0x100;
	ck_assert_int_eq(xen_hvm_add_cpuid(&made, &table, 0, &err), -1);
	ck_assert_str_eq(err.text, "no room for Xen's leaves in the CPUID table");
	ck_assert_uint_eq(table->nent, 256);
	free(table);
}
END_TEST

START_TEST(what_the_table_says_of_time)
{
	struct kvm_cpuid2 *table = table_with((const uint32_t[]){ 0x80000001, 0x80000007 }, 2);
	struct xen_hvm made = { .msr = 0x40000000 };

	if (_i & 1)
		table->entries[0].edx = 1U << 27;
	if (_i & 2)
		table->entries[1].edx = 1U << 8;
	made.blob[_i & 1].pages = 7;            /* and only one blob */
	ck_assert_int_eq(xen_hvm_add_cpuid(&made, &table, 0, NULL), 0);
	ck_assert_uint_eq(cpuid_find(table, 0x40000003, 0)->eax, (_i & 1 ? 4 : 0) + (_i & 2));
	ck_assert_uint_eq(cpuid_find(table, 0x40000002, 0)->eax, 7);
	free(table);
}
END_TEST

START_TEST(vcpus_get_the_leaves)
{
	xen_host(XEN_HVM_PATH_ANY);
	machine_start(3);
	for (unsigned int i = 0; i < 3; i++) {
		const struct kvm_cpuid2 *table = machine_model(i)->cpuid;

		ck_assert_uint_eq(xen_hvm_find_cpuid(table), machine.vm->xen->cpuid_base);
		ck_assert_uint_eq(cpuid_find(table, machine.vm->xen->cpuid_base + 4, 0)->ebx, i);
		ck_assert_uint_eq(cpuid_find(table, machine.vm->xen->cpuid_base + 3, 0)->ecx,
				  machine_model(i)->tsc_khz);
	}
	xen_end();
}
END_TEST

Suite *xen_hvm_suite(void)
{
	Suite *suite = suite_create("xen_hvm");
	TCase *config = tcase_create("config"), *writing = tcase_create("writing");
	TCase *failures = tcase_create("failures"), *cpuid = tcase_create("cpuid");

	tcase_add_loop_test(config, the_kernel_is_told, 0, 2);
	tcase_add_loop_test(config, one_msr_is_filtered, 0, 2);
	tcase_add_test(config, without_the_option_nothing);
	tcase_add_loop_test(config, hosts_that_can_not, 0, 7);
	tcase_add_loop_test(config, msrs_that_can_not_be, 0, 8);
	tcase_add_loop_test(config, msrs_that_can_be, 0, 6);
	tcase_add_loop_test(config, blobs_that_can_not_be, 0, 5);
	tcase_add_loop_test(config, blobs_of_all_sizes, 0, 6);
	suite_add_tcase(suite, config);
	tcase_add_loop_test(failures, requests_that_fail, 0, 4);
	tcase_add_test(failures, memory_that_runs_out);
	tcase_add_test(failures, a_mode_that_can_not_be_read);
	suite_add_tcase(suite, failures);
	tcase_add_loop_test(writing, pages_of_both_blobs, 0, 2);
	tcase_add_loop_test(writing, faults, 0, 22);
	tcase_add_test(writing, what_was_written_is_known);
	tcase_add_test(writing, the_list_has_an_end);
	tcase_add_test(writing, the_kernel_does_not_tell);
	tcase_add_loop_test(writing, a_reset_forgets_the_pages, 0, 2);
	tcase_add_loop_test(writing, a_stop_finishes_a_write, 0, 2);
	tcase_add_test(writing, each_vcpu_has_its_own_mode);
	suite_add_tcase(suite, writing);
	tcase_add_loop_test(cpuid, the_leaves_go_where_there_is_room, 0, 5);
	tcase_add_test(cpuid, no_room_for_the_leaves);
	tcase_add_loop_test(cpuid, what_the_table_says_of_time, 0, 4);
	tcase_add_test(cpuid, vcpus_get_the_leaves);
	suite_add_tcase(suite, cpuid);
	return suite;
}
