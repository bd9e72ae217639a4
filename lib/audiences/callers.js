'use strict';

/**
 * Who calls the webhook: a server of Node or Express with a request and a response, Fastify with its own of both, or
 * AWS Lambda with an event. The last two have the body read already.
 */

const { isObject } = require('../checks.js');

/** A request of which the body was read: the members of Node's that are used. */
const requestOf = (method, headers, body) => ({
  method,
  headers,
  body,
  readableEnded: true,
});

// ---- Fastify ----------------------------------------------------------------------------------------

const isFastify = (request, reply) =>
  isObject(request?.raw) && isObject(reply?.raw) && typeof reply.send === 'function';

/** A request and a response of Node, of Fastify's. */
function fromFastify(request, reply) {
  const response = {
    headersSent: reply.sent,
    writeHead: (status, headers) => reply.code(status).headers(headers),
    end: (body) => reply.send(body),
  };
  return [requestOf(request.raw.method, request.headers, request.body), response];
}

// ---- Lambda -----------------------------------------------------------------------------------------

/** An event of API Gateway (payload 1.0 and 2.0), of a function URL, or of a load balancer. */
const isEvent = (value) =>
  isObject(value) && typeof value.on !== 'function' && isObject(value.requestContext);

/** By small names; what is there twice is joined, as in a request of Node. */
function headersOf({ headers, multiValueHeaders }) {
  const all = Object.entries(headers ?? multiValueHeaders ?? {});
  return Object.fromEntries(
    all.map(([name, value]) => [
      name.toLowerCase(),
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  );
}

/** The request of an event. */
function fromEvent(event) {
  const { body, httpMethod, requestContext } = event;
  // What is no text was parsed by whoever calls the function by itself.
  const given = isObject(body)
    ? body
    : Buffer.from(String(body ?? ''), event.isBase64Encoded ? 'base64' : 'utf8');
  return requestOf(httpMethod ?? requestContext.http?.method, headersOf(event), given);
}

/** A response of Node that becomes what a function returns. */
function toResult({ headers, multiValueHeaders }) {
  const result = { statusCode: 500, headers: {}, body: '', isBase64Encoded: false };
  const response = {
    writeHead(status, values) {
      result.statusCode = status;
      for (const [name, value] of Object.entries(values)) {
        result.headers[name] = String(value);
      }
      if (headers === undefined && multiValueHeaders !== undefined) {
        // A load balancer that sends only these takes only these.
        result.multiValueHeaders = Object.fromEntries(
          Object.entries(result.headers).map(([name, value]) => [name, [value]]),
        );
      }
    },
    end: (body) => {
      result.body = body;
    },
  };
  return { result, response };
}

module.exports = { fromEvent, fromFastify, isEvent, isFastify, toResult };
