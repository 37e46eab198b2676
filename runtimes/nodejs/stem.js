'use strict';

/*
 * A runtime that is started before anybody knows for which function (../CONTRACT.md, Stems).
 * Start with warm; adoptEnvironment makes it a runtime like any other. Required in stems only.
 */

const Module = require('module');
const net = require('net');
const { BrokenFrame, FrameReader, TYPE } = require('./frames');

// What functions commonly require. Nothing here may start a thread or read variables: UV_THREADPOOL_SIZE
// and the like are not known yet.
const MODULES = [
  'assert', 'buffer', 'crypto', 'events', 'fs', 'http', 'https', 'os', 'path', 'querystring', 'stream',
  'string_decoder', 'timers', 'url', 'util', 'zlib'
];
const ROUNDS = 3;
const REHEARSAL = require.resolve('./rehearsal');
const LOADER = require.resolve('./loader');
const EVENT = '{"name": "rehearsal", "list": [1, 2.5, null, "a"]}';
const CALLS = [['rehearsal.handler', EVENT], ['rehearsal.callback', EVENT], ['rehearsal.handler', '{"fail": true}']];

/**
 * Requires modules and rehearses; calls `done` after that. The log gets no line of it, and no variable stays.
 *
 * `serve(socket, life)` answers on a connection as the runtime of a function that is not known yet;
 * `life.instance = null` makes it forget its function again.
 */
function warm(serve, log, done) {
  MODULES.forEach((name) => require(name));
  const restore = log.silence();
  const environment = Object.assign({}, process.env);
  rehearse(serve, script(environment), () => {
    restore();
    replaceEnvironment(environment);
    done();
  });
}

// The requests of many short lives, in reverse order.
function script(environment) {
  const requests = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const call of CALLS) {
      const variables = Object.assign({}, environment, {
        RUNTIME_CODE_ROOT: __dirname,
        RUNTIME_HANDLER: call[0],
        RUNTIME_USERDATA: '{"name": "rehearsal"}'
      });
      requests.push([TYPE.INVOKE, call[1]], [TYPE.LOAD, ''], [TYPE.SPECIALISE, JSON.stringify(variables)]);
    }
  }
  return requests;
}

// Over a connection, because its first use is what takes longest. Node makes one only by listening; where it
// cannot listen, the stem is just slower.
function rehearse(serve, requests, done) {
  const life = {};
  const reader = new FrameReader();
  const server = net.createServer();
  const sockets = [];
  const finish = () => {
    forgetRehearsal();
    sockets.forEach((socket) => socket.destroy());
    server.close(() => done());
  };
  const next = () => {
    const request = requests.pop();
    if (request === undefined) {
      finish();
      return;
    }
    if (request[0] === TYPE.SPECIALISE) {
      life.instance = null;
      forgetRehearsal();
    }
    sockets[0].write(encodeRequest(request[0], request[1]));
  };
  server.once('error', finish);
  server.once('connection', (socket) => {
    sockets.push(socket);
    serve(socket, life);
  });
  server.listen(`/tmp/stem-${process.pid}`, () => {
    sockets.push(net.connect(server.address()));
    sockets[0].once('error', finish);
    // READY is the first frame, then come the answers.
    sockets[0].on('data', (chunk) => reader.push(chunk).forEach(next));
  });
}

function encodeRequest(type, body) {
  const bytes = Buffer.alloc(32 + Buffer.byteLength(body));
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes[4] = type;
  bytes.write(body, 32);
  return bytes;
}

// The author can see the modules that are loaded, and what the loader of his own has loaded.
function forgetRehearsal() {
  delete require.cache[REHEARSAL];
  const loader = require.cache[LOADER];
  loader.children = loader.children.filter((child) => child.filename !== REHEARSAL);
  for (const key of Object.keys(Module._pathCache)) {
    if (Module._pathCache[key] === REHEARSAL) {
      delete Module._pathCache[key];
    }
  }
}

/** Makes a JSON object of texts the environment of the process, exactly. Throws BrokenFrame if `body` is none. */
function adoptEnvironment(body) {
  replaceEnvironment(parseEnvironment(body));
}

function replaceEnvironment(environment) {
  for (const name of Object.keys(process.env)) {
    delete process.env[name];
  }
  for (const name of Object.keys(environment)) {
    process.env[name] = environment[name];
  }
  // NODE_PATH and HOME say where modules are looked for last.
  Module._initPaths();
}

function parseEnvironment(body) {
  let environment;
  try {
    environment = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new BrokenFrame(`the environment is not JSON: ${error.message}`);
  }
  const isObject = typeof environment === 'object' && environment !== null && !Array.isArray(environment);
  if (!isObject || Object.keys(environment).some((name) => typeof environment[name] !== 'string')) {
    throw new BrokenFrame('the environment is not an object of texts');
  }
  return environment;
}

module.exports = { adoptEnvironment, warm };
