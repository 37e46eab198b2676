'use strict';

/*
 * First file of the Node.js runtime: `node bootstrap.js <catalogue directory>`, a connected socket as descriptor 3.
 * Reads frames (../CONTRACT.md), gives them to the instance, writes its outcomes.
 */

const fs = require('fs');
const net = require('net');
const Module = require('module');
const { contextMaker } = require('./context');
const { ErrorReporter } = require('./errors');
const { BrokenFrame, FrameReader, TYPE, encodeDone, encodeReady, requestId } = require('./frames');
const { Instance, handlerRules } = require('./instance');
const { EMPTY } = require('./calls');
const { openLog } = require('./log');

// Held from the start: author code may replace what hangs on the globals.
const exit = process.exit;
const nextTick = process.nextTick;
const write = net.Socket.prototype.write;

const SOCKET_FD = 3;

function main() {
  const catalogueName = process.argv.splice(2, 1)[0] || '';
  const log = openLog();
  // With a handler it is no stem: there the author has set this variable.
  if (process.env.FUNCLET_STEM === undefined || process.env.RUNTIME_HANDLER !== undefined) {
    const instance = makeInstance(process.env, catalogueName, log);
    shareModules(process.env, catalogueName);
    connect({ instance }, log);
    return;
  }
  const stem = require('./stem');
  const specialise = (frame) => {
    stem.adoptEnvironment(frame.body);
    shareModules(process.env, catalogueName);
    return makeInstance(process.env, catalogueName, log);
  };
  const rehearse = (socket, life) => serve(socket, Object.assign(life, { instance: null, specialise }), log);
  stem.warm(rehearse, log, () => connect({ instance: null, specialise }, log));
}

function makeInstance(env, catalogueName, log) {
  const codeRoot = env.RUNTIME_CODE_ROOT;
  const settings = {
    codeRoot,
    handler: env.RUNTIME_HANDLER || '',
    initializer: env.RUNTIME_INITIALIZER_HANDLER || '',
    preStop: env.PRE_STOP_HANDLER || '',
    rules: handlerRules(catalogueName)
  };
  // Node names loaded files by their real path.
  const roots = Array.from(new Set([codeRoot, fs.realpathSync(codeRoot)]));
  return new Instance(settings, new ErrorReporter(roots), contextMaker(env, log));
}

// Modules that the operator offers to all functions; a NODE_PATH of the function replaces them.
function shareModules(env, catalogueName) {
  if (env.NODE_PATH === undefined && catalogueName !== '') {
    env.NODE_PATH = `/opt/function/runtime/${catalogueName}/rtsp/nodejs/node_modules`;
    Module._initPaths();
  }
}

function connect(life, log) {
  // Close-on-exec is set already: Node sets it at start on every descriptor that it inherits.
  const socket = new net.Socket({ fd: SOCKET_FD, readable: true, writable: true });
  socket.on('end', () => end(0));
  socket.on('error', () => end(0));
  serve(socket, life, log);
}

// `life` has the instance; or null, and how a stem makes it of the frame that says which it is.
function serve(socket, life, log) {
  const reader = new FrameReader();
  const answer = (frame, outcome) => {
    if (outcome.code !== 0) {
      log.record(requestId(frame.idBytes), 'ERROR', outcome.record);
    }
    // After the code that runs now: what it prints behind its callback belongs before the answer.
    nextTick(() => write.call(socket, encodeDone(frame.idBytes, outcome)));
  };
  socket.on('data', (chunk) => {
    endIfBroken(log, () => {
      for (const frame of reader.push(chunk)) {
        dispatch(life, frame, (outcome) => answer(frame, outcome));
      }
    });
  });
  write.call(socket, encodeReady());
}

function endIfBroken(log, action) {
  try {
    action();
  } catch (error) {
    if (!(error instanceof BrokenFrame)) {
      throw error;
    }
    log.write(`Node.js runtime: ${error.message}; the process ends\n`);
    end(1);
  }
}

function dispatch(life, frame, done) {
  if (life.instance === null) {
    if (frame.type !== TYPE.SPECIALISE) {
      throw new BrokenFrame(`frame type ${frame.type} before the environment`);
    }
    life.instance = life.specialise(frame);
    done(EMPTY);
    return;
  }
  switch (frame.type) {
    case TYPE.LOAD:
      life.instance.load(frame, done);
      break;
    case TYPE.INIT:
      life.instance.initialize(frame, done);
      break;
    case TYPE.INVOKE:
      life.instance.invoke(frame, done);
      break;
    case TYPE.PRESTOP:
      life.instance.preStop(frame, done);
      break;
    default:
      throw new BrokenFrame(`unknown frame type ${frame.type}`);
  }
}

// Without the author's exit listeners, which could keep the process or change its status.
function end(status) {
  process.removeAllListeners('exit');
  exit.call(process, status);
}

main();
