'use strict';

/** The JSON for the collector's page. */

const { answers } = require('./protocol.js');
const { analyse, summarize } = require('./analysis.js');

const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MAX_STEPS = 10;
const MAX_FOUND_USERS = 50;
const MAX_TIMELINE = 500;
const MAX_TIMELINE_CHARS = 4_000_000;
const MAX_MODE_BYTES = 100;
const MAX_CACHED = 20;
const MAX_FOUND_MEMBERS = 200;

const ok = (body) => ({ status: 200, body });

/** Cache the result of a function until the store has something new. */
class Cache {
  #store;
  #entries = new Map();
  #revision = -1;

  constructor(store) {
    this.#store = store;
  }

  get(key, make) {
    if (this.#revision !== this.#store.revision || this.#entries.size >= MAX_CACHED) {
      this.#entries.clear();
      this.#revision = this.#store.revision;
    }
    if (!this.#entries.has(key)) {
      this.#entries.set(key, make());
    }
    return this.#entries.get(key);
  }
}

/** The latest time of all events. Events may be backdated, or be in the future. */
function latest(store) {
  let time = store.now();
  for (const event of store.events()) {
    time = Math.max(time, event.time);
  }
  return time;
}

/** The query of an analysis, from the parameters of a URL; null if they make no sense. */
function readQuery(params) {
  const days = Number(params.get('days') ?? 30);
  const steps = params.getAll('step').slice(0, MAX_STEPS);
  if (!params.get('flag') || steps.length === 0 || !(days > 0)) {
    return null;
  }
  return {
    flag: params.get('flag'),
    steps,
    windowMillis: days * DAY_MILLIS,
    segment: params.get('segment') ?? steps[0],
    returning: params.get('returning') || null,
    orLater: params.get('orLater') === '1',
  };
}

/** All events for a user, in order of arrival. */
function timeline(store, id) {
  const isTheirs = (event) => (event.user_id ?? event.device_id) === id;
  const of = (outcome) => (event) => ({
    outcome,
    reason: null,
    arrived: event.server_received_time,
    event,
  });
  const items = [
    ...(store.user(id)?.events ?? []).slice(-MAX_TIMELINE).map(of('stored')),
    ...store.duplicates().filter(isTheirs).map(of('repeat')),
    ...store
      .refusals()
      .filter(({ event }) => isTheirs(event))
      .map(({ event, reason, time }) => ({ outcome: 'refused', reason, arrived: time, event })),
  ];
  return lastWithin(
    items.sort((a, b) => a.arrived - b.arrived).slice(-MAX_TIMELINE),
    MAX_TIMELINE_CHARS,
  );
}

/** The last items that together have at most so many characters as JSON. */
function lastWithin(items, maxChars) {
  let first = items.length;
  for (let chars = 0; first > 0; first--) {
    chars += JSON.stringify(items[first - 1]).length;
    if (chars > maxChars) {
      break;
    }
  }
  return items.slice(first);
}

/** The first members of a cohort whose id contains `text`. */
function findMembers(cohort, text) {
  const found = [];
  for (const id of cohort.members()) {
    if (id.includes(text)) {
      found.push(id);
    }
    if (found.length === MAX_FOUND_MEMBERS) {
      break;
    }
  }
  return found;
}

function createApi(store, outage, stream, requests, cohorts) {
  const cache = new Cache(store);

  const routes = {
    '/api/stream': (exchange) => {
      stream.open(exchange, requests.recent());
      return null;
    },
    '/api/summary': () => ok(cache.get('summary', () => summarize(store.users()))),
    '/api/analysis': ({ target }) => {
      const query = readQuery(target.searchParams);
      return query === null
        ? answers.refusal(400, 'flag, step and days are needed')
        : ok({
            rows: cache.get(target.search, () =>
              analyse(store.users(), { ...query, now: latest(store) }),
            ),
          });
    },
    '/api/users': ({ target }) =>
      ok({
        users: store.findUsers(target.searchParams.get('q') ?? '', MAX_FOUND_USERS),
        total: store.stats().users,
      }),
    '/api/user': ({ target }) => {
      const id = target.searchParams.get('id') ?? '';
      const user = store.user(id);
      const items = timeline(store, id);
      return user === undefined && items.length === 0
        ? answers.refusal(404, 'Unknown user')
        : ok({
            id,
            devices: user?.device_ids ?? [],
            properties: Object.entries(user?.user_properties ?? {}),
            items,
            events: user?.events.length ?? 0,
          });
    },
    '/api/cohorts': () =>
      ok({
        cohorts: [...cohorts.values()].map((cohort) => ({
          ...cohort.describe(),
          history: cohort.history(),
        })),
      }),
    '/api/cohort': ({ target }) => {
      const cohort = cohorts.get(target.searchParams.get('id'));
      return cohort === undefined
        ? answers.refusal(404, 'Unknown cohort')
        : ok({
            ...cohort.describe(),
            history: cohort.history(),
            members: findMembers(cohort, target.searchParams.get('q') ?? ''),
          });
    },
  };

  /**
   * The switch: the body is the name of a mode. PUT, because a browser sends a preflight before it sends that from
   * another site.
   */
  const putMode = ({ rawBody }) => {
    const mode = rawBody === null || rawBody.length > MAX_MODE_BYTES ? '' : rawBody.toString();
    return outage.set(mode) ? ok({ mode }) : answers.refusal(400, 'Unknown mode');
  };
  routes['/api/mode'] = Object.assign(putMode, { method: 'PUT' });

  /** The view of a path, as a function that makes the answer (null: it is sent already); null when there is no view. */
  return (pathname) => (Object.hasOwn(routes, pathname) ? routes[pathname] : null);
}

module.exports = { createApi };
