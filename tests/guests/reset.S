/* SPDX-License-Identifier: MIT */
/* Resets the machine through the keyboard controller whenever a byte arrives on the serial port. */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.globl _start
_start:
	real_entry
	print	"reset\n"
	call	getc
	print	"byte\n"
	mov	$0xfe, %al
	out	%al, $PORT_I8042
2:	hlt
	jmp	2b

	serial_routines
