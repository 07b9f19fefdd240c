//! Sign-in at the door: who proves which secret. Everybody who does not gets the same answer, whatever the reason.
//!
//! The secrets of one principal share a salt, so a client's proof is checked against each of them, always all of them.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use safeconduct_protocol::postgres::{
    frame::{Decoded, Decoder, FrameError, Limits, Side},
    messages::{Report, authentication_sasl, authentication_sasl_continue},
    scram::{AwaitingFirst, AwaitingProof, Binding, ScramError, Verifier},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Random bytes of the door's part of the nonce.
const NONCE_BYTES: usize = 18;

/// A client that proved a secret. It has not been told yet.
pub(crate) struct Proved {
    /// Which of the verifiers it was.
    pub index: usize,
    /// The door's own proof, for the client.
    pub server_final: String,
    /// Bytes that came after the proof.
    pub rest: BytesMut,
}

/// Why nobody was signed in. For the log; the client hears [`refusal`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProved {
    #[error("connection was lost")]
    Lost(#[from] io::Error),
    #[error("no message")]
    Frame(#[from] FrameError),
    #[error("not a SASL message")]
    NotSasl,
    #[error("no proof of a secret")]
    Scram(#[from] ScramError),
    #[error("no random bytes")]
    NoEntropy,
}

/// The one answer to everybody who may not come in.
pub(crate) fn refusal() -> Report {
    Report::new("28000", "sign-in refused: no such sign-in, or no live grant on this resource")
        .hint("see what you may ask for with `safeconduct resources`, ask with `safeconduct request`, then `safeconduct connect`")
}

/// Asks for a proof and checks it.
pub(crate) async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    verifiers: &[String],
    end_point: &[u8],
) -> Result<Proved, NotProved> {
    let binding = if end_point.is_empty() { Binding::None } else { Binding::TlsServerEndPoint(end_point.to_vec()) };
    stream.write_all(&authentication_sasl(binding.mechanisms())).await?;
    stream.flush().await?;

    let mut messages = Messages { decoder: Decoder::new(Side::Client, Limits::before_sign_in()), buffer: BytesMut::new() };
    let first = messages.sasl(stream).await?;
    let (mechanism, data) = initial_response(&first)?;
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| NotProved::NoEntropy)?;
    let exchanges = Exchanges::begin(verifiers, &binding, mechanism, data, &STANDARD.encode(nonce))?;

    stream.write_all(&authentication_sasl_continue(&exchanges.server_first)).await?;
    stream.flush().await?;
    let last = messages.sasl(stream).await?;
    let (index, server_final) = exchanges.prove(&last)?;
    Ok(Proved { index, server_final, rest: messages.buffer })
}

struct Messages {
    decoder: Decoder,
    buffer: BytesMut,
}

impl Messages {
    async fn sasl<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<bytes::Bytes, NotProved> {
        loop {
            match self.decoder.next(&mut self.buffer)? {
                Some(Decoded::Frame(frame)) if frame.tag == b'p' => return Ok(frame.body),
                Some(_) => return Err(NotProved::NotSasl),
                None if stream.read_buf(&mut self.buffer).await? == 0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                None => {}
            }
        }
    }
}

/// Mechanism and data of a SASLInitialResponse.
fn initial_response(body: &[u8]) -> Result<(&str, &[u8]), NotProved> {
    let end = body.iter().position(|b| *b == 0).ok_or(NotProved::NotSasl)?;
    let (mechanism, rest) = body.split_at(end);
    let mechanism = std::str::from_utf8(mechanism).map_err(|_| NotProved::NotSasl)?;
    let rest = rest.get(1..).ok_or(NotProved::NotSasl)?;
    let (length, data) = rest.split_first_chunk().ok_or(NotProved::NotSasl)?;
    if usize::try_from(i32::from_be_bytes(*length)).is_ok_and(|length| length == data.len()) {
        Ok((mechanism, data))
    } else {
        Err(NotProved::NotSasl)
    }
}

/// The same exchange with each verifier.
struct Exchanges {
    server_first: String,
    awaiting: Vec<AwaitingProof>,
}

impl Exchanges {
    fn begin(verifiers: &[String], binding: &Binding, mechanism: &str, data: &[u8], nonce: &str) -> Result<Self, ScramError> {
        let mut begun: Option<Self> = None;
        for verifier in verifiers {
            let verifier = Verifier::parse(verifier).map_err(|_| ScramError::Proof)?;
            let (awaiting, server_first) = AwaitingFirst::new(verifier, binding.clone()).answer(mechanism, data, nonce)?;
            match &mut begun {
                None => begun = Some(Self { server_first, awaiting: vec![awaiting] }),
                // A verifier with another salt could not be told to the client: it matches nothing, like a decoy.
                Some(exchanges) if exchanges.server_first != server_first => return Err(ScramError::Proof),
                Some(exchanges) => exchanges.awaiting.push(awaiting),
            }
        }
        begun.ok_or(ScramError::Proof)
    }

    fn prove(self, message: &[u8]) -> Result<(usize, String), ScramError> {
        let (mut proved, mut refused) = (None, ScramError::Proof);
        for (index, awaiting) in self.awaiting.into_iter().enumerate() {
            match awaiting.prove(message) {
                Ok(authenticated) if proved.is_none() => proved = Some((index, authenticated.server_final)),
                Ok(_) => {}
                Err(error) => refused = error,
            }
        }
        proved.ok_or(refused)
    }
}

#[cfg(test)]
mod tests {
    use postgres_protocol::{
        authentication::sasl::{ChannelBinding, ScramSha256},
        message::frontend,
    };
    use tokio::io::duplex;

    use super::*;
    use crate::wire::Reader;

    fn verifier(password: &str) -> String {
        Verifier::derive(password, b"one salt for all", 16).unwrap().encode()
    }

    async fn client(stream: &mut tokio::io::DuplexStream, password: &str, binding: ChannelBinding, mechanism: &str) -> io::Result<()> {
        let mut reader = Reader::default();
        let mut scram = ScramSha256::new(password.as_bytes(), binding);
        let offer = reader.next(stream, 1_000).await?.whole()?;
        assert_eq!(&offer[..4], &[0, 0, 0, 10]);
        let mut out = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut out)?;
        stream.write_all(&out.split()).await?;
        scram.update(&reader.next(stream, 1_000).await?.whole()?[4..])?;
        frontend::sasl_response(scram.message(), &mut out)?;
        stream.write_all(&out).await
    }

    async fn exchange(
        password: &str,
        verifiers: &[&str],
        end_point: &[u8],
        binding: ChannelBinding,
        mechanism: &str,
    ) -> Result<usize, NotProved> {
        let (mut ours, mut theirs) = duplex(8 * 1024);
        let verifiers: Vec<String> = verifiers.iter().map(|password| verifier(password)).collect();
        let (proved, _) = tokio::join!(
            async {
                let proved = prove(&mut ours, &verifiers, end_point).await;
                drop(ours);
                proved
            },
            client(&mut theirs, password, binding, mechanism)
        );
        proved.map(|proved| proved.index)
    }

    #[tokio::test]
    async fn each_secret_of_a_principal_opens_and_no_other_does() {
        let (plain, bound) = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS");
        for (password, index) in [("first", 0), ("second", 1)] {
            let found = exchange(password, &["first", "second"], &[], ChannelBinding::unsupported(), plain).await;
            assert_eq!(found.unwrap(), index);
        }
        assert!(exchange("third", &["first", "second"], &[], ChannelBinding::unsupported(), plain).await.is_err());
        assert!(exchange("first", &[], &[], ChannelBinding::unsupported(), plain).await.is_err());
        let certificate = || ChannelBinding::tls_server_end_point(vec![7; 32]);
        assert_eq!(exchange("first", &["first"], &[7; 32], certificate(), bound).await.unwrap(), 0);
        assert!(exchange("first", &["first"], &[8; 32], certificate(), bound).await.is_err());
        assert!(exchange("first", &["first"], &[7; 32], ChannelBinding::unrequested(), plain).await.is_err());
    }

    #[tokio::test]
    async fn f41_whatever_is_no_sasl_message_ends_that_connection() {
        for bytes in [
            &b"Q\0\0\0\x0dselect 1\0"[..],
            b"p\xff\xff\xff\xff",
            b"p\0\0\0\x04",
            b"p\0\0\0\x08\0\0\0\0",
            b"p\0\0\0\x0cX\0\xff\xff\xff\xff12",
            b"d\0\0\0\x05x",
            b"",
        ] {
            let (mut ours, mut theirs) = duplex(8 * 1024);
            theirs.write_all(bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert!(prove(&mut ours, &[verifier("x")], &[]).await.is_err(), "{bytes:?}");
        }
    }
}
