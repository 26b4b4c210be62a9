(() => {
  "use strict";
  const line = document.getElementById("since");
  const clock = new Date().toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
  line.textContent = line.dataset.since.replace("{time}", clock);
  let timer, looking = false, wait = 2000, unmarked = 0;

  // HEAD, so that neither a cache nor a service worker answers. 429 is the Edge asking for patience.
  async function works() {
    const limit = new AbortController(), alarm = setTimeout(() => limit.abort(), 5000);
    try {
      const answer = await fetch(location.pathname + location.search, {
        method: "HEAD", headers: { Accept: "text/html" }, cache: "no-store", redirect: "manual", signal: limit.signal
      });
      if (answer.headers.get("Bascule-Waiting") === "1" || answer.status === 429) { unmarked = 0; return false; }
      // An error of the application itself is shown, once it is clear that it stays.
      return answer.status < 500 || ++unmarked >= 4;
    } catch (gone) {
      return false;
    } finally {
      clearTimeout(alarm);
    }
  }

  async function look() {
    if (looking) return;
    looking = true;
    clearTimeout(timer);
    if (await works()) {
      line.textContent = line.dataset.back;
      location.reload();
      // Should the reload itself be lost, look again.
      wait = 10000;
    }
    looking = false;
    timer = setTimeout(look, wait * (0.6 + 0.8 * Math.random()));
    wait = Math.min(wait * 1.2, 5000);
  }

  timer = setTimeout(look, wait * (0.4 + 0.8 * Math.random()));
  addEventListener("online", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
})();
