/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text to Python marshal bytes in one pass, so that no tree is built twice and no Python code runs per
 * token. A library is not used because it must get right what config.json really contains: RLIM_INFINITY is
 * written as 18446744073709551615, beyond the signed 64 bits that JSON libraries in C stop at, and every
 * refusal (a NUL, a duplicate key, too deep nesting) must say its line and column. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The deepest value that the specification defines is below 10; marshal itself stops at 2000. */
#define DEPTH_LIMIT 100
/* Lengths in marshal are signed 32-bit numbers. */
#define SIZE_LIMIT ((size_t)1 << 30)
#define NUMBER_LIMIT 64

struct key {
    uint32_t hash;
    uint32_t object; /* 0: free; the number of the object that the key is in, from 1 */
    size_t offset;   /* of the key's decoded bytes in the output */
    size_t length;
};

struct parser {
    const uint8_t *start, *at, *end;
    uint8_t *out;
    size_t used, room;
    unsigned int depth;
    uint32_t objects;
    struct key *keys; /* open addressing, a power of two */
    size_t key_count, key_room;
    const char *error;
    const uint8_t *error_at;
};

static int parse_value(struct parser *p);

static int fail(struct parser *p, const uint8_t *at, const char *error)
{
    p->error = error;
    p->error_at = at;
    return -EINVAL;
}

static int reserve(struct parser *p, size_t more)
{
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

static void store32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

static int put_byte(struct parser *p, uint8_t byte)
{
    int r = reserve(p, 1);

    if (r == 0)
        p->out[p->used++] = byte;
    return r;
}

static int put_type32(struct parser *p, uint8_t type, uint32_t value)
{
    int r = reserve(p, 5);

    if (r < 0)
        return r;
    p->out[p->used] = type;
    store32(p->out + p->used + 1, value);
    p->used += 5;
    return 0;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

/* The number of bytes of the well-formed UTF-8 sequence at `at` (Unicode table 3-7: no overlong form, no
 * surrogate, nothing above U+10FFFF), or 0. */
static size_t utf8_length(const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at);
    uint8_t low = 0x80, high = 0xbf;
    size_t length;

    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        length = 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        length = 3;
        if (at[0] == 0xe0)
            low = 0xa0;
        if (at[0] == 0xed)
            high = 0x9f;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        length = 4;
        if (at[0] == 0xf0)
            low = 0x90;
        if (at[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (left < length || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

static int parse_hex4(struct parser *p, const uint8_t *at, uint32_t *value)
{
    *value = 0;
    if (p->end - at < 4)
        return fail(p, at, "\\u escape without four hexadecimal digits");
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)(c | 0x20) - 'a' + 10;
        else
            return fail(p, at, "\\u escape without four hexadecimal digits");
        *value = *value << 4 | digit;
    }
    return 0;
}

/* Writes a code point; U+DC80 to U+DCFF come out as three bytes, which marshal reads as a lone surrogate. */
static void put_code_point(struct parser *p, uint32_t c)
{
    uint8_t *to = p->out + p->used;

    if (c < 0x80) {
        to[0] = (uint8_t)c;
        p->used += 1;
    } else if (c < 0x800) {
        to[0] = (uint8_t)(0xc0 | c >> 6);
        to[1] = (uint8_t)(0x80 | (c & 0x3f));
        p->used += 2;
    } else if (c < 0x10000) {
        to[0] = (uint8_t)(0xe0 | c >> 12);
        to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (c & 0x3f));
        p->used += 3;
    } else {
        to[0] = (uint8_t)(0xf0 | c >> 18);
        to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        to[3] = (uint8_t)(0x80 | (c & 0x3f));
        p->used += 4;
    }
}

/* p->at is behind "\u". A lone surrogate is refused, except U+DC80 to U+DCFF: these stand for the bytes 0x80
 * to 0xff of a name that is not UTF-8 (PEP 383), and are how our own state keeps such a path. */
static int parse_unicode_escape(struct parser *p)
{
    const uint8_t *escape = p->at - 2;
    uint32_t c, low;
    int r;

    r = parse_hex4(p, p->at, &c);
    if (r < 0)
        return r;
    p->at += 4;
    if (c == 0)
        return fail(p, escape, "NUL character in a string");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return fail(p, escape, "lone surrogate in a string");
        r = parse_hex4(p, p->at + 2, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(p, escape, "lone surrogate in a string");
        p->at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c <= 0xdfff && (c < 0xdc80 || c > 0xdcff)) {
        return fail(p, escape, "lone surrogate in a string");
    }
    put_code_point(p, c);
    return 0;
}

static int parse_escape(struct parser *p)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name;

    if (p->end - p->at < 2)
        return fail(p, p->end, "unfinished string");
    if (p->at[1] == 'u') {
        p->at += 2;
        return parse_unicode_escape(p);
    }
    name = p->at[1] ? strchr(names, p->at[1]) : NULL;
    if (!name)
        return fail(p, p->at, "unknown escape in a string");
    p->out[p->used++] = (uint8_t)values[name - names];
    p->at += 2;
    return 0;
}

/* A string with escapes or beyond ASCII: decoded bytes never outnumber the source's, so the room for the rest
 * of the text is reserved once and the length filled in at the end. */
static int parse_string_slow(struct parser *p, const uint8_t *quote, bool is_key)
{
    const uint8_t *close;
    size_t start;
    int r;

    for (close = p->at; close < p->end && *close != '"'; close++) {
        if (*close == '\\')
            close++;
    }
    if (close >= p->end)
        return fail(p, quote, "unfinished string");
    r = reserve(p, (size_t)(close - p->at) + 5);
    if (r < 0)
        return r;
    p->out[p->used] = is_key ? 't' : 'u';
    start = p->used += 5;
    while (p->at < close) {
        size_t length;

        if (*p->at == '\\') {
            r = parse_escape(p);
            if (r < 0)
                return r;
            continue;
        }
        if (*p->at < 0x20)
            return fail(p, p->at, "control character in a string");
        length = utf8_length(p->at, close);
        if (length == 0)
            return fail(p, p->at, "invalid UTF-8");
        memcpy(p->out + p->used, p->at, length);
        p->used += length;
        p->at += length;
    }
    p->at = close + 1;
    store32(p->out + start - 4, (uint32_t)(p->used - start));
    return 0;
}

/* p->at is at the quote. A key is marshalled as an interned string, so that a lookup by a constant compares
 * pointers. */
static int parse_string(struct parser *p, bool is_key)
{
    const uint8_t *quote = p->at, *s;
    size_t length;
    int r;

    p->at++;
    for (s = p->at; s < p->end && *s >= 0x20 && *s < 0x80 && *s != '"' && *s != '\\'; s++)
        ;
    if (s == p->end)
        return fail(p, quote, "unfinished string");
    if (*s != '"')
        return parse_string_slow(p, quote, is_key);
    length = (size_t)(s - p->at);
    if (length < 256) {
        r = reserve(p, 2);
        if (r < 0)
            return r;
        p->out[p->used++] = is_key ? 'Z' : 'z';
        p->out[p->used++] = (uint8_t)length;
    } else {
        r = put_type32(p, is_key ? 'A' : 'a', (uint32_t)length);
        if (r < 0)
            return r;
    }
    r = reserve(p, length);
    if (r < 0)
        return r;
    memcpy(p->out + p->used, p->at, length);
    p->used += length;
    p->at = s + 1;
    return 0;
}

static int grow_keys(struct parser *p)
{
    size_t room = p->key_room ? p->key_room * 2 : 512;
    struct key *keys = calloc(room, sizeof *keys);

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
static int remember_key(struct parser *p, uint32_t object, size_t offset, const uint8_t *quote)
{
    size_t length = p->used - offset, slot;
    uint32_t hash = 2166136261u ^ object * 2654435761u;

    if (p->key_count * 2 >= p->key_room) {
        int r = grow_keys(p);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ p->out[offset + i]) * 16777619u;
    for (slot = hash & (p->key_room - 1); p->keys[slot].object; slot = (slot + 1) & (p->key_room - 1)) {
        const struct key *k = &p->keys[slot];

        if (k->hash == hash && k->object == object && k->length == length &&
            memcmp(p->out + k->offset, p->out + offset, length) == 0)
            return fail(p, quote, "duplicate key");
    }
    p->keys[slot] = (struct key){.hash = hash, .object = object, .offset = offset, .length = length};
    p->key_count++;
    return 0;
}

static int parse_object(struct parser *p)
{
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
            return fail(p, p->at, "expected a key in double quotes");
        r = parse_string(p, true);
        if (r == 0)
            r = remember_key(p, object, before + (p->out[before] == 'Z' ? 2 : 5), quote);
        if (r < 0)
            return r;
        skip_space(p);
        if (p->at == p->end || *p->at != ':')
            return fail(p, p->at, "expected ':' after a key");
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
            return fail(p, p->at, "expected ',' or '}' in an object");
        p->at++;
        skip_space(p);
    }
}

static int parse_array(struct parser *p)
{
    size_t header = p->used;
    uint32_t count = 0;
    int r = put_type32(p, '[', 0);

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
            store32(p->out + header + 1, count);
            return 0;
        }
        if (p->at == p->end || *p->at != ',')
            return fail(p, p->at, "expected ',' or ']' in an array");
        p->at++;
    }
}

static int put_integer(struct parser *p, bool negative, uint64_t value)
{
    size_t header = p->used;
    int32_t digits = 0;
    int r;

    if (value <= INT32_MAX)
        return put_type32(p, 'i', negative ? 0u - (uint32_t)value : (uint32_t)value);
    r = put_type32(p, 'l', 0);
    if (r == 0)
        r = reserve(p, 10);
    if (r < 0)
        return r;
    for (; value; value >>= 15, digits++) {
        p->out[p->used++] = (uint8_t)(value & 0xff);
        p->out[p->used++] = (uint8_t)(value >> 8 & 0x7f);
    }
    store32(p->out + header + 1, (uint32_t)(negative ? -digits : digits));
    return 0;
}

static int put_float(struct parser *p, const uint8_t *start, size_t length)
{
    char text[NUMBER_LIMIT + 1];
    locale_t c_locale;
    double value;
    int r;

    memcpy(text, start, length);
    text[length] = '\0';
    /* An application that imports the extension may have set a locale with another decimal point. */
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return -ENOMEM;
    value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    if (isinf(value))
        return fail(p, start, "number out of range");
    r = put_byte(p, 'g');
    if (r == 0)
        r = reserve(p, sizeof value);
    if (r < 0)
        return r;
    memcpy(p->out + p->used, &value, sizeof value);
    p->used += sizeof value;
    return 0;
}

static const uint8_t *skip_digits(const struct parser *p, const uint8_t *s)
{
    while (s < p->end && *s >= '0' && *s <= '9')
        s++;
    return s;
}

static int parse_number(struct parser *p)
{
    const uint8_t *start = p->at, *s = p->at, *digits, *integer_end;
    bool negative = *s == '-';
    uint64_t value = 0;

    if (negative)
        s++;
    digits = s;
    s = integer_end = skip_digits(p, s);
    if (s == digits)
        return fail(p, start, "expected a value");
    if (*digits == '0' && s - digits > 1)
        return fail(p, start, "number with a leading zero");
    if (s < p->end && *s == '.') {
        const uint8_t *fraction = ++s;

        s = skip_digits(p, s);
        if (s == fraction)
            return fail(p, start, "number without digits after its point");
    }
    if (s < p->end && (*s | 0x20) == 'e') {
        const uint8_t *exponent;

        s++;
        if (s < p->end && (*s == '+' || *s == '-'))
            s++;
        exponent = s;
        s = skip_digits(p, s);
        if (s == exponent)
            return fail(p, start, "number without digits in its exponent");
    }
    if (s - start > NUMBER_LIMIT)
        return fail(p, start, "number out of range");
    p->at = s;
    if (s != integer_end)
        return put_float(p, start, (size_t)(s - start));
    for (; digits < s; digits++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*digits - '0'), &value))
            return fail(p, start, "number out of range");
    }
    /* int64 and uint64 are the widest types of the specification. */
    if (negative && value > (uint64_t)INT64_MAX + 1)
        return fail(p, start, "number out of range");
    return put_integer(p, negative, value);
}

static int parse_word(struct parser *p, const char *word, uint8_t type)
{
    size_t length = strlen(word);

    if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length) != 0)
        return fail(p, p->at, "expected a value");
    p->at += length;
    return put_byte(p, type);
}

static int parse_value(struct parser *p)
{
    int r;

    skip_space(p);
    if (p->at == p->end)
        return fail(p, p->at, p->at == p->start ? "empty document" : "unexpected end of the document");
    switch (*p->at) {
    case '{':
    case '[':
        if (p->depth == DEPTH_LIMIT)
            return fail(p, p->at, "nested too deeply");
        p->depth++;
        r = *p->at == '{' ? parse_object(p) : parse_array(p);
        p->depth--;
        return r;
    case '"':
        return parse_string(p, false);
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

static int parse_document(struct parser *p)
{
    size_t size = (size_t)(p->end - p->start);
    int r;

    if (size > SIZE_LIMIT)
        return fail(p, p->start, "document too large");
    if (size >= 3 && memcmp(p->start, "\xef\xbb\xbf", 3) == 0)
        return fail(p, p->start, "byte order mark before the document");
    if (size >= 2 && (memcmp(p->start, "\xff\xfe", 2) == 0 || memcmp(p->start, "\xfe\xff", 2) == 0))
        return fail(p, p->start, "UTF-16 document, expected UTF-8");
    r = parse_value(p);
    if (r < 0)
        return r;
    skip_space(p);
    return p->at == p->end ? 0 : fail(p, p->at, "unexpected text after the document");
}

int shim_json_load(const uint8_t *text, size_t size, struct shim_json *result)
{
    struct parser p = {.start = text, .at = text, .end = text + size, .room = size / 2 * 3 + 64};
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

void shim_json_free(struct shim_json *result)
{
    free(result->data);
    *result = (struct shim_json){0};
}
