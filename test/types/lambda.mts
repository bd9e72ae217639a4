/** Handlers as the types of @types/aws-lambda and middy have them: wrapped, they keep their type. */

import middy from '@middy/core';
import type {
  APIGatewayProxyEventV2,
  APIGatewayProxyHandler,
  APIGatewayProxyHandlerV2,
  Callback,
  Context,
  Handler,
  S3Handler,
  ScheduledHandler,
  SQSEvent,
  SQSHandler,
  StreamifyHandler,
} from 'aws-lambda';
import { createDispatcher } from 'optimizely-amplitude';
import type { Dispatcher } from 'optimizely-amplitude';
import defaultExport, { withFlush } from 'optimizely-amplitude/lambda';
import type { DispatcherSource, WithFlushOptions } from 'optimizely-amplitude/lambda';

const dispatcher = createDispatcher({ apiKey: 'key' });
const same: typeof withFlush = defaultExport.withFlush;

// Inline: the parameters get their types from what is assigned to.
export const inlineV2: APIGatewayProxyHandlerV2 = withFlush(
  async (event) => ({ statusCode: 200, body: event.rawPath }),
  dispatcher,
);
export const inline: APIGatewayProxyHandler = withFlush(
  async (event, context) => ({ statusCode: 200, body: event.path + context.awsRequestId }),
  dispatcher,
);
export const annotated: APIGatewayProxyHandlerV2 = withFlush(
  async (event: APIGatewayProxyEventV2, context: Context) => ({
    statusCode: 200,
    body: event.rawPath + context.awsRequestId,
  }),
  dispatcher,
);
export const queue: SQSHandler = withFlush(async (event) => {
  event.Records.forEach(({ body }) => console.log(body));
}, dispatcher);
export const callback: Handler<{ a: 1 }, string> = withFlush(
  (event: { a: 1 }, context: Context, done: Callback<string>) => {
    done(null, `${event.a} ${context.functionName}`);
  },
  dispatcher,
);
export const inlineCallback: APIGatewayProxyHandler = withFlush((event, context, done) => {
  void context;
  done(null, { statusCode: 200, body: event.path });
}, dispatcher);

// Typed already.
declare const typed: {
  any: Handler;
  own: Handler<{ a: number }, { b: string }>;
  proxy: APIGatewayProxyHandler;
  proxyV2: APIGatewayProxyHandlerV2;
  proxyV2Own: APIGatewayProxyHandlerV2<{ b: string }>;
  queue: SQSHandler;
  bucket: S3Handler;
  schedule: ScheduledHandler;
};
export const any: Handler = withFlush(typed.any, dispatcher);
export const own: Handler<{ a: number }, { b: string }> = withFlush(typed.own, dispatcher);
export const proxy: APIGatewayProxyHandler = withFlush(typed.proxy, dispatcher);
export const proxyV2: APIGatewayProxyHandlerV2 = withFlush(typed.proxyV2, dispatcher);
export const proxyV2Own: APIGatewayProxyHandlerV2<{ b: string }> = withFlush(
  typed.proxyV2Own,
  dispatcher,
);
export const typedQueue: SQSHandler = withFlush(typed.queue, dispatcher);
export const bucket: S3Handler = withFlush(typed.bucket, dispatcher);
export const schedule: ScheduledHandler = withFlush(typed.schedule, dispatcher);

// What comes back is what was given.
const ownAgain = withFlush(typed.own, dispatcher);
export const ownType: typeof typed.own = ownAgain;
const answered: void | Promise<{ b: string }> = ownAgain({ a: 1 }, {} as Context, () => {});

const asynchronous = withFlush(async (event: SQSEvent) => event.Records.length, dispatcher);
const count: number = await asynchronous({ Records: [] });
const nothing: void = await withFlush(async () => {}, dispatcher)();
// A handler that is not asynchronous is, when it is wrapped.
const synchronous = withFlush((event: SQSEvent) => event.Records.length, dispatcher);
const countToo: Promise<number> = synchronous({ Records: [] });

// Middy: with its methods, inside and outside.
const base = async (event: APIGatewayProxyEventV2) => ({ statusCode: 200, body: event.rawPath });
const outside = withFlush(middy(base), dispatcher);
export const chained: APIGatewayProxyHandlerV2 = outside
  .use({ before: () => {} })
  .before(() => {})
  .after(() => {})
  .onError(() => {});
export const inside = middy(withFlush(base, dispatcher)).use({ after: () => {} });
export const insideTyped = middy(withFlush(typed.proxyV2, dispatcher));

// A streaming handler keeps its type, wrapped before or after.
const stream: StreamifyHandler = async (event, response, context) => {
  response.write(`${event} ${context.functionName}`);
};
export const streaming = [
  awslambda.streamifyResponse(withFlush(stream, dispatcher)),
  withFlush(awslambda.streamifyResponse(stream), dispatcher),
];

// A dispatcher that comes later.
let late: Dispatcher | undefined;
withFlush(typed.own, () => late);
withFlush(typed.own, () => Promise.resolve(dispatcher));
withFlush(typed.own, async () => late);
withFlush(typed.own, () => null);
const source: DispatcherSource = () => dispatcher;
const options: WithFlushOptions = { timeoutMillis: 800, marginMillis: undefined };
withFlush(typed.own, source, options);
withFlush(typed.own, dispatcher, { marginMillis: 100 });

// @ts-expect-error no handler
withFlush('handler', dispatcher);
// @ts-expect-error no dispatcher
withFlush(typed.own);
// @ts-expect-error not a dispatcher
withFlush(typed.own, {});
// @ts-expect-error a function that returns something else
withFlush(typed.own, () => 'key');
// @ts-expect-error unknown
withFlush(typed.own, dispatcher, { timeout: 800 });
// @ts-expect-error not a number
withFlush(typed.own, dispatcher, { timeoutMillis: '800' });
// @ts-expect-error the handler's event is another
export const other: Handler<{ c: 1 }> = withFlush(typed.own, dispatcher);
// @ts-expect-error the handler's answer is another
export const wrong: Handler<{ a: number }, number> = withFlush(typed.own, dispatcher);

export { answered, count, countToo, nothing, same };
