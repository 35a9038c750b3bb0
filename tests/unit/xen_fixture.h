/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_XEN_FIXTURE_H
#define TESTS_UNIT_XEN_FIXTURE_H

#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/vm_fixture.h"

/*
 * A machine with --xen-hvm, over the fake kernel:
 *
 *     xen_host(XEN_HVM_PATH_KERNEL);   a host that can only do this
 *     machine_start(1);                with machine.config.xen set, two blobs of 3 and 2 pages
 *     ...
 *     xen_end();
 */
#define XEN_PAGES_32    3
#define XEN_PAGES_64    2

struct xen_fixture {
	struct place place;
	char file[2][128];
	struct xen_hvm_config config;
};
extern struct xen_fixture xen;

/* XEN_HVM_PATH_ANY: it can do both. */
void xen_host(enum xen_hvm_path path);
void xen_end(void);

/* Makes the capabilities those of such a host. */
void xen_host_can(enum xen_hvm_path path);
/* Gives a blob `len` bytes; what is at an offset follows from both. */
void xen_write_blob(bool long_mode, size_t len);
uint8_t xen_blob_byte(bool long_mode, size_t offset);
bool xen_is_of_blob(const uint8_t *bytes, bool long_mode, size_t offset, size_t len);

/* The guest writes the MSR, with paging for long mode or not. */
struct fake_step xen_wrmsr(bool long_mode, uint64_t value);
/* Runs these on the first vCPU, and stops the machine. */
void xen_run(const struct fake_step *steps, unsigned int nr);
/* Whether a page of guest RAM is that of a blob. */
bool xen_page_is(const struct vm *vm, uint64_t gpa, bool long_mode, unsigned int index);

struct xen_hvm_written *xen_written(struct vm *vm);

#endif
