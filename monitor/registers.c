/* SPDX-License-Identifier: MIT */
#include "monitor/registers.h"

#include <errno.h>
#include <string.h>

#include "vmm/vm.h"

/* set-vcpu-registers, and HMP's set: the one place that edits vCPU state. */

#define REG(member)        { #member, SUBSTATE_REGS, offsetof(struct kvm_regs, member), 8 }
#define CONTROL(member)    { #member, SUBSTATE_SREGS, offsetof(struct kvm_sregs2, member), 8 }
#define SEGMENT(name)      \
	{ #name, SUBSTATE_SREGS, offsetof(struct kvm_sregs2, name.selector), 2 }, \
	{ #name "-base", SUBSTATE_SREGS, offsetof(struct kvm_sregs2, name.base), 8 }
#define DEBUG(name, member) { name, SUBSTATE_DEBUGREGS, offsetof(struct kvm_debugregs, member), 8 }

static const struct settable {
	const char *name;
	enum vcpu_substate sub;
	size_t offset;
	size_t size;            /* in bytes */
} settables[] = {
	REG(rax), REG(rbx), REG(rcx), REG(rdx), REG(rsi), REG(rdi), REG(rsp), REG(rbp),
	REG(r8), REG(r9), REG(r10), REG(r11), REG(r12), REG(r13), REG(r14), REG(r15),
	REG(rip), REG(rflags),
	CONTROL(cr0), CONTROL(cr2), CONTROL(cr3), CONTROL(cr4), CONTROL(cr8), CONTROL(efer),
	SEGMENT(cs), SEGMENT(ds), SEGMENT(es), SEGMENT(fs), SEGMENT(gs), SEGMENT(ss),
	DEBUG("dr0", db[0]), DEBUG("dr1", db[1]), DEBUG("dr2", db[2]), DEBUG("dr3", db[3]),
	DEBUG("dr6", dr6), DEBUG("dr7", dr7),
};

#define NR_SETTABLES (sizeof(settables) / sizeof(settables[0]))

const struct settable *settable_find(const char *name, size_t len)
{
	for (size_t i = 0; i < NR_SETTABLES; i++)
		if (strlen(settables[i].name) == len && memcmp(settables[i].name, name, len) == 0)
			return &settables[i];
	return NULL;
}

const char *settable_name(const struct settable *settable)
{
	return settable->name;
}

size_t settable_size(const struct settable *settable)
{
	return settable->size;
}

/* Marks one substate dirty and gives its bytes. */
static void *edit(struct vcpu_state *s, enum vcpu_substate sub, struct error *err)
{
	switch (sub) {
	case SUBSTATE_REGS:
		return vcpu_state_regs_edit(s, err);
	case SUBSTATE_SREGS:
		return vcpu_state_sregs_edit(s, err);
	default:
		return vcpu_state_debugregs_edit(s, err);
	}
}

int registers_set(struct vm *vm, int64_t cpu, const struct register_value *values, size_t nr,
		  struct error *err)
{
	uint32_t needed = 0;
	struct vcpu_state *s;
	int rc;

	if (vm_is_running(vm))
		return error_set(err, EBUSY, "Registers can be set only while the virtual "
				 "machine is stopped; use 'stop' first");
	if (cpu < 0 || cpu >= (int64_t)vm->nr_vcpus)
		return error_set(err, EINVAL, "Parameter 'cpu-index' expects a CPU number");
	s = &vm->vcpu[cpu].state;

	/* All is fetched before the first change, so that a failure changes nothing. */
	for (size_t i = 0; i < nr; i++) {
		enum vcpu_substate sub = values[i].settable->sub;

		if (!vcpu_state_offers(s, sub))
			return error_set(err, ENOTSUP, "Register '%s' can not be set: this "
					 "host's KVM does not offer %s",
					 values[i].settable->name, vcpu_substate_name(sub));
		needed |= UINT32_C(1) << sub;
	}
	if (vm_inspect_begin(vm, (int)cpu, err) < 0)
		return -1;
	/* An edit looks at the MP state first, so it belongs to what may fail. */
	rc = vcpu_state_fetch(s, needed | UINT32_C(1) << SUBSTATE_MP_STATE, err);
	for (size_t i = 0; rc == 0 && i < nr; i++) {
		const struct settable *settable = values[i].settable;
		char *bytes = edit(s, settable->sub, err);

		if (!bytes)
			rc = -1;
		else    /* x86 is little endian */
			memcpy(bytes + settable->offset, &values[i].value, settable->size);
	}
	vm_inspect_end(vm);
	return rc;
}
