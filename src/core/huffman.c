#include "huffman.h"

#include <string.h>

/* Symbols that occur, the rarest first. */
typedef struct ranking {
    size_t count;
    uint16_t symbol[OA_HUFFMAN_MAX_SYMBOLS];
    uint32_t weight[OA_HUFFMAN_MAX_SYMBOLS];
} ranking;

/* Put one in front of all that occur more often: a step of a shell sort. */
static void sink_in(ranking *list, size_t at, size_t gap) {
    const uint16_t symbol = list->symbol[at];
    const uint32_t weight = list->weight[at];
    for (; at >= gap && list->weight[at - gap] > weight; at -= gap) {
        list->symbol[at] = list->symbol[at - gap];
        list->weight[at] = list->weight[at - gap];
    }
    list->symbol[at] = symbol;
    list->weight[at] = weight;
}

static void rank(ranking *list, const uint32_t *counts, size_t symbols) {
    list->count = 0;
    for (size_t symbol = 0; symbol < symbols; symbol++) {
        if (counts[symbol] == 0)
            continue;
        list->symbol[list->count] = (uint16_t)symbol;
        list->weight[list->count++] = counts[symbol];
    }
    for (uint16_t symbol = 0; list->count < 2; symbol++) {
        if (counts[symbol] > 0)
            continue;
        list->symbol[list->count] = symbol;
        list->weight[list->count++] = 1;
    }
    static const size_t gaps[] = {57, 23, 10, 4, 1};
    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++)
        for (size_t at = gaps[i]; at < list->count; at++)
            sink_in(list, at, gaps[i]);
}

/*
 * Huffman's tree: join the two lightest nodes until one is left. Leaves are sorted, and joints are
 * made in the order of their weight, so the lightest node is the first leaf or the first joint
 * that has no parent. Writes how many leaves there are at each depth; those that are too deep count
 * as `max_bits`.
 */
static void count_depths(const ranking *list, unsigned max_bits,
                         uint32_t at_depth[OA_HUFFMAN_MAX_BITS + 1]) {
    const size_t leaves = list->count;
    uint32_t joint_weight[OA_HUFFMAN_MAX_SYMBOLS];
    uint16_t joint_parent[OA_HUFFMAN_MAX_SYMBOLS];
    uint16_t leaf_parent[OA_HUFFMAN_MAX_SYMBOLS];
    size_t leaf = 0;
    size_t joint = 0;
    for (size_t made = 0; made < leaves - 1; made++) {
        joint_weight[made] = 0;
        for (int child = 0; child < 2; child++) {
            if (leaf < leaves && (joint == made || list->weight[leaf] <= joint_weight[joint])) {
                joint_weight[made] += list->weight[leaf];
                leaf_parent[leaf++] = (uint16_t)made;
            } else {
                joint_weight[made] += joint_weight[joint];
                joint_parent[joint++] = (uint16_t)made;
            }
        }
    }
    uint16_t depth[OA_HUFFMAN_MAX_SYMBOLS];
    depth[leaves - 2] = 0; /* the root */
    for (size_t i = leaves - 2; i-- > 0;)
        depth[i] = (uint16_t)(depth[joint_parent[i]] + 1);
    memset(at_depth, 0, (OA_HUFFMAN_MAX_BITS + 1) * sizeof(at_depth[0]));
    for (size_t i = 0; i < leaves; i++) {
        const unsigned length = depth[leaf_parent[i]] + 1u;
        at_depth[length < max_bits ? length : max_bits]++;
    }
}

/*
 * Make the code complete again, after leaves that were too deep were lifted to `max_bits`.
 *
 * A code of length n takes 2^(max_bits - n) of 2^max_bits places. Lifting a leaf took more places
 * than there are. Each step takes a code of the greatest length away, and puts it beside one of
 * length n, shorter than that, which both get n + 1: 1 + 2^(max_bits - n) places become
 * 2 * 2^(max_bits - n - 1), one less. So the excess ends at exactly 0. There is such an n as long
 * as there is an excess: codes of the greatest length alone do not exceed, as the symbols are no
 * more than 2^max_bits.
 */
static void limit_depths(unsigned max_bits, uint32_t at_depth[OA_HUFFMAN_MAX_BITS + 1]) {
    uint32_t places = 0;
    for (unsigned length = 1; length <= max_bits; length++)
        places += at_depth[length] << (max_bits - length);
    for (; places > UINT32_C(1) << max_bits; places--) {
        unsigned length = max_bits - 1;
        while (at_depth[length] == 0)
            length--;
        at_depth[max_bits]--;
        at_depth[length]--;
        at_depth[length + 1] += 2;
    }
}

void oa_huffman_lengths(const uint32_t *counts, size_t symbols, unsigned max_bits,
                        uint8_t *lengths) {
    ranking list;
    uint32_t at_depth[OA_HUFFMAN_MAX_BITS + 1];
    rank(&list, counts, symbols);
    count_depths(&list, max_bits, at_depth);
    limit_depths(max_bits, at_depth);
    memset(lengths, 0, symbols);
    size_t next = 0;
    for (unsigned length = max_bits; length > 0; length--)
        for (uint32_t i = 0; i < at_depth[length]; i++)
            lengths[list.symbol[next++]] = (uint8_t)length;
}

static uint16_t reverse(uint32_t code, unsigned length) {
    uint32_t reversed = 0;
    for (; length > 0; length--, code >>= 1)
        reversed = reversed << 1 | (code & 1);
    return (uint16_t)reversed;
}

void oa_huffman_codes(const uint8_t *lengths, size_t symbols, uint16_t *codes) {
    uint32_t of_length[OA_HUFFMAN_MAX_BITS + 1] = {0};
    for (size_t symbol = 0; symbol < symbols; symbol++)
        of_length[lengths[symbol]]++;
    of_length[0] = 0;
    uint32_t next[OA_HUFFMAN_MAX_BITS + 1] = {0};
    for (unsigned length = 1; length <= OA_HUFFMAN_MAX_BITS; length++)
        next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    for (size_t symbol = 0; symbol < symbols; symbol++)
        codes[symbol] =
            lengths[symbol] == 0 ? 0 : reverse(next[lengths[symbol]]++, lengths[symbol]);
}
