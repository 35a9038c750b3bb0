/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "tests/unit/boot_loaded.h"
#include "tests/unit/suites.h"
#include "vmm/boot/acpi.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/i8042.h"

/*
 * The tables as a guest finds them: by their addresses, from the RSDP on.  Offsets are those of the
 * ACPI specification 6.4.
 */
#define RSDP            0xe0000u
#define TABLES_END      0xff000u        /* where the generation id is */

static struct error err;

static uint8_t u8(uint64_t gpa)
{
	return *(const uint8_t *)at(gpa, 1);
}

static uint16_t u16(uint64_t gpa)
{
	return u8(gpa) | u8(gpa + 1) << 8;
}

static uint8_t sum(uint64_t gpa, uint32_t len)
{
	const uint8_t *byte = at(gpa, len);
	uint8_t total = 0;

	while (len--)
		total += *byte++;
	return total;
}

static void assert_inside(uint64_t gpa, uint32_t len)
{
	ck_assert_uint_ge(gpa, RSDP);
	ck_assert_uint_le(gpa + len, TABLES_END);
}

/* A table's address, after the checks that are the same for all (5.2.6). */
static uint64_t table(uint64_t gpa, const char *signature, uint8_t revision, uint32_t length)
{
	assert_inside(gpa, 36);
	assert_bytes(gpa, signature, 4);
	ck_assert_uint_eq(u32(gpa + 4), length);
	ck_assert_uint_eq(u8(gpa + 8), revision);
	assert_inside(gpa, length);
	ck_assert_uint_eq(sum(gpa, length), 0);
	return gpa;
}

/* Two tables; their lengths are told apart later. */
static uint64_t xsdt(void)
{
	assert_bytes(RSDP, "RSD PTR ", 8);
	ck_assert_uint_eq(u8(RSDP + 15), 2);
	ck_assert_uint_eq(u32(RSDP + 20), 36);
	ck_assert_uint_eq(sum(RSDP, 20), 0);
	ck_assert_uint_eq(sum(RSDP, 36), 0);
	return table(u64(RSDP + 24), "XSDT", 1, 36 + 2 * 8);
}

static uint64_t fadt(void)
{
	return table(u64(xsdt() + 36), "FACP", 6, 276);
}

static uint64_t dsdt(void)
{
	uint64_t gpa = u64(fadt() + 140);

	ck_assert_uint_eq(u32(fadt() + 40), gpa);
	assert_inside(gpa, 36);
	return table(gpa, "DSDT", 2, u32(gpa + 4));
}

/* RAM is as a guest left it before a reset, or the least there can be. */
static void write_tables(const struct cpu_topology *topology)
{
	ram_init(&ram, MIB, 0);
	memset(ram.host, 0xa5, ram.size);
	ck_assert_msg(acpi_write_tables(&ram, topology, &err) == 0, "%s", err.text);
	/* Nothing beside them. */
	for (uint64_t gpa = 0; gpa < RSDP; gpa += 4096)
		ck_assert_msg(u8(gpa) == 0xa5 && u8(gpa + 4095) == 0xa5, "0x%llx",
			      (unsigned long long)gpa);
	for (uint64_t gpa = TABLES_END; gpa < MIB; gpa++)
		ck_assert_uint_eq(u8(gpa), 0xa5);
}

/* Processors in order of their APIC ids, then the interrupt controller and how it is wired. */
static void assert_madt(const struct cpu_topology *topology, unsigned int small)
{
	unsigned int nr_cpus = cpu_topology_cpus(topology), big = nr_cpus - small, cpu = 0;
	uint32_t length = 44 + 8 * small + 16 * big + 12 + 10 + 6 + (big ? 12 : 0);
	uint64_t madt = table(u64(xsdt() + 44), "APIC", 5, length), at_entry = madt + 44;

	ck_assert_uint_eq(u32(madt + 36), 0xfee00000);
	ck_assert_uint_eq(u32(madt + 40), 1);
	for (; cpu < small; cpu++, at_entry += 8) {
		const uint8_t lapic[] = {
			0, 8, cpu, cpu_topology_apic_id(topology, cpu), 1, 0, 0, 0,
		};

		ck_assert_int_eq(memcmp(at(at_entry, 8), lapic, 8), 0);
	}
	for (; cpu < nr_cpus; cpu++, at_entry += 16) {
		const uint32_t x2apic[] = {
			9 | 16 << 8, cpu_topology_apic_id(topology, cpu), 1, cpu,
		};

		ck_assert_int_eq(memcmp(at(at_entry, 16), x2apic, 16), 0);
	}
	/* I/O APIC 0 for all GSIs. */
	assert_bytes(at_entry, "\1\14\0\0" "\0\0\xc0\xfe" "\0\0\0\0", 12);
	/* The SCI: level, active high. */
	assert_bytes(at_entry + 12, "\2\12\0\11" "\11\0\0\0" "\15\0", 10);
	/* NMI on LINT1 of all processors. */
	assert_bytes(at_entry + 22, "\4\6\xff\0\0\1", 6);
	if (big)
		assert_bytes(at_entry + 28, "\12\14\0\0" "\xff\xff\xff\xff" "\1\0\0\0", 12);
}

START_TEST(test_madt)
{
	static const struct {
		struct cpu_topology topology;
		unsigned int small;             /* how many have ids below 255 */
	} machine[] = {
		{ { 1, 1, 1, 1 }, 1 }, { { 1, 1, 2, 1 }, 2 }, { { 1, 1, 254, 1 }, 254 },
		{ { 1, 1, 255, 1 }, 255 }, { { 1, 1, 256, 1 }, 255 }, { { 1, 1, 1024, 1 }, 255 },
		/* With gaps: ids 0, 1, 2, 4, 5, 6, ...; and those of the last socket from 256 on. */
		{ { 2, 1, 3, 1 }, 6 }, { { 3, 2, 3, 2 }, 36 }, { { 9, 1, 17, 1 }, 8 * 17 },
		/* Id 255 is no LAPIC's. */
		{ { 2, 1, 127, 1 }, 254 }, { { 2, 1, 128, 1 }, 255 },
	};

	write_tables(&machine[_i].topology);
	assert_madt(&machine[_i].topology, machine[_i].small);
	ram_destroy(&ram);
}
END_TEST

/* Each at a place of its own. */
START_TEST(test_apart)
{
	uint64_t start[6], end[6];

	write_tables(&(struct cpu_topology) { 1, 1, 1024, 1 });
	start[0] = RSDP;
	start[1] = xsdt();
	start[2] = fadt();
	start[3] = u32(fadt() + 36);
	start[4] = dsdt();
	start[5] = u64(xsdt() + 44);
	for (int i = 0; i < 6; i++)
		end[i] = start[i] + (i == 0 ? 36 : u32(start[i] + 4));
	for (int i = 0; i < 6; i++)
		for (int j = 0; j < i; j++)
			ck_assert(start[i] >= end[j] || start[j] >= end[i]);
	/* The FACS, which has neither header nor checksum, and lies at a multiple of 64. */
	assert_bytes(start[3], "FACS", 4);
	ck_assert_uint_eq(u32(start[3] + 4), 64);
	ck_assert_uint_eq(start[3] % 64, 0);
	ck_assert_uint_eq(u8(start[3] + 32), 2);
	assert_zero(start[3] + 8, 24);
	ck_assert_uint_eq(u64(fadt() + 132), 0);
	ram_destroy(&ram);
}
END_TEST

static struct {
	struct bus bus;
	struct acpi_pm *pm;
	struct i8042 *i8042;
	unsigned int resets, power_offs;
	bool sci;
} machine;

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return 1000000000;
}

static void on_sci(void *opaque, bool level)
{
	(void)opaque;
	machine.sci = level;
}

static void on_power_off(void *opaque)
{
	(void)opaque;
	machine.power_offs++;
}

static void on_reset(void *opaque)
{
	(void)opaque;
	machine.resets++;
}

static void machine_setup(void)
{
	static const struct acpi_pm_config pm = { on_sci, on_power_off, on_clock, NULL };
	static const struct i8042_config i8042 = { on_reset, NULL };

	memset(&machine, 0, sizeof(machine));
	bus_init(&machine.bus, "I/O");
	machine.pm = acpi_pm_new(&machine.bus, &pm, &err);
	machine.i8042 = i8042_new(&machine.bus, &i8042, &err);
	ck_assert_msg(machine.pm && machine.i8042, "%s", err.text);
	write_tables(&one_cpu);
}

static void machine_teardown(void)
{
	ram_destroy(&ram);
	acpi_pm_free(machine.pm);
	i8042_free(machine.i8042);
	bus_destroy(&machine.bus);
}

/* A generic address: I/O ports, so many bits, accessed by so many bytes. */
static uint16_t port(uint64_t gas, uint8_t bits, uint8_t access)
{
	ck_assert_uint_eq(u8(gas), 1);
	ck_assert_uint_eq(u8(gas + 1), bits);
	ck_assert_uint_eq(u8(gas + 2), 0);
	ck_assert_uint_eq(u8(gas + 3), access);
	ck_assert_uint_le(u64(gas + 4), 0xffff);
	return u64(gas + 4);
}

/* The devices are where the tables say, and do what they say. */
START_TEST(test_registers)
{
	uint16_t event = port(fadt() + 148, 32, 2), control = port(fadt() + 172, 16, 2);
	uint16_t timer = port(fadt() + 208, 32, 3), reset = port(fadt() + 116, 8, 1);
	uint16_t gpe0 = port(fadt() + 220, 16, 1);

	ck_assert_uint_eq(u32(fadt() + 56), event);
	ck_assert_uint_eq(u32(fadt() + 64), control);
	ck_assert_uint_eq(u32(fadt() + 76), timer);
	ck_assert_uint_eq(u8(fadt() + 88), 4);
	ck_assert_uint_eq(u8(fadt() + 89), 2);
	ck_assert_uint_eq(u8(fadt() + 91), 4);
	ck_assert_uint_eq(event, ACPI_PM_EVENT);
	ck_assert_uint_eq(control, ACPI_PM_CONTROL);
	ck_assert_uint_eq(timer, ACPI_PM_TIMER);
	ck_assert_uint_eq(u32(fadt() + 80), gpe0);
	ck_assert_uint_eq(u8(fadt() + 92), 2);
	ck_assert_uint_eq(gpe0, ACPI_PM_GPE0);

	/* No SMI command: ACPI is on from the start. */
	ck_assert_uint_eq(u32(fadt() + 48), 0);
	ck_assert_uint_eq(bus_read(&machine.bus, control, 2) & 1, 1);
	/* The power button raises the SCI once it is enabled, in the second half of the block. */
	ck_assert_uint_eq(u32(fadt() + 112) & 1 << 4, 0);
	bus_write(&machine.bus, event + 2, 0x0100, 2);
	acpi_pm_power_button(machine.pm);
	ck_assert(machine.sci);
	ck_assert_uint_eq(u16(fadt() + 46), 9);
	bus_write(&machine.bus, event, 0x0100, 2);
	ck_assert(!machine.sci);
	/* And so does the event of the generation id, in the second half of its block. */
	bus_write(&machine.bus, gpe0 + 1, 1 << ACPI_GENERATION_GPE, 1);
	acpi_pm_gpe(machine.pm, ACPI_GENERATION_GPE);
	ck_assert(machine.sci);
	/* One second of 24 bits. */
	ck_assert_uint_eq(u32(fadt() + 112) & 1 << 8, 0);
	ck_assert_uint_eq(bus_read(&machine.bus, timer, 4), 3579545);

	ck_assert_uint_eq(u32(fadt() + 112) & 1 << 10, 1 << 10);
	bus_write(&machine.bus, reset, u8(fadt() + 128), 1);
	ck_assert_uint_eq(machine.resets, 1);
	ck_assert_uint_eq(machine.power_offs, 0);
}
END_TEST

/* The rest of what the FADT says of the machine. */
START_TEST(test_flags)
{
	/* WBINVD, C1 everywhere; no sleep button, no fixed RTC wake; reset register; headless. */
	ck_assert_uint_eq(u32(fadt() + 112), 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 12);
	/* ISA devices, but no keyboard controller worth probing and no VGA. */
	ck_assert_uint_eq(u16(fadt() + 109), 1 << 0 | 1 << 2);
	ck_assert_uint_eq(u8(fadt() + 108), 0x32);
	ck_assert_uint_gt(u16(fadt() + 96), 100);
	ck_assert_uint_gt(u16(fadt() + 98), 1000);
	ck_assert_uint_eq(u8(fadt() + 131), 4);
	/* The blocks that there are not. */
	assert_zero(fadt() + 60, 4);
	assert_zero(fadt() + 68, 8);
	assert_zero(fadt() + 84, 4);
	assert_zero(fadt() + 93, 2);
	assert_zero(fadt() + 160, 12);
	assert_zero(fadt() + 184, 24);
	assert_zero(fadt() + 232, 36);
}
END_TEST

/* The end of an AML package whose length is encoded at gpa (20.2.4). */
static uint64_t package_end(uint64_t gpa)
{
	uint8_t lead = u8(gpa);
	unsigned int more = lead >> 6;
	uint32_t length = more ? lead & 0xf : lead;

	for (unsigned int i = 0; i < more; i++)
		length |= (uint32_t)u8(gpa + 1 + i) << (4 + 8 * i);
	return gpa + length;
}

/* The sleep type of S5, as the DSDT has it, switches the machine off. */
START_TEST(test_dsdt)
{
	uint64_t aml = dsdt() + 36, end = dsdt() + u32(dsdt() + 4), scope, device, gpe;

	assert_bytes(aml, "\10_S5_\22", 6);
	scope = package_end(aml + 6);
	assert_bytes(aml + 7, "\4\12", 2);
	bus_write(&machine.bus, ACPI_PM_CONTROL, (u8(aml + 9) & 7) << 10 | 1 << 13, 2);
	ck_assert_uint_eq(machine.power_offs, 1);
	ck_assert_uint_eq(u8(aml + 9), ACPI_PM_S5);

	/* \_SB with the serial port, the clock, pvpanic and the generation id. */
	ck_assert_uint_eq(u8(scope), 0x10);
	gpe = package_end(scope + 1);
	assert_bytes(scope + 3, "\\_SB_", 5);
	device = scope + 8;
	assert_bytes(device, "\x5b\x82", 2);
	/* EISA id PNP0501, ports 0x3f8 to 0x3ff, IRQ 4. */
	assert_bytes(device + 3, "COM1\10_HID\14\x41\xd0\5\1", 14);
	assert_bytes(device + 32, "\x47\1\xf8\3\xf8\3\1\10\x22\x10\0\x79\0", 13);
	ck_assert_uint_eq(package_end(device + 2), device + 45);
	device += 45;
	assert_bytes(device, "\x5b\x82", 2);
	/* PNP0B00, ports 0x70 and 0x71, IRQ 8. */
	assert_bytes(device + 3, "RTC_\10_HID\14\x41\xd0\x0b\0", 14);
	assert_bytes(device + 26, "\x47\1\x70\0\x70\0\1\2\x22\0\1\x79\0", 13);
	ck_assert_uint_eq(package_end(device + 2), device + 39);
	device += 39;
	assert_bytes(device, "\x5b\x82", 2);
	/* QEMU0001, port 0x505. */
	assert_bytes(device + 3, "PEVT\10_HID\15QEMU0001", 19);
	assert_bytes(device + 31, "\x47\1\5\5\5\5\1\1\x79\0", 10);
	ck_assert_uint_eq(package_end(device + 2), device + 41);
	device += 41;
	assert_bytes(device, "\x5b\x82", 2);
	assert_bytes(device + 4, "VGEN\10_HID\15VMND0001", 19);
	assert_bytes(device + 23, "\10_CID\15VM_Gen_Counter\0\10_DDN\15VM_Gen_Counter\0", 42);
	/* ADDR, of two numbers: the halves of an address that no table is at. */
	assert_bytes(device + 65, "\10ADDR\22\10\2\14", 9);
	ck_assert_uint_eq(u32(device + 74), ACPI_GENERATION_ID);
	ck_assert_uint_ge(u32(device + 74), TABLES_END);
	ck_assert_uint_eq(u32(device + 74) % 8, 0);
	ck_assert_uint_eq(u8(device + 78), 0);
	ck_assert_uint_eq(package_end(device + 2), device + 79);
	ck_assert_uint_eq(gpe, device + 79);
	/* \_GPE with _E00, which notifies it with 0x80. */
	ck_assert_uint_eq(u8(gpe), 0x10);
	ck_assert_uint_eq(package_end(gpe + 1), end);
	assert_bytes(gpe + 2, "\\_GPE\24", 6);
	ck_assert_uint_eq(package_end(gpe + 8), end);
	assert_bytes(gpe + 9, "_E00\0\x86\\._SB_VGEN\12\x80", 18);
	ck_assert_uint_eq(gpe + 27, end);
}
END_TEST

START_TEST(test_no_room)
{
	static const struct cpu_topology too_many = { 1, 1, 8100, 1 };

	ram_init(&ram, MIB - 4096, 0);
	ck_assert_int_eq(acpi_write_tables(&ram, &one_cpu, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "0xe0000, which is not RAM"));
	ram_destroy(&ram);
	/* More processors than there can be. */
	ram_init(&ram, MIB, 0);
	ck_assert_int_eq(acpi_write_tables(&ram, &too_many, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "8100 vCPUs do not fit"));
	ram_destroy(&ram);
}
END_TEST

Suite *acpi_suite(void)
{
	Suite *s = suite_create("ACPI");
	TCase *tc = tcase_create("tables");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_madt, 0, 11);
	tcase_add_test(tc, test_apart);
	tcase_add_test(tc, test_no_room);
	suite_add_tcase(s, tc);

	tc = tcase_create("machine");
	tcase_add_checked_fixture(tc, machine_setup, machine_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_registers);
	tcase_add_test(tc, test_flags);
	tcase_add_test(tc, test_dsdt);
	suite_add_tcase(s, tc);
	return s;
}
