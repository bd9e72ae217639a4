'use strict';

/** Suggests the known name that is closest to an unknown one. Loaded only for an error. */

/** The names that other clients use, in the form that plainName() makes. */
const ALIASES = {
  amplitudeapikey: 'apiKey',
  key: 'apiKey',
  token: 'apiKey',
  writekey: 'apiKey',
  region: 'serverZone',
  zone: 'serverZone',
  datacenter: 'serverZone',
  residency: 'serverZone',
  apiurl: 'serverUrl',
  url: 'serverUrl',
  endpoint: 'serverUrl',
  apiendpoint: 'serverUrl',
  apihost: 'serverUrl',
  host: 'serverUrl',
  timeout: 'requestTimeoutMillis',
  httptimeout: 'requestTimeoutMillis',
  connecttimeout: 'requestTimeoutMillis',
  interval: 'flushIntervalMillis',
  linger: 'flushIntervalMillis',
  closetimeout: 'flushTimeoutMillis',
  shutdowntimeout: 'flushTimeoutMillis',
  batchsize: 'flushQueueSize',
  maxbatchsize: 'flushQueueSize',
  flushat: 'flushQueueSize',
  flushsize: 'flushQueueSize',
  retries: 'flushMaxRetries',
  maxretries: 'flushMaxRetries',
  maxattempts: 'flushMaxRetries',
  concurrency: 'maxConcurrent',
  maxconcurrency: 'maxConcurrent',
  maxconcurrentrequests: 'maxConcurrent',
  lanes: 'maxConcurrent',
  maxqueuesize: 'maxQueueBytes',
  queuesize: 'maxQueueBytes',
  maxbuffersize: 'maxQueueBytes',
  maxcachedevents: 'maxQueueBytes',
  batch: 'useBatch',
  usebatchapi: 'useBatch',
  gzip: 'compression',
  compress: 'compression',
  enablerequestbodycompression: 'compression',
  deduplicate: 'dedupe',
  deduplication: 'dedupe',
  dedup: 'dedupe',
  eventname: 'eventType',
  prefix: 'propertyPrefix',
  types: 'decisionTypes',
  notificationtypes: 'decisionTypes',
  getuser: 'resolveUser',
  mapuser: 'resolveUser',
  getuserid: 'resolveUser',
  rollouts: 'includeRollouts',
  disabled: 'optOut',
  log: 'logger',
  level: 'logLevel',
  verbose: 'logLevel',
  debug: 'logLevel',
  onerror: 'onDrop',
  ca: 'caFile',
  cafilepath: 'caFile',
  cacert: 'caFile',
  cacerts: 'caFile',
  window: 'windowMillis',
  ttl: 'windowMillis',
  max: 'maxEntries',
  size: 'maxEntries',
  capacity: 'maxEntries',
};

/** A name without case, separators and unit of time: flush_interval_ms and flushIntervalMillis become the same. */
function plainName(name) {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
    .replace(/(?<=.)(ms|msecs?|millis|milliseconds|secs?|seconds)$/, '');
}

/** The number of characters to add, remove, change or swap with the next one to turn one word into another. */
function editDistance(a, b) {
  let beforeLast = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(row[j - 1] + 1, last[j] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
      }
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length];
}

/** The closest known name, or undefined. */
function nearestName(name, known) {
  // The distance to a long name is slow to compute, and of no use.
  const lower = name.slice(0, 64).toLowerCase();
  const plain = plainName(lower);
  const same = known.find((candidate) => plainName(candidate) === plain);
  const alias = Object.hasOwn(ALIASES, plain) ? ALIASES[plain] : undefined;
  if (same !== undefined || known.includes(alias)) {
    return same ?? alias;
  }
  let nearest;
  let least = Math.floor(plain.length / 3);
  for (const candidate of known) {
    // The misspelt part may be the unit of time or the rest, so both forms are compared.
    const distance = Math.min(
      editDistance(plain, plainName(candidate)),
      editDistance(lower, candidate.toLowerCase()),
    );
    if (distance <= Math.min(least, 3) && (nearest === undefined || distance < least)) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}

/** The advice for an unknown option: the closest known one, or all of them. */
function suggest(name, known, prefix) {
  const nearest = nearestName(name, known);
  return nearest === undefined
    ? `the options are ${known.map((option) => prefix + option).join(', ')}`
    : `did you mean '${prefix}${nearest}'?`;
}

module.exports = { nearestName, suggest };
