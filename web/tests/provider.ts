// A certified OpenID Provider on this machine, of another site than the gateway's, and a demonstration whose people may sign in by it.
import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request, createServer as createSecure, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import OpenIDProvider, { errors } from "oidc-provider";
import { binary, expect, Gateway, Talk, test as base } from "./gateway";

const CLIENT = "safeconduct";
const SECRET = "a secret of the tests /&+ that must be encoded";
const SCOPES = "openid profile groups";

interface Account {
  groups: string[];
  clearance?: string;
  disabled: boolean;
}

export class Provider {
  /** By their name there. The subject is another, as it is at real ones. */
  private readonly accounts = new Map<string, Account>();
  private readonly folder = mkdtempSync(join(tmpdir(), "safeconduct-provider-"));
  private openId!: OpenIDProvider;
  private server!: Server;
  private authority?: Buffer;
  issuer = "";
  /** Answers no call of the gateway's while this is so. */
  isOutOfOrder = false;
  /** What it could not do. */
  readonly complaints: string[] = [];

  private constructor(readonly gateway: string) {}

  static async start(gateway: string): Promise<Provider> {
    const provider = new Provider(gateway);
    const [key, certificate] = [provider.file("key.pem"), provider.file("ca.pem")];
    const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=provider"];
    const names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    execFileSync("openssl", [...make, ...names, "-keyout", key, "-out", certificate], { stdio: "pipe" });
    provider.server = createSecure({ key: readFileSync(key), cert: readFileSync(certificate) }, (asked, answer) => {
      provider.serve(asked, answer).catch((error: unknown) => {
        provider.complaints.push(String(error));
        answer.writeHead(500).end();
      });
    });
    await new Promise<void>((listening) => provider.server.listen(0, "127.0.0.1", listening));
    provider.issuer = `https://127.0.0.1:${(provider.server.address() as AddressInfo).port}`;
    provider.rotateKeys();
    return provider;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
    rmSync(this.folder, { recursive: true });
  }

  /** Settings of a gateway at this address that knows it. */
  settings(listen: string): string {
    const secret = this.file("secret");
    writeFileSync(secret, SECRET);
    const settings = `
[api]
listen = "${listen}"

[identity.corp]
issuer = "${this.issuer}"
client_id = "${CLIENT}"
client_secret = "file:${secret}"
title = "Example Corp"
scopes = ["profile", "groups"]
create_people = true
keep = ["clearance"]
groups = { "team-dba" = "dba", "team-web" = "engineers" }
ca_file = "${this.file("ca.pem")}"
danger_local = true
`;
    writeFileSync(this.file("safeconduct.toml"), settings);
    return this.file("safeconduct.toml");
  }

  /** From now on its logouts reach the gateway whose certificate this authority made. */
  trusts(authority: Buffer) {
    this.authority = authority;
  }

  /** Somebody there, with these groups. */
  account(name: string, groups: string[], clearance?: string) {
    this.accounts.set(name, { groups, clearance, disabled: false });
  }

  /** As an administrator there would: no sign-in any more, and those that the gateway has are over. */
  async disable(name: string) {
    this.accounts.set(name, { groups: [], disabled: true });
    await (await this.openId.Client.find(CLIENT))?.backchannelLogout(subject(name));
  }

  /** Other keys, and none of those before. */
  rotateKeys() {
    const key = (kid: string) => ({ ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" });
    this.openId = new OpenIDProvider(this.issuer, {
      jwks: { keys: [key(randomUUID())] },
      cookies: { keys: [SECRET] },
      clients: [
        {
          client_id: CLIENT,
          client_secret: SECRET,
          redirect_uris: [`${this.gateway}/sign-in`],
          post_logout_redirect_uris: [`${this.gateway}/`],
          backchannel_logout_uri: `${this.gateway}/api/v1/providers/corp/logout`,
          backchannel_logout_session_required: true,
        },
      ],
      pkce: { required: () => true },
      scopes: SCOPES.split(" "),
      claims: { openid: ["sub"], profile: ["name", "preferred_username", "clearance"], groups: ["groups"] },
      // What the scopes give is in the ID token, too.
      conformIdTokenClaims: false,
      features: {
        devInteractions: { enabled: false },
        backchannelLogout: { enabled: true },
        rpInitiatedLogout: {
          enabled: true,
          postLogoutSuccessSource: (context: { body: string }) => {
            context.body = page("<p>Signed out.</p>");
          },
          logoutSource: (context: { body: string }, form: string) => {
            context.body = page(`${form}<button form="op.logoutForm" name="logout" value="yes">Sign out everywhere</button>`);
          },
        },
      },
      findAccount: (_: unknown, id: string) => {
        const [name, account] = [...this.accounts].find(([name]) => subject(name) === id) ?? [];
        if (account?.disabled) throw new errors.AccessDenied();
        if (!name || !account) return undefined;
        return { accountId: id, claims: () => ({ sub: id, name: `${name} of Example Corp`, preferred_username: name, groups: account.groups, clearance: account.clearance }) };
      },
      // Nobody is asked for consent: the gateway is the company's own.
      loadExistingGrant: async ({ oidc: { client, session } }: { oidc: { client: { clientId: string }; session: { accountId: string } } }) => {
        const grant = new this.openId.Grant({ clientId: client.clientId, accountId: session.accountId });
        grant.addOIDCScope(SCOPES);
        await grant.save();
        return grant;
      },
      interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
      renderError: (context: { body: string; type: string }, out: object) => {
        this.complaints.push(JSON.stringify(out));
        context.type = "html";
        context.body = page("<p role=alert>This did not work.</p>");
      },
      ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 3600, IdToken: 300, Interaction: 600, Session: 3600 },
      fetch: (url: string, options: RequestInit) => this.call(url, options),
    });
    for (const event of ["server_error", "backchannel.error"]) this.openId.on(event, (_, error) => this.complaints.push(`${event}: ${error}`));
  }

  private file(name: string): string {
    return join(this.folder, name);
  }

  private async serve(asked: IncomingMessage, answer: ServerResponse) {
    if (this.isOutOfOrder && asked.url === "/token") {
      answer.writeHead(503).end();
      return;
    }
    if (!asked.url?.startsWith("/interaction/")) return this.openId.callback()(asked, answer);
    if (asked.method === "GET") {
      answer.setHeader("content-type", "text/html");
      answer.end(page("<form method=post><label>User <input name=user></label> <button>Sign in there</button></form>"));
      return;
    }
    let form = "";
    for await (const part of asked) form += String(part);
    const name = new URLSearchParams(form).get("user") ?? "";
    const account = this.accounts.get(name);
    if (account) await this.openId.interactionFinished(asked, answer, { login: { accountId: subject(name) } });
    else await this.openId.interactionFinished(asked, answer, { error: "access_denied" });
  }

  /** To the gateway alone, by its authority. */
  private call(url: string, { method, headers, body }: RequestInit): Promise<Response> {
    return new Promise((resolve, reject) => {
      const sent = request(url, { method, headers: Object.fromEntries(new Headers(headers)), ca: this.authority }, (answer) => {
        answer.resume().on("end", () => resolve(new Response(null, { status: answer.statusCode })));
      });
      sent.on("error", reject).end(String(body));
    });
  }
}

/** Who somebody is there, whatever they are called. */
export const subject = (name: string) => `00u-${Buffer.from(name).toString("hex")}`;

const page = (body: string) => `<!doctype html><html lang=en><title>Example Corp</title><link rel=icon href="data:,">${body}</html>`;

/** What somebody does at the provider's own page. */
export async function signInThere(at: Page, name: string) {
  await at.getByLabel("User").fill(name);
  await at.getByRole("button", { name: "Sign in there" }).click();
}

/** Somebody's own command line, signed in nowhere. */
export class Terminal {
  private readonly home = mkdtempSync(join(tmpdir(), "safeconduct-home-"));
  constructor(private readonly gateway: Gateway) {}

  talk(...args: string[]): Talk {
    const env = { PATH: process.env.PATH, SAFECONDUCT_HOME: this.home, XDG_RUNTIME_DIR: this.home, NO_COLOR: "1", PSQLRC: "/dev/null" };
    return new Talk(spawn(binary, args, { stdio: ["pipe", "pipe", "pipe"], env }));
  }

  /** Runs one to its end, whatever it comes to. */
  run(...args: string[]) {
    return this.talk(...args).ended();
  }

  /** Begins a sign-in by the provider; where the browser goes, and the command that waits for it. */
  async signIn(): Promise<{ url: string; waits: Talk }> {
    const waits = this.talk("sign-in", "--provider", "corp", "--server", this.gateway.url, "--ca", this.gateway.authority);
    const url = /https:\S+/.exec(await waits.says(/challenge=\S+\s/))?.[0] ?? "";
    return { url, waits };
  }

  remove() {
    rmSync(this.home, { recursive: true });
  }
}

interface Fixtures {
  terminal: Terminal;
}

export const test = base.extend<Fixtures, { provider: Provider }>({
  provider: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const provider = await Provider.start(`https://localhost:${await freePort()}`);
      await use(provider);
      provider.stop();
    },
    { scope: "worker" },
  ],
  gateway: [
    async ({ provider }, use) => {
      const gateway = await Gateway.start("--config", provider.settings(`127.0.0.1:${new URL(provider.gateway).port}`));
      provider.trusts(readFileSync(gateway.authority));
      await use(gateway);
      await gateway.stop();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  terminal: async ({ gateway }, use) => {
    const terminal = new Terminal(gateway);
    await use(terminal);
    terminal.remove();
  },
});

/** A port nobody listens on at this moment: the provider must know where the gateway will be. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export { expect };
