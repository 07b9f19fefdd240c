// The stage of the browser tests: `safeconduct demo` with everything in it, people with browsers, and their commands.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { test as base, expect, request, type APIRequestContext, type BrowserContext, type BrowserContextOptions, type ConsoleMessage, type Page } from "@playwright/test";

const root = join(import.meta.dirname, "../..");
export const binary = process.env.SAFECONDUCT ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug/safeconduct");

export type Person = "alice" | "bob" | "dora" | "carol" | "ann" | "abe";

export class Gateway {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
    private readonly commands: string,
    private readonly passwords: Map<string, string>,
  ) {}

  static async start(...args: string[]): Promise<Gateway> {
    const child = spawn(binary, ["demo", ...args], { stdio: ["ignore", "pipe", "inherit"], env: { SAFECONDUCT_LOG: "error", ...process.env } });
    let page = "";
    // Read to its end: a program nobody listens to any more breaks.
    child.stdout.setEncoding("utf8").on("data", (part: string) => (page += part));
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", () => page.includes("plays the story by itself") && resolve());
      child.once("exit", (code) => reject(new Error(`the demonstration ended with ${code}:\n${page}`)));
    });
    const one = (pattern: RegExp) => {
      const found = pattern.exec(page)?.[1];
      if (!found) throw new Error(`the demonstration did not say ${pattern}; it said:\n${page}`);
      return found;
    };
    const passwords = new Map([...page.matchAll(/\b(alice|bob|dora|carol|ann|abe) +([A-Za-z0-9_-]{12})(?=\s)/g)].map((found) => [found[1] as string, found[2] as string]));
    return new Gateway(child, one(/(https:\/\/localhost:\d+)/), one(/export PATH=(\S+):\$PATH/), passwords);
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGINT");
    await ended;
  }

  /** The file with the authority of its certificate. */
  get authority(): string {
    return join(this.commands, "../node/keys/ca.pem");
  }

  password(who: Person): string {
    return this.passwords.get(who) ?? "";
  }

  /** Runs one of somebody's commands to its end; its output. */
  async run(who: Person, ...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(join(this.commands, who), args, { env: { ...process.env, NO_COLOR: "1", PAGER: "cat" } });
    return stdout;
  }

  async json<T>(who: Person, ...args: string[]): Promise<T> {
    return JSON.parse(await this.run(who, ...args, "--json")) as T;
  }

  /** Asks for a write that bob or dora may approve; the id. */
  async pending(reason: string, sql = "update orders set status = 'returned' where id = 4711"): Promise<string> {
    const run = this.talk("alice", "run", "orders-db", "--reason", reason, "--", sql);
    const id = /rq-[0-9a-z]{12}/.exec(await run.says(/rq-[0-9a-z]{12}/))?.[0] as string;
    // What is asked stays, whoever waits for it.
    run.kill();
    return id;
  }

  /** Puts another policy in force, asked for by ann and approved by abe: what is in force now, with each of its files changed. Gives the way back. */
  async changePolicy(change: (path: string, text: string) => string): Promise<() => Promise<void>> {
    const call = await request.newContext({ ignoreHTTPSErrors: true });
    await signIn(call, this, "carol");
    const { files } = (await (await call.get(`${this.url}/api/v1/policy`)).json()) as { files: Record<string, string> };
    await call.dispose();
    const apply = async (text: (path: string, text: string) => string) => {
      const folder = mkdtempSync(join(tmpdir(), "bundle-"));
      for (const [path, before] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), text(path, before));
      }
      const asked = this.talk("ann", "policy", "apply", folder, "--reason", "a test");
      const id = /rq-[0-9a-z]{12}/.exec(await asked.says(/rq-[0-9a-z]{12}/))?.[0] as string;
      asked.kill();
      const { digest } = await this.json<{ digest: string }>("abe", "show", id);
      await this.run("abe", "approve", id, "--yes", "--digest", digest);
    };
    await apply(change);
    return () => apply((_, text) => text);
  }

  talk(who: Person, ...args: string[]): Talk {
    return new Talk(spawn(join(this.commands, who), args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1", PAGER: "cat", PSQLRC: "/dev/null" } }));
  }

  /** An access request of alice's to read, granted at once. */
  async granted(reason: string): Promise<string> {
    return /rq-[0-9a-z]{12}/.exec(await this.run("alice", "request", "orders-db", "-o", "read", "--for", "15m", "--reason", reason))?.[0] as string;
  }

  /** psql through the door, with a grant to read. */
  async psql(reason: string): Promise<Talk> {
    await this.granted(reason);
    return this.talk("alice", "connect", "orders-db");
  }

  async ledgerSize(): Promise<number> {
    return (await this.json<{ ledger_size: number }>("carol", "status")).ledger_size;
  }

  async state(id: string): Promise<string> {
    return (await this.json<{ state: string }>("carol", "show", id)).state;
  }
}

/** A program that is talked to. */
export class Talk {
  private said = "";
  private closed = false;
  private readonly waiting = new Set<() => void>();
  constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (part: string) => {
        this.said += part;
        for (const look of this.waiting) look();
      });
    child.once("close", () => {
      this.closed = true;
      for (const look of this.waiting) look();
    });
  }
  say(line: string) {
    this.child.stdin?.write(`${line}\n`);
  }
  /** Resolves with everything said once it holds `pattern`. */
  says(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (pattern.test(this.said)) {
          this.waiting.delete(look);
          resolve(this.said);
        } else if (this.closed) {
          reject(new Error(`ended without ${pattern}: ${this.said}`));
        }
      };
      this.waiting.add(look);
      look();
    });
  }
  /** Waits for its end: how it ended, and everything it said. */
  async ended(): Promise<{ code: number | null; said: string }> {
    this.child.stdin?.end();
    if (!this.closed) await new Promise((resolve) => this.child.once("close", resolve));
    return { code: this.child.exitCode, said: this.said };
  }
  kill() {
    this.child.kill("SIGKILL");
  }
}

interface Fixtures {
  /** A browser of its own for somebody who is signed in. */
  as: (who: Person, options?: BrowserContextOptions) => Promise<Page>;
  /** What browsers complained of, of every page of this test. */
  complaints: string[];
}

export const test = base.extend<Fixtures, { gateway: Gateway }>({
  gateway: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const gateway = await Gateway.start();
      await use(gateway);
      await gateway.stop();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  // eslint-disable-next-line no-empty-pattern
  complaints: async ({}, use) => {
    const complaints: string[] = [];
    await use(complaints);
    // A policy that is violated, a script that throws, a call that fails: none of it may happen unnoticed.
    expect(complaints).toEqual([]);
  },
  as: async ({ browser, gateway, complaints }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (who, options = {}) => {
      const context = await browser.newContext({ baseURL: gateway.url, ...options });
      contexts.push(context);
      await signIn(context, gateway, who);
      const page = await context.newPage();
      listen(page, complaints);
      return page;
    });
    for (const context of contexts) {
      // A call that a test answers itself may still be on its way.
      for (const page of context.pages()) await page.unrouteAll({ behavior: "ignoreErrors" });
      await context.close();
    }
  },
});

export function listen(page: Page, complaints: string[]) {
  // An entry younger than a second has no checkpoint yet: the page asks again, and the browser says aloud that it had to.
  const tooYoung = (message: ConsoleMessage) => message.location().url.includes("/ledger/proof/") && message.text().includes("409");
  page.on("console", (message) => message.type() === "error" && !tooYoung(message) && complaints.push(`${page.url()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`${page.url()}: a script opened a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
}

/** Signs a browser in without its page, as the page would. */
export async function signIn(context: BrowserContext | APIRequestContext, gateway: Gateway, who: Person) {
  const answer = await ("request" in context ? context.request : context).post(`${gateway.url}/api/v1/browser/sign-in`, {
    headers: { origin: gateway.url, "x-safeconduct-page": "1" },
    data: { name: who, password: gateway.password(who) },
  });
  expect(answer.status(), await answer.text()).toBe(200);
}

/** Without waiting for it: what waits for bob from another test would be in the way. */
export async function settleAll(gateway: Gateway) {
  for (const { id } of await gateway.json<{ id: string }[]>("bob", "requests", "--to-approve")) await gateway.run("bob", "deny", id, "--comment", "cleared away");
}

export { expect };

/** As if a passkey were enrolled for somebody that is in no authenticator here. */
export async function withStrangersPasskey(page: Page, who: Person) {
  const key = "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBBRGwDjs4HhJFcn4tJ5Gr72KcmRmCS1OirETxaXvnsNApgoOLF1a/7rxldfSMHm73eT1nhHe97W8qicPPEAKDJQAAAAJbG9jYWxob3N0";
  await page.route(`**/api/v1/keys/${who}`, (route) => route.fulfill({ json: [{ key, fingerprint: "SHA256:x", enrolled_at: "2026-01-01T00:00:00Z" }] }));
}
