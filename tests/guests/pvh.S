/* SPDX-License-Identifier: MIT */
/* A kernel with a PVH entry: prints what the loader told it, and halts. */
	.set BITS, 32
	.code32
	.include "guest.inc"

	.set XEN_ELFNOTE_PHYS32_ENTRY, 18
	.set START_MAGIC, 0x336ec578
	/* Offsets in struct hvm_start_info. */
	.set START_VERSION, 4
	.set START_NR_MODULES, 12
	.set START_MODLIST, 16
	.set START_CMDLINE, 24
	.set START_MEMMAP, 40           /* from version 1 on */
	.set START_MEMMAP_ENTRIES, 48

	.section .note.Xen, "a", @note
	.balign	4
	.long	2f - 1f, 4f - 3f, XEN_ELFNOTE_PHYS32_ENTRY
1:	.asciz	"Xen"
2:	.balign	4
3:	.long	pvh_start
4:	.balign	4

	.text
	.code64
	.globl _start
_start:                                 /* the entry of the ELF header, which PVH is not to use */
	mov	$'!', %al
	mov	$PORT_SERIAL, %dx
	out	%al, %dx
	debug_exit 1

	.code32
pvh_start:
	mov	%cr0, %ebp
	cli
	cld
	mov	$stack_top, %esp
	serial_init
	print	"pvh\n"
	and	$0x80000001, %ebp       /* protection on, paging off */
	cmp	$1, %ebp
	mov	$bad_mode, %esi
	jne	fail
	cmpl	$START_MAGIC, (%ebx)
	mov	$bad_magic, %esi
	jne	fail
	print	"version "
	mov	START_VERSION(%ebx), %eax
	call	putdec
	print	"\n"
	mov	START_CMDLINE(%ebx), %eax
	test	%eax, %eax
	jz	1f
	print	"cmdline "
	mov	%eax, %esi
	call	puts
	print	"\n"
1:	mov	START_MODLIST(%ebx), %edi
	mov	START_NR_MODULES(%ebx), %ebp
module:	test	%ebp, %ebp
	jz	modules_done
	print	"module size "
	mov	8(%edi), %eax           /* each: address, size, command line, reserved */
	mov	%eax, %ecx
	call	putdec
	print	" sum "
	mov	(%edi), %esi
	xor	%edx, %edx
	xor	%eax, %eax
	test	%ecx, %ecx
	jz	2f
1:	lodsb
	add	%eax, %edx
	dec	%ecx
	jnz	1b
2:	mov	%edx, %eax
	call	putdec
	print	"\n"
	add	$32, %edi
	dec	%ebp
	jmp	module
modules_done:
	cmpl	$1, START_VERSION(%ebx)
	jb	mmap_done
	mov	START_MEMMAP(%ebx), %edi
	mov	START_MEMMAP_ENTRIES(%ebx), %ebp
mmap:	test	%ebp, %ebp
	jz	mmap_done
	print	"mmap "
	mov	4(%edi), %eax           /* each: address, size, type, reserved */
	call	puthex
	mov	(%edi), %eax
	call	puthex
	print	" "
	mov	12(%edi), %eax
	call	puthex
	mov	8(%edi), %eax
	call	puthex
	print	" "
	mov	16(%edi), %eax
	call	putdec
	print	"\n"
	add	$24, %edi
	dec	%ebp
	jmp	mmap
mmap_done:
	print	"done\n"
1:	hlt
	jmp	1b

fail:	call	puts
	debug_exit 1

	serial_routines

	.section .rodata
bad_magic:
	.asciz	"FAIL magic\n"
bad_mode:
	.asciz	"FAIL mode\n"

	.bss
	.balign	16
	.skip	4096
stack_top:
