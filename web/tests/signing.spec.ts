// Passkeys: made in a browser with an authenticator, enrolled by two administrators, and signing exactly what is shown.
// The authenticator is Chromium's virtual one; everything else is real.
import AxeBuilder from "@axe-core/playwright";
import { createHash, X509Certificate } from "node:crypto";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { chromium as launcher, request, type Browser, type BrowserContext, type CDPSession, type Page } from "@playwright/test";
import { chromium } from "../playwright.config";
import { digestOf, type Json } from "../src/proof/canonical";
import { expect, listen, settleAll, signIn, test, withStrangersPasskey, type Gateway, type Person } from "./gateway";

/** Browsers refuse passkeys where they were told to overlook a certificate: this one is told that this key is right. */
async function trusting(gateway: Gateway): Promise<Browser> {
  const { hostname, port } = new URL(gateway.url);
  const certificate = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), servername: hostname, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().raw);
      socket.end();
    }).once("error", reject);
  });
  const key = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
  const pin = createHash("sha256").update(key).digest("base64");
  return launcher.launch({ ...chromium, args: [...chromium.args, `--ignore-certificate-errors-spki-list=${pin}`] });
}

interface Authenticator {
  page: Page;
  session: CDPSession;
  id: string;
  context: BrowserContext;
}

async function withAuthenticator(browser: Browser, gateway: Gateway, who: Person, complaints: string[]): Promise<Authenticator> {
  const call = await request.newContext({ ignoreHTTPSErrors: true });
  await signIn(call, gateway, who);
  const context = await browser.newContext({ baseURL: gateway.url, locale: "en-GB", timezoneId: "UTC", storageState: await call.storageState() });
  await call.dispose();
  const page = await context.newPage();
  listen(page, complaints);
  const session = await context.newCDPSession(page);
  await session.send("WebAuthn.enable");
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { page, session, id: authenticatorId, context };
}

/** Makes a passkey on the account page; the link for an administrator, and its fingerprint. */
async function makePasskey({ page, context }: Authenticator, gateway: Gateway): Promise<{ link: string; fingerprint: string }> {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: gateway.url });
  await page.goto("/account");
  await page.getByRole("button", { name: "Make a passkey…" }).click();
  const made = page.getByRole("status").filter({ hasText: "SHA256:" });
  const fingerprint = /SHA256:[A-Za-z0-9+/]{43}/.exec(await made.innerText())?.[0] as string;
  await made.getByRole("button", { name: "Copy the link" }).click();
  return { link: await page.evaluate(() => navigator.clipboard.readText()), fingerprint };
}

/** Ann opens the link and asks, abe approves: nothing is enrolled by a link alone. */
async function enrol(as: (who: Person) => Promise<Page>, link: string, fingerprint: string) {
  const ann = await as("ann");
  await ann.goto(new URL(link).pathname + new URL(link).search);
  const dialog = ann.getByRole("dialog");
  await expect(dialog).toContainText(fingerprint);
  await dialog.getByLabel("Why").fill("bob's phone");
  await dialog.getByRole("button", { name: "Ask" }).click();
  await expect(ann).toHaveURL(/\/access-requests\/rq-/);
  const abe = await as("abe");
  await abe.goto(new URL(ann.url()).pathname);
  await abe.getByRole("button", { name: /^Approve/ }).click();
  await abe.getByRole("button", { name: /^Approve/ }).last().click();
  await expect(abe.getByText(/executed|done|ran/).first()).toBeVisible();
}

test.beforeEach(({ gateway }) => settleAll(gateway));

test("a passkey is made, enrolled by two administrators, signs what was shown and signs in; stock ssh-keygen verifies it", async ({ gateway, as, complaints }) => {
  test.setTimeout(120_000);
  const browser = await trusting(gateway);
  const bob = await withAuthenticator(browser, gateway, "bob", complaints);
  const { page } = bob;
  const { link, fingerprint } = await makePasskey(bob, gateway);

  await enrol(as, link, fingerprint);
  await page.reload();
  await expect(page.getByRole("region", { name: "keys" })).toContainText(fingerprint);

  const id = await gateway.pending("the statistics are old", "analyze orders");
  // A record alone does not do, whoever sends it.
  const digest = (await gateway.json<{ digest: string }>("bob", "show", id)).digest;
  await expect(gateway.run("bob", "approve", id, "--yes", "--digest", digest)).rejects.toThrow(/APPROVE-004/);
  await page.goto(`/access-requests/${id}`);
  await expect(page.getByText("takes your signature")).toBeVisible();
  await page.getByRole("link", { name: "Approve, signed…" }).click();
  await expect(page).toHaveURL(new RegExp(`/sign/${id}$`));
  await expect(page.locator("pre").first()).toHaveText("analyze orders");
  await expect(page.getByText(digest)).toBeVisible();
  await expect(page.locator(".words")).toHaveText("“the statistics are old”");
  await page.getByRole("button", { name: "Approve and sign" }).click();
  await expect(page.getByRole("status")).toHaveText("Approved, and signed.");
  expect(await gateway.state(id)).toBe("ready");

  const { approvals } = await gateway.json<{ approvals: { approver: string; key: string; signed: { statement: string; signature: string } }[] }>("carol", "show", id);
  expect(approvals[0]).toMatchObject({ approver: "bob", key: fingerprint });
  const { statement, signature } = approvals[0]?.signed ?? { statement: "", signature: "" };
  expect(JSON.parse(statement)).toMatchObject({ verdict: "approve", approver: "bob", envelope: digest, access_request: id });
  const keys = await page.evaluate(async () => (await (await fetch("/api/v1/keys/bob")).json()) as { key: string; fingerprint: string }[]);
  const folder = await mkdtemp(join(tmpdir(), "signed-"));
  await writeFile(join(folder, "allowed"), `bob namespaces="safeconduct-approval@v1" ${keys.find((key) => key.fingerprint === fingerprint)?.key}\n`);
  await writeFile(join(folder, "signature"), signature);
  const verify = async (text: string) => {
    await writeFile(join(folder, "statement"), text);
    return promisify(execFile)("sh", ["-c", `ssh-keygen -Y verify -f allowed -I bob -n safeconduct-approval@v1 -s signature < statement`], { cwd: folder });
  };
  expect((await verify(statement)).stdout).toContain("Good");
  await expect(verify(statement.replace("approve", "deny"))).rejects.toThrow();
  await rm(folder, { recursive: true });

  // The same passkey signs in, with its user checked.
  await bob.context.clearCookies();
  await page.goto("/sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await expect(page.getByRole("heading", { name: "What you may do now" })).toBeVisible();
  await page.goto("/account");
  await expect(page.getByRole("listitem").filter({ hasText: "this browser" })).toContainText("with a passkey");
  await bob.session.send("WebAuthn.setUserVerified", { authenticatorId: bob.id, isUserVerified: false });
  await bob.context.clearCookies();
  await page.goto("/sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await expect(page.getByRole("alert")).toContainText("No passkey was used");
  complaints.length = 0;
  await browser.close();
});

test("f27 who signed in by a password steps up with a passkey where policy asks for it, and what they wrote stays", async ({ gateway, as, complaints }) => {
  test.setTimeout(120_000);
  const browser = await trusting(gateway);
  const bob = await withAuthenticator(browser, gateway, "bob", complaints);
  const { page } = bob;
  bob.context.setDefaultTimeout(15_000);
  const { link, fingerprint } = await makePasskey(bob, gateway);
  await enrol(as, link, fingerprint);
  const stepUp = `
@id("step-up")
forbid (principal is Person, action == Action::"write", resource == Resource::"orders-db")
when { !context.exact }
unless { context.asked.sign_in == "passkey" && context.asked.sign_in_age < duration("5m") };
`;
  const back = await gateway.changePolicy((path, text) => (path === "policies/orders.cedar" ? text + stepUp : text));
  try {
    await page.goto("/resources/orders-db");
    await page.getByRole("checkbox", { name: "write" }).check();
    await page.getByLabel("Why").fill("a long and careful reason");
    await expect(page.getByTestId("verdict")).toContainText("Policy wants a sign-in with a passkey for this.");
    await expect(page.getByRole("button", { name: "Ask", exact: true })).toBeDisabled();
    // Another tab, with the same passkey: the virtual authenticator is one tab's.
    const other = await bob.context.newPage();
    listen(other, complaints);
    const session = await bob.context.newCDPSession(other);
    await session.send("WebAuthn.enable");
    const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    const { credentials } = await bob.session.send("WebAuthn.getCredentials", { authenticatorId: bob.id });
    await session.send("WebAuthn.addCredential", { authenticatorId, credential: credentials[0] as never });
    await other.goto("/sign-in");
    // A first step that is not finished changes nothing.
    await other.getByLabel("Name").fill("bob");
    await other.getByLabel("Password").fill("not the password");
    await other.keyboard.press("Enter");
    await expect(other.getByRole("alert")).toBeVisible();
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })));
    await expect(page.getByTestId("verdict")).toContainText("Policy wants a sign-in with a passkey for this.");
    await other.getByRole("button", { name: "Sign in with a passkey" }).click();
    await expect(other.getByRole("heading", { name: "What you may do now" })).toBeVisible();
    await other.close();
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })));
    await expect(page.getByTestId("verdict")).not.toContainText("Policy wants");
    await expect(page.getByLabel("Why")).toHaveValue("a long and careful reason");
    await page.getByRole("button", { name: /^Ask/ }).click();
    await expect(page).toHaveURL(/\/access-requests\/rq-/);
    await expect(page.getByText("signed in by passkey").first()).toBeAttached();
  } finally {
    await back();
  }
  complaints.length = 0;
  await browser.close();
});

test("f20 f54 the signing page signs nothing but what the digest is of, and nothing without its user", async ({ gateway, complaints }) => {
  test.setTimeout(120_000);
  const browser = await trusting(gateway);
  const bob = await withAuthenticator(browser, gateway, "bob", complaints);
  const { page, session } = bob;
  const id = await gateway.pending("what is shown", "analyze orders");
  // A passkey that nobody enrolled: made here, on this page's domain.
  await makePasskey(bob, gateway);
  await withStrangersPasskey(page, "bob");
  await page.goto(`/sign/${id}`);
  await page.getByRole("button", { name: "Approve and sign" }).click();
  await expect(page.getByRole("alert")).toContainText("not enrolled");
  expect(await gateway.state(id)).toBe("pending");

  // A gateway that shows something else than it would run.
  await page.route(`**/api/v1/access-requests/${id}`, async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { envelope: { scope: { action: { text: string } } } };
    body.envelope.scope.action.text = "analyze customers";
    await route.fulfill({ response: answer, json: body });
  });
  await page.goto(`/sign/${id}`);
  await expect(page.getByRole("alert")).toContainText("nothing is signed");
  await expect(page.getByRole("button")).toHaveCount(0);
  await page.unrouteAll({ behavior: "ignoreErrors" });

  // Nobody at the authenticator.
  await session.send("WebAuthn.setUserVerified", { authenticatorId: bob.id, isUserVerified: false });
  await session.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: bob.id });
  await page.goto(`/sign/${id}`);
  const policy = await page.evaluate(async () => (await fetch(location.href)).headers.get("content-security-policy"));
  expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self';/);
  expect(policy).toContain("frame-ancestors 'none'");
  expect(await gateway.state(id)).toBe("pending");
  await browser.close();
});

test("f46 f54 the signing page signs nothing that hides, and writes out what passes for something else", async ({ gateway, as }) => {
  const id = await gateway.pending("what is shown", "analyze orders");
  const page = await as("bob");
  const shown = async (sql: string) => {
    await page.unrouteAll({ behavior: "ignoreErrors" });
    // As a gateway would that is somebody else's: the digest is of what it shows.
    await page.route(`**/api/v1/access-requests/${id}`, async (route) => {
      const answer = await route.fetch();
      const body = (await answer.json()) as { digest: string; envelope: { scope: { action: { text: string } } } };
      body.envelope.scope.action.text = sql;
      body.digest = await digestOf(body.envelope as unknown as Json);
      await route.fulfill({ response: answer, json: body });
    });
    await page.goto(`/sign/${id}`);
  };
  await shown("analyze customers -- \u202esredro");
  await expect(page.locator("pre").first()).toHaveText("analyze customers -- U+202Esredro");
  await expect(page.getByRole("alert")).toContainText("Nothing is signed here");
  await expect(page.getByRole("button")).toHaveCount(0);
  await shown("analyze \u043erders -- größer");
  await expect(page.locator("pre").first()).toHaveText("analyze U+043Erders -- größer");
});

test("the page that signs is the page whose digest is told and recorded", async ({ gateway }) => {
  const { signing_page } = await gateway.json<{ signing_page: string }>("carol", "status");
  const call = await request.newContext({ ignoreHTTPSErrors: true });
  const served = await (await call.get(`${gateway.url}/sign`, { headers: { "accept-encoding": "identity" } })).body();
  await signIn(call, gateway, "carol");
  const started = await (await call.get(`${gateway.url}/api/v1/ledger/search?kind=node_started`)).json();
  expect(started.entries[0].event.signing_page).toBe(signing_page);
  await call.dispose();
  expect(`sha256:${createHash("sha256").update(served).digest("hex")}`).toBe(signing_page);
  expect(served.length).toBeLessThan(20 * 1024);
});

for (const width of [1440, 360])
  test(`nothing stands in anybody's way where approvals are signed (axe, ${width})`, async ({ gateway, as }) => {
    const id = await gateway.pending("the statistics are old", "analyze orders");
    for (const colorScheme of ["light", "dark"] as const) {
      const bob = await as("bob", { viewport: { width, height: 800 }, colorScheme });
      await withStrangersPasskey(bob, "bob");
      await bob.goto(`/sign/${id}`);
      await expect(bob.getByRole("button", { name: "Approve and sign" })).toBeEnabled();
      const { violations } = await new AxeBuilder({ page: bob }).analyze();
      expect(violations.map(({ id, nodes }) => `${id} ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
      expect(await bob.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    }
  });
