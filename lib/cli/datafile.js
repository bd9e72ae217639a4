'use strict';

/** Reads a datafile of Optimizely, from a file, a URL, or for an SDK key. */

const fs = require('node:fs');

const { explain } = require('./doctor/causes.js');
const { send } = require('./http-client.js');

/** Optimizely's own addresses, as its SDKs have them. */
const CDN = 'https://cdn.optimizely.com/datafiles/';
const SECURED = 'https://config.optimizely.com/datafiles/auth/';

const isUrl = (text) => /^https?:\/\//i.test(text);

/** An error with a remedy. */
const failure = (message, remedy, code) => Object.assign(new Error(message), { remedy, code });

/**
 * Where the datafile is, or undefined: a file or a URL, or that of an SDK key, which has another one with an access
 * token.
 */
function sourceOf({ datafile, sdkKey, accessToken }) {
  if (datafile !== undefined || sdkKey === undefined) {
    return datafile;
  }
  return `${accessToken === undefined ? CDN : SECURED}${encodeURIComponent(sdkKey)}.json`;
}

const REFUSALS = {
  401: [
    'the access token is missing or refused',
    'give that of the environment with --datafile-access-token; a new one is in Settings > Environments',
  ],
  404: [
    'there is no such datafile',
    'check the SDK key: each environment has its own, in Settings > Environments',
  ],
};
REFUSALS[403] = REFUSALS[404];

/**
 * Resolve to the text of a datafile. `accessToken` is sent to URLs, as Optimizely's SDK does for secured environments.
 * Rejects with an error that has a `remedy`, and the code 'UNCHECKED' if that says nothing about the datafile.
 * `resolveWay(url)` returns proxy, noProxy and caFile.
 */
async function fetchDatafile(source, accessToken, resolveWay) {
  if (!isUrl(source)) {
    try {
      return fs.readFileSync(source, 'utf8');
    } catch (error) {
      throw failure(`${source} cannot be read (${error.code})`, 'check the path after --datafile');
    }
  }
  const { host } = new URL(source);
  let answer;
  try {
    const { proxy, noProxy, caFile } = resolveWay(source);
    answer = await send(source, {
      ...{ proxy, noProxy, caFile },
      headers: accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` },
    });
  } catch (error) {
    const { message, remedy } = explain(error, source, 'the proxy');
    throw failure(message, remedy);
  }
  const { status, body } = answer;
  if (status === 200) {
    return body.toString('utf8');
  }
  const isUnchecked = status === 408 || status === 429 || status >= 500;
  const [reason, remedy] = REFUSALS[accessToken !== undefined && status === 403 ? 401 : status] ?? [
    null,
    'try again later',
  ];
  throw failure(
    `${host} answered ${status}${reason === null ? '' : `: ${reason}`}`,
    remedy,
    isUnchecked ? 'UNCHECKED' : undefined,
  );
}

module.exports = { fetchDatafile, sourceOf };
