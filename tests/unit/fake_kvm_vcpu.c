/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_kvm_internal.h"

/* State of a vCPU: registers, events, MP state, debug registers, local APIC. */

#define APIC_TMICT      0x380   /* initial count */

static void reset_registers(struct fake_vcpu *v)
{
	struct kvm_segment data = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };
	uint64_t cr0 = v->sregs.cr0 & 0x60000000;

	memset(&v->regs, 0, sizeof(v->regs));
	v->regs.rip = 0xfff0;
	v->regs.rflags = X86_RFLAGS_FIXED;
	v->regs.rdx = 0x600;
	v->sregs.ds = v->sregs.es = v->sregs.fs = v->sregs.gs = v->sregs.ss = data;
	v->sregs.cs = data;
	v->sregs.cs.selector = 0xf000;
	v->sregs.cs.base = 0xffff0000;
	v->sregs.cs.type = 11;
	v->sregs.tr = (struct kvm_segment) { .limit = 0xffff, .type = 11, .present = 1 };
	v->sregs.ldt = (struct kvm_segment) { .limit = 0xffff, .type = 2, .present = 1 };
	v->sregs.gdt = v->sregs.idt = (struct kvm_dtable) { .limit = 0xffff };
	v->sregs.cr0 = cr0 | 0x10;
	v->sregs.cr2 = v->sregs.cr3 = v->sregs.cr4 = v->sregs.cr8 = v->sregs.efer = 0;
	v->wanted_cr3 = 0;
	memset(&v->events, 0, sizeof(v->events));
	memset(&v->debugregs, 0, sizeof(v->debugregs));
	v->debugregs.dr6 = 0xffff0ff0;
	v->debugregs.dr7 = 0x400;
}

void fake_vcpu_power_on(struct fake_vcpu *v)
{
	static const uint8_t x87_control[2] = { 0x7f, 0x03 }, mxcsr[4] = { 0x80, 0x1f, 0, 0 };
	static const uint32_t version = 0x00050014;

	v->sregs.cr0 = 0x60000000;
	reset_registers(v);
	v->sregs.apic_base = 0xfee00800 | (v->id == v->vm->boot_cpu_id ? 0x100 : 0);
	v->mp_state = v->id == v->vm->boot_cpu_id || !v->vm->irqchip ?
		      KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
	v->xcrs.nr_xcrs = 1;
	v->xcrs.xcrs[0].value = 1;
	v->xsave = fake_alloc(fake_xsave_size(v->fake));
	memcpy(v->xsave, x87_control, sizeof(x87_control));
	memcpy(v->xsave + 24, mxcsr, sizeof(mxcsr));
	fake_nested_power_on(v);
	memcpy(v->lapic.regs + 0x20, &(uint32_t) { v->id << 24 }, 4);
	memcpy(v->lapic.regs + 0x30, &version, 4);
	v->tsc_khz = 2000000;
	v->nr_msrs = v->fake->nr_msrs;
	memcpy(v->msr, v->fake->msr, sizeof(v->msr[0]) * v->nr_msrs);
}

bool fake_vcpu_in_pae(const struct fake_vcpu *v)
{
	return v->sregs.cr0 & X86_CR0_PG && v->sregs.cr4 & X86_CR4_PAE &&
	       !(v->sregs.efer & X86_EFER_LMA);
}

/* ---- General registers ---- */

int fake_get_regs(const struct fake_object *o, void *arg)
{
	memcpy(arg, &o->vcpu->regs, sizeof(o->vcpu->regs));
	return 0;
}

bool fake_same_regs(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, &v->regs, sizeof(v->regs));
}

/*
 * Loading registers means starting afresh at RIP: a pending exception is dropped, and so is what an
 * I/O exit was to bring, since its instruction is no longer the one that waits for it.
 */
int fake_set_regs(const struct fake_object *o, void *arg)
{
	struct fake_vcpu *v = o->vcpu;

	memcpy(&v->regs, arg, sizeof(v->regs));
	v->regs.rflags |= X86_RFLAGS_FIXED;
	if (v->events.exception.pending) {
		v->events.exception.pending = 0;
		v->exceptions_dropped++;
	}
	if (v->io.pending)
		v->io.dropped = true;
	if (v->fake->poison & FAKE_STALE_CR3_BY_REGS && !v->has_run && v->sregs.cr0 & X86_CR0_PG)
		v->sregs.cr3 = v->vmcs_cr3;
	return 0;
}

/* ---- Special registers ---- */

/* Without KVM_CAP_EXCEPTION_PAYLOAD some reads deliver what a pending exception carries. */
static void payload_quirk(struct fake_vcpu *v)
{
	struct kvm_vcpu_events *e = &v->events;

	if (v->vm->exception_payload || !e->exception.pending || !e->exception_has_payload)
		return;
	if (e->exception.nr == PF_VECTOR)
		v->sregs.cr2 = e->exception_payload;
	else if (e->exception.nr == DB_VECTOR)
		v->debugregs.dr6 |= e->exception_payload;
	e->exception_has_payload = 0;
	e->exception_payload = 0;
}

static void read_sregs2(const struct fake_vcpu *v, struct kvm_sregs2 *sregs)
{
	*sregs = v->sregs;
	sregs->flags = 0;
	if (fake_vcpu_in_pae(v))
		sregs->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	else
		memset(sregs->pdptrs, 0, sizeof(sregs->pdptrs));
}

/* The two structures are the same up to the bitmap of interrupts, which the newer one lacks. */
static void read_sregs(const struct fake_vcpu *v, struct kvm_sregs *sregs)
{
	memset(sregs, 0, sizeof(*sregs));
	memcpy(sregs, &v->sregs, offsetof(struct kvm_sregs, interrupt_bitmap));
	if (v->events.interrupt.injected && !v->events.interrupt.soft)
		sregs->interrupt_bitmap[v->events.interrupt.nr / 64] =
			1ULL << v->events.interrupt.nr % 64;
}

int fake_get_sregs2(const struct fake_object *o, void *arg)
{
	payload_quirk(o->vcpu);
	read_sregs2(o->vcpu, arg);
	return 0;
}

int fake_get_sregs(const struct fake_object *o, void *arg)
{
	payload_quirk(o->vcpu);
	read_sregs(o->vcpu, arg);
	return 0;
}

bool fake_same_sregs2(struct fake_vcpu *v, const void *arg)
{
	struct kvm_sregs2 now;

	read_sregs2(v, &now);
	return !memcmp(arg, &now, sizeof(now));
}

bool fake_same_sregs(struct fake_vcpu *v, const void *arg)
{
	struct kvm_sregs now;

	read_sregs(v, &now);
	return !memcmp(arg, &now, sizeof(now));
}

static bool valid_sregs(const struct kvm_sregs *sregs)
{
	if (sregs->efer & X86_EFER_LME && sregs->cr0 & X86_CR0_PG)
		return sregs->cr4 & X86_CR4_PAE && sregs->efer & X86_EFER_LMA;
	return !(sregs->efer & X86_EFER_LMA) && !sregs->cs.l;
}

/*
 * What both requests have in common.  A boot processor found in its reset state is woken, for user
 * space that knows no MP state; it is RIP as it stands in the kernel that counts.
 */
static int load_sregs(struct fake_vcpu *v, const struct kvm_sregs *sregs)
{
	bool paging_before = v->sregs.cr0 & X86_CR0_PG;

	if (!valid_sregs(sregs) || !fake_nested_takes_cr4(v, sregs->cr4))
		return -EINVAL;
	memcpy(&v->sregs, sregs, offsetof(struct kvm_sregs, interrupt_bitmap));
	fake_nested_efer_set(v);
	v->wanted_cr3 = v->sregs.cr3;
	if (v->fake->poison & FAKE_STALE_CR3_BY_SREGS && !v->has_run && paging_before)
		v->sregs.cr3 = v->vmcs_cr3;
	if (v->fake->poison & FAKE_NO_LEGACY_PAGING && !(v->sregs.efer & X86_EFER_LMA))
		v->sregs.cr0 &= ~X86_CR0_PG;
	if (v->id == v->vm->boot_cpu_id && v->regs.rip == 0xfff0 &&
	    v->sregs.cs.selector == 0xf000 && v->sregs.cs.base == 0xffff0000 &&
	    !(v->sregs.cr0 & X86_CR0_PE)) {
		if (v->mp_state == KVM_MP_STATE_HALTED)
			v->spurious_wakeups++;
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	}
	return 0;
}

/* In PAE paging the processor holds four entries that it read when CR3 was loaded. */
static void load_pdptrs(struct fake_vcpu *v)
{
	uint64_t entries[4];
	bool ok;

	if (!fake_vcpu_in_pae(v))
		return;
	fake_read_guest(v->vm, v->sregs.cr3 & 0xffffffe0, entries, sizeof(entries), &ok);
	if (ok)
		memcpy(v->sregs.pdptrs, entries, sizeof(entries));
}

/* Loads the PDPTRs from guest memory, whatever they were; queues an interrupt of the bitmap. */
int fake_set_sregs(const struct fake_object *o, void *arg)
{
	struct fake_vcpu *v = o->vcpu;
	const struct kvm_sregs *sregs = arg;
	int rc = load_sregs(v, sregs);

	if (rc)
		return rc;
	load_pdptrs(v);
	for (unsigned int nr = 0; nr < KVM_NR_INTERRUPTS; nr++) {
		if (!(sregs->interrupt_bitmap[nr / 64] >> nr % 64 & 1))
			continue;
		v->events.interrupt.injected = 1;
		v->events.interrupt.nr = (uint8_t)nr;
		v->events.interrupt.soft = 0;
		break;
	}
	return 0;
}

int fake_set_sregs2(const struct fake_object *o, void *arg)
{
	struct fake_vcpu *v = o->vcpu;
	const struct kvm_sregs2 *sregs = arg;
	bool valid = sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	bool pae = sregs->cr0 & X86_CR0_PG && sregs->cr4 & X86_CR4_PAE &&
		   !(sregs->efer & X86_EFER_LMA);
	struct kvm_sregs common = { .cr0 = 0 };
	int rc;

	if (sregs->flags & ~(uint64_t)KVM_SREGS2_FLAGS_PDPTRS_VALID || (valid && !pae))
		return -EINVAL;
	memcpy(&common, sregs, offsetof(struct kvm_sregs, interrupt_bitmap));
	rc = load_sregs(v, &common);
	if (rc)
		return rc;
	if (valid)
		memcpy(v->sregs.pdptrs, sregs->pdptrs, sizeof(v->sregs.pdptrs));
	else
		load_pdptrs(v);
	return 0;
}

/* ---- Events ---- */

static void read_events(const struct fake_vcpu *v, struct kvm_vcpu_events *e)
{
	*e = v->events;
	e->sipi_vector = 0;             /* never told */
	e->smi.latched_init = v->pending_init;
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
		   KVM_VCPUEVENT_VALID_SMM;
	if (v->vm->exception_payload)
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	else            /* user space that knows no pending exceptions gets them as injected ones */
		e->exception.injected |= e->exception.pending;
	if (v->vm->triple_fault_event)
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	else
		e->triple_fault.pending = 0;
}

int fake_get_events(const struct fake_object *o, void *arg)
{
	payload_quirk(o->vcpu);
	read_events(o->vcpu, arg);
	return 0;
}

/* Exceptions, the interrupt and nmi.injected are written always, the rest where flags say so. */
static int write_events(struct fake_vcpu *v, const struct kvm_vcpu_events *e)
{
	const uint32_t known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			       KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |
			       KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	bool payload = e->flags & KVM_VCPUEVENT_VALID_PAYLOAD;
	struct kvm_vcpu_events *now = &v->events;

	if (e->flags & ~known)
		return -EINVAL;
	if (payload && !v->vm->exception_payload)
		return -EINVAL;
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && !v->vm->triple_fault_event)
		return -EINVAL;
	if ((e->exception.injected || (payload && e->exception.pending)) &&
	    (e->exception.nr > 31 || e->exception.nr == 2))
		return -EINVAL;
	now->exception = e->exception;
	if (!payload)
		now->exception.pending = 0;
	else if (e->exception.pending)
		now->exception.injected = 0;
	now->exception_has_payload = payload && e->exception.pending && e->exception_has_payload;
	now->exception_payload = now->exception_has_payload ? e->exception_payload : 0;
	now->interrupt.injected = e->interrupt.injected;
	now->interrupt.nr = e->interrupt.nr;
	now->interrupt.soft = e->interrupt.soft;
	now->nmi.injected = e->nmi.injected;
	now->nmi.masked = e->nmi.masked;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		now->interrupt.shadow = e->interrupt.shadow;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		now->nmi.pending = e->nmi.pending;
	if (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR && v->vm->irqchip)
		v->sipi_vector = (uint8_t)e->sipi_vector;
	if (e->flags & KVM_VCPUEVENT_VALID_SMM) {
		now->smi = e->smi;
		now->smi.latched_init = 0;
		if (v->vm->irqchip)
			v->pending_init = e->smi.latched_init;
	}
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		now->triple_fault.pending = e->triple_fault.pending;
	return 0;
}

int fake_set_events(const struct fake_object *o, void *arg)
{
	return write_events(o->vcpu, arg);
}

/* By trying it out: a SET that would leave everything as it is. */
bool fake_same_events(struct fake_vcpu *v, const void *arg)
{
	struct kvm_vcpu_events before = v->events, after;
	bool init = v->pending_init, same;
	uint8_t sipi_vector = v->sipi_vector;

	same = write_events(v, arg) == 0 && init == v->pending_init &&
	       sipi_vector == v->sipi_vector;
	after = v->events;
	v->events = before;
	v->pending_init = init;
	v->sipi_vector = sipi_vector;
	return same && !memcmp(&before, &after, sizeof(before));
}

int fake_nmi(const struct fake_object *o, void *arg)
{
	(void)arg;
	o->vcpu->events.nmi.pending = 1;
	if (write(o->vcpu->wake_fd, &(uint64_t) { 1 }, sizeof(uint64_t)) < 0)
		return -EIO;
	return 0;
}

/* ---- MP state ---- */

/* An INIT and a SIPI wait in the APIC until the vCPU, or a look at its MP state, takes them. */
void fake_vcpu_accept_events(struct fake_vcpu *v)
{
	if (v->pending_init) {
		v->pending_init = false;
		reset_registers(v);
		v->mp_state = v->id == v->vm->boot_cpu_id ? KVM_MP_STATE_RUNNABLE :
							    KVM_MP_STATE_INIT_RECEIVED;
	}
	if (v->pending_sipi) {
		v->pending_sipi = false;
		if (v->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
			v->sregs.cs.selector = (uint16_t)(v->sipi_vector << 8);
			v->sregs.cs.base = (uint64_t)v->sipi_vector << 12;
			v->regs.rip = 0;
			v->mp_state = KVM_MP_STATE_RUNNABLE;
		}
	}
}

int fake_get_mp_state(const struct fake_object *o, void *arg)
{
	struct kvm_mp_state *mp_state = arg;

	if (o->vm->irqchip)
		fake_vcpu_accept_events(o->vcpu);
	mp_state->mp_state = o->vcpu->mp_state;
	return 0;
}

bool fake_same_mp_state(struct fake_vcpu *v, const void *arg)
{
	return ((const struct kvm_mp_state *)arg)->mp_state == v->mp_state && !v->pending_init;
}

int fake_set_mp_state(const struct fake_object *o, void *arg)
{
	uint32_t mp_state = ((const struct kvm_mp_state *)arg)->mp_state;
	struct fake_vcpu *v = o->vcpu;

	if (mp_state > KVM_MP_STATE_SIPI_RECEIVED ||
	    (!v->vm->irqchip && mp_state != KVM_MP_STATE_RUNNABLE))
		return -EINVAL;
	if (mp_state == KVM_MP_STATE_RUNNABLE && v->mp_state == KVM_MP_STATE_HALTED)
		v->spurious_wakeups++;
	if (mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
		mp_state = KVM_MP_STATE_INIT_RECEIVED;
		v->pending_sipi = true;
	}
	v->mp_state = mp_state;
	return 0;
}

static void signal_apic(struct fake_vcpu *v, bool *pending)
{
	pthread_mutex_lock(&v->fake->lock);
	*pending = true;
	if (write(v->wake_fd, &(uint64_t) { 1 }, sizeof(uint64_t)) < 0)
		abort();
	pthread_mutex_unlock(&v->fake->lock);
}

void fake_vcpu_send_init(struct fake_vcpu *v)
{
	signal_apic(v, &v->pending_init);
}

void fake_vcpu_send_sipi(struct fake_vcpu *v, uint8_t vector)
{
	pthread_mutex_lock(&v->fake->lock);
	v->sipi_vector = vector;
	pthread_mutex_unlock(&v->fake->lock);
	signal_apic(v, &v->pending_sipi);
}

/* ---- Debug registers, local APIC ---- */

int fake_get_debugregs(const struct fake_object *o, void *arg)
{
	payload_quirk(o->vcpu);
	memcpy(arg, &o->vcpu->debugregs, sizeof(o->vcpu->debugregs));
	return 0;
}

bool fake_same_debugregs(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, &v->debugregs, sizeof(v->debugregs));
}

int fake_set_debugregs(const struct fake_object *o, void *arg)
{
	const struct kvm_debugregs *debugregs = arg;

	if (debugregs->flags || debugregs->dr6 >> 32 || debugregs->dr7 >> 32)
		return -EINVAL;
	o->vcpu->debugregs = *debugregs;
	return 0;
}

int fake_get_lapic(const struct fake_object *o, void *arg)
{
	if (!o->vm->irqchip)
		return -EINVAL;
	fake_count_timer(o->vcpu);
	memcpy(arg, &o->vcpu->lapic, sizeof(o->vcpu->lapic));
	return 0;
}

bool fake_same_lapic(struct fake_vcpu *v, const void *arg)
{
	return !memcmp(arg, &v->lapic, sizeof(v->lapic));
}

/* Starts the timer that the registers describe: one that has fired already fires once more. */
int fake_set_lapic(const struct fake_object *o, void *arg)
{
	struct fake_vcpu *v = o->vcpu;
	uint32_t count;

	if (!o->vm->irqchip)
		return -EINVAL;
	memcpy(&v->lapic, arg, sizeof(v->lapic));
	memcpy(&count, v->lapic.regs + APIC_TMICT, sizeof(count));
	if (v->timer_expired && count)
		v->spurious_ticks++;
	v->timer_expired = false;
	fake_start_timer(v);
	if (v->deadline_written)
		fake_violate(v->fake, FAKE_DEADLINE_BEFORE_LAPIC);
	return 0;
}
