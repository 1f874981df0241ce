/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GLib's locks told to ThreadSanitizer. GMutex, GCond and GRWLock are made of futexes inside GLib,
 * where the sanitizer does not look, so it would call everything under them a race. Linked into
 * tests of -Dsanitize=thread only: these come before GLib's own functions, call them, and say what
 * they have synchronised.
 */
#include <dlfcn.h>
#include <glib.h>

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);

#define REAL(name) \
	static void *found; \
	__typeof__(name) *real = (__typeof__(name) *)__atomic_load_n(&found, __ATOMIC_RELAXED); \
	if (!real) { \
		real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
		__atomic_store_n(&found, (void *)real, __ATOMIC_RELAXED); \
	}

void g_mutex_lock(GMutex *m)
{
	REAL(g_mutex_lock)
	real(m);
	__tsan_acquire(m);
}

gboolean g_mutex_trylock(GMutex *m)
{
	REAL(g_mutex_trylock)
	if (!real(m))
		return FALSE;
	__tsan_acquire(m);
	return TRUE;
}

void g_mutex_unlock(GMutex *m)
{
	REAL(g_mutex_unlock)
	__tsan_release(m);
	real(m);
}

void g_cond_wait(GCond *c, GMutex *m)
{
	REAL(g_cond_wait)
	__tsan_release(m);
	real(c, m);
	__tsan_acquire(m);
}

gboolean g_cond_wait_until(GCond *c, GMutex *m, gint64 end)
{
	gboolean ret;

	REAL(g_cond_wait_until)
	__tsan_release(m);
	ret = real(c, m, end);
	__tsan_acquire(m);
	return ret;
}

void g_rw_lock_writer_lock(GRWLock *l)
{
	REAL(g_rw_lock_writer_lock)
	real(l);
	__tsan_acquire(l);
}

void g_rw_lock_writer_unlock(GRWLock *l)
{
	REAL(g_rw_lock_writer_unlock)
	__tsan_release(l);
	real(l);
}

void g_rw_lock_reader_lock(GRWLock *l)
{
	REAL(g_rw_lock_reader_lock)
	real(l);
	__tsan_acquire(l);
}

void g_rw_lock_reader_unlock(GRWLock *l)
{
	REAL(g_rw_lock_reader_unlock)
	__tsan_release(l);
	real(l);
}
