/* SPDX-License-Identifier: MIT */
/*
 * Goes to ACPI sleep state S5 when the power button is pressed, or when a byte arrives on the
 * serial port.
 */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.globl _start
_start:
	real_entry
	print	"powerdown\n"
2:	mov	$PORT_PM1_STATUS, %dx
	in	%dx, %ax
	test	$0x100, %ax             /* PWRBTN_STS */
	jnz	3f
	mov	$PORT_SERIAL_LSR, %dx
	in	%dx, %al
	test	$1, %al
	jz	2b
	print	"byte\n"
	jmp	4f
3:	print	"button\n"
4:	mov	$PORT_PM1_CONTROL, %dx
	mov	$0x2000, %ax            /* SLP_EN */
	out	%ax, %dx
5:	hlt
	jmp	5b

	serial_routines
