/* SPDX-License-Identifier: MIT */
#include "vmm/dev/i8042.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DATA               0x60
#define PORT_COMMAND            0x64    /* the status when read */
#define PORT_FAST_A20           0x92

#define STATUS_OUTPUT_FULL      0x01
#define STATUS_SYSTEM           0x04    /* a self test has passed; bit 2 of the command byte */
#define STATUS_COMMAND          0x08    /* the last write went to PORT_COMMAND */
#define STATUS_UNLOCKED         0x10    /* the key switch of the case */
#define STATUS_TIMEOUT          0x40    /* the keyboard does not answer */

/* The command byte is byte 0 of the controller's RAM. */
#define CTR_KEYBOARD_IRQ        0x01
#define CTR_SYSTEM              0x04
#define CTR_KEYBOARD_OFF        0x10
#define CTR_TRANSLATE           0x40
#define CTR_DEFAULT             (CTR_KEYBOARD_IRQ | CTR_SYSTEM | CTR_TRANSLATE)

#define RAM_SIZE                32

#define CMD_READ_RAM            0x20    /* and up to 0x3f */
#define CMD_WRITE_RAM           0x60    /* and up to 0x7f */
#define CMD_TEST_AUX            0xa9
#define CMD_SELF_TEST           0xaa
#define CMD_TEST_KEYBOARD       0xab
#define CMD_KEYBOARD_OFF        0xad
#define CMD_KEYBOARD_ON         0xae
#define CMD_READ_INPUT          0xc0
#define CMD_READ_OUTPUT         0xd0
#define CMD_WRITE_OUTPUT        0xd1
#define CMD_WRITE_BUFFER        0xd2    /* as if it came from the keyboard */
#define CMD_WRITE_AUX_BUFFER    0xd3    /* as if it came from a mouse */
#define CMD_WRITE_AUX           0xd4
#define CMD_A20_OFF             0xdd
#define CMD_A20_ON              0xdf
#define CMD_PULSE               0xf0    /* and up to 0xff: pulls low the outputs whose bit is 0 */

#define SELF_TEST_PASSED        0x55
#define TEST_PASSED             0x00
#define TEST_CLOCK_STUCK_LOW    0x01
#define KEYBOARD_RESEND         0xfe    /* from the controller, for a keyboard that is not there */

#define INPUT_UNLOCKED          0x80

#define OUTPUT_RESET            0x01    /* low resets the machine */
#define OUTPUT_A20              0x02
#define OUTPUT_BUFFER_FULL      0x10
#define OUTPUT_LINES_IDLE       0xc0    /* keyboard clock and data */

#define FAST_RESET              0x01
#define FAST_A20                0x02

struct i8042 {
	/* Constant. */
	struct i8042_config config;
	struct bus *bus;

	pthread_mutex_t lock;
	/* Under the lock. */
	uint8_t ram[RAM_SIZE];
	uint8_t output;                 /* the output buffer */
	bool output_full, timeout;
	bool last_was_command;
	uint8_t pending;                /* the command that the next data byte belongs to, or 0 */
	bool a20;
};

static void put_output(struct i8042 *k, uint8_t byte, bool timeout)
{
	k->output = byte;
	k->output_full = true;
	k->timeout = timeout;
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *k = opaque;
	uint8_t status = STATUS_UNLOCKED;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	status |= (k->output_full ? STATUS_OUTPUT_FULL : 0) | (k->timeout ? STATUS_TIMEOUT : 0) |
		  (k->last_was_command ? STATUS_COMMAND : 0) |
		  (k->ram[0] & CTR_SYSTEM ? STATUS_SYSTEM : 0);
	pthread_mutex_unlock(&k->lock);
	return status;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *k = opaque;
	uint8_t byte;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	byte = k->output;
	k->output_full = k->timeout = false;
	pthread_mutex_unlock(&k->lock);
	return byte;
}

/* Commands that the next byte to the data port belongs to. */
static bool takes_operand(uint8_t command)
{
	switch (command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM_SIZE - 1:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_BUFFER:
	case CMD_WRITE_AUX_BUFFER:
	case CMD_WRITE_AUX:
		return true;
	default:
		return false;
	}
}

/* True when the command resets the machine. */
static bool run_command(struct i8042 *k, uint8_t command)
{
	k->pending = takes_operand(command) ? command : 0;
	switch (command) {
	case CMD_READ_RAM ... CMD_READ_RAM + RAM_SIZE - 1:
		put_output(k, k->ram[command - CMD_READ_RAM], false);
		break;
	case CMD_TEST_AUX:
		/* Not "passed": that would be taken for a mouse port. */
		put_output(k, TEST_CLOCK_STUCK_LOW, false);
		break;
	case CMD_SELF_TEST:
		k->ram[0] |= CTR_SYSTEM;
		put_output(k, SELF_TEST_PASSED, false);
		break;
	case CMD_TEST_KEYBOARD:
		put_output(k, TEST_PASSED, false);
		break;
	case CMD_KEYBOARD_OFF:
		k->ram[0] |= CTR_KEYBOARD_OFF;
		break;
	case CMD_KEYBOARD_ON:
		k->ram[0] &= ~CTR_KEYBOARD_OFF;
		break;
	case CMD_READ_INPUT:
		put_output(k, INPUT_UNLOCKED, false);
		break;
	case CMD_READ_OUTPUT:
		put_output(k, OUTPUT_RESET | OUTPUT_LINES_IDLE | (k->a20 ? OUTPUT_A20 : 0) |
			   (k->output_full ? OUTPUT_BUFFER_FULL : 0), false);
		break;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		k->a20 = command == CMD_A20_ON;
		break;
	case CMD_PULSE ... 0xff:
		return !(command & OUTPUT_RESET);
	}
	return false;
}

/* A byte to the data port: the operand of a command, or something for the keyboard. */
static bool take_data(struct i8042 *k, uint8_t byte)
{
	uint8_t command = k->pending;

	k->pending = 0;
	switch (command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM_SIZE - 1:
		k->ram[command - CMD_WRITE_RAM] = byte;
		break;
	case CMD_WRITE_OUTPUT:
		k->a20 = byte & OUTPUT_A20;
		return !(byte & OUTPUT_RESET);
	case CMD_WRITE_BUFFER:
	case CMD_WRITE_AUX_BUFFER:
		/* With one channel both are the same: nothing in the status says "mouse". */
		put_output(k, byte, false);
		break;
	default:
		put_output(k, KEYBOARD_RESEND, true);
		break;
	}
	return false;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *k = opaque;
	bool reset;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	k->last_was_command = true;
	reset = run_command(k, value);
	pthread_mutex_unlock(&k->lock);
	if (reset)
		k->config.reset(k->config.opaque);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *k = opaque;
	bool reset;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	k->last_was_command = false;
	reset = take_data(k, value);
	pthread_mutex_unlock(&k->lock);
	if (reset)
		k->config.reset(k->config.opaque);
}

static uint64_t fast_a20_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *k = opaque;
	bool a20;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	a20 = k->a20;
	pthread_mutex_unlock(&k->lock);
	return a20 ? FAST_A20 : 0;
}

static void fast_a20_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *k = opaque;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->lock);
	k->a20 = value & FAST_A20;
	pthread_mutex_unlock(&k->lock);
	/* The bit is never seen as 1: the machine is reset by then. */
	if (value & FAST_RESET)
		k->config.reset(k->config.opaque);
}

static void set_defaults(struct i8042 *k)
{
	memset(k->ram, 0, sizeof(k->ram));
	k->ram[0] = CTR_DEFAULT;
	k->output = 0;
	k->output_full = k->timeout = k->last_was_command = false;
	k->pending = 0;
	k->a20 = true;
}

void i8042_reset(struct i8042 *k)
{
	pthread_mutex_lock(&k->lock);
	set_defaults(k);
	pthread_mutex_unlock(&k->lock);
}

/* Booleans as they are saved. */
#define SAVED_OUTPUT_FULL       0x01
#define SAVED_TIMEOUT           0x02
#define SAVED_LAST_WAS_COMMAND  0x04
#define SAVED_A20               0x08
#define SAVED_ALL               0x0f

void i8042_save(struct i8042 *k, struct bytes_out *out)
{
	pthread_mutex_lock(&k->lock);
	bytes_put(out, k->ram, sizeof(k->ram));
	bytes_put_u8(out, k->output);
	bytes_put_u8(out, (k->output_full ? SAVED_OUTPUT_FULL : 0) |
			  (k->timeout ? SAVED_TIMEOUT : 0) |
			  (k->last_was_command ? SAVED_LAST_WAS_COMMAND : 0) |
			  (k->a20 ? SAVED_A20 : 0));
	bytes_put_u8(out, k->pending);
	pthread_mutex_unlock(&k->lock);
}

int i8042_load(struct i8042 *k, struct bytes_in *in, struct error *err)
{
	uint8_t ram[RAM_SIZE], output, flags, pending;

	bytes_get(in, ram, sizeof(ram));
	output = bytes_get_u8(in);
	flags = bytes_get_u8(in);
	pending = bytes_get_u8(in);
	if ((flags & ~SAVED_ALL) || (pending && !takes_operand(pending)))
		return error_set(err, EINVAL, "it is in no state that the keyboard controller "
				 "can have");
	pthread_mutex_lock(&k->lock);
	memcpy(k->ram, ram, sizeof(k->ram));
	k->output = output;
	k->output_full = flags & SAVED_OUTPUT_FULL;
	k->timeout = flags & SAVED_TIMEOUT;
	k->last_was_command = flags & SAVED_LAST_WAS_COMMAND;
	k->a20 = flags & SAVED_A20;
	k->pending = pending;
	pthread_mutex_unlock(&k->lock);
	return 0;
}

struct i8042 *i8042_new(struct bus *pio, const struct i8042_config *config, struct error *err)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	struct bus_device data = { "i8042-data", data_read, data_write, k };
	struct bus_device command = { "i8042-cmd", status_read, command_write, k };
	struct bus_device fast_a20 = { "port92", fast_a20_read, fast_a20_write, k };

	if (!k) {
		error_errno(err, ENOMEM, "i8042");
		return NULL;
	}
	k->config = *config;
	k->bus = pio;
	pthread_mutex_init(&k->lock, NULL);
	set_defaults(k);
	if (bus_add(pio, PORT_DATA, 1, &data, err) == -1 ||
	    bus_add(pio, PORT_COMMAND, 1, &command, err) == -1 ||
	    bus_add(pio, PORT_FAST_A20, 1, &fast_a20, err) == -1) {
		i8042_free(k);
		return NULL;
	}
	return k;
}

void i8042_free(struct i8042 *k)
{
	if (!k)
		return;
	bus_remove(k->bus, k);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
