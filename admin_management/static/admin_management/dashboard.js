// Follows a run that goes on: its log, its steps, and the restart of the very server it asks.
"use strict";

const INTERVAL = 1000;
const LONGEST_WAIT = 5000;
const PATIENCE = 10000;
const LARGE = 100000;

const ICONS = { running: "●", succeeded: "✓", failed: "✕", skipped: "–", interrupted: "!" };

const live = document.querySelector(".am-live");
if (live) follow(live);

async function follow(live) {
    let next = live.dataset.next;
    let wait = INTERVAL;
    const log = live.querySelector(".am-log");
    log.scrollTop = log.scrollHeight;
    for (;;) {
        await visible();
        try {
            const piece = await ask(next);
            append(live, piece.output);
            // At once: what was shown must not be asked for again, whatever fails after this.
            next = piece.next;
            if (piece.status !== "queued") show(live, (await ask(live.dataset.run)).steps);
            say(live, piece.status === "queued" ? "Waiting to begin" : "Running");
            wait = piece.output.length > LARGE ? 0 : INTERVAL;
        } catch (problem) {
            if (problem instanceof Refused) return say(live, problem.message);
            say(live, "The server is restarting…");
            wait = Math.min(Math.max(wait, INTERVAL) * 1.5, LONGEST_WAIT);
        }
        if (next === null) return location.reload();
        await new Promise((resolve) => setTimeout(resolve, wait));
    }
}

class Refused extends Error {}

// Whatever a server or its proxy says while it restarts is worth another try; a plain no is not.
async function ask(url) {
    const answer = await fetch(url, {
        headers: { Accept: "application/json" },
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.status === 401 || answer.status === 403) {
        throw new Refused("You are signed out. Reload this page to sign in again.");
    }
    if (answer.status === 404) throw new Refused("This update is not recorded any more.");
    if (!answer.ok) throw new Error(answer.statusText);
    return answer.json();
}

function visible() {
    if (!document.hidden) return Promise.resolve();
    return new Promise((resolve) => {
        document.addEventListener("visibilitychange", resolve, { once: true });
    });
}

function say(live, text) {
    const place = live.querySelector(".am-say");
    // A live region is read out on every change, even to the same text.
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("am-away", text !== "Running");
}

function append(live, output) {
    if (!output) return;
    const log = live.querySelector(".am-log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(output);
    if (atEnd) log.scrollTop = log.scrollHeight;
}

// The steps that were begun, in their order; after them those that the page foresees.
function show(live, steps) {
    const list = live.querySelector(".am-steps");
    steps.forEach((step, index) => {
        const item = itemOf(list, step.name);
        if (list.children[index] !== item) list.insertBefore(item, list.children[index]);
        item.className = `am-step am-${step.status}`;
        item.querySelector(".am-icon").textContent = ICONS[step.status] ?? "";
        item.querySelector(".am-word").textContent = step.status;
        item.querySelector(".am-number").textContent = duration(step.duration);
    });
}

function itemOf(list, name) {
    for (const item of list.children) if (item.dataset.step === name) return item;
    const item = document.getElementById("am-step").content.firstElementChild.cloneNode(true);
    item.dataset.step = name;
    item.querySelector(".am-name").textContent = name.replaceAll("_", " ");
    return item;
}

// As templatetags/admin_management.py does.
function duration(seconds) {
    if (seconds === null) return "";
    if (seconds < 1) return `${Math.max(seconds, 0).toFixed(2)} s`;
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    const whole = Math.floor(seconds);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}
