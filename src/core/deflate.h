/*
 * deflate.h: a text -> gzip (RFC 1951, 1952), without a search for what repeats.  [one owner]
 *
 * A compressor spends its time on the search for earlier copies of what comes next. A renderer
 * knows where they are, and says so. One decision after another is six copies, and what is new:
 *
 *     ,{"event_type":"$identify","user_id":"user-  4711382  ","time":176415    0000042
 *     \_____ as in the decision before _________/  \_new_/   \_ as in it _/    \_new_/
 *
 *     ,"insert_id":"   9f3a...   ","library":...,"$set":{...}}},{"event_type":"Experiment Viewed"
 *     \_ as in it _/   \_new_/   \____________________ as in it ______________________________/
 *
 *     ,"user_id":"user-4711382","time":1764150000042,"insert_id":"  77d0...  ","library":...}},
 *     \__________ as in the $identify of this decision ___________/ \_new_/  \_ as in it ______/
 *
 * The copies are taken on trust, not compared. Should one be wrong, the text does not have its
 * checksum where it is read: it is refused, and never misread.
 */
#ifndef OA_DEFLATE_H
#define OA_DEFLATE_H

#include "copies.h"
#include "oa.h"

typedef struct oa_deflate oa_deflate;

/* Return a compressor owned, of about 70 KB, or NULL without memory. */
oa_deflate *oa_deflate_new(void);

/* Take the compressor. NULL is fine. */
void oa_deflate_free(oa_deflate *deflate);

/*
 * Compress a text in which there are these copies, and lend the result until the next call; absent
 * without memory, or if the text is longer than OA_COPIES_MAX_TEXT. Borrows `text` and `copies`.
 * Cost: 3 us, 0.1 ns for a byte that is copied, 0.8 ns for a digit, and 1.5 ns for another byte.
 */
oa_str oa_deflate_gzip(oa_deflate *deflate, oa_str text, const oa_copies *copies);

/* Give back the memory of an unusually large text; what was lent is gone. */
void oa_deflate_trim(oa_deflate *deflate);

#endif
