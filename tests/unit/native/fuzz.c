/* Feeds rubbish to the compiled inner loops: under a sanitizer for undefined behaviour, which traps, and with
 * every buffer against a page that must not be touched.
 *
 * fuzz SEED ROUNDS [past|overflow]
 *
 * Ends with 0, with 1 if a promise is broken, by a signal if memory or arithmetic is.  The last word plants
 * such a fault, so that the test can see that it would be found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coffre_native.c"

enum { ROOM = 1 << 16, SIZE = 6000 };

static uint64_t state;

static uint64_t random_below(uint64_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit ? state % limit : 0;
}

/* `size` bytes that end where memory ends. */
static uint8_t *at_the_edge(uint64_t size)
{
    static uint8_t *areas[8];
    static unsigned next;
    uint8_t **area = &areas[next++ % 8];
    long page = sysconf(_SC_PAGESIZE);
    if (!*area) {
        *area = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (*area == MAP_FAILED || mprotect(*area + ROOM, page, PROT_NONE))
            exit(2);
    }
    return *area + ROOM - size;
}

/* Frames of rows, and here and there anything else: noise, wrong lengths, NUL bytes, a newline too many. */
static uint64_t make_frames(uint8_t *out, uint64_t room)
{
    uint64_t at = 0;
    while (random_below(40) && at + 5 < room) {
        uint64_t length = random_below(random_below(8) ? 60 : 1200);
        if (length > room - at - 5)
            length = room - at - 5;
        uint32_t told = (uint32_t)(length + 4);
        if (!random_below(50))
            told = (uint32_t)random_below(UINT64_C(1) << (1 + random_below(32)));
        out[at++] = random_below(60) ? 'd' : (uint8_t)random_below(256);
        for (int shift = 24; shift >= 0; shift -= 8)
            out[at++] = (uint8_t)(told >> shift);
        for (uint64_t i = 0; i < length; i++)
            out[at + i] = random_below(4000) ? (uint8_t)(11 + random_below(245)) : (uint8_t)random_below(11);
        at += length;
        if (length && random_below(100))
            out[at - 1] = NEWLINE;
    }
    return at;
}

static int broken(const char *promise)
{
    fprintf(stderr, "broken: %s\n", promise);
    return 1;
}

static int try_strip(const uint8_t *in, uint64_t size)
{
    uint64_t room = random_below(4) ? size : random_below(size + 1);
    uint64_t large = random_below(3) ? 1 << 20 : random_below(100);
    uint8_t *out = at_the_edge(room);
    struct strip done;
    coffre_strip(in, size, out, room, large, &done);
    if (done.taken > size || done.written > room || done.taken != done.written + HEADER * done.rows)
        return broken("strip takes whole frames and writes their rows");
    if (memchr(out, 0, done.written))
        return broken("strip writes no NUL byte");
    if (done.rows && out[done.written - 1] != NEWLINE)
        return broken("strip ends with a row");
    return 0;
}

static int try_scan(const uint8_t *text, uint64_t size)
{
    uint64_t any = UINT64_C(1) << random_below(64), minimum = random_below(any), maximum = random_below(any);
    uint64_t target = random_below(5) ? 1 + random_below(any) : 0, held = random_below(any >> 1);
    struct scan found;
    uint64_t taken = coffre_scan(text, size, held, minimum, target, maximum, &found);
    if (taken > size || found.rows > taken || (found.cut && (!target || !found.rows)))
        return broken("scan takes rows that are there");
    if (taken && text[taken - 1] != NEWLINE)
        return broken("scan ends with a row");
    if (!found.cut && memchr(text + taken, NEWLINE, size - taken))
        return broken("scan leaves no whole row without a cut");
    return 0;
}

int main(int count, char **words)
{
    static uint8_t made[SIZE];
    if (count < 3)
        return 2;
    state = strtoull(words[1], NULL, 10) | 1;
    const char *planted = count > 3 ? words[3] : "";
    for (uint64_t left = strtoull(words[2], NULL, 10); left; left--) {
        uint64_t size = make_frames(made, 1 + random_below(SIZE));
        uint8_t *in = at_the_edge(size);
        memcpy(in, made, size);
        if (try_strip(in, size) || try_scan(in, size))
            return 1;
        volatile uint64_t past = size;
        if (!strcmp(planted, "past") && in[past])
            return 3;
        volatile int most = 0x7fffffff;
        if (!strcmp(planted, "overflow") && most + (int)left < 0)
            return 3;
    }
    return 0;
}
