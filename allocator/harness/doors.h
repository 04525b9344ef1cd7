/* What allocator/adapter.py generates for a library that somebody else built, and doors.c uses.
 *
 * A door is a function of the library's name that jumps to wherever the library was loaded.  It is
 * a strong definition, so that it stands before bind.c's weak malloc and the like: what the
 * library has, it keeps. */
#ifndef ALLOCHECK_DOORS_H
#define ALLOCHECK_DOORS_H

#include <stddef.h>

#include "subject.h"

extern __attribute__((visibility("hidden"))) void *allocheck_doors[];
extern __attribute__((visibility("hidden"))) const char *const allocheck_door_names[];
extern __attribute__((visibility("hidden"))) const size_t allocheck_door_count;
extern __attribute__((visibility("hidden"))) const char allocheck_library_path[];

/* At file scope: the function `name` jumps to allocheck_doors[index]. */
#define DOOR(index, name)                                                       \
    __asm__(".text\n.globl " name "\n.hidden " name "\n.type " name ",@function\n" \
            name ":\n\tjmp *allocheck_doors+8*" #index "(%rip)\n")

#endif
