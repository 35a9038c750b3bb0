/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "monitor/qmp.h"
#include "monitor/text.h"
#include "vmm/pagewalk.h"
#include "vmm/vm.h"

struct monitor;
struct monitor_client;

/*
 * The human monitor: one line in, text out.  Output and error texts are QEMU's where QEMU has the
 * command, so that scripts that parse them go on working.
 *
 * Threads: the event loop's.
 */
struct hmp {
	struct monitor *monitor;        /* what is not the machine's; NULL in unit tests */
	struct monitor_client *client;  /* whose line it is, for its descriptors; as above */
	struct qmp_call *call;          /* human-monitor-command; NULL if the line came otherwise */
	struct vm *vm;
	int cpu;                        /* the current vCPU; `cpu N` changes it */
	struct text *out;
	/*
	 * What x and xp take when no format is given: that of the last time.  0 means QEMU's first
	 * ones, x and w.
	 */
	char last_format;
	unsigned int last_size;         /* in bytes */
	bool observing;                 /* commands that may change something are refused */
	bool refused;                   /* and one was; nothing has been printed */
	bool deferred;                  /* hmp_defer() has been called */
};

/* Runs one command line.  Failures are text in hmp->out, as in QEMU. */
void hmp_execute(struct hmp *hmp, const char *line);

/*
 * For a command that takes its time: what it prints is complete later.  The text goes to hmp->out
 * until the handler returns, and to qmp_pending_text() from then on; qmp_pending_return() is the
 * end of it, qmp_pending_error() adds the line "Error: ...".  All else is as with qmp_defer().
 *
 * Returns NULL where nobody can wait, and prints so if it is for want of memory: the command then
 * goes on without.
 */
struct qmp_pending *hmp_defer(struct hmp *hmp, qmp_gone_fn *gone, void *opaque);

/*
 * Completes the name that ends at line[len]: puts what all candidates go on with into `more`, with a
 * space behind it if there is one candidate only, and returns its length.  If that is 0 and there
 * are several, lists them in `candidates`.
 */
size_t hmp_complete(const char *line, size_t len, char *more, size_t size,
		    struct text *candidates);

/*
 * What one command prints at most, but for the line that says so.  libvirt takes replies of up to
 * 10 MiB.
 */
#define HMP_OUTPUT_MAX  (8u << 20)

/*
 * Formatters (hmp_registers.c, hmp_paging.c, hmp_lapic.c), usable without a running machine: they
 * take what they print.
 */

/* Vector registers beyond SSE's. */
struct hmp_vectors {
	uint64_t xcr0;                  /* says which of them there are */
	uint64_t opmask[8];
	uint64_t zmm[32][8];            /* lowest 64 bits first; XMM and YMM are lower parts */
};

/*
 * Takes the vector registers out of an XSAVE area of `size` bytes in the standard format.  `cpuid`
 * says where the components lie (leaf 0xd); those it does not place inside the area are dropped
 * from xcr0.
 */
void hmp_vectors_init(struct hmp_vectors *v, uint64_t xcr0, const struct kvm_xsave *xsave,
		      size_t size, const struct kvm_cpuid2 *cpuid);

struct hmp_registers {
	const struct kvm_regs *regs;
	const struct kvm_sregs2 *sregs;
	const struct kvm_debugregs *debugregs;  /* NULL where the host has none: no line then */
	const struct kvm_fpu *fpu;
	const struct hmp_vectors *vectors;      /* NULL where the host has no XSAVE: XMM from fpu */
	bool halted, smm, inhibit_irq;
};
/* QEMU's text, with one line more in PAE paging: the PDPTRs, where the host hands them out. */
void hmp_print_registers(struct text *out, int cpu, const struct hmp_registers *r);

/* One line. */
void hmp_print_nested(struct text *out, int cpu, const struct kvm_nested_state *nested);

/*
 * Both say so in a last line when HMP_OUTPUT_MAX or PAGEWALK_MAX_TABLES cut them short.  Addresses
 * on the right are physical to whom the tables belong, an inner guest if the vCPU is in one.
 */
void hmp_print_tlb(struct text *out, const struct page_space *space);
void hmp_print_mem(struct text *out, const struct page_space *space);

/* `x2apic`: the mode of IA32_APIC_BASE, in which ICR2 holds the destination as a whole. */
void hmp_print_lapic(struct text *out, int cpu, const struct kvm_lapic_state *lapic, bool x2apic);

#endif
