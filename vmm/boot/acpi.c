/* SPDX-License-Identifier: MIT */
#include "vmm/boot/acpi.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The tables end where the generation id is, and the area behind that. */
#define TABLES_END ACPI_GENERATION_ID
#define AREA_END   0x100000u

/* What vmm/dev/acpi_pm.h has at these ports, and vmm/dev/i8042.h at 0x64. */
#define PM1A_EVENT_PORT   0x600
#define PM1A_CONTROL_PORT 0x604
#define PM_TIMER_PORT     0x608
#define GPE0_PORT         0x60c
#define SCI_IRQ           9
#define RESET_PORT        0x64
#define RESET_VALUE       0xfe

#define LAPIC_ADDRESS     0xfee00000u
#define IOAPIC_ADDRESS    0xfec00000u

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct header) == 36, "ACPI 5.2.6");

struct rsdp {
	char signature[8];
	uint8_t checksum;               /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");

struct xsdt {
	struct header header;
	uint64_t table[2];              /* FADT, MADT */
} __attribute__((packed));

/* Generic address structure: ACPI 5.2.3.2. */
struct gas {
	uint8_t space;                  /* 1: I/O ports */
	uint8_t bits;
	uint8_t bit_offset;
	uint8_t access;                 /* 1: byte, 2: word, 3: double word */
	uint64_t address;
} __attribute__((packed));

struct fadt {
	struct header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci_irq;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
	uint32_t gpe0, gpe1;
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
	uint8_t gpe0_length, gpe1_length, gpe1_base, cstate_control;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
	struct gas x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
	uint64_t hypervisor_id;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "ACPI 5.2.9");
_Static_assert(offsetof(struct fadt, flags) == 112, "ACPI 5.2.9");

#define FADT_WBINVD            (1u << 0)
#define FADT_PROC_C1           (1u << 2)
#define FADT_NO_SLEEP_BUTTON   (1u << 5)
#define FADT_NO_FIXED_RTC_WAKE (1u << 6)
#define FADT_RESET_REGISTER    (1u << 10)
#define FADT_HEADLESS          (1u << 12)
#define FADT_LEGACY_DEVICES    (1u << 0)
#define FADT_NO_VGA            (1u << 2)

struct facs {
	char signature[4];
	uint32_t length;
	uint8_t unused[24];
	uint8_t version;
	uint8_t reserved[31];
} __attribute__((packed));
_Static_assert(sizeof(struct facs) == 64, "ACPI 5.2.10");

struct madt {
	struct header header;
	uint32_t lapic_address;
	uint32_t flags;                 /* 1: there is a PC's pair of 8259s too */
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length;           /* 0, 8 */
	uint8_t uid, apic_id;
	uint32_t flags;                 /* 1: enabled */
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;           /* 9, 16 */
	uint16_t reserved;
	uint32_t apic_id, flags, uid;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length;           /* 1, 12 */
	uint8_t id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length;           /* 2, 10 */
	uint8_t bus, irq;
	uint32_t gsi;
	uint16_t flags;                 /* 0xd: active high, level triggered */
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length;           /* 4, 6 */
	uint8_t uid;                    /* 0xff: all */
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct madt_x2apic_nmi {
	uint8_t type, length;           /* 10, 12 */
	uint16_t flags;
	uint32_t uid;                   /* 0xffffffff: all */
	uint8_t lint;
	uint8_t reserved[3];
} __attribute__((packed));

/* APIC ids from here on do not fit into a LAPIC entry (255 is the broadcast). */
#define FIRST_X2APIC_ID 255

/*
 * The DSDT's program (ACPI chapter 20): sleep state S5, the serial port, the clock, pvpanic and the
 * generation id.  The power button is part of the fixed hardware that the FADT describes.
 */
static const uint8_t dsdt_code[] = {
	/* Name (_S5, Package (4) { 5, 5, 0, 0 }) */
	0x08, '_', 'S', '5', '_', 0x12, 0x08, 4, 0x0a, 5, 0x0a, 5, 0x00, 0x00,
	/* Scope (\_SB) */
	0x10, 0x43, 0x0d, '\\', '_', 'S', 'B', '_',
	/* Device (COM1) */
	0x5b, 0x82, 0x2b, 'C', 'O', 'M', '1',
	/* Name (_HID, EisaId ("PNP0501")), Name (_UID, 1) */
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01,
	0x08, '_', 'U', 'I', 'D', 0x01,
	/* Name (_CRS, ResourceTemplate () { IO (0x3f8, 8), IRQNoFlags () { 4 } }) */
	0x08, '_', 'C', 'R', 'S', 0x11, 0x10, 0x0a, 0x0d,
	0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08, 0x22, 0x10, 0x00, 0x79, 0x00,
	/* Device (RTC) */
	0x5b, 0x82, 0x25, 'R', 'T', 'C', '_',
	/* Name (_HID, EisaId ("PNP0B00")) */
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0b, 0x00,
	/* Name (_CRS, ResourceTemplate () { IO (0x70, 2), IRQNoFlags () { 8 } }) */
	0x08, '_', 'C', 'R', 'S', 0x11, 0x10, 0x0a, 0x0d,
	0x47, 0x01, 0x70, 0x00, 0x70, 0x00, 0x01, 0x02, 0x22, 0x00, 0x01, 0x79, 0x00,
	/* Device (PEVT) */
	0x5b, 0x82, 0x27, 'P', 'E', 'V', 'T',
	/* Name (_HID, "QEMU0001"): the name that Linux' pvpanic driver looks for */
	0x08, '_', 'H', 'I', 'D', 0x0d, 'Q', 'E', 'M', 'U', '0', '0', '0', '1', 0x00,
	/* Name (_CRS, ResourceTemplate () { IO (0x505, 1) }) */
	0x08, '_', 'C', 'R', 'S', 0x11, 0x0d, 0x0a, 0x0a,
	0x47, 0x01, 0x05, 0x05, 0x05, 0x05, 0x01, 0x01, 0x79, 0x00,
	/* Device (VGEN) */
	0x5b, 0x82, 0x4d, 0x04, 'V', 'G', 'E', 'N',
	/* Name (_HID, "VMND0001"), Name (_CID, "VM_Gen_Counter"), Name (_DDN, "VM_Gen_Counter") */
	0x08, '_', 'H', 'I', 'D', 0x0d, 'V', 'M', 'N', 'D', '0', '0', '0', '1', 0x00,
	0x08, '_', 'C', 'I', 'D', 0x0d,
	'V', 'M', '_', 'G', 'e', 'n', '_', 'C', 'o', 'u', 'n', 't', 'e', 'r', 0x00,
	0x08, '_', 'D', 'D', 'N', 0x0d,
	'V', 'M', '_', 'G', 'e', 'n', '_', 'C', 'o', 'u', 'n', 't', 'e', 'r', 0x00,
	/* Name (ADDR, Package (2) { ACPI_GENERATION_ID, 0 }) */
	0x08, 'A', 'D', 'D', 'R', 0x12, 0x08, 2, 0x0c,
	ACPI_GENERATION_ID & 0xff, ACPI_GENERATION_ID >> 8 & 0xff, ACPI_GENERATION_ID >> 16, 0,
	0x00,
	/* Scope (\_GPE) */
	0x10, 0x1a, '\\', '_', 'G', 'P', 'E',
	/* Method (_E00, 0): ACPI_GENERATION_GPE, which is an edge */
	0x14, 0x13, '_', 'E', '0', '0', 0x00,
	/* Notify (\_SB.VGEN, 0x80) */
	0x86, '\\', 0x2e, '_', 'S', 'B', '_', 'V', 'G', 'E', 'N', 0x0a, 0x80,
};

/* The area, and how far it is filled. */
struct tables {
	uint8_t *host;                  /* of ACPI_TABLES_START */
	uint32_t used, size;
};

static uint32_t address_of(const struct tables *t, const void *table)
{
	return ACPI_TABLES_START + (uint32_t)((const uint8_t *)table - t->host);
}

/* Room for a table, aligned and zeroed; NULL when the area is full. */
static void *new_table(struct tables *t, uint32_t size)
{
	uint32_t start = (t->used + 63) & ~63u;

	if (size > t->size || start > t->size - size)
		return NULL;
	memset(t->host + start, 0, size);
	t->used = start + size;
	return t->host + start;
}

static uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	uint8_t sum = 0;

	while (len--)
		sum += *byte++;
	return (uint8_t)-sum;
}

static void finish(struct header *header, const char *signature, uint8_t revision, uint32_t length)
{
	memcpy(header->signature, signature, 4);
	header->length = length;
	header->revision = revision;
	memcpy(header->oem_id, "VMOND ", 6);
	memcpy(header->oem_table_id, "VMOND   ", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "VMND", 4);
	header->creator_revision = 1;
	header->checksum = checksum(header, length);
}

static struct gas port(uint16_t address, uint8_t bytes)
{
	return (struct gas) {
		.space = 1, .bits = (uint8_t)(8 * bytes),
		.access = bytes == 4 ? 3 : bytes, .address = address,
	};
}

static void fill_fadt(struct fadt *fadt, uint32_t facs, uint32_t dsdt)
{
	fadt->facs = facs;
	fadt->dsdt = dsdt;
	fadt->x_dsdt = dsdt;
	fadt->profile = 4;              /* enterprise server */
	fadt->sci_irq = SCI_IRQ;
	fadt->pm1a_event = PM1A_EVENT_PORT;
	fadt->pm1a_control = PM1A_CONTROL_PORT;
	fadt->pm_timer = PM_TIMER_PORT;
	fadt->pm1_event_length = 4;
	fadt->pm1_control_length = 2;
	fadt->pm_timer_length = 4;
	fadt->gpe0 = GPE0_PORT;
	fadt->gpe0_length = 2;
	fadt->c2_latency = 0xfff;       /* more than 100 and 1000: no C2, no C3 */
	fadt->c3_latency = 0xfff;
	fadt->century = 0x32;
	fadt->boot_arch = FADT_LEGACY_DEVICES | FADT_NO_VGA;
	fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC_WAKE |
		      FADT_RESET_REGISTER | FADT_HEADLESS;
	fadt->reset = port(RESET_PORT, 1);
	fadt->reset_value = RESET_VALUE;
	fadt->minor_revision = 4;
	fadt->x_pm1a_event = port(PM1A_EVENT_PORT, 4);
	fadt->x_pm1a_event.access = 2;  /* status and enable are registers of 16 bits each */
	fadt->x_pm1a_control = port(PM1A_CONTROL_PORT, 2);
	fadt->x_pm_timer = port(PM_TIMER_PORT, 4);
	fadt->x_gpe0 = port(GPE0_PORT, 2);
	fadt->x_gpe0.access = 1;        /* likewise, of 8 */
	memcpy(&fadt->hypervisor_id, "vmond", 5);
	finish(&fadt->header, "FACP", 6, sizeof(*fadt));
}

static uint32_t madt_size(const struct cpu_topology *topology)
{
	unsigned int nr_cpus = cpu_topology_cpus(topology), small = nr_cpus;

	/* Ids ascend. */
	while (cpu_topology_apic_id(topology, small - 1) >= FIRST_X2APIC_ID)
		small--;

	return (uint32_t)(sizeof(struct madt) + small * sizeof(struct madt_lapic) +
			  (nr_cpus - small) * sizeof(struct madt_x2apic) +
			  sizeof(struct madt_ioapic) + sizeof(struct madt_override) +
			  sizeof(struct madt_lapic_nmi) +
			  (nr_cpus > small ? sizeof(struct madt_x2apic_nmi) : 0));
}

/* Copies one entry and returns where the next one goes. */
static uint8_t *put(uint8_t *to, const void *entry, size_t size)
{
	memcpy(to, entry, size);
	return to + size;
}

static void fill_madt(struct madt *madt, const struct cpu_topology *topology)
{
	uint8_t *to = (uint8_t *)(madt + 1);

	madt->lapic_address = LAPIC_ADDRESS;
	madt->flags = 1;
	for (unsigned int cpu = 0; cpu < cpu_topology_cpus(topology); cpu++) {
		uint32_t id = cpu_topology_apic_id(topology, cpu);

		/* The number of a vCPU is never above its id. */
		if (id < FIRST_X2APIC_ID)
			to = put(to, &(struct madt_lapic) {
				.type = 0, .length = sizeof(struct madt_lapic),
				.uid = (uint8_t)cpu, .apic_id = (uint8_t)id, .flags = 1,
			}, sizeof(struct madt_lapic));
		else
			to = put(to, &(struct madt_x2apic) {
				.type = 9, .length = sizeof(struct madt_x2apic),
				.apic_id = id, .uid = cpu, .flags = 1,
			}, sizeof(struct madt_x2apic));
	}
	to = put(to, &(struct madt_ioapic) {
		.type = 1, .length = sizeof(struct madt_ioapic), .address = IOAPIC_ADDRESS,
	}, sizeof(struct madt_ioapic));
	/* ISA interrupts arrive where their number says; the SCI alone is level triggered. */
	to = put(to, &(struct madt_override) {
		.type = 2, .length = sizeof(struct madt_override),
		.irq = SCI_IRQ, .gsi = SCI_IRQ, .flags = 0xd,
	}, sizeof(struct madt_override));
	to = put(to, &(struct madt_lapic_nmi) {
		.type = 4, .length = sizeof(struct madt_lapic_nmi), .uid = 0xff, .lint = 1,
	}, sizeof(struct madt_lapic_nmi));
	if (cpu_topology_max_apic_id(topology) >= FIRST_X2APIC_ID)
		put(to, &(struct madt_x2apic_nmi) {
			.type = 10, .length = sizeof(struct madt_x2apic_nmi),
			.uid = 0xffffffff, .lint = 1,
		}, sizeof(struct madt_x2apic_nmi));
	finish(&madt->header, "APIC", 5, madt_size(topology));
}

int acpi_write_tables(const struct memory *memory, const struct cpu_topology *topology,
		      struct error *err)
{
	struct tables t = { .size = TABLES_END - ACPI_TABLES_START };
	struct rsdp *rsdp;
	struct xsdt *xsdt;
	struct fadt *fadt;
	struct facs *facs;
	struct header *dsdt;
	struct madt *madt;

	t.host = memory_at(memory, ACPI_TABLES_START, AREA_END - ACPI_TABLES_START);
	if (!t.host)
		return error_set(err, ENOMEM, "the ACPI tables lie at 0x%x, which is not RAM; give "
				 "the VM at least 1 MiB of memory", ACPI_TABLES_START);
	rsdp = new_table(&t, sizeof(*rsdp));
	xsdt = new_table(&t, sizeof(*xsdt));
	fadt = new_table(&t, sizeof(*fadt));
	facs = new_table(&t, sizeof(*facs));
	dsdt = new_table(&t, sizeof(*dsdt) + sizeof(dsdt_code));
	madt = new_table(&t, madt_size(topology));
	if (!madt)
		return error_set(err, ENOMEM, "the ACPI tables for %u vCPUs do not fit into the "
				 "firmware area", cpu_topology_cpus(topology));

	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 2;
	memcpy(dsdt + 1, dsdt_code, sizeof(dsdt_code));
	finish(dsdt, "DSDT", 2, sizeof(*dsdt) + sizeof(dsdt_code));
	fill_fadt(fadt, address_of(&t, facs), address_of(&t, dsdt));
	fill_madt(madt, topology);
	xsdt->table[0] = address_of(&t, fadt);
	xsdt->table[1] = address_of(&t, madt);
	finish(&xsdt->header, "XSDT", 1, sizeof(*xsdt));

	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "VMOND ", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = address_of(&t, xsdt);
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return 0;
}
