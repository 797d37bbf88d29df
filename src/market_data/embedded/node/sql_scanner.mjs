// Splits SQL into statements and tokens, to find the few constructs of a query that must not reach the engine unchanged.
//
// Texts are strings of bytes (latin1), so that rewriting keeps every other byte.

const SPACE = /[\s]/
const WORD_START = /[A-Za-z_\x80-\xff]/
const WORD = /[A-Za-z_0-9$\x80-\xff]*/y
const DOLLAR_TAG = /\$(?:[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*)?\$/y
// Only queries with one of these words are scanned.
const RELEVANT = /\b(?:copy|prepare|execute|deallocate|discard|listen|unlisten|authorization|client_encoding|names)\b/i

/**
 * Find the constructs that the server handles itself; null if the query has none, as most queries do.
 * `copyIn`: the query is a single COPY FROM STDIN. `channels`: its LISTEN and UNLISTEN statements in order.
 * `edits`: replacements `{ start, end, kind, name }` of statement names (kind `statement`), of whole statements (kinds
 * `deallocate all`, `discard all`, `unlisten`, `reset authorization`), of the role in SET SESSION AUTHORIZATION (kinds
 * `authorization`, `default authorization`) and of the value in SET client_encoding (kind `encoding`).
 */
export function scan(text) {
  if (!RELEVANT.test(text)) return null
  const statements = splitStatements(text)
  const found = { copyIn: statements.length === 1 && isCopyIn(statements[0]), channels: [], edits: [] }
  for (const tokens of statements) scanStatement(tokens, found)
  return found
}

/**
 * Return the statements of a text, each a list of tokens `{ word, start, end }`: `word` is lower case for a keyword or a
 * plain identifier, the unescaped name for a quoted identifier (`quoted` is set), the character for punctuation, and
 * undefined for literals.
 */
function splitStatements(text) {
  const statements = []
  let tokens = []
  let at = 0
  while (at < text.length) {
    const start = at
    const character = text[at]
    if (SPACE.test(character)) at += 1
    else if (character === '-' && text[at + 1] === '-') at = endOf(text, '\n', at)
    else if (character === '/' && text[at + 1] === '*') at = endOfComment(text, at)
    else if (character === ';') {
      if (tokens.length) statements.push(tokens)
      tokens = []
      at += 1
    } else {
      const token = { start }
      at = readToken(text, at, token)
      token.end = at
      tokens.push(token)
    }
  }
  if (tokens.length) statements.push(tokens)
  return statements
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

function endOfQuoted(text, at, quote, backslashEscapes) {
  for (let next = at + 1; next < text.length; next++) {
    if (backslashEscapes && text[next] === '\\') next += 1
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

function isCopyIn(tokens) {
  if (tokens[0].word !== 'copy' || tokens[0].quoted) return false
  let depth = 0
  for (let at = 1; at < tokens.length; at++) {
    const { word, quoted } = tokens[at]
    if (word === '(') depth += 1
    else if (word === ')') depth -= 1
    else if (depth === 0 && word === 'from' && !quoted) {
      // PostgreSQL accepts either word for the client's end of the connection.
      return ['stdin', 'stdout'].includes(tokens[at + 1]?.word)
    }
  }
  return false
}

function scanStatement(tokens, { edits, channels }) {
  const [first, second, third] = tokens.map((token) => (token.quoted ? undefined : token.word))
  const whole = { start: tokens[0].start, end: tokens.at(-1).end }
  const addStatementName = (token) => {
    if (token?.word !== undefined) {
      edits.push({ start: token.start, end: token.end, kind: 'statement', name: decodeUtf8(token.word) })
    }
  }
  if (first === 'deallocate') {
    const at = second === 'prepare' && tokens.length > 2 ? 2 : 1
    if ((at === 2 ? third : second) === 'all') edits.push({ ...whole, kind: 'deallocate all' })
    else addStatementName(tokens[at])
  } else if (first === 'discard' && second === 'all') {
    edits.push({ ...whole, kind: 'discard all' })
    channels.push({ listen: false, channel: null })
  } else if (first === 'execute' || (first === 'prepare' && second !== 'transaction')) addStatementName(tokens[1])
  else if (first === 'explain' || first === 'create') {
    const at = tokens.findIndex(
      (token, index) =>
        token.word === 'execute' && !token.quoted && (first === 'explain' || tokens[index - 1].word === 'as'),
    )
    if (at > 0) addStatementName(tokens[at + 1])
  } else if (first === 'listen' || first === 'unlisten') {
    const channel = second === '*' ? null : tokens[1]?.word
    if (channel === undefined) return
    channels.push({ listen: first === 'listen', channel: channel && decodeUtf8(channel) })
    if (first === 'unlisten') edits.push({ ...whole, kind: 'unlisten' })
  } else {
    scanAuthorization(tokens, whole, edits)
    scanEncoding(tokens, edits)
  }
}

function scanAuthorization(tokens, whole, edits) {
  const words = tokens.map((token) => (token.quoted ? undefined : token.word))
  const at = words.indexOf('authorization')
  if (words[at - 1] !== 'session' || !['set', 'reset'].includes(words[0])) return
  if (words[0] === 'reset') edits.push({ ...whole, kind: 'reset authorization' })
  else if (at + 1 < tokens.length) {
    const { word, quoted, start, end } = tokens[at + 1]
    const kind = word === 'default' && !quoted ? 'default authorization' : 'authorization'
    // SET also accepts the role as a string, for which there is no word.
    edits.push({ start, end, kind, name: word && decodeUtf8(word) })
  }
}

function scanEncoding(tokens, edits) {
  if (tokens[0].word !== 'set') return
  const at = ['session', 'local'].includes(tokens[1]?.word) ? 2 : 1
  const word = tokens[at]?.word
  const value = tokens[word === 'client_encoding' ? at + 2 : at + 1]
  if (value && (word === 'client_encoding' || word === 'names')) {
    edits.push({ start: value.start, end: value.end, kind: 'encoding' })
  }
}

const decodeUtf8 = (word) => Buffer.from(word, 'latin1').toString('utf8')
