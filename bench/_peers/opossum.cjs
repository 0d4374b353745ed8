// What a call through opossum costs: "KIND WORK SECONDS AT_ONCE" in, nanoseconds of CPU per call out.
// "version" asks for the versions. A line that is no number says what failed.
"use strict";
const readline = require("node:readline");
const Breaker = require("opossum");

// setImmediate is one turn of Node's loop, as asyncio.sleep(0) is of Python's; a resolved promise
// would come back before the loop turns.
const works = {
  nothing: async (value) => value,
  suspending: async (value) => {
    await new Promise(setImmediate);
    return value;
  },
};

function fired(breaker) {
  return (value) => breaker.fire(value);
}

const kinds = {
  bare: (work) => work,
  breaker: (work) => fired(new Breaker(work, { timeout: false })),
  whole: (work) => fired(new Breaker(work, { timeout: 1000, capacity: 64 })),
};

async function row(call, count) {
  for (let number = 0; number < count; number++) await call(7);
}

async function round(call, count, atOnce) {
  const each = Math.ceil(count / atOnce);
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: atOnce }, () => row(call, each)));
  const used = process.cpuUsage(before);
  return ((used.user + used.system) * 1000) / (each * atOnce);
}

const made = new Map();

// A call is warmed up once, until a round of it is long enough to be told.
async function prepared(kind, work, seconds, atOnce) {
  const name = `${kind} ${work} ${atOnce}`;
  if (!made.has(name)) {
    const call = kinds[kind](works[work]);
    if ((await call(7)) !== 7) throw new Error(`${name} answered something else`);
    let count = 1000;
    let cost = await round(call, count, atOnce);
    while (cost * count < seconds * 1e9) {
      count *= 4;
      cost = await round(call, count, atOnce);
    }
    made.set(name, { call, count: Math.max(1000, Math.floor((seconds * 1e9) / cost)) });
  }
  return made.get(name);
}

async function answer(kind, work, seconds, atOnce) {
  if (kind === "version") {
    return `Node ${process.version}: opossum ${require("opossum/package.json").version}`;
  }
  const { call, count } = await prepared(kind, work, Number(seconds), Number(atOnce));
  return String(await round(call, count, Number(atOnce)));
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      console.log(await answer(...line.split(" ")));
    } catch (error) {
      console.log(String(error).replaceAll("\n", " "));
    }
  }
  process.exit(0);
})();
