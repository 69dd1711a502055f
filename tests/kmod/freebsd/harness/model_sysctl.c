/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * sysctl(8): the module's static OIDs, found by name below net.inet.tcp.cc, read and written through their own
 * handlers.
 */
#include "model.h"

#include <sys/counter.h>

enum { OIDS_MAX = 128, VALUE_BYTES_MAX = 1024 };

static struct sysctl_oid *oids[OIDS_MAX];
static int oids_count;

struct sysctl_oid sysctl___net_inet_tcp_cc = { .oid_name = "cc", .oid_kind = CTLTYPE_NODE };

void model_sysctl_register(struct host_file *file)
{
	void **begin, **end;

	host_file_set(file, "set_sysctl_set", &begin, &end);
	for (; begin < end; begin++) {
		if (oids_count == OIDS_MAX)
			host_die("fault: more OIDs than the model counts");
		oids[oids_count++] = *begin;
	}
}

void model_sysctl_unregister(void)
{
	oids_count = 0;
}

/* The list of children is a parent's first member. */
static void oid_name(const struct sysctl_oid *oid, char *name, size_t size)
{
	const struct sysctl_oid *parent = __containerof(oid->oid_parent, struct sysctl_oid, oid_children);

	if (parent == &sysctl___net_inet_tcp_cc)
		strlcpy(name, "net.inet.tcp.cc", size);
	else
		oid_name(parent, name, size);
	strlcat(name, ".", size);
	strlcat(name, oid->oid_name, size);
}

static int request_old(struct sysctl_req *request, const void *from, size_t size)
{
	if (request->oldptr != NULL) {
		if (request->oldidx + size > request->oldlen)
			return ENOMEM;
		memcpy((char *)request->oldptr + request->oldidx, from, size);
	}
	request->oldidx += size;
	return 0;
}

static int request_new(struct sysctl_req *request, void *to, size_t size)
{
	if (request->newptr == NULL)
		return 0;
	if (request->newlen - request->newidx < size)
		return EINVAL;
	memcpy(to, (const char *)request->newptr + request->newidx, size);
	request->newidx += size;
	return 0;
}

/* Kernel variables: what a handler of the kernel's own does. */
static int handle_plain(void *variable, intmax_t constant, struct sysctl_req *request, size_t size)
{
	uint64_t value = (uint64_t)constant;
	int error;

	if (variable != NULL)
		memcpy(&value, variable, size);
	error = SYSCTL_OUT(request, &value, size);
	if (error != 0 || request->newptr == NULL)
		return error;
	if (variable == NULL)
		return EPERM;
	return SYSCTL_IN(request, variable, size);
}

int sysctl_handle_int(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, sizeof(int));
}

int sysctl_handle_32(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, 4);
}

int sysctl_handle_long(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, sizeof(long));
}

int sysctl_handle_64(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, 8);
}

int sysctl_handle_16(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, 2);
}

int sysctl_handle_8(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, 1);
}

int sysctl_handle_bool(SYSCTL_HANDLER_ARGS)
{
	return handle_plain(arg1, arg2, req, 1);
}

int sysctl_handle_string(SYSCTL_HANDLER_ARGS)
{
	return req->newptr != NULL ? EPERM : SYSCTL_OUT_STR(req, (char *)arg1);
}

int sysctl_handle_opaque(SYSCTL_HANDLER_ARGS)
{
	int error = SYSCTL_OUT(req, arg1, arg2);

	return error ? error : SYSCTL_IN(req, arg1, arg2);
}

int sysctl_handle_counter_u64(SYSCTL_HANDLER_ARGS)
{
	uint64_t value = counter_u64_fetch(*(counter_u64_t *)arg1);
	int error = SYSCTL_OUT(req, &value, sizeof(value));

	if (error == 0 && req->newptr != NULL)
		counter_u64_zero(*(counter_u64_t *)arg1);
	return error;
}

static size_t type_size(u_int kind)
{
	switch (kind & CTLTYPE) {
	case CTLTYPE_S64: case CTLTYPE_U64: case CTLTYPE_LONG: case CTLTYPE_ULONG:
		return 8;
	case CTLTYPE_S16: case CTLTYPE_U16:
		return 2;
	case CTLTYPE_S8: case CTLTYPE_U8:
		return 1;
	default:
		return 4;
	}
}

static void format(char *out, size_t size, const char *text, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, text);
	host_format(out, size, text, args);
	__builtin_va_end(args);
}

static void value_format(const struct sysctl_oid *oid, const void *bytes, size_t size, char *value)
{
	uint64_t number = 0;
	u_int type = oid->oid_kind & CTLTYPE;

	if (type == CTLTYPE_STRING) {
		strlcpy(value, bytes, HOST_TEXT_MAX);
		return;
	}
	value[0] = '\0';
	if (type == CTLTYPE_OPAQUE) {			/* words, or bytes where their number is odd */
		size_t step = size % 8 == 0 ? 8 : 1;

		for (size_t at = 0; at < size && strlen(value) < HOST_TEXT_MAX - 32; at += step) {
			memcpy(&number, (const char *)bytes + at, step);
			format(value + strlen(value), 32, "%lu%s", number, at + step < size ? "," : "");
		}
		return;
	}
	memcpy(&number, bytes, size < 8 ? size : 8);
	if (type == CTLTYPE_INT || type == CTLTYPE_S32)
		format(value, 32, "%d", (int)number);
	else if (type == CTLTYPE_S64 || type == CTLTYPE_LONG)
		format(value, 32, "%ld", (long)number);
	else
		format(value, 32, "%lu", number);
}

static uint64_t number_parse(const char *text)
{
	uint64_t number = 0;
	int is_negative = *text == '-';

	for (text += is_negative; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (uint64_t)(*text - '0');
	return is_negative ? -number : number;
}

int model_sysctl(const char *wanted, int is_privileged, const char *new_value, char *value)
{
	char name[HOST_TEXT_MAX], bytes[VALUE_BYTES_MAX];

	for (int i = 0; i < oids_count; i++) {
		struct sysctl_oid *oid = oids[i];
		struct sysctl_req request = { .td = curthread, .oldptr = bytes, .oldlen = sizeof(bytes),
		    .oldfunc = request_old, .newfunc = request_new };
		void *argument = oid->oid_arg1;
		uint64_t number;
		int error;

		oid_name(oid, name, sizeof(name));
		if (strcmp(name, wanted) != 0 || oid->oid_handler == NULL)
			continue;
		if (new_value != NULL) {
			if (!(oid->oid_kind & CTLFLAG_WR) || (!is_privileged && !(oid->oid_kind & CTLFLAG_ANYBODY)))
				return EPERM;
			number = number_parse(new_value);
			request.newptr = &number;
			request.newlen = type_size(oid->oid_kind);
		}
		if ((oid->oid_kind & CTLFLAG_VNET) && argument != NULL)
			argument = (void *)(curvnet->vnet_data_base + (uintptr_t)argument);
		model_self()->cred.cr_uid = is_privileged ? 0 : 1001;
		error = oid->oid_handler(oid, argument, oid->oid_arg2, &request);
		model_assert_nothing_held("a sysctl handler");
		if (error == 0)
			value_format(oid, bytes, request.oldidx, value);
		return error;
	}
	return ENOENT;
}

int model_sysctl_list(char *names, host_word size)
{
	char name[HOST_TEXT_MAX];

	names[0] = '\0';
	for (int i = 0; i < oids_count; i++) {
		if (oids[i]->oid_handler == NULL)
			continue;
		oid_name(oids[i], name, sizeof(name));
		strlcat(names, names[0] ? " " : "", size);
		strlcat(names, name, size);
	}
	return oids_count;
}
