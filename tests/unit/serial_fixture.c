/* SPDX-License-Identifier: MIT */
#include "tests/unit/serial_fixture.h"

#include <check.h>

struct bus serial_bus;
struct serial *serial_port;
struct serial_seen serial_seen;

static void on_irq(void *opaque, bool level)
{
	ck_assert_ptr_eq(opaque, &serial_seen);
	ck_assert_int_ne(level, serial_seen.level);
	serial_seen.level = level;
	serial_seen.rises += level;
	serial_seen.falls += !level;
}

static void on_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	ck_assert_ptr_eq(opaque, &serial_seen);
	ck_assert_uint_le(serial_seen.sent_len + len, sizeof(serial_seen.sent));
	memcpy(serial_seen.sent + serial_seen.sent_len, bytes, len);
	serial_seen.sent_len += len;
	serial_seen.rises_at_send = serial_seen.rises;
}

static void on_ready(void *opaque)
{
	ck_assert_ptr_eq(opaque, &serial_seen);
	serial_seen.ready++;
}

const struct serial_config serial_config = {
	.base = SERIAL_BASE,
	.irq = on_irq,
	.transmit = on_transmit,
	.receive_ready = on_ready,
	.opaque = &serial_seen,
};

void serial_setup(void)
{
	memset(&serial_seen, 0, sizeof(serial_seen));
	bus_init(&serial_bus, "I/O");
	serial_port = serial_new(&serial_bus, &serial_config, NULL);
	ck_assert_ptr_nonnull(serial_port);
}

void serial_teardown(void)
{
	serial_free(serial_port);
	ck_assert_uint_eq(serial_bus.nr_ranges, 0);
	bus_destroy(&serial_bus);
}
