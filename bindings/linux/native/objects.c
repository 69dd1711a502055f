/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Compiled programs into the kernel. libbpf is opened with dlopen, so that neither building nor serving needs it. The
 * functions used here are the same in every libbpf 1.x.
 */
#define _GNU_SOURCE
#include "native.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBBPF "libbpf.so.1"
#define LIBBPF_DEBUG 2			/* enum libbpf_print_level */

struct bpf_object;
struct bpf_map;
struct bpf_link;

struct libbpf {
	struct bpf_object *(*object_open)(const char *path, const void *options);
	int (*object_load)(struct bpf_object *object);
	void (*object_close)(struct bpf_object *object);
	struct bpf_map *(*next_map)(const struct bpf_object *object, const struct bpf_map *map);
	const char *(*map_name)(const struct bpf_map *map);
	int (*map_fd)(const struct bpf_map *map);
	int (*map_type)(const struct bpf_map *map);
	int (*set_max_entries)(struct bpf_map *map, uint32_t entries);
	struct bpf_link *(*attach_struct_ops)(const struct bpf_map *map);
	void (*link_disconnect)(struct bpf_link *link);
	int (*link_destroy)(struct bpf_link *link);
	int (*(*set_print)(int (*print)(int level, const char *format, va_list arguments)))(int, const char *, va_list);
};

struct ccdrl_object {
	void *library;
	struct libbpf bpf;
	struct bpf_object *object;
};

/* libbpf's printer has no argument of its own: the log is the calling thread's, for the time of a call. */
static _Thread_local char *log_at;
static _Thread_local size_t log_room;

static int log_print(int level, const char *format, va_list arguments)
{
	int length;

	if (level == LIBBPF_DEBUG || log_room < 2)
		return 0;
	length = vsnprintf(log_at, log_room, format, arguments);
	if (length > 0) {
		size_t used = (size_t)length < log_room ? (size_t)length : log_room - 1;

		log_at += used;
		log_room -= used;
	}
	return 0;
}

static void log_begin(const struct ccdrl_object *object, char *log, size_t size)
{
	log_at = log;
	log_room = size;
	if (size > 0)
		*log = '\0';
	object->bpf.set_print(log_print);
}

static int library_open(struct ccdrl_object *object)
{
	struct libbpf *bpf = &object->bpf;
	const struct {
		void *function;
		const char *name;
	} symbols[] = {
		{ &bpf->object_open, "bpf_object__open_file" },
		{ &bpf->object_load, "bpf_object__load" },
		{ &bpf->object_close, "bpf_object__close" },
		{ &bpf->next_map, "bpf_object__next_map" },
		{ &bpf->map_name, "bpf_map__name" },
		{ &bpf->map_fd, "bpf_map__fd" },
		{ &bpf->map_type, "bpf_map__type" },
		{ &bpf->set_max_entries, "bpf_map__set_max_entries" },
		{ &bpf->attach_struct_ops, "bpf_map__attach_struct_ops" },
		{ &bpf->link_disconnect, "bpf_link__disconnect" },
		{ &bpf->link_destroy, "bpf_link__destroy" },
		{ &bpf->set_print, "libbpf_set_print" },
	};

	object->library = dlopen(LIBBPF, RTLD_NOW | RTLD_LOCAL);
	if (object->library == NULL)
		return -ELIBACC;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(object->library, symbols[i].name);

		if (symbol == NULL)
			return -ELIBBAD;
		memcpy(symbols[i].function, &symbol, sizeof(symbol));
	}
	return 0;
}

/* Maps of ours that have one entry for each slot. */
static int is_per_slot(const char *name)
{
	static const char *const names[] = { "ccdrl_states", "ccdrl_changes", "ccdrl_controls", "ccdrl_slots",
		"ccdrl_owners" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return 1;
	}
	return 0;
}

static int object_load(struct ccdrl_object *object, const char *path, uint32_t slots)
{
	const struct libbpf *bpf = &object->bpf;
	struct bpf_map *map = NULL;

	errno = 0;
	object->object = bpf->object_open(path, NULL);
	if (object->object == NULL)
		return errno > 0 ? -errno : -EINVAL;
	while ((map = bpf->next_map(object->object, map)) != NULL) {
		int error = is_per_slot(bpf->map_name(map)) ? bpf->set_max_entries(map, slots) : 0;

		if (error < 0)
			return error;
	}
	return bpf->object_load(object->object);
}

struct ccdrl_object *ccdrl_object_load(const char *path, uint32_t slots, char *log, size_t log_size, int *error)
{
	struct ccdrl_object *object = calloc(1, sizeof(*object));

	if (object == NULL) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = library_open(object);
	if (*error == 0) {
		log_begin(object, log, log_size);
		*error = object_load(object, path, slots);
	}
	if (*error < 0) {
		ccdrl_object_close(object);
		return NULL;
	}
	return object;
}

int ccdrl_object_maps(const struct ccdrl_object *object, struct ccdrl_object_map *out, uint32_t capacity)
{
	struct bpf_map *map = NULL;
	uint32_t n = 0;

	while (n < capacity && (map = object->bpf.next_map(object->object, map)) != NULL) {
		snprintf(out[n].name, sizeof(out[n].name), "%s", object->bpf.map_name(map));
		out[n].fd = object->bpf.map_fd(map);
		out[n++].type = (uint32_t)object->bpf.map_type(map);
	}
	return (int)n;
}

int ccdrl_object_register(struct ccdrl_object *object, const char *name, char *log, size_t log_size)
{
	struct bpf_map *map = NULL;
	struct bpf_link *link;

	log_begin(object, log, log_size);
	while ((map = object->bpf.next_map(object->object, map)) != NULL) {
		if (strcmp(object->bpf.map_name(map), name) != 0)
			continue;
		errno = 0;
		link = object->bpf.attach_struct_ops(map);
		if (link == NULL)
			return errno > 0 ? -errno : -EINVAL;
		object->bpf.link_disconnect(link);	/* the registration outlives this process */
		object->bpf.link_destroy(link);
		return 0;
	}
	return -ENOENT;
}

void ccdrl_object_close(struct ccdrl_object *object)
{
	if (object == NULL)
		return;
	if (object->object != NULL)
		object->bpf.object_close(object->object);
	if (object->library != NULL)
		dlclose(object->library);
	free(object);
}
