/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/cpuid_command.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/system_kvm.h"

/* vmond cpuid on the fake kernel. */

static struct fake_kvm *fake;
static int out_fd;
static char output[1 << 20];

static void setup(void)
{
	fake = fake_kvm_new();
	system_kvm_set(fake);
	out_fd = memfd_create("output", MFD_CLOEXEC);
	ck_assert_int_ge(out_fd, 0);
}

static void teardown(void)
{
	system_kvm_set(NULL);
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	fake_kvm_free(fake);
	close(out_fd);
}

static enum cpuid_command_result command(char *const *argv, int argc, struct error *err)
{
	int saved = dup(STDOUT_FILENO);
	enum cpuid_command_result result;
	ssize_t len;

	fflush(stdout);
	ck_assert_int_eq(ftruncate(out_fd, 0), 0);
	lseek(out_fd, 0, SEEK_SET);
	dup2(out_fd, STDOUT_FILENO);
	result = cpuid_command(argc, argv, err);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	len = pread(out_fd, output, sizeof(output) - 1, 0);
	ck_assert_int_ge(len, 0);
	output[len] = '\0';
	return result;
}

static const struct {
	int argc;
	const char *argv[4];
	const char *has[3];
} cases[] = {
	{ 0, { NULL }, { "What KVM can show a guest:\n", "Models for --cpu:\n", "MSRs that go with it" } },
	{ 1, { "--json" }, { "\"emulated-features\": [", "\"models\": [", "\"feature-msrs\": [" } },
	{ 2, { "--cpu", "x86-64-v2" }, { " family ", "0x1 ECX", "\nNot to be had on this host:\n" } },
	{ 3, { "--json", "--cpu=x86-64-v2", "--smp=2,cores=2" },
	  { "\"model\": \"x86-64-v2\"", "\"missing-features\": [", "\"entries\": [" } },
};

/* Whatever is out of memory: no half output, and the reason. */
START_TEST(test_no_memory)
{
	char *const *argv = (char *const *)cases[_i].argv;
	static char right[sizeof(output)];
	enum cpuid_command_result result;
	struct error err = { .text = "" };
	unsigned int n = 0;

	ck_assert_msg(command(argv, cases[_i].argc, &err) == CPUID_COMMAND_OK, "%s", err.text);
	for (size_t i = 0; i < 3; i++)
		ck_assert_msg(strstr(output, cases[_i].has[i]), "%s: %s", cases[_i].has[i], output);
	strcpy(right, output);
	do {
		alloc_fail_at(++n);
		result = command(argv, cases[_i].argc, &err);
		if (result == CPUID_COMMAND_OK) {
			ck_assert_str_eq(output, right);
			continue;
		}
		ck_assert_str_eq(output, "");
		ck_assert_msg(err.code == ENOMEM && !strchr(err.text, '\n'), "%u: %s", n, err.text);
	} while (alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_int_eq(result, CPUID_COMMAND_OK);
	ck_assert_uint_gt(n, 5);
}
END_TEST

START_TEST(test_kernel_fails)
{
	static const unsigned long requests[] = {
		KVM_GET_SUPPORTED_CPUID, KVM_GET_EMULATED_CPUID, KVM_GET_MSR_FEATURE_INDEX_LIST,
	};
	struct error err = { .text = "" };

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		fake_kvm_fail(fake, (struct fake_fault){ .request = requests[i], .vcpu = -1,
							 .times = 1, .error = EIO });
		ck_assert_int_eq(command(NULL, 0, &err), CPUID_COMMAND_FAILURE);
		ck_assert_ptr_nonnull(strstr(err.text, "Input/output error"));
		ck_assert_str_eq(output, "");
	}
}
END_TEST

Suite *cpuid_command_suite(void)
{
	Suite *suite = suite_create("cpuid_command");
	TCase *tc = tcase_create("cpuid_command");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_no_memory, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, test_kernel_fails);
	suite_add_tcase(suite, tc);
	return suite;
}
