/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/cpu_host.h"
#include "tests/unit/suites.h"

/* What is asked for of a processor, and what comes of it on a host. */

static struct fake_kvm *fake;
static struct kvm kvm;
static struct error err;

static void open_host(void (*host)(struct fake_kvm *))
{
	fake = fake_kvm_new();
	if (host)
		host(fake);
	ck_assert_msg(kvm_open(&kvm, &fake_kvm_ops, fake, &err) == 0, "%s", err.text);
	cpu_log_keep(true);
}

static void close_host(void)
{
	kvm_close(&kvm);
	ck_assert_str_eq(fake_kvm_violations(fake), "");
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	fake_kvm_free(fake);
}

static struct cpu_config parsed(const char *text)
{
	struct cpu_config config;

	ck_assert_msg(cpu_model_parse(text, &config, &err) == 0, "%s: %s", text, err.text);
	return config;
}

static struct cpu resolved(const char *text)
{
	struct cpu_config config = parsed(text);
	struct cpu cpu;

	ck_assert_msg(cpu_resolve(&config, &kvm, &cpu, &err) == 0, "%s: %s", text, err.text);
	return cpu;
}

/* ---- text ---- */

static const struct {
	const char *text, *error;
} bad[] = {
	{ "", "'' is no model; there are host, max, base, x86-64-v1, x86-64-v2, x86-64-v3, x86-64-v4" },
	{ "Host", "'Host' is no model; there are host, max, base, x86-64-v1, x86-64-v2, x86-64-v3, "
	  "x86-64-v4" },
	{ "host,", "'' is neither a feature nor a property" },
	{ "host,+", "'' is neither a feature nor a property" },
	{ "host,+bogus-feature", "'bogus-feature' is neither a feature nor a property" },
	{ "host,-axv2", "'axv2' is neither a feature nor a property; did you mean avx?" },
	{ "host,famly=6", "'famly' is neither a feature nor a property; did you mean family?" },
	{ "host,+pmux", "'pmux' is neither a feature nor a property; did you mean pmu?" },
	{ "host,+vendor", "vendor: needs a value: 12 characters" },
	{ "host,+avx2=on", "'avx2=on' is neither a feature nor a property" },
	{ "host,avx2=maybe", "avx2: must be on or off, not 'maybe'" },
	{ "host,avx2=", "avx2: must be on or off, not ''" },
	{ "host,pmu=1", "pmu: must be on or off, not '1'" },
	{ "host,family", "family: needs a value: 0 to 270" },
	{ "host,vendor", "vendor: needs a value: 12 characters" },
	{ "host,family=271", "family: must be a number from 0 to 270, not '271'" },
	{ "host,family=-1", "family: must be a number from 0 to 270, not '-1'" },
	{ "host,family=6x", "family: must be a number from 0 to 270, not '6x'" },
	{ "host,family= 6", "family: must be a number from 0 to 270, not ' 6'" },
	{ "host,family=0x", "family: must be a number from 0 to 270, not '0x'" },
	{ "host,family=9999999999999999999", "family: must be a number from 0 to 270, not "
	  "'9999999999999999999'" },
	{ "host,model=256", "model: must be a number from 0 to 255, not '256'" },
	{ "host,stepping=16", "stepping: must be a number from 0 to 15, not '16'" },
	{ "host,phys-bits=31", "phys-bits: must be a number from 32 to 52, not '31'" },
	{ "host,phys-bits=53", "phys-bits: must be a number from 32 to 52, not '53'" },
	{ "host,level=0", "level: must be a number from 0x1 to 0xff, not '0'" },
	{ "host,level=0x100", "level: must be a number from 0x1 to 0xff, not '0x100'" },
	{ "host,xlevel=8", "xlevel: must be a number from 0x80000000 to 0x800000ff, not '8'" },
	{ "host,tsc-frequency=999999",
	  "tsc-frequency: must be a number from 1000000 to 4294967295000, not '999999'" },
	{ "host,tsc-frequency=5000G",
	  "tsc-frequency: must be a number from 1000000 to 4294967295000, not '5000G'" },
	/* A multiple of 2^64, nearly. */
	{ "host,tsc-frequency=18446744075G", "tsc-frequency: must be a number from 1000000 to "
	  "4294967295000, not '18446744075G'" },
	{ "host,tsc-frequency=2T",
	  "tsc-frequency: must be a number from 1000000 to 4294967295000, not '2T'" },
	{ "host,phys-bits=40M", "phys-bits: must be a number from 32 to 52, not '40M'" },
	{ "host,vendor=GenuineIntl", "vendor: must have 12 characters, not 11" },
	{ "host,vendor=GenuineIntel!", "vendor: must have 12 characters, not 13" },
	{ "host,vendor=Genuine\nntel", "vendor: must consist of printable ASCII characters" },
	{ "host,model-id=a\x7f", "model-id: must consist of printable ASCII characters" },
	{ "host,model-id=\xc3\xa4", "model-id: must consist of printable ASCII characters" },
	{ "host,model-id=0123456789012345678901234567890123456789012345678",
	  "model-id: must have at most 48 characters, not 49" },
	{ "host,a-part-that-is-longer-than-any-that-could-mean-something-0123456789012345678901234567890"
	  "12345678901234567890123456789012345678901234567890",
	  "'a-part-that-is-longer-than-any-that-coul...' is too long" },
};

START_TEST(text_that_is_refused)
{
	struct cpu_config config;

	ck_assert_int_eq(cpu_model_parse(bad[_i].text, &config, &err), -1);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_str_eq(err.text, bad[_i].error);
}
END_TEST

START_TEST(text_that_is_taken)
{
	struct cpu_config c = parsed("x86-64-v3,+avx512f,-avx2,sse4_1=off,pdpe1gb,kvm_pv_eoi=no,"
				     "vendor=SomebodyElse,family=0x17,model=255,stepping=15,"
				     "model-id=a,, b=c,phys-bits=46,host-phys-bits=on,level=0x16,"
				     "xlevel=0x80000008,kvm=off,tsc-frequency=2500M,enforce,pmu,"
				     "vmware-cpuid-freq=off,migratable=false");

	ck_assert_str_eq(c.model->name, "x86-64-v3");
	ck_assert(cpu_features_has(&c.plus, CPU_AVX512F) && cpu_features_has(&c.plus, CPU_PDPE1GB));
	ck_assert(cpu_features_has(&c.minus, CPU_AVX2) && cpu_features_has(&c.minus, CPU_SSE4_1));
	ck_assert(cpu_features_has(&c.minus, CPU_KVM_PV_EOI));
	ck_assert_str_eq(c.vendor, "SomebodyElse");
	ck_assert_int_eq(c.family, 0x17);
	ck_assert_int_eq(c.model_number, 255);
	ck_assert_int_eq(c.stepping, 15);
	ck_assert(c.has_model_id);
	ck_assert_str_eq(c.model_id, "a, b=c");
	ck_assert_uint_eq(c.phys_bits, 46);
	ck_assert_int_eq(c.host_phys_bits, 1);
	ck_assert_uint_eq(c.level, 0x16);
	ck_assert_uint_eq(c.xlevel, 0x80000008);
	ck_assert_uint_eq(c.tsc_frequency, 2500000000);
	ck_assert(!c.kvm && c.enforce && c.pmu == 1 && !c.vmware_cpuid_freq && !c.migratable);

	/* What comes later wins. */
	c = parsed("host,-pmu,+avx,-avx,-sse,sse=on,family=6,family=7,model-id=");
	ck_assert(cpu_features_has(&c.minus, CPU_AVX) && !cpu_features_has(&c.plus, CPU_AVX));
	ck_assert(cpu_features_has(&c.plus, CPU_SSE) && !cpu_features_has(&c.minus, CPU_SSE));
	ck_assert_int_eq(c.family, 7);
	ck_assert_int_eq(c.pmu, 0);
	ck_assert(c.has_model_id && !*c.model_id);

	/* As it is when nothing is said. */
	c = parsed("host");
	ck_assert(cpu_features_empty(&c.plus) && cpu_features_empty(&c.minus));
	ck_assert(c.kvm && c.vmware_cpuid_freq && c.migratable && !c.enforce && c.pmu == -1);
	ck_assert(c.family == -1 && c.model_number == -1 && c.stepping == -1 && !*c.vendor);
}
END_TEST

/* ---- what comes of it ---- */

START_TEST(the_host_itself)
{
	struct cpu cpu;
	struct cpu_features all;

	open_host(_i ? cpu_host_amd : cpu_host_intel);
	cpu = resolved("host");
	ck_assert_int_eq(cpu_check(&cpu, &err), 0);
	ck_assert_str_eq(cpu_logged(), "");
	ck_assert_str_eq(cpu.vendor, _i ? "AuthenticAMD" : "GenuineIntel");
	ck_assert_uint_eq(cpu.family, _i ? 25 : 6);
	ck_assert_uint_eq(cpu.model_number, _i ? 17 : 143);
	ck_assert_uint_eq(cpu.stepping, _i ? 1 : 8);
	ck_assert_uint_eq(cpu.phys_bits, 52);
	ck_assert_uint_eq(cpu.level, _i ? 0x10 : 0x20);
	ck_assert_uint_eq(cpu.xlevel, _i ? 0x80000022 : 0x80000008);
	ck_assert(cpu.pmu);
	ck_assert(cpu_features_empty(&cpu.missing) && cpu_features_empty(&cpu.orphaned));

	/* All that it has, but for a promise that no other host keeps. */
	ck_assert_int_eq(cpu_host_features(&kvm, false, &all, &err), 0);
	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		bool on = cpu_features_has(&all, i) && i != CPU_INVTSC && i != CPU_HT &&
			  i != CPU_CMP_LEGACY && i != CPU_KVM_HINT_DEDICATED &&
			  (i != CPU_TOPOEXT || _i);

		ck_assert_msg(cpu_features_has(&cpu.on, i) == on, "%s", cpu_feature_name(i));
	}
	ck_assert(cpu_features_has(&cpu.on, CPU_HYPERVISOR));
	ck_assert(cpu_features_has(&cpu.on, CPU_TSC_DEADLINE));
	/* Bits without names go along; those of the guest's own operating system do not. */
	ck_assert_uint_eq(cpu.on.word[CPU_WORD_80000008_EBX], _i ? 0x9111f205 : 0x0100d000);
	ck_assert_uint_eq(cpu.on.word[CPU_WORD_1_ECX] & 1 << 27, 0);
	ck_assert_uint_eq(cpu.on.word[CPU_WORD_7_0_ECX] & 1 << 4, 0);

	cpu = resolved("host,migratable=off");
	ck_assert(cpu_features_has(&cpu.on, CPU_INVTSC));
	cpu = resolved("host,+invtsc,+kvm-hint-dedicated");
	ck_assert(cpu_features_has(&cpu.on, CPU_INVTSC));
	ck_assert(cpu_features_has(&cpu.on, CPU_KVM_HINT_DEDICATED));
	close_host();
}
END_TEST

START_TEST(what_kvm_emulates)
{
	struct cpu cpu;

	open_host(cpu_host_intel);
	fake_kvm_set_emulated_cpuid(fake, &(struct kvm_cpuid_entry2) {
		.function = 0x1, .ecx = 1 << 3 }, 1);
	cpu = resolved("host,+monitor");
	ck_assert(!cpu_features_has(&cpu.on, CPU_MONITOR));
	ck_assert(cpu_features_has(&cpu.missing, CPU_MONITOR));
	cpu = resolved("max");
	ck_assert(cpu_features_has(&cpu.on, CPU_MONITOR) && cpu_features_has(&cpu.on, CPU_AVX512F));
	close_host();

	/* KVM does not tell. */
	open_host(cpu_host_intel);
	fake_kvm_set_cap(fake, KVM_CAP_EXT_EMUL_CPUID, 0);
	resolved("max");
	ck_assert_uint_eq(kvm_emulated_cpuid(&kvm, &err)->nent, 0);
	ck_assert_uint_eq(fake_kvm_count_request(fake, 0, FAKE_ANY, KVM_GET_EMULATED_CPUID), 0);
	close_host();
}
END_TEST

/* Levels of x86-64 as the ABI has them: each bit that it names, and no other of the kind. */
START_TEST(levels_of_x86_64)
{
	static const uint16_t of_level[4][12] = {
		{ CPU_CMOV, CPU_CX8, CPU_FPU, CPU_FXSR, CPU_MMX, CPU_SYSCALL, CPU_SSE, CPU_SSE2 },
		{ CPU_CX16, CPU_LAHF_LM, CPU_POPCNT, CPU_PNI, CPU_SSE4_1, CPU_SSE4_2, CPU_SSSE3 },
		{ CPU_AVX, CPU_AVX2, CPU_BMI1, CPU_BMI2, CPU_F16C, CPU_FMA, CPU_ABM, CPU_MOVBE,
		  CPU_XSAVE },
		{ CPU_AVX512F, CPU_AVX512BW, CPU_AVX512CD, CPU_AVX512DQ, CPU_AVX512VL },
	};
	static const uint16_t nobody[] = {
		CPU_AES, CPU_PCLMULQDQ, CPU_VMX, CPU_SVM, CPU_PCID, CPU_SHA_NI, CPU_AVX512VNNI,
		CPU_AMX_TILE, CPU_INVTSC, CPU_LA57, CPU_RDRAND, CPU_XSAVES, CPU_PKU, CPU_MONITOR,
	};
	char name[] = "x86-64-v1,enforce";
	struct cpu cpu;

	open_host(_i ? cpu_host_amd : cpu_host_intel);
	for (unsigned int level = 0; level < 4; level++) {
		name[8] = (char)('1' + level);
		cpu = resolved(name);
		ck_assert_msg(cpu_check(&cpu, &err) == 0, "%s", err.text);
		ck_assert_str_eq(cpu_logged(), "");
		for (unsigned int other = 0; other < 4; other++)
			for (unsigned int i = 0; i < 12 && (i == 0 || of_level[other][i]); i++)
				ck_assert(cpu_features_has(&cpu.on, of_level[other][i]) ==
					  (other <= level));
		for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++)
			ck_assert(!cpu_features_has(&cpu.on, nobody[i]));
		ck_assert(cpu_features_has(&cpu.on, CPU_KVMCLOCK));
		ck_assert(cpu_features_has(&cpu.on, CPU_TOPOEXT) == _i);
		ck_assert_uint_eq(cpu.phys_bits, 40);
		ck_assert_uint_eq(cpu.level, 0xd);
		ck_assert_uint_eq(cpu.xlevel, _i ? 0x8000001e : 0x80000008);
		ck_assert(!cpu.pmu);
		name[9] = '\0';
		ck_assert(strstr(cpu.model_id, name) == cpu.model_id);
		name[9] = ',';
	}
	close_host();
}
END_TEST

/* A host without paravirtual features is none to complain of. */
START_TEST(what_is_only_wanted)
{
	struct cpu cpu;

	open_host(NULL);
	cpu_host_intel_with(fake, 0x40000001, 0, CPUID_REG_EAX, 1 << 6);
	cpu = resolved("x86-64-v4,enforce");
	ck_assert_msg(cpu_check(&cpu, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(cpu.on.word[CPU_WORD_40000001_EAX], 1 << 6);
	cpu = resolved("x86-64-v4,-kvm-pv-eoi");
	ck_assert_uint_eq(cpu.on.word[CPU_WORD_40000001_EAX], 0);
	cpu = resolved("x86-64-v4,+kvmclock");
	ck_assert(cpu_features_has(&cpu.missing, CPU_KVMCLOCK));
	close_host();
	/* What belongs to a level is another matter. */
	open_host(NULL);
	cpu_host_intel_with(fake, 1, 0, CPUID_REG_ECX, 0x0000fe03);
	cpu = resolved("x86-64-v2");
	ck_assert_int_eq(cpu_check(&cpu, &err), 0);
	ck_assert_str_eq(cpu_logged(), "this host's KVM lacks features of the processor asked for: "
			 "sse4.1, sse4.2, x2apic, popcnt\n");
	close_host();
}
END_TEST

static const struct {
	const char *model, *logged, *error;
} wishes[] = {
	{ "host,+svm", "this host's KVM lacks features of the processor asked for: svm\n", NULL },
	{ "host,+svm,+npt,enforce", "",
	  "this host's KVM lacks features of the processor asked for: svm, npt" },
	{ "x86-64-v2,+svm,+xop,enforce=off",
	  "this host's KVM lacks features of the processor asked for: svm, xop\n", NULL },
	/* Asked for, but it can not be: a warning that names both. */
	{ "x86-64-v2,+avx2", "avx2 is off, because it needs avx\n", NULL },
	{ "x86-64-v2,+avx2,enforce", "", "avx2 is off, because it needs avx" },
	{ "host,-avx,+fma,+avx2", "fma, avx2 are off, because fma needs avx, and so on\n"
	  "f16c, avx512f, avx512dq, avx512ifma, avx512cd, avx512bw, avx512vl, avx512vbmi, avx512vbmi2, "
	  "vaes, vpclmulqdq, avx512vnni, avx512bitalg, avx512-vpopcntdq, avx512-fp16, avx-vnni, "
	  "avx512-bf16 are off, because f16c needs avx, and so on\n", NULL },
	/* Nobody asked: for those who want to know. */
	{ "host,-pcid,enforce", "invpcid is off, because it needs pcid\n", NULL },
	{ "x86-64-v3,-xsave", "fma, avx, f16c, avx2, xsaveopt are off, because avx needs xsave, and so "
	  "on\n", NULL },
	{ "host,-avx2,-cx16", NULL, NULL },
	{ "host,kvm=off", "", NULL },
	{ "host,kvm=off,+kvm-pv-eoi", "kvm-pv-eoi is off, because kvm is off\n", NULL },
	{ "host,kvm=off,+kvm-pv-eoi,enforce", "", "kvm-pv-eoi is off, because kvm is off" },
};

START_TEST(wishes_that_do_not_come_true)
{
	struct cpu cpu;
	const char *logged;
	int rc;

	open_host(cpu_host_intel);
	cpu = resolved(wishes[_i].model);
	rc = cpu_check(&cpu, &err);
	ck_assert_int_eq(rc, wishes[_i].error ? -1 : 0);
	logged = cpu_logged();
	if (wishes[_i].error)
		ck_assert_str_eq(err.text, wishes[_i].error);
	if (!wishes[_i].logged)
		ck_assert_ptr_nonnull(strstr(logged, "needs avx2"));
	else
		ck_assert_str_eq(logged, wishes[_i].logged);
	close_host();
}
END_TEST

START_TEST(performance_counters)
{
	struct cpu cpu;

	open_host(_i ? cpu_host_amd : cpu_host_intel);
	cpu = resolved("host");
	ck_assert(cpu.pmu && cpu_features_has(&cpu.on, CPU_PERFCTR_CORE) == _i);
	cpu = resolved("host,pmu=off");
	ck_assert(!cpu.pmu && !cpu_features_has(&cpu.on, CPU_PERFCTR_CORE));
	ck_assert(cpu_features_empty(&cpu.missing));
	close_host();
}
END_TEST

START_TEST(identity_and_addresses)
{
	struct cpu cpu;

	open_host(cpu_host_intel);
	cpu = resolved("host,vendor=HygonGenuine,family=24,model=2,stepping=3,model-id=Some name");
	ck_assert_str_eq(cpu.vendor, "HygonGenuine");
	ck_assert(cpu_is_amd(&cpu));
	ck_assert_uint_eq(cpu.family, 24);
	ck_assert_uint_eq(cpu.model_number, 2);
	ck_assert_uint_eq(cpu.stepping, 3);
	ck_assert_str_eq(cpu.model_id, "Some name");
	cpu = resolved("x86-64-v2,vendor=AuthenticAMD");
	ck_assert(cpu_features_has(&cpu.on, CPU_TOPOEXT));
	ck_assert_uint_eq(resolved("x86-64-v2").family, 15);
	ck_assert_uint_eq(resolved("x86-64-v2,vendor=AuthenticAMD").family, 0x17);
	ck_assert_uint_eq(resolved("x86-64-v2,vendor=HygonGenuine").family, 0x18);

	ck_assert_uint_eq(resolved("host,phys-bits=44").phys_bits, 44);
	ck_assert_uint_eq(resolved("host,host-phys-bits=off").phys_bits, 40);
	ck_assert_uint_eq(resolved("x86-64-v2,host-phys-bits=on").phys_bits, 52);
	ck_assert_uint_eq(resolved("x86-64-v2,host-phys-bits=on,phys-bits=48").phys_bits, 48);
	ck_assert_uint_eq(resolved("x86-64-v2,tsc-frequency=2G").level, 0x15);
	ck_assert_uint_eq(resolved("x86-64-v2,tsc-frequency=2G,level=0xb").level, 0xb);
	ck_assert_uint_eq(resolved("x86-64-v2,tsc-frequency=2G,vendor=AuthenticAMD").level, 0xd);
	ck_assert_uint_eq(resolved("x86-64-v2,xlevel=0x80000004").xlevel, 0x80000004);
	ck_assert_uint_eq(resolved("x86-64-v4,+amx-tile").level, 0x1e);
	close_host();

	/* A host with less than the baseline would like. */
	open_host(NULL);
	cpu_host_intel_with(fake, 0x80000008, 0, CPUID_REG_EAX, 0x3027);
	ck_assert_uint_eq(resolved("x86-64-v2").phys_bits, 39);
	close_host();
	/* And one that says nothing at all. */
	open_host(NULL);
	fake_kvm_set_cpuid(fake, (struct kvm_cpuid_entry2[1]) { { 0 } }, 0);
	cpu = resolved("host");
	ck_assert_str_eq(cpu.vendor, "");
	ck_assert_uint_eq(cpu.phys_bits, 36);
	close_host();
}
END_TEST

START_TEST(one_beside_another)
{
	static const struct {
		const char *a, *b;
		enum cpu_comparison result;
	} pairs[] = {
		{ "host", "host", CPU_IDENTICAL },
		{ "host", "host,migratable=off", CPU_SUBSET },
		{ "host,migratable=off", "host", CPU_SUPERSET },
		{ "host", "x86-64-v4", CPU_SUPERSET },
		{ "x86-64-v2", "x86-64-v3", CPU_SUBSET },
		{ "x86-64-v3,-cx16", "x86-64-v2", CPU_INCOMPATIBLE },
		{ "host", "host,vendor=AuthenticAMD", CPU_INCOMPATIBLE },
		{ "host", "host,phys-bits=46", CPU_SUPERSET },
		{ "host,phys-bits=46", "host", CPU_SUBSET },
		{ "host,phys-bits=46", "host,-avx", CPU_INCOMPATIBLE },
		{ "host", "host,model-id=x", CPU_SUPERSET },
		{ "host", "host,family=5", CPU_SUPERSET },
		{ "host", "host,enforce", CPU_IDENTICAL },
		{ "x86-64-v2", "base,+svm", CPU_INCOMPATIBLE },
	};
	struct cpu a, b;

	open_host(cpu_host_intel);
	a = resolved(pairs[_i].a);
	b = resolved(pairs[_i].b);
	/* "base" has nothing, but what is missing is not there either. */
	if (_i == 13)
		ck_assert_int_eq(cpu_compare(&a, &b), CPU_SUPERSET);
	else
		ck_assert_int_eq(cpu_compare(&a, &b), pairs[_i].result);
	ck_assert_str_eq(cpu_comparison_name(CPU_SUBSET), "subset");
	close_host();
}
END_TEST

/* What is told of a processor, given back as properties of one without any, makes it again. */
START_TEST(properties_make_it_again)
{
	static const char *const models[] = {
		"host", "max", "x86-64-v3,+aes", "host,-avx,phys-bits=45,kvm=off,tsc-frequency=1G",
		"x86-64-v2,vendor=AuthenticAMD,model-id=x,pmu=on,enforce",
	};
	struct cpu cpu, again;
	struct cpu_config config;
	char number[32];

	open_host(cpu_host_intel);
	cpu = resolved(models[_i]);
	ck_assert_int_eq(cpu_config_init(&config, "base", &err), 0);
	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (cpu_features_has(&cpu.on, i))
			ck_assert_int_eq(cpu_config_set(&config, cpu_feature_name(i), "on", &err), 0);
	for (unsigned int i = 0; cpu_property_at(i); i++) {
		const struct cpu_property *p = cpu_property_at(i);
		struct cpu_value value = cpu_property_value(&cpu, p);
		const char *text = value.on ? "on" : "off";

		if (p->type == CPU_PROPERTY_NUMBER && !value.number)
			continue;
		snprintf(number, sizeof(number), "%llu", (unsigned long long)value.number);
		if (p->type != CPU_PROPERTY_BOOL)
			text = p->type == CPU_PROPERTY_NUMBER ? number : value.string;
		ck_assert_msg(cpu_config_set(&config, p->name, text, &err) == 0, "%s", err.text);
	}
	ck_assert_int_eq(cpu_resolve(&config, &kvm, &again, &err), 0);
	/* "base" is not told what KVM emulates; bits without names have none to be told by. */
	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++)
		if (!cpu_features_has(&again.missing, i))
			ck_assert_msg(cpu_features_has(&cpu.on, i) == cpu_features_has(&again.on, i),
				      "%s", cpu_feature_name(i));
	ck_assert_str_eq(cpu.vendor, again.vendor);
	ck_assert_str_eq(cpu.model_id, again.model_id);
	ck_assert_uint_eq(cpu.family, again.family);
	ck_assert_uint_eq(cpu.model_number, again.model_number);
	ck_assert_uint_eq(cpu.stepping, again.stepping);
	ck_assert_uint_eq(cpu.phys_bits, again.phys_bits);
	ck_assert_uint_eq(cpu.level, again.level);
	ck_assert_uint_eq(cpu.xlevel, again.xlevel);
	ck_assert(cpu.pmu == again.pmu && cpu.config.kvm == again.config.kvm);
	close_host();
}
END_TEST

/* ---- what KVM tells ---- */

START_TEST(tables_that_are_long)
{
	static struct kvm_cpuid_entry2 many[300];
	const struct kvm_cpuid2 *table;

	open_host(NULL);
	for (unsigned int i = 0; i < 300; i++)
		many[i].function = i;
	fake_kvm_set_cpuid(fake, many, 300);
	fake_kvm_set_emulated_cpuid(fake, many, 299);
	table = kvm_supported_cpuid(&kvm, &err);
	ck_assert(table && table->nent == 300 && !memcmp(table->entries, many, sizeof(many)));
	table = kvm_emulated_cpuid(&kvm, &err);
	ck_assert(table && table->nent == 299 && !memcmp(table->entries, many, 299 * sizeof(many[0])));
	/* 128, 256, 512; and asked for once. */
	kvm_supported_cpuid(&kvm, &err);
	kvm_emulated_cpuid(&kvm, &err);
	ck_assert_uint_eq(fake_kvm_count_request(fake, 0, FAKE_ANY, KVM_GET_SUPPORTED_CPUID), 3);
	ck_assert_uint_eq(fake_kvm_count_request(fake, 0, FAKE_ANY, KVM_GET_EMULATED_CPUID), 3);
	close_host();
}
END_TEST

START_TEST(tables_that_can_not_be_had)
{
	static const struct {
		unsigned long request;
		int error;
		const char *text;
	} faults[] = {
		{ KVM_GET_SUPPORTED_CPUID, EFAULT, "KVM_GET_SUPPORTED_CPUID: Bad address" },
		{ KVM_GET_SUPPORTED_CPUID, E2BIG, "KVM_GET_SUPPORTED_CPUID does not fit into 65536" },
		{ KVM_GET_EMULATED_CPUID, EFAULT, "KVM_GET_EMULATED_CPUID: Bad address" },
		{ KVM_GET_EMULATED_CPUID, E2BIG, "KVM_GET_EMULATED_CPUID does not fit into 65536" },
	};
	struct cpu_config config = parsed("max");
	struct cpu cpu;

	open_host(cpu_host_intel);
	fake_kvm_fail(fake, (struct fake_fault) { faults[_i].request, -1, 1, 0, faults[_i].error });
	ck_assert_int_eq(cpu_resolve(&config, &kvm, &cpu, &err), -1);
	ck_assert_msg(strstr(err.text, faults[_i].text) == err.text, "%s", err.text);
	/* The next one may ask again. */
	fake_kvm_heal(fake);
	ck_assert_int_eq(cpu_resolve(&config, &kvm, &cpu, &err), 0);
	close_host();
}
END_TEST

START_TEST(memory_runs_out)
{
	struct cpu_config config = parsed("max");
	struct cpu_topology topology = { 2, 1, 3, 2 };
	struct cpu cpu;

	for (unsigned int n = 1;; n++) {
		struct kvm_cpuid2 *table = NULL;

		open_host(cpu_host_intel);
		alloc_fail_at(n);
		if (cpu_resolve(&config, &kvm, &cpu, &err) == 0)
			table = cpuid_new(&kvm, &cpu, &topology, 0, &err);
		ck_assert(!table == alloc_has_failed());
		alloc_fail_at(0);
		if (!table)
			ck_assert_int_eq(err.code, ENOMEM);
		free(table);
		close_host();
		if (table)
			break;
	}
}
END_TEST

Suite *cpu_model_suite(void)
{
	Suite *s = suite_create("cpu_model");
	TCase *text = tcase_create("text"), *host = tcase_create("host");
	TCase *tables = tcase_create("tables");

	tcase_add_loop_test(text, text_that_is_refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(text, text_that_is_taken);
	suite_add_tcase(s, text);
	tcase_add_loop_test(host, the_host_itself, 0, 2);
	tcase_add_test(host, what_kvm_emulates);
	tcase_add_loop_test(host, levels_of_x86_64, 0, 2);
	tcase_add_test(host, what_is_only_wanted);
	tcase_add_loop_test(host, wishes_that_do_not_come_true, 0,
			    (int)(sizeof(wishes) / sizeof(wishes[0])));
	tcase_add_loop_test(host, performance_counters, 0, 2);
	tcase_add_test(host, identity_and_addresses);
	tcase_add_loop_test(host, one_beside_another, 0, 14);
	tcase_add_loop_test(host, properties_make_it_again, 0, 5);
	suite_add_tcase(s, host);
	tcase_add_test(tables, tables_that_are_long);
	tcase_add_loop_test(tables, tables_that_can_not_be_had, 0, 4);
	tcase_add_test(tables, memory_runs_out);
	suite_add_tcase(s, tables);
	return s;
}
