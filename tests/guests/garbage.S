/* SPDX-License-Identifier: MIT */
/*
 * Pseudo-random writes, and reads, in all sizes: every port but those that may end or reset the
 * machine, then addresses all over the hole below 4 GiB but for the interrupt controllers' pages.
 * "done" follows on the serial port, which has been set up again.  Then a byte from there sends
 * garbage to the ports left out as well, over and over.
 */
	.include "long.inc"

	.set NR_MMIO, 5000
	.set MMIO_START, 0xc0000000
	.set MMIO_END, 0xfec00000

	.text
main:	mov	$0x9e3779b97f4a7c15, %rbx
	xor	%ebp, %ebp              /* the port */
1:	call	is_spared
	je	2f
	call	port
2:	inc	%ebp
	cmp	$0x10000, %ebp
	jb	1b

	mov	$NR_MMIO, %ebp
3:	call	random
	mov	%eax, %edi
	and	$0x3fffffff, %edi
	mov	$MMIO_START, %ecx
	add	%rcx, %rdi
	mov	$MMIO_END - 8, %ecx
	cmp	%rcx, %rdi
	ja	3b
	mov	%bl, (%rdi)
	mov	%bx, (%rdi)
	mov	%ebx, (%rdi)
	mov	%rbx, (%rdi)
	mov	(%rdi), %al
	mov	(%rdi), %ax
	mov	(%rdi), %eax
	mov	(%rdi), %rax
	dec	%ebp
	jnz	3b

	mov	$PORT_SERIAL_MCR, %dx   /* loopback may be on: what was written is read again */
	mov	$3, %al
	out	%al, %dx
	serial_init
	print	"\ndone\n"
	call	getc
	print	"byte\n"
4:	mov	$spared, %r15d
5:	movzwl	(%r15), %ebp
	call	port
	add	$2, %r15
	cmp	$spared_end, %r15
	jb	5b
	jmp	4b

/* Writes to port EBP in all sizes, and reads from it. */
port:	call	random
	mov	%ebp, %edx
	out	%al, %dx
	out	%ax, %dx
	out	%eax, %dx
	in	%dx, %al
	in	%dx, %ax
	in	%dx, %eax
	ret

/* A pseudo-random number in RAX; RBX is the generator's state. */
random:	mov	$6364136223846793005, %rax
	imul	%rax, %rbx
	mov	$1442695040888963407, %rax
	add	%rax, %rbx
	mov	%rbx, %rax
	shr	$29, %rax
	ret

/* Whether an access of up to four bytes at port EBP would reach a port of the list. */
is_spared:
	cmp	$0x1000, %ebp           /* all of them are below; returns not equal */
	ja	3f
	mov	$spared, %esi
1:	movzwl	(%rsi), %eax
	sub	%ebp, %eax
	cmp	$4, %eax
	jb	2f
	add	$2, %rsi
	cmp	$spared_end, %rsi
	jb	1b
	test	%rsi, %rsi              /* not equal */
	ret
2:	cmp	%eax, %eax
3:	ret

ap_main:
	ret

	.section .rodata
banner:	.asciz	"garbage\n"
	.balign	2
spared:	.word	0x64, 0x92              /* reset */
	.word	0xf4, 0xf5, 0xf6, 0xf7  /* debug exit */
	.word	0x604, 0x605            /* power */
	.word	0x505                   /* panic */
	.word	0xcf9                   /* reset, on a PC */
spared_end:
