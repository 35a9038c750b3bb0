/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/vm_internal.h"

#define IRQCHIP_VERSION 1
#define PIT_VERSION     1
#define CLOCK_VERSION   1

/*
 * Of struct kvm_irqchip the part that belongs to the chip, in the order of chip_id: both PICs, which
 * are the same, and the IOAPIC.
 */
static size_t chip_size(uint32_t chip)
{
	return chip == KVM_IRQCHIP_IOAPIC ? sizeof(struct kvm_ioapic_state) :
					    sizeof(struct kvm_pic_state);
}

static int save_irqchips(struct vm *vm, struct sections *sections, struct error *err)
{
	struct bytes_out *out = sections_add(sections, "irqchip", IRQCHIP_VERSION, true, err);

	if (!out)
		return -1;
	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		if (kvm_call(&vm->handle, KVM_REQ_GET_IRQCHIP, &chip, err) < 0)
			return -1;
		bytes_put(out, &chip.chip, chip_size(i));
	}
	return 0;
}

static int parse_irqchips(struct sections *sections, struct snapshot_vm *saved, struct error *err)
{
	struct bytes_in in;
	int version = sections_claim(sections, "irqchip", IRQCHIP_VERSION, &in, err);

	if (version < 0)
		return -1;
	if (version == 0)
		return error_set(err, EINVAL, "the snapshot has no section \"irqchip\"");
	for (uint32_t i = 0; i < 3; i++) {
		saved->irqchip[i].chip_id = i;
		bytes_get(&in, &saved->irqchip[i].chip, chip_size(i));
	}
	return bytes_in_end(&in, "section \"irqchip\"", err);
}

int snapshot_load_irqchips(struct vm *vm, const struct snapshot_vm *saved, struct error *err)
{
	for (int i = 0; i < 3; i++) {
		struct kvm_irqchip chip = saved->irqchip[i];

		if (kvm_call(&vm->handle, KVM_REQ_SET_IRQCHIP, &chip, err) < 0)
			return -1;
	}
	return 0;
}

static void put_pit(struct bytes_out *out, const struct kvm_pit_state2 *pit)
{
	for (int i = 0; i < 3; i++) {
		const struct kvm_pit_channel_state *c = &pit->channels[i];

		bytes_put_u32(out, c->count);
		bytes_put_u16(out, c->latched_count);
		bytes_put_u8(out, c->count_latched);
		bytes_put_u8(out, c->status_latched);
		bytes_put_u8(out, c->status);
		bytes_put_u8(out, c->read_state);
		bytes_put_u8(out, c->write_state);
		bytes_put_u8(out, c->write_latch);
		bytes_put_u8(out, c->rw_mode);
		bytes_put_u8(out, c->mode);
		bytes_put_u8(out, c->bcd);
		bytes_put_u8(out, c->gate);
		bytes_put_u64(out, (uint64_t)c->count_load_time);
	}
	bytes_put_u32(out, pit->flags);
}

static void get_pit(struct bytes_in *in, struct kvm_pit_state2 *pit)
{
	for (int i = 0; i < 3; i++) {
		struct kvm_pit_channel_state *c = &pit->channels[i];

		c->count = bytes_get_u32(in);
		c->latched_count = bytes_get_u16(in);
		c->count_latched = bytes_get_u8(in);
		c->status_latched = bytes_get_u8(in);
		c->status = bytes_get_u8(in);
		c->read_state = bytes_get_u8(in);
		c->write_state = bytes_get_u8(in);
		c->write_latch = bytes_get_u8(in);
		c->rw_mode = bytes_get_u8(in);
		c->mode = bytes_get_u8(in);
		c->bcd = bytes_get_u8(in);
		c->gate = bytes_get_u8(in);
		c->count_load_time = (int64_t)bytes_get_u64(in);
	}
	pit->flags = bytes_get_u32(in);
}

static int save_pit(struct vm *vm, struct sections *sections, struct error *err)
{
	struct kvm_pit_state2 pit;
	struct bytes_out *out;

	if (!vm->kvm->caps.pit_state2)
		return 0;
	out = sections_add(sections, "pit", PIT_VERSION, true, err);
	if (!out)
		return -1;
	vm_pit_with_ages(vm, &pit);
	put_pit(out, &pit);
	return 0;
}

static int parse_pit(const struct vm *vm, struct sections *sections, struct snapshot_vm *saved,
		     struct error *err)
{
	struct bytes_in in;
	int version = sections_claim(sections, "pit", PIT_VERSION, &in, err);

	if (version <= 0)
		return version;
	if (!vm->kvm->caps.pit_state2)
		return error_set(err, ENOTSUP, "the snapshot is of a machine with a PIT, whose "
				 "state this host's KVM can not set (KVM_CAP_PIT_STATE2)");
	saved->has_pit = true;
	get_pit(&in, &saved->pit);
	return bytes_in_end(&in, "section \"pit\"", err);
}

static int save_clock(struct vm *vm, struct sections *sections, struct error *err)
{
	struct bytes_out *out;

	if (!vm->clock_saved)
		return 0;
	out = sections_add(sections, "clock", CLOCK_VERSION, true, err);
	if (!out)
		return -1;
	bytes_put_u64(out, vm->clock.clock);
	return 0;
}

static int parse_clock(const struct vm *vm, struct sections *sections, bool force,
		       struct snapshot_vm *saved, struct error *err)
{
	struct bytes_in in;
	int version = sections_claim(sections, "clock", CLOCK_VERSION, &in, err);

	if (version <= 0)
		return version;
	saved->clock.clock = bytes_get_u64(&in);
	if (bytes_in_end(&in, "section \"clock\"", err) < 0)
		return -1;
	saved->has_clock = vm->kvm->caps.adjust_clock;
	if (saved->has_clock)
		return 0;
	if (!force)
		return error_set(err, ENOTSUP, "this host's KVM can not set a guest's clock "
				 "(KVM_CAP_ADJUST_CLOCK)");
	log_warning("the guest's clock starts anew: this host's KVM can not set it");
	return 0;
}

int snapshot_save_vm(struct vm *vm, struct sections *sections, struct error *err)
{
	if (save_irqchips(vm, sections, err) < 0 || save_pit(vm, sections, err) < 0)
		return -1;
	return save_clock(vm, sections, err);
}

int snapshot_parse_vm(const struct vm *vm, struct sections *sections, bool force,
		      struct snapshot_vm *saved, struct error *err)
{
	memset(saved, 0, sizeof(*saved));
	if (parse_irqchips(sections, saved, err) < 0 || parse_pit(vm, sections, saved, err) < 0)
		return -1;
	return parse_clock(vm, sections, force, saved, err);
}
