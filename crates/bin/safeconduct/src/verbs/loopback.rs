//! A port of this machine to which a browser brings what it was given (RFC 8252). Takes one code and tells the browser so; says nothing else.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// How long the person may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a connection may take to say what it wants.
const READING: Duration = Duration::from_secs(5);
/// Longest request that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// Waits for a browser.
pub struct Loopback {
    pub port: u16,
    /// What makes the code worth something. Never leaves this process but for the server.
    pub verifier: Zeroizing<String>,
    listener: TcpListener,
}

impl Loopback {
    pub async fn open() -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| Failure::local("listening on this machine", &error))?;
        let port = listener.local_addr().map_err(|error| Failure::local("listening on this machine", &error))?.port();
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *bytes).map_err(|error| Failure::usage("the system gives no random bytes").why(error.to_string()))?;
        Ok(Self { port, verifier: Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)), listener })
    }

    /// What the server binds the code to.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }

    /// The code the browser brings.
    pub async fn code(&self) -> Result<Zeroizing<String>, Failure> {
        let wait = async {
            loop {
                let Ok((connection, _)) = self.listener.accept().await else { continue };
                // Browsers ask for icons and open connections ahead: those bring none.
                if let Ok(Some(code)) = tokio::time::timeout(READING, code_of(connection)).await {
                    return code;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| {
            Failure::new("CLI-017", Exit::Error, "no browser brought a sign-in within ten minutes")
                .next("try again, and open the address on this machine")
        })
    }
}

async fn code_of(mut connection: TcpStream) -> Option<Zeroizing<String>> {
    let mut request = Zeroizing::new(Vec::new());
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0_u8; 2048];
        let read = connection.read(&mut part).await.ok()?;
        if read == 0 || request.len() + read > LONGEST {
            return None;
        }
        request.extend_from_slice(part.get(..read)?);
    }
    let line = std::str::from_utf8(&request).ok()?.lines().next()?.to_owned();
    let code = line.strip_prefix("GET /?code=").and_then(|rest| rest.split_once(' ')).map(|(code, _)| code).filter(|code| is_code(code));
    let (status, text) = match code {
        Some(_) => ("200 OK", "Go back to the command line: it has what it takes. This page can be closed."),
        None => ("404 Not Found", "Nothing is here."),
    };
    // With an icon in it: nobody listens any more when the browser would ask for one.
    let page = format!(
        "<!doctype html><html lang=\"en\"><title>Safeconduct</title><link rel=\"icon\" href=\"data:,\">\
         <meta name=\"color-scheme\" content=\"light dark\"><p>{text}</p></html>\n"
    );
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         content-security-policy: default-src 'none'; img-src data:\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    // The code is here, whether or not the browser reads the answer.
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
    code.map(|code| Zeroizing::new(code.to_owned()))
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
