/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/cpu_host.h"
#include "tests/unit/suites.h"

/* The table of a vCPU. */

static struct fake_kvm *fake;
static struct kvm kvm;
static struct error err;
static struct cpu cpu;
static struct kvm_cpuid2 *table;
static struct cpu_topology topology;

static void open_host(void (*host)(struct fake_kvm *))
{
	fake = fake_kvm_new();
	host(fake);
	ck_assert_msg(kvm_open(&kvm, &fake_kvm_ops, fake, &err) == 0, "%s", err.text);
}

static void close_host(void)
{
	free(table);
	table = NULL;
	kvm_close(&kvm);
	fake_kvm_free(fake);
}

static void make(const char *model, const char *smp, uint32_t tsc_khz)
{
	struct cpu_config config;

	free(table);
	ck_assert_msg(cpu_model_parse(model, &config, &err) == 0, "%s", err.text);
	ck_assert_msg(cpu_topology_parse(smp, &topology, &err) == 0, "%s", err.text);
	ck_assert_int_eq(cpu_resolve(&config, &kvm, &cpu, &err), 0);
	table = cpuid_new(&kvm, &cpu, &topology, tsc_khz, &err);
	ck_assert_msg(table, "%s", err.text);
}

static void made_for(const char *model, const char *smp, void (*host)(struct fake_kvm *))
{
	open_host(host);
	make(model, smp, 0);
}

static const struct kvm_cpuid_entry2 *at(uint32_t leaf, uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, leaf, subleaf);

	ck_assert_msg(e, "0x%x.%u", leaf, subleaf);
	return e;
}

static void is(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
	       uint32_t edx)
{
	const struct kvm_cpuid_entry2 *e = at(leaf, subleaf);

	ck_assert_msg(e->eax == eax && e->ebx == ebx && e->ecx == ecx && e->edx == edx,
		      "0x%x.%u: %x %x %x %x", leaf, subleaf, e->eax, e->ebx, e->ecx, e->edx);
}

/* ---- all leaves ---- */

static const char *const all_models[] = {
	"host", "max", "base", "x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4",
	"host,vendor=AuthenticAMD", "host,vendor=GenuineIntel", "host,level=0xff,xlevel=0x800000ff",
	"host,level=1,xlevel=0x80000000", "host,-xsave,kvm=off", "x86-64-v4,+amx-tile,+intel-pt,pmu=on",
	"host,+topoext,+invtsc", "base,level=0xff,xlevel=0x800000ff",
};
#define MODELS (sizeof(all_models) / sizeof(all_models[0]))

/* What holds of every table: ascending, nothing twice, flags as the kernel wants them. */
START_TEST(tables_in_order)
{
	static const char *const machines[] = {
		"1", "6,sockets=2,threads=3", "1024,sockets=8,dies=2,cores=32,threads=2",
	};
	struct cpu_features shown;

	made_for(all_models[_i % MODELS], machines[_i / MODELS % 3],
		 _i / MODELS / 3 ? cpu_host_amd : cpu_host_intel);
	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i], *before = e - 1;
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (i)
			ck_assert_msg(e->function > before->function ||
				      (indexed && e->function == before->function &&
				       e->index > before->index), "0x%x.%u", e->function, e->index);
		ck_assert(indexed || !e->index);
		ck_assert_uint_eq(e->flags & KVM_CPUID_FLAG_STATEFUL_FUNC && e->function != 2, 0);
	}
	/* The kernel takes no more. */
	ck_assert_uint_le(table->nent, 256);
	is(0, 0, at(0, 0)->eax, at(0, 0)->ebx, at(0, 0)->ecx, at(0, 0)->edx);
	for (uint32_t i = 0; i < table->nent; i++) {
		uint32_t leaf = table->entries[i].function;

		if (leaf < 0x40000000)
			ck_assert_uint_le(leaf, at(0, 0)->eax);
		else if (leaf >= 0x80000000 && leaf < 0xc0000000)
			ck_assert_uint_le(leaf, at(0x80000000, 0)->eax);
	}
	/* Where a leaf is there, it says what was asked for. */
	cpu_features_of_table(&shown, table);
	for (unsigned int i = 0; i < CPU_WORD_COUNT; i++) {
		uint32_t machine = i == CPU_WORD_1_EDX ? 1U << 28 :
				   i == CPU_WORD_80000001_ECX ? 1U << 1 :
				   i == CPU_WORD_80000001_EDX ? CPU_AMD_REPEATED :
				   i == CPU_WORD_14_0_ECX ? ~0U : 0;

		if (cpuid_find(table, cpu_words[i].leaf, cpu_words[i].subleaf))
			ck_assert_msg((shown.word[i] & ~machine) == (cpu.on.word[i] & ~machine),
				      "0x%x: %x %x", cpu_words[i].leaf, shown.word[i], cpu.on.word[i]);
		else
			ck_assert_uint_eq(shown.word[i], 0);
	}
	close_host();
}
END_TEST

START_TEST(the_processor)
{
	made_for("host", "1", cpu_host_intel);
	is(0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69);
	is(1, 0, 0x000806f8, 0x00010800, 0xf7fa3203, 0x0f8bfbff);
	is(2, 0, 0x00feff01, 0xf0, 0, 0);
	ck_assert_uint_eq(at(2, 0)->flags, KVM_CPUID_FLAG_STATEFUL_FUNC);
	is(0xa, 0, 0x07300802, 0, 0, 0x603);
	is(7, 0, 2, 0xf1bf07ab, 0x1b415f6e, 0xbfd04410);
	is(7, 2, 0, 0, 0, 0x17);
	is(0x80000000, 0, 0x80000008, 0, 0, 0);
	is(0x80000001, 0, 0, 0, 0x121, 0x2c100800);
	is(0x80000006, 0, 0, 0, 0x08007040, 0);
	is(0x80000008, 0, 0x002e3934, 0x0100d000, 0, 0);
	/* Of features that are off nothing more is said; the name is that of who runs this. */
	ck_assert_ptr_null(cpuid_find(table, 0x14, 0));
	ck_assert_ptr_null(cpuid_find(table, 0x12, 0));
	is(0x1d, 1, 0x04002000, 0x00080040, 0x10, 0);
	make("x86-64-v3", "1", 0);
	is(7, 0, 0, 0x128, 0, 0);
	ck_assert_ptr_null(cpuid_find(table, 7, 1));
	make("host,-amx-tile,-la57,phys-bits=46,pmu=off,-ht", "1", 0);
	ck_assert_ptr_null(cpuid_find(table, 0x1d, 0));
	is(0x80000008, 0, 0x0000302e, 0x0100d000, 0, 0);
	is(0xa, 0, 0, 0, 0, 0);
	close_host();
}
END_TEST

START_TEST(signatures)
{
	static const struct {
		const char *model;
		uint32_t eax;
	} numbers[] = {
		{ "host,family=6,model=0x8f,stepping=8", 0x000806f8 },
		{ "host,family=0xf,model=6,stepping=1", 0x00000f61 },
		{ "host,family=0x17,model=0x31,stepping=0", 0x00830f10 },
		{ "host,family=270,model=255,stepping=15", 0x0fff0fff },
		{ "host,family=0,model=0,stepping=0", 0 },
	};
	char text[100];

	made_for(numbers[_i].model, "1", cpu_host_intel);
	ck_assert_uint_eq(at(1, 0)->eax, numbers[_i].eax);
	ck_assert_uint_eq(at(0x80000001, 0)->eax, 0);
	strcat(strcpy(text, numbers[_i].model), ",vendor=AuthenticAMD,xlevel=0x80000008");
	make(text, "1", 0);
	ck_assert_uint_eq(at(0x80000001, 0)->eax, numbers[_i].eax);
	/* And what a host says is taken apart as it was put together. */
	cpu_host_intel_with(fake, 1, 0, CPUID_REG_EAX, numbers[_i].eax);
	kvm_close(&kvm);
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), 0);
	make("host", "1", 0);
	ck_assert_uint_eq(at(1, 0)->eax, numbers[_i].eax);
	close_host();
}
END_TEST

START_TEST(names)
{
	char name[48];

	made_for("host,model-id=0123456789abcdef0123456789abcdef0123456789abcdef", "1", cpu_host_intel);
	for (uint32_t i = 0; i < 3; i++) {
		const struct kvm_cpuid_entry2 *e = at(0x80000002 + i, 0);

		memcpy(name + 16 * i, &e->eax, 16);
	}
	ck_assert_int_eq(memcmp(name, "0123456789abcdef0123456789abcdef0123456789abcdef", 48), 0);
	make("host,model-id=", "1", 0);
	is(0x80000002, 0, 0, 0, 0, 0);
	is(0x80000004, 0, 0, 0, 0, 0);
	make("x86-64-v3,vendor=abcdefghijkl", "1", 0);
	is(0, 0, 0xd, 0x64636261, 0x6c6b6a69, 0x68676665);
	close_host();
}
END_TEST

/* AMD's: leaf 1 twice, no leaves 2 and 4, caches elsewhere. */
START_TEST(amd)
{
	made_for("host", "4,sockets=2,cores=1,threads=2", cpu_host_amd);
	is(0x80000001, 0, 0x00a10f11, 0x40000000, 0x00c003f7, 0x2fd3fbff);
	is(0x80000000, 0, 0x80000022, 0x68747541, 0x444d4163, 0x69746e65);
	is(0x80000005, 0, 0xff48ff40, 0xff48ff40, 0x20080140, 0x20080140);
	is(0x80000008, 0, 0x00003034, 0x9111f205, 0x1001, 0);
	is(0x8000000a, 0, 1, 8, 0, 0x0119b4ff);
	is(0x8000001d, 0, 0x4121, 0x01c0003f, 0x3f, 0);
	is(0x8000001d, 3, 0x4163, 0x03c0003f, 0x7fff, 1);
	is(0x8000001d, 4, 0, 0, 0, 0);
	is(0x8000001f, 0, 0, 0, 0, 0);
	is(0x80000022, 0, 1, 6, 0, 0);
	is(2, 0, 0, 0, 0, 0);
	is(4, 0, 0, 0, 0, 0);
	make("host,-topoext,-svm,pmu=off,-sse2,-cmp-legacy", "2", 0);
	is(0x8000001d, 0, 0, 0, 0, 0);
	is(0x8000001e, 0, 0, 0, 0, 0);
	is(0x8000000a, 0, 0, 0, 0, 0);
	is(0x80000022, 0, 0, 0, 0, 0);
	ck_assert_uint_eq(at(1, 0)->edx & 1 << 26, 0);
	ck_assert_uint_eq(at(0x80000001, 0)->ecx & 2, 0);
	/* As such, what a host of Intel's lacks is made up. */
	kvm_close(&kvm);
	cpu_host_intel(fake);
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), 0);
	make("host,vendor=AuthenticAMD,xlevel=0x8000001e", "4,sockets=2", 0);
	is(0x80000005, 0, 0, 0, 0x20080140, 0x20080140);
	is(0x80000006, 0, 0, 0, 0x02006140, 0x00808140);
	is(0x8000001d, 0, 0x121, 0x01c0003f, 0x3f, 0);
	is(2, 0, 0, 0, 0, 0);
	ck_assert_ptr_null(cpuid_find(table, 0x1f, 0));
	kvm_close(&kvm);
	cpu_host_amd(fake);
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), 0);
	/* One alone is not many. */
	make("host", "1", 0);
	ck_assert_uint_eq(at(0x80000001, 0)->ecx & 2, 0);
	ck_assert_uint_eq(at(1, 0)->edx & 1 << 28, 0);
	ck_assert_uint_eq(at(0x80000008, 0)->ecx, 0);
	make("host,+ht,+cmp-legacy", "1", 0);
	ck_assert_uint_eq(at(0x80000001, 0)->ecx & 2, 2);
	ck_assert_uint_eq(at(1, 0)->edx & 1 << 28, 1 << 28);
	close_host();
}
END_TEST

/* ---- where it is ---- */

START_TEST(levels)
{
	made_for("host", "12,sockets=2,dies=1,cores=3,threads=2", cpu_host_intel);
	is(0xb, 0, 1, 2, 0x100, 0);
	is(0xb, 1, 3, 6, 0x201, 0);
	is(0xb, 2, 0, 0, 2, 0);
	is(0x1f, 0, 1, 2, 0x100, 0);
	is(0x1f, 1, 3, 6, 0x201, 0);
	is(0x1f, 2, 0, 0, 2, 0);
	/* The counts of ids, which have gaps. */
	ck_assert_uint_eq(at(1, 0)->ebx, 0x00080800);
	ck_assert_uint_eq(at(1, 0)->edx & 1 << 28, 1 << 28);
	ck_assert_uint_eq(at(4, 0)->eax, 0x0c004121);
	ck_assert_uint_eq(at(4, 3)->eax, 0x0c01c163);
	is(4, 4, 0, 0, 0, 0);

	make("host", "12,sockets=2,dies=3,cores=1,threads=2", 0);
	is(0xb, 1, 3, 6, 0x201, 0);
	is(0x1f, 1, 1, 2, 0x201, 0);
	is(0x1f, 2, 3, 6, 0x502, 0);
	is(0x1f, 3, 0, 0, 3, 0);
	ck_assert_uint_eq(at(4, 3)->eax, 0x0c004163);

	/* Dies are told of even by who would end before that leaf; not by AMD. */
	make("x86-64-v2", "4,dies=2", 0);
	ck_assert_uint_eq(at(0, 0)->eax, 0x1f);
	is(0x1f, 2, 2, 4, 0x502, 0);
	make("x86-64-v2,level=0xd", "4,dies=2", 0);
	ck_assert_uint_eq(at(0, 0)->eax, 0xd);
	make("x86-64-v2,vendor=AuthenticAMD", "4,dies=2", 0);
	ck_assert_uint_eq(at(0, 0)->eax, 0xd);
	/* More than the fields of old leaves hold. */
	make("x86-64-v2", "1024", 0);
	ck_assert_uint_eq(at(1, 0)->ebx >> 16, 255);
	ck_assert_uint_eq(at(4, 0)->eax >> 26, 63);
	ck_assert_uint_eq(at(4, 3)->eax >> 14 & 0xfff, 1023);
	make("x86-64-v2,vendor=AuthenticAMD", "1024", 0);
	ck_assert_uint_eq(at(0x80000008, 0)->ecx, 0xa0ff);
	close_host();
}
END_TEST

/* Every vCPU of odd machines, in every leaf that has its id. */
START_TEST(ids_in_leaves)
{
	static const char *const machines[] = {
		"1", "6,sockets=2,cores=3", "24,sockets=2,dies=2,cores=3,threads=2",
		"600,sockets=2,cores=100,threads=3",
	};

	made_for("host", machines[_i], cpu_host_intel);
	for (unsigned int i = 0; i < cpu_topology_cpus(&topology); i++) {
		uint32_t id = cpu_topology_apic_id(&topology, i);

		cpuid_set_vcpu(table, &cpu, &topology, i);
		ck_assert_uint_eq(at(1, 0)->ebx >> 24, id & 0xff);
		for (uint32_t subleaf = 0; subleaf < 3; subleaf++) {
			ck_assert_uint_eq(at(0xb, subleaf)->edx, id);
			ck_assert_uint_eq(at(0x1f, subleaf)->edx, id);
		}
	}
	make("x86-64-v1,vendor=AuthenticAMD", machines[_i], 0);
	for (unsigned int i = 0; i < cpu_topology_cpus(&topology); i++) {
		struct cpu_place place = cpu_topology_place(&topology, i);
		const struct kvm_cpuid_entry2 *e;

		cpuid_set_vcpu(table, &cpu, &topology, i);
		e = at(0x8000001e, 0);
		ck_assert_uint_eq(e->eax, cpu_topology_apic_id(&topology, i));
		ck_assert_uint_eq(e->ebx, (topology.threads - 1) << 8 | place.core);
		ck_assert_uint_eq(e->ecx, (topology.dies - 1) << 8 |
				  (place.socket * topology.dies + place.die));
	}
	close_host();
}
END_TEST

/* Caches that are not the host's: the same whatever the host has. */
START_TEST(caches)
{
	made_for("x86-64-v3", "8,sockets=2,threads=2", _i ? cpu_host_amd : cpu_host_intel);
	make("x86-64-v3,vendor=GenuineIntel", "8,sockets=2,threads=2", 0);
	is(2, 0, 0x0000ff01, 0, 0, 0);
	is(4, 0, 0x04004121, 0x01c0003f, 63, 0);
	is(4, 1, 0x04004122, 0x01c0003f, 63, 0);
	is(4, 2, 0x04004143, 0x01c0003f, 1023, 0);
	is(4, 3, 0x0400c163, 0x03c0003f, 16383, 0);
	is(4, 4, 0, 0, 0, 0);
	is(0x80000005, 0, 0, 0, 0, 0);
	is(0x80000006, 0, 0, 0, 0x02006040, 0);
	make("x86-64-v3,vendor=AuthenticAMD", "8,sockets=2,threads=2", 0);
	is(4, 0, 0, 0, 0, 0);
	is(0x80000005, 0, 0, 0, 0x20080140, 0x20080140);
	is(0x80000006, 0, 0, 0, 0x02006140, 0x00808140);
	is(0x8000001d, 2, 0x00004143, 0x01c0003f, 1023, 0);
	is(0x8000001d, 3, 0x0000c163, 0x03c0003f, 16383, 0);
	close_host();
}
END_TEST

/* ---- the XSAVE area ---- */

static const struct {
	const char *model;
	uint32_t user, size, supervisor;        /* EAX and ECX of subleaf 0, ECX of subleaf 1 */
	uint32_t compacted;                     /* EBX of subleaf 1 */
} areas[] = {
	{ "host", 0x602e7, 0x2b00, 0x1800, 576 },
	{ "host,-amx-tile", 0x2e7, 0xa88, 0x1800, 576 },
	{ "host,-amx-tile,-pku", 0xe7, 0xa80, 0x1800, 576 },
	{ "host,-amx-tile,-avx512f", 0x207, 0xa88, 0x1800, 576 },
	{ "host,-amx-tile,-avx", 0x203, 0xa88, 0x1800, 576 },
	{ "host,-amx-tile,-avx,-pku", 0x3, 576, 0x1800, 576 },
	{ "host,-ibt", 0x602e7, 0x2b00, 0, 576 },
	{ "host,-xsaves", 0x602e7, 0x2b00, 0, 576 },
	{ "host,-xsaves,-xsavec", 0x602e7, 0x2b00, 0, 0 },
	{ "x86-64-v3", 0x7, 0x340, 0, 0 },
	{ "x86-64-v4", 0xe7, 0xa80, 0, 576 },
	{ "x86-64-v3,-avx", 0x3, 576, 0, 0 },
};

START_TEST(sizes_of_areas)
{
	uint64_t on = areas[_i].user | areas[_i].supervisor;

	made_for(areas[_i].model, "1", cpu_host_intel);
	is(0xd, 0, areas[_i].user, 576, areas[_i].size, 0);
	is(0xd, 1, cpu.on.word[CPU_WORD_D_1_EAX], areas[_i].compacted, areas[_i].supervisor, 0);
	for (uint32_t i = 2; i < 64; i++)
		ck_assert((cpuid_find(table, 0xd, i) != NULL) == (on >> i & 1));
	is(0xd, 0, areas[_i].user, 576, areas[_i].size, 0);
	if (on >> 18 & 1)
		is(0xd, 18, 0x2000, 0xb00, 6, 0);
	close_host();
}
END_TEST

START_TEST(no_area)
{
	made_for("x86-64-v2", "1", cpu_host_intel);
	is(0xd, 0, 0, 0, 0, 0);
	ck_assert_ptr_null(cpuid_find(table, 0xd, 1));
	make("host,-xsave", "1", 0);
	is(0xd, 0, 0, 0, 0, 0);
	ck_assert_ptr_null(cpuid_find(table, 0xd, 2));
	/* A component that nobody here knows: as the host has it, but not without XSAVES. */
	kvm_close(&kvm);
	cpu_host_intel_with(fake, 0xd, 1, CPUID_REG_ECX, 0x3800);
	ck_assert_int_eq(kvm_open(&kvm, &fake_kvm_ops, fake, &err), 0);
	make("host", "1", 0);
	ck_assert_uint_eq(at(0xd, 1)->ecx, 0x3800);
	make("host,-xsaves", "1", 0);
	ck_assert_uint_eq(at(0xd, 1)->ecx, 0);
	make("x86-64-v4,+xsaves", "1", 0);
	ck_assert_uint_eq(at(0xd, 1)->ecx, 0);
	close_host();
}
END_TEST

/* Another host, where components lie elsewhere. */
START_TEST(areas_of_amd)
{
	made_for("host", "1", cpu_host_amd);
	is(0xd, 0, 0x2e7, 576, 0x988, 0);
	make("x86-64-v4", "1", 0);
	is(0xd, 0, 0xe7, 576, 0x980, 0);
	is(0xd, 7, 0x400, 0x580, 0, 0);
	close_host();
}
END_TEST

/* ---- the hypervisor, and time ---- */

START_TEST(leaves_of_kvm)
{
	made_for("host", "1", cpu_host_intel);
	is(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	is(0x40000001, 0, 0x01007efb, 0, 0, 0);
	ck_assert_ptr_null(cpuid_find(table, 0x40000010, 0));
	make("host,-kvmclock,+kvm-hint-dedicated", "1", 0);
	is(0x40000001, 0, 0x00007ef2, 0, 0, 1);
	make("host,kvm=off", "1", 0);
	ck_assert_ptr_null(cpuid_find(table, 0x40000000, 0));
	ck_assert_ptr_null(cpuid_find(table, 0x40000001, 0));
	ck_assert_uint_eq(at(1, 0)->ecx >> 31, 1);
	make("host,-hypervisor", "1", 0);
	ck_assert_uint_eq(at(1, 0)->ecx >> 31, 0);
	close_host();
}
END_TEST

static const struct {
	const char *model;
	uint32_t khz, eax, ebx;         /* of leaf 0x15; 0: not there */
	bool timing;
} times[] = {
	{ "host", 2500000, 2, 5, false },
	{ "host", 0, 0, 0, false },
	{ "host,+invtsc", 2100000, 10, 21, true },
	{ "host,tsc-frequency=1G", 1000000, 1, 1, true },
	{ "host,tsc-frequency=1G,vmware-cpuid-freq=off", 1000000, 1, 1, false },
	{ "host,tsc-frequency=1G,kvm=off", 1000000, 1, 1, false },
	{ "host,tsc-frequency=1G,vendor=AuthenticAMD", 1000000, 0, 0, true },
	{ "x86-64-v2", 2500000, 0, 0, false },
	{ "x86-64-v2,tsc-frequency=800M", 800000, 5, 4, true },
	/* Not to be had with numbers so small: as near as it gets. */
	{ "host", 2699998, 10, 27, false },
	{ "host", 2095078, 779, 1632, false },
	{ "host", 4294967, 1, 4, false },
	{ "host", 5000000, 1, 5, false },
	{ "host", 1, 1000000, 1, false },
};

START_TEST(frequencies)
{
	open_host(cpu_host_intel);
	make(times[_i].model, "1", times[_i].khz);
	if (times[_i].eax) {
		const struct kvm_cpuid_entry2 *e = at(0x15, 0);

		ck_assert_uint_eq(e->ecx, 1000000000);
		/* Within a millionth, and Linux can multiply it. */
		ck_assert_msg(times[_i].khz < 1000 || times[_i].khz == 4294967 ||
			      labs((long)(1000000UL * e->ebx / e->eax) - (long)times[_i].khz) <=
			      (long)(times[_i].khz / 1000000 + 1), "%u / %u", e->ebx, e->eax);
		ck_assert_uint_le((uint64_t)e->ebx * 1000000, UINT32_MAX);
		if (_i != 10 && _i != 11 && _i != 12)
			is(0x15, 0, times[_i].eax, times[_i].ebx, 1000000000, 0);
	} else if (cpuid_find(table, 0x15, 0)) {
		is(0x15, 0, 0, 0, 0, 0);
	}
	ck_assert((cpuid_find(table, 0x40000010, 0) != NULL) == times[_i].timing);
	if (times[_i].timing) {
		is(0x40000010, 0, times[_i].khz, 1000000, 0, 0);
		ck_assert_uint_eq(at(0x40000000, 0)->eax, 0x40000010);
	}
	if (times[_i].timing || times[_i].eax)
		ck_assert(cpuid_wants_tsc_khz(&cpu));
	close_host();
}
END_TEST

/* Of what the kernel would only say itself nobody needs to know the frequency. */
START_TEST(frequencies_that_nobody_needs)
{
	open_host(cpu_host_amd);
	make("host", "1", 0);
	ck_assert(!cpuid_wants_tsc_khz(&cpu));
	make("x86-64-v3", "1", 0);
	ck_assert(!cpuid_wants_tsc_khz(&cpu));
	make("host,+invtsc", "1", 0);
	ck_assert(cpuid_wants_tsc_khz(&cpu));
	close_host();
}
END_TEST

/* ---- what the kernel makes of it ---- */

static struct kvm_cpuid2 *copy(void)
{
	size_t size = sizeof(*table) + (table->nent + 1) * sizeof(table->entries[0]);
	struct kvm_cpuid2 *other = calloc(1, size);

	memcpy(other, table, size - sizeof(table->entries[0]));
	return other;
}

static struct kvm_cpuid_entry2 *in(struct kvm_cpuid2 *other, uint32_t leaf, uint32_t subleaf)
{
	return &other->entries[cpuid_find(other, leaf, subleaf) - other->entries];
}

START_TEST(what_the_kernel_keeps_up_to_date)
{
	struct kvm_cpuid2 *now;

	made_for("host", "1", cpu_host_intel);
	now = copy();
	cpu_log_keep(true);
	cpuid_log_changes(0, table, now, LOG_LEVEL_WARNING, NULL);
	ck_assert_str_eq(cpu_logged(), "");
	in(now, 1, 0)->ecx |= 1 << 27;
	in(now, 1, 0)->edx &= ~(1U << 9);
	in(now, 7, 0)->ecx |= 1 << 4;
	in(now, 0xd, 0)->ebx = 0xa88;
	in(now, 0x40000001, 0)->eax &= ~(1U << 7);
	cpuid_log_changes(3, table, now, LOG_LEVEL_WARNING, NULL);
	ck_assert_str_eq(cpu_logged(),
		"vCPU 3: KVM has changed CPUID 0x1.0 ECX from 0xf7fa3203 to 0xfffa3203; "
		"on: 0x1 ECX bit 27\n"
		"vCPU 3: KVM has changed CPUID 0x1.0 EDX from 0xf8bfbff to 0xf8bf9ff; off: apic\n"
		"vCPU 3: KVM has changed CPUID 0x7.0 ECX from 0x1b415f6e to 0x1b415f7e; "
		"on: 0x7 ECX bit 4\n"
		"vCPU 3: KVM has changed CPUID 0xd.0 EBX from 0x240 to 0xa88\n"
		"vCPU 3: KVM has changed CPUID 0x40000001.0 EAX from 0x1007efb to 0x1007e7b; "
		"off: kvm-pv-unhalt\n");
	/* None of that is a warning. */
	cpu_log_keep(false);
	cpuid_log_changes(3, table, now, LOG_LEVEL_WARNING, NULL);
	ck_assert_str_eq(cpu_logged(), "");
	free(now);
	close_host();
}
END_TEST

START_TEST(what_the_kernel_should_not_change)
{
	struct cpuid_changes told = { .nr = 0 };
	struct kvm_cpuid2 *now;

	made_for("host,-avx2", "1", cpu_host_intel);
	now = copy();
	in(now, 7, 0)->ebx |= 1 << 5;
	in(now, 7, 0)->ebx &= ~(1U << 8);
	in(now, 0x16, 0)->eax = 1;
	cpu_log_keep(false);
	cpuid_log_changes(0, table, now, LOG_LEVEL_WARNING, &told);
	ck_assert_str_eq(cpu_logged(), "vCPU 0: KVM has changed CPUID in 2 places; on, though not "
			 "asked for: avx2; off, though asked for: bmi2\n");
	/* Not again for another one of which it is the same; but if it is not. */
	cpuid_log_changes(1, table, now, LOG_LEVEL_WARNING, &told);
	ck_assert_str_eq(cpu_logged(), "");
	in(now, 7, 0)->ebx |= 1 << 8;
	cpuid_log_changes(2, table, now, LOG_LEVEL_WARNING, &told);
	ck_assert_str_eq(cpu_logged(), "vCPU 2: KVM has changed CPUID in 2 places; on, though not "
			 "asked for: avx2\n");
	cpuid_log_changes(2, table, now, LOG_LEVEL_DEBUG, NULL);
	ck_assert_str_eq(cpu_logged(), "");

	/* Entries that go, come, or lose their flags. */
	free(now);
	now = copy();
	cpu_log_keep(true);
	in(now, 0x1f, 2)->index = 9;
	in(now, 0xb, 1)->flags = 0;
	now->entries[now->nent++].function = 0x99;
	cpuid_log_changes(0, table, now, LOG_LEVEL_WARNING, NULL);
	ck_assert_str_eq(cpu_logged(), "vCPU 0: KVM has changed CPUID in 4 places\n"
			 "vCPU 0: KVM has changed the flags of CPUID 0xb.1\n"
			 "vCPU 0: KVM has dropped CPUID 0x1f.2\n"
			 "vCPU 0: KVM has added CPUID 0x1f.9\n"
			 "vCPU 0: KVM has added CPUID 0x99.0\n");
	free(now);
	close_host();
}
END_TEST

Suite *cpuid_suite(void)
{
	Suite *s = suite_create("cpuid");
	TCase *leaves = tcase_create("leaves"), *place = tcase_create("place");
	TCase *area = tcase_create("area"), *kernel = tcase_create("kernel");

	tcase_add_loop_test(leaves, tables_in_order, 0, (int)MODELS * 6);
	tcase_add_test(leaves, the_processor);
	tcase_add_loop_test(leaves, signatures, 0, 5);
	tcase_add_test(leaves, names);
	tcase_add_test(leaves, amd);
	tcase_add_test(leaves, leaves_of_kvm);
	tcase_add_loop_test(leaves, frequencies, 0, (int)(sizeof(times) / sizeof(times[0])));
	tcase_add_test(leaves, frequencies_that_nobody_needs);
	suite_add_tcase(s, leaves);
	tcase_add_test(place, levels);
	tcase_add_loop_test(place, ids_in_leaves, 0, 4);
	tcase_add_loop_test(place, caches, 0, 2);
	suite_add_tcase(s, place);
	tcase_add_loop_test(area, sizes_of_areas, 0, (int)(sizeof(areas) / sizeof(areas[0])));
	tcase_add_test(area, no_area);
	tcase_add_test(area, areas_of_amd);
	suite_add_tcase(s, area);
	tcase_add_test(kernel, what_the_kernel_keeps_up_to_date);
	tcase_add_test(kernel, what_the_kernel_should_not_change);
	suite_add_tcase(s, kernel);
	return s;
}
