/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "tests/unit/serial_fixture.h"
#include "tests/unit/suites.h"

START_TEST(loopback_of_modem_lines)
{
	static const uint8_t to[] = { 0x20, 0x10, 0x40, 0x80 };
	unsigned int i;

	out(MCR, LOOP);
	/* CTS, DSR and DCD were on. */
	ck_assert_uint_eq(in(MSR), 0x0b);
	for (i = 0; i < 4; i++) {
		out(MCR, LOOP | 1 << i);
		/* For the ring indicator, only going off counts. */
		ck_assert_uint_eq(in(MSR), to[i] | (to[i] == 0x40 ? 0 : to[i] >> 4));
		ck_assert_uint_eq(in(MSR), to[i]);
		out(MCR, LOOP);
		ck_assert_uint_eq(in(MSR), to[i] >> 4);
		ck_assert_uint_eq(in(MSR), 0);
	}
	out(MCR, 0);
	ck_assert_uint_eq(in(MSR), 0xbb);
}
END_TEST

START_TEST(loopback_of_data)
{
	out(FCR, 0x01);
	receive("0123456789abcdef+");
	out(MCR, LOOP);
	in(LSR);
	/* What was there stays; nothing comes in from outside; overrun keeps the old. */
	out(DATA, 'x');
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(DATA), '0');
	out(FCR, 0x03);
	ck_assert_uint_eq(receive("y"), 0);
	out(DATA, 'z');
	ck_assert_uint_eq(in(DATA), 'z');
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(serial_seen.sent_len, 0);
	ck_assert_uint_eq(serial_seen.ready, 0);
	out(MCR, 0);
	ck_assert_uint_eq(serial_seen.ready, 1);
	/* Without FIFOs overrun keeps the new. */
	out(FCR, 0);
	out(MCR, LOOP);
	out(DATA, 'p');
	out(DATA, 'q');
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(DATA), 'q');
}
END_TEST

START_TEST(break_in_loopback)
{
	out(FCR, 0x01);
	out(MCR, LOOP | OUT2);
	out(IER, 0x04);
	out(DATA, 'a');
	out(LCR, 0x40);
	out(DATA, 'n');
	out(LCR, 0x00);
	out(DATA, 'b');
	/* An error is seen when its byte is next, and before that only that there is one. */
	ck_assert_uint_eq(in(LSR), 0xe1);
	ck_assert(!serial_seen.level);
	ck_assert_uint_eq(in(DATA), 'a');
	ck_assert(serial_seen.level);
	ck_assert_uint_eq(in(IIR), 0xc6);
	ck_assert_uint_eq(in(LSR), 0xf9);
	ck_assert(!serial_seen.level);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(in(DATA), 'b');
	ck_assert_uint_eq(in(LSR), 0x60);
	/* Entering loopback with a break on counts too; staying so does not. */
	out(MCR, 0);
	out(LCR, 0x40);
	ck_assert_uint_eq(in(LSR), 0x60);
	out(MCR, LOOP);
	out(MCR, LOOP | OUT2);
	ck_assert_uint_eq(in(LSR), 0xf9);
	in(DATA);
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(priorities)
{
	unsigned int i;

	out(FCR, 0x81);
	out(MCR, LOOP | OUT2);
	for (i = 0; i < 17; i++)
		out(DATA, i);
	out(IER, 0x0f);
	ck_assert_uint_eq(in(IIR), 0xc6);
	ck_assert_uint_eq(in(IIR), 0xc6);
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(IIR), 0xc4);
	for (i = 0; i < 9; i++)
		in(DATA);
	ck_assert_uint_eq(in(IIR), 0xcc);
	out(FCR, 0x83);
	ck_assert_uint_eq(in(IIR), 0xc2);
	ck_assert_uint_eq(in(IIR), 0xc0);
	ck_assert(serial_seen.level);
	ck_assert_uint_eq(in(MSR), 0x83);
	ck_assert_uint_eq(in(IIR), 0xc1);
	ck_assert(!serial_seen.level);
	/* One interrupt line for all of it: up once, down once. */
	ck_assert_uint_eq(serial_seen.rises, 1);
	ck_assert_uint_eq(serial_seen.falls, 1);
}
END_TEST

/* Only what is enabled interrupts, and only that shows in IIR. */
START_TEST(disabled_interrupts)
{
	unsigned int i;

	out(MCR, LOOP | OUT2);
	out(DATA, 'a');
	out(DATA, 'b');
	for (i = 0; i < 4; i++) {
		out(IER, 0);
		ck_assert(!serial_seen.level);
		ck_assert_uint_eq(in(IIR), 0x01);
		out(IER, 1 << i);
		ck_assert(serial_seen.level);
		ck_assert_uint_eq(in(IIR), "\x04\x02\x06\x00"[i]);
	}
}
END_TEST

/* What the Linux driver does to find out which port it has (drivers/tty/serial/8250). */
START_TEST(linux_finds_a_16550a)
{
	uint8_t status1, status2, saved;
	unsigned int n;

	out(IER, 0);
	ck_assert_uint_eq(in(IER) & 0x0f, 0);
	out(IER, 0x0f);
	ck_assert_uint_eq(in(IER) & 0x0f, 0x0f);
	out(IER, 0);
	out(MCR, LOOP | 0x0a);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x90);
	out(MCR, 0);
	out(LCR, 0xbf);
	out(2, 0);
	out(LCR, 0);
	out(FCR, 0x01);
	ck_assert_uint_eq(in(IIR) >> 6, 3);
	/* Not one of its successors: no EFR, no 64 byte FIFO, no bank of its own, no UUE bit. */
	out(LCR, 0x80);
	ck_assert_uint_ne(in(2), 0);
	out(LCR, 0xbf);
	ck_assert_uint_ne(in(2), 0);
	out(LCR, 0);
	out(FCR, 0x21);
	status1 = in(IIR) >> 5;
	out(FCR, 0x01);
	out(LCR, 0x80);
	out(FCR, 0x21);
	status2 = in(IIR) >> 5;
	ck_assert(!(status1 == 6 && status2 == 7));
	out(FCR, 0x01);
	out(LCR, 0);
	saved = in(MCR);
	out(MCR, saved ^ LOOP);
	out(LCR, 0xe0);
	status2 = in(2);
	out(LCR, 0);
	out(MCR, saved);
	ck_assert_uint_eq((status2 ^ saved) & LOOP, 0);
	out(IER, 0x40);
	ck_assert_uint_eq(in(IER) & 0x40, 0);
	/* The FIFO has 16 bytes. */
	out(FCR, 0x07);
	out(MCR, LOOP);
	for (n = 0; n < 256; n++)
		out(DATA, n);
	for (n = 0; (in(LSR) & 0x01) && n < 256; n++)
		ck_assert_uint_eq(in(DATA), n);
	ck_assert_uint_eq(n, 16);
	/* And the transmitter's interrupt comes again when it is enabled anew. */
	out(MCR, 0);
	for (n = 0; n < 2; n++) {
		out(IER, 0x02);
		ck_assert_uint_eq(in(IIR) & 0x01, 0);
		out(IER, 0);
	}
	ck_assert_uint_eq(serial_seen.rises, 0);
}
END_TEST

Suite *serial_loopback_suite(void)
{
	Suite *s = suite_create("serial_loopback");
	TCase *t = tcase_create("serial_loopback");

	tcase_add_checked_fixture(t, serial_setup, serial_teardown);
	tcase_add_test(t, loopback_of_modem_lines);
	tcase_add_test(t, loopback_of_data);
	tcase_add_test(t, break_in_loopback);
	tcase_add_test(t, priorities);
	tcase_add_test(t, disabled_interrupts);
	tcase_add_test(t, linux_finds_a_16550a);
	suite_add_tcase(s, t);
	return s;
}
