/* SPDX-License-Identifier: MIT */
/*
 * PAE paging, whose PDPTRs are registers: MOV CR3 loads them from memory, and from then on memory
 * has no say (Intel SDM vol. 3A, 4.4.1).  Where a processor has them, that is: with nested paging
 * AMD's read memory whenever they need to (APM vol. 2, 15.25.10).  So the guest first finds out
 * and says
 *
 *	pdptrs kept		or	pdptrs in memory
 *
 * It swaps two entries of the table in memory behind each MOV CR3, so that the registers and memory
 * never agree, and works on with what must be there now:
 *
 *	step N SUM
 *
 * A multiboot kernel, as prot.S is.
 */
	.set BITS, 32
	.code32
	.include "guest.inc"

	.set CR0_PG, 1 << 31
	.set CR4_PAE, 1 << 5
	.set PDPTE_PRESENT, 1
	.set PTE_LARGE, 0x83

	/* Two windows of a page each, and what they may show. */
	.set WINDOW1, 0x40000000
	.set WINDOW2, 0x80000000
	.set PAGE1, 0x600000
	.set PAGE2, 0x800000
	.set ROUNDS, 4                  /* a MOV CR3 comes after so many steps */
	.set SPIN, 1 << 20

	multiboot_header

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	serial_init
	print	"pae\n"
	lgdt	gdtr
	ljmp	$8, $1f
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss

	mov	$directory0, %edi       /* the first GiB as it is */
	mov	$PTE_LARGE, %eax
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	cmp	$0x40000000 + PTE_LARGE, %eax
	jb	1b
	movl	$PAGE1 + PTE_LARGE, directory1
	movl	$PAGE2 + PTE_LARGE, directory2
	movl	$0x11111111, PAGE1
	movl	$0x22222222, PAGE2
	movl	$directory0 + PDPTE_PRESENT, pdpt
	mov	$directory1 + PDPTE_PRESENT, %ebx
	mov	$directory2 + PDPTE_PRESENT, %ecx
	mov	%ebx, pdpt + 8
	mov	%ecx, pdpt + 16
	mov	$pdpt, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	%cr0, %eax
	or	$CR0_PG, %eax
	mov	%eax, %cr0
	print	"paging\n"

	cmpl	$0x11111111, WINDOW1
	check	e, "window 1"
	cmpl	$0x22222222, WINDOW2
	check	e, "window 2"
	call	swap
	mov	WINDOW1, %eax
	cmp	$0x22222222, %eax
	je	1f
	cmp	$0x11111111, %eax
	check	e, "window"
	movl	$1, kept
	print	"pdptrs kept\n"
	jmp	2f
1:	print	"pdptrs in memory\n"
2:

	/* EBP: step; EDI: pseudo-random; what the windows show now is in page1 and page2. */
	xor	%ebp, %ebp
	mov	$0x9e3779b9, %edi
	mov	%ebp, PAGE1
	mov	%ebp, PAGE2
	call	expect

step:	inc	%ebp
	imul	$1664525, %edi, %edi
	add	$1013904223, %edi
	mov	$SPIN, %ecx
1:	invlpg	WINDOW1                 /* no look goes past what the processor has for PDPTRs */
	invlpg	WINDOW2
	mov	page1, %eax
	mov	(%eax), %edx
	cmp	%edx, WINDOW1
	check	e, "window 1 has moved"
	add	%edi, WINDOW1
	add	%edi, %edx
	cmp	%edx, (%eax)
	check	e, "window 1 has gone elsewhere"
	mov	page2, %eax
	mov	(%eax), %edx
	cmp	%edx, WINDOW2
	check	e, "window 2 has moved"
	xor	%ebp, WINDOW2
	xor	%ebp, %edx
	cmp	%edx, (%eax)
	check	e, "window 2 has gone elsewhere"
	sub	$SPIN / 64, %ecx
	jz	3f
	mov	$SPIN / 64, %edx        /* most of the time nothing but the code is looked up */
2:	dec	%edx
	jnz	2b
	jmp	1b

3:	print	"step "
	mov	%ebp, %eax
	call	putdec
	print	" "
	mov	PAGE1, %eax
	add	PAGE2, %eax
	call	puthex
	print	"\n"
	test	$ROUNDS - 1, %ebp
	jnz	step
	mov	$pdpt, %eax             /* what memory has becomes what the registers have ... */
	mov	%eax, %cr3
	call	swap                    /* ... and memory gets something else */
	call	expect
	jmp	step

/* The other order of the two entries, in memory.  Changes EAX, EDX. */
swap:	mov	pdpt + 8, %eax
	mov	pdpt + 16, %edx
	mov	%edx, pdpt + 8
	mov	%eax, pdpt + 16
	xorl	$1, swapped
	invlpg	WINDOW1
	invlpg	WINDOW2
	ret

/* After a swap: what the windows must show.  Changes EAX, ECX, EDX. */
expect:	mov	$PAGE1, %eax
	mov	$PAGE2, %edx
	mov	swapped, %ecx
	cmp	%ecx, kept              /* swapped, and memory does not count; or neither */
	je	1f
	xchg	%eax, %edx
1:	mov	%eax, page1
	mov	%edx, page2
	ret

	serial_routines

	.data
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt

	.bss
	.balign	4096
directory0:
	.skip	4096
directory1:
	.skip	4096
directory2:
	.skip	4096
pdpt:	.skip	32
kept:	.skip	4
swapped:
	.skip	4
page1:	.skip	4
page2:	.skip	4
	.balign	16
	.skip	1024
stack_top:
