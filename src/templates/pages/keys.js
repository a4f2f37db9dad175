// Keys for those who like them: `/` searches, `j` and `k` go through the links of a table, `g` and a letter goes to a page. No key changes
// anything.
"use strict";
(() => {
  const places = { h: "", m: "/me", p: "/people", g: "/groups", r: "/requests", x: "/matrix", t: "/timeline" };
  const prefix = "/console/rbac";
  let waits = false;
  const links = () => [...document.querySelectorAll("main table a[href]")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (waits && event.key in places) {
      waits = false;
      location.assign(prefix + places[event.key]);
      return;
    }
    waits = event.key === "g";
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("input[type=search]")?.focus();
    } else if (event.key === "j" || event.key === "k") {
      const all = links();
      const here = all.indexOf(document.activeElement);
      const next = event.key === "j" ? here + 1 : here - 1;
      all[Math.max(0, Math.min(next, all.length - 1))]?.focus();
    }
  });
})();
