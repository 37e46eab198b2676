'use strict';

const assert = require('assert');
const { test } = require('node:test');
const { ErrorReporter, PHASE } = require('../errors');

const reporter = new ErrorReporter(['/srv/code', '/real/code']);

function withStack(lines) {
  return Object.assign(new Error('m'), { stack: lines.join('\n') });
}

function framesOf(lines) {
  return JSON.parse(reporter.thrown(withStack(lines), PHASE.INVOCATION).body).stackTrace;
}

test('frames end at the last one in the code root, whatever stands between', () => {
  const frames = framesOf([
    'Error: m', '    at a (/srv/code/lib/a.js:1:2)', '    at new Promise (<anonymous>)', '    at b (/srv/code/index.js:3:4)',
    '    at call (/home/snuser/runtime/calls.js:1:1)'
  ]);
  assert.deepStrictEqual(frames, ['at a (./lib/a.js:1:2)', 'at new Promise (<anonymous>)', 'at b (./index.js:3:4)']);
});

test('every name of the code root is shortened, also as the URL of an ES module', () => {
  const frames = framesOf([
    'Error: m', '    at a (/real/code/a.js:1:2)', '    at b (file:///real/code/b.mjs:1:2)', '    at /srv/code/c.js:1:2'
  ]);
  assert.deepStrictEqual(frames, ['at a (./a.js:1:2)', 'at b (./b.mjs:1:2)', 'at ./c.js:1:2']);
});

test('a folder that only begins like the code root is not the code root', () => {
  assert.deepStrictEqual(framesOf(['Error: m', '    at a (/srv/code2/a.js:1:2)']), []);
});

test('an error without a stack has an empty list', () => {
  assert.deepStrictEqual(framesOf(['']), []);
});

test('the record shows the message once, then the first line of the stack and the frames', () => {
  const outcome = reporter.thrown(withStack(['Error: m', '    at a (/srv/code/a.js:1:2)', '    at runtime.js']), PHASE.INVOCATION);
  assert.strictEqual(outcome.record, 'function invocation exception, error: m\nError: m\n    at a (./a.js:1:2)');
});

test('a syntax error of a module names its place, one that JSON.parse threw has none', () => {
  const error = new SyntaxError('Unexpected token');
  error.stack = '/srv/code/index.js:7\nlet let;\n    ^\n\nSyntaxError: Unexpected token\n    at wrapSafe (node:vm:1:1)';
  const unloadable = reporter.unloadable(error, PHASE.ENTRY);
  assert.deepStrictEqual(JSON.parse(unloadable.body), {
    errorMessage: 'function entry exception, error: Unexpected token (./index.js:7)', errorType: 'SyntaxError'
  });
  assert.match(unloadable.record, /\.\/index\.js:7\nlet let;\n {4}\^\nSyntaxError: Unexpected token$/);

  error.stack = 'SyntaxError: Unexpected token\n    at JSON.parse (<anonymous>)';
  assert.strictEqual(
    JSON.parse(reporter.unloadable(error, PHASE.ENTRY).body).errorMessage, 'function entry exception, error: Unexpected token'
  );
});

test('a stack of one hundred thousand lines is cut where the code root ends', () => {
  const lines = ['Error: m', '    at a (/srv/code/a.js:1:2)'].concat(Array(100000).fill('    at runtime.js:1:1'));
  assert.deepStrictEqual(framesOf(lines), ['at a (./a.js:1:2)']);
});
