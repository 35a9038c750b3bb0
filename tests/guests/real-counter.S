/* SPDX-License-Identifier: MIT */
/*
 * Counts in 16-bit mode.  The counter is the double word at 0x7c04; "count N" is printed now and
 * then.  As it stands the guest spins with interrupts off; with HALT defined it sleeps in HLT and
 * counts timer interrupts.  A vCPU that is sent to 0x7c08 prints "landed EAX" and counts on; it may
 * come from anywhere, so that the line it was printing ends there.
 */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.globl _start
_start:
	jmp	start
	.org	_start + 4
counter:
	.long	0
	.org	_start + 8
	jmp	landed

start:	real_entry
	print	"real-counter\n"
	xor	%ebp, %ebp              /* the counter a second time */
.ifdef HALT
	movw	$tick, (VECTOR_TIMER * 4)
	movw	$0, (VECTOR_TIMER * 4 + 2)
	pic_and_pit_init
count:	sti
	hlt
	cli
	.set PERIOD, 16
.else
count:	incl	counter
	inc	%ebp
	.set PERIOD, 1 << 18
.endif
	test	$(PERIOD - 1), %ebp
	jnz	count
	cmp	counter, %ebp
	jne	3f
	print	"count "
	mov	%ebp, %eax
	call	putdec
	print	"\n"
	jmp	count

3:	print	"FAIL counter\n"
	debug_exit 1

landed:	cli
	xor	%cx, %cx
	mov	%cx, %ss
	mov	$0x7c00, %sp
	mov	%eax, %ebx
.ifdef HALT
	pic_eoi                         /* it may come from the handler, where this was yet to be done */
.endif
	print	"landed "
	mov	%ebx, %eax
	call	puthex
	print	"\n"
	mov	counter, %ebp
	jmp	count

.ifdef HALT
tick:	push	%ax
	incl	counter
	inc	%ebp
	pic_eoi
	pop	%ax
	iret
.endif

	serial_routines
