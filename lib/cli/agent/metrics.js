'use strict';

/** What a bridge does, in Prometheus's text format; the names are those of docs/metrics.md. Pure. */

const OUTCOMES = ['ignored', 'invalid', 'deduplicated', 'delivered'];
const HEALTH = ['ok', 'retrying', 'configuration'];

const escape = (value) =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

/** One metric: `samples` is a number, or [labels, number] pairs. */
function metric(name, type, help, samples) {
  const lines = (Array.isArray(samples) ? samples : [[{}, samples]]).map(([labels, value]) => {
    const list = Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`);
    return `optimizely_amplitude_${name}${list.length > 0 ? `{${list.join(',')}}` : ''} ${value}`;
  });
  return [
    `# HELP optimizely_amplitude_${name} ${help}`,
    `# TYPE optimizely_amplitude_${name} ${type}`,
    ...lines,
    '',
  ].join('\n');
}

/** The text for what status() of a listener and stats() of its dispatcher return. */
function renderMetrics(agents, stats) {
  const { pending, dropped, ...counts } = stats.decisions;
  const { total, ...reasons } = dropped;
  const outcomes = [
    ...OUTCOMES.map((outcome) => [{ outcome }, counts[outcome]]),
    [{ outcome: 'dropped' }, total],
  ];
  const ofAgents = (read) => agents.map((agent) => [{ url: agent.url }, read(agent)]);
  return [
    metric(
      'agent_listening',
      'gauge',
      'Whether the decisions of an Agent are listened to',
      ofAgents(({ state }) => Number(state === 'listening')),
    ),
    metric(
      'agent_away_seconds_total',
      'counter',
      'How long nobody listened to an Agent: what it decided meanwhile is not known',
      ofAgents(({ awayMillis }) => awayMillis / 1000),
    ),
    metric(
      'agent_connections_total',
      'counter',
      'Connections to an Agent',
      ofAgents(({ connections }) => connections),
    ),
    metric(
      'agent_decisions_total',
      'counter',
      'Decisions that an Agent has streamed',
      ofAgents(({ decisions }) => decisions),
    ),
    metric(
      'agent_unreadable_total',
      'counter',
      'Messages of an Agent that are not JSON',
      ofAgents(({ unreadable }) => unreadable),
    ),
    metric('decisions_total', 'counter', 'Decisions by what became of them', outcomes),
    metric(
      'dropped_decisions_total',
      'counter',
      'Decisions that are not delivered, by reason',
      Object.entries(reasons).map(([reason, count]) => [{ reason }, count]),
    ),
    metric(
      'health',
      'gauge',
      '1 for the state that the server is in',
      HEALTH.map((state) => [{ state }, Number(state === stats.health)]),
    ),
    metric('pending_decisions', 'gauge', 'Decisions that are not delivered yet', pending),
    metric(
      'oldest_pending_seconds',
      'gauge',
      'The age of the oldest of them',
      stats.oldestPendingMillis / 1000,
    ),
    metric('queue_bytes', 'gauge', 'The memory that they take', stats.queue.bytes),
    metric(
      'store_failing',
      'gauge',
      '1 while the store of exposures fails',
      Number(stats.store?.state === 'failing'),
    ),
    metric(
      'spool_failing',
      'gauge',
      '1 while the spool takes no more',
      Number(Boolean(stats.spool?.error)),
    ),
  ].join('');
}

module.exports = { renderMetrics };
