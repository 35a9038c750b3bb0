/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 256

static bool make_room(struct bytes_out *out, size_t len)
{
	size_t size = out->size ? out->size : SIZE_MIN;
	uint8_t *data;

	if (len <= out->size - out->len)
		return true;
	while (size - out->len < len) {
		if (size > SIZE_MAX / 2)
			return false;
		size *= 2;
	}
	data = realloc(out->data, size);
	if (!data)
		return false;
	out->data = data;
	out->size = size;
	return true;
}

void bytes_put(struct bytes_out *out, const void *data, size_t len)
{
	if (!len || out->failed)
		return;
	if (!make_room(out, len)) {
		out->failed = true;
		return;
	}
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put_le(struct bytes_out *out, uint64_t value, size_t len)
{
	uint8_t bytes[sizeof(value)];
	size_t i;

	for (i = 0; i < len; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	bytes_put(out, bytes, len);
}

void bytes_put_u8(struct bytes_out *out, uint8_t value)
{
	put_le(out, value, sizeof(value));
}

void bytes_put_u16(struct bytes_out *out, uint16_t value)
{
	put_le(out, value, sizeof(value));
}

void bytes_put_u32(struct bytes_out *out, uint32_t value)
{
	put_le(out, value, sizeof(value));
}

void bytes_put_u64(struct bytes_out *out, uint64_t value)
{
	put_le(out, value, sizeof(value));
}

void bytes_out_free(struct bytes_out *out)
{
	free(out->data);
	memset(out, 0, sizeof(*out));
}

const uint8_t *bytes_take(struct bytes_in *in, size_t len)
{
	static const uint8_t none;
	const uint8_t *data;

	if (!len)
		return &none;
	if (in->failed || len > bytes_left(in)) {
		in->failed = true;
		return NULL;
	}
	data = in->data + in->at;
	in->at += len;
	return data;
}

void bytes_get(struct bytes_in *in, void *data, size_t len)
{
	const uint8_t *from = bytes_take(in, len);

	if (from)
		memcpy(data, from, len);
	else
		memset(data, 0, len);
}

static uint64_t get_le(struct bytes_in *in, size_t len)
{
	const uint8_t *bytes = bytes_take(in, len);
	uint64_t value = 0;
	size_t i;

	for (i = 0; bytes && i < len; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

uint8_t bytes_get_u8(struct bytes_in *in)
{
	return (uint8_t)get_le(in, sizeof(uint8_t));
}

uint16_t bytes_get_u16(struct bytes_in *in)
{
	return (uint16_t)get_le(in, sizeof(uint16_t));
}

uint32_t bytes_get_u32(struct bytes_in *in)
{
	return (uint32_t)get_le(in, sizeof(uint32_t));
}

uint64_t bytes_get_u64(struct bytes_in *in)
{
	return get_le(in, sizeof(uint64_t));
}

int bytes_in_end(const struct bytes_in *in, const char *what, struct error *err)
{
	if (in->failed)
		return error_set(err, EINVAL, "%s: it ends too early, after %zu bytes", what,
				 in->len);
	if (bytes_left(in))
		return error_set(err, EINVAL, "%s: %zu bytes more than it should have", what,
				 bytes_left(in));
	return 0;
}
