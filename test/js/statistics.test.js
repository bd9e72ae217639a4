'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const statistics = require('../../lib/cli/collector/statistics.js');
const { compare } = require('../../lib/cli/collector/comparison.js');
const { seededRandom } = require('../support/util/random.js');

/*
 * The expected numbers are those of SciPy 1.17.1 and statsmodels 0.15.0: python -m venv v && v/bin/pip install scipy statsmodels, then the
 * expression that is beside each list, after
 *   from scipy import stats; from statsmodels.stats.proportion import *
 */
function isClose(actual, expected, tolerance = 1e-9) {
  assert.ok(
    Math.abs(actual - expected) <= tolerance * Math.max(Math.abs(expected), 1e-300),
    `${actual} is not ${expected}`,
  );
}

describe('the statistics', () => {
  it('have the tails of chi-squared', () => {
    // [stats.chi2.sf(x, k) for x, k in [(0.5, 1), (3.84, 1), (20, 1), (9.2, 7), (60, 3)]]
    const expected = [
      [0.5, 1, 0.47950012218695337],
      [3.84, 1, 0.05004352124870519],
      [20, 1, 7.744216431044088e-6],
      [9.2, 7, 0.23861410151285972],
      [60, 3, 5.878230727906921e-13],
    ];
    expected.forEach(([x, k, p]) => isClose(statistics.chiSquaredTail(x, k), p));
  });

  it('have the tails of the normal and of the t distribution', () => {
    // [2 * stats.norm.sf(z) for z in [0.1, 1.0, 1.959963984540054, 3.5, 6]]
    const normal = [
      [0.1, 0.920344325445942],
      [1, 0.31731050786291415],
      [-1.959963984540054, 0.05],
      [3.5, 0.00046525815807105003],
      [6, 1.973175290075389e-9],
    ];
    normal.forEach(([z, p]) => isClose(statistics.normalTails(z), p));
    // [2 * stats.t.sf(t, d) for t, d in [(0.5, 3), (2.0, 10.7), (2.5, 99), (1.97, 198.3), (4.1, 250000)]]
    const student = [
      [0.5, 3, 0.651447964848151],
      [-2, 10.7, 0.07152791520081206],
      [2.5, 99, 0.014062596921149069],
      [1.97, 198.3, 0.05023046031982249],
      [4.1, 250000, 4.132805126258341e-5],
    ];
    student.forEach(([t, freedom, p]) => isClose(statistics.studentTails(t, freedom), p, 1e-7));
  });

  it('test a split', () => {
    // stats.chisquare([5120, 4880])
    const even = statistics.goodnessOfFit([5120, 4880], [1, 1]);
    isClose(even.statistic, 5.76);
    isClose(even.pValue, 0.01639507184919225);
    // stats.chisquare([4000, 4400, 1900], [4120, 4120, 2060])
    isClose(
      statistics.goodnessOfFit([4000, 4400, 1900], [40, 40, 20]).pValue,
      2.5726914008280123e-8,
    );
    assert.equal(statistics.goodnessOfFit([1, 1], [1, 0]).pValue, 0);
    assert.equal(statistics.goodnessOfFit([0, 0], [1, 1]), null);
  });

  it('have intervals of rates and means', () => {
    // [proportion_confint(x, n, method='wilson') for x, n in [(340, 1000), (0, 50), (50, 50), (3, 7)]]
    const rates = [
      [340, 1000, 0.31130188230514194, 0.36992268041023574],
      [0, 50, 0, 0.07134759913335874],
      [50, 50, 0.9286524008666412, 1],
      [3, 7, 0.15821985525146964, 0.7495416354723428],
    ];
    for (const [successes, users, low, high] of rates) {
      const rate = statistics.rateOf(successes, users);
      isClose(rate.low, low);
      isClose(rate.high, high);
    }
    // a = [0, 0, 10, 25.5, 0, 40, 12, 0, 0, 7.25]; stats.t.interval(0.95, 9, loc=np.mean(a), scale=stats.sem(a))
    const mean = statistics.meanOf(sums([0, 0, 10, 25.5, 0, 40, 12, 0, 0, 7.25]));
    isClose(mean.low, -0.20820785596838753, 1e-8);
    isClose(mean.high, 19.158207855968385, 1e-8);
  });

  it('compare rates', () => {
    // proportions_ztest([x1, x0], [n1, n0]); confint_proportions_2indep(x1, n1, x0, n0, compare='ratio', method='log')
    const expected = [
      [306, 1000, 231, 980, 0.00043618728014787505, 1.1214265273592434, 1.5027966540316924],
      [52, 400, 50, 400, 0.8321027190593593, 0.7236820189142563, 1.4945790716518421],
    ];
    for (const [x1, n1, x0, n0, p, low, high] of expected) {
      const { lift, pValue } = statistics.compareRates(
        { successes: x1, users: n1 },
        { successes: x0, users: n0 },
      );
      isClose(pValue, p);
      isClose(lift.value + 1, x1 / n1 / (x0 / n0));
      isClose(lift.low + 1, low);
      isClose(lift.high + 1, high);
    }
    const none = { successes: 0, users: 10 };
    assert.deepEqual(statistics.compareRates(none, none), { lift: null, pValue: 1, pAtAnyLook: 1 });
    assert.equal(statistics.compareRates(none, { successes: 0, users: 0 }), null);
  });

  it('compare means', () => {
    // b = [0, 5, 0, 0, 12, 9, 0, 0, 3, 0, 0, 1]; stats.ttest_ind(a, b, equal_var=False)
    const { pValue, lift } = statistics.compareMeans(
      sums([0, 0, 10, 25.5, 0, 40, 12, 0, 0, 7.25]),
      sums([0, 5, 0, 0, 12, 9, 0, 0, 3, 0, 0, 1]),
    );
    isClose(pValue, 0.14625331902625305, 1e-8);
    isClose(lift.value, 9.475 / 2.5 - 1);
    assert.equal(statistics.compareMeans(sums([1]), sums([1, 2])), null);
  });

  it('have a difference where there is no lift', () => {
    // f = lambda n, s, q: (s / n, math.sqrt((q - s * s / n) / (n - 1)), n)
    // stats.ttest_ind_from_stats(*f(100, -500, 9000), *f(110, -900, 12000), equal_var=False)
    // the interval: difference -/+ stats.t.ppf(0.975, 190.07157827683776) * 1.021396852921586
    const { pValue, lift, difference } = statistics.compareMeans(
      { users: 100, sum: -500, squares: 9000 },
      { users: 110, sum: -900, squares: 12000 },
    );
    isClose(pValue, 0.0021231793492288414, 1e-8);
    assert.equal(lift, null);
    isClose(difference.value, 3.1818181818181817);
    isClose(difference.low, 1.1670889675118996);
    isClose(difference.high, 5.196547396124464);
  });

  it('have wider intervals with several comparisons', () => {
    // relative_risk(330, 1000, 250, 1000).confidence_interval(1 - 0.05 / 3)
    const { lift } = statistics.compareRates(
      { successes: 330, users: 1000 },
      { successes: 250, users: 1000 },
      3,
    );
    isClose(lift.low + 1, 1.113869074178516);
    isClose(lift.high + 1, 1.5642772031219456);
  });
});

const sums = (values) => ({
  users: values.length,
  sum: values.reduce((sum, value) => sum + value, 0),
  squares: values.reduce((sum, value) => sum + value * value, 0),
});

describe('the answer, in simulations', () => {
  const EXPERIMENTS = 2000;
  const random = seededRandom(19);
  const chance = (probability) => random(1_000_000) < probability * 1_000_000;

  const rowOf = (variation, users, successes, metric = sums([])) => ({
    variation,
    assigned: users,
    compared: [users, successes],
    metric: { ...metric, active: metric.users },
  });
  const verdictOf = (rows) =>
    compare(rows, { control: 'control', hasMetric: false }).arms.map(
      ({ steps }) => steps[1].comparison?.verdict,
    );

  /** The verdicts at every look of one experiment: after each 200 users. */
  function experiment(rates, looks) {
    const counts = rates.map(() => [0, 0]);
    return Array.from({ length: looks }, () => {
      for (let user = 0; user < 200; user++) {
        const arm = random(rates.length);
        counts[arm][0]++;
        counts[arm][1] += chance(rates[arm]);
      }
      return verdictOf(
        counts.map(([users, done], i) => rowOf(i === 0 ? 'control' : `v${i}`, users, done)),
      );
    });
  }

  it('calls 5 % of equal variations different at most, though it looks 20 times', () => {
    let [different, once] = [0, 0];
    for (let i = 0; i < EXPERIMENTS; i++) {
      const verdicts = experiment([0.3, 0.3], 20).flat();
      different += verdicts.includes('different');
      once += verdicts.includes('once') || verdicts.includes('different');
    }
    assert.ok(different <= 0.05 * EXPERIMENTS, `${different} of ${EXPERIMENTS}`);
    assert.ok(once > 0.1 * EXPERIMENTS, `a test that is made for one look errs in ${once}`);
  });

  it('does so with three variations, and with rare conversions', () => {
    for (const rates of [
      [0.2, 0.2, 0.2, 0.2],
      [0.02, 0.02],
    ]) {
      let different = 0;
      for (let i = 0; i < EXPERIMENTS / 2; i++) {
        different += experiment(rates, 20).flat().includes('different');
      }
      assert.ok(different <= 0.025 * EXPERIMENTS, `${rates}: ${different} of ${EXPERIMENTS / 2}`);
    }
  });

  it('finds a difference', () => {
    let found = 0;
    for (let i = 0; i < 200; i++) {
      found += experiment([0.3, 0.39], 20).at(-1).includes('different');
    }
    assert.ok(found >= 190, `${found} of 200`);
  });

  it('calls 5 % of equal means different at most', () => {
    let different = 0;
    for (let i = 0; i < EXPERIMENTS; i++) {
      const [one, other] = ['control', 'v'].map((variation) =>
        rowOf(
          variation,
          400,
          100,
          sums(Array.from({ length: 400 }, () => (chance(0.3) ? 5 + random(90) : 0))),
        ),
      );
      const { arms } = compare([one, other], { control: 'control', hasMetric: true });
      different += ['once', 'different'].includes(arms[1].metric.comparison.verdict);
    }
    assert.ok(different <= 0.065 * EXPERIMENTS, `${different} of ${EXPERIMENTS}`);
    assert.ok(different >= 0.03 * EXPERIMENTS, 'the test can find something');
  });

  it('says nothing of few users', () => {
    const verdict = (users, done) =>
      verdictOf([rowOf('control', 100, 25), rowOf('v', users, done)])[1];
    assert.equal(verdict(99, 60), 'early');
    assert.equal(verdict(100, 24), 'early');
    assert.equal(verdict(100, 60), 'different');
  });

  it('finds that a tenth of one variation is lost, and does not find what is not', () => {
    const split = (share) => {
      const users = [0, 0];
      for (let i = 0; i < 20_000; i++) {
        const arm = random(2);
        users[arm] += arm === 0 || chance(share);
      }
      return compare([rowOf('control', users[0], 0), rowOf('v', users[1], 0)], {
        control: 'control',
        weights: null,
        hasMetric: false,
      }).split.verdict;
    };
    const count = (share) =>
      Array.from({ length: 200 }, () => split(share)).filter((verdict) => verdict === 'unplanned')
        .length;
    assert.ok(count(0.9) >= 198);
    assert.ok(count(1) <= 2);
  });
});

describe('the split', () => {
  const row = (variation, users) => ({
    variation,
    assigned: users,
    compared: [users],
    metric: { users: 0 },
  });
  const splitOf = (rows, weights) => compare(rows, { weights, hasMetric: false }).split;

  it('is compared with the plan, in which a variation may be that nobody saw', () => {
    const weights = new Map([
      ['a', 80],
      ['b', 20],
    ]);
    assert.equal(splitOf([row('a', 800), row('b', 200)], weights).verdict, 'planned');
    assert.equal(splitOf([row('a', 800), row('b', 200)], null).verdict, 'unplanned');
    assert.equal(splitOf([row('a', 800)], weights).verdict, 'unplanned');
    assert.equal(splitOf([row('a', 8), row('b', 2)], weights).verdict, 'early');
  });

  it('leaves out a variation that the plan does not have', () => {
    const { parts, verdict } = splitOf(
      [row('a', 500), row('b', 500), row('forced', 3)],
      new Map([
        ['a', 1],
        ['b', 1],
      ]),
    );
    assert.equal(verdict, 'planned');
    assert.deepEqual(
      parts.map(({ variation, expected }) => [variation, expected]),
      [
        ['a', 500],
        ['b', 500],
      ],
    );
  });
});
