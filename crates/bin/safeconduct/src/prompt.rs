//! Questions to whoever sits at the terminal: passwords without echo, and yes or no. Takes no answer from anybody else.

use std::{
    io::{BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// No secret is longer.
const LONGEST: u64 = 4096;

/// True if somebody can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A secret: from a file, from standard input (`-`), or asked for without echo. Never from an argument.
pub fn secret(what: &str, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let text = match file {
        Some(path) if path.as_os_str() != "-" => {
            let file = std::fs::File::open(path).map_err(|error| Failure::local(&format!("reading {}", path.display()), &error))?;
            first_line(file)?
        }
        Some(_) if !std::io::stdin().is_terminal() => first_line(std::io::stdin().lock())?,
        _ if !can_ask() => {
            return Err(Failure::usage(format!("no {what} was given and there is no terminal to ask at"))
                .next("give it in a file or on standard input: `--password-file FILE`, `--password-file -`"));
        }
        _ => asked(what)?,
    };
    if text.is_empty() { Err(Failure::usage(format!("the {what} is empty"))) } else { Ok(text) }
}

fn asked(what: &str) -> Result<Zeroizing<String>, Failure> {
    let _ = write!(std::io::stderr(), "{what}: ");
    let _ = std::io::stderr().flush();
    console::Term::stderr().read_secure_line().map(Zeroizing::new).map_err(|error| Failure::local(&format!("reading the {what}"), &error))
}

fn first_line(from: impl std::io::Read) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    from.take(LONGEST).read_to_string(&mut text).map_err(|error| Failure::local("reading a secret", &error))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Asks for a yes. Anything else is a no.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::local("reading the answer", &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
