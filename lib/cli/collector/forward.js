'use strict';

/**
 * Passes requests on to the real Amplitude, unchanged, and its answers back, so that the collector can stand between
 * an application and Amplitude and show what happens.
 */

const { BATCH, HTTP_V2, ORIGINS } = require('../../endpoints.js');
const { resolveOptions } = require('../../options.js');
const { send } = require('../http-client.js');
const { shown } = require('../shown.js');
const { answers } = require('./protocol.js');

const REQUEST_HEADERS = ['content-type', 'content-encoding', 'accept', 'user-agent'];
const ANSWER_HEADERS = ['content-type', 'retry-after'];

const pick = (headers, names) =>
  Object.fromEntries(
    names.filter((name) => headers[name] !== undefined).map((name) => [name, headers[name]]),
  );

/**
 * The URL before Amplitude's paths that `--forward` names by a zone, or by an http or https URL, with or without one of
 * those paths; null for anything else.
 */
function parseForward(text) {
  if (Object.hasOwn(ORIGINS, text.toUpperCase())) {
    return ORIGINS[text.toUpperCase()];
  }
  try {
    const { protocol, username, password, search, hash, origin, pathname } = new URL(text);
    const isPlain = /^https?:$/.test(protocol) && username + password + search + hash === '';
    const path = [HTTP_V2.path, BATCH.path].find((each) => pathname.endsWith(each)) ?? '';
    const base = pathname.slice(0, pathname.length - path.length);
    return isPlain ? origin + base.replace(/\/+$/, '') : null;
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

/** Make the function that passes an exchange with its body on, and resolves to the answer. */
function createForwarder(base, { caFile } = {}) {
  // The proxies of the environment apply here as they do to a dispatcher.
  const way = resolveOptions({ apiKey: 'not-used', serverUrl: base + HTTP_V2.path, caFile });
  way.warnings.forEach((message) => console.error(`optimizely-amplitude: ${shown(message)}`));
  return async (exchange) => {
    const { req, target, rawBody } = exchange;
    if (rawBody === null) {
      return answers.payloadTooLarge();
    }
    let upstream;
    try {
      upstream = await send(base + target.pathname + target.search, {
        method: 'POST',
        headers: { ...pick(req.headers, REQUEST_HEADERS), 'content-length': rawBody.length },
        body: rawBody,
        proxy: way.proxy,
        noProxy: way.noProxy,
        caFile: way.caFile,
      });
    } catch (error) {
      return answers.refusal(
        502,
        shown(`${new URL(base).host} cannot be reached: ${error.message}`),
      );
    }
    if (upstream.status === 200) {
      exchange.accept(); // the collector takes what Amplitude has taken
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

module.exports = { createForwarder, parseForward };
