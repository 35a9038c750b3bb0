/* SPDX-License-Identifier: MIT */
#include "monitor/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *bytes, size_t len, char *text)
{
	for (; len > 0; text += 4) {
		size_t n = len < 3 ? len : 3;
		uint32_t bits = (uint32_t)bytes[0] << 16;

		if (n > 1)
			bits |= (uint32_t)bytes[1] << 8;
		if (n > 2)
			bits |= bytes[2];
		text[0] = alphabet[bits >> 18];
		text[1] = alphabet[bits >> 12 & 63];
		text[2] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
		text[3] = n > 2 ? alphabet[bits & 63] : '=';
		bytes += n;
		len -= n;
	}
}

/* What a character stands for, -1 when it stands for nothing. */
static int value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t len, uint8_t *bytes, size_t *size)
{
	size_t pad = 0;

	*size = 0;
	if (len % 4)
		return false;
	while (pad < 2 && len > pad && text[len - 1 - pad] == '=')
		pad++;
	for (size_t at = 0; at < len; at += 4) {
		size_t digits = at + 4 == len ? 4 - pad : 4;
		uint32_t bits = 0;

		for (size_t i = 0; i < 4; i++) {
			int v = i < digits ? value(text[at + i]) : 0;

			if (v < 0)
				return false;
			bits = bits << 6 | (uint32_t)v;
		}
		/* Bits that are in no byte are 0. */
		if (bits & ((1u << (4 - digits) * 8) - 1))
			return false;
		for (size_t i = 0; i + 1 < digits; i++)
			bytes[(*size)++] = (uint8_t)(bits >> (16 - 8 * i));
	}
	return true;
}
