// A gateway put together from plugins: a token, a limit, a breaker, and one log line per request.
// The line is written when the answer has ended, in batches, which is pino's cheapest way.
"use strict";
const pino = require("pino");
const CircuitBreaker = require("opossum");

const logger = pino(pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 50 }));
const app = require("fastify")({ loggerInstance: logger, disableRequestLogging: true });

// What the proxy makes of a request, as one action that the breaker sees succeed or fail.
const breaker = new CircuitBreaker((outcome) => outcome, { timeout: 3000 });

app.decorateRequest("succeeded", null);
app.decorateRequest("failed", null);
app.register(require("@fastify/jwt"), { secret: process.env.SECRET });
app.register(require("@fastify/rate-limit"), { max: 1e9, timeWindow: 1000 });
app.addHook("onResponse", async (request, reply) => {
  request.log.info({
    method: request.method, path: request.url, status: reply.statusCode, peer: request.ip,
    subject: request.user && request.user.sub, ms: reply.elapsedTime,
  }, "request");
});

app.register(require("@fastify/http-proxy"), {
  upstream: `http://127.0.0.1:${process.env.UPSTREAM}`,
  preValidation: async (request) => request.jwtVerify(),
  preHandler: async (request, reply) => {
    const outcome = new Promise((resolve, reject) => {
      request.succeeded = resolve;
      request.failed = reject;
    });
    outcome.catch(() => {});
    if (breaker.opened) return reply.code(503).send({ error: "the breaker is open" });
    breaker.fire(outcome).catch(() => {});
  },
  replyOptions: {
    onResponse: (request, reply, answer) => {
      if (reply.statusCode < 500) request.succeeded();
      else request.failed(new Error(`status ${reply.statusCode}`));
      reply.send(answer.stream);
    },
    onError: (reply, { error }) => {
      reply.request.failed(error);
      reply.send(error);
    },
  },
});
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
