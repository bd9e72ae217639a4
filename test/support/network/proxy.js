'use strict';

/** A proxy on loopback: forwards plain requests, opens tunnels for CONNECT, and asks for credentials. */

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');

/**
 * Start a proxy, which ends with the test `t`.
 *
 * credentials: the "user:password" that is required, or null; refusal: the answer without them, `{status, headers,
 * body}`; to: the "host:port" to which everything goes, in place of the requested host; tls: {key, cert} for a proxy
 * that speaks https.
 *
 * Resolves to { url, connections, requests, credentials }: all requests, including refused ones, as { method, target,
 * authorization }; credentials may be changed.
 */
async function startProxy(t, { credentials = null, refusal, to = null, tls } = {}) {
  const proxy = { requests: [], connections: 0, credentials };
  const sockets = new Set();
  const answer = {
    status: 407,
    headers: { 'Proxy-Authenticate': 'Basic realm="test"' },
    body: 'Credentials, please',
    ...refusal,
  };

  /** Note a request, and return whether it may pass. */
  function admit({ method, url, headers }) {
    const [, encoded = ''] = /^Basic (.*)$/.exec(headers['proxy-authorization'] ?? '') ?? [];
    const authorization = Buffer.from(encoded, 'base64').toString();
    proxy.requests.push({ method, target: url, authorization });
    return proxy.credentials === null || authorization === proxy.credentials;
  }

  function forward(req, res) {
    const { host, pathname, search } = new URL(req.url);
    const [hostname, port] = (to ?? host).split(':');
    const headers = { ...req.headers };
    delete headers['proxy-authorization'];
    const onward = http.request({
      hostname,
      port,
      path: pathname + search,
      method: req.method,
      headers,
      agent: false,
    });
    onward.on('error', () => res.destroy());
    onward.on('response', (response) => {
      delete response.headers.connection; // it belongs to the connection to the server
      res.writeHead(response.statusCode, response.headers);
      response.pipe(res);
    });
    req.pipe(onward);
  }

  const server = tls ? https.createServer(tls) : http.createServer();
  server.on('request', (req, res) => {
    if (admit(req)) {
      forward(req, res);
    } else {
      res.writeHead(answer.status, answer.headers).end(answer.body);
    }
  });
  server.on('connect', (req, socket) => {
    socket.on('error', () => {});
    if (!admit(req)) {
      const headers = Object.entries(answer.headers)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('');
      socket.end(
        `HTTP/1.1 ${answer.status} No\r\n${headers}Content-Length: ${answer.body.length}\r\n\r\n${answer.body}`,
      );
      return;
    }
    const { hostname, port } = new URL(`http://${to ?? req.url}`);
    const onward = net.connect(Number(port), hostname.replace(/^\[|\]$/g, ''), () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  server.on('connection', (socket) => {
    proxy.connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  proxy.url = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  return proxy;
}

module.exports = { startProxy };
