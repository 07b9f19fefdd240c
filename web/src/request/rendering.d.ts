declare module "virtual:rendering" {
  /** What an envelope says, as the page that signs and the command line show it: every line's label and value. */
  export function rendering(envelope: object): [label: string, value: string][];
}
