/* SPDX-License-Identifier: MIT */
/* What a guest in real mode sees of the processor: see cpuid.inc. */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.include "cpuid.inc"

	.globl _start
_start:
	real_entry
	print	"cpu 00000000\n"
	call	cpuid_report
	print	"end\n"
1:	cli
	hlt
	jmp	1b

	serial_routines
	cpuid_routines
