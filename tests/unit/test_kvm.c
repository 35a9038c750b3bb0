/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/call_fail.h"
#include "tests/unit/fake_kvm.h"
#include "tests/unit/suites.h"
#include "vmm/feature_msrs.h"
#include "vmm/kvm.h"

/* The system's KVM: hosts that refuse it, kernels that can not be so, and who the host is. */

static struct fake_kvm *fake;
static struct kvm kvm;
static struct error err;

static void setup(void)
{
	fake = fake_kvm_new();
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	fake_kvm_free(fake);
}

/* ---- /dev/kvm ---- */

START_TEST(it_can_not_be_opened)
{
	static const struct {
		int error;
		const char *text;
	} reasons[] = {
		{ ENOENT, "no /dev/kvm: load kvm_intel or kvm_amd" }, { ENODEV, "no /dev/kvm: " },
		{ EPERM, "no permission on /dev/kvm: run as a member" },
		{ EMFILE, "cannot open /dev/kvm: Too many open files" },
	};

	fake_kvm_fail(fake, (struct fake_fault) { FAKE_OPEN, -1, 1, 0, reasons[_i].error });
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), -1);
	ck_assert_int_eq(err.code, reasons[_i].error);
	ck_assert_int_eq(strncmp(err.text, reasons[_i].text, strlen(reasons[_i].text)), 0);
}
END_TEST

/* ---- What a kernel says ---- */

/* Another kernel than the fake one: what it answers to one request. */
static struct odd {
	unsigned long request;
	uint32_t (*next)(uint32_t room);        /* of a list: how many there are; 0: E2BIG for ever */
	int answer;
	unsigned int asked;
} odd;

static int odd_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	if (request != odd.request)
		return fake_kvm_ops.ioctl(ctx, fd, request, arg);
	odd.asked++;
	if (!odd.next)
		return odd.answer;
	/* The number is the first word of every list. */
	*(uint32_t *)arg = odd.next(*(uint32_t *)arg);
	errno = E2BIG;
	return -1;
}

static uint32_t too_many(uint32_t room)
{
	(void)room;
	return 70000;
}

static uint32_t no_more(uint32_t room)
{
	return room ? room : 10;
}

static uint32_t one_more(uint32_t room)
{
	return room + 1;
}

static int open_odd(struct odd with)
{
	static struct kvm_ops ops;

	odd = with;
	ops = fake_kvm_ops;
	ops.ioctl = odd_ioctl;
	return kvm_open(&kvm, &ops, fake, &err);
}

START_TEST(a_run_page_that_is_too_small)
{
	ck_assert_int_eq(open_odd((struct odd) { KVM_GET_VCPU_MMAP_SIZE, .answer = 100 }), -1);
	ck_assert_str_eq(err.text, "KVM_GET_VCPU_MMAP_SIZE gives 100 bytes, less than a run page has");
}
END_TEST

/* However a kernel goes on saying that there are more, there is an end to it. */
START_TEST(lists_without_end)
{
	ck_assert_int_eq(open_odd((struct odd) { KVM_GET_MSR_INDEX_LIST, .next = too_many }), -1);
	ck_assert_str_eq(err.text, "KVM_GET_MSR_INDEX_LIST has 70000 entries, which can not be");
	ck_assert_int_eq(open_odd((struct odd) { KVM_GET_MSR_INDEX_LIST, .next = no_more }), -1);
	ck_assert_int_eq(err.code, E2BIG);
	ck_assert_uint_eq(odd.asked, 2);
	ck_assert_int_eq(open_odd((struct odd) { KVM_GET_MSR_FEATURE_INDEX_LIST, .next = too_many }),
			 0);
	ck_assert_ptr_null(kvm_feature_msrs(&kvm, &err));
	ck_assert_int_eq(err.code, E2BIG);
	kvm_close(&kvm);
	ck_assert_int_eq(open_odd((struct odd) { KVM_GET_SUPPORTED_CPUID, .next = one_more }), 0);
	ck_assert_ptr_null(kvm_supported_cpuid(&kvm, &err));
	ck_assert_str_eq(err.text, "KVM_GET_SUPPORTED_CPUID does not fit into 65536 entries");
	ck_assert_uint_le(odd.asked, 16);
	kvm_close(&kvm);
}
END_TEST

/* Numbers that old kernels do not tell: api.rst says what to take for them. */
START_TEST(old_kernels)
{
	fake_kvm_set_cap(fake, KVM_CAP_MAX_VCPUS, 0);
	fake_kvm_set_cap(fake, KVM_CAP_NR_VCPUS, _i ? 16 : 0);
	fake_kvm_set_cap(fake, KVM_CAP_MAX_VCPU_ID, 0);
	fake_kvm_set_cap(fake, KVM_CAP_MCE, 32);
	fake_kvm_set_cap(fake, KVM_CAP_XSAVE2, 1);
	ck_assert_msg(kvm_open(&kvm, &fake_kvm_ops, fake, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(kvm.caps.max_vcpus, _i ? 16 : 4);
	ck_assert_uint_eq(kvm.caps.max_vcpu_id, kvm.caps.max_vcpus);
	ck_assert_uint_eq(kvm.caps.mce_banks, 10);
	ck_assert_uint_eq(kvm.caps.xsave_size, sizeof(struct kvm_xsave));
	kvm_close(&kvm);
}
END_TEST

/* ---- The host ---- */

/* One that can not be told from others is none that was known before. */
START_TEST(who_the_host_is)
{
	static const char *const calls[] = { "open", "read", "stat" };
	uint8_t id[KVM_HOST_ID_LEN];

	for (size_t i = 0; i < 3; i++) {
		call_fail(calls[i], 1, EIO);
		ck_assert(!kvm_ops_system.host_id(NULL, id));
		/* A host without KVM does not get as far as to the last. */
		ck_assert(call_has_failed() || i == 2);
		call_fail(calls[i], 0, 0);
	}
}
END_TEST

/* Where that can not be found out, a timer is taken for one that may be late. */
START_TEST(whether_timers_need_the_guest)
{
	call_fail("open", 1, EACCES);
	ck_assert(kvm_ops_system.timer_needs_guest(NULL));
	/* There is no such module. */
	call_fail("open", 1, ENOENT);
	ck_assert(!kvm_ops_system.timer_needs_guest(NULL));
	ck_assert(call_has_failed());
}
END_TEST

Suite *kvm_suite(void)
{
	Suite *s = suite_create("kvm");
	TCase *t = tcase_create("kvm");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, it_can_not_be_opened, 0, 4);
	tcase_add_test(t, a_run_page_that_is_too_small);
	tcase_add_test(t, lists_without_end);
	tcase_add_loop_test(t, old_kernels, 0, 2);
	tcase_add_test(t, who_the_host_is);
	tcase_add_test(t, whether_timers_need_the_guest);
	suite_add_tcase(s, t);
	return s;
}
