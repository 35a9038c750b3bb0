/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_kvm_internal.h"

/* What the guest does with MSRs, as far as user space has a part in it. */

#define PAGE    4096u

int fake_xen_hvm_config(const struct fake_object *o, void *arg)
{
	const uint32_t permitted = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL |
				   KVM_XEN_HVM_CONFIG_EVTCHN_SEND;
	const struct kvm_xen_hvm_config *config = arg;

	if (config->flags & ~permitted)
		return -EINVAL;
	if (config->flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL &&
	    (config->blob_addr_32 || config->blob_addr_64 || config->blob_size_32 ||
	     config->blob_size_64))
		return -EINVAL;
	/* Linux 6.15. */
	if (config->msr && (config->msr < 0x40000000 || config->msr > 0x4fffffff))
		return -EINVAL;
	o->vm->xen = *config;
	return 0;
}

/* The blob is looked at now, in user space's memory, and not when it was configured. */
bool fake_xen_write_page(struct fake_vcpu *v, uint64_t value)
{
	const struct kvm_xen_hvm_config *xen = &v->vm->xen;
	bool lm = v->sregs.efer & X86_EFER_LMA;
	uint64_t blob = lm ? xen->blob_addr_64 : xen->blob_addr_32;
	unsigned int index = value % PAGE, size = lm ? xen->blob_size_64 : xen->blob_size_32;
	uint8_t page[PAGE];
	bool there;

	if (index >= size)
		return false;
	fake_read_guest(v->vm, value - index, page, PAGE, &there);
	if (there)
		fake_write_guest(v->vm, value - index,
				 (const uint8_t *)(uintptr_t)blob + (size_t)index * PAGE, PAGE);
	return there;
}

void fake_vm_free_filter(struct fake_vm *vm)
{
	for (int i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		free(vm->filter[i].bitmap);
	memset(vm->filter, 0, sizeof(vm->filter));
}

/* Bitmaps are read in units of 64 bits. */
int fake_set_msr_filter(const struct fake_object *o, void *arg)
{
	const struct kvm_msr_filter *filter = arg;
	const uint32_t flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;

	if (filter->flags)
		return -EINVAL;
	fake_vm_free_filter(o->vm);
	for (int i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct kvm_msr_filter_range *range = &filter->ranges[i];
		size_t size = (range->nmsrs + 63) / 64 * 8;
		struct fake_msr_range *to = &o->vm->filter[i];

		if (!range->nmsrs)
			continue;
		if (size > KVM_MSR_FILTER_MAX_BITMAP_SIZE || !range->flags ||
		    range->flags & ~flags)
			return -EINVAL;
		*to = (struct fake_msr_range) { range->flags, range->base, range->nmsrs,
						fake_alloc(size) };
		memcpy(to->bitmap, range->bitmap, size);
	}
	return 0;
}

static bool denied(const struct fake_vm *vm, uint32_t index, uint32_t how)
{
	for (int i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct fake_msr_range *range = &vm->filter[i];
		uint32_t bit = index - range->base;

		if (range->flags & how && bit < range->nmsrs)
			return !(range->bitmap[bit / 8] >> bit % 8 & 1);
	}
	return false;
}

static bool read_msr(struct fake_vcpu *v, uint32_t index)
{
	const struct fake_msr *msr = fake_vcpu_msr(v, index);

	if (!msr || index == v->vm->xen.msr)
		return false;
	v->regs.rax = (uint32_t)msr->value;
	v->regs.rdx = msr->value >> 32;
	return true;
}

static bool write_msr(struct fake_vcpu *v, uint32_t index, uint64_t value)
{
	struct fake_msr *msr = fake_vcpu_msr(v, index);

	if (v->vm->xen.msr && index == v->vm->xen.msr)
		return fake_xen_write_page(v, value);
	if (msr)
		msr->value = value;
	return msr;
}

static void end_instruction(struct fake_vcpu *v, const struct fake_step *step, bool good)
{
	if (good)
		v->regs.rip += step->advance;
	else
		v->msr_faults++;
}

int fake_guest_msr(struct fake_vcpu *v, const struct fake_step *step)
{
	uint32_t index = (uint32_t)step->address;
	bool write = step->action == FAKE_WRMSR;

	if (!denied(v->vm, index, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ)) {
		end_instruction(v, step, write ? write_msr(v, index, step->data) :
					       read_msr(v, index));
		return 1;
	}
	if (!(v->vm->user_space_msr & KVM_MSR_EXIT_REASON_FILTER)) {
		end_instruction(v, step, false);
		return 1;
	}
	v->io.pending = true;
	v->io.dropped = false;
	v->io.step = *step;
	v->run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	v->run->msr.error = 0;
	v->run->msr.reason = KVM_MSR_EXIT_REASON_FILTER;
	v->run->msr.index = index;
	v->run->msr.data = write ? step->data : 0;
	return 0;
}

void fake_complete_msr(struct fake_vcpu *v)
{
	v->io.pending = false;
	if (v->io.step.action == FAKE_RDMSR && !v->run->msr.error) {
		v->regs.rax = (uint32_t)v->run->msr.data;
		v->regs.rdx = v->run->msr.data >> 32;
	}
	end_instruction(v, &v->io.step, !v->run->msr.error);
}
