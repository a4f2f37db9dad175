// htmx sends the session's CSRF token with everything that changes something.
document.addEventListener("htmx:configRequest", (event) => {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("atlas_csrf="));
  if (cookie) event.detail.headers["X-CSRF-Token"] = cookie.slice("atlas_csrf=".length);
});
