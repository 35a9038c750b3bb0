/* SPDX-License-Identifier: MIT */
#ifndef VMM_XEN_HVM_H
#define VMM_XEN_HVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm.h"
#include "vmm/memory.h"
#include "vmm/msr.h"

/*
 * What a Xen PV-on-HVM guest needs to begin with: CPUID leaves that say so, and an MSR by which it
 * has hypercall pages written.  A write of that MSR names a page of guest RAM, and in its low 12
 * bits which page of a blob goes there: of the 64-bit blob when long mode is active (EFER.LMA), of
 * the 32-bit one when it is not.  #GP answers a page that the blob does not have, and an address
 * that is not RAM.  The MSR can not be read: #GP, too.
 *
 * Two ways lead there.  With KVM_CAP_XEN_HVM the kernel writes the pages and tells nobody.  Without
 * it, or when it is asked for, a filter of the MSR's writes brings them here
 * (KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER), and this does what the kernel would:
 * kvm_xen_write_hypercall_page() in arch/x86/kvm/xen.c.
 *
 * Threads: the owner's, but for xen_hvm_write_page(), and what is under the lock.
 */
#define XEN_HVM_PAGE            4096u
#define XEN_HVM_BLOB_PAGES      255     /* at most: KVM_XEN_HVM_CONFIG has 8 bits for it */
#define XEN_HVM_PAGES_LISTED    256     /* pages of the guest that are remembered */

/* What Linux 6.15 and later allow; older ones take all, and confuse them with real ones. */
#define XEN_HVM_MSR_MIN         0x40000000u
#define XEN_HVM_MSR_MAX         0x4fffffffu
#define XEN_HVM_MSR_DEFAULT     XEN_HVM_MSR_MIN

enum xen_hvm_path {
	XEN_HVM_PATH_ANY,               /* the kernel's where there is one */
	XEN_HVM_PATH_KERNEL,
	XEN_HVM_PATH_USER_SPACE,
};
/* "user-space"; not of XEN_HVM_PATH_ANY. */
const char *xen_hvm_path_name(enum xen_hvm_path path);

struct xen_hvm_config {
	uint32_t msr;
	uint16_t major, minor;          /* the version of Xen that the guest sees */
	const char *blob[2];            /* files: 32-bit, 64-bit; NULL for none, but not both */
	enum xen_hvm_path path;
};

/* What can be said about them without looking at the host or at any file. */
int xen_hvm_check_config(const struct xen_hvm_config *config, struct error *err);
int xen_hvm_check_msr(uint32_t msr, struct error *err);

struct xen_hvm_blob {
	uint8_t *data;                  /* whole pages; NULL when there are none */
	unsigned int pages;
	char *file;                     /* where it came from; NULL: a snapshot */
};

/* A page of guest RAM, and what was written to it last. */
struct xen_hvm_page {
	uint64_t gpa;
	uint64_t count;                 /* how often one was written there */
	uint32_t vcpu;
	uint8_t index;                  /* page of the blob */
	bool long_mode;                 /* the 64-bit blob's */
};

/* Since the machine was created or last reset. */
struct xen_hvm_written {
	bool complete;                  /* every write was seen: none of them was the kernel's */
	uint64_t refused;               /* answered with #GP */
	uint64_t unlisted;              /* writes of pages for which there was no room */
	unsigned int nr;
	struct xen_hvm_page page[XEN_HVM_PAGES_LISTED];
};

struct xen_hvm {
	/* Constant once vCPUs run. */
	uint32_t msr;
	uint32_t version;               /* major << 16 | minor */
	uint32_t cpuid_base;
	enum xen_hvm_path path;         /* not XEN_HVM_PATH_ANY */
	struct xen_hvm_blob blob[2];    /* by long_mode */

	pthread_mutex_t lock;
	struct xen_hvm_written written; /* under the lock */
};

/*
 * Reads the blobs.  Fails when they are not what they must be, the host's KVM can take none of the
 * ways that config.path allows, or the MSR is one of its own.  xen_hvm_free() takes NULL.
 */
struct xen_hvm *xen_hvm_new(const struct kvm *kvm, const struct xen_hvm_config *config,
			    struct error *err);
void xen_hvm_free(struct xen_hvm *xen);

/* The same without blobs, which the caller fills in: of a machine that was saved. */
struct xen_hvm *xen_hvm_new_saved(const struct kvm *kvm, uint32_t msr, uint32_t version,
				  enum xen_hvm_path wanted, struct error *err);

/*
 * Tells KVM, and takes the MSR out of those that are saved and set: setting it from outside would
 * write a page, too.  No vCPU runs.  The blobs must stay as long as the VM.
 */
int xen_hvm_enable(struct xen_hvm *xen, struct kvm_handle *vm, struct msr_table *msrs,
		   struct error *err);

/* ---- CPUID (xen_hvm_cpuid.c) ---- */

/*
 * Appends the leaves to a finished table, at the first of 0x40000000, 0x40000100, ... where the
 * table has nothing.  *table is realloc()ed, and stays the caller's whatever is returned.
 * `tsc_khz` is the guest's; 0: not known.
 */
int xen_hvm_add_cpuid(struct xen_hvm *xen, struct kvm_cpuid2 **table, uint32_t tsc_khz,
		      struct error *err);
/* The leaf that differs from vCPU to vCPU. */
void xen_hvm_set_vcpu_id(const struct xen_hvm *xen, struct kvm_cpuid2 *table, uint32_t vcpu);
/* Where a guest would find the leaves; 0: nowhere. */
uint32_t xen_hvm_find_cpuid(const struct kvm_cpuid2 *table);

/* ---- Running ---- */

/* The guest writes `value` to the MSR.  False: #GP.  vCPU threads. */
bool xen_hvm_write_page(struct xen_hvm *xen, const struct memory *memory, uint32_t vcpu,
			bool long_mode, uint64_t value);

/* A copy of what has been written so far. */
void xen_hvm_get_written(struct xen_hvm *xen, struct xen_hvm_written *written);

/* The machine is reset: what has been written is the past. */
void xen_hvm_reset(struct xen_hvm *xen);

#endif
