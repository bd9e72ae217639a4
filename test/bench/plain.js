'use strict';

/**
 * The alternative without an addon, written to be fast. Events are concatenated with the constant texts of each
 * variant, de-duplication is a Map, and one keep-alive connection carries batches of 1000. Failures are reported and
 * not retried.
 */

const http = require('node:http');
const https = require('node:https');
const { promisify } = require('node:util');
const zlib = require('node:zlib');

const gzip = promisify(zlib.gzip);

const DECISIONS_IN_BATCH = 1000;
const LIBRARY = 'plain/1.0.0';
/** The characters that JSON strings have to escape. */
const SPECIAL = /["\\]|[^ -\ud7ff\ue000-\uffff]/;

const quote = (text) => (SPECIAL.test(text) ? JSON.stringify(text) : `"${text}"`);

class PlainDispatcher {
  #head;
  #url;
  #gzip;
  #send;
  #agent;
  #variants = new Map(); // flag -> Map of variation -> [{ ruleKey, enabled, ... }]
  #seen = new Map(); // user and flag -> variant; #seenBefore is the generation before it
  #seenBefore = new Map();
  #maxEntries;
  #queue = [];
  #sending = null;
  #timer = null;
  #day = Math.floor(Date.now() / 86_400_000);

  constructor({ apiKey, serverUrl, compression = false, maxEntries = 1_000_000 }) {
    this.#head = `{"api_key":${quote(apiKey)},"events":[`;
    this.#url = new URL(serverUrl);
    this.#gzip = compression;
    this.#maxEntries = maxEntries;
    const { request, Agent } = this.#url.protocol === 'https:' ? https : http;
    this.#send = request;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
    this.onDecision = (notification) => this.#decide(notification);
  }

  #decide({ type, userId, decisionInfo }) {
    if (type !== 'flag') {
      return;
    }
    const variant = this.#variant(decisionInfo);
    const key = `${userId}\n${decisionInfo.flagKey}`;
    if ((this.#seen.get(key) ?? this.#seenBefore.get(key)) === variant) {
      return;
    }
    if (this.#seen.size >= this.#maxEntries / 2) {
      this.#seenBefore = this.#seen;
      this.#seen = new Map();
    }
    this.#seen.set(key, variant);
    const user = quote(userId);
    const inner = user.slice(1, -1);
    const time = Date.now();
    this.#queue.push(
      `{"event_type":"$identify","user_id":${user},"time":${time},"insert_id":"i ${inner} ${variant.identify}` +
        `,{"event_type":"Experiment Viewed","user_id":${user},"time":${time},"insert_id":"e ${inner} ${variant.event}`,
    );
    if (this.#queue.length >= DECISIONS_IN_BATCH) {
      this.#start();
    } else {
      this.#timer ??= setTimeout(() => this.#start(), 10_000).unref();
    }
  }

  #variant({ flagKey, variationKey, ruleKey, enabled }) {
    const rules = this.#variants.get(flagKey)?.get(variationKey);
    if (rules !== undefined) {
      for (const rule of rules) {
        if (rule.ruleKey === ruleKey && rule.enabled === enabled) {
          return rule;
        }
      }
    }
    const what = JSON.stringify([flagKey, variationKey, ruleKey, enabled, this.#day]);
    const id = `${JSON.stringify(what).slice(1, -1)}","library":"${LIBRARY}"`;
    const properties = {
      flag_key: flagKey,
      variation_key: variationKey,
      rule_key: ruleKey,
      enabled,
    };
    const value = enabled && variationKey !== null ? variationKey : 'off';
    const variant = {
      ruleKey,
      enabled,
      identify: `${id},"user_properties":{"$set":${JSON.stringify({ [`[Optimizely] ${flagKey}`]: value })}}}`,
      event: `${id},"event_properties":${JSON.stringify(properties)}}`,
    };
    const variations = this.#variants.get(flagKey) ?? new Map();
    this.#variants.set(flagKey, variations);
    variations.set(variationKey, [...(variations.get(variationKey) ?? []), variant]);
    return variant;
  }

  #start() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending ??= this.#run().finally(() => {
      this.#sending = null;
    });
    return this.#sending;
  }

  async #run() {
    while (this.#queue.length > 0) {
      const all = this.#queue;
      this.#queue = [];
      for (let i = 0; i < all.length; i += DECISIONS_IN_BATCH) {
        await this.#post(`${this.#head}${all.slice(i, i + DECISIONS_IN_BATCH).join(',')}]}`);
      }
    }
  }

  async #post(text) {
    const body = this.#gzip ? await gzip(text, { level: 1 }) : Buffer.from(text);
    const headers = {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      ...(this.#gzip && { 'Content-Encoding': 'gzip' }),
    };
    await new Promise((resolve, reject) => {
      const request = this.#send(
        this.#url,
        { method: 'POST', agent: this.#agent, headers },
        (response) => {
          response.resume();
          response.on('end', () =>
            response.statusCode === 200 ? resolve() : reject(new Error(`${response.statusCode}`)),
          );
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  async flush() {
    await this.#start();
  }

  async close() {
    await this.flush();
    this.#agent.destroy();
  }
}

module.exports = { PlainDispatcher };
