// Node: `fetch` (undici) and `node:http`. See wire.py.
//
//     node fetch.mjs fetch|http BASE < questions > answers
import http from 'node:http';
import https from 'node:https';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';

const [kind, base] = process.argv.slice(2);
const encode = (data) => Buffer.from(data).toString('base64') || '=';
const decode = (text) => (text === '=' ? Buffer.alloc(0) : Buffer.from(text, 'base64'));
const PIECE = '0123456789abcdef';
const agent = base.startsWith('https') ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });

function bodyOf(told) {
  if (told === '-') return undefined;
  if (told.startsWith('size:')) {
    const size = Number(told.slice(5));
    return Buffer.from(PIECE.repeat(Math.ceil(size / 16)).slice(0, size));
  }
  return decode(told.slice(2));
}

const shown = (body) =>
  body.length > 1 << 20 ? `sha256:${createHash('sha256').update(body).digest('hex')}:${body.length}` : encode(body);

async function byFetch(method, url, fields, body, options) {
  const init = { method, headers: fields, redirect: options.includes('follow') ? 'follow' : 'manual' };
  if (body !== undefined) {
    init.body = options.includes('chunked') ? Readable.toWeb(Readable.from(body.length ? [body] : [])) : body;
    init.duplex = 'half';
  }
  let request;
  try {
    request = new Request(base + url, init);
  } catch (error) {
    return { unsendable: error.message };
  }
  const answer = await fetch(request);
  return { status: answer.status, headers: [...answer.headers], body: Buffer.from(await answer.arrayBuffer()) };
}

function byHttp(method, url, fields, body, options) {
  return new Promise((resolve, reject) => {
    const headers = {};
    for (const [name, value] of fields) {
      const key = Object.keys(headers).find((other) => other.toLowerCase() === name.toLowerCase()) ?? name;
      headers[key] = key in headers ? [headers[key], value].flat() : value;
    }
    if (body !== undefined && !options.includes('chunked')) headers['Content-Length'] = body.length;
    let request;
    try {
      const module = base.startsWith('https') ? https : http;
      request = module.request(base + url, { method, headers, agent }, (answer) => {
        const pieces = [];
        answer.on('data', (piece) => pieces.push(piece));
        answer.on('error', reject);
        answer.on('end', () => {
          const headers = [];
          for (let at = 0; at < answer.rawHeaders.length; at += 2)
            headers.push([answer.rawHeaders[at], answer.rawHeaders[at + 1]]);
          resolve({ status: answer.statusCode, headers, body: Buffer.concat(pieces) });
        });
      });
    } catch (error) {
      resolve({ unsendable: error.message });
      return;
    }
    request.on('error', reject);
    request.end(body);
  });
}

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const [number, method, url, fields, told, options] = line.split('\t');
  const headers = decode(fields).toString('utf8').split('\n').filter(Boolean).map((field) => {
    const colon = field.indexOf(':');
    return [field.slice(0, colon), field.slice(colon + 2)];
  });
  const ask = kind === 'fetch' ? byFetch : byHttp;
  let out;
  if (kind === 'http' && options.includes('follow')) {
    out = `-\t${encode('node:http follows no redirects')}`;
  } else {
    try {
      const answer = await ask(method, decode(url).toString('utf8'), headers, bodyOf(told), options.split(','));
      out = answer.unsendable
        ? `-\t${encode(answer.unsendable)}`
        : `${answer.status}\t${encode(answer.headers.map(([name, value]) => `${name}: ${value}`).join('\n'))}\t${shown(answer.body)}`;
    } catch (error) {
      // What undici refuses only when it is about to send.
      const cause = error.cause ?? error;
      const sign = /^(UND_ERR_INVALID_ARG|UND_ERR_NOT_SUPPORTED|ERR_INVALID_|ERR_UNESCAPED)/.test(cause.code ?? '') ? '-' : '!';
      out = `${sign}\t${encode(`${cause.code ?? ''} ${cause.message}`)}`;
    }
  }
  process.stdout.write(`${number}\t${out}\n`);
}
agent.destroy();
