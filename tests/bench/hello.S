/* SPDX-License-Identifier: MIT */
/*
 * A byte as early as a guest can send one: a flat 16-bit image that runs wherever it is put.  The
 * byte is one that no program prints by itself.  With LOOPS defined the image ends only after so
 * many more instructions.
 */
	.set MARK, 2                    /* as in launch.c */
	.set PORT_SERIAL, 0x3f8
	.set PORT_DEBUG_EXIT, 0xf4

	.code16
	.globl _start
_start:
	mov	$PORT_SERIAL, %dx
	mov	$MARK, %al
	out	%al, %dx
#ifdef LOOPS
	mov	$LOOPS, %ecx
1:	addr32 loop 1b
#endif
	xor	%al, %al
	out	%al, $PORT_DEBUG_EXIT
	cli
2:	hlt
	jmp	2b
