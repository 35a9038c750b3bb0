/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/fake_kvm_internal.h"

static const struct {
	const char *name;
	enum kvm_request_class class;
	unsigned long number;
} requests[KVM_REQ_COUNT] = {
#define X(name, class) { #name, KVM_CLASS_##class, KVM_##name },
	KVM_REQUESTS(X)
#undef X
};

/* How many bytes the kernel takes or gives; the request's number knows only the fixed ones. */
static size_t payload_size(const struct fake_kvm *fake, enum kvm_request request, const void *arg)
{
	if (!arg || fake_requests[request].integer)
		return 0;
	switch (request) {
	case KVM_REQ_GET_MSR_INDEX_LIST:
		return sizeof(struct kvm_msr_list) +
		       ((const struct kvm_msr_list *)arg)->nmsrs * sizeof(uint32_t);
	case KVM_REQ_GET_SUPPORTED_CPUID:
	case KVM_REQ_GET_EMULATED_CPUID:
	case KVM_REQ_GET_CPUID2:
	case KVM_REQ_SET_CPUID2:
		return sizeof(struct kvm_cpuid2) + ((const struct kvm_cpuid2 *)arg)->nent *
						   sizeof(struct kvm_cpuid_entry2);
	case KVM_REQ_GET_MSRS:
	case KVM_REQ_SET_MSRS:
		return sizeof(struct kvm_msrs) + ((const struct kvm_msrs *)arg)->nmsrs *
						 sizeof(struct kvm_msr_entry);
	case KVM_REQ_GET_XSAVE2:
		return fake_xsave_size(fake);
	case KVM_REQ_SET_XSAVE:
		return fake_xsave_size(fake);
	case KVM_REQ_GET_NESTED_STATE:
	case KVM_REQ_SET_NESTED_STATE:
		return ((const struct kvm_nested_state *)arg)->size;
	default:
		return _IOC_SIZE(requests[request].number);
	}
}

static uint8_t *copy_of(const void *bytes, size_t size)
{
	uint8_t *copy;

	if (!size)
		return NULL;
	copy = fake_alloc(size);
	memcpy(copy, bytes, size);
	return copy;
}

void fake_violate(struct fake_kvm *fake, enum fake_violation violation)
{
	fake->violation[violation]++;
}

/* Whether the payload means something before the call.  (KVM_SET_IRQCHIP is encoded as a read.) */
static bool takes_input(enum kvm_request request)
{
	return _IOC_DIR(requests[request].number) & _IOC_WRITE || request == KVM_REQ_SET_IRQCHIP;
}

static bool gives_output(enum kvm_request request)
{
	return _IOC_DIR(requests[request].number) & _IOC_READ && request != KVM_REQ_SET_IRQCHIP;
}

struct fake_call *fake_record(struct fake_kvm *fake, const struct fake_object *object,
			      enum kvm_request request, const void *arg)
{
	struct fake_call *call = fake_alloc(sizeof(*call));
	const struct fake_vcpu *v = object->vcpu;

	if (fake->nr_calls == fake->calls_room) {
		fake->calls_room = fake->calls_room ? fake->calls_room * 2 : 1024;
		fake->call = realloc(fake->call, fake->calls_room * sizeof(*fake->call));
		if (!fake->call)
			abort();
	}
	call->seq = fake->nr_calls;
	call->tid = gettid();
	call->kind = object->kind;
	call->vm = object->vm ? object->vm->index : -1;
	call->vcpu = v ? v->index : -1;
	call->request = requests[request].number;
	call->name = requests[request].name;
	call->class = requests[request].class;
	if (v) {
		call->running = v->running;
		call->has_run = v->has_run;
		call->io_pending = v->io.pending;
	}
	call->size = payload_size(fake, request, arg);
	if (takes_input(request))
		call->in = copy_of(arg, call->size);
	fake->call[fake->nr_calls++] = call;
	return call;
}

void fake_record_end(struct fake_kvm *fake, struct fake_call *call, enum kvm_request request,
		     const void *arg, int rc)
{
	(void)fake;
	call->rc = rc < 0 ? -1 : rc;
	call->error = rc < 0 ? -rc : 0;
	if (rc >= 0 && gives_output(request))
		call->out = copy_of(arg, call->size);
}

/* The questions. */

struct fake_filter fake_filter(uint64_t since, int vcpu, int class)
{
	return (struct fake_filter) {
		.since = since, .vm = FAKE_ANY, .vcpu = vcpu, .class = class,
	};
}

static bool admits(const struct fake_filter *filter, const struct fake_call *call)
{
	return call->seq >= filter->since &&
	       (filter->vm == FAKE_ANY || call->vm == filter->vm) &&
	       (filter->vcpu == FAKE_ANY || call->vcpu == filter->vcpu) &&
	       (!filter->request || call->request == filter->request) &&
	       (filter->class == FAKE_ANY || (int)call->class == filter->class) &&
	       (!filter->unmodified || call->unmodified);
}

uint64_t fake_kvm_mark(struct fake_kvm *fake)
{
	uint64_t mark;

	pthread_mutex_lock(&fake->lock);
	mark = fake->nr_calls;
	for (unsigned int i = 0; i < fake->nr_vms; i++)
		for (unsigned int j = 0; j < fake->vm[i]->nr_vcpus; j++)
			fake->vm[i]->vcpu[j]->deadline_written = false;
	pthread_mutex_unlock(&fake->lock);
	return mark;
}

unsigned int fake_kvm_count(struct fake_kvm *fake, struct fake_filter filter)
{
	unsigned int count = 0;

	pthread_mutex_lock(&fake->lock);
	for (uint64_t i = filter.since; i < fake->nr_calls; i++)
		count += admits(&filter, fake->call[i]);
	pthread_mutex_unlock(&fake->lock);
	return count;
}

unsigned int fake_kvm_count_request(struct fake_kvm *fake, uint64_t since, int vcpu,
				    unsigned long request)
{
	struct fake_filter filter = fake_filter(since, vcpu, FAKE_ANY);

	filter.request = request;
	return fake_kvm_count(fake, filter);
}

const struct fake_call *fake_kvm_last(struct fake_kvm *fake, struct fake_filter filter)
{
	const struct fake_call *last = NULL;

	pthread_mutex_lock(&fake->lock);
	for (uint64_t i = fake->nr_calls; i > filter.since && !last; i--)
		if (admits(&filter, fake->call[i - 1]))
			last = fake->call[i - 1];
	pthread_mutex_unlock(&fake->lock);
	return last;
}

/* An answer that is a text: built through a stream, kept until the next one. */
static FILE *answer_begin(char **text, size_t *size)
{
	FILE *stream = open_memstream(text, size);

	if (!stream)
		abort();
	return stream;
}

static const char *answer_end(struct fake_kvm *fake, FILE *stream, char **text)
{
	if (fclose(stream))
		abort();
	free(fake->text);
	fake->text = *text;
	return fake->text;
}

const char *fake_kvm_names(struct fake_kvm *fake, struct fake_filter filter)
{
	const char *answer, *gap = "";
	char *text;
	size_t size;
	FILE *stream;

	pthread_mutex_lock(&fake->lock);
	stream = answer_begin(&text, &size);
	for (uint64_t i = filter.since; i < fake->nr_calls; i++) {
		if (!admits(&filter, fake->call[i]))
			continue;
		fprintf(stream, "%s%s", gap, fake->call[i]->name);
		gap = " ";
	}
	answer = answer_end(fake, stream, &text);
	pthread_mutex_unlock(&fake->lock);
	return answer;
}

unsigned int fake_kvm_violation(struct fake_kvm *fake, enum fake_violation violation)
{
	unsigned int count;

	pthread_mutex_lock(&fake->lock);
	count = fake->violation[violation];
	pthread_mutex_unlock(&fake->lock);
	return count;
}

const char *fake_kvm_violations(struct fake_kvm *fake)
{
	static const char *const texts[FAKE_VIOLATION_COUNT] = {
		[FAKE_BUSY_VCPU] = "a request for a vCPU inside KVM_RUN",
		[FAKE_XEN_MSR_SET] = "Xen's MSR set from outside",
		[FAKE_GET_BEFORE_COMPLETION] = "state read while I/O was uncommitted",
		[FAKE_SET_BEFORE_COMPLETION] = "state written while I/O was uncommitted",
		[FAKE_MIXED_FPU] = "KVM_SET_FPU and KVM_SET_XSAVE on one vCPU",
		[FAKE_NESTED_BEFORE_SREGS] = "nested guest mode before VMX or SVM was enabled",
		[FAKE_VMX_MSR_IN_VMX] = "an MSR that describes VMX set in VMX operation",
		[FAKE_DEADLINE_BEFORE_TSC] = "TSC deadline written before the TSC",
		[FAKE_DEADLINE_BEFORE_LAPIC] = "TSC deadline written before the LAPIC",
		[FAKE_LATE_CPUID] = "another CPUID table after the first run",
		[FAKE_BAD_FD] = "a descriptor that is closed or of another kind",
		[FAKE_UNKNOWN_REQUEST] = "a request the fake kernel does not know",
		[FAKE_MISSING_CAP] = "a request that the host does not offer",
		[FAKE_UNMAPPED_RUN] = "a run page that is not mapped",
	};
	const char *answer;
	char *text;
	size_t size;
	FILE *stream;

	pthread_mutex_lock(&fake->lock);
	stream = answer_begin(&text, &size);
	for (int i = 0; i < FAKE_VIOLATION_COUNT; i++)
		if (fake->violation[i])
			fprintf(stream, "%s: %u times\n", texts[i], fake->violation[i]);
	answer = answer_end(fake, stream, &text);
	pthread_mutex_unlock(&fake->lock);
	return answer;
}

const char *fake_kvm_leaks(struct fake_kvm *fake)
{
	const char *answer;
	char *text;
	size_t size;
	FILE *stream;

	pthread_mutex_lock(&fake->lock);
	stream = answer_begin(&text, &size);
	for (unsigned int i = 0; i < fake->nr_objects; i++) {
		const struct fake_object *object = &fake->object[i];

		if (object->open)
			fprintf(stream, "descriptor %d of the %s is open\n", FAKE_FD_BASE + (int)i,
				object->kind == FAKE_FD_SYSTEM ? "system" :
				object->kind == FAKE_FD_VM ? "VM" : "vCPU");
		if (object->kind == FAKE_FD_VCPU && object->vcpu->run)
			fprintf(stream, "run page of vCPU %d is mapped\n", object->vcpu->index);
	}
	answer = answer_end(fake, stream, &text);
	pthread_mutex_unlock(&fake->lock);
	return answer;
}
