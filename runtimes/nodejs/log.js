'use strict';

/*
 * The log: the pipe behind descriptors 1 and 2.
 * What is written here is in the pipe when the call returns, whatever author code did to the standard streams.
 */

const fs = require('fs');
const { Writable } = require('stream');

// Held from the start: author code may replace what hangs on the globals and on fs.
const fstat = fs.fstatSync;
const writeSync = fs.writeSync;
const toBytes = Buffer.from;
const byteLength = Buffer.byteLength;
const RealDate = Date;

// 90 KB, the whole line with its prefix (../CONTRACT.md).
const RECORD_BYTES_MAX = 92160;
const FULL_PIPE_PAUSE_MS = 1;

/** Makes what author code prints go into the pipe at once, and returns the log of this process. */
function openLog() {
  replaceStream('stdout', 1);
  replaceStream('stderr', 2);
  return new Log(descriptors());
}

// Node's own streams make a pipe non-blocking: what a function prints would then wait in memory when the pipe is
// full, come after the answer, or be lost at exit.
function replaceStream(name, fd) {
  let created;
  const get = () => {
    created = created || new PrintStream(fd);
    return created;
  };
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
}

/** A standard stream whose writes are done when they return. Writing to a closed descriptor is lost, no error. */
class PrintStream extends Writable {
  constructor(fd) {
    super();
    this.fd = fd;
    // A function that ends the stream and prints again loses the text, not the process.
    this.on('error', () => {});
  }

  _write(chunk, encoding, done) {
    writeAll(this.fd, chunk);
    done();
  }

  // The descriptor stays open, as with Node's own stream.
  _destroy(error, done) {
    done(error);
  }
}

/** Writes records; a record that cannot be written is dropped, because a log never fails a function. */
class Log {
  constructor(targets) {
    this.targets = targets;
  }

  /** Writes `<time> <request id> <LEVEL> <text>`, split into several such lines when it is too long. */
  record(id, level, text) {
    const prefix = `${new RealDate().toISOString()} ${id} ${level} `;
    if (byteLength(text) <= RECORD_BYTES_MAX - prefix.length) {
      this.write(`${prefix}${text}\n`);
      return;
    }
    for (const part of split(toBytes(text), RECORD_BYTES_MAX - prefix.length)) {
      this.write(`${prefix}${part}\n`);
    }
  }

  /** Makes the log write nowhere until the function that it returns is called. */
  silence() {
    const targets = this.targets;
    const fd = fs.openSync('/dev/null', 'w');
    this.targets = [identify(fd)];
    return () => {
      this.targets = targets;
      fs.closeSync(fd);
    };
  }

  /** Writes text as it is. */
  write(text) {
    for (const target of this.targets) {
      if (isSame(target)) {
        writeAll(target.fd, toBytes(text));
        return;
      }
    }
  }
}

// Node has no dup(2). A pipe can be opened a second time by its name in /proc where its mode permits;
// elsewhere descriptors 1 and 2 stand in for each other, as long as they still are what they were at start.
function descriptors() {
  try {
    if (fstat(1).isFIFO()) {
      return [identify(fs.openSync('/proc/self/fd/1', fs.constants.O_WRONLY))];
    }
  } catch (error) {
    // EACCES for a pipe that belongs to another user, ENOENT without /proc: the fallback below serves.
  }
  return [identify(1), identify(2)].filter(Boolean);
}

function identify(fd) {
  try {
    const status = fstat(fd);
    return { fd, dev: status.dev, ino: status.ino };
  } catch (error) {
    return null;
  }
}

function isSame(target) {
  const now = identify(target.fd);
  return now !== null && now.dev === target.dev && now.ino === target.ino;
}

function writeAll(fd, bytes) {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += writeSync(fd, bytes, offset, bytes.length - offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') {
        return;
      }
      // A child of the function made the shared pipe non-blocking and it is full: the server is reading it.
      pause();
    }
  }
}

function pause() {
  if (typeof Atomics === 'object') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_PAUSE_MS);
  }
}

function split(bytes, partBytesMax) {
  const parts = [];
  let start = 0;
  while (start < bytes.length) {
    let end = Math.min(start + partBytesMax, bytes.length);
    // Back to the first byte of a character: the others look like 10xxxxxx.
    while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) {
      end -= 1;
    }
    parts.push(bytes.toString('utf8', start, end));
    start = end;
  }
  return parts;
}

module.exports = { openLog };
