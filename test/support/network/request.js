'use strict';

/** A plain HTTP client for tests: no retries, no redirects, a new connection unless an agent is given. */

const http = require('node:http');
const https = require('node:https');

/**
 * Send a request; resolve to {status, headers, text, json, interim}, where json is undefined when the body is not
 * JSON, and interim are the statuses of 1xx answers. Rejects when the answer is incomplete.
 * A body that is neither text nor bytes is sent as JSON.
 */
function request(url, { method, body, headers, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const payload =
      body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
        ? body
        : JSON.stringify(body);
    const { request: start } = url.startsWith('https:') ? https : http;
    const interim = [];
    const req = start(url, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      agent: false,
      headers: {
        ...(payload !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(payload),
        }),
        ...headers,
      },
      ...options,
    });
    req.on('error', reject);
    req.on('information', ({ statusCode }) => interim.push(statusCode));
    req.on('response', (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        let json;
        try {
          json = JSON.parse(text);
        } catch {
          // Not JSON.
        }
        resolve({ status: res.statusCode, headers: res.headers, text, json, interim });
      });
    });
    req.end(payload);
  });
}

module.exports = { request };
