'use strict';

const assert = require('assert');
const { test } = require('node:test');
const { BrokenFrame, FLAG_JSON, FrameReader, TYPE, encodeDone, encodeReady, requestId } = require('../frames');
const { ID, makeFrame } = require('./peer');

test('frames are found whatever way their bytes are cut', () => {
  const bytes = Buffer.concat([
    makeFrame(TYPE.LOAD), makeFrame(TYPE.INVOKE, '{"k":"ü"}', { alias: 'a' }, 1500), makeFrame(TYPE.INVOKE, 'x'.repeat(200))
  ]);
  for (const step of [1, 7, 31, 32, 33, 100, bytes.length]) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < bytes.length; at += step) {
      frames.push(...reader.push(bytes.slice(at, at + step)));
    }
    assert.deepStrictEqual(frames.map((frame) => frame.type), [TYPE.LOAD, TYPE.INVOKE, TYPE.INVOKE]);
    assert.deepStrictEqual(frames[1].meta, { alias: 'a' });
    assert.strictEqual(frames[1].body.toString(), '{"k":"ü"}');
    assert.strictEqual(frames[1].timeoutMs, 1500);
    assert.strictEqual(frames[2].body.length, 200);
  }
});

test('a length outside 28 bytes to 8 MiB is refused before the rest arrives', () => {
  for (const length of [0, 27, 8 * 1024 * 1024 - 3, 0xffffffff]) {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32BE(length, 0);
    assert.throws(() => new FrameReader().push(bytes), BrokenFrame);
  }
});

test('meta that does not fit, is no JSON or no object is refused', () => {
  const tooLong = makeFrame(TYPE.INVOKE);
  tooLong.writeUInt32BE(1, 28);
  assert.throws(() => new FrameReader().push(tooLong), BrokenFrame);
  for (const text of ['{', '1', 'null']) {
    const bytes = makeFrame(TYPE.INVOKE, text);
    bytes.writeUInt32BE(text.length, 28);
    assert.throws(() => new FrameReader().push(bytes), BrokenFrame);
  }
});

test('an answer has the id of its request, the code, the flags and the text in UTF-8', () => {
  const bytes = encodeDone(ID, { code: 4002, flags: FLAG_JSON, body: 'ü€😀' });
  assert.strictEqual(bytes.readUInt32BE(0), 28 + 9);
  assert.deepStrictEqual([bytes[4], bytes[5], bytes.readUInt16BE(6)], [TYPE.DONE, FLAG_JSON, 4002]);
  assert.ok(bytes.slice(8, 24).equals(ID));
  assert.ok(bytes.slice(24, 32).equals(Buffer.alloc(8)));
  assert.strictEqual(bytes.toString('utf8', 32), 'ü€😀');
});

test('READY is an empty frame', () => {
  assert.strictEqual(encodeReady().toString('hex'), '0000001c01' + '00'.repeat(27));
});

test('a request id is a lower-case UUID with dashes', () => {
  assert.strictEqual(requestId(ID), '00112233-4455-6677-8899-aabbccddeeff');
});
