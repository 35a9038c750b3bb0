/* SPDX-License-Identifier: MIT */
#include "vmm/dev/machine_devices.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/debug_exit.h"
#include "vmm/dev/debugcon.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/pvpanic.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/serial.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define SERIAL_BASE     0x3f8
#define SERIAL_GSI      4
#define SCI_GSI         9

#define CONSOLE_LINE    256

struct vm_devices {
	/* Constant. */
	struct vm *vm;
	struct serial *serial;
	struct debugcon *debugcon;
	struct debug_exit *debug_exit;
	struct i8042 *i8042;
	struct acpi_pm *acpi_pm;
	struct rtc *rtc;
	struct pvpanic *pvpanic;

	/* The debug console's unfinished line, and its lock. */
	pthread_mutex_t console_lock;
	size_t console_used;
	char console_line[CONSOLE_LINE];
};

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t clock_monotonic(void *opaque)
{
	(void)opaque;
	return read_clock(CLOCK_MONOTONIC);
}

static int64_t clock_utc(void *opaque)
{
	(void)opaque;
	return read_clock(CLOCK_REALTIME);
}

static void serial_irq(void *opaque, bool level)
{
	struct vm_devices *d = opaque;

	vm_irq_line(d->vm, SERIAL_GSI, level);
}

static void serial_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	const struct vm_callbacks *cb = &((struct vm_devices *)opaque)->vm->callbacks;

	if (cb->serial_transmit)
		cb->serial_transmit(cb->opaque, bytes, len);
}

static void serial_receive_ready(void *opaque)
{
	const struct vm_callbacks *cb = &((struct vm_devices *)opaque)->vm->callbacks;

	if (cb->serial_receive_ready)
		cb->serial_receive_ready(cb->opaque);
}

/* Copies the line out and empties it.  Called with the console's lock. */
static void take_line(struct vm_devices *d, char line[CONSOLE_LINE])
{
	memcpy(line, d->console_line, d->console_used);
	line[d->console_used] = '\0';
	d->console_used = 0;
}

static void log_guest(const char *line)
{
	log_info("guest: %s", line);
}

/* Guests may say anything: what could upset a terminal or a log is spelled out. */
static size_t printable(char text[5], uint8_t byte)
{
	if ((byte >= 0x20 && byte < 0x7f) || byte == '\t') {
		text[0] = byte;
		return 1;
	}
	return snprintf(text, 5, "\\x%02x", byte);
}

static void console_put(struct vm_devices *d, uint8_t byte)
{
	char line[CONSOLE_LINE], text[5];
	bool full = false;
	size_t len;

	if (byte == '\r')
		return;
	pthread_mutex_lock(&d->console_lock);
	if (byte == '\n') {
		take_line(d, line);
		full = true;
	} else {
		len = printable(text, byte);
		if (d->console_used + len >= CONSOLE_LINE) {
			take_line(d, line);
			full = true;
		}
		memcpy(d->console_line + d->console_used, text, len);
		d->console_used += len;
	}
	pthread_mutex_unlock(&d->console_lock);
	if (full)
		log_guest(line);
}

static void console_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	while (len--)
		console_put(opaque, *bytes++);
}

/* A line that the guest will not finish any more. */
static void console_flush(struct vm_devices *d)
{
	char line[CONSOLE_LINE];

	pthread_mutex_lock(&d->console_lock);
	take_line(d, line);
	pthread_mutex_unlock(&d->console_lock);
	if (*line)
		log_guest(line);
}

static void guest_exit(void *opaque, uint32_t value)
{
	struct vm_devices *d = opaque;

	atomic_store(&d->vm->debug_exit_status, debug_exit_status(value));
	vm_post(d->vm, VM_REQUEST_DEBUG_EXIT);
}

static void guest_reset(void *opaque)
{
	struct vm_devices *d = opaque;

	vm_post(d->vm, VM_REQUEST_RESET);
}

static void guest_power_off(void *opaque)
{
	struct vm_devices *d = opaque;

	vm_post(d->vm, VM_REQUEST_SHUTDOWN);
}

static void guest_panicked(void *opaque)
{
	struct vm_devices *d = opaque;

	vm_post(d->vm, VM_REQUEST_PANIC);
}

static void guest_crashloaded(void *opaque)
{
	struct vm_devices *d = opaque;

	vm_post(d->vm, VM_REQUEST_CRASHLOADED);
}

static void sci(void *opaque, bool level)
{
	struct vm_devices *d = opaque;

	vm_irq_line(d->vm, SCI_GSI, level);
}

static int create_devices(struct vm_devices *d, struct error *err)
{
	const struct memory *memory = &d->vm->memory;
	struct bus *pio = &d->vm->pio;
	const struct serial_config serial = {
		.base = SERIAL_BASE,
		.irq = serial_irq,
		.transmit = serial_transmit,
		.receive_ready = serial_receive_ready,
		.opaque = d,
	};
	const struct debugcon_config debugcon = { console_transmit, d };
	const struct debug_exit_config debug_exit = { guest_exit, d };
	const struct i8042_config i8042 = { guest_reset, d };
	const struct acpi_pm_config acpi_pm = { sci, guest_power_off, clock_monotonic, d };
	const struct pvpanic_config pvpanic = { guest_panicked, guest_crashloaded, d };
	const struct rtc_config rtc = {
		.low_memory = memory->part[0].size,
		.high_memory = memory->nr_parts > 1 ? memory->part[1].size : 0,
		.clock = clock_utc,
	};

	if (!(d->serial = serial_new(pio, &serial, err)) ||
	    !(d->debugcon = debugcon_new(pio, &debugcon, err)) ||
	    !(d->debug_exit = debug_exit_new(pio, &debug_exit, err)) ||
	    !(d->i8042 = i8042_new(pio, &i8042, err)) ||
	    !(d->acpi_pm = acpi_pm_new(pio, &acpi_pm, err)) ||
	    !(d->rtc = rtc_new(pio, &rtc, err)) ||
	    !(d->pvpanic = pvpanic_new(pio, &pvpanic, err)))
		return -1;
	return 0;
}

struct vm_devices *vm_devices_new(struct vm *vm, struct error *err)
{
	struct vm_devices *d = calloc(1, sizeof(*d));

	if (!d) {
		error_errno(err, ENOMEM, "devices");
		return NULL;
	}
	d->vm = vm;
	pthread_mutex_init(&d->console_lock, NULL);
	if (create_devices(d, err) == -1) {
		vm_devices_free(d);
		return NULL;
	}
	return d;
}

void vm_devices_free(struct vm_devices *d)
{
	if (!d)
		return;
	console_flush(d);
	pvpanic_free(d->pvpanic);
	rtc_free(d->rtc);
	acpi_pm_free(d->acpi_pm);
	i8042_free(d->i8042);
	debug_exit_free(d->debug_exit);
	debugcon_free(d->debugcon);
	serial_free(d->serial);
	pthread_mutex_destroy(&d->console_lock);
	free(d);
}

void vm_devices_reset(struct vm_devices *d)
{
	console_flush(d);
	serial_reset(d->serial);
	i8042_reset(d->i8042);
	acpi_pm_reset(d->acpi_pm);
	rtc_reset(d->rtc);
}

void vm_devices_power_button(struct vm_devices *d)
{
	acpi_pm_power_button(d->acpi_pm);
}

size_t vm_devices_serial_receive(struct vm_devices *d, const uint8_t *bytes, size_t len)
{
	return serial_receive(d->serial, bytes, len);
}
