/* SPDX-License-Identifier: MIT */
/*
 * Long mode, one or more vCPUs.  The boot processor works through a sequence that any host can
 * compute again and prints
 *
 *	step N CRC ticks T
 *
 * for every step, so that a step lost, repeated or gone wrong shows.  The CRC takes in registers,
 * memory, SSE and debug registers and MSRs: a vCPU that lost any of its state gets it wrong.  After
 * every fourth step "ap K COUNT" follows for one of the others in turn, which count as fast as they
 * can; with HALT defined they sleep between timer interrupts, and the boot processor does so
 * between steps.
 */
	.include "long.inc"

	.set MSR_LSTAR, 0xc0000082
	.set MSR_KERNEL_GS_BASE, 0xc0000102

	.text
main:	sequence_begin
	call	hide_state
	sti

step:	call	check_state
	sequence_step words
	call	hide_state

	print	"step "
	mov	%r15d, %eax
	call	putdec
	mov	$' ', %al
	call	putc
	mov	%r14, %rax
	call	puthex
	print	" ticks "
	mov	ticks, %rax
	call	putdec
	print	"\n"
	test	$3, %r15
	jnz	2f
	call	print_ap
2:
.ifdef HALT
	hlt
.endif
	cmpq	$0, failed_ap
	je	step
	print	"FAIL ap "
	mov	failed_ap, %rax
	call	putdec
	print	"\n"
	debug_exit 3

/* Puts numbers made of step and CRC where only a look at all of the vCPU's state would see them. */
hide_state:
	mov	%r14, hidden
	mov	%r13, hidden + 8
	movdqu	hidden, %xmm15
	mov	%r15, %rax
	mov	%rax, %dr0
	shl	$12, %rax
	mov	%rax, %cr2
	mov	%r14, %rdx
	shr	$32, %rdx
	and	$0x7fff, %edx           /* canonical addresses */
	mov	%r14d, %eax
	mov	$MSR_KERNEL_GS_BASE, %ecx
	wrmsr
	mov	%r15d, %eax
	xor	%edx, %edx
	mov	$MSR_LSTAR, %ecx
	wrmsr
	ret

/* And looks whether they are there still. */
check_state:
	movdqu	%xmm15, hidden
	cmp	%r14, hidden
	check	e, "xmm15"
	cmp	%r13, hidden + 8
	check	e, "xmm15"
	mov	%dr0, %rax
	cmp	%r15, %rax
	check	e, "dr0"
	mov	%cr2, %rax
	shr	$12, %rax
	cmp	%r15, %rax
	check	e, "cr2"
	mov	$MSR_KERNEL_GS_BASE, %ecx
	rdmsr
	cmp	%r14d, %eax
	check	e, "kernel_gs_base"
	mov	$MSR_LSTAR, %ecx
	rdmsr
	cmp	%r15d, %eax
	check	e, "lstar"
	ret

/* One of the others in turn.  Changes RAX, RDX, RBX. */
print_ap:
	mov	nr_aps, %ebx
	test	%ebx, %ebx
	jz	1f
	mov	%r15d, %eax
	shr	$2, %eax
	xor	%edx, %edx
	div	%ebx
	inc	%edx
	print	"ap "
	mov	%edx, %eax
	call	putdec
	mov	$' ', %al
	call	putc
	mov	counters(, %rdx, 8), %eax
	call	putdec
	print	"\n"
1:	ret

ap_main:
	xor	%ebp, %ebp
.ifdef HALT
	call	lapic_timer_start
.endif
1:	inc	%rbp
	incq	counters(, %rbx, 8)
	cmp	counters(, %rbx, 8), %rbp
	jne	2f
.ifdef HALT
	sti
	hlt
	cli
.endif
	jmp	1b
2:	mov	%rbx, failed_ap
	ret

	.section .rodata
banner:	.asciz	"long\n"

	.bss
	.balign	64
hidden:	.skip	16
words:	.skip	WORDS * 8
counters:
	.skip	(MAX_APS + 1) * 8
failed_ap:
	.skip	8
