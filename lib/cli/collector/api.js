'use strict';

/** The JSON for the collector's page. */

const { Analysis, EXPOSED } = require('./analysis.js');
const { compare } = require('./comparison.js');
const { Jobs } = require('./jobs.js');
const { answers } = require('./protocol.js');
const { Summary } = require('./summary.js');
const { findEvents, timelineOf } = require('./timeline.js');
const { exportEvents, importEvents } = require('./transfer.js');

const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MAX_STEPS = 10;
const MAX_FOUND_USERS = 100;
const MAX_TIMELINE = 500;
const MAX_EVENTS = 200;
const MAX_MODE_BYTES = 100;
const MAX_FOUND_MEMBERS = 200;

/** What was computed before the last events; the page asks again. */
const STALE = { 'X-Stale': '1' };

const ok = (body) => ({ status: 200, body });

const timeOf = (text, otherwise) => (text === null || text === '' ? otherwise : Number(text));

/** The query of an analysis, from the parameters of a URL; null if they make no sense. */
function readQuery(params) {
  const steps = params.getAll('step').slice(0, MAX_STEPS);
  const query = {
    flag: params.get('flag'),
    rule: params.get('rule') || null,
    steps: steps.length === 0 ? [EXPOSED] : steps,
    windowMillis: Number(params.get('days') || 30) * DAY_MILLIS,
    segment: params.get('segment') || steps[0] || EXPOSED,
    returning: params.get('returning') || null,
    orLater: params.get('orLater') === '1',
    metric: params.get('metric')
      ? { type: params.get('metric'), property: params.get('property') ?? '' }
      : null,
    by: params.get('by') || null,
    from: timeOf(params.get('from'), -Infinity),
    to: timeOf(params.get('to'), Infinity),
  };
  const isValid = query.flag && query.windowMillis > 0 && query.from < query.to;
  return isValid ? query : null;
}

/** The work of an analysis, with all that the page shows of it; see Jobs. */
function startAnalysis(store, allocations, query, control) {
  const analysis = new Analysis({ ...query, now: store.latest() }, store.prefixes);
  const { flag, rule, metric, by } = query;
  return {
    add: (person) => analysis.add(person),
    finish: (tookMillis) => {
      const { rows } = analysis;
      return JSON.stringify({
        tookMillis,
        rows,
        switched: analysis.switched,
        series: analysis.series(),
        breakdown: by === null ? null : analysis.breakdown(),
        comparison: compare(rows, {
          control,
          weights: rule === null ? undefined : allocations(flag, rule),
          hasMetric: metric !== null,
        }),
      });
    },
  };
}

function startSummary(store) {
  const summary = new Summary(store.prefixes);
  return {
    add: (person) => summary.add(person),
    again: (person) => summary.order(person),
    finish: (tookMillis) => JSON.stringify({ tookMillis, ...summary.result() }),
  };
}

/** The variation that a user saw last of a flag, or has as a property; null without. */
function variationOf(person, flag, prefixes) {
  const last = person.records.findLast(({ exposure }) => exposure?.flag === flag);
  const name = prefixes.propertiesOf(flag).find((each) => person.properties.has(each));
  return last?.exposure.variation ?? person.properties.get(name) ?? null;
}

function hasText(person, text) {
  if (person.id.includes(text)) {
    return true;
  }
  for (const device of person.devices) {
    if (device.includes(text)) {
      return true;
    }
  }
  return false;
}

/** The users who were seen last. */
function lastSeen(store) {
  const seen = new Set();
  store.recent(1, ({ person }) => seen.add(person).size === MAX_FOUND_USERS);
  return [...seen];
}

/** Users whose id, or one of whose devices, contains `text`, the last seen first. */
function findUsers(store, text, flag) {
  const sequenceOf = (person) => person.records.at(-1).sequence;
  const found =
    text === ''
      ? lastSeen(store)
      : [...store.people()]
          .filter((person) => hasText(person, text))
          .sort((a, b) => sequenceOf(b) - sequenceOf(a))
          .slice(0, MAX_FOUND_USERS);
  return found.map((person) => ({
    id: person.id,
    variation: flag === '' ? null : variationOf(person, flag, store.prefixes),
    lastSeen: person.records.at(-1).time,
    events: person.size,
  }));
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

function showUser(store, id) {
  const person = store.people().find(id);
  const timeline = timelineOf(store, id, MAX_TIMELINE);
  if (timeline === null) {
    return answers.refusal(404, 'Unknown user');
  }
  const { json, ...counts } = timeline;
  const user = {
    id: person?.id ?? id,
    devices: person?.userId === null ? [] : [...(person?.devices ?? [])],
    properties: [...(person?.properties ?? [])],
    events: person?.size ?? 0,
    ...counts,
  };
  return ok(`${JSON.stringify(user).slice(0, -1)},"items":${json}}`);
}

function createApi(store, outage, stream, requests, cohorts, allocations) {
  const jobs = new Jobs(store);
  /** The result of work on all users, or 202 while there is none. */
  const answerJob = async (key, start) => {
    const { text, isStale } = await jobs.get(key, start);
    return text === null
      ? { status: 202, body: { isPending: true } }
      : { ...ok(text), headers: isStale ? STALE : {} };
  };
  const put = (view) => Object.assign(view, { method: 'PUT' });

  const routes = {
    '/api/stream': (exchange) => {
      stream.open(exchange, requests.recent());
      return null;
    },
    '/api/summary': () => answerJob('summary', () => startSummary(store)),
    '/api/analysis': ({ target }) => {
      const query = readQuery(target.searchParams);
      return query === null
        ? answers.refusal(400, 'flag is needed, days above 0, and from before to')
        : answerJob(target.search, () =>
            startAnalysis(store, allocations, query, target.searchParams.get('control')),
          );
    },
    '/api/users': ({ target: { searchParams } }) =>
      ok({
        users: findUsers(store, searchParams.get('q') ?? '', searchParams.get('flag') ?? ''),
        total: store.stats().users,
      }),
    '/api/user': ({ target }) => showUser(store, target.searchParams.get('id') ?? ''),
    '/api/events': ({ target: { searchParams } }) => {
      const names = ['type', 'user', 'flag', 'outcome'];
      const filters = Object.fromEntries(names.map((name) => [name, searchParams.get(name) ?? '']));
      return ok(`{"items":${findEvents(store, filters, MAX_EVENTS)}}`);
    },
    '/api/export': (exchange) => {
      exportEvents(store, exchange);
      return null;
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
    // What changes something is PUT, because a browser sends a preflight before it sends that from another site.
    '/api/mode': put(({ rawBody }) => {
      const mode = rawBody === null || rawBody.length > MAX_MODE_BYTES ? '' : rawBody.toString();
      return outage.set(mode) ? ok({ mode }) : answers.refusal(400, 'Unknown mode');
    }),
    '/api/import': put(({ rawBody }) => importEvents(store, rawBody)),
    '/api/reset': put(() => {
      store.reset();
      requests.reset();
      return ok({});
    }),
  };

  /** The view of a path, as a function that makes the answer (null: it is sent already); null when there is no view. */
  return (pathname) => (Object.hasOwn(routes, pathname) ? routes[pathname] : null);
}

module.exports = { createApi };
