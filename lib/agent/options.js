'use strict';

/** The options of listenToAgent(). */

const { Unexpected, describe, isObject, optionError, resolveTable } = require('../checks.js');
const dispatcherOptions = require('../options.js');

/** The options that a dispatcher has, too. */
const SHARED = ['logger', 'loggerProvider', 'logLevel'];
const STREAM_PATH = '/v1/notifications/event-stream';

/** The URL of an Agent's stream, from that of the Agent. */
function streamUrl(text) {
  const expected = 'the URL of an Optimizely Agent, such as http://agent:8080';
  const url = dispatcherOptions.httpUrl(text, expected);
  if (url.username !== '' || url.password !== '') {
    throw new Unexpected(`${expected}, without user name and password`, 'a URL that has them');
  }
  if (!url.pathname.endsWith('/event-stream')) {
    url.pathname = url.pathname.replace(/\/$/, '') + STREAM_PATH;
  }
  url.hash = '';
  return url.href;
}

function urls(value) {
  const list = [value].flat();
  if (list.length === 0) {
    throw new Unexpected('the URL of an Optimizely Agent, or an array of them');
  }
  const streams = list.map(streamUrl);
  const twice = streams.find((url, at) => streams.indexOf(url) < at);
  if (twice !== undefined) {
    throw new Unexpected('different URLs', `${twice} twice`);
  }
  return streams;
}

/** A value of an HTTP header, which must not end up in a message. */
const secret = (what) => (value) => {
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new Unexpected(what, typeof value === 'string' ? 'a string that is none' : undefined);
  }
  return value;
};

const accessToken = (value) =>
  typeof value === 'function' ? value : secret('an access token, or a function')(value);

function dispatcher(value) {
  if (typeof value?.onDecision !== 'function') {
    throw new Unexpected('a dispatcher, as createDispatcher() returns it');
  }
  return value;
}

/** Checked by the dispatcher's code. */
const same = (value) => value;

const TABLE = {
  url: { check: urls, required: true },
  sdkKey: {
    check: secret("an SDK key of Optimizely's"),
    describe: () => 'nothing',
    required: true,
  },
  dispatcher: { check: dispatcher, required: true },
  accessToken: { check: accessToken, describe: (value) => `a ${typeof value}`, default: null },
  ...Object.fromEntries(SHARED.map((name) => [name, { check: same, default: undefined }])),
};

/** Check them, and return all of them: `url` is an array of the URLs of streams, and null stands for none. */
function resolveAgentOptions(options) {
  if (!isObject(options)) {
    throw optionError(
      `listenToAgent() expects its options, listenToAgent({ url, sdkKey, dispatcher }), got ${describe(options)}`,
    );
  }
  const resolved = resolveTable(TABLE, options);
  const given = Object.fromEntries(SHARED.map((name) => [name, options[name]]));
  const { logger, logLevel } = dispatcherOptions.resolveOptions({ ...given, apiKey: 'none' }, {});
  return { ...resolved, logger, logLevel };
}

module.exports = { resolveAgentOptions };
