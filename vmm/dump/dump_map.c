/* SPDX-License-Identifier: MIT */
#include "vmm/dump/dump_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int dump_map_blocks(struct dump_map *map, const struct memory *memory,
		    const struct dump_config *config, struct error *err)
{
	uint64_t begin = config->filter ? config->begin : 0;
	uint64_t last = config->filter ? begin + config->length - 1 : UINT64_MAX;

	map->nr_blocks = 0;
	if (last < begin)
		last = UINT64_MAX;
	for (unsigned int i = 0; i < memory->nr_parts; i++) {
		const struct memory_part *part = &memory->part[i];
		uint64_t from = part->gpa > begin ? part->gpa : begin;
		uint64_t to = part->gpa + part->size - 1 < last ? part->gpa + part->size - 1 : last;

		if (from <= to)
			map->block[map->nr_blocks++] = (struct dump_block) {
				.pa = from, .size = to - from + 1, .part = part,
			};
	}
	if (!map->nr_blocks)
		return error_set(err, ENXIO, "dump: no guest memory to dump");
	return 0;
}

uint64_t dump_map_total(const struct dump_map *map)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < map->nr_blocks; i++)
		total += map->block[i].size;
	return total;
}

void dump_map_free(struct dump_map *map)
{
	free(map->load);
	map->load = NULL;
	map->nr_loads = 0;
}

/* ---- loads ---- */

/* As many as all the tables that are walked can have entries; two sets of tables can describe more. */
#define STRETCHES_MAX   (PAGEWALK_MAX_TABLES * 512)

/* Pieces as they come out of the page tables, one behind the other. */
struct collector {
	struct dump_job *job;
	const struct page_space *space; /* of the vCPU whose pages come */
	unsigned int stretches;         /* of these pages */
	size_t room;
	struct error error;             /* set once it has failed */
};

static int append(struct collector *c, const struct dump_load *load)
{
	struct dump_map *map = &c->job->map;
	struct dump_load *grown;

	if (map->nr_loads == DUMP_LOADS_MAX)
		return error_set(&c->error, E2BIG, "dump: the guest's page tables map memory in more "
				 "than %u pieces; dump without paging", DUMP_LOADS_MAX);
	if (map->nr_loads == c->room) {
		c->room = c->room ? c->room * 2 : 64;
		grown = realloc(map->load, c->room * sizeof(*grown));
		if (!grown)
			return error_errno(&c->error, ENOMEM, "dump: the list of what is mapped");
		map->load = grown;
	}
	map->load[map->nr_loads++] = *load;
	return 0;
}

/* Whether `next` goes on where `last` ends, in both spaces. */
static bool continues(const struct dump_load *last, const struct dump_load *next)
{
	return last->block == next->block && last->va + last->size == next->va &&
	       last->pa + last->size == next->pa;
}

/* What of a stretch of physical memory lies in the file: it may reach over both parts of RAM. */
static bool add_stretch(struct collector *c, uint64_t va, uint64_t pa, uint64_t size)
{
	struct dump_map *map = &c->job->map;

	for (unsigned int i = 0; i < map->nr_blocks; i++) {
		const struct dump_block *block = &map->block[i];
		uint64_t from = pa > block->pa ? pa : block->pa;
		uint64_t end = pa + size < block->pa + block->size ? pa + size :
								     block->pa + block->size;
		struct dump_load load = {
			.va = va + (from - pa), .pa = from, .size = end - from, .block = i,
		};

		if (from >= end)
			continue;
		if (map->nr_loads && continues(&map->load[map->nr_loads - 1], &load))
			map->load[map->nr_loads - 1].size += load.size;
		else if (append(c, &load) < 0)
			return false;
	}
	return true;
}

/* A page of an inner guest may be many of the outer one's, and some of them not there. */
static bool add_page(void *opaque, const struct page_mapping *m)
{
	struct collector *c = opaque;
	uint64_t gpa, n;

	for (uint64_t done = 0; done < m->size; done += n) {
		if (snapshot_check_cancelled(&c->job->transfer, &c->error) == -1)
			return false;
		if (c->stretches++ == STRETCHES_MAX)
			return false;
		if (!page_space_place(c->space, m->pa + done, &gpa, &n)) {
			n = MEMORY_PAGE - ((m->pa + done) & (MEMORY_PAGE - 1));
			continue;
		}
		if (n > m->size - done)
			n = m->size - done;
		if (!add_stretch(c, m->va + done, gpa, n))
			return false;
	}
	return true;
}

/* Whether both have the same page tables. */
static bool same_tables(const struct page_space *left, const struct page_space *right)
{
	const struct kvm_sregs2 *a = left->sregs, *b = right->sregs;

	if (left->nested || right->nested)
		return false;
	return paging_mode(a) == paging_mode(b) && a->cr3 == b->cr3 && a->flags == b->flags &&
	       memcmp(a->pdptrs, b->pdptrs, sizeof(a->pdptrs)) == 0;
}

static bool seen_before(const struct dump_job *job, unsigned int cpu)
{
	for (unsigned int i = 0; i < cpu; i++)
		if (same_tables(&job->cpu[i].space, &job->cpu[cpu].space))
			return true;
	return false;
}

/* Pieces that may be parts of one come together: those as far away from physical memory. */
static int by_distance(const void *left, const void *right)
{
	const struct dump_load *a = left, *b = right;
	uint64_t distance_a = a->va - a->pa, distance_b = b->va - b->pa;

	if (distance_a != distance_b)
		return distance_a < distance_b ? -1 : 1;
	return a->va < b->va ? -1 : a->va > b->va;
}

static int by_address(const void *left, const void *right)
{
	const struct dump_load *a = left, *b = right;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	return a->pa < b->pa ? -1 : a->pa > b->pa;
}

/* What two vCPUs have in common, most of all the kernel's half, is there once. */
static void merge(struct dump_map *map)
{
	struct dump_load *last = NULL;

	qsort(map->load, map->nr_loads, sizeof(*map->load), by_distance);
	for (size_t i = 0; i < map->nr_loads; i++) {
		const struct dump_load *next = &map->load[i];

		if (last && last->block == next->block && last->va - last->pa == next->va - next->pa &&
		    next->va - last->va <= last->size) {
			if (next->va - last->va + next->size > last->size)
				last->size = next->va - last->va + next->size;
			continue;
		}
		last = last ? last + 1 : map->load;
		*last = *next;
	}
	map->nr_loads = last ? (size_t)(last - map->load) + 1 : 0;
	qsort(map->load, map->nr_loads, sizeof(*map->load), by_address);
}

static int add_virtual(struct collector *c, unsigned int cpu)
{
	struct dump_job *job = c->job;

	c->space = &job->cpu[cpu].space;
	c->stretches = 0;
	if (page_space_each(c->space, add_page, c))
		return 0;
	if (!c->error.code)
		error_set(&c->error, E2BIG, "dump: vCPU %u has more than %u page tables; dump without "
			  "paging", cpu, PAGEWALK_MAX_TABLES);
	return -1;
}

static int add_physical(struct collector *c)
{
	const struct dump_map *map = &c->job->map;

	for (unsigned int i = 0; i < map->nr_blocks; i++)
		if (append(c, &(struct dump_load) { .va = map->block[i].pa, .pa = map->block[i].pa,
						    .size = map->block[i].size, .block = i }) < 0)
			return -1;
	return 0;
}

int dump_map_loads(struct dump_job *job, struct error *err)
{
	struct collector c = { .job = job };
	bool paging = false;
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && job->config.paging && i < job->nr_cpus; i++) {
		if (paging_mode(&job->cpu[i].sregs) == PAGING_NONE)
			continue;
		paging = true;
		if (!seen_before(job, i))
			rc = add_virtual(&c, i);
	}
	if (rc == 0 && !paging)
		rc = add_physical(&c);
	if (rc < 0) {
		*err = c.error;
		return -1;
	}
	if (paging)
		merge(&job->map);
	return 0;
}
