/* SPDX-License-Identifier: MIT */
#include "vmm/dev/serial.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_PORTS    8
#define FIFO_SIZE       16

/* Registers by offset (data sheet, table II).  The names before the slash are for reading. */
enum {
	REG_DATA = 0,           /* RBR / THR; DLL with LCR_DLAB */
	REG_IER = 1,            /* DLM with LCR_DLAB */
	REG_IIR_FCR = 2,
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RECEIVE     0x01
#define IER_TRANSMIT    0x02
#define IER_LINE        0x04
#define IER_MODEM       0x08
#define IER_ALL         0x0f

#define IIR_NONE        0x01
#define IIR_MODEM       0x00
#define IIR_TRANSMIT    0x02
#define IIR_RECEIVE     0x04
#define IIR_LINE        0x06
#define IIR_TIMEOUT     0x0c
#define IIR_FIFO        0xc0

#define FCR_ENABLE      0x01
#define FCR_CLEAR_RX    0x02
#define FCR_TRIGGER     0xc0

#define LCR_BREAK       0x40
#define LCR_DLAB        0x80

#define MCR_DTR         0x01
#define MCR_RTS         0x02
#define MCR_OUT1        0x04
#define MCR_OUT2        0x08
#define MCR_LOOP        0x10
#define MCR_ALL         0x1f

#define LSR_DATA_READY  0x01
#define LSR_OVERRUN     0x02
#define LSR_PARITY      0x04
#define LSR_FRAMING     0x08
#define LSR_BREAK       0x10
#define LSR_THR_EMPTY   0x20
#define LSR_TX_EMPTY    0x40
#define LSR_FIFO_ERROR  0x80
#define LSR_ERRORS      (LSR_OVERRUN | LSR_PARITY | LSR_FRAMING | LSR_BREAK)

#define MSR_DELTAS      0x0f
#define MSR_TERI        0x04
#define MSR_CTS         0x10
#define MSR_DSR         0x20
#define MSR_RI          0x40
#define MSR_DCD         0x80

/* 9600 baud, as firmware leaves it: Linux divides by what it finds. */
#define DIVISOR_DEFAULT 12

struct received {
	uint8_t byte;
	uint8_t errors;         /* LSR bits that come up when the byte is the next to be read */
};

struct serial {
	/* Constant. */
	struct serial_config config;
	struct bus *bus;

	pthread_mutex_t lock;
	/* Under the lock. */
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t msr_deltas;
	bool overrun;
	bool thr_event;         /* the transmitter became empty, and IIR has not said so yet */
	bool timeout;           /* bytes wait in the FIFO, and none came for a while */
	bool refused;           /* the outside has bytes that found no room */
	bool level;             /* of the interrupt line */
	struct received fifo[FIFO_SIZE];        /* without FIFOs only one is used */
	unsigned int head, count;
};

static bool fifos_enabled(const struct serial *s)
{
	return s->fcr & FCR_ENABLE;
}

static unsigned int receive_capacity(const struct serial *s)
{
	return fifos_enabled(s) ? FIFO_SIZE : 1;
}

static unsigned int receive_trigger(const struct serial *s)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 };

	return fifos_enabled(s) ? trigger[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct serial *s)
{
	uint8_t status = LSR_THR_EMPTY | LSR_TX_EMPTY;
	unsigned int i;

	if (s->overrun)
		status |= LSR_OVERRUN;
	if (s->count)
		status |= LSR_DATA_READY | s->fifo[s->head].errors;
	if (fifos_enabled(s))
		for (i = 0; i < s->count; i++)
			if (s->fifo[(s->head + i) % FIFO_SIZE].errors)
				status |= LSR_FIFO_ERROR;
	return status;
}

/* CTS, DSR, RI and DCD as the port sees them: in loopback they are its own RTS, DTR, OUT1, OUT2. */
static uint8_t modem_inputs(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* The one interrupt that IIR reports: the highest of what is pending and enabled. */
static uint8_t interrupt_id(const struct serial *s)
{
	if ((s->ier & IER_LINE) && (line_status(s) & LSR_ERRORS))
		return IIR_LINE;
	if ((s->ier & IER_RECEIVE) && s->count >= receive_trigger(s))
		return IIR_RECEIVE;
	if ((s->ier & IER_RECEIVE) && s->timeout)
		return IIR_TIMEOUT;
	if ((s->ier & IER_TRANSMIT) && s->thr_event)
		return IIR_TRANSMIT;
	if ((s->ier & IER_MODEM) && s->msr_deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

/*
 * Where the interrupt line belongs.  OUT2 opens the way to the interrupt controller on every PC; in
 * loopback too, for there the data sheet has interrupts fully operational.
 */
static bool line_level(const struct serial *s)
{
	return (s->mcr & MCR_OUT2) && interrupt_id(s) != IIR_NONE;
}

static void update_line(struct serial *s)
{
	bool level = line_level(s);

	if (level == s->level)
		return;
	s->level = level;
	s->config.irq(s->config.opaque, level);
}

static void clear_receiver(struct serial *s)
{
	s->head = s->count = 0;
	s->timeout = false;
}

static void receive_one(struct serial *s, uint8_t byte, uint8_t errors)
{
	if (s->count == receive_capacity(s)) {
		s->overrun = true;
		/* FIFOs keep what they have; the single register is overwritten. */
		if (fifos_enabled(s))
			return;
		s->count = 0;
	}
	s->fifo[(s->head + s->count++) % FIFO_SIZE] = (struct received){ byte, errors };
	s->timeout = fifos_enabled(s);
}

/*
 * An event that ends and comes again at once lets the line fall in between, here and in
 * write_data(), as it does on a real port: controllers that look for edges would miss the second.
 */
static uint8_t read_data(struct serial *s)
{
	uint8_t byte;

	if (!s->count)
		return 0;
	byte = s->fifo[s->head].byte;
	s->head = (s->head + 1) % FIFO_SIZE;
	s->count--;
	s->timeout = false;
	update_line(s);
	s->timeout = fifos_enabled(s) && s->count;
	return byte;
}

static uint8_t read_register(struct serial *s, unsigned int reg)
{
	uint8_t value = 0xff;

	switch (reg) {
	case REG_DATA:
		value = s->lcr & LCR_DLAB ? s->dll : read_data(s);
		break;
	case REG_IER:
		value = s->lcr & LCR_DLAB ? s->dlm : s->ier;
		break;
	case REG_IIR_FCR:
		value = interrupt_id(s);
		if (value == IIR_TRANSMIT)
			s->thr_event = false;
		if (fifos_enabled(s))
			value |= IIR_FIFO;
		break;
	case REG_LCR:
		value = s->lcr;
		break;
	case REG_MCR:
		value = s->mcr;
		break;
	case REG_LSR:
		value = line_status(s);
		s->overrun = false;
		s->fifo[s->head].errors = 0;
		break;
	case REG_MSR:
		value = modem_inputs(s) | s->msr_deltas;
		s->msr_deltas = 0;
		break;
	case REG_SCR:
		value = s->scr;
		break;
	}
	return value;
}

/* A byte into the transmitter: it is empty again before anybody can look. */
static void write_data(struct serial *s, uint8_t byte)
{
	s->thr_event = false;
	update_line(s);
	if (!(s->mcr & MCR_LOOP)) {
		/*
		 * Before the interrupt that asks for the next byte, which another vCPU may send.
		 * Nothing that follows here relies on what was true before the lock was dropped.
		 */
		pthread_mutex_unlock(&s->lock);
		s->config.transmit(s->config.opaque, &byte, 1);
		pthread_mutex_lock(&s->lock);
	} else if (!(s->lcr & LCR_BREAK)) {
		receive_one(s, byte, 0);
	}
	s->thr_event = true;
}

static void write_ier(struct serial *s, uint8_t value)
{
	/* Drivers start sending by enabling this interrupt while the transmitter is empty. */
	if ((value & ~s->ier) & IER_TRANSMIT)
		s->thr_event = true;
	s->ier = value & IER_ALL;
}

static void write_fcr(struct serial *s, uint8_t value)
{
	bool enable = value & FCR_ENABLE;

	/* The other bits can only be programmed together with this one. */
	if (enable != fifos_enabled(s) || (enable && (value & FCR_CLEAR_RX)))
		clear_receiver(s);
	s->fcr = value & (FCR_ENABLE | FCR_TRIGGER);
}

/* LCR and MCR together decide what the receiver sees of a break, and MCR the modem inputs. */
static void write_lcr_mcr(struct serial *s, uint8_t lcr, uint8_t mcr)
{
	bool old_break = (s->mcr & MCR_LOOP) && (s->lcr & LCR_BREAK);
	uint8_t old_inputs = modem_inputs(s), changed;

	s->lcr = lcr;
	s->mcr = mcr & MCR_ALL;
	changed = old_inputs ^ modem_inputs(s);
	s->msr_deltas |= (changed & ~MSR_RI) >> 4;
	if (changed & old_inputs & MSR_RI)
		s->msr_deltas |= MSR_TERI;
	if (!old_break && (s->mcr & MCR_LOOP) && (s->lcr & LCR_BREAK))
		receive_one(s, 0, LSR_BREAK | LSR_FRAMING);
}

static void write_register(struct serial *s, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = value;
		else
			write_data(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case REG_IIR_FCR:
		write_fcr(s, value);
		break;
	case REG_LCR:
		write_lcr_mcr(s, value, s->mcr);
		break;
	case REG_MCR:
		write_lcr_mcr(s, s->lcr, value);
		break;
	case REG_SCR:
		s->scr = value;
		break;
	}
}

/* The end of everything that may have changed registers: the line, the lock, the outside. */
static void finish(struct serial *s)
{
	bool ready = s->refused && !s->count && !(s->mcr & MCR_LOOP);

	if (ready)
		s->refused = false;
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	if (ready)
		s->config.receive_ready(s->config.opaque);
}

static uint8_t read_byte(void *opaque, unsigned int offset)
{
	struct serial *s = opaque;
	uint8_t value;

	pthread_mutex_lock(&s->lock);
	value = read_register(s, offset);
	finish(s);
	return value;
}

static void write_byte(void *opaque, unsigned int offset, uint8_t value)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	write_register(s, offset, value);
	finish(s);
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	return device_read_bytes(read_byte, opaque, offset, size);
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	device_write_bytes(write_byte, opaque, offset, value, size);
}

size_t serial_receive(struct serial *s, const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	if (!(s->mcr & MCR_LOOP))
		while (n < len && s->count < receive_capacity(s))
			receive_one(s, bytes[n++], 0);
	s->refused = n < len;
	finish(s);
	return n;
}

static void set_defaults(struct serial *s)
{
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = 0;
	s->dll = DIVISOR_DEFAULT;
	s->dlm = 0;
	s->msr_deltas = 0;
	s->overrun = s->thr_event = false;
	clear_receiver(s);
}

void serial_reset(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	set_defaults(s);
	finish(s);
}

/* Booleans as they are saved. */
#define SAVED_OVERRUN   0x01
#define SAVED_THR_EVENT 0x02
#define SAVED_TIMEOUT   0x04
#define SAVED_ALL       0x07
#define FIFO_ERRORS     (LSR_PARITY | LSR_FRAMING | LSR_BREAK)

void serial_save(struct serial *s, struct bytes_out *out)
{
	const struct received *r;
	unsigned int i;

	pthread_mutex_lock(&s->lock);
	bytes_put_u8(out, s->ier);
	bytes_put_u8(out, s->fcr);
	bytes_put_u8(out, s->lcr);
	bytes_put_u8(out, s->mcr);
	bytes_put_u8(out, s->scr);
	bytes_put_u8(out, s->dll);
	bytes_put_u8(out, s->dlm);
	bytes_put_u8(out, s->msr_deltas);
	bytes_put_u8(out, (s->overrun ? SAVED_OVERRUN : 0) |
			  (s->thr_event ? SAVED_THR_EVENT : 0) |
			  (s->timeout ? SAVED_TIMEOUT : 0));
	bytes_put_u8(out, s->count);
	for (i = 0; i < s->count; i++) {
		r = &s->fifo[(s->head + i) % FIFO_SIZE];
		bytes_put_u8(out, r->byte);
		bytes_put_u8(out, r->errors);
	}
	pthread_mutex_unlock(&s->lock);
}

int serial_load(struct serial *s, struct bytes_in *in, struct error *err)
{
	uint8_t ier = bytes_get_u8(in), fcr = bytes_get_u8(in), lcr = bytes_get_u8(in);
	uint8_t mcr = bytes_get_u8(in), scr = bytes_get_u8(in), dll = bytes_get_u8(in);
	uint8_t dlm = bytes_get_u8(in), msr_deltas = bytes_get_u8(in), flags = bytes_get_u8(in);
	uint8_t count = bytes_get_u8(in), i;
	struct received fifo[FIFO_SIZE];

	if (count > (fcr & FCR_ENABLE ? FIFO_SIZE : 1))
		return error_set(err, EINVAL, "%u bytes are more than its receiver holds", count);
	if ((ier & ~IER_ALL) || (fcr & ~(FCR_ENABLE | FCR_TRIGGER)) || (mcr & ~MCR_ALL) ||
	    (msr_deltas & ~MSR_DELTAS) || (flags & ~SAVED_ALL))
		return error_set(err, EINVAL, "its registers have bits that a 16550A lacks");
	for (i = 0; i < count; i++) {
		fifo[i].byte = bytes_get_u8(in);
		fifo[i].errors = bytes_get_u8(in);
		if (fifo[i].errors & ~FIFO_ERRORS)
			return error_set(err, EINVAL, "a received byte has errors that no byte "
					 "can have");
	}
	pthread_mutex_lock(&s->lock);
	s->ier = ier;
	s->fcr = fcr;
	s->lcr = lcr;
	s->mcr = mcr;
	s->scr = scr;
	s->dll = dll;
	s->dlm = dlm;
	s->msr_deltas = msr_deltas;
	s->overrun = flags & SAVED_OVERRUN;
	s->thr_event = flags & SAVED_THR_EVENT;
	s->timeout = flags & SAVED_TIMEOUT;
	memcpy(s->fifo, fifo, count * sizeof(fifo[0]));
	s->head = 0;
	s->count = count;
	s->level = line_level(s);
	finish(s);
	return 0;
}

struct serial *serial_new(struct bus *pio, const struct serial_config *config, struct error *err)
{
	struct serial *s = calloc(1, sizeof(*s));
	struct bus_device device = { "serial", serial_read, serial_write, s };

	if (!s) {
		error_errno(err, ENOMEM, "serial port");
		return NULL;
	}
	s->config = *config;
	s->bus = pio;
	pthread_mutex_init(&s->lock, NULL);
	set_defaults(s);
	if (bus_add(pio, config->base, SERIAL_PORTS, &device, err) == -1) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	return s;
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	bus_remove(s->bus, s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
