/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/serial_fixture.h"
#include "tests/unit/suites.h"

static void assert_after_reset(void)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xb0);
	ck_assert_uint_eq(in(SCR), 0);
	out(LCR, 0x80);
	ck_assert_uint_eq(in(DATA), 12);
	ck_assert_uint_eq(in(IER), 0);
	out(LCR, 0);
	ck_assert(!serial_seen.level);
}

START_TEST(defaults)
{
	assert_after_reset();
	ck_assert_uint_eq(serial_seen.rises + serial_seen.falls + serial_seen.ready, 0);
}
END_TEST

START_TEST(registers_keep_their_bits)
{
	out(IER, 0xff);
	ck_assert_uint_eq(in(IER), 0x0f);
	out(MCR, 0xff & ~LOOP);
	ck_assert_uint_eq(in(MCR), 0x0f);
	out(MCR, 0xff);
	ck_assert_uint_eq(in(MCR), 0x1f);
	out(LCR, 0x7f);
	ck_assert_uint_eq(in(LCR), 0x7f);
	out(SCR, 0xa5);
	ck_assert_uint_eq(in(SCR), 0xa5);
	out(MCR, 0);
	out(LSR, 0xff);
	out(MSR, 0xff);
	in(MSR);
	ck_assert_uint_eq(in(MSR), 0xb0);
}
END_TEST

START_TEST(divisor)
{
	out(IER, 0x05);
	out(LCR, 0x83);
	out(DATA, 0x34);
	out(IER, 0x12);
	ck_assert_uint_eq(in(DATA), 0x34);
	ck_assert_uint_eq(in(IER), 0x12);
	ck_assert_uint_eq(in(LCR), 0x83);
	out(LCR, 0x03);
	ck_assert_uint_eq(in(IER), 0x05);
	ck_assert_uint_eq(serial_seen.sent_len, 0);
	/* Both halves at once. */
	out(LCR, 0x83);
	bus_write(&serial_bus, SERIAL_BASE, 0x0102, 2);
	ck_assert_uint_eq(bus_read(&serial_bus, SERIAL_BASE, 2), 0x0102);
	ck_assert_uint_eq(in(IER), 0x01);
}
END_TEST

START_TEST(transmits_at_once)
{
	unsigned int i;

	for (i = 0; i < 20; i++) {
		out(DATA, 'a' + i);
		ck_assert_uint_eq(in(LSR), 0x60);
	}
	ck_assert_uint_eq(serial_seen.sent_len, 20);
	ck_assert_mem_eq(serial_seen.sent, "abcdefghijklmnopqrst", 20);
}
END_TEST

START_TEST(transmitter_interrupt)
{
	out(MCR, OUT2);
	ck_assert(!serial_seen.level);
	out(IER, 0x02);
	ck_assert(serial_seen.level);
	/* Being read out ends it; being enabled anew, or a byte sent, brings it back. */
	ck_assert_uint_eq(in(IIR), 0x02);
	ck_assert(!serial_seen.level);
	ck_assert_uint_eq(in(IIR), 0x01);
	out(IER, 0x03);
	ck_assert(!serial_seen.level);
	out(IER, 0x00);
	out(IER, 0x02);
	ck_assert(serial_seen.level);
	ck_assert_uint_eq(in(IIR), 0x02);
	out(DATA, 'x');
	ck_assert(serial_seen.level);
	/* Without the interrupt in between, edges still tell of every byte. */
	ck_assert_uint_eq(serial_seen.rises, 3);
	out(DATA, 'y');
	ck_assert(serial_seen.level);
	ck_assert_uint_eq(serial_seen.rises, 4);
	out(IER, 0x00);
	ck_assert(!serial_seen.level);
}
END_TEST

START_TEST(byte_leaves_before_its_interrupt)
{
	out(MCR, OUT2);
	out(IER, 0x02);
	in(IIR);
	out(DATA, 'x');
	ck_assert_uint_eq(serial_seen.rises, 2);
	ck_assert_uint_eq(serial_seen.rises_at_send, 1);
}
END_TEST

START_TEST(out2_gates_the_line)
{
	out(IER, 0x01);
	receive("a");
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert(!serial_seen.level);
	out(MCR, OUT2);
	ck_assert(serial_seen.level);
	out(MCR, 0);
	ck_assert(!serial_seen.level);
	/* In loopback as well. */
	out(MCR, OUT2 | LOOP);
	ck_assert(serial_seen.level);
}
END_TEST

START_TEST(receives_without_fifos)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	ck_assert_uint_eq(receive("ab"), 1);
	ck_assert(serial_seen.level);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert_uint_eq(receive("b"), 0);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(serial_seen.ready, 0);
	ck_assert_uint_eq(in(DATA), 'a');
	ck_assert_uint_eq(serial_seen.ready, 1);
	ck_assert(!serial_seen.level);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(DATA), 0);
	/* Taken whole: nobody waits. */
	ck_assert_uint_eq(receive("b"), 1);
	ck_assert_uint_eq(in(DATA), 'b');
	ck_assert_uint_eq(serial_seen.ready, 1);
}
END_TEST

START_TEST(receives_with_fifos)
{
	unsigned int i;

	out(FCR, 0x01);
	ck_assert_uint_eq(receive("0123456789"), 10);
	ck_assert_uint_eq(receive("abcdefghij"), 6);
	ck_assert_uint_eq(receive("ghij"), 0);
	ck_assert_uint_eq(in(LSR), 0x61);
	for (i = 0; i < 16; i++) {
		ck_assert_uint_eq(serial_seen.ready, 0);
		ck_assert_uint_eq(in(DATA), "0123456789abcdef"[i]);
	}
	ck_assert_uint_eq(serial_seen.ready, 1);
	ck_assert_uint_eq(in(LSR), 0x60);
	/* Around the end of the ring. */
	ck_assert_uint_eq(receive("0123456789"), 10);
	for (i = 0; i < 5; i++)
		in(DATA);
	ck_assert_uint_eq(receive("abcdefghijkl"), 11);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(in(DATA), "56789abcdefghijk"[i]);
}
END_TEST

START_TEST(trigger_levels)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };
	unsigned int trigger, i;

	out(MCR, OUT2);
	out(IER, 0x01);
	for (trigger = 0; trigger < 4; trigger++) {
		out(FCR, 0x07 | trigger << 6);
		ck_assert_uint_eq(in(IIR), 0xc1);
		for (i = 1; i <= 16; i++) {
			receive("x");
			ck_assert(serial_seen.level);
			ck_assert_uint_eq(in(IIR), i < level[trigger] ? 0xcc : 0xc4);
		}
		for (i = 15; i > 0; i--) {
			in(DATA);
			ck_assert_uint_eq(in(IIR), i < level[trigger] ? 0xcc : 0xc4);
		}
		in(DATA);
		ck_assert_uint_eq(in(IIR), 0xc1);
		ck_assert(!serial_seen.level);
	}
	/* Without FIFOs there are no levels. */
	out(FCR, 0xc0);
	receive("x");
	ck_assert_uint_eq(in(IIR), 0x04);
}
END_TEST

START_TEST(timeout_comes_again_with_every_byte)
{
	out(MCR, OUT2);
	out(FCR, 0xc1);
	out(IER, 0x01);
	receive("abc");
	ck_assert_uint_eq(serial_seen.rises, 1);
	in(DATA);
	ck_assert_uint_eq(serial_seen.rises, 2);
	in(DATA);
	ck_assert_uint_eq(serial_seen.rises, 3);
	ck_assert(serial_seen.level);
	in(DATA);
	ck_assert_uint_eq(serial_seen.rises, 3);
	ck_assert(!serial_seen.level);
	/* While the FIFO is above its level nothing has ended, and the line stays up. */
	receive("0123456789abcdef");
	ck_assert_uint_eq(serial_seen.rises, 4);
	in(DATA);
	in(DATA);
	ck_assert_uint_eq(serial_seen.rises, 4);
	ck_assert_uint_eq(in(IIR), 0xc4);
	in(DATA);
	ck_assert_uint_eq(serial_seen.rises, 5);
	ck_assert_uint_eq(in(IIR), 0xcc);
}
END_TEST

START_TEST(fifo_control)
{
	/* Without FIFOs, nothing but switching them on has an effect. */
	receive("a");
	out(FCR, 0xc2);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(IIR), 0x01);
	/* Switching FIFOs on or off empties them. */
	out(FCR, 0x01);
	ck_assert_uint_eq(in(LSR), 0x60);
	receive("ab");
	out(FCR, 0x81);
	ck_assert_uint_eq(in(LSR), 0x61);
	out(FCR, 0x83);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(IIR), 0xc1);
	receive("ab");
	out(FCR, 0x00);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(IIR), 0x01);
	/* Clearing makes room. */
	out(FCR, 0x01);
	receive("0123456789abcdefgh");
	out(FCR, 0x03);
	ck_assert_uint_eq(serial_seen.ready, 1);
}
END_TEST

START_TEST(wide_accesses)
{
	/* Scratch and the port beyond: nobody has all of that. */
	out(SCR, 0x11);
	bus_write(&serial_bus, SERIAL_BASE + SCR, 0x2233, 2);
	ck_assert_uint_eq(in(SCR), 0x11);
	ck_assert_uint_eq(bus_read(&serial_bus, SERIAL_BASE + SCR, 2), 0xffff);
	/* LCR, MCR, LSR, MSR in one go. */
	out(LCR, 0x03);
	out(MCR, 0x0b);
	in(MSR);
	ck_assert_uint_eq(bus_read(&serial_bus, SERIAL_BASE + LCR, 4), 0xb0600b03);
}
END_TEST

START_TEST(reset)
{
	out(LCR, 0x83);
	out(DATA, 1);
	out(IER, 1);
	out(LCR, 0x03);
	out(FCR, 0xc1);
	out(MCR, 0x0f);
	out(IER, 0x0f);
	out(SCR, 0x55);
	receive("0123456789abcdefgh");
	ck_assert(serial_seen.level);
	serial_reset(serial_port);
	ck_assert(!serial_seen.level);
	/* What waits outside may come now. */
	ck_assert_uint_eq(serial_seen.ready, 1);
	assert_after_reset();
}
END_TEST

START_TEST(creation_fails)
{
	struct bus_device floppy = { "floppy", NULL, NULL, NULL };
	struct error err;
	struct bus other;

	bus_init(&other, "I/O");
	alloc_fail_at(1);
	ck_assert_ptr_null(serial_new(&other, &serial_config, &err));
	ck_assert_int_eq(err.code, ENOMEM);
	alloc_fail_at(2);
	ck_assert_ptr_null(serial_new(&other, &serial_config, &err));
	ck_assert(alloc_has_failed());
	ck_assert_int_eq(bus_add(&other, 0x3f0, 9, &floppy, NULL), 0);
	ck_assert_ptr_null(serial_new(&other, &serial_config, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "serial overlaps"));
	ck_assert_uint_eq(other.nr_ranges, 1);
	bus_destroy(&other);
	serial_free(NULL);
}
END_TEST

Suite *serial_suite(void)
{
	Suite *s = suite_create("serial");
	TCase *t = tcase_create("serial");

	tcase_add_checked_fixture(t, serial_setup, serial_teardown);
	tcase_add_test(t, defaults);
	tcase_add_test(t, registers_keep_their_bits);
	tcase_add_test(t, divisor);
	tcase_add_test(t, transmits_at_once);
	tcase_add_test(t, transmitter_interrupt);
	tcase_add_test(t, byte_leaves_before_its_interrupt);
	tcase_add_test(t, out2_gates_the_line);
	tcase_add_test(t, receives_without_fifos);
	tcase_add_test(t, receives_with_fifos);
	tcase_add_test(t, trigger_levels);
	tcase_add_test(t, timeout_comes_again_with_every_byte);
	tcase_add_test(t, fifo_control);
	tcase_add_test(t, wide_accesses);
	tcase_add_test(t, reset);
	tcase_add_test(t, creation_fails);
	suite_add_tcase(s, t);
	return s;
}
