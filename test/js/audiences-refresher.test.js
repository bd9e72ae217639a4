'use strict';

/** When cohorts are asked for: on a clock that only a sleep moves, with an addon that answers at once. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { AmplitudeSource } = require('../../lib/audiences/amplitude.js');
const { Cohort } = require('../../lib/audiences/cohort.js');
const { resolveOptions } = require('../../lib/audiences/options.js');
const { Refresher } = require('../../lib/audiences/refresher.js');

const MINUTE = 60_000;
const loaded = { end: 'loaded', statusCode: 200, size: 3, lastModified: 17, bytes: 9 };
const answered = (statusCode, retryAfterMillis = 0) => ({
  end: 'answered',
  statusCode,
  retryAfterMillis,
});
const failed = { end: 'failed', statusCode: 0, message: 'no answer' };

/**
 * Refresh cohorts with the answers of `answer(cohort's number, how often it was asked)`, until there were `count` of
 * them. Returns [time, number of the cohort] of each.
 */
async function refresh(answer, { count = 6, cohorts = 1, random = 0, ...options } = {}) {
  const resolved = resolveOptions(
    {
      apiKey: 'key-of-a-project',
      secretKey: 'secret-of-a-project',
      cohorts: Object.fromEntries(
        Array.from({ length: cohorts }, (_, index) => [`attribute_${index}`, `cohort_${index}`]),
      ),
      ...options,
    },
    {},
  );
  const asked = [];
  const urls = [];
  let time = 0;
  let stop;
  const over = new Promise((resolve) => {
    stop = resolve;
  });
  const native = {
    stats: () => ({ needsTrust: false }),
    cancel() {},
    async load({ cohort, url }) {
      const times = asked.filter(([, index]) => index === cohort).length;
      asked.push([time, cohort]);
      urls.push(url);
      if (asked.length >= count) {
        stop();
      }
      return { ...loaded, ...answer(cohort, times) };
    },
  };
  const all = resolved.cohorts.map((entry, slot) => new Cohort(entry, slot, resolved));
  const refresher = new Refresher(
    {
      native,
      source: new AmplitudeSource(resolved),
      options: resolved,
      log: null,
      onOutcome: (cohort, outcome) => cohort.take(outcome, time),
    },
    {
      random: () => random,
      clock: () => time,
      async sleep(millis) {
        time += millis;
      },
    },
  );
  refresher.start(all);
  await over;
  await refresher.stop();
  return { asked: asked.slice(0, count), urls, cohorts: all };
}

const pauses = ({ asked }) => asked.slice(1).map(([time], index) => time - asked[index][0]);
const isBetween = (least, most) => (value) => value >= least && value <= most;

describe('a cohort', () => {
  it('is asked for at once, and then each minute, or up to a fifth later', async () => {
    assert.deepEqual(pauses(await refresh(() => loaded)), Array(5).fill(MINUTE));
    assert.deepEqual(pauses(await refresh(() => loaded, { random: 1 })), Array(5).fill(72_000));
    const slower = await refresh(() => loaded, { pollIntervalMillis: 5 * MINUTE });
    assert.deepEqual(pauses(slower), Array(5).fill(5 * MINUTE));
  });

  it('is asked for by the version that is known', async () => {
    const { urls } = await refresh((_, times) => (times === 0 ? loaded : answered(204)), {
      count: 2,
      serverZone: 'EU',
    });
    assert.deepEqual(urls.slice(0, 2), [
      'https://cohort-v2.lab.eu.amplitude.com/sdk/v1/cohort/cohort_0?maxCohortSize=50000000',
      'https://cohort-v2.lab.eu.amplitude.com/sdk/v1/cohort/cohort_0?maxCohortSize=50000000&lastModified=17',
    ]);
  });

  it('without a version is downloaded each time', async () => {
    const { urls } = await refresh(() => ({ lastModified: 0 }), { count: 3 });
    assert.ok(urls.every((url) => !url.includes('lastModified')));
  });

  it('that fails is tried with a back-off, from a second to five minutes', async () => {
    const seconds = (result) => pauses(result).map((pause) => pause / 1000);
    const expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    assert.deepEqual(seconds(await refresh(() => failed, { count: 12 })), expected);
    assert.deepEqual(
      seconds(await refresh(() => answered(500), { count: 12 })),
      expected,
      'a server that fails',
    );
    // With chance it is between half of it and a fifth more.
    for (const random of [0.3, 0.9]) {
      seconds(await refresh(() => failed, { count: 12, random })).forEach((pause, index) =>
        assert.ok(isBetween(expected[index] / 2, expected[index] * 1.2)(pause), `${pause}`),
      );
    }
    const again = await refresh((_, times) => (times % 3 === 2 ? loaded : failed), { count: 7 });
    assert.deepEqual(seconds(again), [1, 2, 60, 1, 2, 60], 'a success ends it');
  });

  it('that is refused is tried each five minutes', async () => {
    for (const status of [302, 400, 401, 403, 404, 413]) {
      assert.deepEqual(
        pauses(await refresh(() => answered(status), { count: 3 })),
        Array(2).fill(5 * MINUTE),
      );
    }
    const tooMany = await refresh(() => ({ end: 'too_many' }), { count: 3 });
    assert.deepEqual(pauses(tooMany), Array(2).fill(5 * MINUTE));
    assert.equal(tooMany.cohorts[0].stateAt(0), 'refused');
  });

  it('waits as long as Retry-After says, or longer', async () => {
    assert.deepEqual(
      pauses(await refresh(() => answered(503, 90_000), { count: 3 })),
      [90_000, 90_000],
    );
    assert.deepEqual(
      pauses(await refresh(() => answered(429, 90_000), { count: 3, random: 1 })),
      [108_000, 108_000],
    );
    assert.deepEqual(pauses(await refresh(() => answered(429, 500), { count: 3 })), [1000, 2000]);
    const years = await refresh(() => answered(503, 2 ** 32 * 1000), { count: 3 });
    assert.deepEqual(pauses(years), [60 * MINUTE, 60 * MINUTE], 'but no longer than an hour');
  });
});

describe('several cohorts', () => {
  it('are asked for in turn', async () => {
    const { asked } = await refresh(() => loaded, { cohorts: 3, count: 6 });
    assert.deepEqual(asked, [
      [0, 0],
      [0, 1],
      [0, 2],
      [MINUTE, 0],
      [MINUTE, 1],
      [MINUTE, 2],
    ]);
  });

  it('go on when one fails', async () => {
    const { asked } = await refresh((cohort) => (cohort === 0 ? failed : loaded), {
      cohorts: 2,
      count: 8,
    });
    assert.deepEqual(
      asked.filter(([, cohort]) => cohort === 1).map(([time]) => time),
      [0, MINUTE],
    );
  });

  it('wait together when the server is asked too often', async () => {
    const { asked } = await refresh(
      (cohort, times) => (cohort === 0 && times === 0 ? answered(429, 30_000) : loaded),
      { cohorts: 2, count: 3 },
    );
    assert.deepEqual(asked, [
      [0, 0],
      [30_000, 1],
      [30_000, 0],
    ]);
  });
});
