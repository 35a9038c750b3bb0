/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SNAPSHOT_MACHINE_H
#define TESTS_UNIT_SNAPSHOT_MACHINE_H

#include "tests/unit/vm_fixture.h"
#include "vmm/snapshot/snapshot.h"
#include "vmm/snapshot/snapshot_internal.h"

/*
 * State saved from the machine of vm_fixture.h, and loaded into a second one on the same host, or
 * into the first of another host after machine_stop() and machine_host().
 */

/* All of one vCPU, or of a machine without its vCPUs, in the kernel: distinct random values. */
enum filling { FILL_LONG, FILL_PAE, FILL_NESTED_VMX, FILL_NESTED_SVM, FILLINGS };
/* The processor for it, before the machine starts. */
void fill_host(enum filling filling);
void fill_vcpu(struct fake_vcpu *v, enum filling filling, uint64_t *seed);
void fill_vm(struct fake_vm *vm, uint64_t *seed);

/* The first thing in which two of them differ in the kernel; NULL: none.  Without TSC and timer. */
const char *vcpu_difference(const struct fake_vcpu *a, const struct fake_vcpu *b);

/* snapshot_collect(), which must succeed; sections are the caller's to free. */
void save(struct sections *sections);
void save_vm(struct vm *vm, struct sections *sections);
/*
 * The state of a machine of `filling` on the host that there is, which is gone then; machine_host()
 * has been called for another one.
 */
void saved_elsewhere(struct sections *sections, unsigned int nr_vcpus, enum filling filling);
/* Creates a machine like the first one, beside it. */
struct vm *second_machine(void);
/* snapshot_apply(), which must succeed. */
void load_into(struct vm *vm, struct sections *sections);

/* The name of a section that is not the same in both; NULL: none. */
const char *sections_difference(const struct sections *a, const struct sections *b);

struct section *section_named(struct sections *sections, const char *name);
/* Where the data of an item of "vcpu/0" is; NULL: nowhere. */
uint8_t *item_data(struct sections *sections, enum snapshot_item tag, size_t *len);
/* Gives it other data, of another length; NULL leaves the item out. */
void replace_item(struct sections *sections, enum snapshot_item tag, const void *data, size_t len);
/* Puts an MSR to the list, at the front. */
void add_msr(struct sections *sections, uint32_t index, uint64_t value);

/* Applying fails with a text that has this in it, without a SET of anything. */
void refused(struct sections *sections, bool force, const char *text);

#endif
