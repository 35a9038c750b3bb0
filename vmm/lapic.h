/* SPDX-License-Identifier: MIT */
#ifndef VMM_LAPIC_H
#define VMM_LAPIC_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * The page of a local APIC, as KVM_GET_LAPIC has it: registers of 32 bits, by their offset (Intel
 * SDM vol. 3A, table 11-1).
 */
#define LAPIC_ID        0x020
#define LAPIC_VERSION   0x030
#define LAPIC_TPR       0x080
#define LAPIC_APR       0x090
#define LAPIC_PPR       0x0a0
#define LAPIC_LDR       0x0d0
#define LAPIC_DFR       0x0e0
#define LAPIC_SVR       0x0f0
#define LAPIC_ISR       0x100
#define LAPIC_TMR       0x180
#define LAPIC_IRR       0x200
#define LAPIC_ESR       0x280
#define LAPIC_LVT_CMCI  0x2f0
#define LAPIC_ICR       0x300
#define LAPIC_ICR2      0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_THMR  0x330
#define LAPIC_LVT_PC    0x340
#define LAPIC_LVT_0     0x350
#define LAPIC_LVT_1     0x360
#define LAPIC_LVT_ERR   0x370
#define LAPIC_TMICT     0x380           /* initial count of the timer */
#define LAPIC_TMCCT     0x390           /* its current count */
#define LAPIC_TDCR      0x3e0

/* The local vector table: Intel SDM vol. 3A, figure 11-8. */
#define LAPIC_LVT_VECTOR        0xffU
#define LAPIC_LVT_MODE          (7U << 8)
#define LAPIC_LVT_MODE_NMI      (4U << 8)
#define LAPIC_LVT_MODE_EXTINT   (7U << 8)
#define LAPIC_LVT_MASKED        (1U << 16)
#define LAPIC_LVT_PERIODIC      (1U << 17)
#define LAPIC_LVT_DEADLINE      (1U << 18)

static inline uint32_t lapic_register(const struct kvm_lapic_state *lapic, unsigned int offset)
{
	uint32_t value;

	memcpy(&value, lapic->regs + offset, sizeof(value));
	return value;
}

static inline void lapic_set_register(struct kvm_lapic_state *lapic, unsigned int offset,
				      uint32_t value)
{
	memcpy(lapic->regs + offset, &value, sizeof(value));
}

/* A vector in LAPIC_ISR, LAPIC_TMR or LAPIC_IRR: 256 bits, 32 in each of 8 registers. */
static inline bool lapic_vector(const struct kvm_lapic_state *lapic, unsigned int offset,
				uint8_t vector)
{
	return lapic_register(lapic, offset + vector / 32 * 16) >> vector % 32 & 1;
}

/*
 * The processor's priority: that of the task or of the interrupt in service (SDM, 11.8.3.1).  What
 * the page has in LAPIC_PPR may be older, for KVM works it out when it needs it: after
 * KVM_SET_LAPIC, say, it takes nothing to be in service (apic_update_ppr() in
 * arch/x86/kvm/lapic.c).
 */
static inline uint32_t lapic_priority(const struct kvm_lapic_state *lapic)
{
	uint32_t tpr = lapic_register(lapic, LAPIC_TPR) & 0xff;
	int vector = 255;

	while (vector >= 0 && !lapic_vector(lapic, LAPIC_ISR, (uint8_t)vector))
		vector--;
	if (vector < 0 || tpr >> 4 >= (uint32_t)vector >> 4)
		return tpr;
	return (uint32_t)vector & 0xf0;
}

#endif
