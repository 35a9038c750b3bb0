/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/monitor.h"
#include "monitor/qom.h"
#include "vmm/msr.h"
#include "vmm/nested.h"

/* Commands that look at vCPUs.  None of them can make anything dirty: they have only readers. */

int qmp_cpu_argument(struct qmp_call *call, int *index)
{
	const struct json_value *cpu = json_get(call->arguments, "cpu-index");
	const struct vm *vm = monitor_vm(call->monitor);

	*index = -1;
	if (!cpu)
		return 0;
	if (cpu->integer < 0 || cpu->integer >= (int64_t)vm->nr_vcpus)
		return error_set(&call->error, EINVAL,
				 "Parameter 'cpu-index' expects a CPU number");
	*index = (int)cpu->integer;
	return 0;
}

static void write_props(struct json_writer *w, const struct vm *vm, unsigned int index)
{
	const struct cpu_place place = cpu_topology_place(&vm->topology, index);

	json_write_object(w, "props");
	json_write_uint(w, "core-id", place.core);
	json_write_uint(w, "thread-id", place.thread);
	if (vm->topology.dies > 1)
		json_write_uint(w, "die-id", place.die);
	json_write_uint(w, "socket-id", place.socket);
	json_write_object_end(w);
}

static void write_qom_path(struct json_writer *w, unsigned int index)
{
	char path[QOM_CPU_PATH_SIZE];

	qom_cpu_path(index, path);
	json_write_string(w, "qom-path", path);
}

int qmp_query_cpus_fast(struct qmp_call *call)
{
	struct vm *vm = monitor_vm(call->monitor);
	struct json_writer *w = call->reply;

	/* Only for a moment after creation: thread ids are known once the threads have started. */
	vcpus_await(vm);
	json_write_array(w, "return");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		json_write_object(w, NULL);
		json_write_int(w, "thread-id", atomic_load(&vm->vcpu[i].tid));
		write_props(w, vm, i);
		write_qom_path(w, i);
		json_write_uint(w, "cpu-index", i);
		json_write_string(w, "target", "x86_64");
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

int qmp_query_hotpluggable_cpus(struct qmp_call *call)
{
	const struct vm *vm = monitor_vm(call->monitor);
	struct json_writer *w = call->reply;
	char type[QOM_TYPE_SIZE];

	qom_cpu_type(vm, type);
	json_write_array(w, "return");
	for (unsigned int i = vm->nr_vcpus; i-- > 0;) {
		json_write_object(w, NULL);
		write_props(w, vm, i);
		json_write_int(w, "vcpus-count", 1);
		write_qom_path(w, i);
		json_write_string(w, "type", type);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

/* ---- query-vcpu-state ---- */

static void write_regs(struct json_writer *w, const struct kvm_regs *r)
{
	json_write_object(w, "regs");
	json_write_uint(w, "rax", r->rax);
	json_write_uint(w, "rbx", r->rbx);
	json_write_uint(w, "rcx", r->rcx);
	json_write_uint(w, "rdx", r->rdx);
	json_write_uint(w, "rsi", r->rsi);
	json_write_uint(w, "rdi", r->rdi);
	json_write_uint(w, "rsp", r->rsp);
	json_write_uint(w, "rbp", r->rbp);
	json_write_uint(w, "r8", r->r8);
	json_write_uint(w, "r9", r->r9);
	json_write_uint(w, "r10", r->r10);
	json_write_uint(w, "r11", r->r11);
	json_write_uint(w, "r12", r->r12);
	json_write_uint(w, "r13", r->r13);
	json_write_uint(w, "r14", r->r14);
	json_write_uint(w, "r15", r->r15);
	json_write_uint(w, "rip", r->rip);
	json_write_uint(w, "rflags", r->rflags);
	json_write_object_end(w);
}

static void write_segment(struct json_writer *w, const char *name, const struct kvm_segment *s)
{
	json_write_object(w, name);
	json_write_uint(w, "selector", s->selector);
	json_write_uint(w, "base", s->base);
	json_write_uint(w, "limit", s->limit);
	json_write_uint(w, "type", s->type);
	json_write_bool(w, "s", s->s);
	json_write_uint(w, "dpl", s->dpl);
	json_write_bool(w, "present", s->present);
	json_write_bool(w, "avl", s->avl);
	json_write_bool(w, "db", s->db);
	json_write_bool(w, "l", s->l);
	json_write_bool(w, "g", s->g);
	json_write_bool(w, "unusable", s->unusable);
	json_write_object_end(w);
}

static void write_table(struct json_writer *w, const char *name, const struct kvm_dtable *t)
{
	json_write_object(w, name);
	json_write_uint(w, "base", t->base);
	json_write_uint(w, "limit", t->limit);
	json_write_object_end(w);
}

static void write_sregs(struct json_writer *w, const struct kvm_sregs2 *s)
{
	json_write_object(w, "sregs");
	write_segment(w, "cs", &s->cs);
	write_segment(w, "ds", &s->ds);
	write_segment(w, "es", &s->es);
	write_segment(w, "fs", &s->fs);
	write_segment(w, "gs", &s->gs);
	write_segment(w, "ss", &s->ss);
	write_segment(w, "tr", &s->tr);
	write_segment(w, "ldt", &s->ldt);
	write_table(w, "gdt", &s->gdt);
	write_table(w, "idt", &s->idt);
	json_write_uint(w, "cr0", s->cr0);
	json_write_uint(w, "cr2", s->cr2);
	json_write_uint(w, "cr3", s->cr3);
	json_write_uint(w, "cr4", s->cr4);
	json_write_uint(w, "cr8", s->cr8);
	json_write_uint(w, "efer", s->efer);
	json_write_uint(w, "apic-base", s->apic_base);
	if (s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) {
		json_write_array(w, "pdptrs");
		for (int i = 0; i < 4; i++)
			json_write_uint(w, NULL, s->pdptrs[i]);
		json_write_array_end(w);
	}
	json_write_object_end(w);
}

static void write_events(struct json_writer *w, const struct kvm_vcpu_events *e)
{
	json_write_object(w, "events");

	json_write_object(w, "exception");
	json_write_bool(w, "injected", e->exception.injected);
	json_write_bool(w, "pending", e->exception.pending);
	json_write_uint(w, "nr", e->exception.nr);
	json_write_bool(w, "has-error-code", e->exception.has_error_code);
	json_write_uint(w, "error-code", e->exception.error_code);
	json_write_uint(w, "payload", e->exception_payload);
	json_write_bool(w, "has-payload", e->exception_has_payload);
	json_write_object_end(w);

	json_write_object(w, "interrupt");
	json_write_bool(w, "injected", e->interrupt.injected);
	json_write_uint(w, "nr", e->interrupt.nr);
	json_write_bool(w, "soft", e->interrupt.soft);
	json_write_uint(w, "shadow", e->interrupt.shadow);
	json_write_object_end(w);

	json_write_object(w, "nmi");
	json_write_bool(w, "injected", e->nmi.injected);
	json_write_bool(w, "pending", e->nmi.pending);
	json_write_bool(w, "masked", e->nmi.masked);
	json_write_object_end(w);

	json_write_object(w, "smi");
	json_write_bool(w, "smm", e->smi.smm);
	json_write_bool(w, "pending", e->smi.pending);
	json_write_bool(w, "latched-init", e->smi.latched_init);
	json_write_object_end(w);

	json_write_uint(w, "sipi-vector", e->sipi_vector);
	json_write_bool(w, "triple-fault-pending", e->triple_fault.pending);
	json_write_object_end(w);
}

static const char *mp_state_name(uint32_t mp_state)
{
	switch (mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
		return "uninitialized";
	case KVM_MP_STATE_INIT_RECEIVED:
		return "init-received";
	case KVM_MP_STATE_HALTED:
		return "halted";
	case KVM_MP_STATE_SIPI_RECEIVED:
		return "sipi-received";
	default:
		return "runnable";
	}
}

static void write_debugregs(struct json_writer *w, const struct kvm_debugregs *d)
{
	json_write_object(w, "debugregs");
	json_write_array(w, "db");
	for (int i = 0; i < 4; i++)
		json_write_uint(w, NULL, d->db[i]);
	json_write_array_end(w);
	json_write_uint(w, "dr6", d->dr6);
	json_write_uint(w, "dr7", d->dr7);
	json_write_object_end(w);
}

static void write_xcrs(struct json_writer *w, const struct kvm_xcrs *x)
{
	json_write_array(w, "xcrs");
	for (uint32_t i = 0; i < x->nr_xcrs && i < KVM_MAX_XCRS; i++) {
		json_write_object(w, NULL);
		json_write_uint(w, "xcr", x->xcrs[i].xcr);
		json_write_uint(w, "value", x->xcrs[i].value);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static void write_nested(struct json_writer *w, const struct kvm_nested_state *nested)
{
	struct nested_summary n;

	nested_summarize(nested, &n);
	json_write_object(w, "nested");
	json_write_string(w, "format", nested_format_name(n.format));
	json_write_bool(w, "guest-mode", n.guest_mode);
	json_write_bool(w, "run-pending", n.run_pending);
	json_write_bool(w, "nested-paging", n.nested_paging);
	if (n.format == KVM_STATE_NESTED_FORMAT_SVM) {
		json_write_bool(w, "gif", n.gif);
		if (n.has_control_block)
			json_write_uint(w, "vmcb-pa", n.control_block_pa);
	} else {
		if (n.has_vmxon)
			json_write_uint(w, "vmxon-pa", n.vmxon_pa);
		if (n.has_control_block)
			json_write_uint(w, "vmcs12-pa", n.control_block_pa);
		json_write_bool(w, "mtf-pending", n.mtf_pending);
		json_write_bool(w, "smm-vmxon", n.smm_vmxon);
		json_write_bool(w, "smm-guest-mode", n.smm_guest_mode);
	}
	json_write_object_end(w);
}

/* Registers wider than an integer: hexadecimal, the most significant byte first. */
static void write_wide(struct json_writer *w, const uint8_t *bytes, size_t len)
{
	char hex[2 * 16 + 1];

	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[len - 1 - i]);
	json_write_string(w, NULL, hex);
}

static void write_fpu(struct json_writer *w, const struct kvm_fpu *f)
{
	json_write_object(w, "fpu");
	json_write_uint(w, "fcw", f->fcw);
	json_write_uint(w, "fsw", f->fsw);
	json_write_uint(w, "ftw", f->ftwx);
	json_write_uint(w, "last-opcode", f->last_opcode);
	json_write_uint(w, "last-ip", f->last_ip);
	json_write_uint(w, "last-dp", f->last_dp);
	json_write_array(w, "st");
	for (int i = 0; i < 8; i++)
		write_wide(w, f->fpr[i], 10);
	json_write_array_end(w);
	json_write_array(w, "xmm");
	for (int i = 0; i < 16; i++)
		write_wide(w, f->xmm[i], 16);
	json_write_array_end(w);
	json_write_uint(w, "mxcsr", f->mxcsr);
	json_write_object_end(w);
}

static void write_msrs(struct json_writer *w, struct vcpu_state *s)
{
	json_write_array(w, "msrs");
	for (unsigned int i = 0; i < s->msr_table->count; i++) {
		const char *name = msr_name(s->msr_table->msr[i].index);
		uint64_t value;

		/* One that this vCPU has not. */
		if (vcpu_state_msr(s, i, &value, NULL) < 0)
			continue;
		json_write_object(w, NULL);
		json_write_uint(w, "index", s->msr_table->msr[i].index);
		if (name)
			json_write_string(w, "name", name);
		json_write_uint(w, "value", value);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static bool flag_argument(const struct qmp_call *call, const char *name)
{
	const struct json_value *value = json_get(call->arguments, name);

	return value && value->boolean;
}

#define BIT(SUB) (UINT32_C(1) << SUBSTATE_##SUB)

/* What the call asked for, in one fetch so that it is of one instant. */
static uint32_t wanted(const struct qmp_call *call)
{
	uint32_t mask = BIT(MP_STATE) | BIT(EVENTS) | BIT(REGS) | BIT(SREGS) | BIT(DEBUGREGS) |
			BIT(XCRS) | BIT(NESTED);

	if (flag_argument(call, "msrs"))
		mask |= BIT(MSRS);
	if (flag_argument(call, "fpu"))
		mask |= BIT(XSAVE);
	return mask;
}

/* After vcpu_state_fetch() of `mask` the readers below find everything there and can not fail. */
static void write_vcpu(struct json_writer *w, struct vcpu *vcpu, uint32_t mask)
{
	struct vcpu_state *s = &vcpu->state;
	const struct kvm_mp_state *mp_state = NULL;
	struct kvm_fpu fpu;

	if (vcpu_state_offers(s, SUBSTATE_MP_STATE))
		mp_state = vcpu_state_mp_state(s, NULL);
	json_write_object(w, NULL);
	json_write_int(w, "cpu-index", vcpu->index);
	json_write_bool(w, "halted", mp_state && mp_state->mp_state == KVM_MP_STATE_HALTED);
	write_regs(w, vcpu_state_regs(s, NULL));
	write_sregs(w, vcpu_state_sregs(s, NULL));
	if (vcpu_state_offers(s, SUBSTATE_EVENTS))
		write_events(w, vcpu_state_events(s, NULL));
	if (mp_state)
		json_write_string(w, "mp-state", mp_state_name(mp_state->mp_state));
	if (vcpu_state_offers(s, SUBSTATE_DEBUGREGS))
		write_debugregs(w, vcpu_state_debugregs(s, NULL));
	if (vcpu_state_offers(s, SUBSTATE_XCRS))
		write_xcrs(w, vcpu_state_xcrs(s, NULL));
	/* A format that is not known is none that the schema could name. */
	if (vcpu_state_offers(s, SUBSTATE_NESTED) &&
	    nested_format_name(vcpu_state_nested(s, NULL)->format))
		write_nested(w, vcpu_state_nested(s, NULL));
	if (mask & BIT(XSAVE)) {
		vcpu_state_fpu(s, &fpu, NULL);
		write_fpu(w, &fpu);
	}
	if (mask & BIT(MSRS))
		write_msrs(w, s);
	json_write_object_end(w);
}

int qmp_query_vcpu_state(struct qmp_call *call)
{
	struct vm *vm = monitor_vm(call->monitor);
	unsigned int first, last;
	uint32_t mask = wanted(call);
	int index, rc = 0;

	if (qmp_cpu_argument(call, &index) < 0 || vm_inspect_begin(vm, index, &call->error) < 0)
		return -1;
	first = index < 0 ? 0 : (unsigned int)index;
	last = index < 0 ? vm->nr_vcpus - 1 : (unsigned int)index;
	for (unsigned int i = first; rc == 0 && i <= last; i++)
		rc = vcpu_state_fetch(&vm->vcpu[i].state, mask, &call->error);
	if (rc == 0) {
		json_write_array(call->reply, "return");
		for (unsigned int i = first; i <= last; i++)
			write_vcpu(call->reply, &vm->vcpu[i], mask);
		json_write_array_end(call->reply);
	}
	vm_inspect_end(vm);
	return rc;
}

/* ---- query-vcpu-sync ---- */

static void write_substates(struct json_writer *w, const struct vcpu *vcpu)
{
	const struct vcpu_state *s = &vcpu->state;

	json_write_array(w, "substates");
	for (int i = 0; i < SUBSTATE_COUNT; i++) {
		enum vcpu_substate sub = (enum vcpu_substate)i;
		struct vcpu_sync_counts counts = vcpu_sync_counts(vcpu, sub);

		json_write_object(w, NULL);
		json_write_string(w, "name", vcpu_substate_name(sub));
		json_write_bool(w, "offered", vcpu_state_offers(s, sub));
		json_write_bool(w, "fetched", s->fetched >> sub & 1);
		json_write_bool(w, "dirty", s->dirty >> sub & 1);
		json_write_uint(w, "gets", counts.gets);
		json_write_uint(w, "sets", counts.sets);
		json_write_uint(w, "gets-since-stop", counts.gets_since_stop);
		json_write_uint(w, "sets-since-stop", counts.sets_since_stop);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

/* Looks at our books only, not at the vCPUs: it neither parks them nor changes what it shows. */
int qmp_query_vcpu_sync(struct qmp_call *call)
{
	struct vm *vm = monitor_vm(call->monitor);
	struct json_writer *w = call->reply;
	struct vm_sync_counts counts;
	int index;

	if (qmp_cpu_argument(call, &index) < 0)
		return -1;
	vm_sync_counts(vm, &counts);
	json_write_object(w, "return");
	json_write_array(w, "vcpus");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (index >= 0 && i != (unsigned int)index)
			continue;
		json_write_object(w, NULL);
		json_write_uint(w, "cpu-index", i);
		write_substates(w, &vm->vcpu[i]);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	json_write_uint(w, "sets-since-stop", counts.vcpu_sets);
	json_write_uint(w, "vm-sets-since-stop", counts.vm_sets);
	json_write_uint(w, "policy-since-stop", counts.policy);
	json_write_object_end(w);
	return 0;
}
