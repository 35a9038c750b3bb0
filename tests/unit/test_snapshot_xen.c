/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"
#include "tests/unit/xen_fixture.h"

/* Hypercall pages in snapshots: saved on one path, loaded on another, and refused. */

static struct sections first;

/* Offsets in the section: MSR, version, and then each blob behind the number of its pages. */
#define AT_MSR          0
#define AT_VERSION      4
#define AT_BLOB_32      8
#define AT_BLOB_64      (AT_BLOB_32 + 1 + XEN_PAGES_32 * PAGE)
#define AT_FLAGS        (AT_BLOB_64 + 1 + XEN_PAGES_64 * PAGE)
#define AT_NR           (AT_FLAGS + 1 + 8 + 8)
#define AT_PAGE         (AT_NR + 4)
#define PAGE_SIZE_SAVED 22

static struct bytes_out *content(void)
{
	return &section_named(&first, "xen-hvm")->content;
}

/* A machine of one vCPU, which has had two pages written and one refused. */
static void saved_on(enum xen_hvm_path path)
{
	xen_host(path);
	/* Of Hyper-V's, which a load would set to 0. */
	fake_kvm_add_msr(machine.fake, XEN_HVM_MSR_DEFAULT, 0, true);
	machine_start(1);
	xen_run((const struct fake_step[]) {
		xen_wrmsr(false, 0x1002), xen_wrmsr(true, 0x3001), xen_wrmsr(true, 0x3001),
		xen_wrmsr(true, 0x3fff),
	}, 4);
	save(&first);
}

/* The same on a host that can do that. */
static void load_on(enum xen_hvm_path path)
{
	machine_stop();
	machine_host();
	fake_kvm_add_msr(machine.fake, XEN_HVM_MSR_DEFAULT, 0, true);
	xen_host_can(path);
	machine.config.incoming = true;
}

static void end(void)
{
	xen_end();
	sections_free(&first);
}

static const struct {
	enum xen_hvm_path from, to, path;
	bool option;
} journeys[] = {
	{ XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_USER_SPACE, false },
	{ XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_USER_SPACE, true },
	{ XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_KERNEL, XEN_HVM_PATH_KERNEL, false },
	{ XEN_HVM_PATH_KERNEL, XEN_HVM_PATH_USER_SPACE, XEN_HVM_PATH_USER_SPACE, false },
	{ XEN_HVM_PATH_KERNEL, XEN_HVM_PATH_KERNEL, XEN_HVM_PATH_KERNEL, true },
	{ XEN_HVM_PATH_KERNEL, XEN_HVM_PATH_ANY, XEN_HVM_PATH_KERNEL, false },
};

static void check_loaded(struct vm *vm, enum xen_hvm_path path, bool all_seen, bool option)
{
	const struct xen_hvm_written *written = xen_written(vm);

	ck_assert_int_eq(vm->xen->path, path);
	ck_assert_uint_eq(vm->xen->msr, XEN_HVM_MSR_DEFAULT);
	ck_assert_uint_eq(vm->xen->version, 0x00040011);
	ck_assert_uint_ne(vm->xen->cpuid_base, 0);
	ck_assert(written->complete == (all_seen && path == XEN_HVM_PATH_USER_SPACE));
	for (int i = 0; i < 2; i++) {
		const struct xen_hvm_blob *blob = &vm->xen->blob[i];

		ck_assert_uint_eq(blob->pages, i ? XEN_PAGES_64 : XEN_PAGES_32);
		ck_assert(xen_is_of_blob(blob->data, i, 0, blob->pages * PAGE));
		ck_assert((blob->file != NULL) == option);
	}
	if (!all_seen) {
		ck_assert_uint_eq(written->nr, 0);
		return;
	}
	ck_assert_uint_eq(written->nr, 2);
	ck_assert_uint_eq(written->refused, 1);
	ck_assert_uint_eq(written->page[0].gpa, 0x1000);
	ck_assert_uint_eq(written->page[0].index, 2);
	ck_assert(!written->page[0].long_mode);
	ck_assert_uint_eq(written->page[1].gpa, 0x3000);
	ck_assert_uint_eq(written->page[1].count, 2);
	ck_assert(written->page[1].long_mode);
}

/* Goes on with the same blobs, and no page is written but by the guest. */
START_TEST(round_trip)
{
	enum xen_hvm_path from = journeys[_i].from;
	struct sections again;

	saved_on(from);
	load_on(journeys[_i].to);
	machine.config.xen = journeys[_i].option ? &xen.config : NULL;
	machine_start(1);
	load_into(machine.vm, &first);
	check_loaded(machine.vm, journeys[_i].path, from == XEN_HVM_PATH_USER_SPACE,
		     journeys[_i].option);
	/* Of nothing booted, too. */
	check_zero(&machine.vm->memory, 0, 2 << 20);
	save(&again);
	if (journeys[_i].path == from)
		ck_assert_ptr_null(sections_difference(&first, &again));
	sections_free(&again);

	machine.vm->state = RUN_STATE_PAUSED;
	xen_run((const struct fake_step[]) {
		xen_wrmsr(false, 0x5001), xen_wrmsr(true, 0x6001), xen_wrmsr(true, 0x6002),
	}, 3);
	ck_assert(xen_page_is(machine.vm, 0x5000, false, 1));
	ck_assert(xen_page_is(machine.vm, 0x6000, true, 1));
	ck_assert_uint_eq(machine_model(0)->msr_faults, 1);
	end();
}
END_TEST

/* Of what the machine has before it is loaded nothing is told to the kernel. */
START_TEST(a_machine_that_waits)
{
	saved_on(XEN_HVM_PATH_ANY);
	load_on(XEN_HVM_PATH_ANY);
	machine.config.xen = &xen.config;
	machine_start(1);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_XEN_HVM_CONFIG), 0);
	load_into(machine.vm, &first);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_XEN_HVM_CONFIG), 1);
	end();
}
END_TEST

START_TEST(a_machine_without)
{
	xen_host(XEN_HVM_PATH_ANY);
	machine.config.xen = NULL;
	machine_start(1);
	save(&first);
	for (unsigned int i = 0; i < first.nr; i++)
		ck_assert_str_ne(first.section[i].name, "xen-hvm");
	load_on(XEN_HVM_PATH_ANY);
	machine.config.xen = &xen.config;
	machine_start(1);
	refused(&first, true, "the snapshot is of a machine without --xen-hvm; leave out the "
		"option");
	end();
}
END_TEST

START_TEST(another_option)
{
	static const char *const names[] = { "MSR", "version", "version", "blob32", "blob64",
					     "blob32", "blob64" };
	char text[128];

	saved_on(XEN_HVM_PATH_ANY);
	load_on(XEN_HVM_PATH_ANY);
	machine.config.xen = &xen.config;
	switch (_i) {
	case 0:
		xen.config.msr++;
		break;
	case 1:
		xen.config.major++;
		break;
	case 2:
		xen.config.minor++;
		break;
	case 3:
		xen_write_blob(false, (XEN_PAGES_32 - 1) * PAGE);
		break;
	case 4:
		xen_write_blob(true, (XEN_PAGES_64 + 1) * PAGE);
		break;
	case 5:
		xen_write_blob(false, XEN_PAGES_32 * PAGE - 1);
		break;
	case 6:
		xen.config.blob[true] = NULL;
		break;
	}
	machine_start(1);
	snprintf(text, sizeof(text), "the snapshot is of a machine with another %s in --xen-hvm; "
		 "it has its own, leave out the option", names[_i]);
	refused(&first, true, text);
	end();
}
END_TEST

START_TEST(hosts_that_can_not)
{
	saved_on(XEN_HVM_PATH_ANY);
	load_on(XEN_HVM_PATH_ANY);
	fake_kvm_set_cap(machine.fake, KVM_CAP_XEN_HVM, 0);
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_MSR_FILTER, 0);
	machine_start(1);
	refused(&first, true, "the snapshot is of a machine with Xen PV-on-HVM: this host's KVM "
		"can neither");
	end();
}
END_TEST

/* What the host's KVM has itself. */
START_TEST(hosts_that_have_the_msr)
{
	xen_host(XEN_HVM_PATH_ANY);
	xen.config.msr = 0x40000300;
	machine_start(1);
	save(&first);
	load_on(XEN_HVM_PATH_ANY);
	fake_kvm_add_msr(machine.fake, 0x40000300, 0, true);
	machine_start(1);
	refused(&first, false, "this host's KVM has itself");
	end();
}
END_TEST

static void put(size_t at, uint64_t value, size_t len)
{
	ck_assert_uint_le(at + len, content()->len);
	memcpy(content()->data + at, &value, len);
}

START_TEST(broken_sections)
{
	static const struct {
		size_t at, len;
		uint64_t value;
		const char *text;
	} cases[] = {
		{ AT_MSR, 4, 0x10, "section \"xen-hvm\": MSR 0x10 is not one of those" },
		{ AT_MSR, 4, 0x4b564d01,
		  "section \"xen-hvm\": MSR 0x4b564d01 is one of KVM's own" },
		{ AT_BLOB_32, 1, 255, "section \"xen-hvm\"" },
		{ AT_BLOB_64, 1, 255, "section \"xen-hvm\"" },
		{ AT_FLAGS, 1, 2, "pages in the guest that can not be" },
		{ AT_NR, 4, 1, "section \"xen-hvm\"" },
		{ AT_NR, 4, 3, "section \"xen-hvm\"" },
		{ AT_NR, 4, XEN_HVM_PAGES_LISTED + 1, "pages in the guest that can not be" },
		{ AT_NR, 4, UINT32_MAX, "pages in the guest that can not be" },
		{ AT_PAGE, 8, 0x1001, "pages in the guest that can not be" },
		{ AT_PAGE, 8, 2 << 20, "pages in the guest that can not be" },
		{ AT_PAGE, 8, ~UINT64_C(0xfff), "pages in the guest that can not be" },
		{ AT_PAGE + 16, 4, 1, "pages in the guest that can not be" },
		{ AT_PAGE + 20, 1, XEN_PAGES_32, "pages in the guest that can not be" },
		{ AT_PAGE + PAGE_SIZE_SAVED + 20, 1, XEN_PAGES_64,
		  "pages in the guest that can not be" },
		{ AT_PAGE + 21, 1, 2, "pages in the guest that can not be" },
	};

	saved_on(XEN_HVM_PATH_USER_SPACE);
	ck_assert_uint_eq(content()->len, AT_PAGE + 2 * PAGE_SIZE_SAVED);
	put(cases[_i].at, cases[_i].value, cases[_i].len);
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	refused(&first, true, cases[_i].text);
	end();
}
END_TEST

START_TEST(sections_cut_short)
{
	static const size_t cuts[] = { 0, 3, 7, AT_BLOB_32, AT_BLOB_32 + 1, AT_BLOB_32 + 4096,
				       AT_BLOB_64, AT_FLAGS, AT_NR, AT_NR + 3, AT_PAGE,
				       AT_PAGE + 21 };

	saved_on(XEN_HVM_PATH_USER_SPACE);
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	content()->len = cuts[_i];
	refused(&first, true, "section \"xen-hvm\"");
	end();
}
END_TEST

START_TEST(a_section_without_blobs)
{
	struct bytes_out *out;

	saved_on(XEN_HVM_PATH_USER_SPACE);
	out = content();
	bytes_out_free(out);
	bytes_put_u32(out, XEN_HVM_MSR_DEFAULT);
	bytes_put_u32(out, 0x00040011);
	bytes_put_u16(out, 0);
	bytes_put_u8(out, 0);
	bytes_put_u64(out, 0);
	bytes_put_u64(out, 0);
	bytes_put_u32(out, 0);
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	refused(&first, true, "section \"xen-hvm\" has no blob");
	end();
}
END_TEST

START_TEST(a_newer_section)
{
	saved_on(XEN_HVM_PATH_USER_SPACE);
	ck_assert(section_named(&first, "xen-hvm")->required);
	section_named(&first, "xen-hvm")->version = 2;
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	refused(&first, true, "xen-hvm");
	end();
}
END_TEST

START_TEST(requests_that_fail)
{
	static const struct {
		unsigned long request;
		enum xen_hvm_path path;
	} requests[] = {
		{ KVM_XEN_HVM_CONFIG, XEN_HVM_PATH_KERNEL },
		{ KVM_X86_SET_MSR_FILTER, XEN_HVM_PATH_USER_SPACE },
	};
	struct error err = { .code = 0 };

	saved_on(XEN_HVM_PATH_ANY);
	load_on(requests[_i].path);
	machine_start(1);
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = requests[_i].request, .vcpu = -1, .error = EIO });
	ck_assert_int_eq(snapshot_apply(machine.vm, &first, true, &err), -1);
	ck_assert_int_eq(err.code, EIO);
	end();
}
END_TEST

/* The whole, and each blob; what else a load allocates is the business of others. */
START_TEST(memory_that_runs_out)
{
	struct kvm_cpuid2 *empty = calloc(1, sizeof(*empty));
	unsigned int failures = 0;
	bool failed;

	saved_on(XEN_HVM_PATH_ANY);
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	do {
		struct xen_hvm *made = NULL;
		struct error err = { .code = 0 };
		int rc;

		alloc_fail_at(failures + 1);
		rc = snapshot_parse_xen(machine.vm, &first, empty, &made, &err);
		failed = alloc_has_failed();
		alloc_fail_at(0);
		ck_assert_int_eq(rc, failed ? -1 : 0);
		ck_assert_int_eq(err.code, failed ? ENOMEM : 0);
		ck_assert((made != NULL) == !failed);
		xen_hvm_free(made);
		failures += failed;
	} while (failed);
	ck_assert_uint_eq(failures, 3);
	free(empty);
	end();
}
END_TEST

/* Where KVM's leaves would be, Xen's version is no list of features. */
START_TEST(a_version_is_no_feature)
{
	struct cpu_config cpu;

	ck_assert_int_eq(cpu_model_parse("host,kvm=off", &cpu, NULL), 0);
	xen_host(XEN_HVM_PATH_ANY);
	machine.config.cpu = &cpu;
	machine_start(1);
	ck_assert_uint_eq(machine.vm->xen->cpuid_base, 0x40000000);
	save(&first);
	load_on(XEN_HVM_PATH_ANY);
	machine_start(1);
	load_into(machine.vm, &first);
	end();
}
END_TEST

Suite *snapshot_xen_suite(void)
{
	Suite *suite = suite_create("snapshot_xen");
	TCase *good = tcase_create("good"), *bad = tcase_create("bad");

	tcase_add_loop_test(good, round_trip, 0, 6);
	tcase_add_test(good, a_machine_that_waits);
	tcase_add_test(good, a_version_is_no_feature);
	suite_add_tcase(suite, good);
	tcase_add_test(bad, a_machine_without);
	tcase_add_loop_test(bad, another_option, 0, 7);
	tcase_add_test(bad, hosts_that_can_not);
	tcase_add_test(bad, hosts_that_have_the_msr);
	tcase_add_loop_test(bad, broken_sections, 0, 16);
	tcase_add_loop_test(bad, sections_cut_short, 0, 12);
	tcase_add_test(bad, a_section_without_blobs);
	tcase_add_test(bad, a_newer_section);
	tcase_add_loop_test(bad, requests_that_fail, 0, 2);
	tcase_add_test(bad, memory_that_runs_out);
	suite_add_tcase(suite, bad);
	return suite;
}
