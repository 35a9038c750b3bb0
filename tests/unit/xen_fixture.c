/* SPDX-License-Identifier: MIT */
#include "tests/unit/xen_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_kvm_internal.h"

struct xen_fixture xen;

uint8_t xen_blob_byte(bool long_mode, size_t offset)
{
	return (uint8_t)((offset + 1) * 167 >> 3 ^ offset >> 12) ^ (long_mode ? 0x55 : 0);
}

void xen_write_blob(bool long_mode, size_t len)
{
	FILE *file = fopen(xen.file[long_mode], "w");

	ck_assert_ptr_nonnull(file);
	for (size_t i = 0; i < len; i++)
		putc_unlocked(xen_blob_byte(long_mode, i), file);
	ck_assert_int_eq(fclose(file), 0);
}

void xen_host_can(enum xen_hvm_path path)
{
	bool kernel = path != XEN_HVM_PATH_USER_SPACE, user = path != XEN_HVM_PATH_KERNEL;

	fake_kvm_set_cap(machine.fake, KVM_CAP_XEN_HVM,
			 kernel ? KVM_XEN_HVM_CONFIG_HYPERCALL_MSR |
				  KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL : 0);
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_USER_SPACE_MSR, user);
	fake_kvm_set_cap(machine.fake, KVM_CAP_X86_MSR_FILTER, user);
}

void xen_host(enum xen_hvm_path path)
{
	place_begin(&xen.place);
	for (int i = 0; i < 2; i++)
		snprintf(xen.file[i], sizeof(xen.file[i]), "%s/blob%d", xen.place.directory, i);
	xen_write_blob(false, XEN_PAGES_32 * PAGE);
	xen_write_blob(true, XEN_PAGES_64 * PAGE);
	xen.config = (struct xen_hvm_config) {
		.msr = XEN_HVM_MSR_DEFAULT, .major = 4, .minor = 17,
		.blob = { xen.file[0], xen.file[1] },
	};
	machine_host();
	machine.config.xen = &xen.config;
	xen_host_can(path);
}

void xen_end(void)
{
	machine_stop();
	place_end(&xen.place);
}

static void enter_long_mode(struct fake_vcpu *v, void *opaque)
{
	(void)opaque;
	v->sregs.efer |= X86_EFER_LME | X86_EFER_LMA;
	v->sregs.cr4 |= X86_CR4_PAE;
	v->sregs.cr0 |= X86_CR0_PG | X86_CR0_PE;
}

static void leave_long_mode(struct fake_vcpu *v, void *opaque)
{
	(void)opaque;
	v->sregs.cr0 &= ~X86_CR0_PG;
	v->sregs.efer &= ~(X86_EFER_LME | X86_EFER_LMA);
}

struct fake_step xen_wrmsr(bool long_mode, uint64_t value)
{
	return (struct fake_step) {
		.action = FAKE_WRMSR, .address = xen.config.msr, .data = value, .advance = 2,
		.before = long_mode ? enter_long_mode : leave_long_mode,
	};
}

void xen_run(const struct fake_step *steps, unsigned int nr)
{
	fake_vcpu_script(machine_model(0), steps, nr);
	machine_cont();
	fake_vcpu_await_blocked(machine_model(0));
	vm_stop(machine.vm);
}

bool xen_is_of_blob(const uint8_t *bytes, bool long_mode, size_t offset, size_t len)
{
	size_t i = 0;

	while (i < len && bytes[i] == xen_blob_byte(long_mode, offset + i))
		i++;
	return i == len;
}

bool xen_page_is(const struct vm *vm, uint64_t gpa, bool long_mode, unsigned int index)
{
	return xen_is_of_blob(memory_at(&vm->memory, gpa, PAGE), long_mode, index * PAGE, PAGE);
}

struct xen_hvm_written *xen_written(struct vm *vm)
{
	static struct xen_hvm_written written;

	xen_hvm_get_written(vm->xen, &written);
	return &written;
}
