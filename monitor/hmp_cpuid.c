/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "monitor/cpu_print.h"
#include "monitor/hmp_internal.h"

/* Where the names of features begin. */
#define INDENT 7

static void print_entry(struct text *out, const struct kvm_cpuid_entry2 *e)
{
	if (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
		text_printf(out, "%08" PRIx32 " %8" PRIx32, e->function, e->index);
	else
		text_printf(out, "%08" PRIx32 "        -", e->function);
	text_printf(out, "  %08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32 "\n", e->eax, e->ebx,
		    e->ecx, e->edx);
	for (int reg = CPUID_REG_EAX; reg <= CPUID_REG_EDX; reg++) {
		char label[INDENT + 1];

		snprintf(label, sizeof(label), "    %s", cpuid_reg_name((enum cpuid_reg)reg));
		cpu_print_register(out, label, INDENT, e, (enum cpuid_reg)reg);
	}
}

/* Of the current vCPU, or of another; its table stands still, so it can be printed while it runs. */
void hmp_info_cpuid(struct hmp *hmp, const struct hmp_args *args)
{
	int index = args->has_index ? (int)args->index : hmp->cpu;
	const struct kvm_cpuid2 *table;
	struct error err;

	if (args->has_index && args->index >= hmp->vm->nr_vcpus) {
		text_printf(hmp->out, "CPU#%d not available\n", (int)args->index);
		return;
	}
	if (hmp_inspect_begin(hmp, index, 1u << SUBSTATE_CPUID) == -1)
		return;
	table = vcpu_state_cpuid(&hmp->vm->vcpu[index].state, &err);
	text_printf(hmp->out, "\nCPU#%d\n%-8s %8s  %-8s %-8s %-8s %s\n", index, "leaf", "subleaf",
		    "eax", "ebx", "ecx", "edx");
	for (uint32_t i = 0; table && i < table->nent; i++)
		print_entry(hmp->out, &table->entries[i]);
	vm_inspect_end(hmp->vm);
}
