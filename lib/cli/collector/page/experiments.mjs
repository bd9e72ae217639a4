/** An experiment: its answer, and the charts behind it, by the variations of a rule or of a flag. */

import { writeAddress } from './address.mjs';
import {
  breakdownSection,
  differenceSection,
  metricSection,
  splitSection,
  timeSection,
} from './answer.mjs';
import { funnelSection, retentionSection, segmentSection, usersSection } from './behaviour.mjs';
import { empty, h } from './dom.mjs';
import { ask, keepFresh } from './model.mjs';
import { patch } from './patch.mjs';
import {
  ANY_RULE,
  complete,
  leadControls,
  metricControls,
  queryOf,
  readSettings,
  stepControls,
  typeChoices,
} from './settings.mjs';

const REFRESH_MILLIS = 2000;

const waiting = () =>
  empty(
    'No experiments yet',
    h(
      'p',
      {},
      'Choose a flag here after its first decision: whether its split is right, what users of each variation did next, and how sure that is.',
    ),
    h(
      'p',
      { class: 'hint' },
      "Send the rest of your events here, too, with Amplitude's own SDK and its option ",
      h('code', {}, 'serverUrl'),
      '.',
    ),
  );

const none = () =>
  empty(
    'No user has this flag',
    h('p', {}, 'Or no longer, or not in this time: the collector forgets the oldest events.'),
  );

const impossible = () =>
  empty(
    'There is no such time',
    h('p', {}, 'From has to be before To. Choose another time above.'),
  );

function sections(result, settings, summary, change) {
  const { rows, comparison } = result;
  const types = typeChoices(summary);
  return [
    splitSection(result),
    differenceSection(result, settings, stepControls(settings, types, change)),
    metricSection(result, settings, metricControls(settings, summary, change)),
    timeSection(result, settings),
    settings.by !== '' && breakdownSection(result, settings),
    funnelSection(rows, settings),
    settings.rule === ANY_RULE && usersSection(rows),
    segmentSection(rows, settings, types, change),
    retentionSection(rows, settings, types, change),
  ].filter((each) => each && comparison !== null);
}

export function showExperiments(main, rest, parameters) {
  const settings = readSettings(parameters);
  const body = h('div', {});
  main.append(h('h1', {}, 'Experiments'), body);
  let stop = () => {};

  function change(changes) {
    Object.assign(settings, changes);
    writeAddress('experiments', settings, true);
    stop();
    stop = keepFresh(refresh, REFRESH_MILLIS);
  }

  async function refresh() {
    const summary = await ask('/api/summary');
    if (summary.flags.length === 0) {
      patch(body, [waiting()]);
      return [summary];
    }
    complete(settings, summary);
    const asked = JSON.stringify(settings);
    const result = await ask('/api/analysis', queryOf(settings));
    if (asked !== JSON.stringify(settings) || !body.isConnected) {
      return []; // something else was chosen since
    }
    writeAddress('experiments', settings);
    if (result === null) {
      patch(body, [leadControls(settings, summary, [], '', change), impossible()]);
      return [summary];
    }
    const variations = result.rows.map(({ variation }) => variation);
    patch(body, [
      leadControls(settings, summary, variations, result.comparison?.control ?? '', change),
      ...(result.rows.length === 0 ? [none()] : sections(result, settings, summary, change)),
    ]);
    return [summary, result];
  }

  stop = keepFresh(refresh, REFRESH_MILLIS);
  return () => stop();
}
