// Signing in by an identity provider, a certified one, in browsers and on command lines; and what ends here when it is over there.
import AxeBuilder from "@axe-core/playwright";
import type { BrowserContext, Page } from "@playwright/test";
import { expect, signInThere, subject, test as base, Terminal } from "./provider";
import { listen, settleAll, type Gateway } from "./gateway";

/** Somebody of Example Corp: a browser, and a command line. */
interface Employee {
  name: string;
  page: Page;
  context: BrowserContext;
  terminal: Terminal;
}

const test = base.extend<{ employee: (name: string, ...groups: string[]) => Promise<Employee> }>({
  employee: async ({ browser, gateway, provider, complaints }, use) => {
    const all: Employee[] = [];
    await use(async (name, ...groups) => {
      provider.account(name, groups);
      const context = await browser.newContext({ baseURL: gateway.url });
      const page = await context.newPage();
      listen(page, complaints);
      const employee = { name, page, context, terminal: new Terminal(gateway) };
      all.push(employee);
      return employee;
    });
    for (const { context, terminal } of all) {
      await context.close();
      terminal.remove();
    }
    // Who is nobody yet, or no more, is answered with 401.
    complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("status of 401")));
    expect(provider.complaints.splice(0)).toEqual([]);
  },
});

test.beforeEach(({ gateway }) => settleAll(gateway));

/** As an administrator who knows that this is nobody who is here already. */
async function letIn(gateway: Gateway, name: string) {
  const { id } = await gateway.json<{ id: string }>("ann", "user", "enable", name, "--reason", "starts today");
  const { digest } = await gateway.json<{ digest: string }>("abe", "show", id);
  await gateway.run("abe", "approve", id, "--yes", "--digest", digest);
}

async function signInAt(page: Page, name: string) {
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await signInThere(page, name);
}

/** Signs in for the first time, is let in, and signs in. */
async function welcome({ page, name }: Employee, gateway: Gateway) {
  await page.goto("/sign-in");
  await signInAt(page, name);
  await expect(page.getByRole("alert")).toContainText("SIGN-007");
  await letIn(gateway, name);
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page.getByLabel(`account of ${name}`)).toBeVisible();
}

async function signInCommandLine({ page, terminal, name }: Employee) {
  const { url, waits } = await terminal.signIn();
  await page.goto(url);
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page.locator("body")).toContainText("Go back to the command line");
  expect(await waits.ended()).toEqual({ code: 0, said: expect.stringContaining(`as ${name} until`) });
}

/** psql through the door with a grant to read; the access request. */
async function readOrders({ terminal }: Employee) {
  const asked = await terminal.run("request", "orders-db", "-o", "read", "--for", "15m", "--reason", "order 4711");
  const id = /rq-[0-9a-z]{12}/.exec(asked.said)?.[0] ?? "";
  const psql = terminal.talk("connect", "orders-db");
  psql.say("select 'it is ' || 'open';");
  await psql.says(/it is open/);
  return { id, psql };
}

/** Sessions of somebody that are open. */
async function live(gateway: Gateway, name: string) {
  return (await gateway.json<{ principal: string }[]>("carol", "sessions", "--live")).filter(({ principal }) => principal === name);
}

test("f23 whom a provider makes waits until an administrator lets them in; then its groups count", async ({ gateway, provider, employee, as }) => {
  const eve = await employee("eve", "team-dba");
  const { page } = eve;
  await page.goto("/approvals");
  await signInAt(page, "eve");
  await expect(page.getByRole("alert")).toContainText("SIGN-007");
  await expect(page.getByRole("alert")).toContainText("waits until an administrator lets them in");
  expect((await page.request.get("/api/v1/whoami")).status()).toBe(401);
  // Made by two visits it is one person still.
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page.getByRole("alert")).toContainText("SIGN-007");
  const people = await gateway.json<{ name: string }[]>("ann", "user", "list");
  const made = people.filter(({ name }) => name.startsWith("eve"));
  expect(made).toMatchObject([{ name: "eve", display_name: "eve of Example Corp", disabled: true, waits: true, groups: [] }]);
  // Administrators see who waits, and who that is there.
  const ann = await as("ann");
  await ann.goto("/people");
  const listed = ann.getByRole("listitem", { name: "eve" });
  await expect(listed).toContainText("waits");
  await expect(listed).toContainText(`${provider.issuer}, as ${subject("eve")}`);

  await letIn(gateway, "eve");
  await expect(listed).not.toContainText("waits");
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  // Where they wanted to go in the first place.
  await expect(page.getByText("Nothing waits for you")).toBeVisible();
  const id = await gateway.pending("eve is one of the DBAs");
  await expect(page.getByRole("article")).toHaveAccessibleName(`access request ${id}`);
  await page.getByRole("button", { name: "Approve…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Approve", exact: true }).click();
  await expect.poll(() => gateway.state(id)).toBe("ready");

  await page.goto("/account");
  await expect(page.getByRole("region", { name: "sign-ins" })).toContainText("by corp");
});

test("who says no at the provider is told so, and begins again", async ({ employee }) => {
  const { page } = await employee("mallory");
  await page.goto("/sign-in");
  await signInAt(page, "somebody else");
  await expect(page.getByRole("alert")).toContainText("access_denied");
  await expect(page.getByRole("button", { name: "Sign in with Example Corp" })).toBeEnabled();
});

test("while a provider is out of order the page says so; then it signs in", async ({ gateway, provider, employee, complaints }) => {
  const oscar = await employee("oscar", "team-web");
  const { page } = oscar;
  provider.isOutOfOrder = true;
  await page.goto("/sign-in?to=/account");
  await signInAt(page, "oscar");
  await expect(page.getByRole("alert")).toContainText("can't be used at the moment");
  expect(complaints.splice(0).filter((complaint) => !complaint.includes("status of 401"))).toEqual([expect.stringContaining("status of 503")]);
  provider.isOutOfOrder = false;
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page.getByRole("alert")).toContainText("SIGN-007");
  await letIn(gateway, "oscar");
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page).toHaveURL(/\/account$/);
});

test("a command line signs in through the browser, and the browser is signed in nowhere", async ({ gateway, employee }) => {
  const frank = await employee("frank", "team-web");
  const { page, terminal } = frank;
  const { url, waits } = await terminal.signIn();
  await page.goto(url);
  await expect(page.getByText("A command line on this machine asks")).toBeVisible();
  // A password would sign this browser in, and leave the command line waiting.
  await expect(page.getByLabel("Password")).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Sign in with a passkey" })).toHaveCount(0);
  await signInAt(page, "frank");
  await expect(page.getByRole("alert")).toContainText("SIGN-007");

  // The command line waits on: once frank is let in, the page they are on still leads to it.
  await letIn(gateway, "frank");
  await expect(page.getByText("A command line on this machine asks")).toBeVisible();
  await page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(page.locator("body")).toContainText("Go back to the command line");
  expect(await waits.ended()).toEqual({ code: 0, said: expect.stringContaining(`signed in to ${gateway.url} as frank until`) });
  expect((await page.request.get(`${gateway.url}/api/v1/whoami`)).status()).toBe(401);

  expect((await terminal.run("whoami")).said).toContain("signed in by an identity provider");
  const asked = await terminal.run("request", "orders-db", "-o", "read", "--for", "15m", "--reason", "order 4711", "--json");
  expect(JSON.parse(asked.said)).toMatchObject({ state: "active", requester: "frank" });
});

test("signing out at the provider ends every sign-in it began, and no door secret of them opens anything", async ({ gateway, provider, employee }) => {
  const heidi = await employee("heidi", "team-web");
  await welcome(heidi, gateway);
  await signInCommandLine(heidi);
  const { psql } = await readOrders(heidi);
  const { page, context, terminal } = heidi;
  await page.goto("/sessions");
  await expect(page.getByRole("link", { name: /heidi → orders-db/ })).toBeVisible();

  const there = await context.newPage();
  await there.goto(`${provider.issuer}/session/end`);
  await there.getByRole("button", { name: "Sign out everywhere" }).click();
  await expect(there.getByText("Signed out.")).toBeVisible();

  // The open page goes to where one signs in, by itself.
  await expect(page).toHaveURL(/\/sign-in/);
  expect(await terminal.run("whoami")).toMatchObject({ code: 5, said: expect.stringContaining("SIGN-002") });
  expect((await terminal.run("connect", "orders-db")).said).toContain("SIGN-002");
  // What is open is held by its grant, not by the sign-in; its secret opens nothing more.
  psql.say("select 'still ' || 'here';");
  await psql.says(/still here/);
  psql.say("\\connect");
  await psql.says(/FATAL/);

  // They sign in again without saying how: there is no password to ask for.
  const again = terminal.talk("sign-in");
  await page.goto(/https:\S+/.exec(await again.says(/challenge=\S+\s/))?.[0] ?? "");
  await signInAt(page, "heidi");
  expect(await again.ended()).toEqual({ code: 0, said: expect.stringContaining("as heidi until") });
});

test("a claim of the ID token decides, and approvers see it", async ({ gateway, provider, employee, as }) => {
  const leo = await employee("leo", "team-web");
  await welcome(leo, gateway);
  await signInCommandLine(leo);
  const only = `
@id("cleared-alone")
forbid (principal is Person, action == Action::"write", resource == Resource::"orders-db")
unless { context.asked.claims.contains("clearance=secret") };
`;
  const back = await gateway.changePolicy((path, text) => (path === "policies/orders.cedar" ? text + only : text));
  const write = ["request", "orders-db", "-o", "write", "--for", "15m", "--reason", "leo's write", "--json"];
  expect((await leo.terminal.run(...write)).said).toContain("cleared-alone");
  provider.account("leo", ["team-web"], "none");
  await signInCommandLine(leo);
  expect((await leo.terminal.run(...write)).said).toContain("cleared-alone");
  provider.account("leo", ["team-web"], "secret");
  await signInCommandLine(leo);
  const { id, state } = JSON.parse((await leo.terminal.run(...write)).said) as { id: string; state: string };
  expect(state).toBe("pending");
  expect(await gateway.run("bob", "show", id)).toContain("sign-in says clearance “secret”");
  const bob = await as("bob");
  await bob.goto(`/access-requests/${id}`);
  await expect(bob.getByRole("article").getByText("clearance=secret")).toBeVisible();
  await bob.getByRole("button", { name: "Approve…" }).click();
  await bob.getByRole("dialog").getByRole("button", { name: "Approve", exact: true }).click();
  await expect.poll(() => gateway.state(id)).toBe("active");
  await back();
});

test("F15 a group taken away at the provider ends what it gave, with the next sign-in", async ({ gateway, provider, employee }) => {
  const ivan = await employee("ivan", "team-web");
  await welcome(ivan, gateway);
  await signInCommandLine(ivan);
  const { id, psql } = await readOrders(ivan);
  provider.account("ivan", ["team-other"]);
  await ivan.page.goto("/account");
  await signInCommandLine(ivan);
  await expect.poll(() => live(gateway, "ivan")).toEqual([]);
  psql.say("select 1;");
  await psql.says(/FATAL/);
  expect(await gateway.state(id)).toBe("revoked");
  expect((await ivan.terminal.run("connect", "orders-db")).code).not.toBe(0);
});

test("F15 who is disabled at the provider opens no more sessions here", async ({ gateway, provider, employee }) => {
  const judy = await employee("judy", "team-web");
  await welcome(judy, gateway);
  await signInCommandLine(judy);
  const { psql } = await readOrders(judy);
  await provider.disable("judy");
  expect((await judy.terminal.run("connect", "orders-db")).said).toContain("SIGN-002");
  psql.say("\\connect");
  await psql.says(/FATAL/);
  await judy.page.goto("/");
  await expect(judy.page).toHaveURL(/\/sign-in/);
  await judy.page.getByRole("button", { name: "Sign in with Example Corp" }).click();
  await expect(judy.page.getByRole("alert")).toContainText("access_denied");
  expect((await judy.page.request.get(`${gateway.url}/api/v1/whoami`)).status()).toBe(401);
});

test("a provider that changes its keys signs people in and out as before", async ({ gateway, provider, employee }) => {
  const kim = await employee("kim", "team-web");
  await welcome(kim, gateway);
  provider.rotateKeys();
  const { url, waits } = await kim.terminal.signIn();
  await kim.page.goto(url);
  await signInAt(kim.page, "kim");
  await expect(kim.page.locator("body")).toContainText("Go back to the command line");
  expect(await waits.ended()).toMatchObject({ code: 0 });
  await provider.disable("kim");
  expect((await kim.terminal.run("whoami")).said).toContain("SIGN-002");
});

for (const scheme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way where providers sign in (axe, ${scheme})`, async ({ employee }) => {
    const { page, terminal } = await employee("peggy");
    await page.emulateMedia({ colorScheme: scheme });
    const { url, waits } = await terminal.signIn();
    await page.goto(url);
    await signInAt(page, "peggy");
    await expect(page.getByRole("alert")).toContainText("SIGN-007");
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
    await page.goto("/sign-in");
    await expect(page.getByRole("button", { name: "Sign in with Example Corp" })).toBeVisible();
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
    waits.kill();
  });
}
