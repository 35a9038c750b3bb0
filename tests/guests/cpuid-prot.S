/* SPDX-License-Identifier: MIT */
/* What a guest in protected mode, without paging, sees of the processor: see cpuid.inc. */
	.set BITS, 32
	.code32
	.include "guest.inc"
	.include "cpuid.inc"

	multiboot_header

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	serial_init
	print	"cpu 00000000\n"
	call	cpuid_report
	print	"end\n"
1:	hlt
	jmp	1b

	serial_routines
	cpuid_routines

	.bss
	.balign	16
	.skip	4096
stack_top:
