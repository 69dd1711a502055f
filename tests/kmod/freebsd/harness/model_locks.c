/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What all kinds of locks share. Each thread keeps the list of what it holds, so that ownership, recursion, order
 * and leaks are known, not just counted. The lock's own word holds the owner as in the kernel, because macros look
 * at it.
 */
#include "model.h"

#define CLASSES_MAX 64
#define LOCKS_MAX 4096

static const char *class_names[CLASSES_MAX];
static unsigned char is_before[CLASSES_MAX][CLASSES_MAX];
static struct {
	const void *lock;
	const char *name;
} locks[LOCKS_MAX];
static volatile int table_lock;

static void table_enter(void)
{
	while (__atomic_exchange_n(&table_lock, 1, __ATOMIC_ACQUIRE))
		host_yield();
}

static void table_leave(void)
{
	__atomic_store_n(&table_lock, 0, __ATOMIC_RELEASE);
}

static int class_of(const char *name)
{
	int i;

	for (i = 0; i < CLASSES_MAX - 1 && class_names[i] != NULL; i++) {
		if (strcmp(class_names[i], name) == 0)
			return i;
	}
	if (class_names[i] == NULL) {
		char *copy = host_calloc(strlen(name) + 1, 1);	/* the module's string goes with the module */

		memcpy(copy, name, strlen(name));
		class_names[i] = copy;
	}
	return i;
}

/* WITNESS: two classes are taken in one order only, and two of one class not at all. */
static void order_check(const char *outer, const struct lock_object *object, const char *file, int line)
{
	const char *inner = object->lo_name;
	int from = class_of(outer), to = class_of(inner);

	if (from == to && !(object->lo_flags & LO_DUPOK))
		model_fault("second lock of class \"%s\" taken at %s:%d", inner, file, line);
	if (from != to && is_before[to][from])
		model_fault("lock order: \"%s\" taken after \"%s\" at %s:%d, elsewhere before it", inner, outer, file, line);
	is_before[from][to] = 1;
}

void model_lock_add(const void *lock, const struct lock_object *object, enum model_lock_kind kind, const char *file,
    int line)
{
	struct model_thread *self = model_self();

	if (self->held_count == nitems(self->held)) {
		model_fault("more than %d locks held at %s:%d", (int)nitems(self->held), file, line);
		return;
	}
	table_enter();
	for (int i = 0; i < self->held_count; i++) {
		if (self->held[i].lock != lock)
			order_check(self->held[i].name, object, file, line);
	}
	table_leave();
	self->held[self->held_count++] = (struct model_held){ lock, object->lo_name, kind };
}

void model_lock_remove(const void *lock, const char *name, const char *file, int line)
{
	struct model_thread *self = model_self();

	for (int i = self->held_count; i-- > 0;) {
		if (self->held[i].lock == lock) {
			memmove(&self->held[i], &self->held[i + 1], (self->held_count - i - 1) * sizeof(self->held[0]));
			self->held_count--;
			return;
		}
	}
	model_fault("lock \"%s\" released at %s:%d by a thread that does not hold it", name, file, line);
}

int model_holds(const void *lock, int is_write)
{
	struct model_thread *self = model_self();

	for (int i = 0; i < self->held_count; i++) {
		enum model_lock_kind kind = self->held[i].kind;

		if (self->held[i].lock == lock && !(is_write && (kind == MODEL_READ || kind == MODEL_SLEEPABLE_READ)))
			return 1;
	}
	return 0;
}

int model_holds_module_lock(void)
{
	struct model_thread *self = model_self();

	for (int i = 0; i < self->held_count; i++) {
		if (strcmp(self->held[i].name, "tcpinp") != 0)
			return 1;
	}
	return 0;
}

static void registry_add(const void *lock, const char *name)
{
	table_enter();
	for (int i = 0; i < LOCKS_MAX; i++) {
		if (locks[i].lock == lock)
			model_fault("lock \"%s\" initialised twice", name);
		if (locks[i].lock == NULL || locks[i].lock == lock) {
			locks[i].lock = lock;
			locks[i].name = class_names[class_of(name)];
			break;
		}
	}
	table_leave();
}

static void registry_remove(const void *lock, const char *name)
{
	int i;

	if (model_holds(lock, 0))
		model_fault("lock \"%s\" destroyed while held", name);
	table_enter();
	for (i = 0; i < LOCKS_MAX && locks[i].lock != lock; i++)
		continue;
	if (i == LOCKS_MAX)
		model_fault("lock \"%s\" destroyed that was not initialised", name);
	else
		locks[i].lock = NULL;
	table_leave();
}

void model_locks_check(const char *when)
{
	for (int i = 0; i < LOCKS_MAX; i++) {
		if (locks[i].lock != NULL)
			model_fault("lock \"%s\" left behind %s", locks[i].name, when);
		locks[i].lock = NULL;
	}
}

/* Memory that is freed takes no live lock with it. */
void model_locks_in(const void *memory, host_word size, const char *what)
{
	for (int i = 0; i < LOCKS_MAX; i++) {
		if ((uintptr_t)locks[i].lock - (uintptr_t)memory < size)
			model_fault("%s freed with its lock \"%s\" not destroyed", what, locks[i].name);
	}
}

void model_lock_init(struct lock_object *object, const char *name, u_int flags, volatile uintptr_t *word,
    uintptr_t free)
{
	memset(object, 0, sizeof(*object));
	object->lo_name = name;
	object->lo_flags = flags | LO_INITIALIZED;
	*word = free;
	registry_add((const void *)(uintptr_t)word, name);
}

void model_lock_destroy(struct lock_object *object, volatile uintptr_t *word)
{
	registry_remove((const void *)word, object->lo_name ? object->lo_name : "?");
	object->lo_flags &= ~LO_INITIALIZED;
	*word = MTX_DESTROYED;
}

void model_lock_take(struct lock_object *object, volatile uintptr_t *word, uintptr_t free, enum model_lock_kind kind,
    const char *file, int line)
{
	uintptr_t expected = free;

	if (!(object->lo_flags & LO_INITIALIZED)) {
		model_fault("lock taken at %s:%d that is not initialised", file, line);
		return;
	}
	if (model_holds((const void *)word, 0)) {
		if (!(object->lo_flags & LO_RECURSABLE))
			model_fault("lock \"%s\" taken twice by one thread at %s:%d", object->lo_name, file, line);
		object->lo_data++;
		return;
	}
	if (kind >= MODEL_SLEEPABLE)
		model_assert_may_sleep(object->lo_name);
	while (!__atomic_compare_exchange_n(word, &expected, (uintptr_t)curthread, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		expected = free;
		host_yield();
	}
	model_lock_add((const void *)word, object, kind, file, line);
}

void model_lock_release(struct lock_object *object, volatile uintptr_t *word, uintptr_t free, const char *file,
    int line)
{
	if (!model_holds((const void *)word, 1)) {
		model_fault("lock \"%s\" released at %s:%d by a thread that does not hold it",
		    object->lo_name ? object->lo_name : "?", file, line);
		return;
	}
	if (object->lo_data > 0) {
		object->lo_data--;
		return;
	}
	model_lock_remove((const void *)word, object->lo_name, file, line);
	__atomic_store_n(word, free, __ATOMIC_RELEASE);
}

void model_lock_assert(const struct lock_object *object, const volatile uintptr_t *word, int what, const char *file,
    int line)
{
	int is_write = model_holds((const void *)(uintptr_t)word, 1), is_held = model_holds((const void *)(uintptr_t)word, 0);
	int is_right = what & LA_XLOCKED ? is_write : what & LA_SLOCKED ? is_held && !is_write :
	    what & LA_LOCKED ? is_held : !is_held;

	if (!is_right)
		model_fault("lock \"%s\": assertion 0x%x failed at %s:%d", object->lo_name ? object->lo_name : "?", what, file, line);
}
