// Calls operations of the vendor's Node.js SDK as they are asked for on standard input, one JSON text per line:
// {"operation": "showFunctionConfig", "request": {"functionUrn": "..."}}. Answers {"result": ...} or {"error": ...}
// behind a mark, since the SDK writes its log to standard output too.
// Started with {"endpoint", "region", "iam", "ak", "sk", "projectId"} as its only argument; endpoint or region.
'use strict';

const readline = require('node:readline');
const core = require('@huaweicloud/huaweicloud-sdk-core');
const { Region } = require('@huaweicloud/huaweicloud-sdk-core/region/region');
const sdk = require('@huaweicloud/huaweicloud-sdk-functiongraph/v2/public-api');

const capital = (name) => name[0].toUpperCase() + name.slice(1);
const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function newClient(options) {
  const credentials = new core.BasicCredentials().withAk(options.ak).withSk(options.sk);
  if (options.projectId) credentials.withProjectId(options.projectId);
  if (options.iam) credentials.withIamEndpoint(options.iam);
  const builder = sdk.FunctionGraphClient.newBuilder().withCredential(credentials);
  return options.region
    ? builder.withRegion(new Region(options.region, options.endpoint)).build()
    : builder.withEndpoint(options.endpoint).build();
}

// Bodies are filled by the builder methods of the SDK's own classes, as people do; what has none is set as it is.
function body(operation, members) {
  const Type = sdk[`${capital(operation)}RequestBody`];
  if (!Type || Array.isArray(members)) return members;
  const made = new Type();
  for (const [name, value] of Object.entries(members)) {
    const method = `with${capital(camel(name))}`;
    if (made[method]) made[method](value);
    else made[name] = value;
  }
  return made;
}

function request(operation, members) {
  const made = new sdk[`${capital(operation)}Request`]();
  for (const [name, value] of Object.entries(members)) {
    made[`with${capital(name)}`](name === 'body' ? body(operation, value) : value);
  }
  return made;
}

async function answer(client, { operation, request: members }) {
  try {
    const result = await client[operation](request(operation, members));
    return { result: Array.isArray(result) ? { body: [...result], httpStatusCode: result.httpStatusCode } : result };
  } catch (error) {
    const { httpStatusCode, errorCode, errorMsg } = error;
    return { error: { httpStatusCode, errorCode, errorMsg, text: String(error) } };
  }
}

async function main() {
  const client = newClient(JSON.parse(process.argv[2]));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`\n@answer ${JSON.stringify(await answer(client, JSON.parse(line)))}\n`);
  }
}

main();
