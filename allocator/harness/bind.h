/* Between the two halves of the binding: bind.c has the memory, bind_process.c the process. */
#ifndef ALLOCHECK_BIND_H
#define ALLOCHECK_BIND_H

#include "subject.h"

#define WEAK __attribute__((visibility("hidden"), weak))

/* Takes the host: see struct subject. */
__attribute__((visibility("hidden"))) const char *allocheck_bind(const struct host *host);

/* The host that bind() was given; NULL before. */
__attribute__((visibility("hidden"))) const struct host *allocheck_host(void);

/* The kernel's answer, past all that is bound. */
__attribute__((visibility("hidden"))) long allocheck_system_call(long number, const long *operands);

/* Calls what is to be called when this thread ends. */
__attribute__((visibility("hidden"))) void allocheck_thread_ends(void);

/* In no header, or not in all. */
int __cxa_atexit(void (*function)(void *), void *argument, void *library);
int __cxa_thread_atexit(void (*function)(void *), void *argument, void *library);
int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *library);
int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);

#endif
