/* SPDX-License-Identifier: MIT */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#define KVM_DEVICE "/dev/kvm"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36
/* Its inode number is given to no other one before the next boot. */
#define KVM_SYSFS "/sys/devices/virtual/misc/kvm"
#define PREEMPTION_TIMER "/sys/module/kvm_intel/parameters/preemption_timer"

/* More than any kernel reports; a list that does not fit into this is refused, not grown for ever. */
#define KVM_LIST_MAX 65536

static int system_open(void *ctx, const char *path, int flags)
{
	(void)ctx;
	return open(path, flags);
}

static int system_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	(void)ctx;
	return ioctl(fd, request, arg);
}

static void *system_mmap(void *ctx, size_t length, int prot, int flags, int fd, off_t offset)
{
	(void)ctx;
	return mmap(NULL, length, prot, flags, fd, offset);
}

static int system_munmap(void *ctx, void *addr, size_t length)
{
	(void)ctx;
	return munmap(addr, length);
}

static int system_close(void *ctx, int fd)
{
	(void)ctx;
	return close(fd);
}

static ssize_t system_pread(void *ctx, int fd, void *buf, size_t len, off_t offset)
{
	(void)ctx;
	return pread(fd, buf, len, offset);
}

static uint64_t system_read_tsc(void *ctx)
{
	(void)ctx;
	return __rdtsc();
}

static bool system_timer_needs_guest(void *ctx)
{
	int fd = open(PREEMPTION_TIMER, O_RDONLY | O_CLOEXEC);
	char answer = 'Y';

	(void)ctx;
	if (fd < 0)
		return errno != ENOENT;         /* there is no kvm_intel */
	if (read(fd, &answer, 1) != 1)
		answer = 'Y';
	close(fd);
	return answer != 'N' && answer != '0';
}

static bool system_host_id(void *ctx, uint8_t id[KVM_HOST_ID_LEN])
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t inode;
	ssize_t len;

	(void)ctx;
	if (fd < 0)
		return false;
	len = read(fd, id, BOOT_ID_LEN);
	close(fd);
	if (len != BOOT_ID_LEN || stat(KVM_SYSFS, &st) < 0)
		return false;
	inode = st.st_ino;
	memcpy(id + BOOT_ID_LEN, &inode, sizeof(inode));
	return true;
}

const struct kvm_ops kvm_ops_system = {
	.open = system_open,
	.ioctl = system_ioctl,
	.mmap = system_mmap,
	.munmap = system_munmap,
	.close = system_close,
	.pread = system_pread,
	.read_tsc = system_read_tsc,
	.timer_needs_guest = system_timer_needs_guest,
	.host_id = system_host_id,
};

static const struct {
	const char *name;
	enum kvm_request_class class;
	unsigned long number;
} requests[KVM_REQ_COUNT] = {
#define X(name, class) { "KVM_" #name, KVM_CLASS_##class, KVM_##name },
	KVM_REQUESTS(X)
#undef X
};

const char *kvm_request_name(enum kvm_request request)
{
	return requests[request].name;
}

int kvm_ioctl(struct kvm_handle *h, enum kvm_request request, void *arg)
{
	atomic_fetch_add_explicit(&h->count[request], 1, memory_order_relaxed);
	return h->kvm->ops->ioctl(h->kvm->ops_ctx, h->fd, requests[request].number, arg);
}

int kvm_call(struct kvm_handle *h, enum kvm_request request, void *arg, struct error *err)
{
	int rc = kvm_ioctl(h, request, arg);

	if (rc < 0)
		return error_errno(err, errno, "%s", requests[request].name);
	return rc;
}

void kvm_handle_init(struct kvm_handle *h, struct kvm *kvm, int fd)
{
	h->kvm = kvm;
	h->fd = fd;
	for (int i = 0; i < KVM_REQ_COUNT; i++)
		atomic_init(&h->count[i], 0);
}

void kvm_handle_close(struct kvm_handle *h)
{
	if (h->fd >= 0)
		h->kvm->ops->close(h->kvm->ops_ctx, h->fd);
	h->fd = -1;
}

uint64_t kvm_handle_count(const struct kvm_handle *h, enum kvm_request_class class)
{
	uint64_t sum = 0;

	for (int i = 0; i < KVM_REQ_COUNT; i++)
		if (requests[i].class == class)
			sum += atomic_load_explicit(&h->count[i], memory_order_relaxed);
	return sum;
}

static unsigned int check(struct kvm *kvm, unsigned long cap)
{
	int rc = kvm_ioctl(&kvm->sys, KVM_REQ_CHECK_EXTENSION, kvm_int_arg(cap));

	return rc > 0 ? (unsigned int)rc : 0;
}

static int open_device(struct kvm *kvm, struct error *err)
{
	int fd = kvm->ops->open(kvm->ops_ctx, KVM_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return error_set(err, errno, "no " KVM_DEVICE ": load kvm_intel or kvm_amd, and "
					 "enable virtualisation in the firmware");
		case EACCES:
		case EPERM:
			return error_set(err, errno, "no permission on " KVM_DEVICE ": run as a member "
					 "of the group that owns it (usually kvm)");
		default:
			return error_errno(err, errno, "cannot open " KVM_DEVICE);
		}
	}
	kvm_handle_init(&kvm->sys, kvm, fd);
	return 0;
}

static int check_version(struct kvm *kvm, struct error *err)
{
	int version = kvm_ioctl(&kvm->sys, KVM_REQ_GET_API_VERSION, NULL);

	if (version < 0)
		return error_errno(err, errno, KVM_DEVICE " is not KVM's device (KVM_GET_API_VERSION); "
				   "make it with mknod as the kernel's misc device, or reload kvm");
	/* The documentation asks for exactly this: api.rst 4.1. */
	if (version != KVM_API_VERSION)
		return error_set(err, ENOTSUP, KVM_DEVICE " speaks API version %d, and only %d is known",
				 version, KVM_API_VERSION);
	return 0;
}

static int check_caps(struct kvm *kvm, struct error *err)
{
	static const struct {
		unsigned long cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		/* Without it a vCPU can not be parked with its I/O committed and no kick lost. */
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	struct kvm_caps *caps = &kvm->caps;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!check(kvm, needed[i].cap))
			return error_set(err, ENOTSUP, "this kernel's KVM lacks %s; a newer kernel is "
					 "needed (Linux 4.13 has all that vmond must have)",
					 needed[i].name);

	caps->max_vcpus = check(kvm, KVM_CAP_MAX_VCPUS);
	if (!caps->max_vcpus)
		caps->max_vcpus = check(kvm, KVM_CAP_NR_VCPUS);
	if (!caps->max_vcpus)
		caps->max_vcpus = 4;            /* what api.rst 4.5 says to assume */
	caps->max_vcpu_id = check(kvm, KVM_CAP_MAX_VCPU_ID);
	if (!caps->max_vcpu_id)
		caps->max_vcpu_id = caps->max_vcpus;    /* likewise */
	caps->x2apic_api = check(kvm, KVM_CAP_X2APIC_API);
	caps->sync_regs = check(kvm, KVM_CAP_SYNC_REGS) &
			  (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS);
	caps->xsave_size = check(kvm, KVM_CAP_XSAVE2);
	caps->nested_size = check(kvm, KVM_CAP_NESTED_STATE);
	caps->xsave = check(kvm, KVM_CAP_XSAVE);
	caps->xcrs = check(kvm, KVM_CAP_XCRS);
	caps->vcpu_events = check(kvm, KVM_CAP_VCPU_EVENTS);
	caps->debugregs = check(kvm, KVM_CAP_DEBUGREGS);
	caps->mp_state = check(kvm, KVM_CAP_MP_STATE);
	caps->sregs2 = check(kvm, KVM_CAP_SREGS2);
	caps->tsc_control = check(kvm, KVM_CAP_TSC_CONTROL);
	caps->get_tsc_khz = check(kvm, KVM_CAP_GET_TSC_KHZ);
	caps->adjust_clock = check(kvm, KVM_CAP_ADJUST_CLOCK);
	caps->kvmclock_ctrl = check(kvm, KVM_CAP_KVMCLOCK_CTRL);
	caps->pit2 = check(kvm, KVM_CAP_PIT2);
	caps->pit_state2 = check(kvm, KVM_CAP_PIT_STATE2);
	caps->tss_addr = check(kvm, KVM_CAP_SET_TSS_ADDR);
	caps->identity_map = check(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR);
	caps->user_nmi = check(kvm, KVM_CAP_USER_NMI);
	caps->set_guest_debug = check(kvm, KVM_CAP_SET_GUEST_DEBUG);
	caps->exception_payload = check(kvm, KVM_CAP_EXCEPTION_PAYLOAD);
	caps->triple_fault_event = check(kvm, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	caps->tsc_deadline_timer = check(kvm, KVM_CAP_TSC_DEADLINE_TIMER);
	caps->binary_stats = check(kvm, KVM_CAP_BINARY_STATS_FD);
	caps->vcpu_attributes = check(kvm, KVM_CAP_VCPU_ATTRIBUTES);
	caps->msr_features = check(kvm, KVM_CAP_GET_MSR_FEATURES);
	caps->xen_hvm = check(kvm, KVM_CAP_XEN_HVM);
	caps->user_space_msr = check(kvm, KVM_CAP_X86_USER_SPACE_MSR);
	caps->msr_filter = check(kvm, KVM_CAP_X86_MSR_FILTER);
	caps->mce_banks = check(kvm, KVM_CAP_MCE);
	if (caps->mce_banks > 10)
		caps->mce_banks = 10;

	int size = kvm_call(&kvm->sys, KVM_REQ_GET_VCPU_MMAP_SIZE, NULL, err);
	if (size < 0)
		return -1;
	if ((size_t)size < sizeof(struct kvm_run))
		return error_set(err, EINVAL, "KVM_GET_VCPU_MMAP_SIZE gives %d bytes, less than a run "
				 "page has", size);
	caps->run_size = (size_t)size;
	if (caps->xsave_size && caps->xsave_size < sizeof(struct kvm_xsave))
		caps->xsave_size = sizeof(struct kvm_xsave);
	return 0;
}

/* First asks how many there are: the kernel says E2BIG and the number (api.rst 4.3). */
struct kvm_msr_list *kvm_read_msr_list(struct kvm *kvm, enum kvm_request request,
				       struct error *err)
{
	struct kvm_msr_list probe = { .nmsrs = 0 };

	for (;;) {
		uint32_t room = probe.nmsrs;
		struct kvm_msr_list *list;

		if (room > KVM_LIST_MAX) {
			error_set(err, E2BIG, "%s has %u entries, which can not be",
				  kvm_request_name(request), room);
			return NULL;
		}
		list = malloc(sizeof(*list) + room * sizeof(list->indices[0]));
		if (!list) {
			error_errno(err, ENOMEM, "the list of MSRs");
			return NULL;
		}
		list->nmsrs = room;
		if (kvm_ioctl(&kvm->sys, request, list) == 0)
			return list;
		int code = errno;
		probe.nmsrs = list->nmsrs;
		free(list);
		/* Growing must make progress, or a kernel gone mad would keep us here. */
		if (code != E2BIG || probe.nmsrs <= room) {
			error_errno(err, code, "%s", kvm_request_name(request));
			return NULL;
		}
	}
}

/* The kernel says E2BIG until the table fits, without saying how large it is (api.rst 4.46). */
static const struct kvm_cpuid2 *read_cpuid(struct kvm *kvm, enum kvm_request request,
					   struct kvm_cpuid2 **kept, struct error *err)
{
	for (uint32_t room = 128; room <= KVM_LIST_MAX; room *= 2) {
		struct kvm_cpuid2 *table;

		table = calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));
		if (!table) {
			error_errno(err, ENOMEM, "the table of %s", requests[request].name);
			return NULL;
		}
		table->nent = room;
		if (kvm_ioctl(&kvm->sys, request, table) == 0) {
			*kept = table;
			return table;
		}
		int code = errno;
		free(table);
		if (code != E2BIG) {
			error_errno(err, code, "%s", requests[request].name);
			return NULL;
		}
	}
	error_set(err, E2BIG, "%s does not fit into %d entries", requests[request].name,
		  KVM_LIST_MAX);
	return NULL;
}

const struct kvm_cpuid2 *kvm_supported_cpuid(struct kvm *kvm, struct error *err)
{
	if (kvm->supported_cpuid)
		return kvm->supported_cpuid;
	return read_cpuid(kvm, KVM_REQ_GET_SUPPORTED_CPUID, &kvm->supported_cpuid, err);
}

const struct kvm_cpuid2 *kvm_emulated_cpuid(struct kvm *kvm, struct error *err)
{
	static const struct kvm_cpuid2 none;

	if (kvm->emulated_cpuid)
		return kvm->emulated_cpuid;
	if (!check(kvm, KVM_CAP_EXT_EMUL_CPUID))
		return &none;
	return read_cpuid(kvm, KVM_REQ_GET_EMULATED_CPUID, &kvm->emulated_cpuid, err);
}

int kvm_open(struct kvm *kvm, const struct kvm_ops *ops, void *ops_ctx, struct error *err)
{
	memset(kvm, 0, sizeof(*kvm));
	kvm->ops = ops ? ops : &kvm_ops_system;
	kvm->ops_ctx = ops_ctx;
	kvm->sys.fd = -1;
	if (open_device(kvm, err) < 0)
		return -1;
	kvm->sys.kvm = kvm;
	if (check_version(kvm, err) == 0 && check_caps(kvm, err) == 0)
		kvm->msr_list = kvm_read_msr_list(kvm, KVM_REQ_GET_MSR_INDEX_LIST, err);
	if (!kvm->msr_list) {
		kvm_close(kvm);
		return -1;
	}
	return 0;
}

void kvm_close(struct kvm *kvm)
{
	free(kvm->msr_list);
	kvm->msr_list = NULL;
	free(kvm->supported_cpuid);
	kvm->supported_cpuid = NULL;
	free(kvm->feature_msrs);
	kvm->feature_msrs = NULL;
	free(kvm->emulated_cpuid);
	kvm->emulated_cpuid = NULL;
	kvm_handle_close(&kvm->sys);
}

struct kvm_run *kvm_map_run(struct kvm_handle *vcpu, struct error *err)
{
	struct kvm *kvm = vcpu->kvm;
	void *run = kvm->ops->mmap(kvm->ops_ctx, kvm->caps.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
				   vcpu->fd, 0);

	if (run == MAP_FAILED) {
		error_errno(err, errno, "mapping the run page of a vCPU");
		return NULL;
	}
	return run;
}

void kvm_unmap_run(struct kvm *kvm, struct kvm_run *run)
{
	if (run)
		kvm->ops->munmap(kvm->ops_ctx, run, kvm->caps.run_size);
}

ssize_t kvm_stats_read(const struct kvm *kvm, int fd, void *buf, size_t len, off_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = kvm->ops->pread(kvm->ops_ctx, fd, (char *)buf + done, len - done,
				    offset + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void kvm_stats_close(const struct kvm *kvm, int fd)
{
	kvm->ops->close(kvm->ops_ctx, fd);
}
