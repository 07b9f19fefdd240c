//! Mail to those who may approve. What others wrote is quoted and made printable; nobody can decide by answering.

use std::collections::BTreeSet;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use safeconduct_app::Bell;
use safeconduct_model::{PrincipalKind, text};

use crate::{
    NotRung,
    settings::{Encryption, Mail},
};

/// Sends one message to everybody who may approve and has an address. Nobody has one: nothing is sent.
pub(crate) async fn ring(mail: &Mail, bell: &Bell) -> Result<(), NotRung> {
    let to = recipients(mail, bell);
    if to.is_empty() {
        tracing::warn!(access_request = %bell.access_request, "nobody who may approve it has an address in `doorbells.mail.to`");
        return Ok(());
    }
    let transport = transport(mail)?;
    transport.send(message(mail, bell, to)?).await?;
    Ok(())
}

fn transport(mail: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, NotRung> {
    let mut parameters = TlsParameters::builder(mail.host.clone());
    if let Some(file) = &mail.ca_file {
        let pem = std::fs::read(file).map_err(|error| NotRung::Settings(format!("`{}` can't be read: {error}", file.display())))?;
        parameters = parameters.add_root_certificate(Certificate::from_pem(&pem)?);
    }
    let tls = match mail.encryption {
        Encryption::Tls => Tls::Wrapper(parameters.build_rustls()?),
        Encryption::Starttls => Tls::Required(parameters.build_rustls()?),
        Encryption::DangerNone => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host).port(mail.port).tls(tls);
    if let Some((user, password)) = &mail.login {
        let password = safeconduct_app::read_secret(password).map_err(|error| NotRung::Settings(error.to_string()))?;
        builder = builder.credentials(Credentials::new(user.clone(), password.to_string()));
    }
    Ok(builder.build())
}

/// People by their own address, else by those of the groups they would count for.
fn recipients(mail: &Mail, bell: &Bell) -> Vec<Mailbox> {
    let mut found = BTreeSet::new();
    for (name, groups) in &bell.eligible {
        if mail.to.contains_key(name.as_str()) {
            found.insert(name.as_str());
        } else {
            found.extend(groups.iter().map(|group| group.as_str()).filter(|group| mail.to.contains_key(*group)));
        }
    }
    found.into_iter().filter_map(|name| mail.to.get(name).cloned()).collect()
}

fn message(mail: &Mail, bell: &Bell, to: Vec<Mailbox>) -> Result<Message, NotRung> {
    let operations = bell.operations.join(", ");
    let subject = format!("[{}] {} asks for {operations} on {}", bell.gateway, bell.requester, bell.resource);
    let host = mail.from.email.domain();
    let mut builder = Message::builder().from(mail.from.clone()).subject(subject).header(ContentType::TEXT_PLAIN);
    // The same over all tries: who gets it twice sees it once.
    builder = builder.message_id(Some(format!("<{}@{host}>", bell.access_request)));
    builder = builder.raw_header(raw("Auto-Submitted", "auto-generated")?);
    for mailbox in to {
        builder = builder.to(mailbox);
    }
    Ok(builder.body(page(bell))?)
}

fn raw(name: &'static str, value: &str) -> Result<lettre::message::header::HeaderValue, NotRung> {
    let name =
        lettre::message::header::HeaderName::new_from_ascii(name.to_owned()).map_err(|error| NotRung::Settings(error.to_string()))?;
    Ok(lettre::message::header::HeaderValue::new(name, value.to_owned()))
}

fn page(bell: &Bell) -> String {
    let kind = match bell.requester_kind {
        PrincipalKind::Person => "a person",
        PrincipalKind::Workload => "a workload",
    };
    let how = if bell.exact { "one action, run once".to_owned() } else { format!("for {}", bell.duration) };
    let mut page = format!(
        "{} ({kind}) asks for {} on {} at {}: {how}.\n\nIn their own words:\n",
        bell.requester,
        bell.operations.join(", "),
        bell.resource,
        bell.gateway
    );
    for line in text::printable_lines(&bell.reason).lines() {
        page.push_str("> ");
        page.push_str(line);
        page.push('\n');
    }
    if let Some(ticket) = &bell.ticket {
        page.push_str(&format!("> ticket {}\n", text::printable(ticket)));
    }
    if let Some(facts) = &bell.facts {
        page.push_str(&format!("\nWhat the gateway found in it: {}\n", text::printable(facts)));
    }
    page.push_str(&format!("\nIt takes: {}\nIt waits until {}\nDigest: {}\n\n{}\n\n", bell.quorum, bell.until, bell.digest, bell.link));
    page.push_str("Opening the link decides nothing, and answering this message does not either.\n");
    page
}
