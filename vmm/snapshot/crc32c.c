/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/crc32c.h"

#include <cpuid.h>
#include <nmmintrin.h>
#include <stdatomic.h>
#include <string.h>

/*
 * Asked once, and of CPUID itself: in a virtual machine each CPUID takes several microseconds, and
 * the compiler's own __builtin_cpu_supports() asks a dozen times at the start of every process.
 */
bool crc32c_have_instruction(void)
{
	enum { UNKNOWN, NO, YES };
	static atomic_int known;
	int have = atomic_load_explicit(&known, memory_order_relaxed);
	unsigned int eax, ebx, ecx, edx;

	if (have == UNKNOWN) {
		__cpuid(1, eax, ebx, ecx, edx);
		have = ecx & bit_SSE4_2 ? YES : NO;
		atomic_store_explicit(&known, have, memory_order_relaxed);
	}
	return have == YES;
}

__attribute__((target("sse4.2")))
uint32_t crc32c_instruction(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint64_t value = (uint32_t)~crc, word;

	for (; len >= sizeof(word); byte += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, byte, sizeof(word));
		value = _mm_crc32_u64(value, word);
	}
	for (; len; byte++, len--)
		value = _mm_crc32_u8((uint32_t)value, *byte);
	return ~(uint32_t)value;
}

/*
 * Four bits at a time.  Processors that need this and can run KVM guests ended with 2011, so it is
 * short instead of fast.
 */
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t len)
{
	static const uint32_t step[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *byte = data;

	for (crc = ~crc; len; byte++, len--) {
		crc ^= *byte;
		crc = crc >> 4 ^ step[crc & 0xf];
		crc = crc >> 4 ^ step[crc & 0xf];
	}
	return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return crc32c_have_instruction() ? crc32c_instruction(crc, data, len) :
					   crc32c_plain(crc, data, len);
}
