// Tool loops of npm's clients: `node loops.mjs URL MODEL…`. It prints one JSON object a loop, as python_loops.py does.
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false;
const ANSWER = 'Rome is sunny, Oslo is rainy.';
const RESULTS = { Rome: 'sunny', Oslo: 'rainy' };
const QUESTION = 'The weather in Rome and in Oslo?';
const [url, ...models] = process.argv.slice(2);
let called = [];

const weather = ({ city }) => {
  called.push(city);
  return RESULTS[city];
};

async function vercel(model, isStreamed, providerOptions) {
  const tools = {
    get_weather: tool({ description: 'The weather', inputSchema: z.object({ city: z.string() }), execute: weather }),
  };
  const asked = { model, prompt: QUESTION, tools, stopWhen: stepCountIs(2), maxRetries: 0, providerOptions };
  if (!isStreamed) return (await generateText(asked)).text;
  let failure;
  const result = streamText({ ...asked, onError: ({ error }) => { failure = error; } });
  const text = await result.text;
  if (failure) throw failure;
  return text;
}

async function anthropicSdk(name, isStreamed) {
  const client = new Anthropic({ baseURL: url, apiKey: 'unused', maxRetries: 0 });
  const tools = [{ name: 'get_weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
  const messages = [{ role: 'user', content: QUESTION }];
  let message;
  for (let turn = 0; turn < 2; turn += 1) {
    const asked = { model: name, max_tokens: 99, tools, messages };
    message = isStreamed
      ? await client.messages.stream(asked).finalMessage()
      : await client.messages.create(asked);
    if (message.stop_reason !== 'tool_use') break;
    const calls = message.content.filter((block) => block.type === 'tool_use');
    messages.push({ role: 'assistant', content: message.content });
    messages.push({
      role: 'user',
      content: calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: weather(call.input) })),
    });
  }
  return message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');
}

const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'unused' });
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: 'unused' });
const clients = {
  '@anthropic-ai/sdk': anthropicSdk,
  'ai, @ai-sdk/openai chat': (name, isStreamed) => vercel(openai.chat(name), isStreamed),
  'ai, @ai-sdk/openai responses': (name, isStreamed) =>
    vercel(openai.responses(name), isStreamed, { openai: { store: false } }),
  'ai, @ai-sdk/anthropic': (name, isStreamed) => vercel(anthropic(name), isStreamed),
};

for (const [client, loop] of Object.entries(clients)) {
  for (const model of models) {
    for (const stream of [false, true]) {
      called = [];
      let fault = null;
      try {
        const text = await loop(model, stream);
        if (text !== ANSWER || [...called].sort().join() !== 'Oslo,Rome') fault = `${JSON.stringify(text)} after ${called}`;
      } catch (error) {
        fault = `${error.name}: ${String(error.message).slice(0, 300)}`;
      }
      console.log(JSON.stringify({ client, model, stream, fault }));
    }
  }
}
