/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_kvm_internal.h"
#include "vmm/msr.h"

/* State of a vCPU: TSC frequency, extended state, MSRs, guest debugging. */

#define XSAVE_XSTATE_BV         512     /* offset of the header's first member */
#define XSTATE_SUPPORTED        0xe7ULL /* x87, SSE, AVX, AVX-512 */
#define APIC_LVTT               0x320
#define APIC_LVTT_MODE          (3U << 17)
#define APIC_LVTT_TSC_DEADLINE  (2U << 17)
#define MSR_KVM_WALL_CLOCK      0x4b564d00
#define MAX_IO_MSRS             256     /* of one KVM_GET_MSRS or KVM_SET_MSRS, and not that many */

/* ---- TSC frequency, kvmclock ---- */

int fake_get_tsc_khz(const struct fake_object *o, void *arg)
{
	(void)arg;
	return (int)o->vcpu->tsc_khz;
}

bool fake_same_tsc_khz(struct fake_vcpu *v, const void *arg)
{
	return (uintptr_t)arg == v->tsc_khz;
}

int fake_set_tsc_khz(const struct fake_object *o, void *arg)
{
	if ((uintptr_t)arg > 100000000)
		return -EINVAL;
	if (arg)                        /* 0 asks for the host's frequency */
		o->vcpu->tsc_khz = (uint32_t)(uintptr_t)arg;
	return 0;
}

/* Tells the guest's watchdog that time stood still; a guest without kvmclock can not be told. */
int fake_kvmclock_ctrl(const struct fake_object *o, void *arg)
{
	(void)arg;
	if (!o->vcpu->kvmclock)
		return -EINVAL;
	o->vcpu->clock_ctrls++;
	return 0;
}

/* ---- Extended state ---- */

size_t fake_xsave_size(const struct fake_kvm *fake)
{
	size_t size = (size_t)fake->cap[KVM_CAP_XSAVE2];

	return size > sizeof(struct kvm_xsave) ? size : sizeof(struct kvm_xsave);
}

int fake_get_xsave2(const struct fake_object *o, void *arg)
{
	memcpy(arg, o->vcpu->xsave, fake_xsave_size(o->fake));
	return 0;
}

/* The older request can not tell a state that is larger than its structure. */
int fake_get_xsave(const struct fake_object *o, void *arg)
{
	if (fake_xsave_size(o->fake) > sizeof(struct kvm_xsave))
		return -EINVAL;
	memcpy(arg, o->vcpu->xsave, sizeof(struct kvm_xsave));
	return 0;
}

bool fake_same_xsave(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, v->xsave, fake_xsave_size(v->fake));
}

int fake_set_xsave(const struct fake_object *o, void *arg)
{
	struct fake_vcpu *v = o->vcpu;
	uint64_t xstate_bv;
	uint32_t mxcsr;

	memcpy(&xstate_bv, (uint8_t *)arg + XSAVE_XSTATE_BV, sizeof(xstate_bv));
	memcpy(&mxcsr, (uint8_t *)arg + 24, sizeof(mxcsr));
	if (xstate_bv & ~XSTATE_SUPPORTED || mxcsr & ~0xffffU)
		return -EINVAL;
	memcpy(v->xsave, arg, fake_xsave_size(v->fake));
	v->xsave_set = true;
	if (v->fpu_set)
		fake_violate(v->fake, FAKE_MIXED_FPU);
	return 0;
}

/* The legacy region of the XSAVE area is an FXSAVE image (Intel SDM vol. 1, 10.5.1). */
static void read_fpu(const struct fake_vcpu *v, struct kvm_fpu *fpu)
{
	memset(fpu, 0, sizeof(*fpu));
	memcpy(&fpu->fcw, v->xsave, 2);
	memcpy(&fpu->fsw, v->xsave + 2, 2);
	fpu->ftwx = v->xsave[4];
	memcpy(&fpu->last_opcode, v->xsave + 6, 2);
	memcpy(&fpu->last_ip, v->xsave + 8, 8);
	memcpy(&fpu->last_dp, v->xsave + 16, 8);
	memcpy(&fpu->mxcsr, v->xsave + 24, 4);
	memcpy(fpu->fpr, v->xsave + 32, sizeof(fpu->fpr));
	memcpy(fpu->xmm, v->xsave + 160, sizeof(fpu->xmm));
}

int fake_get_fpu(const struct fake_object *o, void *arg)
{
	read_fpu(o->vcpu, arg);
	return 0;
}

bool fake_same_fpu(struct fake_vcpu *v, const void *arg)
{
	struct kvm_fpu now;

	read_fpu(v, &now);
	return !memcmp(arg, &now, sizeof(now));
}

/* Leaves XSTATE_BV as it is: on a fresh vCPU the XSAVE area still says "initial state". */
int fake_set_fpu(const struct fake_object *o, void *arg)
{
	const struct kvm_fpu *fpu = arg;
	struct fake_vcpu *v = o->vcpu;

	memcpy(v->xsave, &fpu->fcw, 2);
	memcpy(v->xsave + 2, &fpu->fsw, 2);
	v->xsave[4] = fpu->ftwx;
	memcpy(v->xsave + 6, &fpu->last_opcode, 2);
	memcpy(v->xsave + 8, &fpu->last_ip, 8);
	memcpy(v->xsave + 16, &fpu->last_dp, 8);
	memcpy(v->xsave + 24, &fpu->mxcsr, 4);
	memcpy(v->xsave + 32, fpu->fpr, sizeof(fpu->fpr));
	memcpy(v->xsave + 160, fpu->xmm, sizeof(fpu->xmm));
	v->fpu_set = true;
	if (v->xsave_set)
		fake_violate(v->fake, FAKE_MIXED_FPU);
	return 0;
}

int fake_get_xcrs(const struct fake_object *o, void *arg)
{
	memcpy(arg, &o->vcpu->xcrs, sizeof(o->vcpu->xcrs));
	return 0;
}

bool fake_same_xcrs(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, &v->xcrs, sizeof(v->xcrs));
}

int fake_set_xcrs(const struct fake_object *o, void *arg)
{
	const struct kvm_xcrs *xcrs = arg;

	if (xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	for (uint32_t i = 0; i < xcrs->nr_xcrs; i++) {
		if (xcrs->xcrs[i].xcr)
			continue;
		if (!(xcrs->xcrs[i].value & 1) || xcrs->xcrs[i].value & ~XSTATE_SUPPORTED)
			return -EINVAL;
		o->vcpu->xcrs.xcrs[0].value = xcrs->xcrs[i].value;
	}
	return 0;
}

/* ---- MSRs: both requests stop at the first that fails and return how many went well ---- */

struct fake_msr *fake_vcpu_msr(struct fake_vcpu *v, uint32_t index)
{
	for (unsigned int i = 0; i < v->nr_msrs; i++)
		if (v->msr[i].index == index)
			return &v->msr[i];
	return NULL;
}

/* As of the processor itself, before there is any vCPU. */
static struct fake_msr *feature_msr(struct fake_kvm *fake, uint32_t index)
{
	for (unsigned int i = 0; fake->cap[KVM_CAP_GET_MSR_FEATURES] && i < fake->nr_feature_msrs; i++)
		if (fake->feature_msr[i].index == index)
			return &fake->feature_msr[i];
	return NULL;
}

int fake_get_msrs(const struct fake_object *o, void *arg)
{
	struct kvm_msrs *msrs = arg;

	if (msrs->nmsrs >= MAX_IO_MSRS)
		return -E2BIG;
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		uint32_t index = msrs->entries[i].index;
		const struct fake_msr *msr = o->vcpu ? fake_vcpu_msr(o->vcpu, index) :
						       feature_msr(o->fake, index);

		if (!msr || fake_msr_fails(o->fake, msr->index, false))
			return (int)i;
		msrs->entries[i].data = msr->index == MSR_IA32_TSC && o->fake->time_passes ?
					fake_guest_tsc(o->vcpu) : msr->value;
	}
	return (int)msrs->nmsrs;
}

bool fake_same_msrs(struct fake_vcpu *v, const void *arg)
{
	const struct kvm_msrs *msrs = arg;

	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		const struct fake_msr *msr = fake_vcpu_msr(v, msrs->entries[i].index);

		if (!msr || msr->value != msrs->entries[i].data)
			return false;
	}
	return true;
}

/* The deadline is taken only by an APIC timer in deadline mode; otherwise it is silently lost. */
static void set_deadline(struct fake_vcpu *v, struct fake_msr *msr, uint64_t value)
{
	uint32_t lvtt;

	v->deadline_written = v->deadline_written || value;
	memcpy(&lvtt, v->lapic.regs + APIC_LVTT, sizeof(lvtt));
	if (v->vm->irqchip && (lvtt & APIC_LVTT_MODE) == APIC_LVTT_TSC_DEADLINE)
		msr->value = value;
}

/* kvm_write_wall_clock(): the time, at once, with a version that has gone up by two. */
static void write_wall_clock(struct fake_vcpu *v, uint64_t gpa)
{
	uint32_t clock[3] = { 0 };
	bool ok;

	fake_read_guest(v->vm, gpa, clock, sizeof(clock), &ok);
	clock[0] += 2;
	clock[1] = 1700000000;
	clock[2] = 999;
	if (ok)
		fake_write_guest(v->vm, gpa, clock, sizeof(clock));
}

int fake_set_msrs(const struct fake_object *o, void *arg)
{
	const struct kvm_msrs *msrs = arg;
	struct fake_vcpu *v = o->vcpu;

	if (msrs->nmsrs >= MAX_IO_MSRS)
		return -E2BIG;
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		struct fake_msr *msr = fake_vcpu_msr(v, msrs->entries[i].index);

		if (!msr || fake_msr_fails(o->fake, msr->index, true) ||
		    !fake_nested_takes_msr(v, msr, msrs->entries[i].data))
			return (int)i;
		/* Until Linux 6.15 this is as if the guest had written it. */
		if (v->vm->xen.msr && msr->index == v->vm->xen.msr) {
			fake_violate(o->fake, FAKE_XEN_MSR_SET);
			fake_xen_write_page(v, msrs->entries[i].data);
		}
		if (msr->index == MSR_IA32_TSC && v->deadline_written)
			fake_violate(o->fake, FAKE_DEADLINE_BEFORE_TSC);
		if (msr->index == MSR_IA32_TSC && o->fake->time_passes)
			fake_set_guest_tsc(v, msrs->entries[i].data);
		if (msr->index == MSR_KVM_WALL_CLOCK && msrs->entries[i].data)
			write_wall_clock(v, msrs->entries[i].data);
		if (msr->index == MSR_IA32_TSC_DEADLINE)
			set_deadline(v, msr, msrs->entries[i].data);
		else
			msr->value = msrs->entries[i].data;
	}
	return (int)msrs->nmsrs;
}

int fake_setup_mce(const struct fake_object *o, void *arg)
{
	uint64_t mcg_cap;

	memcpy(&mcg_cap, arg, sizeof(mcg_cap));
	if (!(mcg_cap & 0xff) || (mcg_cap & 0xff) > (uint64_t)o->fake->cap[KVM_CAP_MCE])
		return -EINVAL;
	return 0;
}

/* ---- Guest debugging: there is no GET ---- */

bool fake_same_guest_debug(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, &v->guest_debug, sizeof(v->guest_debug));
}

int fake_set_guest_debug(const struct fake_object *o, void *arg)
{
	const struct kvm_guest_debug *debug = arg;
	struct fake_vcpu *v = o->vcpu;

	if (debug->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP) &&
	    (v->events.exception.pending || v->events.exception.injected))
		return -EBUSY;
	v->guest_debug = *debug;
	return 0;
}
