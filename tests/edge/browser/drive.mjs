// Drives one Chromium: a line of JSON on standard input is an order, a line on standard output its answer.
import { chromium } from "playwright-core";
import { createInterface } from "node:readline";

const [executablePath, edge, fqdn, spki] = process.argv.slice(2);
const LIMIT = 30_000;

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=MAP ${fqdn}:443 ${edge}`,
    `--ignore-certificate-errors-spki-list=${spki}`,
  ],
});
let page;

// What a user sees.
async function seen(answer) {
  const [title, lang, side] = await page.evaluate(() => [
    document.title, document.documentElement.lang, document.documentElement.dataset.side ?? null,
  ]);
  return { status: answer?.status() ?? null, address: page.url(), title, lang, side };
}

const orders = {
  async visit({ path, locale }) {
    await page?.context().close();
    page = await (await browser.newContext({ locale })).newPage();
    page.setDefaultTimeout(LIMIT);
    return seen(await page.goto(`https://${fqdn}${path}`));
  },

  // F5.
  async reload() {
    return seen(await page.reload());
  },

  // Until a side's own page is there, without anybody touching it.
  async becomes({ side }) {
    await page.waitForFunction((side) => document.documentElement.dataset.side === side, side);
    return seen();
  },

  // As the web application does: the first message says which side it is.
  async socket({ path }) {
    return page.evaluate((path) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`wss://${location.host}${path}`);
      window.over = new Promise((closed) => {
        socket.onclose = ({ code, reason, wasClean }) => {
          closed({ code, reason, wasClean });
          reject(new Error(`closed with ${code}`));
        };
      });
      socket.onmessage = ({ data }) => resolve(JSON.parse(data));
    }), path);
  },

  async closed() {
    return page.evaluate(() => window.over);
  },

  // What TLS agreed upon, as the browser's own tools tell it.
  async security({ path }) {
    const tools = await page.context().newCDPSession(page);
    await tools.send("Network.enable");
    const answered = new Promise((resolve) => tools.once("Network.responseReceived", resolve));
    await page.goto(`https://${fqdn}${path}`);
    return (await answered).response.securityDetails;
  },

  async picture({ path }) {
    await page.screenshot({ path });
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...details } = JSON.parse(line);
  let limit;
  const late = new Promise((_, reject) => {
    limit = setTimeout(() => reject(new Error(`${order}: nothing for ${LIMIT} ms`)), LIMIT + 1000);
  });
  const answer = await Promise.race([orders[order](details), late]).catch((error) => ({ error: error.message }));
  clearTimeout(limit);
  console.log(JSON.stringify(answer));
}
await browser.close();
