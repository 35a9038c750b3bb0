/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "tests/unit/suites.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>

/*
 * What Check itself frees here is kept for as long as this allows, and by each test's process again,
 * which is forked with it and looks through all of it for leaks.  By default that would be 256 MiB.
 */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8";
}

/* libedit never frees the names of the functions that it was given. */
const char *__lsan_default_suppressions(void)
{
	return "leak:wcsdup\n";
}

const char *__lsan_default_options(void)
{
	return "print_suppressions=0";
}
#endif

/*
 * Runs every suite.  CK_RUN_SUITE and CK_RUN_CASE choose, CK_FORK=no keeps a test in this process,
 * for a debugger.
 */
int main(void)
{
	SRunner *runner;
	int failed;

	/* Long enough for any machine and any sanitizer; a test that hangs still ends. */
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
	runner = srunner_create(memory_suite());
	srunner_add_suite(runner, cpu_features_suite());
	srunner_add_suite(runner, cpu_topology_suite());
	srunner_add_suite(runner, cpu_model_suite());
	srunner_add_suite(runner, cpuid_suite());
	srunner_add_suite(runner, vm_cpu_suite());
	srunner_add_suite(runner, bus_suite());
	srunner_add_suite(runner, serial_suite());
	srunner_add_suite(runner, serial_loopback_suite());
	srunner_add_suite(runner, devices_suite());
	srunner_add_suite(runner, rtc_suite());
	srunner_add_suite(runner, machine_devices_suite());
	srunner_add_suite(runner, schema_suite());
	srunner_add_suite(runner, introspection_suite());
	srunner_add_suite(runner, boot_suite());
	srunner_add_suite(runner, boot_bad_suite());
	srunner_add_suite(runner, boot_place_suite());
	srunner_add_suite(runner, boot_state_suite());
	srunner_add_suite(runner, options_suite());
	srunner_add_suite(runner, chardev_suite());
	srunner_add_suite(runner, chardev_unix_suite());
	srunner_add_suite(runner, logging_suite());
	srunner_add_suite(runner, pidfile_suite());
	srunner_add_suite(runner, daemonize_suite());
	srunner_add_suite(runner, run_suite());
	srunner_add_suite(runner, chardev_fail_suite());
	srunner_add_suite(runner, options_fail_suite());
	srunner_add_suite(runner, cpuid_command_suite());
	srunner_add_suite(runner, terminal_suite());
	srunner_add_suite(runner, pagewalk_suite());
	srunner_add_suite(runner, hmp_format_suite());
	srunner_add_suite(runner, hmp_paging_suite());
	srunner_add_suite(runner, hmp_suite());
	srunner_add_suite(runner, memsave_suite());
	srunner_add_suite(runner, memsave_fail_suite());
	srunner_add_suite(runner, fake_kvm_suite());
	srunner_add_suite(runner, vcpu_state_suite());
	srunner_add_suite(runner, vcpu_state_kernel_suite());
	srunner_add_suite(runner, vcpu_state_msrs_suite());
	srunner_add_suite(runner, vcpu_state_hosts_suite());
	srunner_add_suite(runner, vcpu_state_random_suite());
	srunner_add_suite(runner, snapshot_state_suite());
	srunner_add_suite(runner, snapshot_timer_suite());
	srunner_add_suite(runner, snapshot_refused_suite());
	srunner_add_suite(runner, snapshot_requests_suite());
	srunner_add_suite(runner, feature_msrs_suite());
	srunner_add_suite(runner, qmp_cpu_suite());
	srunner_add_suite(runner, vm_suite());
	srunner_add_suite(runner, kvm_suite());
	srunner_add_suite(runner, vm_ends_suite());
	srunner_add_suite(runner, vm_exits_suite());
	srunner_add_suite(runner, vm_failures_suite());
	srunner_add_suite(runner, vm_random_suite());
	srunner_add_suite(runner, json_suite());
	srunner_add_suite(runner, wire_suite());
	srunner_add_suite(runner, wire_flow_suite());
	srunner_add_suite(runner, wire_fail_suite());
	srunner_add_suite(runner, events_suite());
	srunner_add_suite(runner, listener_suite());
	srunner_add_suite(runner, boot_linux_suite());
	srunner_add_suite(runner, acpi_suite());
	srunner_add_suite(runner, chardev_pty_suite());
	srunner_add_suite(runner, vm_actions_suite());
	srunner_add_suite(runner, sections_suite());
	srunner_add_suite(runner, snapshot_io_suite());
	srunner_add_suite(runner, snapshot_bad_suite());
	srunner_add_suite(runner, snapshot_calls_suite());
	srunner_add_suite(runner, snapshot_hosts_suite());
	srunner_add_suite(runner, snapshot_write_suite());
	srunner_add_suite(runner, descriptors_suite());
	srunner_add_suite(runner, migrate_suite());
	srunner_add_suite(runner, migrate_out_suite());
	srunner_add_suite(runner, migrate_in_suite());
	srunner_add_suite(runner, migrate_channels_suite());
	srunner_add_suite(runner, migrate_fail_suite());
	srunner_add_suite(runner, rtc_irq_suite());
	srunner_add_suite(runner, timer_suite());
	srunner_add_suite(runner, device_state_suite());
	srunner_add_suite(runner, machine_state_suite());
	srunner_add_suite(runner, vm_many_suite());
	srunner_add_suite(runner, migration_suite());
	srunner_add_suite(runner, migration_in_suite());
	srunner_add_suite(runner, pending_suite());
	srunner_add_suite(runner, stats_suite());
	srunner_add_suite(runner, guest_access_suite());
	srunner_add_suite(runner, dirty_rate_suite());
	srunner_add_suite(runner, dump_suite());
	srunner_add_suite(runner, dump_elf_suite());
	srunner_add_suite(runner, base64_suite());
	srunner_add_suite(runner, qmp_memory_suite());
	srunner_add_suite(runner, hmp_commands_suite());
	srunner_add_suite(runner, commands_fail_suite());
	srunner_add_suite(runner, vcpu_query_suite());
	srunner_add_suite(runner, readline_suite());
	srunner_add_suite(runner, monitors_suite());
	srunner_add_suite(runner, options_xen_suite());
	srunner_add_suite(runner, xen_hvm_suite());
	srunner_add_suite(runner, snapshot_xen_suite());
	srunner_add_suite(runner, nested_suite());
	srunner_add_suite(runner, pdptrs_suite());
	srunner_add_suite(runner, snapshot_nested_suite());
	srunner_add_suite(runner, qom_suite());
	srunner_add_suite(runner, chardevs_suite());
	srunner_add_suite(runner, chardevs_tcp_suite());
	srunner_add_suite(runner, shell_words_suite());
	srunner_add_suite(runner, shell_args_suite());
	srunner_add_suite(runner, shell_print_suite());
	srunner_add_suite(runner, shell_complete_suite());
	srunner_add_suite(runner, shell_server_suite());
	srunner_add_suite(runner, shell_line_suite());
	srunner_add_suite(runner, shell_run_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
