/* fit.c: the size of bodies that fits. */
#include "fit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_refusal_halves_what_is_tried(void **state) {
    (void)state;
    oa_fit fit;
    oa_fit_init(&fit, 1000000);
    assert_int_equal(fit.bytes, 1000000);
    oa_fit_refused(&fit, 990000);
    assert_int_equal(fit.bytes, 495000);
    oa_fit_refused(&fit, 100000); /* a small body was refused: the limit is smaller still */
    assert_int_equal(fit.bytes, 50000);
    oa_fit_refused(&fit, 200000); /* one large decision: says nothing of 50000 */
    assert_int_equal(fit.bytes, 50000);
    for (int i = 0; i < 100; i++)
        oa_fit_refused(&fit, fit.bytes);
    assert_int_equal(fit.bytes, OA_FIT_MIN_BYTES);
    oa_fit_refused(&fit, 0);
    assert_int_equal(fit.bytes, OA_FIT_MIN_BYTES);

    oa_fit_init(&fit, 100);
    oa_fit_refused(&fit, 100);
    assert_int_equal(fit.bytes, 100);
}

static void full_bodies_in_a_row_double_it_again(void **state) {
    (void)state;
    oa_fit fit;
    oa_fit_init(&fit, 3000);
    oa_fit_refused(&fit, 2100);
    assert_int_equal(fit.bytes, 1050);
    for (int i = 0; i < OA_FIT_PATIENCE - 1; i++) {
        oa_fit_accepted(&fit, 10, true);
        oa_fit_accepted(&fit, 10, false); /* no news */
    }
    assert_int_equal(fit.bytes, 1050);
    oa_fit_refused(&fit, 2100); /* begins to count again */
    for (int i = 0; i < OA_FIT_PATIENCE - 1; i++)
        oa_fit_accepted(&fit, 10, true);
    assert_int_equal(fit.bytes, 1050);
    oa_fit_accepted(&fit, 10, true);
    assert_int_equal(fit.bytes, 2100);
    for (int i = 0; i < OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, 10, true);
    assert_int_equal(fit.bytes, 3000);
    for (int i = 0; i < 10 * OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, 10, true);
    assert_int_equal(fit.bytes, 3000);

    oa_fit_init(&fit, SIZE_MAX);
    oa_fit_refused(&fit, SIZE_MAX);
    for (int i = 0; i < 2 * OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, 10, true);
    assert_true(fit.bytes == SIZE_MAX);
}

static void a_lost_body_was_too_large_if_none_as_large_passed(void **state) {
    (void)state;
    oa_fit fit;
    oa_fit_init(&fit, 100000);
    oa_fit_accepted(&fit, 20000, false);
    oa_fit_lost(&fit, 20000); /* as large a one passed */
    assert_int_equal(fit.bytes, 100000);
    oa_fit_accepted(&fit, 20000, false);
    oa_fit_lost(&fit, 20000);
    assert_int_equal(fit.bytes, 100000);
    oa_fit_lost(&fit, 20000); /* and the next one as well, with none in between: it is the link */
    assert_int_equal(fit.bytes, 10000);
    oa_fit_lost(&fit, 30000); /* says nothing of 10000 */
    assert_int_equal(fit.bytes, 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_halves_what_is_tried),
        cmocka_unit_test(full_bodies_in_a_row_double_it_again),
        cmocka_unit_test(a_lost_body_was_too_large_if_none_as_large_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
