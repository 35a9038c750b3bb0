/* SPDX-License-Identifier: MIT */
/* A Xen guest in long mode, where every vCPU has a hypercall page of its own. */
	.include "long.inc"
	.include "xen.inc"

	.set VECTOR_GP, 13

/* What the other vCPUs have found: the id in their leaf, and what their page has returned. */
	.macro xen_more
	mov	$1, %edi
7790:	cmp	nr_aps, %rdi
	ja	7791f
	print	"ap "
	mov	%edi, %eax
	call	putdec
	print	" "
	mov	ap_found(, %rdi, 8), %rax
	call	puthex
	print	"\n"
	inc	%edi
	jmp	7790b
7791:
	.endm

	.globl banner, main, ap_main
main:	mov	$idt + VECTOR_GP * 16, %edi
	mov	$gp_handler, %eax
	call	set_gate
	jmp	xen_main

ap_main:
	pause
	cmpl	$0, xen_base
	je	ap_main
	mov	%ebx, %r8d
	mov	xen_base, %eax
	add	$4, %eax
	cpuid
	mov	%rbx, %r9               /* the vCPU id */
	mov	%r8d, %eax
	shl	$12, %eax
	add	$ap_pages - 4096, %eax
	mov	%eax, %r10d
	mov	xen_msr, %ecx
	xor	%edx, %edx
	wrmsr
	lea	2 * STUB_SIZE(%r10), %rax
	call	*%rax
	shl	$32, %r9
	or	%r9, %rax
	mov	%rax, ap_found(, %r8, 8)
	ret

gp_handler:
	incl	gp_seen
	add	$8, %rsp                /* the error code */
	addq	$2, (%rsp)
	iretq

	xen_routines

	.section .rodata
banner:	.asciz	"long\n"

	.bss
	.balign	4096
hypercall_page:
	.skip	4096
ap_pages:
	.skip	MAX_APS * 4096
ap_found:
	.skip	(MAX_APS + 1) * 8
