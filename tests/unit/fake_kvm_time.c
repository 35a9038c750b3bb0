/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fake_kvm_internal.h"
#include "vmm/msr.h"

/* What moves by itself: the TSC, and the timer of the local APIC. */

#define HOST_TSC_KHZ    2000000
#define TSC_STEP        1000            /* between two readings */

#define APIC_IRR        0x200
#define APIC_LVTT       0x320
#define APIC_TMICT      0x380
#define APIC_TMCCT      0x390
#define LVT_VECTOR      0xffU
#define LVT_MASKED      (1U << 16)
#define LVT_PERIODIC    (1U << 17)
#define LVT_DEADLINE    (1U << 18)
#define COUNT_STEP      10

static uint32_t apic(const struct fake_vcpu *v, unsigned int offset)
{
	uint32_t value;

	memcpy(&value, v->lapic.regs + offset, sizeof(value));
	return value;
}

static void set_apic(struct fake_vcpu *v, unsigned int offset, uint32_t value)
{
	memcpy(v->lapic.regs + offset, &value, sizeof(value));
}

void fake_kvm_let_time_pass(struct fake_kvm *fake)
{
	pthread_mutex_lock(&fake->lock);
	fake->time_passes = true;
	pthread_mutex_unlock(&fake->lock);
}

/* ---- TSC ---- */

uint64_t fake_host_tsc(struct fake_kvm *fake)
{
	fake->host_tsc += TSC_STEP;
	return fake->host_tsc;
}

/* The kernel does not scale for a difference that is below its tolerance. */
static uint64_t scaled(const struct fake_vcpu *v, uint64_t tsc)
{
	uint64_t off = v->tsc_khz > HOST_TSC_KHZ ? v->tsc_khz - HOST_TSC_KHZ :
						   HOST_TSC_KHZ - v->tsc_khz;

	if (off <= HOST_TSC_KHZ / 4000)
		return tsc;
	return (uint64_t)((unsigned __int128)tsc * v->tsc_khz / HOST_TSC_KHZ);
}

uint64_t fake_guest_tsc(struct fake_vcpu *v)
{
	return scaled(v, fake_host_tsc(v->fake)) + v->tsc_offset;
}

void fake_set_guest_tsc(struct fake_vcpu *v, uint64_t value)
{
	v->tsc_offset = value - scaled(v, fake_host_tsc(v->fake));
}

static bool is_tsc_offset(const struct kvm_device_attr *attr)
{
	return !attr->flags && attr->group == KVM_VCPU_TSC_CTRL &&
	       attr->attr == KVM_VCPU_TSC_OFFSET;
}

int fake_get_device_attr(const struct fake_object *o, void *arg)
{
	const struct kvm_device_attr *attr = arg;

	if (!is_tsc_offset(attr))
		return -ENXIO;
	memcpy((void *)(uintptr_t)attr->addr, &o->vcpu->tsc_offset, sizeof(o->vcpu->tsc_offset));
	return 0;
}

int fake_set_device_attr(const struct fake_object *o, void *arg)
{
	const struct kvm_device_attr *attr = arg;

	if (!is_tsc_offset(attr))
		return -ENXIO;
	memcpy(&o->vcpu->tsc_offset, (const void *)(uintptr_t)attr->addr,
	       sizeof(o->vcpu->tsc_offset));
	return 0;
}

bool fake_same_device_attr(struct fake_vcpu *v, const void *arg)
{
	const struct kvm_device_attr *attr = arg;

	return is_tsc_offset(attr) && !memcmp(&v->tsc_offset, (const void *)(uintptr_t)attr->addr,
					      sizeof(v->tsc_offset));
}

/* ---- APIC timer ---- */

static bool timer_counts(const struct fake_vcpu *v)
{
	return apic(v, APIC_TMICT) && !(apic(v, APIC_LVTT) & LVT_DEADLINE);
}

/* KVM_GET_LAPIC computes what the count is by now. */
void fake_count_timer(struct fake_vcpu *v)
{
	uint32_t count = apic(v, APIC_TMCCT);

	if (!v->fake->time_passes || !timer_counts(v) || !count)
		return;
	if (count > COUNT_STEP) {
		set_apic(v, APIC_TMCCT, count - COUNT_STEP);
		return;
	}
	v->timer_pending = true;
	set_apic(v, APIC_TMCCT, apic(v, APIC_LVTT) & LVT_PERIODIC ? apic(v, APIC_TMICT) : 0);
}

/* KVM_SET_LAPIC starts the timer with what is left of its count: nothing left, and it expires. */
void fake_start_timer(struct fake_vcpu *v)
{
	v->timer_pending = false;
	if (timer_counts(v) && !(apic(v, APIC_LVTT) & LVT_PERIODIC) && !apic(v, APIC_TMCCT))
		v->timer_pending = true;
}

void fake_vcpu_expire_timer(struct fake_vcpu *v)
{
	pthread_mutex_lock(&v->fake->lock);
	v->timer_pending = true;
	set_apic(v, APIC_TMCCT, apic(v, APIC_LVTT) & LVT_PERIODIC ? apic(v, APIC_TMICT) : 0);
	pthread_mutex_unlock(&v->fake->lock);
}

/* kvm_inject_pending_timer_irqs(): from now on it shows. */
void fake_inject_timer(struct fake_vcpu *v)
{
	uint32_t lvtt = apic(v, APIC_LVTT);
	unsigned int word = APIC_IRR + (lvtt & LVT_VECTOR) / 32 * 16;
	struct fake_msr *deadline = fake_vcpu_msr(v, MSR_IA32_TSC_DEADLINE);

	if (!v->timer_pending)
		return;
	v->timer_pending = false;
	if (lvtt & LVT_DEADLINE && deadline)
		deadline->value = 0;
	if (!(lvtt & LVT_MASKED))
		set_apic(v, word, apic(v, word) | 1U << (lvtt & 31));
}

bool fake_interrupt_requested(const struct fake_vcpu *v)
{
	for (unsigned int word = 0; word < 8; word++)
		if (apic(v, APIC_IRR + word * 16))
			return true;
	return false;
}

/* The guest takes the timer's interrupt; of others the model knows nothing. */
void fake_deliver_ticks(struct fake_vcpu *v)
{
	uint32_t lvtt = apic(v, APIC_LVTT);
	unsigned int word = APIC_IRR + (lvtt & LVT_VECTOR) / 32 * 16;

	if (!(apic(v, word) >> (lvtt & 31) & 1))
		return;
	set_apic(v, word, apic(v, word) & ~(1U << (lvtt & 31)));
	v->ticks++;
}
