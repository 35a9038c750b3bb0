/* SPDX-License-Identifier: MIT */
#include "vmm/dev/machine_devices.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/boot/acpi.h"
#include "vmm/clock.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/debug_exit.h"
#include "vmm/dev/debugcon.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/pvpanic.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/serial.h"
#include "vmm/dev/timer.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define CONSOLE_LINE    256

#define GENERATION_ID   16              /* bytes */

/* A hundred years, in ns. */
#define CLOCK_MAX       (UINT64_C(100) * 366 * 86400 * 1000000000)

struct vm_devices {
	/* Constant. */
	struct vm *vm;
	struct serial *serial;
	struct debugcon *debugcon;
	struct debug_exit *debug_exit;
	struct i8042 *i8042;
	struct acpi_pm *acpi_pm;
	struct rtc *rtc;
	struct timer *rtc_timer;
	struct pvpanic *pvpanic;

	/* Written by the owner's thread while no vCPU runs. */
	uint8_t generation_id[GENERATION_ID];
	bool stopped;
	int64_t clock;                  /* stopped: the machine's clock; else the host's at its 0 */

	/* The debug console's unfinished line, and its lock. */
	pthread_mutex_t console_lock;
	size_t console_used;
	char console_line[CONSOLE_LINE];
};

static int64_t clock_machine(void *opaque)
{
	const struct vm_devices *d = opaque;

	return d->stopped ? d->clock : clock_ns(CLOCK_MONOTONIC) - d->clock;
}

static int64_t clock_utc(void *opaque)
{
	(void)opaque;
	return clock_ns(CLOCK_REALTIME);
}

static void serial_irq(void *opaque, bool level)
{
	struct vm_devices *d = opaque;

	vm_irq_line(d->vm, MACHINE_SERIAL_GSI, level);
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

static void rtc_irq(void *opaque, bool level)
{
	struct vm_devices *d = opaque;

	vm_irq_line(d->vm, MACHINE_RTC_GSI, level);
}

static void rtc_set_timer(void *opaque, int64_t when)
{
	struct vm_devices *d = opaque;

	timer_set(d->rtc_timer, when);
}

static void rtc_time(void *opaque)
{
	struct vm_devices *d = opaque;

	rtc_timer_fired(d->rtc);
}

static void sci(void *opaque, bool level)
{
	struct vm_devices *d = opaque;

	vm_irq_line(d->vm, MACHINE_SCI_GSI, level);
}

static int create_devices(struct vm_devices *d, struct error *err)
{
	const struct memory *memory = &d->vm->memory;
	struct bus *pio = &d->vm->pio;
	const struct serial_config serial = {
		.base = MACHINE_SERIAL_PORT,
		.irq = serial_irq,
		.transmit = serial_transmit,
		.receive_ready = serial_receive_ready,
		.opaque = d,
	};
	const struct debugcon_config debugcon = { console_transmit, d };
	const struct debug_exit_config debug_exit = { guest_exit, d };
	const struct i8042_config i8042 = { guest_reset, d };
	const struct acpi_pm_config acpi_pm = { sci, guest_power_off, clock_machine, d };
	const struct pvpanic_config pvpanic = { guest_panicked, guest_crashloaded, d };
	const struct rtc_config rtc = {
		.low_memory = memory->part[0].size,
		.high_memory = memory->nr_parts > 1 ? memory->part[1].size : 0,
		.clock = clock_utc,
		.irq = rtc_irq,
		.set_timer = rtc_set_timer,
		.opaque = d,
	};

	if (!(d->serial = serial_new(pio, &serial, err)) ||
	    !(d->debugcon = debugcon_new(pio, &debugcon, err)) ||
	    !(d->debug_exit = debug_exit_new(pio, &debug_exit, err)) ||
	    !(d->i8042 = i8042_new(pio, &i8042, err)) ||
	    !(d->acpi_pm = acpi_pm_new(pio, &acpi_pm, err)) ||
	    !(d->rtc_timer = timer_new(rtc_time, d, err)) ||
	    !(d->rtc = rtc_new(pio, &rtc, err)) ||
	    !(d->pvpanic = pvpanic_new(pio, &pvpanic, err)))
		return -1;
	return 0;
}

/* Of a machine that was given no id: one that no other has. */
static int make_generation_id(struct vm_devices *d, struct error *err)
{
	if (d->vm->config.generation_id)
		memcpy(d->generation_id, d->vm->config.generation_id, GENERATION_ID);
	else if (getrandom(d->generation_id, GENERATION_ID, 0) != GENERATION_ID)
		return error_errno(err, errno, "random bytes for a generation id");
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
	d->stopped = true;
	pthread_mutex_init(&d->console_lock, NULL);
	if (make_generation_id(d, err) == -1 || create_devices(d, err) == -1) {
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
	timer_free(d->rtc_timer);
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

void vm_devices_boot(struct vm_devices *d)
{
	memory_write(&d->vm->memory, ACPI_GENERATION_ID, d->generation_id, GENERATION_ID);
}

void vm_devices_stop(struct vm_devices *d)
{
	d->clock = clock_machine(d);
	d->stopped = true;
	rtc_stop(d->rtc);
}

void vm_devices_go_on(struct vm_devices *d)
{
	d->clock = clock_ns(CLOCK_MONOTONIC) - clock_machine(d);
	d->stopped = false;
	rtc_go_on(d->rtc);
}

int vm_devices_set_generation_id(struct vm_devices *d, const uint8_t id[GENERATION_ID])
{
	if (memcmp(d->generation_id, id, GENERATION_ID) == 0)
		return 0;
	if (!memory_write(&d->vm->memory, ACPI_GENERATION_ID, id, GENERATION_ID))
		return -1;
	memcpy(d->generation_id, id, GENERATION_ID);
	acpi_pm_gpe(d->acpi_pm, ACPI_GENERATION_GPE);
	return 0;
}

const uint8_t *vm_devices_generation_id(const struct vm_devices *d)
{
	return d->generation_id;
}

/* ---- saved state ---- */

static void save_clock(struct vm_devices *d, struct bytes_out *out)
{
	bytes_put_u64(out, clock_machine(d));
}

static int load_clock(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	uint64_t clock = bytes_get_u64(in);

	if (clock > CLOCK_MAX)
		return error_set(err, EINVAL, "the machine has run for longer than any can");
	d->clock = clock;
	return 0;
}

static void save_generation_id(struct vm_devices *d, struct bytes_out *out)
{
	bytes_put(out, d->generation_id, GENERATION_ID);
}

static int load_generation_id(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	(void)err;
	bytes_get(in, d->generation_id, GENERATION_ID);
	return 0;
}

static void save_serial(struct vm_devices *d, struct bytes_out *out)
{
	serial_save(d->serial, out);
}

static int load_serial(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	return serial_load(d->serial, in, err);
}

static void save_i8042(struct vm_devices *d, struct bytes_out *out)
{
	i8042_save(d->i8042, out);
}

static int load_i8042(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	return i8042_load(d->i8042, in, err);
}

static void save_acpi_pm(struct vm_devices *d, struct bytes_out *out)
{
	acpi_pm_save(d->acpi_pm, out);
}

static int load_acpi_pm(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	return acpi_pm_load(d->acpi_pm, in, err);
}

static void save_rtc(struct vm_devices *d, struct bytes_out *out)
{
	rtc_save(d->rtc, out);
}

static int load_rtc(struct vm_devices *d, struct bytes_in *in, struct error *err)
{
	return rtc_load(d->rtc, in, err);
}

/* A section each.  Devices that are not here have no state. */
static const struct {
	const char *section;
	uint32_t version;
	void (*save)(struct vm_devices *d, struct bytes_out *out);
	int (*load)(struct vm_devices *d, struct bytes_in *in, struct error *err);
} saved[] = {
	{ "machine-clock", 1, save_clock, load_clock },
	{ "generation-id", 1, save_generation_id, load_generation_id },
	{ "serial", 1, save_serial, load_serial },
	{ "i8042", 1, save_i8042, load_i8042 },
	{ "acpi-pm", 1, save_acpi_pm, load_acpi_pm },
	{ "rtc", 1, save_rtc, load_rtc },
};
#define NR_SAVED        (sizeof(saved) / sizeof(saved[0]))

int vm_devices_save(struct vm_devices *d, struct sections *sections, struct error *err)
{
	struct bytes_out *out;

	for (size_t i = 0; i < NR_SAVED; i++) {
		out = sections_add(sections, saved[i].section, saved[i].version, true, err);
		if (!out)
			return -1;
		saved[i].save(d, out);
	}
	return 0;
}

static int load_one(struct vm_devices *d, size_t i, struct sections *sections, struct error *err)
{
	const char *section = saved[i].section;
	struct bytes_in in;

	switch (sections_claim(sections, section, saved[i].version, &in, err)) {
	case -1:
		return -1;
	case 0:
		return error_set(err, EINVAL, "there is no section %s", section);
	}
	if (saved[i].load(d, &in, err) == -1)
		return error_prefix(err, "section %s", section);
	return bytes_in_end(&in, section, err);
}

int vm_devices_load(struct vm_devices *d, struct sections *sections, struct error *err)
{
	for (size_t i = 0; i < NR_SAVED; i++)
		if (load_one(d, i, sections, err) == -1)
			return -1;
	return 0;
}
