/* SPDX-License-Identifier: MIT */
#include "vmm/msr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/kvm.h"
#include "vmm/vcpu_state.h"

/*
 * What is known of an MSR or of a run of them.  Where ranges overlap, the first row counts.
 *
 * RUNTIME: plain registers of the processor, which only the guest or we change.  RESET: what has
 * side effects or moves by itself (time, timers, performance counters, paravirtual areas in guest
 * RAM).  FULL: what describes the processor and is fixed for the life of a guest.
 */
struct msr_rule {
	uint32_t first, last;
	uint8_t level, group;
	bool resets;
	uint64_t reset_value;
	const char *name;
};

#define ONE(index, level, name) \
	{ index, index, VCPU_LEVEL_##level, MSR_GROUP_PLAIN, false, 0, name }
#define ZERO(index, level, name) \
	{ index, index, VCPU_LEVEL_##level, MSR_GROUP_PLAIN, true, 0, name }
#define RESETS(index, level, value, name) \
	{ index, index, VCPU_LEVEL_##level, MSR_GROUP_PLAIN, true, value, name }
#define RANGE(first, last, level, resets, name) \
	{ first, last, VCPU_LEVEL_##level, MSR_GROUP_PLAIN, resets, 0, name }

/* Intel SDM vol. 4, AMD APM vol. 2 appendix A, Documentation/virt/kvm/x86/msr.rst, Hyper-V TLFS. */
static const struct msr_rule rules[] = {
	{ MSR_IA32_TSC, MSR_IA32_TSC, VCPU_LEVEL_RESET, MSR_GROUP_TSC, true, 0, "IA32_TSC" },
	{ MSR_IA32_TSC_DEADLINE, MSR_IA32_TSC_DEADLINE, VCPU_LEVEL_RESET, MSR_GROUP_DEADLINE, true, 0,
	  "IA32_TSC_DEADLINE" },

	ZERO(0x00000174, RUNTIME, "IA32_SYSENTER_CS"),
	ZERO(0x00000175, RUNTIME, "IA32_SYSENTER_ESP"),
	ZERO(0x00000176, RUNTIME, "IA32_SYSENTER_EIP"),
	RESETS(0x00000277, RUNTIME, 0x0007040600070406, "IA32_PAT"),
	ZERO(0xc0000081, RUNTIME, "STAR"),
	ZERO(0xc0000082, RUNTIME, "LSTAR"),
	ZERO(0xc0000083, RUNTIME, "CSTAR"),
	ZERO(0xc0000084, RUNTIME, "SFMASK"),
	ZERO(0xc0000102, RUNTIME, "KERNEL_GS_BASE"),
	ZERO(0xc0000103, RUNTIME, "TSC_AUX"),
	ZERO(0x0000003b, RUNTIME, "IA32_TSC_ADJUST"),
	ZERO(0x00000048, RUNTIME, "IA32_SPEC_CTRL"),
	ZERO(0x000000e1, RUNTIME, "IA32_UMWAIT_CONTROL"),
	ZERO(0x00000122, RUNTIME, "IA32_TSX_CTRL"),
	ONE(0x000001a0, RUNTIME, "IA32_MISC_ENABLE"),
	ZERO(0x000001d9, RUNTIME, "IA32_DEBUGCTL"),
	ZERO(0x000006e1, RUNTIME, "IA32_PKRS"),
	ZERO(0x00000d90, RUNTIME, "IA32_BNDCFGS"),
	ZERO(0x00000da0, RUNTIME, "IA32_XSS"),
	ZERO(0x0000017a, RUNTIME, "IA32_MCG_STATUS"),
	/* A warm reset keeps the machine-check banks, so that the cause can be read after it. */
	ONE(0x0000017b, RUNTIME, "IA32_MCG_CTL"),
	ONE(0x000004d0, RUNTIME, "IA32_MCG_EXT_CTL"),
	RANGE(0x00000400, 0x0000047f, RUNTIME, false, "IA32_MC"),
	ONE(0xc0010015, RUNTIME, "HWCR"),
	ZERO(0xc001011f, RUNTIME, "VIRT_SPEC_CTRL"),
	ZERO(0xc0000104, RUNTIME, "TSC_RATIO"),
	ZERO(0xc0010117, RESET, "VM_HSAVE_PA"),

	ZERO(0x00000034, RESET, "SMI_COUNT"),
	ONE(0x0000009e, RESET, "SMBASE"),
	ZERO(0x00000140, RESET, "MISC_FEATURES_ENABLES"),
	ZERO(0x000001c4, RESET, "IA32_XFD"),
	ZERO(0x000001c5, RESET, "IA32_XFD_ERR"),
	RANGE(0x00000200, 0x0000021f, RESET, true, "MTRR_PHYS"),
	RANGE(0x00000250, 0x0000026f, RESET, true, "MTRR_FIX"),
	ZERO(0x000002ff, RESET, "MTRR_DEF_TYPE"),
	RANGE(0x000000c1, 0x000000c8, RESET, true, "IA32_PMC"),
	RANGE(0x00000186, 0x0000018d, RESET, true, "IA32_PERFEVTSEL"),
	RANGE(0x00000309, 0x0000030c, RESET, true, "IA32_FIXED_CTR"),
	ONE(0x00000345, FULL, "IA32_PERF_CAPABILITIES"),
	ZERO(0x0000038d, RESET, "IA32_FIXED_CTR_CTRL"),
	ZERO(0x0000038e, RESET, "IA32_PERF_GLOBAL_STATUS"),
	ZERO(0x0000038f, RESET, "IA32_PERF_GLOBAL_CTRL"),
	ZERO(0x00000390, RESET, "IA32_PERF_GLOBAL_OVF_CTRL"),
	ZERO(0x000003f1, RESET, "IA32_PEBS_ENABLE"),
	ZERO(0x000003f2, RESET, "MSR_PEBS_DATA_CFG"),
	ZERO(0x00000600, RESET, "IA32_DS_AREA"),
	RANGE(0x000004c1, 0x000004c8, RESET, true, "IA32_A_PMC"),
	RANGE(0x00000560, 0x0000058f, RESET, true, "IA32_RTIT"),
	RANGE(0x000014ce, 0x000014cf, RESET, true, "IA32_LBR"),
	RANGE(0xc0000300, 0xc0000303, RESET, true, "AMD_PERF_GLOBAL"),
	RANGE(0xc0010000, 0xc0010007, RESET, true, "AMD_PERF"),
	RANGE(0xc0010200, 0xc001020b, RESET, true, "AMD_PERF_EXT"),

	ZERO(0x4b564d00, RESET, "KVM_WALL_CLOCK"),
	ZERO(0x4b564d01, RESET, "KVM_SYSTEM_TIME"),
	ZERO(0x4b564d02, RESET, "KVM_ASYNC_PF_EN"),
	ZERO(0x4b564d03, RESET, "KVM_STEAL_TIME"),
	ZERO(0x4b564d04, RESET, "KVM_PV_EOI_EN"),
	/* On after reset: the host may poll before it halts the vCPU. */
	RESETS(0x4b564d05, RESET, 1, "KVM_POLL_CONTROL"),
	ZERO(0x4b564d06, RESET, "KVM_ASYNC_PF_INT"),
	ZERO(0x4b564d07, RESET, "KVM_ASYNC_PF_ACK"),
	ONE(0x4b564d08, RESET, "KVM_MIGRATION_CONTROL"),
	ZERO(0x00000011, RESET, "KVM_WALL_CLOCK_OLD"),
	ZERO(0x00000012, RESET, "KVM_SYSTEM_TIME_OLD"),

	ZERO(0x40000000, RESET, "HV_GUEST_OS_ID"),
	ZERO(0x40000001, RESET, "HV_HYPERCALL"),
	ZERO(0x40000021, RESET, "HV_REFERENCE_TSC"),
	ZERO(0x40000106, RESET, "HV_REENLIGHTENMENT_CONTROL"),
	ZERO(0x40000107, RESET, "HV_TSC_EMULATION_CONTROL"),
	ZERO(0x40000108, RESET, "HV_TSC_EMULATION_STATUS"),
	RANGE(0x40000100, 0x40000105, RESET, false, "HV_CRASH"),
	RANGE(0x40000000, 0x4000ffff, RESET, false, "HV"),

	ONE(0x0000008b, FULL, "IA32_UCODE_REV"),
	ONE(0x000000ce, FULL, "MSR_PLATFORM_INFO"),
	ONE(0x000000cf, FULL, "IA32_CORE_CAPABILITIES"),
	ONE(0x0000010a, FULL, "IA32_ARCH_CAPABILITIES"),
	ONE(0x00000480, FULL, "IA32_VMX_BASIC"),
	ONE(0x00000481, FULL, "IA32_VMX_PINBASED_CTLS"),
	ONE(0x00000482, FULL, "IA32_VMX_PROCBASED_CTLS"),
	ONE(0x00000483, FULL, "IA32_VMX_EXIT_CTLS"),
	ONE(0x00000484, FULL, "IA32_VMX_ENTRY_CTLS"),
	ONE(0x00000485, FULL, "IA32_VMX_MISC"),
	ONE(0x00000486, FULL, "IA32_VMX_CR0_FIXED0"),
	ONE(0x00000487, FULL, "IA32_VMX_CR0_FIXED1"),
	ONE(0x00000488, FULL, "IA32_VMX_CR4_FIXED0"),
	ONE(0x00000489, FULL, "IA32_VMX_CR4_FIXED1"),
	ONE(0x0000048a, FULL, "IA32_VMX_VMCS_ENUM"),
	ONE(0x0000048b, FULL, "IA32_VMX_PROCBASED_CTLS2"),
	ONE(0x0000048c, FULL, "IA32_VMX_EPT_VPID_CAP"),
	ONE(0x0000048d, FULL, "IA32_VMX_TRUE_PINBASED_CTLS"),
	ONE(0x0000048e, FULL, "IA32_VMX_TRUE_PROCBASED_CTLS"),
	ONE(0x0000048f, FULL, "IA32_VMX_TRUE_EXIT_CTLS"),
	ONE(0x00000490, FULL, "IA32_VMX_TRUE_ENTRY_CTLS"),
	ONE(0x00000491, FULL, "IA32_VMX_VMFUNC"),
	ONE(0x00000492, FULL, "IA32_VMX_PROCBASED_CTLS3"),
	ONE(0x00000493, FULL, "IA32_VMX_EXIT_CTLS2"),
	ONE(0xc0010130, FULL, "AMD64_SEV_ES_GHCB"),
	ONE(0xc0011029, FULL, "DE_CFG"),
};

/* What the index list omits (api.rst 4.3), as far as it belongs to no other substate. */
static const struct {
	uint32_t first, last;
} omitted[] = {
	{ MSR_IA32_TSC, MSR_IA32_TSC },
	{ 0x200, 0x20f },               /* variable MTRRs */
	{ 0x250, 0x250 },               /* fixed MTRRs: 64K, 16K, 4K */
	{ 0x258, 0x259 },
	{ 0x268, 0x26f },
	{ 0x277, 0x277 },
	{ 0x2ff, 0x2ff },
};

/* Machine-check state; the number of banks is what vcpu_create() sets up. */
#define MSR_MCG_STATUS 0x17a
#define MSR_MCG_CTL    0x17b
#define MSR_MC0_CTL    0x400

static const struct msr_rule *find_rule(uint32_t index)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (index >= rules[i].first && index <= rules[i].last)
			return &rules[i];
	return NULL;
}

const char *msr_name(uint32_t index)
{
	const struct msr_rule *rule = find_rule(index);

	return rule && rule->first == rule->last ? rule->name : NULL;
}

/* These are part of sregs or the LAPIC, or have a substate to themselves. */
static bool lives_elsewhere(uint32_t index)
{
	switch (index) {
	case MSR_IA32_APICBASE:
	case MSR_IA32_FEATURE_CONTROL:
	case 0xc0000080:        /* EFER */
	case 0xc0000100:        /* FS base */
	case 0xc0000101:        /* GS base */
		return true;
	default:
		return index >= 0x800 && index <= 0x8ff;        /* x2APIC registers */
	}
}

static void add(struct msr_table *table, uint32_t index)
{
	const struct msr_rule *rule = find_rule(index);
	struct msr_info *msr = &table->msr[table->count];

	if (lives_elsewhere(index) || msr_table_find(table, index) >= 0)
		return;
	msr->index = index;
	if (rule) {
		msr->level = rule->level;
		msr->group = rule->group;
		msr->resets = rule->resets;
		msr->reset_value = rule->reset_value;
	} else {
		/* Of an MSR newer than this table we know nothing: written only while all is still. */
		msr->level = VCPU_LEVEL_RESET;
		msr->group = MSR_GROUP_PLAIN;
		msr->resets = false;
		msr->reset_value = 0;
	}
	table->count++;
}

static int by_writing_order(const void *a, const void *b)
{
	const struct msr_info *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static bool listed(const struct kvm_msr_list *list, uint32_t index)
{
	for (uint32_t i = 0; i < list->nmsrs; i++)
		if (list->indices[i] == index)
			return true;
	return false;
}

struct msr_table *msr_table_new(const struct kvm *kvm, struct error *err)
{
	const struct kvm_msr_list *list = kvm->msr_list;
	unsigned int banks = kvm->caps.mce_banks;
	size_t room = list->nmsrs + 2 + 4 * banks;
	struct msr_table *table;

	for (size_t i = 0; i < sizeof(omitted) / sizeof(omitted[0]); i++)
		room += omitted[i].last - omitted[i].first + 1;
	table = malloc(sizeof(*table) + room * sizeof(table->msr[0]));
	if (!table) {
		error_errno(err, ENOMEM, "the table of MSRs");
		return NULL;
	}
	table->count = 0;
	table->excluded = 0;

	for (uint32_t i = 0; i < list->nmsrs; i++) {
		uint32_t index = list->indices[i];

		/* The same clock under its old and its new number: one of them is enough. */
		if ((index == 0x11 && listed(list, 0x4b564d00)) ||
		    (index == 0x12 && listed(list, 0x4b564d01)))
			continue;
		add(table, index);
	}
	for (size_t i = 0; i < sizeof(omitted) / sizeof(omitted[0]); i++)
		for (uint32_t index = omitted[i].first; index <= omitted[i].last; index++)
			add(table, index);
	if (banks) {
		add(table, MSR_MCG_STATUS);
		add(table, MSR_MCG_CTL);
		for (uint32_t i = 0; i < 4 * banks; i++)
			add(table, MSR_MC0_CTL + i);
	}
	qsort(table->msr, table->count, sizeof(table->msr[0]), by_writing_order);
	return table;
}

int msr_table_find(const struct msr_table *table, uint32_t index)
{
	for (unsigned int i = 0; i < table->count; i++)
		if (table->msr[i].index == index)
			return (int)i;
	return -1;
}

void msr_table_exclude(struct msr_table *table, uint32_t index)
{
	table->excluded = index;
}
