/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/fake_kvm_internal.h"

#define SYS     FAKE_FD_SYSTEM
#define VM      FAKE_FD_VM
#define VCPU    FAKE_FD_VCPU
#define NONE    (-1)           /* depends on no capability */

/* The requests the fake knows.  One that is missing here gives ENOTTY and a violation. */
const struct fake_request fake_requests[KVM_REQ_COUNT] = {
#define ON(kinds, name, cap, fn)         [KVM_REQ_##name] = { kinds, cap, false, fn, NULL }
#define ON_INT(kinds, name, cap, fn)     [KVM_REQ_##name] = { kinds, cap, true, fn, NULL }
#define SETS(name, cap, fn, same)        [KVM_REQ_##name] = { VCPU, cap, false, fn, same }
	ON_INT(SYS, GET_API_VERSION, NONE, fake_get_api_version),
	ON_INT(SYS | VM, CHECK_EXTENSION, NONE, fake_check_extension),
	ON_INT(SYS, GET_VCPU_MMAP_SIZE, NONE, fake_get_mmap_size),
	ON(SYS, GET_MSR_INDEX_LIST, NONE, fake_get_msr_index_list),
	ON(SYS, GET_MSR_FEATURE_INDEX_LIST, KVM_CAP_GET_MSR_FEATURES,
	   fake_get_msr_feature_index_list),
	ON(SYS, GET_SUPPORTED_CPUID, KVM_CAP_EXT_CPUID, fake_get_supported_cpuid),
	ON(SYS, GET_EMULATED_CPUID, KVM_CAP_EXT_EMUL_CPUID, fake_get_emulated_cpuid),
	ON_INT(SYS, CREATE_VM, NONE, fake_create_vm),
	ON(VM, ENABLE_CAP, NONE, fake_enable_cap),
	ON_INT(VM, SET_TSS_ADDR, KVM_CAP_SET_TSS_ADDR, fake_set_tss_addr),
	ON(VM, SET_IDENTITY_MAP_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR, fake_set_identity_map),
	ON_INT(VM, CREATE_IRQCHIP, KVM_CAP_IRQCHIP, fake_create_irqchip),
	ON(VM, CREATE_PIT2, KVM_CAP_PIT2, fake_create_pit2),
	ON(VM, SET_USER_MEMORY_REGION, KVM_CAP_USER_MEMORY, fake_set_memory_region),
	ON_INT(VM, SET_BOOT_CPU_ID, KVM_CAP_SET_BOOT_CPU_ID, fake_set_boot_cpu_id),
	ON_INT(VM, CREATE_VCPU, NONE, fake_create_vcpu),
	ON(VM, IRQ_LINE, KVM_CAP_IRQCHIP, fake_irq_line),
	ON(VM, XEN_HVM_CONFIG, KVM_CAP_XEN_HVM, fake_xen_hvm_config),
	ON(VM, X86_SET_MSR_FILTER, KVM_CAP_X86_MSR_FILTER, fake_set_msr_filter),
	ON(VM, GET_CLOCK, KVM_CAP_ADJUST_CLOCK, fake_get_clock),
	ON(VM, SET_CLOCK, KVM_CAP_ADJUST_CLOCK, fake_set_clock),
	ON(VM, GET_PIT2, KVM_CAP_PIT_STATE2, fake_get_pit2),
	ON(VM, SET_PIT2, KVM_CAP_PIT_STATE2, fake_set_pit2),
	ON(VM, GET_IRQCHIP, KVM_CAP_IRQCHIP, fake_get_irqchip),
	ON_INT(VM | VCPU, GET_STATS_FD, KVM_CAP_BINARY_STATS_FD, fake_get_stats_fd),
	ON(VM, GET_DIRTY_LOG, NONE, fake_get_dirty_log),
	ON(VM, SET_IRQCHIP, KVM_CAP_IRQCHIP, fake_set_irqchip),
	/* KVM_RUN is not here: it alone does not hold the lock all the time. */
	ON_INT(VCPU, NMI, KVM_CAP_USER_NMI, fake_nmi),
	ON(VCPU, X86_SETUP_MCE, KVM_CAP_MCE, fake_setup_mce),
	ON(VCPU, SET_SIGNAL_MASK, NONE, fake_set_signal_mask),
	ON(VCPU, GET_DEVICE_ATTR, KVM_CAP_VCPU_ATTRIBUTES, fake_get_device_attr),
	SETS(SET_DEVICE_ATTR, KVM_CAP_VCPU_ATTRIBUTES, fake_set_device_attr,
	     fake_same_device_attr),
	ON_INT(VCPU, KVMCLOCK_CTRL, KVM_CAP_KVMCLOCK_CTRL, fake_kvmclock_ctrl),
	ON(VCPU, GET_CPUID2, KVM_CAP_EXT_CPUID, fake_get_cpuid2),
	SETS(SET_CPUID2, KVM_CAP_EXT_CPUID, fake_set_cpuid2, fake_same_cpuid2),
	ON_INT(VCPU, GET_TSC_KHZ, KVM_CAP_GET_TSC_KHZ, fake_get_tsc_khz),
	[KVM_REQ_SET_TSC_KHZ] = { VCPU, KVM_CAP_TSC_CONTROL, true, fake_set_tsc_khz,
				  fake_same_tsc_khz },
	ON(VCPU, GET_REGS, NONE, fake_get_regs),
	SETS(SET_REGS, NONE, fake_set_regs, fake_same_regs),
	ON(VCPU, GET_SREGS, NONE, fake_get_sregs),
	SETS(SET_SREGS, NONE, fake_set_sregs, fake_same_sregs),
	ON(VCPU, GET_SREGS2, KVM_CAP_SREGS2, fake_get_sregs2),
	SETS(SET_SREGS2, KVM_CAP_SREGS2, fake_set_sregs2, fake_same_sregs2),
	ON(VCPU, GET_NESTED_STATE, KVM_CAP_NESTED_STATE, fake_get_nested),
	SETS(SET_NESTED_STATE, KVM_CAP_NESTED_STATE, fake_set_nested, fake_same_nested),
	ON(VCPU, GET_XCRS, KVM_CAP_XCRS, fake_get_xcrs),
	SETS(SET_XCRS, KVM_CAP_XCRS, fake_set_xcrs, fake_same_xcrs),
	ON(VCPU, GET_XSAVE, KVM_CAP_XSAVE, fake_get_xsave),
	ON(VCPU, GET_XSAVE2, KVM_CAP_XSAVE2, fake_get_xsave2),
	SETS(SET_XSAVE, KVM_CAP_XSAVE, fake_set_xsave, fake_same_xsave),
	ON(VCPU, GET_FPU, NONE, fake_get_fpu),
	SETS(SET_FPU, NONE, fake_set_fpu, fake_same_fpu),
	ON(VCPU, GET_LAPIC, KVM_CAP_IRQCHIP, fake_get_lapic),
	SETS(SET_LAPIC, KVM_CAP_IRQCHIP, fake_set_lapic, fake_same_lapic),
	ON(SYS | VCPU, GET_MSRS, NONE, fake_get_msrs),
	SETS(SET_MSRS, NONE, fake_set_msrs, fake_same_msrs),
	ON(VCPU, GET_VCPU_EVENTS, KVM_CAP_VCPU_EVENTS, fake_get_events),
	SETS(SET_VCPU_EVENTS, KVM_CAP_VCPU_EVENTS, fake_set_events, fake_same_events),
	ON(VCPU, GET_MP_STATE, KVM_CAP_MP_STATE, fake_get_mp_state),
	SETS(SET_MP_STATE, KVM_CAP_MP_STATE, fake_set_mp_state, fake_same_mp_state),
	ON(VCPU, GET_DEBUGREGS, KVM_CAP_DEBUGREGS, fake_get_debugregs),
	SETS(SET_DEBUGREGS, KVM_CAP_DEBUGREGS, fake_set_debugregs, fake_same_debugregs),
	SETS(SET_GUEST_DEBUG, KVM_CAP_SET_GUEST_DEBUG, fake_set_guest_debug,
	     fake_same_guest_debug),
};

int fake_new_fd(struct fake_kvm *fake, enum fake_fd_kind kind, struct fake_vm *vm,
		struct fake_vcpu *vcpu)
{
	if (fake->nr_objects == fake->objects_room) {
		fake->objects_room = fake->objects_room ? fake->objects_room * 2 : 64;
		fake->object = realloc(fake->object, fake->objects_room * sizeof(*fake->object));
		if (!fake->object)
			abort();
	}
	fake->object[fake->nr_objects] = (struct fake_object) { fake, kind, vm, vcpu, true };
	return FAKE_FD_BASE + (int)fake->nr_objects++;
}

static struct fake_object *find_object(struct fake_kvm *fake, int fd)
{
	unsigned int i = (unsigned int)fd - FAKE_FD_BASE;

	return fd >= FAKE_FD_BASE && i < fake->nr_objects && fake->object[i].open ?
	       &fake->object[i] : NULL;
}

/* The functions of the seam. */

static int fail(int error)
{
	errno = error;
	return -1;
}

static int fake_open(void *ctx, const char *path, int flags)
{
	struct fake_kvm *fake = ctx;
	int error, fd = -1;

	(void)flags;
	alloc_exempt_begin();
	pthread_mutex_lock(&fake->lock);
	error = fake_fault_of(fake, FAKE_OPEN, -1);
	if (!error && strcmp(path, "/dev/kvm"))
		error = ENOENT;
	if (!error)
		fd = fake_new_fd(fake, FAKE_FD_SYSTEM, NULL, NULL);
	pthread_mutex_unlock(&fake->lock);
	alloc_exempt_end();
	return error ? fail(error) : fd;
}

static enum kvm_request find_request(unsigned long number)
{
	static const unsigned long numbers[KVM_REQ_COUNT] = {
#define X(name, class) KVM_##name,
		KVM_REQUESTS(X)
#undef X
	};
	unsigned int i = 0;

	while (i < KVM_REQ_COUNT && numbers[i] != number)
		i++;
	return i;
}

/*
 * Whether a read may come between an exit and its completion: sregs, of an instruction that changes
 * none of them.
 */
static bool may_read(const struct fake_vcpu *v, unsigned long request)
{
	return v->io.step.action == FAKE_WRMSR && request == KVM_GET_SREGS;
}

/* I/O is completed by the next KVM_RUN; until then, state is that of half an instruction. */
static void judge(struct fake_kvm *fake, const struct fake_vcpu *v,
		  const struct fake_call *call)
{
	if (call->kind != FAKE_FD_VCPU)
		return;
	if (call->running && call->request != KVM_NMI)
		fake_violate(fake, FAKE_BUSY_VCPU);
	if (call->io_pending && call->class == KVM_CLASS_GET && !may_read(v, call->request))
		fake_violate(fake, FAKE_GET_BEFORE_COMPLETION);
	if (call->io_pending && call->class == KVM_CLASS_SET)
		fake_violate(fake, FAKE_SET_BEFORE_COMPLETION);
}

static int dispatch(struct fake_kvm *fake, const struct fake_object *object,
		    enum kvm_request request, void *arg)
{
	const struct fake_request *r = &fake_requests[request];
	struct fake_call *call;
	int rc;

	if (!r->handler || !(r->kinds & object->kind)) {
		fake_violate(fake, r->handler ? FAKE_BAD_FD : FAKE_UNKNOWN_REQUEST);
		return -ENOTTY;
	}
	call = fake_record(fake, object, request, arg);
	judge(fake, object->vcpu, call);
	rc = -fake_fault_of(fake, call->request, call->vcpu);
	if (!rc && r->cap >= 0 && !fake->cap[r->cap]) {
		fake_violate(fake, FAKE_MISSING_CAP);
		rc = -ENOTTY;
	}
	if (!rc && r->unmodified)
		call->unmodified = r->unmodified(object->vcpu, arg);
	if (!rc)
		rc = r->handler(object, arg);
	fake_record_end(fake, call, request, arg, rc);
	return rc;
}

static int fake_ioctl(void *ctx, int fd, unsigned long number, void *arg)
{
	struct fake_kvm *fake = ctx;
	enum kvm_request request = find_request(number);
	struct fake_object *object, copy;
	struct fake_vcpu *runs = NULL;
	int rc = 0;

	alloc_exempt_begin();
	pthread_mutex_lock(&fake->lock);
	object = find_object(fake, fd);
	if (!object) {
		fake_violate(fake, FAKE_BAD_FD);
		rc = -EBADF;
	} else if (request == KVM_REQ_COUNT) {
		fake_violate(fake, FAKE_UNKNOWN_REQUEST);
		rc = -ENOTTY;
	} else if (request == KVM_REQ_RUN && object->kind == FAKE_FD_VCPU) {
		runs = object->vcpu;
	} else {
		copy = *object;         /* the array moves when a request makes a descriptor */
		rc = dispatch(fake, &copy, request, arg);
	}
	pthread_mutex_unlock(&fake->lock);
	if (runs)
		rc = fake_run(runs);
	alloc_exempt_end();
	return rc < 0 ? fail(-rc) : rc;
}

static void *fake_mmap(void *ctx, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct fake_kvm *fake = ctx;
	struct fake_object *object;
	void *page = MAP_FAILED;
	int error;

	(void)prot;
	pthread_mutex_lock(&fake->lock);
	object = find_object(fake, fd);
	error = fake_fault_of(fake, FAKE_MMAP, object && object->vcpu ? object->vcpu->index : -1);
	if (!error && (!object || object->kind != FAKE_FD_VCPU)) {
		fake_violate(fake, FAKE_BAD_FD);
		error = EBADF;
	}
	if (!error && (length > FAKE_RUN_SIZE || offset || !(flags & MAP_SHARED) ||
		       object->vcpu->run))
		error = EINVAL;
	if (!error) {
		page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		if (page == MAP_FAILED)
			error = errno;
		else
			object->vcpu->run = page;
	}
	pthread_mutex_unlock(&fake->lock);
	if (error)
		errno = error;
	return page;
}

static int fake_munmap(void *ctx, void *addr, size_t length)
{
	struct fake_kvm *fake = ctx;
	bool found = false;

	pthread_mutex_lock(&fake->lock);
	for (unsigned int i = 0; i < fake->nr_objects; i++) {
		struct fake_vcpu *v = fake->object[i].vcpu;

		if (fake->object[i].kind == FAKE_FD_VCPU && v->run == addr && addr) {
			v->run = NULL;
			found = true;
		}
	}
	if (!found)
		fake_violate(fake, FAKE_UNMAPPED_RUN);
	pthread_mutex_unlock(&fake->lock);
	return found ? munmap(addr, length) : fail(EINVAL);
}

static int fake_close(void *ctx, int fd)
{
	struct fake_kvm *fake = ctx;
	struct fake_object *object;

	pthread_mutex_lock(&fake->lock);
	object = find_object(fake, fd);
	if (object)
		object->open = false;
	else
		fake_violate(fake, FAKE_BAD_FD);
	pthread_mutex_unlock(&fake->lock);
	return object ? 0 : fail(EBADF);
}

static ssize_t fake_pread_fd(void *ctx, int fd, void *buf, size_t len, off_t offset)
{
	struct fake_kvm *fake = ctx;
	struct fake_object *object;
	ssize_t rc = -EBADF;

	pthread_mutex_lock(&fake->lock);
	object = find_object(fake, fd);
	if (object && object->kind == FAKE_FD_STATS)
		rc = fake_pread(fake, object, buf, len, offset);
	else
		fake_violate(fake, FAKE_BAD_FD);
	pthread_mutex_unlock(&fake->lock);
	return rc < 0 ? fail((int)-rc) : rc;
}

static uint64_t fake_read_tsc(void *ctx)
{
	struct fake_kvm *fake = ctx;
	uint64_t tsc;

	pthread_mutex_lock(&fake->lock);
	tsc = fake_host_tsc(fake);
	pthread_mutex_unlock(&fake->lock);
	return tsc;
}

static bool fake_timer_needs_guest(void *ctx)
{
	struct fake_kvm *fake = ctx;

	return fake->poison & FAKE_TIMER_NEEDS_GUEST;
}

static bool fake_host_id(void *ctx, uint8_t id[KVM_HOST_ID_LEN])
{
	struct fake_kvm *fake = ctx;

	/* What it would be is not to be used while it is not known. */
	memset(id, fake->host_id ? fake->host_id : 1, KVM_HOST_ID_LEN);
	return fake->host_id;
}

const struct kvm_ops fake_kvm_ops = {
	.open = fake_open,
	.ioctl = fake_ioctl,
	.mmap = fake_mmap,
	.munmap = fake_munmap,
	.close = fake_close,
	.pread = fake_pread_fd,
	.read_tsc = fake_read_tsc,
	.timer_needs_guest = fake_timer_needs_guest,
	.host_id = fake_host_id,
};
