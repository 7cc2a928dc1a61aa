/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the JSON loader share. */
#ifndef PYRUNC_JSON_H
#define PYRUNC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_key {
    uint32_t hash;
    uint32_t object; /* 0: free; the number of the object that the key is in, from 1 */
    size_t offset;   /* of the key's decoded bytes in the output */
    size_t length;
};

struct json_parser {
    const uint8_t *start, *at, *end;
    uint8_t *out;
    size_t used, room;
    unsigned int depth;
    uint32_t objects;
    struct json_key *keys; /* open addressing, a power of two */
    size_t key_count, key_room;
    const char *error;
    const uint8_t *error_at;
};

/* Notes what is wrong and where; returns -EINVAL. */
int json_fail(struct json_parser *p, const uint8_t *at, const char *error);
/* Makes room for that many more bytes of output: 0 or -ENOMEM. */
int json_reserve(struct json_parser *p, size_t more);
/* Writes a marshal type and a 32-bit number: 0 or -ENOMEM. */
int json_put_type32(struct json_parser *p, uint8_t type, uint32_t value);
/* p->at is at the quote. A key becomes an interned string, so that a lookup by a constant compares
 * pointers. */
int json_parse_string(struct json_parser *p, bool is_key);

static inline void json_store32(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

#endif
