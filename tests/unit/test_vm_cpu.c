/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/cpu_host.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"
#include "vmm/lapic.h"

/* Machines of a processor and a topology that somebody asked for. */

static struct error err;

static void host(const char *smp)
{
	machine_host();
	cpu_host_intel(machine.fake);
	cpu_log_keep(false);
	if (smp)
		ck_assert_int_eq(cpu_topology_parse(smp, &machine.config.topology, &err), 0);
}

static struct cpu_config *asked(const char *model)
{
	static struct cpu_config config;

	ck_assert_msg(cpu_model_parse(model, &config, &err) == 0, "%s", err.text);
	return &config;
}

static unsigned int cpus(void)
{
	return cpu_topology_cpus(&machine.config.topology);
}

/* The table that a vCPU has in the kernel. */
static uint32_t reg(unsigned int vcpu, uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(machine_model(vcpu)->cpuid, leaf, subleaf);

	ck_assert(e);
	return cpuid_reg_value(e, reg);
}

/* ---- APIC ids ---- */

static uint32_t lapic_id(unsigned int vcpu)
{
	return lapic_register(&machine_model(vcpu)->lapic, LAPIC_ID);
}

START_TEST(ids_everywhere)
{
	static const char *const machines[] = {
		"1", "6,sockets=2,cores=3", "12,sockets=2,dies=2,cores=3", "300,sockets=3,threads=2",
	};

	host(machines[_i]);
	machine_start(cpus());
	for (unsigned int i = 0; i < cpus(); i++) {
		uint32_t id = cpu_topology_apic_id(&machine.config.topology, i);

		ck_assert_uint_eq(machine_model(i)->id, id);
		ck_assert_uint_eq(machine.vm->vcpu[i].apic_id, id);
		ck_assert_int_eq(machine.vm->vcpu[i].index, (int)i);
		ck_assert_uint_eq(reg(i, 1, 0, CPUID_REG_EBX) >> 24, id & 0xff);
		ck_assert_uint_eq(reg(i, 0xb, 1, CPUID_REG_EDX), id);
	}
	/* Nothing of it has been lost after a reset. */
	machine_run_all();
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err), 0);
	vm_stop(machine.vm);
	for (unsigned int i = 0; i < cpus(); i++)
		ck_assert_uint_eq(lapic_id(i), machine_model(i)->id << 24);
	ck_assert_str_eq(cpu_logged(), "");
	machine_stop();
}
END_TEST

static const struct {
	const char *smp;
	int cap, value;
	const char *error;
} limits[] = {
	{ "6,sockets=2,cores=3", KVM_CAP_MAX_VCPU_ID, 7, NULL },
	{ "6,sockets=2,cores=3", KVM_CAP_MAX_VCPU_ID, 6, "6 vCPUs of this topology have APIC ids up to "
	  "6, and this host's KVM takes them below 6 (KVM_CAP_MAX_VCPU_ID)" },
	/* No such capability: as many ids as vCPUs. */
	{ "6", KVM_CAP_MAX_VCPU_ID, 0, NULL },
	{ "6", KVM_CAP_MAX_VCPUS, 5, "6 vCPUs: this host's KVM can have 1 to 5" },
	{ "254,sockets=2", KVM_CAP_X2APIC_API, 0, NULL },
	/* Few vCPUs, but one of them with an id above 254. */
	{ "256,sockets=2", KVM_CAP_X2APIC_API, 0, "256 vCPUs of this topology have APIC ids up to 255; "
	  "those above 254 need KVM_CAP_X2APIC_API, which this host's KVM lacks" },
	{ "153,sockets=9", KVM_CAP_X2APIC_API, 0, "153 vCPUs of this topology have APIC ids up to 272; "
	  "those above 254 need KVM_CAP_X2APIC_API, which this host's KVM lacks" },
	{ "153,sockets=9", KVM_CAP_X2APIC_API, 3, NULL },
};

START_TEST(ids_that_a_host_can_have)
{
	int rc;

	host(limits[_i].smp);
	fake_kvm_set_cap(machine.fake, (unsigned int)limits[_i].cap, limits[_i].value);
	/* The fake kernel goes by its capability, and not by what is to be assumed without. */
	rc = machine_try(cpus(), &err);
	if (limits[_i].error) {
		ck_assert_int_eq(rc, -1);
		ck_assert_str_eq(err.text, limits[_i].error);
		ck_assert_ptr_null(machine.vm);
	} else if (limits[_i].value || limits[_i].cap != KVM_CAP_MAX_VCPU_ID) {
		ck_assert_msg(rc == 0, "%s", err.text);
	} else {
		ck_assert_msg(strstr(err.text, "KVM_CREATE_VCPU"), "%s", err.text);
	}
	machine_stop();
}
END_TEST

START_TEST(a_count_that_is_another)
{
	host("4,sockets=2");
	ck_assert_int_eq(machine_try(5, &err), -1);
	ck_assert_str_eq(err.text, "5 vCPUs: their topology is one of 4");
	machine_stop();
}
END_TEST

/* ---- the processor ---- */

START_TEST(a_processor_that_was_asked_for)
{
	host(NULL);
	machine.config.cpu = asked("x86-64-v2,+aes,-cx16,model-id=x");
	machine_start(2);
	ck_assert_uint_eq(reg(1, 1, 0, CPUID_REG_ECX), 0x83b80201 | 1 << 25);
	ck_assert_uint_eq(reg(1, 0x80000002, 0, CPUID_REG_EAX), 'x');
	ck_assert_str_eq(machine.vm->cpu.config.model->name, "x86-64-v2");
	ck_assert_str_eq(cpu_logged(), "");
	machine_stop();
}
END_TEST

START_TEST(a_processor_that_can_not_be)
{
	host(NULL);
	machine.config.cpu = asked("host,+svm,enforce");
	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_str_eq(err.text, "this host's KVM lacks features of the processor asked for: svm");
	machine_stop();

	host(NULL);
	machine.config.cpu = asked("host,+svm");
	machine_start(1);
	ck_assert_str_eq(cpu_logged(), "this host's KVM lacks features of the processor asked for: "
			 "svm\n");
	machine_stop();
}
END_TEST

START_TEST(memory_that_could_not_be_addressed)
{
	host(NULL);
	machine.config.memory = 5ULL << 30;
	machine.config.cpu = asked("host,phys-bits=32");
	ck_assert_int_eq(machine_try(1, &err), -1);
	ck_assert_str_eq(err.text, "the processor has physical addresses of 32 bits, too few for 5120 "
			 "MiB of memory; --cpu takes phys-bits and host-phys-bits");
	machine_stop();
	/* The hole counts: 2 GiB of it lie above 4 GiB. */
	host(NULL);
	machine.config.memory = 5ULL << 30;
	machine.config.cpu = asked("host,phys-bits=33");
	machine_start(1);
	machine_stop();
}
END_TEST

/* ---- the TSC ---- */

static const struct {
	const char *model;
	int control;                    /* KVM_CAP_TSC_CONTROL */
	unsigned int sets;              /* of two vCPUs */
	uint32_t khz;
	const char *error;
} clocks[] = {
	{ "host", 1, 0, 0, NULL },
	{ "x86-64-v2,tsc-frequency=1G", 1, 2, 1000000, NULL },
	{ "x86-64-v2,tsc-frequency=1G", 0, 0, 0, "tsc-frequency: the host's TSC runs at 2000000 kHz, and "
	  "its KVM can not change that (KVM_CAP_TSC_CONTROL)" },
	{ "x86-64-v2,tsc-frequency=2G", 0, 0, 2000000, NULL },
	{ "x86-64-v2,tsc-frequency=2G", 1, 0, 2000000, NULL },
};

START_TEST(tsc_frequencies)
{
	const char *sets;
	struct fake_filter filter;

	host(NULL);
	machine.config.cpu = asked(clocks[_i].model);
	fake_kvm_set_cap(machine.fake, KVM_CAP_TSC_CONTROL, clocks[_i].control);
	if (clocks[_i].error) {
		ck_assert_int_eq(machine_try(2, &err), -1);
		ck_assert_str_eq(err.text, clocks[_i].error);
		machine_stop();
		return;
	}
	machine_start(2);
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, FAKE_ANY, KVM_SET_TSC_KHZ),
			  clocks[_i].sets);
	/* After the table, before the MSRs that go with it; what the table says is so. */
	filter = fake_filter(0, 1, KVM_CLASS_SET);
	sets = fake_kvm_names(machine.fake, filter);
	ck_assert_str_eq(sets, clocks[_i].sets ? "SET_CPUID2 SET_TSC_KHZ" : _i ? "SET_CPUID2" :
			 "SET_CPUID2 SET_MSRS SET_MSRS");
	if (clocks[_i].khz) {
		ck_assert_uint_eq(machine_model(1)->tsc_khz, clocks[_i].khz);
		ck_assert_uint_eq(reg(1, 0x40000010, 0, CPUID_REG_EAX), clocks[_i].khz);
	}
	ck_assert_uint_eq(machine.vm->host_tsc_khz, clocks[_i].sets ? 2000000 : 0);
	machine_stop();
}
END_TEST

/* ---- what the kernel makes of it ---- */

static void alter(void *opaque, struct fake_vcpu *vcpu)
{
	unsigned int from = *(unsigned int *)opaque;

	for (uint32_t i = 0; i < vcpu->cpuid->nent; i++) {
		if (vcpu->cpuid->entries[i].function == 7 && !vcpu->cpuid->entries[i].index &&
		    (unsigned int)vcpu->index >= from)
			vcpu->cpuid->entries[i].ebx |= 1 << 5;
		/* As it does. */
		if (vcpu->cpuid->entries[i].function == 1)
			vcpu->cpuid->entries[i].ecx &= ~(1U << 3);
	}
}

START_TEST(a_kernel_that_alters_entries)
{
	static const char *const models[] = { "host,-avx2", "x86-64-v2", "host" };
	unsigned int from = _i == 1 ? 2 : 0;

	host(NULL);
	fake_kvm_alter_cpuid(machine.fake, alter, &from);
	machine.config.cpu = asked(models[_i]);
	if (_i == 2) {
		cpu_host_intel_with(machine.fake, 7, 0, CPUID_REG_EBX, 0);
		machine.config.cpu = NULL;
	}
	machine_start(3);
	/* Once for all of which it is the same; not to who wanted just what there is. */
	ck_assert_str_eq(cpu_logged(), _i == 0 ? "vCPU 0: KVM has changed CPUID in 1 places; on, though "
			 "not asked for: avx2\n" : _i == 1 ?
			 "vCPU 2: KVM has changed CPUID in 1 places; on, though not asked for: avx2\n" :
			 "");
	/* Whoever looks sees what there is. */
	for (unsigned int i = from; i < 3; i++)
		ck_assert_uint_eq(cpuid_find(vcpu_state_cpuid(&machine.vm->vcpu[i].state, &err), 7,
					     0)->ebx >> 5 & 1, 1);
	machine_stop();
}
END_TEST

START_TEST(creation_that_fails)
{
	static const unsigned long requests[] = {
		KVM_GET_SUPPORTED_CPUID, KVM_GET_EMULATED_CPUID, KVM_SET_CPUID2, KVM_GET_CPUID2,
		KVM_SET_TSC_KHZ, KVM_GET_TSC_KHZ,
	};
	int vcpu = requests[_i] == KVM_GET_SUPPORTED_CPUID || requests[_i] == KVM_GET_EMULATED_CPUID ?
		   -1 : requests[_i] == KVM_GET_TSC_KHZ ? 0 : 1;

	host(NULL);
	machine.config.cpu = asked("max,tsc-frequency=1G");
	fake_kvm_fail(machine.fake, (struct fake_fault) { requests[_i], vcpu, 1, 0, EIO });
	ck_assert_int_eq(machine_try(2, &err), -1);
	ck_assert_msg(strstr(err.text, "Input/output error"), "%s", err.text);
	ck_assert_ptr_null(machine.vm);
	machine_stop();
}
END_TEST

/* ---- saved and loaded ---- */

static void saved(const char *smp, struct sections *sections)
{
	host(smp);
	machine_start(cpus());
	save(sections);
	machine_stop();
}

static const struct {
	const char *saved, *loaded, *error;
} loads[] = {
	{ "4,sockets=2,threads=2", "4,sockets=2,threads=2", NULL },
	{ "4", "4", NULL },
	{ "4", "4,sockets=2", "the state is of a machine with --smp 4,sockets=1,cores=4,threads=1, and "
	  "this one has 4,sockets=2,cores=2,threads=1: start it with the former" },
	{ "4,sockets=2", "4", "the state is of a machine with --smp 4,sockets=2,cores=2,threads=1, and "
	  "this one has 4,sockets=1,cores=4,threads=1: start it with the former" },
	{ "6,dies=2", "8", "the state is of a machine with --smp 6,sockets=1,dies=2,cores=3,threads=1, "
	  "and this one has 8,sockets=1,cores=8,threads=1: start it with the former" },
	{ "3", "4,sockets=2", "the state is of a machine with 3 vCPUs, and this one has 4: start it with "
	  "--cpus 3" },
};

START_TEST(topologies_that_are_loaded)
{
	struct sections sections = { 0 };
	bool told = false;

	saved(loads[_i].saved, &sections);
	/* Left out where all readers take it to be so. */
	for (unsigned int i = 0; i < sections.nr; i++)
		if (strcmp(sections.section[i].name, "topology") == 0)
			told = sections.section[i].required;
	ck_assert(told == (strlen(loads[_i].saved) > 1));
	host(loads[_i].loaded);
	machine_wait(cpus());
	if (loads[_i].error) {
		ck_assert_int_eq(snapshot_apply(machine.vm, &sections, true, &err), -1);
		ck_assert_str_eq(err.text, loads[_i].error);
	} else {
		ck_assert_msg(snapshot_apply(machine.vm, &sections, false, &err) == 0, "%s", err.text);
		for (unsigned int i = 0; i < cpus(); i++)
			ck_assert_uint_eq(reg(i, 0xb, 0, CPUID_REG_EDX), machine_model(i)->id);
	}
	sections_free(&sections);
	machine_stop();
}
END_TEST

START_TEST(topologies_that_can_not_be)
{
	static const uint32_t wrong[][4] = {
		{ 0, 1, 2, 2 }, { 2, 1, 2, 2 }, { 1, 1, 1, 1 }, { 0x10000, 0x10000, 1, 4 },
		{ 0x40000001, 1, 4, 1 }, { 4, 0x80000001, 1, 1 },
	};
	struct sections sections = { 0 };
	struct snapshot_machine seen;

	saved("4,sockets=2", &sections);
	memcpy(section_named(&sections, "topology")->content.data, wrong[_i], 16);
	ck_assert_int_eq(snapshot_machine(&sections, &seen, &err), -1);
	ck_assert_str_eq(err.text, "section \"topology\" has not the 4 vCPUs of the machine");
	sections_free(&sections);
}
END_TEST

START_TEST(topologies_of_another_length)
{
	struct sections sections = { 0 };
	struct snapshot_machine seen;

	saved("4,sockets=2", &sections);
	section_named(&sections, "topology")->content.len -= 1;
	ck_assert_int_eq(snapshot_machine(&sections, &seen, &err), -1);
	ck_assert_msg(strstr(err.text, "section \"topology\""), "%s", err.text);
	sections_free(&sections);
}
END_TEST

Suite *vm_cpu_suite(void)
{
	Suite *s = suite_create("vm_cpu");
	TCase *ids = tcase_create("ids"), *processor = tcase_create("processor");
	TCase *snapshot = tcase_create("snapshot");

	tcase_add_loop_test(ids, ids_everywhere, 0, 4);
	tcase_add_loop_test(ids, ids_that_a_host_can_have, 0, (int)(sizeof(limits) / sizeof(limits[0])));
	tcase_add_test(ids, a_count_that_is_another);
	suite_add_tcase(s, ids);
	tcase_add_test(processor, a_processor_that_was_asked_for);
	tcase_add_test(processor, a_processor_that_can_not_be);
	tcase_add_test(processor, memory_that_could_not_be_addressed);
	tcase_add_loop_test(processor, tsc_frequencies, 0, (int)(sizeof(clocks) / sizeof(clocks[0])));
	tcase_add_loop_test(processor, a_kernel_that_alters_entries, 0, 3);
	tcase_add_loop_test(processor, creation_that_fails, 0, 6);
	suite_add_tcase(s, processor);
	tcase_add_loop_test(snapshot, topologies_that_are_loaded, 0,
			    (int)(sizeof(loads) / sizeof(loads[0])));
	tcase_add_loop_test(snapshot, topologies_that_can_not_be, 0, 6);
	tcase_add_test(snapshot, topologies_of_another_length);
	suite_add_tcase(s, snapshot);
	return s;
}
