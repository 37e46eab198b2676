'use strict';

const assert = require('assert');
const { test } = require('node:test');
const { TYPE } = require('../frames');
const { Peer, makeFrame } = require('./peer');

async function invokeOnce(source, catalogueName, environment) {
  const peer = new Peer(source, catalogueName, environment);
  await peer.read(32);
  assert.strictEqual((await peer.ask(TYPE.LOAD)).code, 0);
  const answer = await peer.ask(TYPE.INVOKE, '{}');
  assert.strictEqual(await peer.close(), 0);
  return { answer, output: peer.output };
}

test('Node.js 6 takes exactly three parameters', async () => {
  const source = 'exports.handler = (event, context) => 1;';
  const { answer } = await invokeOnce(source, 'nodejs6.10');
  assert.deepStrictEqual(JSON.parse(answer.body), {
    errorMessage: 'function entry exception, error: handler expect to have 3 parameters, but received 2',
    errorType: 'FunctionLoadError'
  });
});

test('Node.js 6 answers through the callback and not through a promise', async () => {
  const source = `exports.handler = (event, context, callback) => {
    setTimeout(callback, 1, null, 'callback');
    return Promise.resolve('promise');
  };`;
  assert.strictEqual((await invokeOnce(source, 'nodejs6.10')).answer.body, 'callback');
  assert.strictEqual((await invokeOnce(source, 'nodejs8.10')).answer.body, 'promise');
});

test('without a pipe to open again, the other descriptor keeps the log', async () => {
  const source = `exports.handler = (event, context, callback) => {
    require('fs').closeSync(1);
    require('fs').openSync('/dev/null', 'w');
    context.getLogger().info('kept');
    callback(null);
  };`;
  const { output } = await invokeOnce(source, 'nodejs20.15');
  assert.match(output[1], / INFO kept\n$/);
});

test('a handler that neither calls back nor returns a promise never answers', async () => {
  const source = "exports.handler = (event, context) => (event.second ? Promise.resolve('second') : 'first');";
  const peer = new Peer(source, 'nodejs20.15');
  await peer.read(32);
  await peer.ask(TYPE.LOAD);
  peer.socket.write(makeFrame(TYPE.INVOKE, '{}'));
  // A server would wait; here the answer to a later request shows that the first one got none.
  const answer = await peer.ask(TYPE.INVOKE, '{"second": true}');
  assert.strictEqual(answer.body, 'second');
  assert.strictEqual(await peer.close(), 0);
});

test('user data that is missing counts as empty', async () => {
  const source = 'exports.handler = async (event, context) => typeof context.getUserData("a");';
  assert.strictEqual((await invokeOnce(source, 'nodejs20.15', {})).answer.body, 'undefined');
});
