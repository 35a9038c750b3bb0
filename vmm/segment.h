/* SPDX-License-Identifier: MIT */
#ifndef VMM_SEGMENT_H
#define VMM_SEGMENT_H

#include <linux/kvm.h>
#include <stdint.h>

/* A descriptor's second word: Intel SDM vol. 3A, figure 3-8. */
#define SEGMENT_G       (1u << 23)
#define SEGMENT_DB      (1u << 22)
#define SEGMENT_L       (1u << 21)
#define SEGMENT_AVL     (1u << 20)
#define SEGMENT_P       (1u << 15)
#define SEGMENT_S       (1u << 12)

/* The attributes of a segment as they stand in a descriptor's second word. */
static inline uint32_t segment_attributes(const struct kvm_segment *s)
{
	return (s->type & 0xfu) << 8 | (s->s ? SEGMENT_S : 0) | (s->dpl & 3u) << 13 |
	       (s->present && !s->unusable ? SEGMENT_P : 0) | (s->avl ? SEGMENT_AVL : 0) |
	       (s->l ? SEGMENT_L : 0) | (s->db ? SEGMENT_DB : 0) | (s->g ? SEGMENT_G : 0);
}

#endif
