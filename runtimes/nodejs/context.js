'use strict';

/*
 * What a handler gets as `context`, and its logger.
 * Start with contextMaker. Values of the instance come from the environment as it was at start, those of a
 * request from its frame. Secrets stand in closures only, so that printing a context does not print them.
 */

const util = require('util');
const { requestId } = require('./frames');

const format = util.format;
const hrtime = process.hrtime;
const floor = Math.floor;

const LEVELS = { DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3 };

// Method of the context, member of the frame's meta.
const REQUEST_GETTERS = {
  getAlias: 'alias',
  getToken: 'auth_token',
  getAccessKey: 'access_key',
  getSecretKey: 'secret_key',
  getSecurityAccessKey: 'security_access_key',
  getSecuritySecretKey: 'security_secret_key',
  getSecurityToken: 'security_token',
  getWorkflowID: 'workflow_id',
  getWorkflowRunID: 'workflow_run_id',
  getWorkflowStateID: 'workflow_state_id'
};

/** Returns a function that makes the context of one frame; reads `env` once. */
function contextMaker(env, log) {
  const timeoutS = Number(env.RUNTIME_TIMEOUT || 0);
  const ofInstance = instanceGetters(env, timeoutS);
  return (frame) => {
    const id = requestId(frame.idBytes);
    const logger = makeLogger(id, log);
    const started = nowMs();
    const leftMs = frame.timeoutMs || timeoutS * 1000;
    const context = Object.assign({}, ofInstance, {
      getRequestID: () => id,
      getRemainingTimeInMilliSeconds: () => leftMs - (nowMs() - started),
      getLogger: () => logger,
      traceID: id,
      invokeProperty: stringOr(frame.meta.invoke_property, null),
      instanceID: null,
      state: null,
      fromTask: false
    });
    for (const name of Object.keys(REQUEST_GETTERS)) {
      const value = stringOr(frame.meta[REQUEST_GETTERS[name]], '');
      context[name] = () => value;
    }
    return context;
  };
}

function instanceGetters(env, timeoutS) {
  const userData = parseUserData(env.RUNTIME_USERDATA);
  const constant = (name) => {
    const value = env[name] || '';
    return () => value;
  };
  return {
    getRunningTimeInSeconds: () => timeoutS,
    getUserData: (key) => userData.get(key),
    getFunctionName: constant('RUNTIME_FUNC_NAME'),
    getVersion: constant('RUNTIME_FUNC_VERSION'),
    // Strings, as the environment has them: functions in the wild compare them with '128'.
    getMemorySize: constant('RUNTIME_MEMORY'),
    getCPUNumber: constant('RUNTIME_CPU'),
    getProjectID: constant('RUNTIME_PROJECT_ID'),
    getPackage: constant('RUNTIME_PACKAGE')
  };
}

// A map, so that a key like `constructor` is not found on a prototype.
function parseUserData(text) {
  const values = JSON.parse(text || '{}');
  return new Map(Object.keys(values).map((key) => [key, values[key]]));
}

function makeLogger(id, log) {
  let threshold = LEVELS.INFO;
  const writer = (level) => function () {
    if (LEVELS[level] >= threshold) {
      log.record(id, level, format.apply(null, arguments));
    }
  };
  const info = writer('INFO');
  return {
    debug: writer('DEBUG'),
    info,
    log: info,
    warn: writer('WARN'),
    error: writer('ERROR'),
    setLevel: (name) => {
      if (Object.prototype.hasOwnProperty.call(LEVELS, name)) {
        threshold = LEVELS[name];
      }
    }
  };
}

function stringOr(value, otherwise) {
  return typeof value === 'string' ? value : otherwise;
}

// Not Date: test libraries that fake time would stop it, and the system's clock can jump.
function nowMs() {
  const time = hrtime();
  return time[0] * 1000 + floor(time[1] / 1e6);
}

module.exports = { contextMaker };
