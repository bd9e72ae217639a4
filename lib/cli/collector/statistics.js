'use strict';

/**
 * Statistics of experiments. Pure; nothing here knows of events. Numbers are compared with SciPy's in
 * test/js/statistics.test.js, and their errors are counted in simulations there.
 */

const Z95 = 1.959963984540054; // the 97.5 % quantile of the normal distribution
const ALPHA = 0.05; // of the intervals, which are those of 95 %
const MAX_ROUNDS = 5000;
const PRECISION = 1e-15;
const TINY = 1e-300;

/** The logarithm of the gamma function (Lanczos, g = 7, 9 terms). */
function logGamma(x) {
  const terms = [
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) {
    return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  }
  const sum = terms.reduce((total, term, i) => total + term / (x + i), 0.99999999999980993);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The regularized upper incomplete gamma function Q(a, x): by a series, or far out by a continued fraction (Lentz). */
function upperGamma(a, x) {
  if (x <= 0) {
    return 1;
  }
  const scale = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let [term, sum] = [1 / a, 1 / a];
    for (let n = 1; n < MAX_ROUNDS && Math.abs(term) > PRECISION * Math.abs(sum); n++) {
      term *= x / (a + n);
      sum += term;
    }
    return 1 - sum * scale;
  }
  let b = x + 1 - a;
  let c = 1 / TINY;
  let d = 1 / b;
  let h = d;
  for (let i = 1; i < MAX_ROUNDS; i++) {
    const an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b || TINY);
    c = b + an / c || TINY;
    h *= d * c;
    if (Math.abs(d * c - 1) < PRECISION) {
      break;
    }
  }
  return h * scale;
}

/** The regularized incomplete beta function I_x(a, b), by its continued fraction (Lentz). */
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) {
    return x <= 0 ? 0 : 1;
  }
  if (x > (a + 1) / (a + b + 2)) {
    return 1 - incompleteBeta(1 - x, b, a);
  }
  const scale = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x),
  );
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || TINY);
  let h = d;
  for (let m = 1; m < MAX_ROUNDS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (1 + even * d || TINY);
    c = 1 + even / c || TINY;
    h *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + odd * d || TINY);
    c = 1 + odd / c || TINY;
    h *= d * c;
    if (Math.abs(d * c - 1) < PRECISION) {
      break;
    }
  }
  return (scale * h) / a;
}

/** The probability that chi-squared is `value` or more. */
const chiSquaredTail = (value, freedom) => upperGamma(freedom / 2, value / 2);

/** The probability that a standard normal variable is this far from 0, or farther. */
const normalTails = (z) => upperGamma(0.5, (z * z) / 2);

/** The same of Student's t. */
const studentTails = (t, freedom) => incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);

/** The value whose two tails have the probability `alpha`; `tails` falls from 1 at 0. */
function quantileOf(tails, alpha) {
  let [low, high] = [0, 1e6];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    [low, high] = tails(middle) > alpha ? [middle, high] : [low, middle];
  }
  return (low + high) / 2;
}

const studentQuantile = (freedom, alpha) => quantileOf((t) => studentTails(t, freedom), alpha);

/**
 * Whether counts are in proportion to weights: Pearson's chi-squared test of goodness of fit. { statistic, pValue }, or
 * null where it cannot be told.
 */
function goodnessOfFit(counts, weights) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  if (counts.length < 2 || total === 0 || !(all > 0)) {
    return null;
  }
  let statistic = 0;
  for (let i = 0; i < counts.length; i++) {
    const expected = (total * weights[i]) / all;
    // Whoever is where nobody should be: no chance explains that.
    statistic +=
      expected === 0 ? (counts[i] === 0 ? 0 : Infinity) : (counts[i] - expected) ** 2 / expected;
  }
  return {
    statistic,
    pValue: statistic === Infinity ? 0 : chiSquaredTail(statistic, counts.length - 1),
  };
}

/** A rate and its 95 % interval: Wilson's score interval. */
function rateOf(successes, users) {
  if (users === 0) {
    return null;
  }
  const z2 = Z95 * Z95;
  const rate = successes / users;
  const middle = (rate + z2 / (2 * users)) / (1 + z2 / users);
  const half =
    (Z95 / (1 + z2 / users)) * Math.sqrt((rate * (1 - rate)) / users + z2 / (4 * users * users));
  // At the ends the interval ends there, too, and rounding must not say otherwise.
  const low = successes === 0 ? 0 : Math.max(0, middle - half);
  const high = successes === users ? 1 : Math.min(1, middle + half);
  return { value: rate, low, high };
}

/**
 * The always valid p-value of a difference with this variance: the mixture sequential probability ratio test with a
 * normal mixture (Johari, Koomen, Pekelis and Walsh, Always Valid Inference, Operations Research 70, 2022). However
 * often one looks, and whenever one stops, it is at most alpha with a probability of alpha if there is no difference.
 * `tau2` is the variance of the mixture: differences of about its root are found soonest.
 */
function alwaysValid(difference, variance, tau2) {
  if (!(variance > 0)) {
    return 1;
  }
  const sum = variance + tau2;
  const logRatio =
    0.5 * Math.log(variance / sum) + (tau2 * difference * difference) / (2 * variance * sum);
  return Math.min(1, Math.exp(-logRatio));
}

/** The mixture is made for relative differences of about this size. */
const EXPECTED_LIFT = 0.2;

/**
 * Compare the rate of a variation with that of the control; each is { successes, users }. The p-value is of the z-test
 * of two proportions with pooled variance; the lift is the ratio of both rates minus 1, its interval that of Katz et
 * al. (Biometrics 34, 1978), on the logarithm. With several `comparisons` all intervals together hold with 95 %
 * (Bonferroni). { lift: { value, low, high } or null, pValue, pAtAnyLook }, or null without users.
 */
function compareRates(variation, control, comparisons = 1) {
  const [x1, n1, x0, n0] = [variation.successes, variation.users, control.successes, control.users];
  if (n1 === 0 || n0 === 0) {
    return null;
  }
  const pooled = (x1 + x0) / (n1 + n0);
  const variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0);
  const difference = x1 / n1 - x0 / n0;
  const tau = EXPECTED_LIFT * pooled;
  return {
    lift:
      x1 === 0 || x0 === 0
        ? null
        : ratio(x1 / n1 / (x0 / n0), 1 / x1 - 1 / n1 + 1 / x0 - 1 / n0, comparisons),
    pValue: variance === 0 ? 1 : normalTails(difference / Math.sqrt(variance)),
    pAtAnyLook: alwaysValid(difference, variance, tau * tau),
  };
}

/** A ratio minus 1 and its interval, from the variance of its logarithm. */
function ratio(value, logVariance, comparisons) {
  const half = quantileOf(normalTails, ALPHA / comparisons) * Math.sqrt(Math.max(0, logVariance));
  return {
    value: value - 1,
    low: value * Math.exp(-half) - 1,
    high: value * Math.exp(half) - 1,
  };
}

/** The mean and the 95 % interval of values that are given by their number, sum and sum of squares. */
function meanOf({ users, sum, squares }) {
  if (users < 2) {
    return null;
  }
  const value = sum / users;
  const variance = Math.max(0, (squares - users * value * value) / (users - 1));
  const half = studentQuantile(users - 1, ALPHA) * Math.sqrt(variance / users);
  return { value, low: value - half, high: value + half, variance };
}

/**
 * Compare means: Welch's t-test, and the lift of the means with the interval of the delta method on the logarithm. Each
 * side is { users, sum, squares }. As compareRates() returns it, with the `difference` and Welch's interval of it: means
 * that are not above 0, as of refunds, have no lift.
 */
function compareMeans(variation, control, comparisons = 1) {
  const [one, other] = [meanOf(variation), meanOf(control)];
  if (one === null || other === null) {
    return null;
  }
  const [v1, v0] = [one.variance / variation.users, other.variance / control.users];
  const difference = one.value - other.value;
  const variance = v1 + v0;
  if (variance === 0) {
    const exact = { value: difference, low: difference, high: difference };
    return { lift: null, difference: exact, pValue: difference === 0 ? 1 : 0, pAtAnyLook: 1 };
  }
  const freedom = variance ** 2 / (v1 ** 2 / (variation.users - 1) + v0 ** 2 / (control.users - 1));
  const half = studentQuantile(freedom, ALPHA / comparisons) * Math.sqrt(variance);
  const tau = (EXPECTED_LIFT * (variation.sum + control.sum)) / (variation.users + control.users);
  return {
    lift:
      one.value > 0 && other.value > 0
        ? ratio(one.value / other.value, v1 / one.value ** 2 + v0 / other.value ** 2, comparisons)
        : null,
    difference: { value: difference, low: difference - half, high: difference + half },
    pValue: studentTails(difference / Math.sqrt(variance), freedom),
    pAtAnyLook: alwaysValid(difference, variance, tau * tau),
  };
}

module.exports = {
  chiSquaredTail,
  compareMeans,
  compareRates,
  goodnessOfFit,
  meanOf,
  normalTails,
  rateOf,
  studentTails,
};
