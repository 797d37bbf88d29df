// SCRAM-SHA-256 (RFC 5802 and 7677): the client proves that it knows the password, without sending it.

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { ConnectionRefused } from './startup.mjs'
import { int32, message, ProtocolViolation, readString } from './wire.mjs'

const MECHANISM = 'SCRAM-SHA-256'
const ITERATIONS = 4096
// Channel binding needs TLS: `n` from clients that lack it, `y` from those that found none on the server.
const CLIENT_FIRST = /^([ny],(?:a=[^,]*)?,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))$/
const CLIENT_FINAL = /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)),p=([A-Za-z0-9+/=]+)$/

const hmac = (key, text) => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes) => createHash('sha256').update(bytes).digest()
const authentication = (code, ...parts) => message('R', int32(code), ...parts)

/** Return the keys for the password in a libpq password file, whose one line ends with it. */
export function readCredentials(passfile) {
  const password = readFileSync(passfile, 'utf8').trim().split(':').at(-1)
  if (!password) throw new Error(`${passfile} has no password: delete it, and a new one is made`)
  const salt = randomBytes(16)
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256')
  return { salt, storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') }
}

/** The authentication of one connection. Its messages are given to `answer`, in turn, until `complete`. */
export class Authentication {
  complete = false
  request = authentication(10, MECHANISM, Buffer.from([0]))
  #credentials
  #user
  #first = null

  constructor(credentials, user) {
    this.#credentials = credentials
    this.#user = user
  }

  /** Return the response to a message's body. Throws ConnectionRefused if the password is wrong. */
  answer(body) {
    return this.#first ? this.#checkProof(body.toString('latin1')) : this.#challenge(body)
  }

  #challenge(body) {
    const [mechanism, at] = readString(body, 0)
    const match = CLIENT_FIRST.exec(body.toString('latin1', at + 4))
    if (mechanism !== MECHANISM || !match) throw new ProtocolViolation('malformed SCRAM message')
    const [, header, bare, clientNonce] = match
    const nonce = clientNonce + randomBytes(18).toString('base64')
    const challenge = `r=${nonce},s=${this.#credentials.salt.toString('base64')},i=${ITERATIONS}`
    this.#first = { header, nonce, messages: `${bare},${challenge}` }
    return authentication(11, Buffer.from(challenge))
  }

  #checkProof(text) {
    const { header, nonce, messages } = this.#first
    const match = CLIENT_FINAL.exec(text)
    if (!match) throw new ProtocolViolation('malformed SCRAM message')
    const [, withoutProof, binding, givenNonce, encodedProof] = match
    if (givenNonce !== nonce || Buffer.from(binding, 'base64').toString('latin1') !== header) {
      throw new ProtocolViolation('SCRAM message does not belong to this connection')
    }
    const signed = `${messages},${withoutProof}`
    const { storedKey, serverKey } = this.#credentials
    const signature = hmac(storedKey, signed)
    const proof = Buffer.from(encodedProof, 'base64')
    const clientKey = signature.map((byte, index) => byte ^ proof[index])
    if (proof.length !== signature.length || !timingSafeEqual(sha256(clientKey), storedKey)) {
      throw new ConnectionRefused(
        '28P01',
        `password authentication failed for user "${this.#user}"`,
        'The password is in the file "pgpass" of the data folder; `market-data psql` connects with it.',
      )
    }
    this.complete = true
    return authentication(12, Buffer.from(`v=${hmac(serverKey, signed).toString('base64')}`))
  }
}
