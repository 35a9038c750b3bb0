/* SPDX-License-Identifier: MIT */
/*
 * A multiboot 1 kernel: prints what the loader told it, then counts timer interrupts.  An ELF32
 * image; with FLAT defined, its header has the addresses and it can be a flat one.
 */
	.set BITS, 32
	.code32
	.include "guest.inc"
	.include "prot.inc"

.ifdef FLAT
	.set MULTIBOOT_FLAGS, 0x10003   /* modules page-aligned, memory map wanted, addresses */
.else
	.set MULTIBOOT_FLAGS, 3
.endif
	.set MULTIBOOT_LOADED, 0x2badb002
	/* Offsets in the information structure, and bits of its first word. */
	.set INFO_FLAGS, 0
	.set INFO_MEM_LOWER, 4
	.set INFO_MEM_UPPER, 8
	.set INFO_CMDLINE, 16
	.set INFO_MODS_COUNT, 20
	.set INFO_MODS_ADDR, 24
	.set INFO_MMAP_LENGTH, 44
	.set INFO_MMAP_ADDR, 48
	.set INFO_HAS_MEM, 1 << 0
	.set INFO_HAS_CMDLINE, 1 << 2
	.set INFO_HAS_MODS, 1 << 3
	.set INFO_HAS_MMAP, 1 << 6

	multiboot_header MULTIBOOT_FLAGS
	.set header, . - 12
.ifdef FLAT
	.long	header, image_start, image_end, bss_end, _start
.endif

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	mov	%eax, %ebp
	mov	%cr0, %edi
	serial_init
	print	"prot\n"
	cmp	$MULTIBOOT_LOADED, %ebp
	mov	$bad_magic, %esi
	jne	fail
	and	$0x80000001, %edi       /* protection on, paging off */
	cmp	$1, %edi
	mov	$bad_mode, %esi
	jne	fail

	testl	$INFO_HAS_MEM, INFO_FLAGS(%ebx)
	jz	1f
	print	"memory lower "
	mov	INFO_MEM_LOWER(%ebx), %eax
	call	putdec
	print	" upper "
	mov	INFO_MEM_UPPER(%ebx), %eax
	call	putdec
	print	"\n"
1:	testl	$INFO_HAS_CMDLINE, INFO_FLAGS(%ebx)
	jz	1f
	print	"cmdline "
	mov	INFO_CMDLINE(%ebx), %esi
	call	puts
	print	"\n"
1:	testl	$INFO_HAS_MODS, INFO_FLAGS(%ebx)
	jz	modules_done
	mov	INFO_MODS_COUNT(%ebx), %ebp
	mov	INFO_MODS_ADDR(%ebx), %edi
module:	test	%ebp, %ebp
	jz	modules_done
	print	"module size "
	mov	4(%edi), %eax
	sub	(%edi), %eax
	mov	%eax, %ecx
	call	putdec
	print	" sum "
	mov	(%edi), %esi            /* of its bytes, so that a test can tell they all came */
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
	testl	$4095, (%edi)
	jz	1f
	print	" unaligned"
1:	print	" name "
	mov	8(%edi), %esi
	test	%esi, %esi
	jz	1f
	call	puts
1:	print	"\n"
	add	$16, %edi
	dec	%ebp
	jmp	module
modules_done:
	testl	$INFO_HAS_MMAP, INFO_FLAGS(%ebx)
	jz	mmap_done
	mov	INFO_MMAP_ADDR(%ebx), %edi
	mov	INFO_MMAP_LENGTH(%ebx), %ebp
	add	%edi, %ebp
1:	cmp	%ebp, %edi
	jae	mmap_done
	print	"mmap "
	mov	8(%edi), %eax           /* each entry: size of the rest, base, length, type */
	call	puthex
	mov	4(%edi), %eax
	call	puthex
	print	" "
	mov	16(%edi), %eax
	call	puthex
	mov	12(%edi), %eax
	call	puthex
	print	" "
	mov	20(%edi), %eax
	call	putdec
	print	"\n"
	add	(%edi), %edi
	add	$4, %edi
	jmp	1b
mmap_done:

	prot_load_tables VECTOR_TIMER, tick
	pic_and_pit_init
	print	"ready\n"

wait:	sti
	hlt
	cli
	/* On a busy host the next tick may come before this one is looked at. */
	mov	ticks, %eax
	sub	printed, %eax
	cmp	$16, %eax
	jb	wait
	addl	$16, printed
	print	"ticks "
	mov	printed, %eax
	call	putdec
	print	"\n"
	jmp	wait

fail:	call	puts
	debug_exit 1

/*
 * Returns without IRETD, which KVM's instruction emulator lacks in protected mode.  The interrupt
 * flag was set, or we would not be here; STI holds interrupts off until RET is done.
 */
tick:	push	%eax
	incl	ticks
	pic_eoi
	mov	12(%esp), %eax
	and	$~0x200, %eax
	push	%eax
	popf
	pop	%eax
	sti
	lret	$4

	serial_routines
	prot_tables

	.section .rodata
bad_magic:
	.asciz	"FAIL magic\n"
bad_mode:
	.asciz	"FAIL mode\n"

	.bss
	.balign	16
ticks:	.skip	4
printed:
	.skip	4
	.balign	16
	.skip	4096
stack_top:
