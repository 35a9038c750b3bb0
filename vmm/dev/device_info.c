/* SPDX-License-Identifier: MIT */
#include "vmm/dev/device_info.h"

#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/debug_exit.h"
#include "vmm/dev/debugcon.h"
#include "vmm/dev/machine_devices.h"
#include "vmm/dev/pvpanic.h"
#include "vmm/dev/rtc.h"

const struct device_info device_infos[] = {
	{ "isa-serial", "isa-device", DEVICE_ON_ISA, false, {
		{ "index", "uint32", 0 }, { "iobase", "uint32", MACHINE_SERIAL_PORT },
		{ "irq", "uint32", MACHINE_SERIAL_GSI } } },
	{ "mc146818rtc", "isa-device", DEVICE_ON_ISA, false, {
		{ "iobase", "uint16", RTC_PORT }, { "irq", "uint8", MACHINE_RTC_GSI } } },
	{ "i8042", "isa-device", DEVICE_ON_ISA, false, { { 0 } } },
	{ "acpi-pm", "isa-device", DEVICE_ON_ISA, false, {
		{ "iobase", "uint32", ACPI_PM_EVENT }, { "irq", "uint32", MACHINE_SCI_GSI } } },
	{ "pvpanic", "isa-device", DEVICE_ON_ISA, false, {
		{ "ioport", "uint16", PVPANIC_PORT },
		{ "events", "uint8", PVPANIC_PANICKED | PVPANIC_CRASHLOADED } } },
	{ "isa-debugcon", "isa-device", DEVICE_ON_ISA, false, {
		{ "iobase", "uint32", DEBUGCON_PORT },
		{ "readback", "uint32", DEBUGCON_PORT } } },
	{ "isa-debug-exit", "isa-device", DEVICE_ON_ISA, false, {
		{ "iobase", "uint32", DEBUG_EXIT_PORT },
		{ "iosize", "uint32", DEBUG_EXIT_PORTS } } },
	{ "vmgenid", "device", DEVICE_ON_NOTHING, false, { { 0 } } },

	{ "kvm-i8259", "pic-common", DEVICE_ON_ISA, false, {
		{ "iobase", "uint32", 0x20 }, { "elcr_addr", "uint32", 0x4d0 },
		{ "elcr_mask", "uint8", 0xf8 }, { "master", "bool", true } } },
	{ "kvm-i8259", "pic-common", DEVICE_ON_ISA, false, {
		{ "iobase", "uint32", 0xa0 }, { "elcr_addr", "uint32", 0x4d1 },
		{ "elcr_mask", "uint8", 0xde }, { "master", "bool", false } } },
	{ "kvm-ioapic", "ioapic-common", DEVICE_ON_SYSTEM, false, {
		{ "gsi_base", "uint32", 0 } } },
	{ "kvm-pit", "pit-common", DEVICE_ON_ISA, true, {
		{ "iobase", "uint32", 0x40 } } },
	{ .type = NULL },
};

bool device_is_there(const struct device_info *device, const struct kvm_caps *caps)
{
	return caps->pit2 || !device->needs_pit;
}
