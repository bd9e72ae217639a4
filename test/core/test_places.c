/* places.c: whose turn it is to use the thread pool. */
#include "../../src/host/node/places.h"

#include "support.h"

enum { POOL = 7 }; /* threads */

static void half_of_the_pool_is_ours_at_most(void **state) {
    (void)state;
    oa_place places[4] = {{false, false}};
    for (int i = 0; i < 3; i++) /* three are half of seven */
        assert_true(oa_place_acquire(&places[i]));
    assert_false(oa_place_acquire(&places[3]));
    assert_false(oa_place_acquire(&places[3]));
    oa_place_release(&places[0]);
    oa_place_release(&places[0]); /* twice is once */
    assert_true(oa_place_acquire(&places[3]));
    assert_false(oa_place_acquire(&places[0]));
    for (int i = 0; i < 4; i++)
        oa_place_release(&places[i]);
}

static void what_waits_goes_first(void **state) {
    (void)state;
    oa_place places[5] = {{false, false}};
    for (int i = 0; i < 3; i++)
        assert_true(oa_place_acquire(&places[i]));
    assert_false(oa_place_acquire(&places[3]));
    oa_place_release(&places[0]);
    assert_false(oa_place_acquire(&places[0])); /* had one just now; waits from here on */
    assert_true(oa_place_acquire(&places[3]));
    oa_place_release(&places[1]);
    oa_place_release(&places[0]);              /* waits no longer */
    assert_true(oa_place_acquire(&places[4])); /* nothing waits any more */
    for (int i = 0; i < 5; i++)
        oa_place_release(&places[i]);
}

static void a_large_pool_needs_no_slices(void **state) {
    (void)state;
    assert_true(oa_place_slice_ms() == UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_the_pool_is_ours_at_most),
        cmocka_unit_test(what_waits_goes_first),
        cmocka_unit_test(a_large_pool_needs_no_slices),
    };
    char size[4];
    snprintf(size, sizeof(size), "%d", POOL);
    if (setenv("UV_THREADPOOL_SIZE", size, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
