/* global document, window */

/** The frame of the page: the view, whether the collector is connected, and whether it fails on purpose. */

import { h } from './dom.mjs';
import { number } from './format.mjs';
import { model, setMode } from './model.mjs';
import { readAddress } from './address.mjs';
import { showCohorts } from './cohorts.mjs';
import { showDecisions } from './decisions.mjs';
import { showEvents } from './events.mjs';
import { showExperiments } from './experiments.mjs';
import { MODES, showRequests } from './requests.mjs';
import { showUsers } from './users.mjs';

const ANNOUNCE_MILLIS = 15_000;

/** The views by the first part of the address. A view fills the element, and returns a function that ends it. */
const VIEWS = {
  decisions: showDecisions,
  experiments: showExperiments,
  users: showUsers,
  events: showEvents,
  cohorts: showCohorts,
  requests: showRequests,
};

const main = document.getElementById('main');
let leave = () => {};

function show() {
  const { name: wanted, rest, parameters } = readAddress();
  const name = Object.hasOwn(VIEWS, wanted) ? wanted : 'decisions';
  leave();
  main.replaceChildren();
  for (const link of document.querySelectorAll('#nav a')) {
    if (link.hash === `#/${name}`) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({ inline: 'center', block: 'nearest' });
      document.title = `${link.textContent} – Collector`;
    } else {
      link.removeAttribute('aria-current');
    }
  }
  leave = VIEWS[name](main, rest, parameters);
}

function showState() {
  const connection = document.getElementById('connection');
  connection.textContent = model.isConnected ? 'Live' : 'Not connected';
  connection.className = `connection ${model.isConnected ? 'on' : 'off'}`;
  const mode = model.state?.mode ?? 'normal';
  const outage = document.getElementById('outage');
  outage.hidden = mode === 'normal';
  if (outage.dataset.mode !== mode) {
    outage.dataset.mode = mode;
    outage.replaceChildren(
      h(
        'p',
        {},
        h('strong', {}, 'Failing on purpose. '),
        `${MODES[mode]?.effect ?? ''} `,
        h('button', { type: 'button', on: { click: () => setMode('normal') } }, 'Answer normally'),
      ),
    );
  }
}

/** Screen readers get an update now and then, because they could not read every decision. */
function announce() {
  const said = document.getElementById('announcement');
  let last;
  setInterval(() => {
    const { events, requests } = model.state ?? {};
    const text =
      events && `${number(events.ingested)} events in ${number(requests.total)} requests`;
    if (text !== last) {
      said.textContent = text ?? '';
      last = text;
    }
  }, ANNOUNCE_MILLIS);
}

document.getElementById('skip').addEventListener('click', () => main.focus());
window.addEventListener('hashchange', () => {
  show();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
model.listen(showState);
model.connect();
announce();
show();
