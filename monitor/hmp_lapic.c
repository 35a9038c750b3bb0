/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "monitor/hmp.h"
#include "vmm/lapic.h"

#define DELIVERY_NMI    4
#define DFR_CLUSTER     0x0
#define DFR_FLAT        0xf

static void print_lvt(struct text *out, const char *name, uint32_t lvt, bool timer)
{
	static const char *const delivery[8] = {
		"Fixed", "...", "SMI", "...", "NMI", "INIT", "...", "ExtINT",
	};
	const char *timer_mode = lvt & 1u << 17 ? "periodic" :
				 lvt & 1u << 18 ? "tsc-deadline" : "one-shot";
	unsigned int mode = lvt >> 8 & 7;

	text_printf(out, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, lvt,
		    lvt & 1u << 13 ? "active-lo" : "active-hi", lvt & 1u << 15 ? "level" : "edge",
		    lvt & 1u << 16 ? "masked" : "", lvt & 1u << 12 ? "pending" : "",
		    timer ? timer_mode : "", delivery[mode]);
	if (mode != DELIVERY_NMI)
		text_printf(out, " (vec %u)", lvt & 0xff);
	text_printf(out, "\n");
}

static void print_mask(struct text *out, unsigned int value, unsigned int bits)
{
	while (bits-- > 0)
		text_printf(out, "%c", value >> bits & 1 ? '1' : '0');
}

/* Whom an interrupt without a shorthand is for. */
static void print_destination(struct text *out, uint32_t icr2, bool logical, unsigned int format,
			      bool x2apic)
{
	const char *kind = x2apic ? "(X2APIC ID)" : "(APIC ID)";
	uint32_t dest = x2apic ? icr2 : icr2 >> 24;
	unsigned int id_bits = x2apic ? 16 : 4;

	if (!logical) {
		text_printf(out, " cpu %u %s", dest, kind);
	} else if (x2apic || format == DFR_CLUSTER) {
		/* x2APIC mode has no DFR: logical destinations are always clusters. */
		text_printf(out, " cluster %u mask ", dest >> id_bits);
		print_mask(out, dest & ((1u << id_bits) - 1), id_bits);
		text_printf(out, " %s", kind);
	} else if (format == DFR_FLAT) {
		text_printf(out, " mask ");
		print_mask(out, dest, 8);
		text_printf(out, " %s", kind);
	}
}

static void print_icr(struct text *out, const struct kvm_lapic_state *lapic, bool x2apic)
{
	static const char *const shorthand[4] = { "no-shorthand", "self", "all-self", "all" };
	uint32_t icr = lapic_register(lapic, LAPIC_ICR), icr2 = lapic_register(lapic, LAPIC_ICR2);
	bool logical = icr & 1u << 11;

	text_printf(out, "ICR\t 0x%08x %s %s %s %s\n", icr, logical ? "logical" : "physical",
		    icr & 1u << 15 ? "level" : "edge", icr & 1u << 14 ? "assert" : "de-assert",
		    shorthand[icr >> 18 & 3]);
	text_printf(out, "ICR2\t 0x%08x", icr2);
	if ((icr >> 18 & 3) == 0)
		print_destination(out, icr2, logical, lapic_register(lapic, LAPIC_DFR) >> 28, x2apic);
	text_printf(out, "\n");
}

static void print_vectors(struct text *out, const char *name, const struct kvm_lapic_state *lapic,
			  unsigned int offset)
{
	bool any = false;

	text_printf(out, "%s\t ", name);
	for (unsigned int vector = 0; vector < 256; vector++)
		if (lapic_vector(lapic, offset, vector)) {
			text_printf(out, "%u%s ", vector,
				    lapic_vector(lapic, LAPIC_TMR, vector) ? "(level)" : "");
			any = true;
		}
	text_printf(out, "%s\n", any ? "" : "(none)");
}

void hmp_print_lapic(struct text *out, int cpu, const struct kvm_lapic_state *lapic, bool x2apic)
{
	uint32_t svr = lapic_register(lapic, LAPIC_SVR), tdcr = lapic_register(lapic, LAPIC_TDCR);
	/* Bits 3, 1 and 0 are one number: 2, 4, ... 128, and 1 for the last. */
	unsigned int divider = ((tdcr >> 1 & 4) | (tdcr & 3)) + 1;
	unsigned int ldr = lapic_register(lapic, LAPIC_LDR) >> 24;
	unsigned int dfr = lapic_register(lapic, LAPIC_DFR) >> 28;

	text_printf(out, "dumping local APIC state for CPU %-2d\n\n", cpu);
	print_lvt(out, "LVT0", lapic_register(lapic, LAPIC_LVT_0), false);
	print_lvt(out, "LVT1", lapic_register(lapic, LAPIC_LVT_1), false);
	print_lvt(out, "LVTPC", lapic_register(lapic, LAPIC_LVT_PC), false);
	print_lvt(out, "LVTERR", lapic_register(lapic, LAPIC_LVT_ERR), false);
	print_lvt(out, "LVTTHMR", lapic_register(lapic, LAPIC_LVT_THMR), false);
	print_lvt(out, "LVTT", lapic_register(lapic, LAPIC_LVT_TIMER), true);
	text_printf(out, "Timer\t DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n",
		    tdcr & 0xb, 1u << divider % 8, lapic_register(lapic, LAPIC_TMICT),
		    lapic_register(lapic, LAPIC_TMCCT));
	text_printf(out, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", svr,
		    svr & 1u << 8 ? "enabled" : "disabled", svr & 1u << 9 ? "on" : "off",
		    svr & 0xff);
	print_icr(out, lapic, x2apic);
	text_printf(out, "ESR\t 0x%08x\n", lapic_register(lapic, LAPIC_ESR));
	print_vectors(out, "ISR", lapic, LAPIC_ISR);
	print_vectors(out, "IRR", lapic, LAPIC_IRR);
	text_printf(out, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x", lapic_register(lapic, LAPIC_APR),
		    lapic_register(lapic, LAPIC_TPR) & 0xff, dfr, ldr);
	if (dfr == DFR_CLUSTER)
		text_printf(out, "(cluster %u: id %u)", ldr >> 4, ldr & 0xf);
	text_printf(out, " PPR 0x%02x\n", lapic_priority(lapic));
}
