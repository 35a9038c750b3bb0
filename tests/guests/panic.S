/* SPDX-License-Identifier: MIT */
/*
 * Writes what arrives on the serial port, less '0', to the pvpanic port, and counts for ever after:
 * "1" is a panic, "2" a crash kernel that takes over.
 */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.set PORT_PVPANIC, 0x505
	.globl _start
_start:
	real_entry
	print	"events "
	mov	$PORT_PVPANIC, %dx
	in	%dx, %al
	movzbl	%al, %eax
	call	putdec
	print	"\n"
2:	call	getc
	sub	$'0', %al
	mov	$PORT_PVPANIC, %dx
	out	%al, %dx
	print	"on\n"
	jmp	2b

	serial_routines
