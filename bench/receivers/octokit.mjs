// @octokit/webhooks on Node's own server. Stores nothing.
import { createServer } from "node:http";
import { createNodeMiddleware, Webhooks } from "@octokit/webhooks";

const webhooks = new Webhooks({ secret: process.env.BENCH_SECRET });
webhooks.on("push", () => {});
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
createServer(createNodeMiddleware(webhooks, { path: "/", log: quiet })).listen(
  Number(process.argv[2]),
  "127.0.0.1",
);
