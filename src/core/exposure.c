/*
 * exposure.c: extendible hashing over small open-addressing tables. [externally synchronised]
 *
 * The cost of a look-up is waiting for memory, so everything is arranged by cache lines.
 *
 *   print of (identity, flag)     1 0 1 1 ... | 0x5c3f0a17
 *                                 high half     low half
 *                                    |             |
 *   directory, 2^depth entries       |             |        depth 2: the first two bits choose
 *   +----+----+----+----+            |             |
 *   | 00 | 01 | 10 | 11 |  <---------+             |
 *   +----+----+----+----+                          |
 *     |    |    |    |                             |
 *     v    v    +----+-- one segment, of depth 1: all its prints begin with 1. It splits in two
 *   depth  depth     |   when it is full, one for 10 and one for 11; a full segment of depth 2
 *     2      2       v   doubles the directory first.
 *              +--------+--------+--------+--------+-----
 *              | slot 0 | slot 1 | slot 2 | slot 3 |  ...   four slots to a cache line
 *              +--------+--------+--------+--------+-----
 *                            ^  home = low half * slot_count / 2^32; from there on, slot by slot,
 *                               until the print is found or a slot is empty: its print is 0
 *
 *   slot: | print 64 | value 26 | window 12 | turn 16 | tick 7 | queued, referenced, unsent 1 |
 *
 * A full segment first loses its entries of past windows, then grows (only the very first
 * segment, which starts small), or splits. Each of these writes the survivors of one segment into
 * new ones, so no call moves more than two thousand slots.
 *
 * The size of a segment is chosen so that `max_entries` spread over 2^max_depth of them fill five
 * eighths of the slots. Segments of that depth split no more; there, and at `max_entries`, an
 * insert evicts one entry of its own segment, by the clock algorithm: a hand visits the slots,
 * takes the first that was not referenced since its last visit, and fetches the slot that is next.
 *
 * Invariants: every segment has an empty slot, so that probing ends. All segments have `slot_count`
 * slots, since only a lone one is smaller than `full_slot_count`.
 */
#include "exposure.h"

#include <string.h>

#include "mem.h"

enum {
    FIRST_SLOT_COUNT = 64,
    MAX_SLOT_COUNT = 2048, /* a full segment has at least half of it, but in a small table */
    MAX_DEPTH = 32,        /* bits of a fingerprint that the directory may use */
};

/*
 * What an entry keeps of its value, window and turn, and of the moment at which its property was
 * last set, so that four of them share a cache line.
 */
enum { VALUE_BITS = 26, WINDOW_BITS = 12, TURN_BITS = 16, TICK_BITS = 7 };

static const uint32_t VALUE_MASK = (1U << VALUE_BITS) - 1;
static const uint32_t WINDOW_MASK = (1U << WINDOW_BITS) - 1;
static const uint32_t TICK_MASK = (1U << TICK_BITS) - 1;
/* What changes even more often in one window stays at this turn; each change is still sent. In a
 * day Amplitude takes 43,200 changes of a user. */
static const uint32_t MAX_TURN = (1U << TURN_BITS) - 1;

/* Ticks until a property is set again: from three quarters of refresh_ms on, and not after it. */
enum { REFRESH_TICKS = 4 };

typedef struct slot {
    uint64_t print; /* the fingerprint of an (identity, flag); 0: empty */
    uint64_t value : VALUE_BITS;
    uint64_t window : WINDOW_BITS;
    uint64_t turn : TURN_BITS;
    uint64_t tick : TICK_BITS;
    uint64_t queued : 1; /* see oa_exposure_share() */
    uint64_t referenced : 1;
    uint64_t unsent : 1;
} slot;

_Static_assert(sizeof(slot) == 16, "four slots to a cache line");

/* Time in equal parts, counted since the epoch; each identity has them at an offset of its own. */
typedef struct parts {
    uint64_t length_ms; /* 0: they are not counted */
    int64_t start_ms;   /* of the part of an identity with offset 0 */
    uint32_t number;    /* of that part */
} parts;

typedef struct segment {
    uint32_t used;
    uint32_t hand;   /* of the clock: the next slot to consider for eviction */
    uint32_t period; /* in which it was last rid of past windows */
    uint32_t depth;  /* leading bits of a fingerprint that all its entries have in common */
    slot slots[];
} segment;

struct oa_exposure {
    parts windows;
    parts ticks;
    uint32_t refresh_ticks;
    bool is_shared;
    uint32_t slot_count;
    uint32_t full_slot_count;
    uint32_t stride; /* of the hand of the clock */
    uint32_t depth;  /* the directory has 2^depth entries */
    uint32_t max_depth;
    size_t max_entries;
    size_t segment_count;
    oa_exposure_stats stats;
    segment **directory;
};

/* Return the fingerprint of an (identity, flag). */
static uint64_t print_of(oa_hash identity, uint64_t flag) {
    /* The finalizer of MurmurHash3, with the rest of the identity added half-way. */
    uint64_t x = identity.low ^ flag;
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x += identity.high;
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x + (x == 0); /* 0 is an empty slot */
}

/* Move on to the part of `time_ms`. A division, but only once a part. */
static void set_part(parts *of, int64_t time_ms) {
    const uint64_t length_ms = of->length_ms;
    uint64_t number;
    uint64_t since_start;
    if (time_ms >= 0) {
        number = (uint64_t)time_ms / length_ms;
        since_start = (uint64_t)time_ms % length_ms;
    } else { /* rounded down, not towards 0 */
        const uint64_t before = (uint64_t) - (time_ms + 1);
        number = ~(before / length_ms);
        since_start = length_ms - 1 - before % length_ms;
    }
    of->number = (uint32_t)number;
    of->start_ms = (int64_t)((uint64_t)time_ms - since_start);
}

static inline void move_on(parts *of, int64_t time_ms) {
    if ((uint64_t)time_ms - (uint64_t)of->start_ms >= of->length_ms)
        set_part(of, time_ms);
}

static inline uint64_t offset_ms(const parts *of, oa_hash identity) {
    const uint64_t bits = identity.high >> 32;
    return bits * (of->length_ms >> 32) + (bits * (of->length_ms & UINT32_MAX) >> 32);
}

/*
 * Return the number of an identity's part: floor((time_ms + offset) / length_ms), modulo 2^32, with
 * an offset of offset_bits / 2^32 parts. Entries keep the lower bits of its window, so one that is
 * just 2^12 windows old looks current: 11 years for windows of a day, an hour for those of a
 * second.
 */
static inline uint32_t number_at(parts *of, oa_hash identity, int64_t time_ms) {
    move_on(of, time_ms);
    const uint64_t since_start = (uint64_t)time_ms - (uint64_t)of->start_ms;
    return of->number + (since_start >= of->length_ms - offset_ms(of, identity));
}

static segment **route(const oa_exposure *exposure, uint64_t print) {
    return &exposure->directory[((print >> 32) << exposure->depth) >> 32];
}

static uint32_t home(const oa_exposure *exposure, uint64_t print) {
    return (uint32_t)(((print & UINT32_MAX) * exposure->slot_count) >> 32);
}

static uint32_t next(const oa_exposure *exposure, uint32_t at) {
    return at + 1 == exposure->slot_count ? 0 : at + 1;
}

static slot *find(const oa_exposure *exposure, uint64_t print) {
    slot *slots = (*route(exposure, print))->slots;
    for (uint32_t at = home(exposure, print); slots[at].print != 0; at = next(exposure, at)) {
        if (slots[at].print == print)
            return &slots[at];
    }
    return NULL;
}

/* Write an entry into the first empty slot from its home on. */
static void put(const oa_exposure *exposure, segment *to, const slot *entry) {
    uint32_t at = home(exposure, entry->print);
    while (to->slots[at].print != 0)
        at = next(exposure, at);
    to->slots[at] = *entry;
    to->used++;
}

/* Empty a slot, and move what would not be found any more back into the gap. */
static void take_out(const oa_exposure *exposure, segment *from, uint32_t gap) {
    const uint32_t count = exposure->slot_count;
    slot *slots = from->slots;
    uint32_t at = next(exposure, gap);
    for (; slots[at].print != 0; at = next(exposure, at)) {
        const uint32_t start = home(exposure, slots[at].print);
        const uint32_t probed = at >= start ? at - start : at + count - start;
        const uint32_t back = at >= gap ? at - gap : at + count - gap;
        if (probed >= back) {
            slots[gap] = slots[at];
            gap = at;
        }
    }
    memset(&slots[gap], 0, sizeof(slots[gap]));
    from->used--;
}

/* Whether an entry is certainly of a past window. Current ones are at the period or one ahead. */
static bool is_past(const oa_exposure *exposure, const slot *entry) {
    return ((entry->window - exposure->windows.number) & WINDOW_MASK) > 1;
}

/*
 * Return the stride of the hand. It visits every slot, but jumps about: a hand that moved on slot
 * by slot would leave an empty region behind it, and before it a crowded one in which a probe takes
 * hundreds of steps.
 */
static uint32_t stride_of(uint32_t slot_count) {
    for (uint32_t stride = (uint32_t)(slot_count * UINT64_C(618) / 1000) + 1;; stride++) {
        uint32_t a = slot_count;
        uint32_t b = stride;
        while (b != 0) {
            const uint32_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return stride;
    }
}

static size_t segment_bytes(uint32_t slot_count) {
    return sizeof(segment) + slot_count * sizeof(slot);
}

static segment *segment_new(const oa_exposure *exposure, uint32_t slot_count, uint32_t depth) {
    segment *made = oa_mem_calloc(1, segment_bytes(slot_count));
    if (made == NULL)
        return NULL;
    made->period = exposure->windows.number;
    made->depth = depth;
    return made;
}

/*
 * Write the entries of one segment into a new one of `slot_count` slots, or into two when
 * `split` is set, and leave out what is past. Returns false without memory; nothing has changed
 * then.
 */
static bool rebuild(oa_exposure *exposure, uint64_t print, uint32_t slot_count, bool split) {
    segment **at = route(exposure, print);
    segment *old = *at;
    const uint32_t old_slot_count = exposure->slot_count;
    segment *made[2] = {NULL, NULL};
    for (int i = 0; i < (split ? 2 : 1); i++) {
        made[i] = segment_new(exposure, slot_count, old->depth + (split ? 1 : 0));
        if (made[i] == NULL) {
            oa_mem_free(made[0]);
            return false;
        }
    }

    exposure->slot_count = slot_count;
    exposure->stride = stride_of(slot_count);
    for (uint32_t i = 0; i < old_slot_count; i++) {
        const slot *entry = &old->slots[i];
        if (entry->print == 0)
            continue;
        if (is_past(exposure, entry))
            exposure->stats.entries--;
        else
            put(exposure, made[split && (entry->print << old->depth) >> 63], entry);
    }

    /* The entries of the directory that lead to a segment are neighbours. */
    const size_t span = (size_t)1 << (exposure->depth - old->depth);
    segment **first = exposure->directory + ((size_t)(at - exposure->directory) & ~(span - 1));
    for (size_t i = 0; i < span; i++)
        first[i] = made[split && i >= span / 2];
    exposure->segment_count += split;
    oa_mem_free(old);
    return true;
}

static bool double_directory(oa_exposure *exposure) {
    const size_t count = (size_t)1 << exposure->depth;
    segment **grown = oa_mem_realloc(exposure->directory, 2 * count * sizeof(segment *));
    if (grown == NULL)
        return false;
    for (size_t i = count; i-- > 0;)
        grown[2 * i] = grown[2 * i + 1] = grown[i];
    exposure->directory = grown;
    exposure->depth++;
    return true;
}

static void evict_one(oa_exposure *exposure, segment *from) {
    for (;;) {
        const uint32_t at = from->hand;
        slot *entry = &from->slots[at];
        from->hand = (at + exposure->stride) % exposure->slot_count;
        __builtin_prefetch(&from->slots[from->hand], 1); /* for now, or for the next time */
        if (entry->referenced) {
            entry->referenced = 0;
        } else if (entry->print != 0) {
            take_out(exposure, from, at);
            exposure->stats.entries--;
            exposure->stats.evicted++;
            return;
        }
    }
}

/* Five eighths, but three quarters where the only way on is to evict. */
static uint32_t limit_of(const oa_exposure *exposure, const segment *of) {
    const uint32_t count = exposure->slot_count;
    const bool final = count == exposure->full_slot_count && of->depth == exposure->max_depth;
    return count - (final ? count / 4 : count * 3 / 8);
}

static bool is_full(const oa_exposure *exposure, const segment *of) {
    return of->used >= limit_of(exposure, of) || exposure->stats.entries >= exposure->max_entries;
}

static bool extend(oa_exposure *exposure, uint64_t print) {
    const segment *full = *route(exposure, print);
    if (exposure->stats.entries >= exposure->max_entries)
        return false;
    if (exposure->slot_count < exposure->full_slot_count) {
        const bool last = exposure->slot_count > exposure->full_slot_count / 2;
        return rebuild(exposure, print, last ? exposure->full_slot_count : exposure->slot_count * 2,
                       false);
    }
    if (full->depth == exposure->max_depth)
        return false;
    if (full->depth == exposure->depth && !double_directory(exposure))
        return false;
    return rebuild(exposure, print, exposure->slot_count, true);
}

/* Return the segment of a fingerprint, with room for one more; NULL when that is impossible. */
static segment *make_room(oa_exposure *exposure, uint64_t print) {
    segment *found = *route(exposure, print);
    if (is_full(exposure, found) && found->period != exposure->windows.number)
        (void)rebuild(exposure, print, exposure->slot_count, false);
    if (is_full(exposure, *route(exposure, print)))
        (void)extend(exposure, print);
    found = *route(exposure, print);
    if (is_full(exposure, found)) {
        if (found->used == 0) /* all that is allowed is in other segments */
            return NULL;
        evict_one(exposure, found);
    }
    return found;
}

oa_status oa_exposure_new(uint64_t window_ms, uint64_t refresh_ms, size_t max_entries,
                          oa_exposure **out) {
    oa_exposure *exposure = oa_mem_calloc(1, sizeof(*exposure));
    if (exposure == NULL)
        return OA_NOMEM;
    exposure->windows.length_ms = window_ms;
    if (refresh_ms < window_ms) {
        const bool is_tiny = refresh_ms < REFRESH_TICKS;
        exposure->ticks.length_ms = is_tiny ? 1 : refresh_ms / REFRESH_TICKS;
        exposure->refresh_ticks = is_tiny ? (uint32_t)refresh_ms : REFRESH_TICKS;
    }
    exposure->max_entries = max_entries < SIZE_MAX / 2 ? max_entries : SIZE_MAX / 2;

    /* Eight fifths of max_entries, and three for a small one, spread over as few segments as hold
     * them. */
    size_t slot_count = exposure->max_entries + (exposure->max_entries - 1) / 5 * 3 + 3;
    for (; slot_count > MAX_SLOT_COUNT && exposure->max_depth < MAX_DEPTH; exposure->max_depth++)
        slot_count = slot_count / 2 + slot_count % 2;
    if (slot_count > MAX_SLOT_COUNT)
        slot_count = MAX_SLOT_COUNT;
    exposure->full_slot_count = (uint32_t)slot_count;
    exposure->slot_count = slot_count < FIRST_SLOT_COUNT ? (uint32_t)slot_count : FIRST_SLOT_COUNT;

    exposure->stride = stride_of(exposure->slot_count);
    exposure->segment_count = 1;
    exposure->directory = oa_mem_calloc(1, sizeof(segment *));
    if (exposure->directory != NULL)
        exposure->directory[0] = segment_new(exposure, exposure->slot_count, 0);
    if (exposure->directory == NULL || exposure->directory[0] == NULL) {
        oa_mem_free(exposure->directory);
        oa_mem_free(exposure);
        return OA_NOMEM;
    }
    *out = exposure;
    return OA_OK;
}

void oa_exposure_share(oa_exposure *exposure) { exposure->is_shared = true; }

void oa_exposure_free(oa_exposure *exposure) {
    if (exposure == NULL)
        return;
    const size_t count = (size_t)1 << exposure->depth;
    for (size_t i = 0, span; i < count; i += span) {
        span = (size_t)1 << (exposure->depth - exposure->directory[i]->depth);
        oa_mem_free(exposure->directory[i]);
    }
    oa_mem_free(exposure->directory);
    oa_mem_free(exposure);
}

static void add(oa_exposure *exposure, const slot *entry) {
    segment *to = make_room(exposure, entry->print);
    if (to == NULL)
        return;
    put(exposure, to, entry);
    exposure->stats.entries++;
}

void oa_exposure_prefetch(const oa_exposure *exposure, oa_hash identity, uint64_t flag) {
    const uint64_t print = print_of(identity, flag);
    __builtin_prefetch(&(*route(exposure, print))->slots[home(exposure, print)], 1);
}

static uint32_t tick_at(oa_exposure *exposure, oa_hash identity, int64_t time_ms) {
    parts *ticks = &exposure->ticks;
    return ticks->length_ms > 0 ? number_at(ticks, identity, time_ms) : 0;
}

/* Whether the property of a repeat was set too long ago. */
static inline bool is_stale(oa_exposure *exposure, const slot *entry, oa_hash identity,
                            int64_t time_ms) {
    if (exposure->ticks.length_ms == 0)
        return false;
    move_on(&exposure->ticks, time_ms);
    /* The identity may be a tick ahead; most are not stale then either, and cost no more. */
    const uint32_t ahead = exposure->ticks.number + 1;
    if (((ahead - entry->tick) & TICK_MASK) < exposure->refresh_ticks)
        return false;
    const uint32_t tick = tick_at(exposure, identity, time_ms);
    return ((tick - entry->tick) & TICK_MASK) >= exposure->refresh_ticks;
}

static oa_status note_repeat(oa_exposure *exposure, slot *entry, oa_hash identity, int64_t time_ms,
                             oa_sighting *out) {
    const bool is_due = is_stale(exposure, entry, identity, time_ms);
    if (!entry->referenced) /* do not dirty the cache line for nothing */
        entry->referenced = 1;
    if (!is_due && (!exposure->is_shared || entry->queued))
        return OA_REPEAT;
    if (is_due)
        entry->tick = tick_at(exposure, identity, time_ms) & TICK_MASK;
    entry->queued = exposure->is_shared;
    const uint32_t window = number_at(&exposure->windows, identity, time_ms);
    *out = (oa_sighting){{window, entry->turn}, true, is_due};
    return OA_OK;
}

oa_status oa_exposure_note(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                           int64_t time_ms, oa_sighting *out) {
    const uint32_t window = number_at(&exposure->windows, identity, time_ms);
    slot noted = {
        .print = print_of(identity, flag),
        .value = value & VALUE_MASK,
        .window = window & WINDOW_MASK,
        .queued = exposure->is_shared,
    };
    slot *entry = find(exposure, noted.print);
    if (entry == NULL) {
        noted.tick = tick_at(exposure, identity, time_ms) & TICK_MASK;
        add(exposure, &noted);
    } else {
        /* Another window, even an earlier one, starts from turn 0. */
        if (entry->window == noted.window) {
            const bool changes = entry->value != noted.value;
            if (!changes && !entry->unsent)
                return note_repeat(exposure, entry, identity, time_ms, out);
            noted.turn = entry->turn;
            if (changes && noted.turn < MAX_TURN)
                noted.turn++;
        }
        noted.tick = tick_at(exposure, identity, time_ms) & TICK_MASK;
        noted.referenced = 1;
        *entry = noted;
    }
    *out = (oa_sighting){.occurrence = {window, noted.turn}};
    return OA_OK;
}

/* Lend the entry of an exposure, if it is still the last one of its (identity, flag). */
static slot *last(const oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                  oa_occurrence occurrence) {
    slot *entry = find(exposure, print_of(identity, flag));
    const bool is_last = entry != NULL && entry->value == (value & VALUE_MASK) &&
                         entry->window == (occurrence.window & WINDOW_MASK) &&
                         entry->turn == occurrence.turn;
    return is_last ? entry : NULL;
}

void oa_exposure_forget(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                        const oa_sighting *sighting) {
    slot *entry = last(exposure, identity, flag, value, sighting->occurrence);
    if (entry == NULL)
        return;
    entry->queued = 0;
    if (sighting->is_stale)
        entry->tick = (entry->tick - exposure->refresh_ticks) & TICK_MASK;
    if (!sighting->is_repeat)
        entry->unsent = 1;
}

void oa_exposure_unqueue(oa_exposure *exposure, oa_hash identity, uint64_t flag) {
    slot *entry = exposure->is_shared ? find(exposure, print_of(identity, flag)) : NULL;
    if (entry != NULL)
        entry->queued = 0;
}

void oa_exposure_set_turn(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                          oa_occurrence occurrence, uint32_t turn) {
    slot *entry = last(exposure, identity, flag, value, occurrence);
    if (entry != NULL)
        entry->turn = (turn < MAX_TURN ? turn : MAX_TURN) & MAX_TURN;
}

int64_t oa_exposure_window_end(uint64_t window_ms, oa_hash identity, uint32_t window) {
    const parts windows = {.length_ms = window_ms};
    const uint64_t ends = (uint64_t)window + 1;
    if (ends > (uint64_t)INT64_MAX / window_ms)
        return INT64_MAX;
    return (int64_t)(ends * window_ms - offset_ms(&windows, identity));
}

void oa_exposure_stats_read(const oa_exposure *exposure, oa_exposure_stats *out) {
    *out = exposure->stats;
    out->bytes = sizeof(*exposure) + (sizeof(segment *) << exposure->depth) +
                 exposure->segment_count * segment_bytes(exposure->slot_count);
}
