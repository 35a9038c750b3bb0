/* SPDX-License-Identifier: MIT */
/* Start-up timing: a byte as early as a guest can send one, then nothing ever again. */
	.code16
	.globl _start
_start:
	mov	$0x3f8, %dx
	mov	$'A', %al
	out	%al, %dx
	cli
1:	hlt
	jmp	1b
