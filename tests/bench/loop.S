/* SPDX-License-Identifier: MIT */
/*
 * What the processors of a measured machine do: a flat 16-bit image, which may start anywhere and
 * goes to 0x7c00.  The boot processor says 'A' on the serial port, wakes the others, and each of
 * these says 'a'.  Then all spin with SPIN defined, and sleep in HLT without.
 */
	.set PORT_SERIAL, 0x3f8
	.set LAPIC_ICR, 0xfee00300
	.set ICR_INIT_OTHERS, 0x000c4500
	.set ICR_SIPI_OTHERS, 0x000c4600 /* and the page that they start at */
	.set START, 0x7c00
	.set AP_START, 0x8000

	.macro say letter
	mov	$PORT_SERIAL, %dx
	mov	$\letter, %al
	out	%al, %dx
	.endm

	.macro rest
	cli
#ifdef SPIN
7770:	jmp	7770b
#else
7770:	hlt
	jmp	7770b
#endif
	.endm

#include "start.inc"
	say	'A'
	/* DS reaches all of memory once it was loaded in protected mode, until it is loaded again. */
	lgdtl	gdt_pointer - _start + START
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	mov	$8, %bx
	mov	%bx, %ds
	and	$~1, %al
	mov	%eax, %cr0

	mov	$LAPIC_ICR, %ebx
	movl	$ICR_INIT_OTHERS, (%ebx)
	mov	$1000, %cx
1:	loop	1b
	movl	$(ICR_SIPI_OTHERS + (AP_START >> 12)), (%ebx)
	rest

	.balign	8
gdt:	.quad	0
	.quad	0x00cf93000000ffff      /* data, 4 GiB */
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt - _start + START

	.org	_start + AP_START - START
	say	'a'
	rest
end:
