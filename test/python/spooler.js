'use strict';

/*
 * The package for Node.js on a spool that the one for Python has, too: node spooler.js kill|deliver URL DIRECTORY COUNT.
 * `kill` decides, and kills itself; `deliver` delivers what was left.
 */

const { once } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');

const { createDispatcher } = require('../../lib/index.js');
const { createClient } = require('../support/optimizely/sdk.js');

async function main(name, url, directory, count) {
  const dispatcher = createDispatcher({
    apiKey: '0123456789abcdef0123456789abcdef',
    serverUrl: url,
    spool: { directory },
    dedupe: { windowMillis: 365 * 24 * 60 * 60 * 1000 },
    flushIntervalMillis: name === 'kill' ? 60_000 : 1,
  });
  const client = await createClient();
  dispatcher.attach(client);
  if (name === 'kill') {
    for (let i = 0; i < count; i++) {
      client.createUserContext(`user_${i}`).decide('checkout_flow');
    }
    process.kill(process.pid, 'SIGKILL');
    await once(process, 'never');
  }
  const endsAt = Date.now() + 30_000;
  while (dispatcher.stats().decisions.delivered < count && Date.now() < endsAt) {
    await wait(10);
  }
  await dispatcher.close();
  await client.close();
  console.log(JSON.stringify(dispatcher.stats()));
}

const [, , name, url, directory, count] = process.argv;
main(name, url, directory, Number(count));
