// What break-glass needs a script for: passkeys, and the time that a running session has left. Nothing else depends on it.
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

on("start", "started", async () => {
  const wanted = { reason: element("reason").value.replace(/\s+/g, " ").trim(), minutes: Number(element("minutes").value), ticket: element("ticket").value.trim() || null };
  const answer = await sign(await send("/api/rbac/break-glass/challenge", wanted));
  const session = await send("/api/rbac/break-glass", { ...wanted, answer });
  return `The session ${session.id} ends at ${new Date(session.ends).toLocaleTimeString()}. ${session.summary || ""}`;
});

on("register", "registered", async () => {
  const label = element("label").value, code = element("code").value.trim();
  let asked = await send("/api/rbac/passkeys/challenge", code ? { label, code } : { label });
  if (asked.purpose === "add") asked = await send("/api/rbac/passkeys/challenge", { label, answer: await sign(asked) });
  const passkey = await send("/api/rbac/passkeys", await create(asked));
  element("code").value = "";
  return `The passkey ${passkey.label} is registered.`;
});

// The minutes that are left, on each page; spoken when 10 and 1 are left.
const left = document.querySelector("time[data-ends]");
if (left) {
  const shown = element("glass-left"), spoken = element("glass-spoken");
  const tick = () => {
    const minutes = Math.ceil((new Date(left.dateTime) - Date.now()) / 60000);
    shown.textContent = minutes > 0 ? ` (${minutes} min left)` : " (over)";
    const words = minutes === 10 || minutes === 1 ? `The break-glass session ends in ${minutes} min.` : "";
    if (words && spoken.textContent !== words) spoken.textContent = words;
  };
  tick();
  setInterval(tick, 5000);
}
