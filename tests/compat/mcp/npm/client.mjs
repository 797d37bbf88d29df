// The npm SDK: handshake, list of the tools, then calls. Several conversations, one JSON document.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

async function answer(client, [name, args]) {
  try {
    return await client.callTool({ name, arguments: args })
  } catch (error) {
    return { code: error.code, message: error.message }
  }
}

async function run(given) {
  const client = new Client({ name: 'test', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(given.url), { requestInit: { headers: given.headers } })
  await client.connect(transport)
  const { tools } = await client.listTools()
  const answers = []
  for (const call of given.calls) answers.push(await answer(client, call))
  await client.close()
  return { version: transport.protocolVersion, tools, answers }
}

const conversations = []
for (const given of JSON.parse(process.argv[2])) {
  conversations.push(await run(given).catch((error) => ({ failures: [String(error)] })))
}
console.log(JSON.stringify(conversations))
