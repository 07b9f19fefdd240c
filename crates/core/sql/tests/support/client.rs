//! A client for PostgreSQL's simple query protocol, as small as the tests need: several queries in one write, answers as text.

use std::{
    io::{self, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// A connection to a server.
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// What the server said to one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// SQLSTATE and message of the error, if there was one.
    pub error: Option<(String, String)>,
    /// The first column of each row; empty text for NULL. Capped: the tests look at a few rows only.
    pub first_column: Vec<String>,
    /// `I` idle, `T` in a transaction, `E` in a failed one.
    pub status: u8,
}

impl Answer {
    /// The SQLSTATE, empty when all went well.
    #[must_use]
    pub fn sqlstate(&self) -> &str {
        self.error.as_ref().map_or("", |(state, _)| state)
    }
}

impl Client {
    /// Connects to the server behind `socket`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn connect(socket: &Path, user: &str, database: &str) -> io::Result<Self> {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, "client_encoding", "UTF8"] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes())?;
        stream.write_all(&body)?;
        let mut client = Self { stream: BufReader::with_capacity(1 << 16, stream) };
        client.answer(true)?;
        Ok(client)
    }

    /// Sends the texts as one query each, in one write, and gives an answer for each.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn queries(&mut self, texts: &[&str]) -> io::Result<Vec<Answer>> {
        let mut bytes = Vec::new();
        for text in texts {
            bytes.push(b'Q');
            bytes.extend_from_slice(&u32::try_from(text.len() + 5).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        self.stream.get_mut().write_all(&bytes)?;
        texts.iter().map(|_| self.answer(false)).collect()
    }

    /// Sends one query.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn query(&mut self, text: &str) -> io::Result<Answer> {
        Ok(self.queries(&[text])?.pop().unwrap_or_default())
    }

    /// Reads up to the next ReadyForQuery. While `starting`, an error is the server's last word.
    fn answer(&mut self, starting: bool) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length.saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            match head[0] {
                b'Z' => {
                    answer.status = body.first().copied().unwrap_or(b'I');
                    return Ok(answer);
                }
                b'E' => {
                    let error = error_fields(&body);
                    if starting || error.0 == "57P01" || error.0.starts_with("08") {
                        return Err(io::Error::other(format!("{} {}", error.0, error.1)));
                    }
                    answer.error = Some(error);
                }
                b'D' if answer.first_column.len() < 10_000 => answer.first_column.push(first_column(&body)),
                // The server asks for data: there is none.
                b'G' => self.stream.get_mut().write_all(b"f\0\0\0\x0cno data\0")?,
                b'R' if body != [0, 0, 0, 0] => return Err(io::Error::other("the server asks for a password")),
                _ => {}
            }
        }
    }
}

fn error_fields(body: &[u8]) -> (String, String) {
    let field = |code: u8| {
        let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&code));
        found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    (field(b'C'), field(b'M'))
}

fn first_column(body: &[u8]) -> String {
    let length = body.get(2..6).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_be_bytes);
    let value = usize::try_from(length).ok().and_then(|length| body.get(6..6 + length)).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}
