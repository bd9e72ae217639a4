/* global EventSource, self */

/**
 * One stream of the collector for all tabs: a browser opens six connections to a server at most, and a stream keeps
 * one. What came is kept, for tabs that are opened later.
 */

const MAX_KEPT = 200;
const ports = new Set();
let kept = null; // { state, decisions, requests }; null while there is no connection

const tell = (message) => ports.forEach((port) => port.postMessage(message));

const source = new EventSource('/api/stream');
source.addEventListener('start', ({ data }) => {
  kept = JSON.parse(data);
  tell({ name: 'start', ...kept });
});
source.addEventListener('news', ({ data }) => {
  const news = JSON.parse(data);
  kept = {
    state: news.state,
    decisions: [...(kept?.decisions ?? []), ...news.decisions].slice(-MAX_KEPT),
    requests: [...(kept?.requests ?? []), ...news.requests].slice(-MAX_KEPT),
  };
  tell({ name: 'news', ...news });
});
source.addEventListener('error', () => {
  kept = null;
  tell({ name: 'error' });
});

self.addEventListener('connect', ({ ports: [port] }) => {
  ports.add(port);
  port.addEventListener('message', () => ports.delete(port)); // the tab is closed
  port.start();
  if (kept !== null) {
    port.postMessage({ name: 'start', ...kept });
  }
});
