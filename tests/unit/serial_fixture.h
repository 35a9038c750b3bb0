/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SERIAL_FIXTURE_H
#define TESTS_UNIT_SERIAL_FIXTURE_H

#include <string.h>

#include "vmm/dev/serial.h"

/* A serial port on a bus of its own, and what it has done to its surroundings. */
#define SERIAL_BASE     0x3f8
#define DATA            0
#define IER             1
#define IIR             2
#define FCR             2
#define LCR             3
#define MCR             4
#define LSR             5
#define MSR             6
#define SCR             7

#define OUT2            0x08
#define LOOP            0x10

extern struct bus serial_bus;
extern struct serial *serial_port;
extern const struct serial_config serial_config;

extern struct serial_seen {
	bool level;
	unsigned int rises, falls, ready;
	size_t sent_len;
	uint8_t sent[64];
	/* What the line had done when the last byte was sent. */
	unsigned int rises_at_send;
} serial_seen;

void serial_setup(void);
void serial_teardown(void);

/* Byte accesses to its registers. */
static inline uint8_t in(unsigned int reg)
{
	return bus_read(&serial_bus, SERIAL_BASE + reg, 1);
}

static inline void out(unsigned int reg, uint8_t value)
{
	bus_write(&serial_bus, SERIAL_BASE + reg, value, 1);
}

/* serial_receive() of a string. */
static inline size_t receive(const char *text)
{
	return serial_receive(serial_port, (const uint8_t *)text, strlen(text));
}

#endif
