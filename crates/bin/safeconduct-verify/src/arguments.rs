//! The command line of `safeconduct-verify`.
//!
//! Decides what is asked. Refuses what it does not know, and to run without a key: an unsigned log proves nothing.
use std::ffi::OsString;
use std::path::PathBuf;

pub const USAGE: &str = "\
verifies a Safeconduct ledger offline, with nothing but its files and its public key

usage: safeconduct-verify DIR (--vkey KEY | --vkey-file FILE) [--checkpoint FILE]… [--json]
       safeconduct-verify --proof FILE (--vkey KEY | --vkey-file FILE) [--json]
       safeconduct-verify receipt FILE (--vkey KEY | --vkey-file FILE) [--roots FILE [--needed N]] [--json]

  DIR                a ledger as files: `checkpoint`, `tile/…`, and `bodies/…` if they are to be checked
  --vkey KEY         the ledger's public key, `name+id+base64`; may be repeated
  --vkey-file FILE   the same, one key a line
  --checkpoint FILE  a checkpoint remembered from earlier, which the ledger must extend; may be repeated
  --proof FILE       verify one `.tlog-proof` and show its entry
  receipt FILE       verify the receipt of one access request: who asked what, who approved it by which signature, what came of it
  --roots FILE       root keys, one line of a `.pub` file each: signatures count only by keys of a roster that enough of them signed
  --needed N         how many root keys must sign; more than half if it is not said
  --json             one line of JSON for machines
  --help, --version

exit status: 0 verified, 1 not verified or not readable, 2 wrong usage
";

#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Help,
    Version,
    Verify(Arguments),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub target: Target,
    pub vkeys: Vec<String>,
    pub vkey_files: Vec<PathBuf>,
    pub checkpoints: Vec<PathBuf>,
    pub roots: Option<PathBuf>,
    pub needed: Option<usize>,
    pub json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Directory(PathBuf),
    Proof(PathBuf),
    Receipt(PathBuf),
}

/// Reads the arguments after the program's name. The error is one line for people.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter();
    let mut targets = Vec::new();
    let (mut vkeys, mut vkey_files, mut checkpoints, mut json) = (Vec::new(), Vec::new(), Vec::new(), false);
    let (mut roots, mut needed) = (None, None);
    let mut options = true;
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        if options && text == "receipt" && targets.is_empty() {
            let file = arguments.next().ok_or("which receipt? name its file")?;
            if file == "--help" || file == "-h" {
                return Ok(Request::Help);
            }
            targets.push(Target::Receipt(file.into()));
            continue;
        }
        if !options || !text.starts_with('-') || text == "-" {
            targets.push(Target::Directory(argument.into()));
            continue;
        }
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text, None),
        };
        let mut value = || inline.clone().or_else(|| arguments.next()).ok_or(format!("`{name}` needs a value"));
        match name {
            "--vkey" => vkeys.push(value()?.into_string().map_err(|_| "`--vkey` is not text".to_owned())?),
            "--vkey-file" => vkey_files.push(value()?.into()),
            "--checkpoint" => checkpoints.push(value()?.into()),
            "--roots" if roots.is_some() => return Err("`--roots` is given twice: one file holds them all".into()),
            "--roots" => roots = Some(value()?.into()),
            "--needed" => {
                let count = value()?.to_str().and_then(|count| count.parse().ok());
                needed = Some(count.ok_or("`--needed` is a number of root keys")?);
            }
            "--proof" => targets.push(Target::Proof(value()?.into())),
            _ if inline.is_some() => return Err(format!("unknown option `{text}`")),
            "--json" => json = true,
            "--" => options = false,
            "--help" | "-h" => return Ok(Request::Help),
            "--version" | "-V" => return Ok(Request::Version),
            _ => return Err(format!("unknown option `{text}`")),
        }
    }
    if vkeys.is_empty() && vkey_files.is_empty() {
        return Err("whose ledger is it? give its public key with `--vkey` or `--vkey-file`".into());
    }
    let target = match (targets.pop(), targets.is_empty()) {
        (Some(Target::Proof(_) | Target::Receipt(_)), true) if !checkpoints.is_empty() => {
            return Err("`--checkpoint` goes with a directory, not with `--proof` or `receipt`".into());
        }
        (Some(target), true) => target,
        (None, _) => return Err("which ledger? give its directory, or a proof with `--proof`".into()),
        (Some(_), false) => return Err("one directory or one proof at a time".into()),
    };
    if roots.is_some() && !matches!(target, Target::Receipt(_)) {
        return Err("`--roots` goes with `receipt`".into());
    }
    if needed.is_some() && roots.is_none() {
        return Err("`--needed` goes with `--roots`".into());
    }
    Ok(Request::Verify(Arguments { target, vkeys, vkey_files, checkpoints, roots, needed, json }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<&str, &str>) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        let shown = parsed.map(|request| match request {
            Request::Verify(a) => {
                let roots = a.roots.map(|roots| format!(" {roots:?} {:?}", a.needed)).unwrap_or_default();
                format!("{:?} {:?} {:?} {:?} {}{roots}", a.target, a.vkeys, a.vkey_files, a.checkpoints, a.json)
            }
            other => format!("{other:?}"),
        });
        match (shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected),
            (Err(shown), Err(part)) => assert!(shown.contains(part), "{shown}"),
            (shown, _) => panic!("{line}: {shown:?}"),
        }
    }

    #[test]
    fn what_is_asked() {
        check("dir --vkey k", Ok(r#"Directory("dir") ["k"] [] [] false"#));
        check(
            "--json --vkey=k+1+a= --vkey-file f --checkpoint c --checkpoint=d dir",
            Ok(r#"Directory("dir") ["k+1+a="] ["f"] ["c", "d"] true"#),
        );
        check("receipt r --vkey k", Ok(r#"Receipt("r") ["k"] [] [] false"#));
        check("receipt r --vkey k --roots f", Ok(r#"Receipt("r") ["k"] [] [] false "f" None"#));
        check("receipt r --vkey k --roots=f --needed 2", Ok(r#"Receipt("r") ["k"] [] [] false "f" Some(2)"#));
        check("-- receipt --vkey k", Err("--vkey"));
        check("--proof p --vkey k", Ok(r#"Proof("p") ["k"] [] [] false"#));
        check("--vkey k -- --dir", Ok(r#"Directory("--dir") ["k"] [] [] false"#));
        check("--help", Ok("Help"));
        check("receipt --help", Ok("Help"));
        check("-V", Ok("Version"));
    }

    #[test]
    fn what_is_not_understood() {
        check("", Err("--vkey"));
        check("dir", Err("--vkey"));
        check("--vkey k", Err("which ledger"));
        check("--vkey", Err("needs a value"));
        check("receipt", Err("which receipt"));
        check("receipt r p --vkey k", Err("one directory"));
        check("receipt r --vkey k --roots f --roots g", Err("given twice"));
        check("receipt r --vkey k --roots f --needed few", Err("a number"));
        check("receipt r --vkey k --needed 1", Err("goes with `--roots`"));
        check("a --vkey k --roots f", Err("goes with `receipt`"));
        check("a b --vkey k", Err("one directory"));
        check("a --proof p --vkey k", Err("one directory"));
        check("--proof p --checkpoint c --vkey k", Err("not with `--proof`"));
        check("dir --vkey k --jsn", Err("unknown option `--jsn`"));
        check("dir --vkey k --json=1", Err("unknown option `--json=1`"));
    }
}
