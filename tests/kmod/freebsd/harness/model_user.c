/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The user's memory behind copyin(9) and copyout(9): pages at addresses where the process has none, so that nobody gets
 * there without them. A copy that faults has copied the pages before, as in the kernel.
 */
#include "model.h"

#define USER_PAGE ((host_word)4096)
#define USER_PAGES (HOST_USER_BYTES / USER_PAGE)
#define USER_BASE ((host_word)HOST_USER_BASE)
#define USER_END (USER_BASE + HOST_USER_BYTES)

enum user_access { USER_READ = 1, USER_WRITE = 2 };

static host_byte *user_pages[USER_PAGES], user_access[USER_PAGES];

static host_word page_of(host_word address)
{
	return (address - USER_BASE) / USER_PAGE;
}

int model_user_map(host_word address, host_word size, int is_writable)
{
	if (size == 0 || address < USER_BASE || address >= USER_END || size > USER_END - address)
		return EINVAL;
	for (host_word page = page_of(address); page <= page_of(address + size - 1); page++) {
		if (user_pages[page] == NULL)
			user_pages[page] = host_calloc(1, USER_PAGE);
		user_access[page] = is_writable ? USER_READ | USER_WRITE : USER_READ;
	}
	return 0;
}

void model_user_unmap(host_word address, host_word size)
{
	for (host_word page = page_of(address); size > 0 && page <= page_of(address + size - 1); page++)
		user_access[page] = 0;
}

static int user_copy(host_word address, void *memory, host_word size, int is_out, int access)
{
	host_byte *bytes = memory;

	while (size > 0) {
		host_word page = page_of(address), offset = address % USER_PAGE, part = USER_PAGE - offset;

		if (address < USER_BASE || address >= USER_END || user_pages[page] == NULL ||
		    (user_access[page] & access) != access)
			return EFAULT;
		if (part > size)
			part = size;
		if (is_out)
			memcpy(user_pages[page] + offset, bytes, part);
		else
			memcpy(bytes, user_pages[page] + offset, part);
		address += part;
		bytes += part;
		size -= part;
	}
	return 0;
}

int model_user_read(host_word address, void *out, host_word size)
{
	return user_copy(address, out, size, 0, 0);
}

int model_user_write(host_word address, const void *in, host_word size)
{
	return user_copy(address, __DECONST(void *, in), size, 1, 0);
}

int copyin(const void *from, void *to, size_t size)
{
	model_assert_may_sleep("copyin");
	return user_copy((uintptr_t)from, to, size, 0, USER_READ);
}

int copyout(const void *from, void *to, size_t size)
{
	model_assert_may_sleep("copyout");
	return user_copy((uintptr_t)to, __DECONST(void *, from), size, 1, USER_WRITE);
}
