// What only a script can do: use a passkey. Nothing else depends on it.
"use strict";
const element = (id) => document.getElementById(id);
for (const one of document.querySelectorAll("[data-without-script]")) one.hidden = true;
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const known = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

async function send(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail || response.statusText);
  return answer;
}

async function sign(asked) {
  const { options, challenge } = asked;
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: known(options.allowCredentials) };
  const credential = await navigator.credentials.get({ publicKey });
  const { authenticatorData, clientDataJSON, signature, userHandle } = credential.response;
  return { challenge, credential: {
    id: credential.id, rawId: text(credential.rawId), type: credential.type, extensions: {},
    response: { authenticatorData: text(authenticatorData), clientDataJSON: text(clientDataJSON), signature: text(signature), userHandle: userHandle ? text(userHandle) : null },
  } };
}

async function create(asked) {
  const { options, challenge } = asked;
  const publicKey = { ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) }, excludeCredentials: known(options.excludeCredentials) };
  const credential = await navigator.credentials.create({ publicKey });
  const { attestationObject, clientDataJSON } = credential.response;
  return { challenge, credential: {
    id: credential.id, rawId: text(credential.rawId), type: credential.type, extensions: {},
    response: { attestationObject: text(attestationObject), clientDataJSON: text(clientDataJSON) },
  } };
}

function on(form, status, work) {
  if (!element(form)) return;
  element(form).hidden = false;
  element(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    const say = (words, kind) => { element(status).textContent = words; element(status).className = kind; };
    button.disabled = true;
    say("Use your passkey ...", "");
    try { say(await work(), "ok"); } catch (error) { say(error.message, "bad"); } finally { button.disabled = false; }
  });
}
