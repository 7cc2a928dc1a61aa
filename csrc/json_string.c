/* SPDX-License-Identifier: Apache-2.0
 *
 * The strings of the JSON loader: UTF-8 and escapes. */
#include "json.h"

#include <errno.h>
#include <string.h>

/* The number of bytes of the well-formed UTF-8 sequence at `at` (Unicode table 3-7: no overlong
 * form, no surrogate, nothing above U+10FFFF), or 0. */
static size_t utf8_length(const uint8_t *at, const uint8_t *end) {
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

static int parse_hex4(struct json_parser *p, const uint8_t *at, uint32_t *value) {
    *value = 0;
    if (p->end - at < 4)
        return json_fail(p, at, "\\u escape without four hexadecimal digits");
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)(c | 0x20) - 'a' + 10;
        else
            return json_fail(p, at, "\\u escape without four hexadecimal digits");
        *value = *value << 4 | digit;
    }
    return 0;
}

/* Writes a code point; U+DC80 to U+DCFF come out as three bytes, which marshal reads as a lone
 * surrogate. */
static void put_code_point(struct json_parser *p, uint32_t c) {
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

/* p->at is behind "\u". A lone surrogate is refused, except U+DC80 to U+DCFF: these stand for the
 * bytes 0x80 to 0xff of a name that is not UTF-8 (PEP 383), and are how our own state keeps such a
 * path. */
static int parse_unicode_escape(struct json_parser *p) {
    const uint8_t *escape = p->at - 2;
    uint32_t c, low;
    int r;

    r = parse_hex4(p, p->at, &c);
    if (r < 0)
        return r;
    p->at += 4;
    if (c == 0)
        return json_fail(p, escape, "NUL character in a string");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return json_fail(p, escape, "lone surrogate in a string");
        r = parse_hex4(p, p->at + 2, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low > 0xdfff)
            return json_fail(p, escape, "lone surrogate in a string");
        p->at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c <= 0xdfff && (c < 0xdc80 || c > 0xdcff)) {
        return json_fail(p, escape, "lone surrogate in a string");
    }
    put_code_point(p, c);
    return 0;
}

static int parse_escape(struct json_parser *p) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name;

    if (p->end - p->at < 2)
        return json_fail(p, p->end, "unfinished string");
    if (p->at[1] == 'u') {
        p->at += 2;
        return parse_unicode_escape(p);
    }
    name = p->at[1] ? strchr(names, p->at[1]) : NULL;
    if (!name)
        return json_fail(p, p->at, "unknown escape in a string");
    p->out[p->used++] = (uint8_t)values[name - names];
    p->at += 2;
    return 0;
}

/* A string with escapes or beyond ASCII: decoded bytes never outnumber the source's, so the room
 * for the rest of the text is reserved once and the length filled in at the end. */
static int parse_string_slow(struct json_parser *p, const uint8_t *quote, bool is_key) {
    const uint8_t *close;
    size_t start;
    int r;

    for (close = p->at; close < p->end && *close != '"'; close++) {
        if (*close == '\\')
            close++;
    }
    if (close >= p->end)
        return json_fail(p, quote, "unfinished string");
    r = json_reserve(p, (size_t)(close - p->at) + 5);
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
            return json_fail(p, p->at, "control character in a string");
        length = utf8_length(p->at, close);
        if (length == 0)
            return json_fail(p, p->at, "invalid UTF-8");
        memcpy(p->out + p->used, p->at, length);
        p->used += length;
        p->at += length;
    }
    p->at = close + 1;
    json_store32(p->out + start - 4, (uint32_t)(p->used - start));
    return 0;
}

int json_parse_string(struct json_parser *p, bool is_key) {
    const uint8_t *quote = p->at, *s;
    size_t length;
    int r;

    p->at++;
    for (s = p->at; s < p->end && *s >= 0x20 && *s < 0x80 && *s != '"' && *s != '\\'; s++)
        ;
    if (s == p->end)
        return json_fail(p, quote, "unfinished string");
    if (*s != '"')
        return parse_string_slow(p, quote, is_key);
    length = (size_t)(s - p->at);
    if (length < 256) {
        r = json_reserve(p, 2);
        if (r < 0)
            return r;
        p->out[p->used++] = is_key ? 'Z' : 'z';
        p->out[p->used++] = (uint8_t)length;
    } else {
        r = json_put_type32(p, is_key ? 'A' : 'a', (uint32_t)length);
        if (r < 0)
            return r;
    }
    r = json_reserve(p, length);
    if (r < 0)
        return r;
    memcpy(p->out + p->used, p->at, length);
    p->used += length;
    p->at = s + 1;
    return 0;
}
