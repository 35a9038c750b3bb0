/* SPDX-License-Identifier: MIT */
#include "vmm/dev/acpi_pm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/*
 * PM1_STS; the enable bits of PM1_EN have the same places (tables 4.13 and 4.14).  There is no
 * sleep button, and the clock's alarm is no fixed event, so their status is never set; their enable
 * bits still keep what is written, for guests check that.
 */
#define PM1_TIMER               0x0001
#define PM1_GLOBAL              0x0020
#define PM1_POWER_BUTTON        0x0100
#define PM1_SLEEP_BUTTON        0x0200
#define PM1_RTC                 0x0400
#define PM1_ENABLE_BITS         (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | \
				 PM1_RTC)

/* PM1_CNT (table 4.15). */
#define PM1_SCI_EN              0x0001
#define PM1_BM_RLD              0x0002
#define PM1_SLP_TYP_SHIFT       10
#define PM1_SLP_TYP             (7 << PM1_SLP_TYP_SHIFT)
#define PM1_SLP_EN              0x2000

#define PM1_STATUS_BITS         (PM1_TIMER | PM1_POWER_BUTTON)
#define PM1_CONTROL_BITS        (PM1_BM_RLD | PM1_SLP_TYP)

#define TIMER_HZ                3579545
#define TIMER_BITS              24
#define NSEC_PER_SEC            1000000000ULL

struct acpi_pm {
	/* Constant. */
	struct acpi_pm_config config;
	struct bus *bus;

	pthread_mutex_t lock;
	/* Under the lock. */
	uint16_t status, enable, control;
	uint8_t gpe_status, gpe_enable;
	uint64_t carries;               /* changes of the timer's top bit that `status` knows of */
	bool level;                     /* of the SCI */
};

/* Ticks since the clock's start, all 64 bits of them. */
static uint64_t timer_ticks(const struct acpi_pm *pm)
{
	uint64_t ns = pm->config.clock(pm->config.opaque);

	/* Seconds by themselves, for the product of all would not fit. */
	return ns / NSEC_PER_SEC * TIMER_HZ + ns % NSEC_PER_SEC * TIMER_HZ / NSEC_PER_SEC;
}

static uint64_t timer_carries(const struct acpi_pm *pm)
{
	return timer_ticks(pm) >> (TIMER_BITS - 1);
}

static void update_status(struct acpi_pm *pm)
{
	uint64_t carries = timer_carries(pm);

	if (carries != pm->carries)
		pm->status |= PM1_TIMER;
	pm->carries = carries;
}

static bool sci_level(const struct acpi_pm *pm)
{
	return (pm->status & pm->enable) || (pm->gpe_status & pm->gpe_enable);
}

static void update_sci(struct acpi_pm *pm)
{
	bool level = sci_level(pm);

	if (level == pm->level)
		return;
	pm->level = level;
	pm->config.sci(pm->config.opaque, level);
}

static uint64_t event_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct acpi_pm *pm = opaque;
	uint32_t value;

	(void)size;
	pthread_mutex_lock(&pm->lock);
	update_status(pm);
	update_sci(pm);
	value = pm->status | (uint32_t)pm->enable << 16;
	pthread_mutex_unlock(&pm->lock);
	return value >> (offset * 8);
}

/* Status bits are cleared by writing 1; enable bits outside of the access stay. */
static void event_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct acpi_pm *pm = opaque;
	uint32_t written = value << (offset * 8);
	uint32_t touched = bus_mask(size) << (offset * 8);

	pthread_mutex_lock(&pm->lock);
	update_status(pm);
	pm->status &= ~written;
	pm->enable = ((pm->enable & ~(touched >> 16)) | written >> 16) & PM1_ENABLE_BITS;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct acpi_pm *pm = opaque;
	uint16_t value;

	(void)size;
	pthread_mutex_lock(&pm->lock);
	value = pm->control | PM1_SCI_EN;
	pthread_mutex_unlock(&pm->lock);
	return value >> (offset * 8);
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct acpi_pm *pm = opaque;
	uint16_t written = value << (offset * 8);
	uint16_t touched = bus_mask(size) << (offset * 8);
	bool off = false;
	unsigned int type;

	pthread_mutex_lock(&pm->lock);
	pm->control = ((pm->control & ~touched) | written) & PM1_CONTROL_BITS;
	if (written & PM1_SLP_EN) {
		type = (pm->control & PM1_SLP_TYP) >> PM1_SLP_TYP_SHIFT;
		off = type == ACPI_PM_S5 || type == 0;
	}
	pthread_mutex_unlock(&pm->lock);
	if (off)
		pm->config.power_off(pm->config.opaque);
}

static uint64_t timer_read(void *opaque, uint64_t offset, unsigned int size)
{
	uint64_t ticks = timer_ticks(opaque) & ((1 << TIMER_BITS) - 1);

	(void)size;
	return ticks >> (offset * 8);
}

static uint8_t gpe_read_byte(void *opaque, unsigned int offset)
{
	struct acpi_pm *pm = opaque;
	uint8_t value;

	pthread_mutex_lock(&pm->lock);
	value = offset ? pm->gpe_enable : pm->gpe_status;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void gpe_write_byte(void *opaque, unsigned int offset, uint8_t value)
{
	struct acpi_pm *pm = opaque;

	pthread_mutex_lock(&pm->lock);
	if (offset)
		pm->gpe_enable = value;
	else
		pm->gpe_status &= ~value;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned int size)
{
	return device_read_bytes(gpe_read_byte, opaque, offset, size);
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	device_write_bytes(gpe_write_byte, opaque, offset, value, size);
}

static void set_defaults(struct acpi_pm *pm)
{
	pm->status = pm->enable = pm->control = 0;
	pm->gpe_status = pm->gpe_enable = 0;
	pm->carries = timer_carries(pm);
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	set_defaults(pm);
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= PM1_POWER_BUTTON;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned int event)
{
	pthread_mutex_lock(&pm->lock);
	pm->gpe_status |= 1 << event;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_save(struct acpi_pm *pm, struct bytes_out *out)
{
	pthread_mutex_lock(&pm->lock);
	bytes_put_u16(out, pm->status);
	bytes_put_u16(out, pm->enable);
	bytes_put_u16(out, pm->control);
	bytes_put_u8(out, pm->gpe_status);
	bytes_put_u8(out, pm->gpe_enable);
	bytes_put_u64(out, pm->carries);
	pthread_mutex_unlock(&pm->lock);
}

int acpi_pm_load(struct acpi_pm *pm, struct bytes_in *in, struct error *err)
{
	uint16_t status = bytes_get_u16(in), enable = bytes_get_u16(in);
	uint16_t control = bytes_get_u16(in);
	uint8_t gpe_status = bytes_get_u8(in), gpe_enable = bytes_get_u8(in);
	uint64_t carries = bytes_get_u64(in);

	if ((status & ~PM1_STATUS_BITS) || (enable & ~PM1_ENABLE_BITS) ||
	    (control & ~PM1_CONTROL_BITS))
		return error_set(err, EINVAL, "its registers have bits that this machine lacks");
	pthread_mutex_lock(&pm->lock);
	pm->status = status;
	pm->enable = enable;
	pm->control = control;
	pm->gpe_status = gpe_status;
	pm->gpe_enable = gpe_enable;
	pm->carries = carries;
	pm->level = sci_level(pm);
	pthread_mutex_unlock(&pm->lock);
	return 0;
}

struct acpi_pm *acpi_pm_new(struct bus *pio, const struct acpi_pm_config *config,
			    struct error *err)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	struct bus_device event = { "acpi-evt", event_read, event_write, pm };
	struct bus_device control = { "acpi-cnt", control_read, control_write, pm };
	struct bus_device timer = { "acpi-tmr", timer_read, NULL, pm };
	struct bus_device gpe = { "acpi-gpe0", gpe_read, gpe_write, pm };

	if (!pm) {
		error_errno(err, ENOMEM, "ACPI power management");
		return NULL;
	}
	pm->config = *config;
	pm->bus = pio;
	pthread_mutex_init(&pm->lock, NULL);
	set_defaults(pm);
	if (bus_add(pio, ACPI_PM_EVENT, 4, &event, err) == -1 ||
	    bus_add(pio, ACPI_PM_CONTROL, 2, &control, err) == -1 ||
	    bus_add(pio, ACPI_PM_TIMER, 4, &timer, err) == -1 ||
	    bus_add(pio, ACPI_PM_GPE0, 2, &gpe, err) == -1) {
		acpi_pm_free(pm);
		return NULL;
	}
	return pm;
}

void acpi_pm_free(struct acpi_pm *pm)
{
	if (!pm)
		return;
	bus_remove(pm->bus, pm);
	pthread_mutex_destroy(&pm->lock);
	free(pm);
}
