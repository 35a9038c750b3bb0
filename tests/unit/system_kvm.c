/* SPDX-License-Identifier: MIT */
#include "tests/unit/system_kvm.h"

static struct fake_kvm *system_kvm;

void system_kvm_set(struct fake_kvm *fake)
{
	system_kvm = fake;
}

int __real_kvm_open(struct kvm *kvm, const struct kvm_ops *ops, void *ctx, struct error *err);
int __wrap_kvm_open(struct kvm *kvm, const struct kvm_ops *ops, void *ctx, struct error *err);

int __wrap_kvm_open(struct kvm *kvm, const struct kvm_ops *ops, void *ctx, struct error *err)
{
	if (!ops && system_kvm)
		return __real_kvm_open(kvm, &fake_kvm_ops, system_kvm, err);
	return __real_kvm_open(kvm, ops, ctx, err);
}
