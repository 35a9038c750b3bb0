/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "monitor/monitor.h"

/* set-vcpu-registers: the one command that edits vCPU state. */

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

static const struct settable *find(const char *name)
{
	for (size_t i = 0; i < NR_SETTABLES; i++)
		if (strcmp(settables[i].name, name) == 0)
			return &settables[i];
	return NULL;
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

int qmp_set_vcpu_registers(struct qmp_call *call)
{
	const struct json_value *registers = json_get(call->arguments, "registers");
	int64_t index = json_get(call->arguments, "cpu-index")->integer;
	struct vm *vm = monitor_vm(call->monitor);
	uint32_t needed = 0;
	struct vcpu_state *s;
	int rc;

	if (vm_is_running(vm))
		return error_set(&call->error, EBUSY, "Registers can be set only while the virtual "
				 "machine is stopped; use 'stop' first");
	if (index < 0 || index >= (int64_t)vm->nr_vcpus)
		return error_set(&call->error, EINVAL,
				 "Parameter 'cpu-index' expects a CPU number");
	s = &vm->vcpu[index].state;

	/* All is fetched before the first change, so that a failure changes nothing. */
	for (size_t i = 0; i < registers->object.count; i++) {
		enum vcpu_substate sub = find(registers->object.member[i].name)->sub;

		if (!vcpu_state_offers(s, sub))
			return error_set(&call->error, ENOTSUP, "Register '%s' can not be set: this "
					 "host's KVM does not offer %s",
					 registers->object.member[i].name, vcpu_substate_name(sub));
		needed |= UINT32_C(1) << sub;
	}
	if (vm_inspect_begin(vm, (int)index, &call->error) < 0)
		return -1;
	/* An edit looks at the MP state first, so it belongs to what may fail. */
	rc = vcpu_state_fetch(s, needed | UINT32_C(1) << SUBSTATE_MP_STATE, &call->error);
	for (size_t i = 0; rc == 0 && i < registers->object.count; i++) {
		const struct json_member *member = &registers->object.member[i];
		const struct settable *settable = find(member->name);
		char *bytes = edit(s, settable->sub, &call->error);

		if (!bytes)
			rc = -1;
		else    /* INT and UINT have the same bits, and x86 is little endian */
			memcpy(bytes + settable->offset, &member->value.uinteger, settable->size);
	}
	vm_inspect_end(vm);
	return rc;
}
