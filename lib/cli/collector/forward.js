'use strict';

/**
 * Passes requests on to the real Amplitude, as they are, and its answers back, so that the collector can
 * stand between an application and Amplitude, and show what happens there.
 */

const { resolveOptions } = require('../../options.js');
const { send } = require('../http-client.js');
const { answers } = require('./protocol.js');

const ZONES = { US: 'https://api2.amplitude.com', EU: 'https://api.eu.amplitude.com' };
const REQUEST_HEADERS = ['content-type', 'content-encoding', 'accept', 'user-agent'];
const ANSWER_HEADERS = ['content-type', 'retry-after'];

const pick = (headers, names) =>
  Object.fromEntries(
    names.filter((name) => headers[name] !== undefined).map((name) => [name, headers[name]]),
  );

/** The origin that `--forward` names: a zone, or an http or https URL; null if it is neither. */
function parseOrigin(text) {
  if (Object.hasOwn(ZONES, text.toUpperCase())) {
    return ZONES[text.toUpperCase()];
  }
  try {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
      ? url.origin
      : null;
  } catch {
    return null;
  }
}

function parseJson(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/** Make the function that passes an exchange on, whose body was read, and resolves to the answer. */
function createForwarder(origin, { caFile } = {}) {
  // What the environment says of proxies holds here as it does for the dispatcher.
  const way = resolveOptions({ apiKey: 'not-used', serverUrl: `${origin}/2/httpapi`, caFile });
  return async (exchange) => {
    const { req, target, rawBody } = exchange;
    if (rawBody === null) {
      return answers.payloadTooLarge();
    }
    let upstream;
    try {
      upstream = await send(origin + target.pathname + target.search, {
        method: 'POST',
        headers: { ...pick(req.headers, REQUEST_HEADERS), 'content-length': rawBody.length },
        body: rawBody,
        proxy: way.proxy,
        noProxy: way.noProxy,
        caFile: way.caFile,
      });
    } catch (error) {
      return answers.refusal(502, `${new URL(origin).host} cannot be reached: ${error.message}`);
    }
    if (upstream.status === 200) {
      exchange.accept(); // what Amplitude has now, the collector has, too
    }
    const headers = pick(upstream.headers, ANSWER_HEADERS);
    return {
      status: upstream.status,
      headers,
      body: upstream.body,
      json: parseJson(upstream.body),
    };
  };
}

module.exports = { createForwarder, parseOrigin };
