// PostgreSQL's wire protocol, version 3: framing of received bytes, and construction of messages.

const MAX_MESSAGE_BYTES = 256 * 1024 * 1024
// PostgreSQL's own limit for messages without a payload.
const MAX_SMALL_MESSAGE_BYTES = 10_000
const LARGE_TYPES = new Set(['Q', 'P', 'B', 'F', 'd'])
const KNOWN_TYPES = new Set(['Q', 'P', 'B', 'E', 'D', 'C', 'F', 'H', 'S', 'X', 'd', 'c', 'f'])

/** The client's bytes violate the protocol: the connection ends with this error. */
export class ProtocolViolation extends Error {
  constructor(message, code = '08P01') {
    super(message)
    this.code = code
  }
}

/**
 * Cuts the bytes received on a socket into frames. A frame is a view of the received bytes, not a copy, unless it
 * arrived in several pieces. No memory is allocated for a declared length before the bytes arrive.
 */
export class FrameReader {
  #chunks = []
  #size = 0

  /** Bytes that have been received but not read. */
  get size() {
    return this.#size
  }

  push(chunk) {
    this.#chunks.push(chunk)
    this.#size += chunk.length
  }

  /** Return the start-up message (or SSL, GSS or cancel request) without its length word; null if incomplete. */
  nextStartup() {
    if (this.#size < 4) return null
    const length = this.#peek(4).readInt32BE(0)
    if (length < 8 || length > MAX_SMALL_MESSAGE_BYTES) {
      throw new ProtocolViolation('invalid length of startup packet')
    }
    return this.#size < length ? null : this.#read(length).subarray(4)
  }

  /** Return the next message, whose type is one of `types`, with its type byte and length word; null if incomplete. */
  next(types = KNOWN_TYPES) {
    if (this.#size < 1) return null
    const type = String.fromCharCode(this.#peek(1)[0])
    if (!types.has(type)) {
      throw new ProtocolViolation(`invalid frontend message type ${type.charCodeAt(0)}`)
    }
    if (this.#size < 5) return null
    const length = this.#peek(5).readInt32BE(1)
    if (length < 4 || length > (LARGE_TYPES.has(type) ? MAX_MESSAGE_BYTES : MAX_SMALL_MESSAGE_BYTES)) {
      throw new ProtocolViolation('invalid message length')
    }
    return this.#size < length + 1 ? null : this.#read(length + 1)
  }

  #peek(count) {
    if (this.#chunks[0].length < count) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]
  }

  #read(count) {
    const first = this.#peek(count)
    if (first.length === count) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(count)
    this.#size -= count
    return first.subarray(0, count)
  }
}

export function int32(value) {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** Build a message. A part that is a string is sent NUL-terminated. */
export function message(type, ...parts) {
  const bodies = parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part))
  const length = bodies.reduce((sum, body) => sum + body.length, 4)
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length), ...bodies])
}

export const query = (sql) => message('Q', sql)
export const sync = message('S')
export const closeStatement = (name) => message('C', Buffer.from('S'), name)
export const readyForQuery = (status) => message('Z', Buffer.from(status))
export const parameterStatus = (name, value) => message('S', name, value)

export function errorResponse({ severity, code, message: text, hint }) {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${text}`]
  if (hint) fields.push(`H${hint}`)
  return message('E', ...fields, Buffer.from([0]))
}

/** Return the fields of an ErrorResponse by their one-letter codes. */
export function errorFields(body) {
  const fields = {}
  for (const field of body.toString().split('\0')) if (field) fields[field[0]] = field.slice(1)
  return fields
}

/** Iterate over the messages in the engine's output: type, body (a view), and where each starts and ends. */
export function* messages(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    yield { type: String.fromCharCode(bytes[at]), body: bytes.subarray(at + 5, end), start: at, end }
    at = end
  }
}

/** Return the NUL-terminated string at an offset and the offset behind it. Throws if there is no NUL. */
export function readString(bytes, at) {
  const end = bytes.indexOf(0, at)
  if (end < 0) throw new ProtocolViolation('invalid string in message')
  return [bytes.toString('utf8', at, end), end + 1]
}

/** Return the columns of a DataRow as texts; null for NULL. */
export function rowValues(body) {
  const values = []
  let at = 2
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at)
    at += 4
    values.push(length < 0 ? null : body.toString('utf8', at, at + length))
    at += Math.max(length, 0)
  }
  return values
}
