/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "monitor/hmp_internal.h"

/* Of the 82093AA, which is what KVM's I/O APIC says it is. */
#define IOAPIC_VERSION  0x11
#define IOAPIC_REDTBL   0x10            /* first register of the redirection table */

static void print_pins(struct text *out, const char *name, uint32_t pins)
{
	text_printf(out, "  %-8s ", name);
	if (!pins)
		text_printf(out, "(none)");
	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		if (pins >> i & 1)
			text_printf(out, "%d ", i);
	text_printf(out, "\n");
}

/* Bits of an entry of the redirection table: 82093AA datasheet, 3.2.4. */
static void print_entry(struct text *out, int pin, uint64_t entry)
{
	static const char *const delivery[] = {
		"fixed", "lowest", "SMI", "...", "NMI", "INIT", "...", "extINT",
	};
	bool logical = entry >> 11 & 1;

	text_printf(out, "  pin %-2d 0x%016" PRIx64 " dest=%" PRIx64 " vec=%-3" PRIu64
		    " %s %-5s %-6s %-6s %s\n", pin, entry,
		    entry >> 56 & (logical ? 0xff : 0xf), entry & 0xff,
		    entry >> 13 & 1 ? "active-lo" : "active-hi",
		    entry >> 15 & 1 ? "level" : "edge",
		    entry >> 16 & 1 ? "masked" : "",
		    delivery[entry >> 8 & 7], logical ? "logical" : "physical");
}

static void print_ioapic(struct text *out, const struct kvm_ioapic_state *s)
{
	uint32_t remote_irr = 0;

	text_printf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x", IOAPIC_VERSION, s->id,
		    s->ioregsel);
	if (s->ioregsel >= IOAPIC_REDTBL)
		text_printf(out, " (redir[%u])", (s->ioregsel - IOAPIC_REDTBL) / 2);
	text_printf(out, "\n");
	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		uint64_t entry = s->redirtbl[i].bits;

		print_entry(out, i, entry);
		if ((entry >> 15 & 1) && (entry >> 14 & 1))
			remote_irr |= 1u << i;
	}
	print_pins(out, "IRR", s->irr);
	print_pins(out, "Remote IRR", remote_irr);
}

static void print_pic(struct text *out, int n, const struct kvm_pic_state *s)
{
	text_printf(out, "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x "
		    "fnm=%d\n", n, s->irr, s->imr, s->isr, s->priority_add, s->irq_base,
		    s->read_reg_select, s->elcr, s->special_fully_nested_mode);
}

/* Read from the kernel as they are: no vCPU is stopped for it. */
void hmp_info_pic(struct hmp *hmp, const struct hmp_args *args)
{
	struct kvm_irqchip chip[3];
	struct error err;

	(void)args;
	for (uint32_t i = 0; i < 3; i++) {
		chip[i].chip_id = i;
		if (kvm_call(&hmp->vm->handle, KVM_REQ_GET_IRQCHIP, &chip[i], &err) == -1) {
			hmp_print_error(hmp, &err);
			return;
		}
	}
	print_ioapic(hmp->out, &chip[KVM_IRQCHIP_IOAPIC].chip.ioapic);
	print_pic(hmp->out, 1, &chip[KVM_IRQCHIP_PIC_SLAVE].chip.pic);
	print_pic(hmp->out, 0, &chip[KVM_IRQCHIP_PIC_MASTER].chip.pic);
}
