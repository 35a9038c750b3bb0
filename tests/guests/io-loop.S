/* SPDX-License-Identifier: MIT */
/*
 * Port and memory-mapped I/O without end on every vCPU, each result compared with what it must be.
 * A read whose completion got lost or was done twice leaves a register or a buffer wrong: then
 * "FAIL ..." is printed and the machine ends with status 1.  The boot processor prints "io N CPUS"
 * every ROUNDS rounds, and "ap K COUNT" for one of the others in turn.
 */
	.include "long.inc"

	.set POISON, 0x5a5aa5a5
	.set UNCLAIMED_PORT, 0x2fa0
	.set NR_BYTES, 7
	.set ROUNDS, 16

/* What was read is in RAX and must be `value`, a sign-extended 32 bit number. */
	.macro expect value, text
	cmp	$\value, %rax
	je	7773f
	mov	$\text, %esi
	jmp	wrong
7773:
	.endm

	.text
main:	sti
	xor	%ebx, %ebx
	xor	%r15d, %r15d
1:	call	round
	mov	%r15b, %al              /* the scratch register is the boot processor's alone */
	mov	$PORT_SERIAL_SCRATCH, %dx
	out	%al, %dx
	mov	$POISON, %eax
	in	%dx, %al
	cmp	%r15b, %al
	mov	$text_scratch, %esi
	jne	wrong
	inc	%r15
	test	$(ROUNDS - 1), %r15
	jnz	1b
	cmpq	$0, failed_ap
	jne	3f
	print	"io "
	mov	%r15d, %eax
	call	putdec
	print	" "
	mov	nr_aps, %ecx
	lea	1(%rcx), %eax
	call	putdec
	print	"\n"
	jrcxz	1b
	mov	%r15d, %eax
	mov	$ROUNDS, %esi
	xor	%edx, %edx
	div	%esi
	xor	%edx, %edx
	div	%ecx
	inc	%edx
	print	"ap "
	mov	%edx, %eax
	call	putdec
	print	" "
	mov	counters(, %rdx, 8), %eax
	call	putdec
	print	"\n"
	jmp	1b

3:	mov	failed_text, %rsi
	mov	failed_ap, %rbx
	mov	failed_value, %rax
	jmp	report

ap_main:
1:	call	round
	incq	counters(, %rbx, 8)
	jmp	1b

/* One round of reads.  RBX has the vCPU's number, 0 for the boot processor. */
round:	mov	$POISON, %eax
	in	$PORT_DEBUGCON, %al
	expect	(POISON & ~0xff | 0xe9), text_byte
	mov	$POISON, %eax
	mov	$UNCLAIMED_PORT, %dx
	in	%dx, %ax
	expect	(POISON | 0xffff), text_word
	mov	$POISON, %eax
	in	%dx, %eax
	mov	%eax, %eax
	inc	%eax
	expect	0, text_long

	mov	$UNCLAIMED_MMIO, %edi
	mov	$POISON, %eax
	mov	(%rdi), %al
	expect	(POISON | 0xff), text_mmio_byte
	mov	$POISON, %eax
	mov	2(%rdi), %ax
	expect	(POISON | 0xffff), text_mmio_word
	mov	$POISON, %eax
	mov	4(%rdi), %eax
	inc	%eax
	expect	0, text_mmio_long
	mov	$POISON, %eax
	mov	8(%rdi), %rax
	expect	-1, text_mmio_quad
	movzbl	16(%rdi), %eax
	expect	0xff, text_mmio_extended
	mov	$2, %eax
	add	24(%rdi), %rax          /* the operand of something else */
	expect	1, text_mmio_add
	movl	$POISON, 32(%rdi)
	mov	32(%rdi), %eax
	inc	%eax
	expect	0, text_mmio_write

	imul	$16, %rbx, %rdi         /* string input, to a buffer of this vCPU's own */
	add	$buffers, %rdi
	mov	%rdi, %rsi
	movq	$0, (%rdi)
	mov	$PORT_DEBUGCON, %dx
	mov	$NR_BYTES, %ecx
	rep insb
	mov	%rdi, %rax
	sub	%rsi, %rax
	expect	NR_BYTES, text_string_count
	mov	%rcx, %rax
	expect	0, text_string_count
	mov	(%rsi), %rax
	shl	$8, %rax                /* the seven bytes that came, on top */
	mov	$0xe9e9e9e9e9e9e900, %rsi
	sub	%rsi, %rax
	expect	0, text_string
	ret

/* RAX was not what RSI says.  The boot processor says so; the others leave that to it. */
wrong:	test	%ebx, %ebx
	jz	report
	mov	%rsi, failed_text
	mov	%rax, failed_value
	mov	%rbx, failed_ap
1:	cli
	hlt
	jmp	1b
report:	cli
	mov	%rsi, %rdi
	print	"FAIL "
	mov	%rdi, %rsi
	call	puts
	print	" value "
	call	puthex
	print	" vcpu "
	mov	%ebx, %eax
	call	putdec
	print	"\n"
	debug_exit 1

	.section .rodata
banner:	.asciz	"io-loop\n"
text_scratch:
	.asciz	"scratch register"
text_byte:
	.asciz	"inb"
text_word:
	.asciz	"inw"
text_long:
	.asciz	"inl"
text_mmio_byte:
	.asciz	"8 bit read"
text_mmio_word:
	.asciz	"16 bit read"
text_mmio_long:
	.asciz	"32 bit read"
text_mmio_quad:
	.asciz	"64 bit read"
text_mmio_extended:
	.asciz	"extended read"
text_mmio_add:
	.asciz	"read operand"
text_mmio_write:
	.asciz	"read after write"
text_string_count:
	.asciz	"count of insb"
text_string:
	.asciz	"bytes of insb"

	.bss
	.balign	64
buffers:
	.skip	(MAX_APS + 1) * 16
counters:
	.skip	(MAX_APS + 1) * 8
failed_ap:
	.skip	8
failed_text:
	.skip	8
failed_value:
	.skip	8
