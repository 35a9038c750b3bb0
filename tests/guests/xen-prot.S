/* SPDX-License-Identifier: MIT */
/* A Xen guest of 32-bit code without paging, loaded by multiboot. */
	.set BITS, 32
	.code32
	.include "guest.inc"
	.include "xen.inc"

	.set VECTOR_GP, 13

	.macro xen_more
	.endm

	.section .multiboot, "a"
	.balign	4
	.long	0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	lgdt	gdtr
	ljmp	$8, $1f
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$gp_handler, %eax       /* a 32-bit interrupt gate */
	mov	%ax, idt + VECTOR_GP * 8
	shr	$16, %eax
	mov	%ax, idt + VECTOR_GP * 8 + 6
	movw	$8, idt + VECTOR_GP * 8 + 2
	movw	$0x8e00, idt + VECTOR_GP * 8 + 4
	lidt	idtr
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

	.data
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff      /* 8: flat 32-bit code */
	.quad	0x00cf93000000ffff      /* 16: flat data */
gdt_end:
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
idtr:	.word	32 * 8 - 1
	.long	idt

	.bss
	.balign	4096
hypercall_page:
	.skip	4096
idt:	.skip	32 * 8
	.skip	4096
stack_top:
