
// Break-glass, and the time that a running session has left.
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
