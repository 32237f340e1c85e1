// Chat and speech by OpenAI's own JavaScript library: `node openai_relays.mjs URL CASE` prints what it saw.
const { default: OpenAI } = await import('openai');

const [url, wanted] = process.argv.slice(2);
const connect = (options) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', timeout: 30_000, ...options });
const client = connect({});
const once = connect({ maxRetries: 0 });
const MODEL = 'qwen3:4b';
const TTS = 'qwen3-tts-12hz-0.6b-customvoice';
const TOOLS = [{ type: 'function', function: { name: 'weather', parameters: {} } }];

const ask = (fields, using = client) =>
  using.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: 'hi' }], ...fields });
const speak = (fields, using = client) =>
  using.audio.speech.create({ model: TTS, voice: 'vivian', input: 'one two three', ...fields });

// What a user sees of a failure; `heard` is what had come before.
const failure = async (asking, heard = []) => {
  try {
    await asking;
    return null;
  } catch (error) {
    return {
      is: error.constructor.name,
      api: error instanceof OpenAI.APIError,
      status: error.status ?? null,
      code: error.code ?? null,
      message: error.message,
      body: error.error ?? null,
      heard,
    };
  }
};

const listen = async (stream, heard = []) => {
  for await (const chunk of stream)
    for (const choice of chunk.choices) heard.push(choice.delta.content ?? '');
  return heard;
};

const cases = {
  async chat() {
    const whole = await ask({});
    const heard = await listen(await ask({ stream: true }));
    const runner = client.chat.completions.stream({ model: MODEL, messages: [{ role: 'user', content: 'hi' }] });
    const final = await runner.finalChatCompletion();
    return {
      whole: whole.choices[0].message.content,
      reason: whole.choices[0].finish_reason,
      streamed: heard.join(''),
      final: final.choices[0].message.content,
    };
  },
  async tools() {
    const whole = await ask({ tools: TOOLS });
    const calls = [];
    for await (const chunk of await ask({ tools: TOOLS, stream: true }))
      for (const choice of chunk.choices) calls.push(...(choice.delta.tool_calls ?? []));
    return { whole: whole.choices[0].message.tool_calls, streamed: calls };
  },
  async errors() {
    return {
      whole: await failure(ask({ model: 'nobody' })),
      streamed: await failure(ask({ model: 'nobody', stream: true })),
      speech: await failure(speak({ voice: 'nobody' })),
    };
  },
  async down() {
    return failure(ask({}));
  },
  async cancel() {
    const stream = await ask({ stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return chunk.choices[0].delta.content;
    }
  },
  async crash_stream() {
    const heard = [];
    return failure(ask({ stream: true }).then((stream) => listen(stream, heard)), heard);
  },
  async crash_helper() {
    const runner = client.chat.completions.stream({ model: MODEL, messages: [{ role: 'user', content: 'hi' }] });
    return failure(runner.finalChatCompletion());
  },
  async crash_whole() {
    return failure(ask({}, once));
  },
  async speech() {
    const whole = await speak({ response_format: 'pcm' });
    const streamed = await speak({ response_format: 'pcm', stream: true, stream_format: 'audio' });
    const pieces = [];
    for await (const piece of streamed.body) pieces.push(Buffer.from(piece));
    return {
      type: whole.headers.get('content-type'),
      whole: Buffer.from(await whole.arrayBuffer()).toString('base64'),
      pieces: pieces.length,
      streamed: Buffer.concat(pieces).toString('base64'),
    };
  },
  async crash_speech() {
    return failure(speak({}, once).then((sound) => sound.arrayBuffer()));
  },
};

process.stdout.write(JSON.stringify(await cases[wanted]()), () => process.exit(0));
