// The time zone that times are shown in: the browser's, unless somebody chose. Read once, when a page is loaded.

const KEPT = "safeconduct-zone";

/** A time zone's name, or nothing for the browser's own. One that this browser does not know counts for nothing. */
export function chosenZone(): string | undefined {
  const kept = localStorage.getItem(KEPT) ?? undefined;
  try {
    if (kept) new Intl.DateTimeFormat(undefined, { timeZone: kept });
    return kept;
  } catch {
    return undefined;
  }
}

/** Every time on every page follows: the page is loaded again. */
export function chooseZone(zone: string | undefined) {
  if (zone) localStorage.setItem(KEPT, zone);
  else localStorage.removeItem(KEPT);
  location.reload();
}

export const browserZone = () => new Intl.DateTimeFormat().resolvedOptions().timeZone;
