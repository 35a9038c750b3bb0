/* SPDX-License-Identifier: MIT */
#include "monitor/registers.h"

#include <errno.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/pdptrs.h"
#include "vmm/vcpu_space.h"
#include "vmm/vm.h"

/* set-vcpu-registers, and HMP's set: the one place that edits vCPU state. */

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

/* The three that are edited, as they are or as they are to be. */
struct edited {
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_debugregs debugregs;
};

static void *bytes_of(struct edited *edited, enum vcpu_substate sub)
{
	switch (sub) {
	case SUBSTATE_REGS:
		return &edited->regs;
	case SUBSTATE_SREGS:
		return &edited->sregs;
	default:
		return &edited->debugregs;
	}
}

static bool named(const char *name, const struct register_value *values, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (strcmp(values[i].settable->name, name) == 0)
			return true;
	return false;
}

/* What a processor would do about its PDPTRs. */
static int settle_pdptrs(const struct vm *vm, struct vcpu_state *s,
			 const struct register_value *values, size_t nr, struct edited *edited,
			 struct error *err)
{
	static const char *const names[] = { "pdptr0", "pdptr1", "pdptr2", "pdptr3" };
	const struct kvm_cpuid2 *cpuid = vcpu_state_cpuid(s, err);
	struct page_space space;
	unsigned int set = 0;

	if (!cpuid || vcpu_page_space(s, &vm->memory, &space, err) < 0)
		return -1;
	for (unsigned int i = 0; i < 4; i++)
		if (named(names[i], values, nr))
			set |= 1u << i;
	if (pdptrs_after_edit(&space, cpuid, vm->kvm->caps.sregs2, &edited->sregs, set,
			      named("cr3", values, nr), err) < 0)
		return -1;
	if (!vm->kvm->caps.sregs2 && vcpu_sregs_use_pdptrs(&edited->sregs))
		log_warning("vCPU %d is in PAE paging, and this host's KVM does not give access to "
			    "its PDPTRs (KVM_CAP_SREGS2): they will be those in its memory",
			    s->index);
	return 0;
}

/* Copies of what was fetched, changed; fails when they can not be so. */
static int change(const struct vm *vm, struct vcpu_state *s, const struct register_value *values,
		  size_t nr, uint32_t needed, struct edited *edited, struct error *err)
{
	if (needed & UINT32_C(1) << SUBSTATE_REGS)
		edited->regs = *vcpu_state_regs(s, err);
	if (needed & UINT32_C(1) << SUBSTATE_SREGS)
		edited->sregs = *vcpu_state_sregs(s, err);
	if (needed & UINT32_C(1) << SUBSTATE_DEBUGREGS)
		edited->debugregs = *vcpu_state_debugregs(s, err);
	for (size_t i = 0; i < nr; i++) {
		const struct settable *settable = values[i].settable;

		/* x86 is little endian */
		memcpy((char *)bytes_of(edited, settable->sub) + settable->offset,
		       &values[i].value, settable->size);
	}
	if (!(needed & UINT32_C(1) << SUBSTATE_SREGS))
		return 0;
	return settle_pdptrs(vm, s, values, nr, edited, err);
}

/* After change(), and a fetch of all that an edit looks at first, none of these can fail. */
static void take_over(struct vcpu_state *s, uint32_t needed, const struct edited *edited)
{
	if (needed & UINT32_C(1) << SUBSTATE_REGS)
		*vcpu_state_regs_edit(s, NULL) = edited->regs;
	if (needed & UINT32_C(1) << SUBSTATE_SREGS)
		*vcpu_state_sregs_edit(s, NULL) = edited->sregs;
	if (needed & UINT32_C(1) << SUBSTATE_DEBUGREGS)
		*vcpu_state_debugregs_edit(s, NULL) = edited->debugregs;
}

int registers_set(struct vm *vm, int64_t cpu, const struct register_value *values, size_t nr,
		  struct error *err)
{
	struct edited edited;
	uint32_t needed = 0;
	struct vcpu_state *s;
	int rc;

	if (vm_is_running(vm))
		return error_set(err, EBUSY, "Registers can be set only while the virtual "
				 "machine is stopped; use 'stop' first");
	if (cpu < 0 || cpu >= (int64_t)vm->nr_vcpus)
		return error_set(err, EINVAL, "Parameter 'cpu-index' expects a CPU number");
	s = &vm->vcpu[cpu].state;

	/* All is fetched and checked before the first change, so that a failure changes nothing. */
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
	if (rc == 0)
		rc = change(vm, s, values, nr, needed, &edited, err);
	if (rc == 0)
		take_over(s, needed, &edited);
	vm_inspect_end(vm);
	return rc;
}
