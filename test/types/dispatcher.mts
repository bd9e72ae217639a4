/** The dispatcher, from an ES module. */

import { createServer } from 'node:http';

import defaultExport, { closeOnSignal, createDispatcher, info } from 'optimizely-amplitude';
import type { Dispatcher, FlushReport, Info, Stats } from 'optimizely-amplitude';

const dispatcher: Dispatcher = createDispatcher({ apiKey: 'key' });
const same: typeof createDispatcher = defaultExport.createDispatcher;

const installed: Info = info();
const texts: (string | null)[] = [
  installed.version,
  installed.addon,
  ...installed.libraries.flatMap(({ name, version, license }) => [name, version, license]),
];
const prebuilt: boolean = installed.prebuilt;

const report: FlushReport = await dispatcher.flush();
const sum: number = report.delivered + report.dropped + report.pending + report.durationMillis;
await dispatcher.flush({ timeoutMillis: 500, abort: true });
await dispatcher.flush({ timeoutMillis: undefined });
await dispatcher.close({ timeoutMillis: 500 });
dispatcher.setOptOut(true);
dispatcher.setOptOut(true, { purge: true });

/** The part of the class of Amplitude's SDK that is used. */
declare class Identify {
  set(property: string, value: string): Identify;
  getUserProperties(): { $set?: Record<string, string> };
}
dispatcher.track('Purchase', { amount: 5 }, { user_id: 'user_1', session_id: 7, price: 5 });
dispatcher.track('Purchase', undefined, null);
dispatcher.track({ event_type: 'Purchase', user_id: 'user_1', event_properties: { amount: 5 } });
dispatcher.identify({ plan: 'pro' }, { device_id: 'device-1' });
dispatcher.identify(new Identify().set('plan', 'pro'), { user_id: 'user_1' });
// @ts-expect-error: a user id is a string
dispatcher.track('Purchase', {}, { user_id: 5 });
// @ts-expect-error: an event has a type
dispatcher.track({ user_id: 'user_1' });
// @ts-expect-error: an Identify, or an object
dispatcher.identify('pro');

const server = createServer();
const takeBack: () => void = closeOnSignal(dispatcher);
takeBack();
closeOnSignal(dispatcher, { before: () => server.close() });
closeOnSignal(dispatcher, { before: (done) => server.close(done) });
closeOnSignal(dispatcher, { before: async () => {} });
closeOnSignal(dispatcher, { before: undefined });
{
  await using scoped = createDispatcher({ apiKey: 'key' });
  scoped.setOptOut(true);
}

const { decisions, tracked, leftOut, requests, events, queue, lastError }: Stats =
  dispatcher.stats();
const numbers: number[] = [
  tracked.seen,
  tracked.ignored,
  tracked.invalid,
  tracked.accepted,
  tracked.delivered,
  tracked.pending,
  tracked.dropped.total,
  tracked.dropped.expired,
  leftOut.ids,
  leftOut.fields,
  leftOut.properties,
  leftOut.events,
  decisions.seen,
  decisions.ignored,
  decisions.invalid,
  decisions.deduplicated,
  decisions.accepted,
  decisions.delivered,
  decisions.pending,
  decisions.dropped.total,
  decisions.dropped.invalid_event,
  decisions.dropped.invalid_api_key,
  decisions.dropped.payload_too_large,
  decisions.dropped.quota_exceeded,
  decisions.dropped.retries_exhausted,
  decisions.dropped.queue_full,
  decisions.dropped.opted_out,
  decisions.dropped.closed,
  requests.sent,
  requests.retried,
  requests.failed,
  requests.bytes,
  events.sent,
  queue.bytes,
  queue.highWaterBytes,
];
const error: string | undefined = lastError?.message;

// @ts-expect-error no dispatcher
closeOnSignal({});
// @ts-expect-error unknown
closeOnSignal(dispatcher, { signals: ['SIGHUP'] });
// @ts-expect-error not a client
dispatcher.attach({});
// @ts-expect-error not a client
dispatcher.attach({ notificationCenter: { addNotificationListener: () => 1 } });
// @ts-expect-error a promise of one
dispatcher.attach(Promise.resolve({}));
// @ts-expect-error unknown
await dispatcher.flush({ timeout: 500 });
// @ts-expect-error close() always aborts
await dispatcher.close({ abort: true });
// @ts-expect-error no such reason
decisions.dropped.unlucky;
// @ts-expect-error counters are not to be set
decisions.seen = 5;
// @ts-expect-error no number
dispatcher.setOptOut(1);
// @ts-expect-error unknown
dispatcher.setOptOut(true, { purges: true });
// @ts-expect-error no directory
createDispatcher({ apiKey: 'key', spool: { maxBytes: 2 ** 30 } });
// @ts-expect-error no directory
createDispatcher({ apiKey: 'key', spool: true });
const waiting: number | undefined = createDispatcher({
  apiKey: 'key',
  spool: { directory: '/var/lib/app', maxBytes: 2 ** 30, syncIntervalMillis: 'always' },
}).stats().spool?.diskOnly;
void waiting;
// @ts-expect-error no notification
dispatcher.onDecision('user');

export { error, numbers, prebuilt, same, sum, texts };
