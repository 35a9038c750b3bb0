/* SPDX-License-Identifier: MIT */
/* A Xen guest of 32-bit code without paging, loaded by multiboot. */
	.set BITS, 32
	.code32
	.include "guest.inc"
	.include "prot.inc"
	.include "xen.inc"

	.set VECTOR_GP, 13

	.macro xen_more
	.endm

	multiboot_header

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	prot_load_tables VECTOR_GP, gp_handler
	serial_init
	print	"prot\n"
	jmp	xen_main

/* Returns without IRETD, which KVM's instruction emulator lacks in protected mode. */
gp_handler:
	incl	gp_seen
	add	$4, %esp                /* the error code */
	addl	$2, (%esp)
	pushl	8(%esp)
	popf
	lret	$4

	xen_routines
	serial_routines
	prot_tables

	.bss
	.balign	4096
hypercall_page:
	.skip	4096
	.skip	4096
stack_top:
