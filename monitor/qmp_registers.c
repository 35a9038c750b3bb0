/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "monitor/monitor.h"
#include "vmm/log.h"
#include "vmm/pdptrs.h"
#include "vmm/vcpu_space.h"

/* set-vcpu-registers: the one command that edits vCPU state. */

#define REG(member)        { #member, SUBSTATE_REGS, offsetof(struct kvm_regs, member), 8 }
#define CONTROL(member)    { #member, SUBSTATE_SREGS, offsetof(struct kvm_sregs2, member), 8 }
#define SEGMENT(name)      \
	{ #name, SUBSTATE_SREGS, offsetof(struct kvm_sregs2, name.selector), 2 }, \
	{ #name "-base", SUBSTATE_SREGS, offsetof(struct kvm_sregs2, name.base), 8 }
#define PDPTR(n)           \
	{ "pdptr" #n, SUBSTATE_SREGS, offsetof(struct kvm_sregs2, pdptrs[n]), 8 }
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
	PDPTR(0), PDPTR(1), PDPTR(2), PDPTR(3),
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

/* The three that are edited, as they are or as they are to be. */
struct registers {
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_debugregs debugregs;
};

static void *bytes_of(struct registers *registers, enum vcpu_substate sub)
{
	switch (sub) {
	case SUBSTATE_REGS:
		return &registers->regs;
	case SUBSTATE_SREGS:
		return &registers->sregs;
	default:
		return &registers->debugregs;
	}
}

/* Which of pdptr0 to pdptr3 are among the values. */
static unsigned int pdptrs_named(const struct json_value *values)
{
	static const char *const names[] = { "pdptr0", "pdptr1", "pdptr2", "pdptr3" };
	unsigned int named = 0;

	for (unsigned int i = 0; i < 4; i++)
		if (json_get(values, names[i]))
			named |= 1u << i;
	return named;
}

/* What a processor would do about its PDPTRs. */
static int settle_pdptrs(const struct vm *vm, struct vcpu_state *s, const struct json_value *values,
			 struct registers *registers, struct error *err)
{
	const struct kvm_cpuid2 *cpuid = vcpu_state_cpuid(s, err);
	struct page_space space;

	if (!cpuid || vcpu_page_space(s, &vm->memory, &space, err) < 0)
		return -1;
	if (pdptrs_after_edit(&space, cpuid, vm->kvm->caps.sregs2, &registers->sregs,
			      pdptrs_named(values), json_get(values, "cr3"), err) < 0)
		return -1;
	if (!vm->kvm->caps.sregs2 && vcpu_sregs_use_pdptrs(&registers->sregs))
		log_warning("vCPU %d is in PAE paging, and this host's KVM does not give access to "
			    "its PDPTRs (KVM_CAP_SREGS2): they will be those in its memory",
			    s->index);
	return 0;
}

/* Copies of what was fetched, changed; fails when they can not be so. */
static int change(const struct vm *vm, struct vcpu_state *s, const struct json_value *values,
		  uint32_t needed, struct registers *registers, struct error *err)
{
	if (needed & UINT32_C(1) << SUBSTATE_REGS)
		registers->regs = *vcpu_state_regs(s, err);
	if (needed & UINT32_C(1) << SUBSTATE_SREGS)
		registers->sregs = *vcpu_state_sregs(s, err);
	if (needed & UINT32_C(1) << SUBSTATE_DEBUGREGS)
		registers->debugregs = *vcpu_state_debugregs(s, err);
	for (size_t i = 0; i < values->object.count; i++) {
		const struct json_member *member = &values->object.member[i];
		const struct settable *settable = find(member->name);

		/* INT and UINT have the same bits, and x86 is little endian */
		memcpy((char *)bytes_of(registers, settable->sub) + settable->offset,
		       &member->value.uinteger, settable->size);
	}
	if (!(needed & UINT32_C(1) << SUBSTATE_SREGS))
		return 0;
	return settle_pdptrs(vm, s, values, registers, err);
}

/* After change(), and a fetch of all that an edit looks at first, none of these can fail. */
static void take_over(struct vcpu_state *s, uint32_t needed, const struct registers *registers)
{
	if (needed & UINT32_C(1) << SUBSTATE_REGS)
		*vcpu_state_regs_edit(s, NULL) = registers->regs;
	if (needed & UINT32_C(1) << SUBSTATE_SREGS)
		*vcpu_state_sregs_edit(s, NULL) = registers->sregs;
	if (needed & UINT32_C(1) << SUBSTATE_DEBUGREGS)
		*vcpu_state_debugregs_edit(s, NULL) = registers->debugregs;
}

int qmp_set_vcpu_registers(struct qmp_call *call)
{
	const struct json_value *values = json_get(call->arguments, "registers");
	int64_t index = json_get(call->arguments, "cpu-index")->integer;
	struct vm *vm = monitor_vm(call->monitor);
	struct registers registers;
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

	/* All is fetched and checked before the first change, so that a failure changes nothing. */
	for (size_t i = 0; i < values->object.count; i++) {
		enum vcpu_substate sub = find(values->object.member[i].name)->sub;

		if (!vcpu_state_offers(s, sub))
			return error_set(&call->error, ENOTSUP, "Register '%s' can not be set: this "
					 "host's KVM does not offer %s",
					 values->object.member[i].name, vcpu_substate_name(sub));
		needed |= UINT32_C(1) << sub;
	}
	if (vm_inspect_begin(vm, (int)index, &call->error) < 0)
		return -1;
	/* An edit looks at the MP state first, so it belongs to what may fail. */
	rc = vcpu_state_fetch(s, needed | UINT32_C(1) << SUBSTATE_MP_STATE, &call->error);
	if (rc == 0)
		rc = change(vm, s, values, needed, &registers, &call->error);
	if (rc == 0)
		take_over(s, needed, &registers);
	vm_inspect_end(vm);
	return rc;
}
