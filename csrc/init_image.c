/* SPDX-License-Identifier: Apache-2.0
 *
 * Carries the pyrunc-init program as bytes. INIT_IMAGE is its path, given by the build. */
#include "shim.h"

__asm__(".section .rodata.init_image, \"a\"\n"
        ".balign 16\n"
        "init_image_start:\n"
        ".incbin \"" INIT_IMAGE "\"\n"
        "init_image_end:\n"
        ".previous\n");

extern const uint8_t init_image_start[] __attribute__((visibility("hidden")));
extern const uint8_t init_image_end[] __attribute__((visibility("hidden")));

const uint8_t *shim_init_image(size_t *size) {
    *size = (size_t)(init_image_end - init_image_start);
    return init_image_start;
}
