/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SUITES_H
#define TESTS_UNIT_SUITES_H

#include <check.h>

/* One suite per test_*.c. */
Suite *memory_suite(void);
Suite *bus_suite(void);
Suite *serial_suite(void);
Suite *serial_loopback_suite(void);
Suite *devices_suite(void);
Suite *rtc_suite(void);
Suite *machine_devices_suite(void);
Suite *schema_suite(void);
Suite *introspection_suite(void);
Suite *boot_suite(void);
Suite *boot_bad_suite(void);
Suite *boot_place_suite(void);
Suite *boot_state_suite(void);
Suite *options_suite(void);
Suite *chardev_suite(void);
Suite *chardev_unix_suite(void);
Suite *logging_suite(void);
Suite *pidfile_suite(void);
Suite *pagewalk_suite(void);
Suite *hmp_format_suite(void);
Suite *hmp_paging_suite(void);
Suite *hmp_suite(void);
Suite *memsave_suite(void);
Suite *fake_kvm_suite(void);
Suite *vcpu_state_suite(void);
Suite *vcpu_state_kernel_suite(void);
Suite *vcpu_state_msrs_suite(void);
Suite *vcpu_state_hosts_suite(void);
Suite *vcpu_state_random_suite(void);
Suite *snapshot_state_suite(void);
Suite *snapshot_timer_suite(void);
Suite *snapshot_refused_suite(void);
Suite *vm_suite(void);
Suite *vm_ends_suite(void);
Suite *vm_random_suite(void);
Suite *json_suite(void);
Suite *wire_suite(void);
Suite *wire_flow_suite(void);
Suite *events_suite(void);
Suite *listener_suite(void);
Suite *boot_linux_suite(void);
Suite *acpi_suite(void);
Suite *chardev_pty_suite(void);
Suite *vm_actions_suite(void);
Suite *sections_suite(void);
Suite *snapshot_io_suite(void);
Suite *snapshot_bad_suite(void);
Suite *snapshot_write_suite(void);
Suite *descriptors_suite(void);
Suite *migrate_suite(void);
Suite *migrate_out_suite(void);
Suite *migrate_in_suite(void);
Suite *migrate_channels_suite(void);
Suite *rtc_irq_suite(void);
Suite *timer_suite(void);
Suite *device_state_suite(void);
Suite *machine_state_suite(void);
Suite *vm_many_suite(void);

#endif
