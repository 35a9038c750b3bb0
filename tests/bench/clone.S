/* SPDX-License-Identifier: MIT */
/*
 * A machine to be saved and cloned: a flat 16-bit image, which may start anywhere and goes to
 * 0x7c00.  Says 'A' on the serial port, and spins until somebody, from outside, sets the byte at
 * GO; then it sends the mark and sleeps.  Who sets the byte while the machine is paused has a
 * snapshot whose third instruction sends the mark.
 */
	.set PORT_SERIAL, 0x3f8
	.set MARK, 2                    /* as in launch.c */
	.set START, 0x7c00
	.set GO, 0x7000                 /* as in clone.py */

#include "start.inc"
	movb	$0, GO
	mov	$PORT_SERIAL, %dx
	mov	$'A', %al
	out	%al, %dx
	mov	$MARK, %al
2:	cmpb	$0, GO
	je	2b
	out	%al, %dx
	cli
3:	hlt
	jmp	3b
end:
