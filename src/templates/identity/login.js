
// The login: each form goes on to the page that it names, or that the gate answers with.
const api = "/api/v1/auth";
const challenge = (purpose, more = {}) => send(`${api}/passkey/challenge`, { purpose, ...more });
const go = (next) => { location.assign(next); return "Done."; };
const next = (form) => element(form).dataset.next;

on("login", "said", async () => go((await send(`${api}/passkey/login`, { ...await sign(await challenge("login")), next: next("login") })).next));
on("step-up", "said", async () => go((await send(`${api}/passkey/step-up`, { ...await sign(await challenge("step_up")), next: next("step-up") })).next));
on("register", "said", async () => {
  await send(`${api}/passkeys`, await create(await challenge("register", { label: element("label").value })));
  return go(next("register"));
});
