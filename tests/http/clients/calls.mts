// Calls every operation with openapi-fetch, and prints the results as JSON. `tsc` checks the types: a union with `string`
// where there is a number, or a field that may be missing, is an error here.
import createClient from 'openapi-fetch'
import type { components, paths } from './schema.d.ts'
import { address, key } from './service.mts'

type Schemas = components['schemas']
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const sameTypes: [
  Same<Schemas['TradeIn']['price'], number>,
  Same<Schemas['TradeIn']['trade_id'], number | undefined>,
  Same<Schemas['CorrectIn']['volume'], number | undefined>,
  Same<Schemas['Candle']['settled'], boolean | undefined>,
  Same<Schemas['Candle']['vwap'], number | null>,
  Same<Schemas['Fill'], 'previous' | 'null'>,
] = [true, true, true, true, true, true]

const client = createClient<paths, 'application/json' | 'application/problem+json'>({
  baseUrl: address,
  headers: { Authorization: `Bearer ${key}` },
})
const called = new Set<string>()
client.use({
  onRequest({ request, schemaPath }) {
    called.add(`${request.method} ${schemaPath}`)
  },
})

/** The data of a response, which must not be an error. */
async function data<T>(answer: Promise<{ data?: T; error?: unknown }>): Promise<T> {
  const { data, error } = await answer
  if (data === undefined) throw new Error(JSON.stringify(error))
  return data
}

await data(client.POST('/symbols', { body: { symbol: 'BRK/B', name: 'Berkshire' } }))
const path = { symbol: 'BRK/B' }
const added = await data(client.GET('/symbols/{symbol}', { params: { path } }))
const changed = await data(client.PATCH('/symbols/{symbol}', { params: { path }, body: { name: 'Berkshire Hathaway' } }))
await data(client.POST('/symbols', { body: { symbol: 'OLD', name: 'Old', type: 'etf', tick_size: 0.01, aliases: ['Older'] } }))
const renaming = { params: { path: { symbol: 'OLD' } }, body: { to: 'NEW', at: '2026-01-01T00:00:00Z' } }
const renamed = await data(client.POST('/symbols/{symbol}/rename', renaming))

const trade: Schemas['TradeIn'] = { symbol: 'BRK/B', price: 489.5, volume: 2, timestamp: '2026-02-08T10:30:00Z' }
const partial = { params: { query: { partial: true } } }
const stored = [
  await data(client.POST('/trades', { body: trade })),
  await data(client.POST('/trades', { ...partial, body: [{ ...trade, trade_id: 1 }, { ...trade, trade_id: 2, price: 0 }] })),
]
const { symbol, timestamp } = trade
const corrected = await data(client.POST('/trades/correct', { body: { symbol, timestamp, price: 490, reason: 'typo' } }))
const cancelled = await data(client.POST('/trades/cancel', { body: { symbol, timestamp, trade_id: 1, reason: 'twice' } }))
const changes = await data(client.GET('/trades/changes', { params: { query: { symbol } } }))

const acted = { params: { path: { symbol: 'AAPL' } } }
const split = { id: 'split', type: 'split', ex_date: '2000-01-03', ratio: '4:1' } as const
const recorded = await data(client.POST('/symbols/{symbol}/actions', { ...acted, body: split }))
const redone = await data(
  client.POST('/symbols/{symbol}/actions/correct', { ...acted, body: { id: 'split', ratio: '5:1', reason: 'typo' } }),
)
const undone = await data(client.POST('/symbols/{symbol}/actions/cancel', { ...acted, body: { id: 'split', reason: 'none' } }))
const actions = [
  recorded.ratio,
  redone.after?.ratio,
  undone.change,
  (await data(client.GET('/symbols/{symbol}/actions', acted))).count,
  (await data(client.GET('/symbols/{symbol}/actions/changes', acted))).count,
]

const query = { symbol: 'AAPL' }
const latest = await data(client.GET('/price/latest', { params: { query } }))
const prices = [
  latest.price,
  (await data(client.GET('/price', { params: { query } }))).price,
  ...(await data(client.GET('/prices/latest', { params: { query: { symbols: 'AAPL,BRK/B' } } }))).prices.map(({ price }) => price),
  ...(await data(client.GET('/snapshots', { params: { query: { symbols: 'BRK/B' } } }))).snapshots.map(({ latest }) => latest.price),
]
const symbols = (await data(client.GET('/symbols'))).symbols.map(({ name }) => name)

const trades = await data(client.GET('/trades', { params: { query: { ...query, limit: 2 } } }))
const next = await data(
  client.GET('/trades', { params: { query: { ...query, limit: 2, page_token: trades.next_page_token ?? undefined } } }),
)

const month = { ...query, interval: '1m', start: '2026-01-01', end: new Date(Date.UTC(2026, 0, 31)).toISOString() } as const
const csv: string = await data(client.GET('/candles', { params: { query: { ...month, format: 'csv' } }, parseAs: 'text' }))
const arrow: ArrayBuffer = await data(
  client.GET('/candles', { params: { query: { ...month, limit: 10, format: 'arrow' } }, parseAs: 'arrayBuffer' }),
)
const candles = await data(client.GET('/candles', { params: { query: { ...month, limit: 3 } } }))
if ('fill' in candles || !('symbol' in candles)) throw new Error('the types are not told apart')
const volume: number = candles.candles.reduce((sum, candle) => sum + candle.volume * candle.close, 0)
const filled = await data(
  client.GET('/candles', { params: { query: { ...month, symbol: 'BRK/B', fill: 'null', limit: 3 } } }),
)
if (!('fill' in filled)) throw new Error('without fill')
const close: number | null | undefined = filled.candles[0]?.close

const unknown = await client.GET('/price/latest', { params: { query: { symbol: 'ACME' } } })
const invalid = await client.GET('/trades', { params: { query: { ...query, limit: 0 } } })
const { data: nothing, error } = invalid
const problems = [unknown.error?.title, ...(error?.errors ?? []).map(({ name }) => name)]

const stream = await data(
  client.GET('/stream', {
    params: { query: { symbols: 'AAPL' }, header: { 'Last-Event-ID': '' } },
    parseAs: 'stream',
  }),
)
const reader = stream?.pipeThrough(new TextDecoderStream()).getReader()
const event = (await reader?.read())?.value
await reader?.cancel()

const service = {
  links: Object.keys((await data(client.GET('/'))).links).length,
  trades: (await data(client.GET('/health'))).last_trade_count,
  live: (await data(client.GET('/health/live'))).status,
  ready: (await data(client.GET('/health/ready'))).status,
  ingestion: (await data(client.GET('/status/ingestion'))).ingestion_status,
  late: (
    await data(
      client.GET('/candles/explain', { params: { query: { symbol: 'AAPL', interval: '1M', timestamp: '2026-01-01' } } }),
    )
  ).late_trade_count,
  revised: (
    await data(
      client.GET('/candles/revised', { params: { query: { symbol: 'AAPL', interval: '1w', start: '2026-01-01' } } }),
    )
  ).count,
  revisions: (
    await data(client.GET('/revisions', { params: { query: { symbol: 'AAPL', interval: '1w', start: '2026-01-01' } } }))
  ).next_page_token,
  calendars: (await data(client.GET('/calendars'))).calendars.map(({ code }) => code),
  sessions: (
    await data(
      client.GET('/calendars/{code}/sessions', {
        params: { path: { code: '24/7' }, query: { start: '2026-02-07', end: '2026-02-09' } },
      }),
    )
  ).sessions.map(({ day }) => day),
  market: (await data(client.GET('/market/status', { params: { query } }))).status,
  differences: (await data(client.GET('/status/audit'))).open_differences,
  log: (
    await Promise.all([
      client.GET('/log/key', { parseAs: 'text' }),
      client.GET('/log/checkpoint', { parseAs: 'text' }),
      client.GET('/log/tile/{tile}', { params: { path: { tile: '0/000.p/1' } }, parseAs: 'text' }),
      client.GET('/log/proof', { params: { query: { symbol: 'AAPL', timestamp: '2026-01-01' } }, parseAs: 'text' }),
    ])
  ).every(({ response }) => [200, 404].includes(response.status)),
  metrics: (await data(client.GET('/metrics', { parseAs: 'text' }))).includes('market_data_requests_total'),
}

console.log(
  JSON.stringify({
    called: [...called],
    sameTypes,
    symbol: [added.name, changed.name, renamed.symbol, renamed.names?.length, ...symbols],
    stored: stored.map(({ stored, rejected }) => [stored, rejected.length]),
    changes: [corrected.after?.price, cancelled.action, ...changes.changes.map(({ reason }) => reason)],
    actions,
    prices,
    pages: [trades, next].map(({ trades }) => trades.map(({ price }) => price)),
    csvLines: csv.split('\n').length - 2,
    arrowBytes: arrow.byteLength > 100,
    candles: [volume, filled.fill, close],
    problems,
    nothing: nothing === undefined,
    event,
    service,
  }),
)
