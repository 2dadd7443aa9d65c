/* The two inner loops of a backup: rows out of a COPY stream, and what their content says.
 *
 * Both have a twin in Python (coffre/databases/postgresql/frames.py, coffre/vault/scan.py), which defines
 * what is right; tests hold the two against each other.  Nothing here keeps state or memory, calls back or
 * trusts a length: whatever isn't plainly right is left to the caller, who looks at it byte by byte.
 *
 * Only memchr, memcpy, memmove and memset are taken from outside, so one library serves every libc.
 */
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#define XXH_NO_STDLIB
#include "xxhash.h"

#ifdef _WIN32
#error "not a platform that this is built for"
#endif
#define PUBLIC __attribute__((visibility("default")))

/* Grows with every change of what is below; the binding refuses another number. */
PUBLIC uint32_t coffre_abi(void) { return 1; }

enum { HEADER = 5, NEWLINE = '\n' };

struct strip {
    uint64_t taken;   /* bytes of input that were taken */
    uint64_t written; /* bytes of text that were written */
    uint64_t rows;
};

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Take CopyData messages off their frames, as long as each is whole and holds exactly one row of text of at
 * most `large` bytes, its newline included.
 *
 * in, size:   what the server sent, beginning with a message
 * out, room:  where the text goes; it must not overlap the input
 *
 * It ends before the first message that is anything else, or not whole.
 */
PUBLIC void coffre_strip(const uint8_t *in, uint64_t size, uint8_t *out, uint64_t room, uint64_t large,
                         struct strip *done)
{
    uint64_t at = 0, written = 0, rows = 0;
    while (size - at > HEADER && in[at] == 'd') {
        uint64_t length = big_endian(in + at + 1);
        if (length <= 4 || length - 4 > large)
            break;
        length -= 4;
        if (length > size - at - HEADER || length > room - written)
            break;
        const uint8_t *row = in + at + HEADER;
        if (memchr(row, NEWLINE, length) != row + length - 1)
            break;
        memcpy(out + written, row, length);
        written += length;
        at += HEADER + length;
        rows++;
    }
    /* Text holds no NUL byte.  Who sent one is found by the caller, from the first row on. */
    if (written && memchr(out, 0, written))
        at = written = rows = 0;
    *done = (struct strip){at, written, rows};
}

struct scan {
    uint64_t rows;
    uint64_t low, high; /* the sum modulo 2^128 of the rows' hashes */
    uint64_t cut;       /* 1 if a chunk ends after what was taken */
};

/* Whether a row of `length` bytes, its newline included, asks for the end of a chunk: whether its hash is
 * below min(length * 2^128 / target, 2^128 - 1), rounded down.  Without rounding: (hash + 1) * target <=
 * length * 2^128. */
static int asks_for_cut(XXH128_hash_t hash, uint64_t length, uint64_t target)
{
    unsigned __int128 low, high;
    if (hash.low64 == UINT64_MAX && hash.high64 == UINT64_MAX)
        return 0;
    if (length >= target)
        return 1;
    hash.low64++;
    hash.high64 += hash.low64 == 0;
    low = (unsigned __int128)hash.low64 * target;
    high = (unsigned __int128)hash.high64 * target + (low >> 64);
    uint64_t whole = high >> 64;
    return whole < length || (whole == length && !(uint64_t)high && !(uint64_t)low);
}

/* Sum the hashes of the rows in a text, until one ends a chunk or no whole row is left.
 *
 * held:             bytes of the chunk before this text
 * minimum, maximum: no chunk ends below the one, each does from the other on, its last row included
 * target:           the bytes of a chunk on average; 0 for no cuts at all
 *
 * Returns the bytes that were taken, which end with a row.
 */
PUBLIC uint64_t coffre_scan(const uint8_t *text, uint64_t size, uint64_t held, uint64_t minimum,
                            uint64_t target, uint64_t maximum, struct scan *found)
{
    unsigned __int128 sum = 0;
    uint64_t at = 0, rows = 0, cut = 0;
    while (at < size && !cut) {
        const uint8_t *row = text + at, *end = memchr(row, NEWLINE, size - at);
        if (!end)
            break;
        uint64_t length = end - row;
        XXH128_hash_t hash = XXH3_128bits(row, length);
        sum += (unsigned __int128)hash.high64 << 64 | hash.low64;
        rows++;
        at += length + 1;
        cut = target && (held + at >= maximum ||
                         (held + at >= minimum && asks_for_cut(hash, length + 1, target)));
    }
    *found = (struct scan){rows, (uint64_t)sum, sum >> 64, cut};
    return at;
}
