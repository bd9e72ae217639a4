'use strict';

/**
 * `npm run matrix`: the same decisions under the same faults, through this package and through the usual listener that
 * is pasted into a service with Amplitude's own SDK. Prints a Markdown table of the lost, duplicated and misordered
 * decisions, of those that Amplitude would have accepted.
 */

const amplitudeSdk = require('@amplitude/analytics-node');
const { ROWS, audit, playRow } = require('../support/amplitude/matrix.js');
const { connectRow } = require('../support/dispatcher/harness.js');

const API_KEY = 'matrix';

/** The pasted listener, with an awaited flush(). */
async function connectTheirs(serverUrl, { devices, requestTimeoutMillis }) {
  const amplitude = amplitudeSdk.createInstance();
  await amplitude.init(API_KEY, {
    serverUrl,
    requestTimeoutMillis,
    logLevel: amplitudeSdk.Types.LogLevel.None,
  }).promise;
  const results = [];
  return {
    decide({ userId, decisionInfo: { flagKey, variationKey, ruleKey, enabled } }) {
      const user = devices ? { device_id: userId } : { user_id: userId };
      const identify = new amplitudeSdk.Identify().set(
        `[Optimizely] ${flagKey}`,
        enabled ? variationKey : 'off',
      );
      results.push(
        amplitude.identify(identify, user).promise,
        amplitude.track(
          'Experiment Viewed',
          { flag_key: flagKey, variation_key: variationKey, rule_key: ruleKey, enabled },
          user,
        ).promise,
      );
    },
    flush: () => amplitude.flush().promise,
    // Events that a flush has left are sent by the timer.
    close: () => Promise.all(results),
  };
}

const measure = (row, connect) =>
  playRow(row, connect, async ({ amplitude, client, decided }) => {
    await client.close();
    return audit(row, decided, amplitude.store);
  });

const cells = ({ lost, duplicated, outOfOrder }) => [lost, duplicated, outOfOrder].join(' / ');

async function main() {
  // Ours run together, because they mostly wait, some for 15 s. Theirs do not wait, and would disturb each other.
  const all = Promise.all(ROWS.map((row) => measure(row, connectRow())));
  const theirs = [];
  for (const row of ROWS) {
    theirs.push(await measure(row, connectTheirs));
  }
  const ours = await all;
  console.log(
    [
      'Lost / duplicated / out of order, of the decisions that Amplitude would take:',
      '',
      '| fault | decisions | optimizely-amplitude | @amplitude/analytics-node |',
      '| --- | ---: | ---: | ---: |',
      ...ROWS.map(
        ({ name }, i) =>
          `| ${name} | ${ours[i].decisions} | ${cells(ours[i])} | ${cells(theirs[i])} |`,
      ),
    ].join('\n'),
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
