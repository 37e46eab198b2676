'use strict';

/*
 * The frames of ../CONTRACT.md: bytes to objects and back.
 * Start with FrameReader. Nothing here knows what a frame asks for.
 */

// Held from the start: author code may replace what hangs on the globals.
const parse = JSON.parse;
const allocate = Buffer.allocUnsafe;
const byteLength = Buffer.byteLength;
const concat = Buffer.concat;

const FIXED_BYTES = 32;
const LENGTH_BYTES = 4;
const FRAME_BYTES_MAX = 8 * 1024 * 1024;

const TYPE = { READY: 1, LOAD: 2, INIT: 3, INVOKE: 4, DONE: 5, PRESTOP: 6, SPECIALISE: 7 };
const FLAG_JSON = 1;
const FLAG_HANDLED = 2;

/** The peer sent bytes that are not a frame; nothing after them can be trusted. */
class BrokenFrame extends Error {}

/** Cuts the bytes of a stream into frames. */
class FrameReader {
  constructor() {
    this.chunks = [];
    this.size = 0;
    this.wanted = FIXED_BYTES;
  }

  /**
   * Takes the next bytes and returns the frames that are now complete.
   *
   * The bodies share memory with the bytes given. Throws BrokenFrame.
   */
  push(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    const frames = [];
    while (this.size >= this.wanted) {
      // Joined only when a whole frame is there, so a long body is copied once.
      const bytes = this.chunks.length === 1 ? this.chunks[0] : concat(this.chunks, this.size);
      const end = frameEnd(bytes);
      if (bytes.length < end) {
        this.hold(bytes, end);
        break;
      }
      frames.push(decode(bytes.slice(0, end)));
      this.hold(bytes.slice(end), FIXED_BYTES);
    }
    return frames;
  }

  hold(bytes, wanted) {
    this.chunks = bytes.length === 0 ? [] : [bytes];
    this.size = bytes.length;
    this.wanted = wanted;
  }
}

function frameEnd(bytes) {
  const end = LENGTH_BYTES + bytes.readUInt32BE(0);
  if (end < FIXED_BYTES || end > FRAME_BYTES_MAX) {
    throw new BrokenFrame(`a frame of ${end} bytes is outside ${FIXED_BYTES} to ${FRAME_BYTES_MAX}`);
  }
  return end;
}

function decode(bytes) {
  const bodyStart = FIXED_BYTES + bytes.readUInt32BE(28);
  if (bodyStart > bytes.length) {
    throw new BrokenFrame('the meta of a frame is longer than the frame');
  }
  return {
    type: bytes[4],
    idBytes: bytes.slice(8, 24),
    timeoutMs: bytes.readUInt32BE(24),
    meta: decodeMeta(bytes.toString('utf8', FIXED_BYTES, bodyStart)),
    body: bytes.slice(bodyStart)
  };
}

function decodeMeta(text) {
  if (text === '') {
    return {};
  }
  let meta;
  try {
    meta = parse(text);
  } catch (error) {
    throw new BrokenFrame(`the meta of a frame is not JSON: ${error.message}`);
  }
  if (typeof meta !== 'object' || meta === null) {
    throw new BrokenFrame('the meta of a frame is not an object');
  }
  return meta;
}

/** Returns the request id of a frame as a lower-case UUID. */
function requestId(idBytes) {
  const hex = idBytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Returns the READY frame. */
function encodeReady() {
  const bytes = Buffer.alloc(FIXED_BYTES);
  bytes.writeUInt32BE(FIXED_BYTES - LENGTH_BYTES, 0);
  bytes[4] = TYPE.READY;
  return bytes;
}

/** Returns the DONE frame for the request with these 16 bytes; `outcome` has code, flags and a body text. */
function encodeDone(idBytes, outcome) {
  const bodyBytes = byteLength(outcome.body);
  const bytes = allocate(FIXED_BYTES + bodyBytes);
  bytes.writeUInt32BE(bytes.length - LENGTH_BYTES, 0);
  bytes[4] = TYPE.DONE;
  bytes[5] = outcome.flags;
  bytes.writeUInt16BE(outcome.code, 6);
  idBytes.copy(bytes, 8);
  bytes.writeUInt32BE(0, 24);
  bytes.writeUInt32BE(0, 28);
  bytes.write(outcome.body, FIXED_BYTES, bodyBytes, 'utf8');
  return bytes;
}

module.exports = { BrokenFrame, FLAG_HANDLED, FLAG_JSON, FrameReader, TYPE, encodeDone, encodeReady, requestId };
