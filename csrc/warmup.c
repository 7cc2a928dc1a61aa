/* SPDX-License-Identifier: Apache-2.0 */
#include "warmup.h"

#include "shim.h"

void warmup_start(int argc, char **argv)
{
    (void)argc;
    (void)argv;
}

void shim_warmup_join(void)
{
}
