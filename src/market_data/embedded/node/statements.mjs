// What a query text says, as far as the bridge must know: SQL cut into statements and words.
//
// Texts are strings of bytes (latin1), so that rewriting leaves every other byte as it was.

const SPACE = /[\s]/
const WORD_START = /[A-Za-z_\x80-\xff]/
const WORD = /[A-Za-z_0-9$\x80-\xff]*/y
const DOLLAR_TAG = /\$(?:[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*)?\$/y
// Only texts with one of these words can concern the bridge; no others are scanned.
const CONCERNS = /\b(?:copy|prepare|execute|deallocate|discard|listen|unlisten|authorization|client_encoding|names)\b/i

/**
 * The statements of a text, each a list of tokens `{ word, start, end }`: `word` is lower case for a keyword or a
 * plain identifier, the unescaped name for a quoted one (`quoted` is set), the character for punctuation, and
 * absent for literals.
 */
export function statements(text) {
  const found = []
  let tokens = []
  let at = 0
  while (at < text.length) {
    const start = at
    const character = text[at]
    if (SPACE.test(character)) at += 1
    else if (character === '-' && text[at + 1] === '-') at = endOf(text, '\n', at)
    else if (character === '/' && text[at + 1] === '*') at = endOfComment(text, at)
    else if (character === ';') {
      if (tokens.length) found.push(tokens)
      tokens = []
      at += 1
    } else {
      const token = { start }
      at = readToken(text, at, token)
      token.end = at
      tokens.push(token)
    }
  }
  if (tokens.length) found.push(tokens)
  return found
}

function readToken(text, at, token) {
  const character = text[at]
  if (character === "'") return endOfQuoted(text, at, "'", false)
  if (character === '"') {
    const end = endOfQuoted(text, at, '"', false)
    token.word = text.slice(at + 1, end - 1).replaceAll('""', '"')
    token.quoted = true
    return end
  }
  if (character === '$') {
    DOLLAR_TAG.lastIndex = at
    const tag = DOLLAR_TAG.exec(text)?.[0]
    if (tag) return endOf(text, tag, at + tag.length)
  }
  if (WORD_START.test(character)) {
    if (text[at + 1] === "'" && /[eE]/.test(character)) return endOfQuoted(text, at + 1, "'", true)
    WORD.lastIndex = at
    const word = WORD.exec(text)[0]
    token.word = word.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
    return at + word.length
  }
  token.word = character
  return at + 1
}

function endOf(text, mark, from) {
  const at = text.indexOf(mark, from)
  return at < 0 ? text.length : at + mark.length
}

function endOfQuoted(text, at, quote, escapes) {
  for (let next = at + 1; next < text.length; next++) {
    if (escapes && text[next] === '\\') next += 1
    else if (text[next] === quote) {
      if (text[next + 1] !== quote) return next + 1
      next += 1
    }
  }
  return text.length
}

function endOfComment(text, at) {
  let depth = 0
  for (let next = at; next < text.length; next++) {
    if (text.startsWith('/*', next)) {
      depth += 1
      next += 1
    } else if (text.startsWith('*/', next)) {
      depth -= 1
      next += 1
      if (depth === 0) return next + 1
    }
  }
  return text.length
}

/**
 * What of a text concerns the bridge, or null for the many texts of which nothing does:
 * `copyIn`: it is a single COPY FROM STDIN; `channels`: its LISTEN and UNLISTEN in order; `edits`: its
 * replacements `{ start, end, kind, name }` of statement names (kind `statement`) and of whole statements
 * (kinds `deallocate all`, `discard all`, `unlisten`, `reset authorization`) or of the role in SET SESSION
 * AUTHORIZATION (kinds `authorization`, `default authorization`), or of the value in SET client_encoding (`encoding`).
 */
export function concernsOf(text) {
  if (!CONCERNS.test(text)) return null
  const all = statements(text)
  const concerns = { copyIn: all.length === 1 && isCopyIn(all[0]), channels: [], edits: [] }
  for (const tokens of all) collect(tokens, concerns)
  return concerns
}

function isCopyIn(tokens) {
  if (tokens[0].word !== 'copy' || tokens[0].quoted) return false
  let depth = 0
  for (let at = 1; at < tokens.length; at++) {
    const { word, quoted } = tokens[at]
    if (word === '(') depth += 1
    else if (word === ')') depth -= 1
    else if (depth === 0 && word === 'from' && !quoted) {
      // PostgreSQL takes either word for the client's end of the line.
      return ['stdin', 'stdout'].includes(tokens[at + 1]?.word)
    }
  }
  return false
}

function collect(tokens, concerns) {
  const [first, second, third] = tokens.map((token) => (token.quoted ? undefined : token.word))
  const whole = { start: tokens[0].start, end: tokens.at(-1).end }
  const named = (token) => {
    if (token?.word !== undefined) {
      concerns.edits.push({ start: token.start, end: token.end, kind: 'statement', name: decoded(token.word) })
    }
  }
  if (first === 'deallocate') {
    const at = second === 'prepare' && tokens.length > 2 ? 2 : 1
    const everything = at === 2 ? third === 'all' : second === 'all'
    if (everything) concerns.edits.push({ ...whole, kind: 'deallocate all' })
    else named(tokens[at])
  } else if (first === 'discard' && second === 'all') {
    concerns.edits.push({ ...whole, kind: 'discard all' })
    concerns.channels.push({ listen: false, channel: null })
  } else if (first === 'prepare' && second !== 'transaction') named(tokens[1])
  else if (first === 'execute') named(tokens[1])
  else if (first === 'explain' || first === 'create') {
    const at = tokens.findIndex(
      (token, index) =>
        token.word === 'execute' && !token.quoted && (first === 'explain' || tokens[index - 1].word === 'as'),
    )
    if (at > 0) named(tokens[at + 1])
  } else if (first === 'listen' || first === 'unlisten') {
    const channel = second === '*' ? null : tokens[1]?.word
    if (channel === undefined) return
    concerns.channels.push({ listen: first === 'listen', channel: channel && decoded(channel) })
    if (first === 'unlisten') concerns.edits.push({ ...whole, kind: 'unlisten' })
  } else {
    collectAuthorization(tokens, whole, concerns)
    collectEncoding(tokens, concerns)
  }
}

function collectEncoding(tokens, concerns) {
  if (tokens[0].word !== 'set') return
  const at = ['session', 'local'].includes(tokens[1]?.word) ? 2 : 1
  const word = tokens[at]?.word
  const value = tokens[word === 'client_encoding' ? at + 2 : at + 1]
  if (value && (word === 'client_encoding' || word === 'names')) {
    concerns.edits.push({ start: value.start, end: value.end, kind: 'encoding' })
  }
}

function collectAuthorization(tokens, whole, concerns) {
  const words = tokens.map((token) => (token.quoted ? undefined : token.word))
  const at = words.indexOf('authorization')
  if (words[at - 1] !== 'session' || !['set', 'reset'].includes(words[0])) return
  if (words[0] === 'reset') concerns.edits.push({ ...whole, kind: 'reset authorization' })
  else if (at + 1 < tokens.length) {
    const { word, quoted, start, end } = tokens[at + 1]
    const kind = word === 'default' && !quoted ? 'default authorization' : 'authorization'
    // SET takes the role as a string as well.
    concerns.edits.push({ start, end, kind, name: word && decoded(word) })
  }
}

const decoded = (word) => Buffer.from(word, 'latin1').toString('utf8')
