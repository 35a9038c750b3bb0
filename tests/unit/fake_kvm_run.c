/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_kvm_internal.h"

/*
 * KVM_RUN.
 *
 * In the kernel a signal that comes before the system call is delivered in user space and does
 * nothing for a KVM_RUN that follows: hence immediate_exit, which is looked at once, on the way in.
 * A signal that comes later makes the call return EINTR, for sure and at once.  The fake gets the
 * same by blocking all signals from the start, and letting them through only in ppoll().
 */

static void copy_for_run_page(struct fake_vcpu *v)
{
	const struct fake_object object = { .fake = v->fake, .vm = v->vm, .vcpu = v };
	struct kvm_sync_regs *page = &v->run->s.regs;

	if (v->run->kvm_valid_regs & KVM_SYNC_X86_REGS)
		fake_get_regs(&object, &page->regs);
	if (v->run->kvm_valid_regs & KVM_SYNC_X86_SREGS)
		fake_get_sregs(&object, &page->sregs);
	if (v->run->kvm_valid_regs & KVM_SYNC_X86_EVENTS)
		fake_get_events(&object, &page->events);
}

static int set_from_run_page(struct fake_vcpu *v, enum kvm_request request, void *arg)
{
	const struct fake_object object = { v->fake, FAKE_FD_VCPU, v->vm, v, true };
	struct fake_call *call = fake_record(v->fake, &object, request, arg);
	int rc;

	call->by_run_page = true;
	if (call->io_pending)
		fake_violate(v->fake, FAKE_SET_BEFORE_COMPLETION);
	call->unmodified = fake_requests[request].unmodified(v, arg);
	rc = fake_requests[request].handler(&object, arg);
	fake_record_end(v->fake, call, request, arg, rc);
	return rc;
}

/* Applied whatever immediate_exit says, and before outstanding I/O is completed. */
static int take_dirty_regs(struct fake_vcpu *v)
{
	struct kvm_sync_regs *page = &v->run->s.regs;
	uint64_t dirty = v->run->kvm_dirty_regs;
	int rc = 0;

	if (dirty & KVM_SYNC_X86_REGS)
		rc = set_from_run_page(v, KVM_REQ_SET_REGS, &page->regs);
	if (!rc && dirty & KVM_SYNC_X86_SREGS)
		rc = set_from_run_page(v, KVM_REQ_SET_SREGS, &page->sregs);
	if (!rc && dirty & KVM_SYNC_X86_EVENTS)
		rc = set_from_run_page(v, KVM_REQ_SET_VCPU_EVENTS, &page->events);
	v->run->kvm_dirty_regs = 0;
	return rc;
}

/* ---- Exits for I/O and their completion ---- */

static uint8_t *pio_data(struct fake_vcpu *v)
{
	return (uint8_t *)v->run + v->run->io.data_offset;
}

static unsigned int pio_len(const struct fake_step *step)
{
	unsigned int count = step->count ? step->count : 1, len = step->size * count;

	return len <= FAKE_IO_BYTES ? len : FAKE_IO_BYTES;
}

static void exit_for_pio(struct fake_vcpu *v)
{
	const struct fake_step *step = &v->io.step;

	v->run->exit_reason = KVM_EXIT_IO;
	v->run->io.direction = step->action == FAKE_OUT ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	v->run->io.size = (uint8_t)step->size;
	v->run->io.port = (uint16_t)step->address;
	v->run->io.count = step->count ? step->count : 1;
	v->run->io.data_offset = KVM_PIO_PAGE_OFFSET * 4096;
	memset(pio_data(v), 0, FAKE_IO_BYTES);
	for (unsigned int i = 0; step->action == FAKE_OUT && i < pio_len(step); i++)
		pio_data(v)[i] = (uint8_t)(step->data >> i % 8 * 8);
}

/* An access that is wider than 8 bytes exits once for every 8. */
static void exit_for_mmio(struct fake_vcpu *v)
{
	const struct fake_step *step = &v->io.step;
	unsigned int left = step->size - v->io.done;

	v->run->exit_reason = KVM_EXIT_MMIO;
	v->run->mmio.phys_addr = step->address + v->io.done;
	v->run->mmio.len = left < 8 ? left : 8;
	v->run->mmio.is_write = step->action == FAKE_MMIO_WRITE;
	memset(v->run->mmio.data, 0, sizeof(v->run->mmio.data));
	if (v->run->mmio.is_write)
		memcpy(v->run->mmio.data, &step->data, v->run->mmio.len);
}

/* The result of IN or of an MMIO read goes to the accumulator, as wide as the access. */
static void load_result(struct fake_vcpu *v, unsigned int size)
{
	uint64_t value = 0;

	if (v->io.dropped) {
		v->results_dropped++;
		return;
	}
	memcpy(&value, v->io.bytes, size < 8 ? size : 8);
	if (size < 4)           /* AL and AX leave the rest alone, EAX and RAX do not */
		value |= v->regs.rax & ~((1ULL << size * 8) - 1);
	v->regs.rax = value;
}

/*
 * The second half of an instruction that exited.  Returns 1 when the instruction is complete, 0
 * when it has to exit once more, which happens whatever immediate_exit says.
 */
static int complete_io(struct fake_vcpu *v)
{
	const struct fake_step *step = &v->io.step;

	if (step->breaks) {
		v->io.pending = false;
		v->io.dropped = false;
		v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
		v->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
		v->run->internal.ndata = 0;
		return 0;
	}
	switch (step->action) {
	case FAKE_IN:
		memcpy(v->io.bytes, pio_data(v), pio_len(step));
		if (step->count <= 1)
			load_result(v, step->size);
		break;
	case FAKE_MMIO_READ:
	case FAKE_MMIO_WRITE:
		if (step->action == FAKE_MMIO_READ)
			memcpy(v->io.bytes + v->io.done, v->run->mmio.data, v->run->mmio.len);
		v->io.done += v->run->mmio.len;
		if (v->io.done < step->size) {
			exit_for_mmio(v);
			return 0;
		}
		if (step->action == FAKE_MMIO_READ)
			load_result(v, step->size);
		break;
	case FAKE_WRMSR:
	case FAKE_RDMSR:
		fake_complete_msr(v);
		return 1;
	default:
		break;
	}
	v->io.pending = false;
	v->io.dropped = false;
	v->regs.rip += step->advance;
	return 1;
}

static int begin_io(struct fake_vcpu *v, const struct fake_step *step)
{
	v->io.pending = true;
	v->io.dropped = false;
	v->io.done = 0;
	v->io.step = *step;
	if (v->io.step.size > FAKE_IO_BYTES)
		v->io.step.size = FAKE_IO_BYTES;
	memset(v->io.bytes, 0, sizeof(v->io.bytes));
	if (step->action == FAKE_IN || step->action == FAKE_OUT)
		exit_for_pio(v);
	else
		exit_for_mmio(v);
	return 0;
}

/* ---- Waiting in the kernel ---- */

static int interrupted(struct fake_vcpu *v)
{
	v->run->exit_reason = KVM_EXIT_INTR;
	return -EINTR;
}

/* A signal that waits to be delivered keeps the guest from being entered. */
static bool signal_waits(const sigset_t *unblocked)
{
	sigset_t pending;

	sigpending(&pending);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&pending, sig) == 1 && sigismember(unblocked, sig) == 0)
			return true;
	return false;
}

/* Gives up the lock and waits for a signal (-EINTR) or for something sent to this vCPU (0). */
static int block(struct fake_vcpu *v, const sigset_t *unblocked)
{
	struct pollfd woken = { .fd = v->wake_fd, .events = POLLIN };
	uint64_t count;
	int rc;

	v->blocked = true;
	pthread_cond_broadcast(&v->fake->progress);
	pthread_mutex_unlock(&v->fake->lock);
	rc = ppoll(&woken, 1, NULL, unblocked);
	pthread_mutex_lock(&v->fake->lock);
	v->blocked = false;
	if (rc < 0)
		return interrupted(v);
	if (read(v->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
	return 0;
}

/* A vCPU that is not runnable waits for what wakes it: NMI, INIT, SIPI. */
static int wait_runnable(struct fake_vcpu *v, const sigset_t *unblocked)
{
	for (;;) {
		fake_vcpu_accept_events(v);
		if (v->mp_state == KVM_MP_STATE_HALTED &&
		    (v->events.nmi.pending ||
		     (fake_interrupt_requested(v) && !signal_waits(unblocked))))
			v->mp_state = KVM_MP_STATE_RUNNABLE;
		if (v->mp_state == KVM_MP_STATE_RUNNABLE)
			return 0;
		if (signal_waits(unblocked) || block(v, unblocked) < 0)
			return interrupted(v);
	}
}

/* ---- The guest ---- */

/* What had been injected or was pending reaches the guest. */
static void deliver_events(struct fake_vcpu *v)
{
	v->exceptions_delivered += v->events.exception.pending || v->events.exception.injected;
	v->interrupts_delivered += v->events.interrupt.injected;
	v->nmis_delivered += v->events.nmi.pending || v->events.nmi.injected;
	memset(&v->events.exception, 0, sizeof(v->events.exception));
	v->events.exception_has_payload = 0;
	v->events.exception_payload = 0;
	v->events.interrupt.injected = 0;
	v->events.interrupt.shadow = 0;
	v->events.nmi.pending = 0;
	v->events.nmi.injected = 0;
	fake_deliver_ticks(v);
}

static void next_step(struct fake_vcpu *v, struct fake_step *step)
{
	memset(step, 0, sizeof(*step));
	if (v->script_next < v->script_len)
		*step = v->script[v->script_next++];
	else if (v->guest)
		v->guest(v->guest_opaque, v, step);
	if (step->before)
		step->before(v, step->opaque);
}

static int carry_out(struct fake_vcpu *v, const struct fake_step *step, const sigset_t *unblocked)
{
	switch (step->action) {
	case FAKE_IN:
	case FAKE_OUT:
	case FAKE_MMIO_READ:
	case FAKE_MMIO_WRITE:
		return begin_io(v, step);
	case FAKE_WRMSR:
	case FAKE_RDMSR:
		return fake_guest_msr(v, step);
	case FAKE_HLT:
		v->regs.rip += step->advance;
		if (v->vm->irqchip) {
			v->mp_state = KVM_MP_STATE_HALTED;
			return 1;
		}
		v->run->exit_reason = KVM_EXIT_HLT;
		return 0;
	case FAKE_SHUTDOWN:
		v->run->exit_reason = KVM_EXIT_SHUTDOWN;
		return 0;
	case FAKE_INTERNAL_ERROR:
		v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
		v->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
		v->run->internal.ndata = step->size ? 4 : 0;
		v->run->emulation_failure.flags =
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
		v->run->emulation_failure.insn_size = step->size;
		memset(v->run->emulation_failure.insn_bytes, 0,
		       sizeof(v->run->emulation_failure.insn_bytes));
		memcpy(v->run->emulation_failure.insn_bytes, &step->data, sizeof(step->data));
		return 0;
	case FAKE_EXIT:
		v->run->exit_reason = (uint32_t)step->address;
		/* Where system_event.type and internal.suberror are, too. */
		memcpy(&v->run->ex, &step->data, sizeof(step->data));
		return 0;
	case FAKE_FAIL_ENTRY:
		v->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
		v->run->fail_entry.hardware_entry_failure_reason = 0x80000021;
		v->run->fail_entry.cpu = 0;
		return 0;
	case FAKE_EINTR:
		return interrupted(v);
	case FAKE_EAGAIN:
		return -EAGAIN;
	case FAKE_GO_ON:
		v->regs.rip += step->advance;
		return 1;
	case FAKE_SPIN:
		break;
	}
	/* Spinning: what wakes a halted vCPU is just delivered. */
	while (block(v, unblocked) == 0)
		deliver_events(v);
	return -EINTR;
}

static int enter_guest(struct fake_vcpu *v, const sigset_t *unblocked)
{
	struct fake_step step;
	int rc;

	do {
		v->run->exit_reason = KVM_EXIT_UNKNOWN;
		/* Awake by what was there before; then what has been put off; then the signal. */
		if (v->mp_state == KVM_MP_STATE_HALTED && fake_interrupt_requested(v))
			v->mp_state = KVM_MP_STATE_RUNNABLE;
		if (!(v->fake->poison & FAKE_TIMER_NEEDS_GUEST) ||
		    v->mp_state == KVM_MP_STATE_HALTED)
			fake_inject_timer(v);
		if (wait_runnable(v, unblocked) < 0 || signal_waits(unblocked))
			return interrupted(v);
		fake_inject_timer(v);
		v->has_run = true;
		v->vmcs_cr3 = v->sregs.cr3;
		v->entries++;
		pthread_cond_broadcast(&v->fake->progress);
		if (v->sregs.cr0 & X86_CR0_PG && v->sregs.cr3 != v->wanted_cr3) {
			/* No page tables there: page fault, double fault, triple fault. */
			v->run->exit_reason = KVM_EXIT_SHUTDOWN;
			return 0;
		}
		deliver_events(v);
		next_step(v, &step);
		v->wanted_cr3 = v->sregs.cr3;
		rc = carry_out(v, &step, unblocked);
	} while (rc > 0);
	return rc;
}

/* An application processor before its INIT is not entered at all. */
static int run_uninitialised(struct fake_vcpu *v, bool immediate_exit, const sigset_t *unblocked)
{
	if (immediate_exit)
		return -EINTR;
	while (!v->pending_init)
		if (signal_waits(unblocked) || block(v, unblocked) < 0)
			return interrupted(v);
	fake_vcpu_accept_events(v);
	return -EAGAIN;
}

static int run_locked(struct fake_vcpu *v, const sigset_t *unblocked)
{
	uint64_t fields = (uint64_t)v->fake->cap[KVM_CAP_SYNC_REGS];
	bool immediate_exit = __atomic_load_n(&v->run->immediate_exit, __ATOMIC_ACQUIRE);
	int rc;

	v->run->flags = 0;
	if (v->mp_state == KVM_MP_STATE_UNINITIALIZED)
		return run_uninitialised(v, immediate_exit, unblocked);
	if ((v->run->kvm_valid_regs | v->run->kvm_dirty_regs) & ~fields)
		return -EINVAL;
	if (v->run->kvm_dirty_regs) {
		rc = take_dirty_regs(v);
		if (rc)
			return rc;
	}
	if (v->io.pending && !complete_io(v))
		return 0;
	rc = fake_fault_of(v->fake, KVM_RUN, v->index);
	if (rc)
		return rc == EINTR ? interrupted(v) : -rc;
	if (immediate_exit)
		return -EINTR;          /* exit_reason stays what it was */
	return enter_guest(v, unblocked);
}

int fake_set_signal_mask(const struct fake_object *o, void *arg)
{
	const struct kvm_signal_mask *mask = arg;

	o->vcpu->has_signal_mask = mask;
	if (!mask)
		return 0;
	if (mask->len != sizeof(o->vcpu->signal_mask))
		return -EINVAL;
	memcpy(&o->vcpu->signal_mask, mask->sigset, sizeof(o->vcpu->signal_mask));
	return 0;
}

int fake_run(struct fake_vcpu *v)
{
	const struct fake_object object = { v->fake, FAKE_FD_VCPU, v->vm, v, true };
	struct fake_kvm *fake = v->fake;
	struct fake_call *call;
	fake_window_fn *entry, *leave;
	void *opaque;
	sigset_t all, caller, unblocked;
	int rc;

	pthread_mutex_lock(&fake->lock);
	entry = fake->entry_window;
	leave = fake->exit_window;
	opaque = fake->window_opaque;
	pthread_mutex_unlock(&fake->lock);
	if (entry)
		entry(opaque, v);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &caller);
	pthread_mutex_lock(&fake->lock);
	unblocked = caller;
	for (int sig = 1; v->has_signal_mask && sig <= 64; sig++) {
		if (v->signal_mask >> (sig - 1) & 1)
			sigaddset(&unblocked, sig);
		else
			sigdelset(&unblocked, sig);
	}
	call = fake_record(fake, &object, KVM_REQ_RUN, NULL);
	if (v->running || !v->run) {
		fake_violate(fake, v->running ? FAKE_BUSY_VCPU : FAKE_UNMAPPED_RUN);
		rc = -EFAULT;
	} else {
		v->running = true;
		v->deadline_written = false;
		rc = run_locked(v, &unblocked);
		if (v->run->kvm_valid_regs)
			copy_for_run_page(v);
		v->running = false;
	}
	fake_record_end(fake, call, KVM_REQ_RUN, NULL, rc);
	pthread_mutex_unlock(&fake->lock);
	pthread_sigmask(SIG_SETMASK, &caller, NULL);
	if (leave)
		leave(opaque, v);
	return rc;
}

/* ---- Scripts ---- */

void fake_vcpu_script(struct fake_vcpu *v, const struct fake_step *steps, unsigned int nr)
{
	pthread_mutex_lock(&v->fake->lock);
	free(v->script);
	v->script = fake_alloc(nr * sizeof(*steps));
	memcpy(v->script, steps, nr * sizeof(*steps));
	v->script_len = nr;
	v->script_next = 0;
	pthread_mutex_unlock(&v->fake->lock);
}

void fake_vcpu_guest(struct fake_vcpu *v, fake_guest_fn *guest, void *opaque)
{
	pthread_mutex_lock(&v->fake->lock);
	v->guest = guest;
	v->guest_opaque = opaque;
	pthread_mutex_unlock(&v->fake->lock);
}

void fake_kvm_default_guest(struct fake_kvm *fake, fake_guest_fn *guest, void *opaque)
{
	pthread_mutex_lock(&fake->lock);
	fake->default_guest = guest;
	fake->default_opaque = opaque;
	pthread_mutex_unlock(&fake->lock);
}

void fake_vcpu_await_entries(struct fake_vcpu *v, uint64_t entries)
{
	pthread_mutex_lock(&v->fake->lock);
	while (v->entries < entries)
		pthread_cond_wait(&v->fake->progress, &v->fake->lock);
	pthread_mutex_unlock(&v->fake->lock);
}

void fake_vcpu_await_blocked(struct fake_vcpu *v)
{
	pthread_mutex_lock(&v->fake->lock);
	while (!v->blocked)
		pthread_cond_wait(&v->fake->progress, &v->fake->lock);
	pthread_mutex_unlock(&v->fake->lock);
}
