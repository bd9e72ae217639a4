'use strict';

/** The check of a spool: whether something waits in it for a process that has ended. */

const fs = require('node:fs');

const { addonFor } = require('../../engine.js');
const { lookAt } = require('../spool/look.js');

const number = (value) => value.toLocaleString('en-US');

/** Check the directory of the option `spool`. Nothing in it is changed. */
function checkSpool({ directory }, apiKey, report) {
  if (!fs.existsSync(directory)) {
    report.skip('spool', `${directory} is not there yet: createDispatcher() makes it`);
    return;
  }
  let journals;
  try {
    const { SpoolSurvey } = addonFor("the option 'spool'", 'WebAssembly reads no files');
    ({ journals } = lookAt(SpoolSurvey, directory, { apiKey }));
  } catch (error) {
    report.fail(
      'spool',
      error.message,
      'check the option, and run the doctor as the user of the application',
    );
    return;
  }
  const pendingIn = (wanted) =>
    journals
      .filter(({ state }) => (state === 'in use') === wanted)
      .reduce((sum, { pending }) => sum + pending.decisions + pending.tracked, 0);
  const [kept, left] = [pendingIn(true), pendingIn(false)];
  if (left > 0) {
    report.warn(
      'spool',
      `${number(left)} pending in ${directory} of processes that have ended`,
      'the next one with their API key delivers them; npx optimizely-amplitude spool shows them, and sends them with --deliver',
    );
  } else {
    report.pass('spool', `${number(kept)} pending in ${directory}, all of processes that run`);
  }
}

module.exports = { checkSpool };
