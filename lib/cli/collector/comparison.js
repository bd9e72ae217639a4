'use strict';

/**
 * The answer of an experiment, from the counts of its variations: is the split right, is there a difference, and how
 * sure is that? Pure.
 */

const { compareMeans, compareRates, goodnessOfFit, meanOf, rateOf } = require('./statistics.js');

/** With fewer nothing is said of an arm, because the approximations need them. */
const MIN_USERS = 100;
const MIN_CONVERSIONS = 25;
/** Chi-squared needs this many in each cell. */
const MIN_EXPECTED = 5;
/** A split is looked at all the time, so that only a very small p-value is taken for a fault of it. */
const SPLIT_ALPHA = 0.001;
const ALPHA = 0.05;

/**
 * Compare the users of the variations with the plan: `weights` by variation of the datafile, or null, for equal parts.
 * { verdict, pValue, isPlanned, parts: [{ variation, users, expected }] }; verdict: 'planned', 'unplanned' or 'early'.
 */
function checkSplit(rows, weights) {
  const counts = new Map(rows.map(({ variation, assigned }) => [variation, assigned]));
  const planned = weights ?? new Map(rows.map(({ variation }) => [variation, 1]));
  const parts = [...planned].map(([variation, weight]) => ({
    variation,
    users: counts.get(variation) ?? 0,
    weight,
  }));
  const total = parts.reduce((sum, { users }) => sum + users, 0);
  const all = parts.reduce((sum, { weight }) => sum + weight, 0);
  const test = goodnessOfFit(
    parts.map(({ users }) => users),
    parts.map(({ weight }) => weight),
  );
  const isEarly =
    test === null || parts.some(({ weight }) => (total * weight) / all < MIN_EXPECTED);
  return {
    verdict: isEarly ? 'early' : test.pValue < SPLIT_ALPHA ? 'unplanned' : 'planned',
    pValue: test?.pValue ?? null,
    isPlanned: weights !== null,
    parts: parts
      .map(({ variation, users, weight }) => ({
        variation,
        users,
        expected: (total * weight) / all,
      }))
      .sort((a, b) => (a.variation < b.variation ? -1 : 1)),
  };
}

/**
 * What a comparison says, in a word: 'early'; 'different', however often one looks; 'once', if this were the only look;
 * or 'none'. `arms` is the number of variations that are compared with the control, each of which has a chance to look
 * different (Bonferroni).
 */
function judge(result, isEnough, arms) {
  if (result === null) {
    return { lift: null, difference: null, pValue: null, pAtAnyLook: null, verdict: 'early' };
  }
  const [pValue, pAtAnyLook] = [result.pValue, result.pAtAnyLook].map((p) => Math.min(1, p * arms));
  const found = pAtAnyLook < ALPHA ? 'different' : pValue < ALPHA ? 'once' : 'none';
  const { lift, difference = null } = result;
  return { lift, difference, pValue, pAtAnyLook, verdict: isEnough ? found : 'early' };
}

const sideOf = ({ compared }, step) => ({ users: compared[0], successes: compared[step] });
const isEnough = ({ users, successes }) => users >= MIN_USERS && successes >= MIN_CONVERSIONS;

/** One variation: { variation, users, steps, metric }, each with its rate or mean, and compared with the control's. */
function describe(row, control, arms, hasMetric) {
  const isControl = row === control;
  const steps = row.compared.map((successes, step) => {
    const [own, other] = [sideOf(row, step), sideOf(control, step)];
    return {
      successes,
      rate: rateOf(successes, own.users),
      comparison:
        isControl || step === 0
          ? null
          : judge(compareRates(own, other, arms), isEnough(own) && isEnough(other), arms),
    };
  });
  const enough = [row, control].every(
    ({ metric }) => metric.users >= MIN_USERS && metric.active >= MIN_CONVERSIONS,
  );
  return {
    variation: row.variation,
    users: row.compared[0],
    steps,
    metric: hasMetric
      ? {
          ...row.metric,
          mean: meanOf(row.metric),
          comparison: isControl
            ? null
            : judge(compareMeans(row.metric, control.metric, arms), enough, arms),
        }
      : null,
  };
}

/** The control by its usual names, or otherwise the first. */
const guessControl = (rows) =>
  ['control', 'original', 'baseline', 'off']
    .map((name) => rows.find(({ variation }) => variation.toLowerCase() === name))
    .find((row) => row !== undefined) ?? rows[0];

/**
 * Compare the rows of an analysis; null without any. `weights`: see checkSplit(); undefined: there is no plan to
 * compare with.
 */
function compare(rows, { control: wanted, weights, hasMetric }) {
  if (rows.length === 0) {
    return null;
  }
  const control = rows.find(({ variation }) => variation === wanted) ?? guessControl(rows);
  const others = rows.filter((row) => row !== control);
  return {
    control: control.variation,
    split: weights === undefined ? null : checkSplit(rows, weights),
    arms: [control, ...others].map((row) => describe(row, control, others.length, hasMetric)),
  };
}

module.exports = { compare };
