// Passkeys in this browser: making one, whose public key is written as OpenSSH does, so that it signs what every key signs; and signing in with one.

const KIND = "sk-ecdsa-sha2-nistp256@openssh.com";

const bytes = (text: string) => new TextEncoder().encode(text);
const base64 = (of: Uint8Array) => btoa(String.fromCharCode(...of));

/** A string of the SSH wire format: its length, then it. */
function string(of: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + of.length);
  new DataView(out.buffer).setUint32(0, of.length);
  out.set(of, 4);
  return out;
}

function concat(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The line that names a P-256 key in an authenticator, for a page of this domain. */
export const lineOf = (point: Uint8Array, domain: string) => `${KIND} ${base64(concat(...[bytes(KIND), bytes("nistp256"), point, bytes(domain)].map(string)))}`;

/** Asks the browser for a new passkey; the line of its public key. Nothing is sent anywhere. */
export async function makePasskey(name: string, displayName: string): Promise<string> {
  const credential = (await navigator.credentials.create({
    publicKey: {
      // Nobody attests to anything, so there is nothing to challenge.
      challenge: crypto.getRandomValues(new Uint8Array(32)),
      rp: { id: location.hostname, name: "Safeconduct" },
      user: { id: bytes(name), name, displayName: displayName || name },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }],
      authenticatorSelection: { residentKey: "required", userVerification: "preferred" },
      attestation: "none",
      timeout: 120_000,
    },
  })) as PublicKeyCredential | null;
  const key = (credential?.response as AuthenticatorAttestationResponse | undefined)?.getPublicKey();
  // The end of a P-256 key in its DER form is its point, uncompressed.
  const point = key && new Uint8Array(key).slice(-65);
  if (point?.[0] !== 4) throw new Error("This authenticator made a key of another kind than P-256; try another one.");
  return lineOf(point, location.hostname);
}

/** The digest that `ssh-keygen -l` prints of a key's line. */
export async function fingerprint(line: string): Promise<string> {
  const blob = Uint8Array.from(atob(line.trim().split(/\s+/)[1] ?? ""), (char) => char.charCodeAt(0));
  return `SHA256:${base64(new Uint8Array(await crypto.subtle.digest("SHA-256", blob))).replace(/=+$/, "")}`;
}

const url64 = (of: Uint8Array) => base64(of).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

/** The two numbers of a signature in DER, 32 bytes each. */
export function numbersOf(der: Uint8Array): Uint8Array {
  const number = (at: number): [Uint8Array, number] => {
    const end = at + 2 + (der[at + 1] ?? 0);
    const digits = der.slice(Math.max(at + 2, end - 32), end);
    return [concat(new Uint8Array(32 - digits.length), digits), end];
  };
  const [r, next] = number(2);
  return concat(r, number(next)[0]);
}

/** Has a passkey of this site sign the gateway's challenge; what is to be sent. */
export async function answerWithPasskey(challenge: string) {
  const hashed = new Uint8Array(await crypto.subtle.digest("SHA-512", bytes(challenge)));
  const signed = concat(bytes("SSHSIG"), ...[bytes("safeconduct-sign-in@v1"), bytes(""), bytes("sha512"), hashed].map(string));
  const credential = (await navigator.credentials.get({
    publicKey: { challenge: signed as Uint8Array<ArrayBuffer>, rpId: location.hostname, userVerification: "required", timeout: 120_000 },
  })) as PublicKeyCredential | null;
  const response = credential?.response as AuthenticatorAssertionResponse;
  return {
    challenge,
    name: new TextDecoder().decode(response.userHandle ?? new ArrayBuffer(0)),
    authenticator_data: url64(new Uint8Array(response.authenticatorData)),
    client_data: url64(new Uint8Array(response.clientDataJSON)),
    signature: url64(numbersOf(new Uint8Array(response.signature))),
  };
}
