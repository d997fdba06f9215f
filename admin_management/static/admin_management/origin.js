// Asks whether the server sees where a request of this page comes from, and shows a line if not.
"use strict";

const line = document.querySelector(".am-origin");
if (line) isBlind(line.dataset.ask).then((blind) => (line.hidden = !blind), () => {});

// By POST, as a change is sent: a browser names no origin when it reads. Whoever has this page may
// ask, so a 403 is the site's word that it does not know its own page.
async function isBlind(url) {
    const answer = await fetch(url, {
        method: "POST",
        headers: { Accept: "application/json" },
        cache: "no-store",
    });
    if (answer.status === 403) return true;
    return answer.ok && (await answer.json()).seen.length === 0;
}
