/* SPDX-License-Identifier: MIT */
/* A Xen guest of 16-bit code: the 32-bit blob, with stubs that are 16-bit code. */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.include "xen.inc"

	.set hypercall_page, 0xa000
	.set VECTOR_GP, 13

	.macro xen_more
	.endm

	.text
	.globl _start
_start:
	real_entry
	movw	$gp_handler, VECTOR_GP * 4
	movw	$0, VECTOR_GP * 4 + 2
	print	"real\n"
	jmp	xen_main

/* There is no error code in real mode. */
gp_handler:
	push	%bp
	mov	%sp, %bp
	incl	gp_seen
	addw	$2, 2(%bp)
	pop	%bp
	iret

	xen_routines
	serial_routines
