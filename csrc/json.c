/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text to Python marshal bytes in one pass, so that no tree is built twice and no Python code
 * runs per token. A library is not used because it must get right what config.json really contains:
 * RLIM_INFINITY is written as 18446744073709551615, beyond the signed 64 bits that JSON libraries
 * in C stop at, and every refusal (a NUL, a duplicate key, too deep nesting) must say its line and
 * column. */
#define _GNU_SOURCE
#include "json.h"
#include "shim.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The deepest value that the specification defines is below 10; marshal itself stops at 2000. */
#define DEPTH_LIMIT 100
/* Lengths in marshal are signed 32-bit numbers. */
#define SIZE_LIMIT ((size_t)1 << 30)
#define NUMBER_LIMIT 64

static int parse_value(struct json_parser *p);

int json_fail(struct json_parser *p, const uint8_t *at, const char *error) {
    p->error = error;
    p->error_at = at;
    return -EINVAL;
}

int json_reserve(struct json_parser *p, size_t more) {
    size_t room = p->room;
    uint8_t *out;

    if (room - p->used >= more)
        return 0;
    while (room - p->used < more)
        room *= 2;
    out = realloc(p->out, room);
    if (!out)
        return -ENOMEM;
    p->out = out;
    p->room = room;
    return 0;
}

static int put_byte(struct json_parser *p, uint8_t byte) {
    int r = json_reserve(p, 1);

    if (r == 0)
        p->out[p->used++] = byte;
    return r;
}

int json_put_type32(struct json_parser *p, uint8_t type, uint32_t value) {
    int r = json_reserve(p, 5);

    if (r < 0)
        return r;
    p->out[p->used] = type;
    json_store32(p->out + p->used + 1, value);
    p->used += 5;
    return 0;
}

static void skip_space(struct json_parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static int grow_keys(struct json_parser *p) {
    size_t room = p->key_room ? p->key_room * 2 : 512;
    struct json_key *keys = calloc(room, sizeof *keys);

    if (!keys)
        return -ENOMEM;
    for (size_t i = 0; i < p->key_room; i++) {
        size_t slot = p->keys[i].hash & (room - 1);

        if (!p->keys[i].object)
            continue;
        while (keys[slot].object)
            slot = (slot + 1) & (room - 1);
        keys[slot] = p->keys[i];
    }
    free(p->keys);
    p->keys = keys;
    p->key_room = room;
    return 0;
}

/* Two parsers that keep different values of a duplicate key would see two different configs. */
static int remember_key(struct json_parser *p, uint32_t object, size_t offset,
                        const uint8_t *quote) {
    size_t length = p->used - offset, slot;
    uint32_t hash = 2166136261u ^ object * 2654435761u;

    if (p->key_count * 2 >= p->key_room) {
        int r = grow_keys(p);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ p->out[offset + i]) * 16777619u;
    for (slot = hash & (p->key_room - 1); p->keys[slot].object;
         slot = (slot + 1) & (p->key_room - 1)) {
        const struct json_key *k = &p->keys[slot];

        if (k->hash == hash && k->object == object && k->length == length &&
            memcmp(p->out + k->offset, p->out + offset, length) == 0)
            return json_fail(p, quote, "duplicate key");
    }
    p->keys[slot] =
        (struct json_key){.hash = hash, .object = object, .offset = offset, .length = length};
    p->key_count++;
    return 0;
}

static int parse_object(struct json_parser *p) {
    uint32_t object = ++p->objects;
    int r = put_byte(p, '{');

    if (r < 0)
        return r;
    p->at++;
    skip_space(p);
    if (p->at < p->end && *p->at == '}') {
        p->at++;
        return put_byte(p, '0');
    }
    for (;;) {
        const uint8_t *quote = p->at;
        size_t before = p->used;

        if (p->at == p->end || *p->at != '"')
            return json_fail(p, p->at, "expected a key in double quotes");
        r = json_parse_string(p, true);
        if (r == 0)
            r = remember_key(p, object, before + (p->out[before] == 'Z' ? 2 : 5), quote);
        if (r < 0)
            return r;
        skip_space(p);
        if (p->at == p->end || *p->at != ':')
            return json_fail(p, p->at, "expected ':' after a key");
        p->at++;
        r = parse_value(p);
        if (r < 0)
            return r;
        skip_space(p);
        if (p->at < p->end && *p->at == '}') {
            p->at++;
            return put_byte(p, '0');
        }
        if (p->at == p->end || *p->at != ',')
            return json_fail(p, p->at, "expected ',' or '}' in an object");
        p->at++;
        skip_space(p);
    }
}

static int parse_array(struct json_parser *p) {
    size_t header = p->used;
    uint32_t count = 0;
    int r = json_put_type32(p, '[', 0);

    if (r < 0)
        return r;
    p->at++;
    skip_space(p);
    if (p->at < p->end && *p->at == ']') {
        p->at++;
        return 0;
    }
    for (;;) {
        r = parse_value(p);
        if (r < 0)
            return r;
        count++;
        skip_space(p);
        if (p->at < p->end && *p->at == ']') {
            p->at++;
            json_store32(p->out + header + 1, count);
            return 0;
        }
        if (p->at == p->end || *p->at != ',')
            return json_fail(p, p->at, "expected ',' or ']' in an array");
        p->at++;
    }
}

static int put_integer(struct json_parser *p, bool negative, uint64_t value) {
    size_t header = p->used;
    int32_t digits = 0;
    int r;

    if (value <= INT32_MAX)
        return json_put_type32(p, 'i', negative ? 0u - (uint32_t)value : (uint32_t)value);
    r = json_put_type32(p, 'l', 0);
    if (r == 0)
        r = json_reserve(p, 10);
    if (r < 0)
        return r;
    for (; value; value >>= 15, digits++) {
        p->out[p->used++] = (uint8_t)(value & 0xff);
        p->out[p->used++] = (uint8_t)(value >> 8 & 0x7f);
    }
    json_store32(p->out + header + 1, (uint32_t)(negative ? -digits : digits));
    return 0;
}

static int put_float(struct json_parser *p, const uint8_t *start, size_t length) {
    char text[NUMBER_LIMIT + 1];
    locale_t c_locale;
    double value;
    int r;

    memcpy(text, start, length);
    text[length] = '\0';
    /* An application that imports the extension may have set a locale with another decimal point.
     */
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return -ENOMEM;
    value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    if (isinf(value))
        return json_fail(p, start, "number out of range");
    r = put_byte(p, 'g');
    if (r == 0)
        r = json_reserve(p, sizeof value);
    if (r < 0)
        return r;
    memcpy(p->out + p->used, &value, sizeof value);
    p->used += sizeof value;
    return 0;
}

static const uint8_t *skip_digits(const struct json_parser *p, const uint8_t *s) {
    while (s < p->end && *s >= '0' && *s <= '9')
        s++;
    return s;
}

static int parse_number(struct json_parser *p) {
    const uint8_t *start = p->at, *s = p->at, *digits, *integer_end;
    bool negative = *s == '-';
    uint64_t value = 0;

    if (negative)
        s++;
    digits = s;
    s = integer_end = skip_digits(p, s);
    if (s == digits)
        return json_fail(p, start, "expected a value");
    if (*digits == '0' && s - digits > 1)
        return json_fail(p, start, "number with a leading zero");
    if (s < p->end && *s == '.') {
        const uint8_t *fraction = ++s;

        s = skip_digits(p, s);
        if (s == fraction)
            return json_fail(p, start, "number without digits after its point");
    }
    if (s < p->end && (*s | 0x20) == 'e') {
        const uint8_t *exponent;

        s++;
        if (s < p->end && (*s == '+' || *s == '-'))
            s++;
        exponent = s;
        s = skip_digits(p, s);
        if (s == exponent)
            return json_fail(p, start, "number without digits in its exponent");
    }
    if (s - start > NUMBER_LIMIT)
        return json_fail(p, start, "number out of range");
    p->at = s;
    if (s != integer_end)
        return put_float(p, start, (size_t)(s - start));
    for (; digits < s; digits++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*digits - '0'), &value))
            return json_fail(p, start, "number out of range");
    }
    /* int64 and uint64 are the widest types of the specification. */
    if (negative && value > (uint64_t)INT64_MAX + 1)
        return json_fail(p, start, "number out of range");
    return put_integer(p, negative, value);
}

static int parse_word(struct json_parser *p, const char *word, uint8_t type) {
    size_t length = strlen(word);

    if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length) != 0)
        return json_fail(p, p->at, "expected a value");
    p->at += length;
    return put_byte(p, type);
}

static int parse_value(struct json_parser *p) {
    int r;

    skip_space(p);
    if (p->at == p->end)
        return json_fail(p, p->at,
                         p->at == p->start ? "empty document" : "unexpected end of the document");
    switch (*p->at) {
    case '{':
    case '[':
        if (p->depth == DEPTH_LIMIT)
            return json_fail(p, p->at, "nested too deeply");
        p->depth++;
        r = *p->at == '{' ? parse_object(p) : parse_array(p);
        p->depth--;
        return r;
    case '"':
        return json_parse_string(p, false);
    case 't':
        return parse_word(p, "true", 'T');
    case 'f':
        return parse_word(p, "false", 'F');
    case 'n':
        return parse_word(p, "null", 'N');
    default:
        return parse_number(p);
    }
}

static int parse_document(struct json_parser *p) {
    size_t size = (size_t)(p->end - p->start);
    int r;

    if (size > SIZE_LIMIT)
        return json_fail(p, p->start, "document too large");
    if (size >= 3 && memcmp(p->start, "\xef\xbb\xbf", 3) == 0)
        return json_fail(p, p->start, "byte order mark before the document");
    if (size >= 2 && (memcmp(p->start, "\xff\xfe", 2) == 0 || memcmp(p->start, "\xfe\xff", 2) == 0))
        return json_fail(p, p->start, "UTF-16 document, expected UTF-8");
    r = parse_value(p);
    if (r < 0)
        return r;
    skip_space(p);
    return p->at == p->end ? 0 : json_fail(p, p->at, "unexpected text after the document");
}

int shim_json_load(const uint8_t *text, size_t size, struct shim_json *result) {
    struct json_parser p = {
        .start = text, .at = text, .end = text + size, .room = size / 2 * 3 + 64};
    int r;

    *result = (struct shim_json){0};
    p.out = malloc(p.room);
    if (!p.out)
        return -ENOMEM;
    r = parse_document(&p);
    free(p.keys);
    if (r == 0) {
        result->data = p.out;
        result->size = p.used;
        return 0;
    }
    free(p.out);
    if (r == -EINVAL) {
        result->error = p.error;
        result->position = (size_t)(p.error_at - p.start);
        result->line = result->column = 1;
        for (const uint8_t *s = p.start; s < p.error_at; s++) {
            if (*s == '\n') {
                result->line++;
                result->column = 1;
            } else if ((*s & 0xc0) != 0x80) {
                result->column++;
            }
        }
    }
    return r;
}

void shim_json_free(struct shim_json *result) {
    free(result->data);
    *result = (struct shim_json){0};
}
