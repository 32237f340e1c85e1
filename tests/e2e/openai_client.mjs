// OpenAI's own JavaScript library at work: `node openai_client.mjs URL CASE FOLDER` prints what it saw.
import { readFile } from 'node:fs/promises';
import { File } from 'node:buffer';

globalThis.File ??= File; // before node 20
const { default: OpenAI, toFile } = await import('openai');

const [url, wanted, folder] = process.argv.slice(2);
const connect = (options) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', timeout: 30_000, ...options });
const client = connect({});
const audio = async (name) => toFile(await readFile(`${folder}/${name}`), name);
const script = (...acts) => toFile(Buffer.from(JSON.stringify(acts)), 'script.wav');
const SAY = { say: 'one two three', start: 0, end: 1 };

const listen = async (fields, name = 'digits-en.wav') =>
  client.audio.transcriptions.create({ model: 'whisper-small', file: await audio(name), ...fields });
const play = async (using, acts, fields = {}) =>
  using.audio.transcriptions.create({ model: 'fake-small', file: await script(...acts), ...fields });

// What a user sees of a failure.
const failure = async (asking) => {
  try {
    await asking;
    return null;
  } catch (error) {
    return {
      is: error.constructor.name,
      status: error.status ?? null,
      code: error.code ?? null,
      param: error.param ?? null,
      type: error.type ?? null,
      message: error.message,
      body: error.error ?? null,
      retry_after: error.headers?.get('retry-after') ?? null,
      request_id: error.requestID ?? null,
    };
  }
};

const streamed = async (stream) => {
  const seen = { types: [], deltas: [], text: null };
  for await (const event of stream) {
    seen.types.push(event.type);
    if (event.type === 'transcript.text.done') seen.text = event.text;
    else seen.deltas.push(event.delta);
  }
  return seen;
};

const cases = {
  async answers() {
    const told = {};
    for (const format of ['json', 'verbose_json', 'text', 'srt', 'vtt'])
      told[format] = await listen({ response_format: format });
    told.stream = await streamed(await listen({ stream: true }, 'digits-en-long.wav'));
    told.whole = await listen({}, 'digits-en-long.wav');
    told.translation = await client.audio.translations.create({
      model: 'whisper-small',
      file: await audio('digits-de.wav'),
    });
    return told;
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return {
      ids,
      plain: await client.models.retrieve('whisper-small'),
      slashed: await client.models.retrieve('org/digits'),
      missing: await failure(client.models.retrieve('no/such')),
    };
  },
  async failures() {
    return {
      malformed: await failure(play(client, [{ fail: 'malformed' }])),
      unknown_model: await failure(play(client, [SAY], { model: 'no-such' })),
      overflow: await failure(play(client, [{ fail: 'oom' }])),
      bug: await failure(play(client, [{ fail: 'bug' }])),
      crash: await failure(play(client, [{ crash: 'kill' }])),
      in_stream: await failure(play(client, [SAY, { fail: 'oom' }], { stream: true }).then(streamed)),
      warned: await streamed(await play(client, [SAY], { model: 'fake-whole', stream: true })),
    };
  },
  async busy() {
    return failure(play(connect({ maxRetries: 0 }), [SAY]));
  },
  async patient() {
    return play(client, [SAY]);
  },
  async abort() {
    const stream = await play(client, [SAY, { gate: 'abort' }, SAY], { stream: true });
    for await (const event of stream) {
      stream.controller.abort();
      return event;
    }
  },
};

process.stdout.write(JSON.stringify(await cases[wanted]()), () => process.exit(0));
