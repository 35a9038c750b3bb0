/* SPDX-License-Identifier: MIT */
#include "tests/unit/snapshot_machine.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "vmm/lapic.h"

#define HEADER 8        /* of an item */

static void fill(void *to, size_t size, uint64_t *seed)
{
	uint8_t *bytes = to;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(fixture_random(seed) >> 32);
}

static void fill_sregs(struct fake_vcpu *v, enum filling filling, uint64_t *seed)
{
	struct kvm_sregs2 *sregs = &v->sregs;

	fill(sregs, sizeof(*sregs), seed);
	sregs->flags = 0;
	sregs->cr0 = 0x80000011;
	sregs->cr3 = 0x3000;
	sregs->cr4 = filling == FILL_NESTED_VMX ? 0x2020 : 0x20;
	sregs->efer = filling == FILL_NESTED_SVM ? 0x1500 : 0x500;
	sregs->cs.l = 1;
	if (filling == FILL_PAE) {
		sregs->efer = 0;
		sregs->cs.l = 0;
	} else {
		memset(sregs->pdptrs, 0, sizeof(sregs->pdptrs));
	}
	v->wanted_cr3 = sregs->cr3;
}

static void fill_events(struct fake_vcpu *v, uint64_t *seed)
{
	struct kvm_vcpu_events *events = &v->events;

	memset(events, 0, sizeof(*events));
	events->exception.pending = 1;
	events->exception.nr = 14;
	events->exception.has_error_code = 1;
	events->exception.error_code = (uint32_t)fixture_random(seed);
	events->exception_has_payload = 1;
	events->exception_payload = fixture_random(seed);
	events->interrupt.injected = 1;
	events->interrupt.nr = (uint8_t)fixture_random(seed);
	events->interrupt.shadow = 1;
	events->nmi.pending = 1;
	events->nmi.masked = 1;
	events->triple_fault.pending = v->index & 1;
}

void fill_host(enum filling filling)
{
	if (filling == FILL_NESTED_SVM)
		fake_kvm_set_nested_format(machine.fake, KVM_STATE_NESTED_FORMAT_SVM);
}

static void fill_nested(struct fake_vcpu *v, enum filling filling, uint64_t *seed)
{
	size_t size = sizeof(*v->nested) + 4096;

	if (filling != FILL_NESTED_VMX && filling != FILL_NESTED_SVM)
		return;
	fill(v->nested, size, seed);
	v->nested->format = filling == FILL_NESTED_VMX ? KVM_STATE_NESTED_FORMAT_VMX :
							 KVM_STATE_NESTED_FORMAT_SVM;
	v->nested->flags = KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING;
	v->nested->size = (uint32_t)size;
	if (filling == FILL_NESTED_SVM) {
		v->nested->flags |= KVM_STATE_NESTED_GIF_SET;
		v->nested->hdr.svm.vmcb_pa &= 0xffffff000;
		return;
	}
	v->nested->hdr.vmx.vmxon_pa = 0x5000;
	v->nested->hdr.vmx.vmcs12_pa &= 0xfffff0000;
	v->nested->hdr.vmx.smm.flags = 0;
	v->nested->hdr.vmx.flags &= KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE;
}

void fill_vcpu(struct fake_vcpu *v, enum filling filling, uint64_t *seed)
{
	const uint64_t xstate_bv = 7;
	const uint32_t lvtt = 0x400ec;          /* deadline mode */
	const uint32_t zero[8] = { 0 };

	fill(&v->regs, sizeof(v->regs), seed);
	v->regs.rflags |= 2;
	fill_sregs(v, filling, seed);
	fill_events(v, seed);
	fill_nested(v, filling, seed);
	fill(&v->debugregs, sizeof(v->debugregs.db), seed);
	v->debugregs.dr6 = (uint32_t)fixture_random(seed);
	v->debugregs.dr7 = (uint32_t)fixture_random(seed);
	v->xcrs.xcrs[0].value = 7;
	fill(v->xsave, 4096, seed);
	memset(v->xsave + 24, 0, 8);
	memcpy(v->xsave + 512, &xstate_bv, sizeof(xstate_bv));
	fill(v->lapic.regs, sizeof(v->lapic.regs), seed);
	memcpy(v->lapic.regs + 0x320, &lvtt, sizeof(lvtt));
	memcpy(v->lapic.regs + 0x380, zero, sizeof(zero));
	lapic_set_register(&v->lapic, LAPIC_PPR, lapic_priority(&v->lapic));
	/* Of machine-check banks the host has more than our vCPUs. */
	for (unsigned int i = 0; i < v->nr_msrs; i++)
		if (msr_table_find(machine.vm->msr_table, v->msr[i].index) >= 0 ||
		    v->msr[i].index == MSR_IA32_FEATURE_CONTROL)
			v->msr[i].value = fixture_random(seed);
	v->tsc_offset = fixture_random(seed);
	v->mp_state = v->index & 1 ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE;
	for (uint32_t i = 0; v->cpuid && i < v->cpuid->nent; i++)
		v->cpuid->entries[i].ebx &= (uint32_t)fixture_random(seed);
	/* That was looked at when it was set. */
	vcpu_state_settled(&machine.vm->vcpu[v->index].state);
}

void fill_vm(struct fake_vm *vm, uint64_t *seed)
{
	for (int i = 0; i < 3; i++)
		fill(&vm->irqchips[i].chip, i < 2 ? sizeof(vm->irqchips[i].chip.pic) :
						    sizeof(vm->irqchips[i].chip.ioapic), seed);
	fill(&vm->pit.channels, sizeof(vm->pit.channels), seed);
	vm->pit.flags = KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	vm->clock.clock = fixture_random(seed) >> 8;
}

static bool same_msrs(const struct fake_vcpu *a, const struct fake_vcpu *b)
{
	for (unsigned int i = 0; i < a->nr_msrs; i++)
		if (a->msr[i].index != b->msr[i].index ||
		    (a->msr[i].index != MSR_IA32_TSC && a->msr[i].value != b->msr[i].value))
			return false;
	return a->nr_msrs == b->nr_msrs;
}

const char *vcpu_difference(const struct fake_vcpu *a, const struct fake_vcpu *b)
{
#define SAME(field, size) (!memcmp(a->field, b->field, size))
	if (memcmp(&a->regs, &b->regs, sizeof(a->regs)))
		return "regs";
	if (memcmp(&a->sregs, &b->sregs, sizeof(a->sregs)))
		return "sregs";
	if (memcmp(&a->events, &b->events, sizeof(a->events)))
		return "events";
	if (a->pending_init != b->pending_init || a->mp_state != b->mp_state)
		return "mp_state";
	if (memcmp(&a->debugregs, &b->debugregs, sizeof(a->debugregs)))
		return "debugregs";
	if (memcmp(&a->xcrs, &b->xcrs, sizeof(a->xcrs)))
		return "xcrs";
	if (!SAME(xsave, 4096))
		return "xsave";
	if (!SAME(lapic.regs, 0x380) || !SAME(lapic.regs + 0x394, 0x400 - 0x394))
		return "lapic";
	if (a->nested->size != b->nested->size || !SAME(nested, a->nested->size))
		return "nested";
	if (a->cpuid->nent != b->cpuid->nent ||
	    !SAME(cpuid->entries, a->cpuid->nent * sizeof(a->cpuid->entries[0])))
		return "cpuid";
	if (a->tsc_khz != b->tsc_khz)
		return "tsc_khz";
	return same_msrs(a, b) ? NULL : "msrs";
#undef SAME
}

void save_vm(struct vm *vm, struct sections *sections)
{
	struct error err = { .code = 0 };

	memset(sections, 0, sizeof(*sections));
	ck_assert_msg(snapshot_collect(vm, RUN_STATE_PAUSED, sections, &err) == 0, "%s", err.text);
}

void save(struct sections *sections)
{
	save_vm(machine.vm, sections);
}

void saved_elsewhere(struct sections *sections, unsigned int nr_vcpus, enum filling filling)
{
	uint64_t seed = 42;

	fill_host(filling);
	machine_start(nr_vcpus);
	for (unsigned int i = 0; i < nr_vcpus; i++)
		fill_vcpu(machine_model(i), filling, &seed);
	for (unsigned int i = 0; i < nr_vcpus; i++)
		machine_model(i)->events.triple_fault.pending = 0;
	save(sections);
	machine_stop();
	machine_host();
}

struct vm *second_machine(void)
{
	static const struct vm_callbacks callbacks = { .event = NULL };
	struct error err = { .code = 0 };
	struct vm *vm;

	ck_assert_msg(vm_create(&vm, &machine.kvm, &machine.config, &callbacks, &err) == 0, "%s",
		      err.text);
	return vm;
}

void load_into(struct vm *vm, struct sections *sections)
{
	struct error err = { .code = 0 };

	ck_assert_msg(snapshot_apply(vm, sections, false, &err) == 0, "%s", err.text);
}

const char *sections_difference(const struct sections *a, const struct sections *b)
{
	for (unsigned int i = 0; i < a->nr; i++)
		if (i >= b->nr || strcmp(a->section[i].name, b->section[i].name) ||
		    a->section[i].content.len != b->section[i].content.len ||
		    memcmp(a->section[i].content.data, b->section[i].content.data,
			   a->section[i].content.len))
			return a->section[i].name;
	return a->nr == b->nr ? NULL : "their number";
}

struct section *section_named(struct sections *sections, const char *name)
{
	for (unsigned int i = 0; i < sections->nr; i++)
		if (!strcmp(sections->section[i].name, name))
			return &sections->section[i];
	ck_abort_msg("no section %s", name);
}

uint8_t *item_data(struct sections *sections, enum snapshot_item tag, size_t *len)
{
	struct bytes_out *content = &section_named(sections, "vcpu/0")->content;
	uint32_t size;

	for (size_t at = 0; at < content->len; at += HEADER + size) {
		memcpy(&size, content->data + at + 4, sizeof(size));
		if (content->data[at] == tag) {
			*len = size;
			return content->data + at + HEADER;
		}
	}
	return NULL;
}

void replace_item(struct sections *sections, enum snapshot_item tag, const void *data, size_t len)
{
	struct bytes_out *content = &section_named(sections, "vcpu/0")->content;
	struct bytes_out made = { 0 };
	size_t size, front;
	uint8_t *old = item_data(sections, tag, &size);

	ck_assert_ptr_nonnull(old);
	front = (size_t)(old - content->data) - HEADER;
	bytes_put(&made, content->data, front);
	if (data) {
		bytes_put_u16(&made, tag);
		bytes_put_u16(&made, 0);
		bytes_put_u32(&made, (uint32_t)len);
		bytes_put(&made, data, len);
	}
	bytes_put(&made, old + size, content->len - front - HEADER - size);
	bytes_out_free(content);
	*content = made;
}

void add_msr(struct sections *sections, uint32_t index, uint64_t value)
{
	struct bytes_out made = { 0 };
	size_t len;
	const uint8_t *old = item_data(sections, SNAPSHOT_MSRS, &len);

	bytes_put_u32(&made, index);
	bytes_put_u64(&made, value);
	bytes_put(&made, old, len);
	replace_item(sections, SNAPSHOT_MSRS, made.data, made.len);
	bytes_out_free(&made);
}

void refused(struct sections *sections, bool force, const char *text)
{
	struct error err = { .code = 0 };
	uint64_t mark = fake_kvm_mark(machine.fake);

	ck_assert_int_eq(snapshot_apply(machine.vm, sections, force, &err), -1);
	ck_assert_msg(strstr(err.text, text), "%s", err.text);
	ck_assert_int_ne(err.code, 0);
	ck_assert_uint_eq(machine_sets(mark), 0);
	for (unsigned int i = 0; i < sections->nr; i++)
		sections->section[i].claimed = false;
}
