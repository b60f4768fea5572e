//! Sends one message as mail, to each who gets it by itself: an address that is refused keeps it from no other.

use futures::StreamExt as _;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::limit::in_time;
use super::message::NotifyMessage;
use super::secret::{NotifyFailure, secret};
use crate::ops::Ctx;
use crate::settings::{MailTls, NotifySettings};
use crate::{text, web};

/// Says to programs that answer mail that nobody waits for their answer (RFC 3834).
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

/// How many are sent at once: each has a connection of its own, so none waits for another's.
const AT_ONCE: usize = 8;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Sends it.
///
/// # Errors
/// Who has not got it, and why not, in words.
pub(super) async fn mailed(ctx: &Ctx, to: &NotifySettings, message: &NotifyMessage) -> Result<(), NotifyFailure> {
    let from: Mailbox = address(to.from.as_deref().unwrap_or_default())?;
    let receivers = to.to.iter().flatten().map(|to| address(to)).collect::<Result<Vec<Mailbox>, String>>()?;
    let mail = written(&from, &receivers, message)?.formatted();
    let transport = transport(ctx, to).await?;
    let send = async |receiver: &Mailbox| {
        let envelope = Envelope::new(Some(from.email.clone()), vec![receiver.email.clone()]);
        let envelope = envelope.map_err(|error| error.to_string())?;
        let sent = async { transport.send_raw(&envelope, &mail).await.map(drop).map_err(|error| text::chain(&error)) };
        in_time(sent).await.map_err(|why| format!("{}: {why}", receiver.email))
    };
    let sent: Vec<_> = futures::stream::iter(receivers.iter().map(send)).buffered(AT_ONCE).collect().await;
    let failed: Vec<String> = sent.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}

fn address(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| format!("{text} is no address"))
}

/// What happened is the subject; what can be done about it is in the text.
fn written(from: &Mailbox, receivers: &[Mailbox], message: &NotifyMessage) -> Result<Message, String> {
    let line = message.message.lines().next().unwrap_or_default();
    let id = format!("<{:032x}@{}>", rand::random::<u128>(), from.email.domain());
    let to: Mailboxes = receivers.iter().cloned().collect();
    MessageBuilder::new()
        .from(from.clone())
        .mailbox(lettre::message::header::To::from(to))
        .subject(format!("{}: {line}", message.install))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(message.text())
        .map_err(|error| error.to_string())
}

/// How this host names itself to a mail server: by its own name, whoever works on it.
fn hello() -> ClientId {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    ClientId::Domain(if is_name { name } else { "localhost".to_owned() })
}

async fn transport(ctx: &Ctx, to: &NotifySettings) -> Result<Transport, NotifyFailure> {
    let server = to.mail_server().ok_or_else(|| "`server` names no mail server".to_owned())?;
    let tls = || -> Result<TlsParameters, String> {
        let mut tls = TlsParameters::builder(server.host.clone());
        for certificate in
            to.ca_file.as_deref().map(web::ca_certificates).transpose().map_err(|e| e.to_string())?.unwrap_or_default()
        {
            let certificate = Certificate::from_der(certificate.to_vec()).map_err(|error| text::chain(&error))?;
            tls = tls.add_root_certificate(certificate);
        }
        tls.build().map_err(|error| text::chain(&error))
    };
    let tls = match server.tls {
        MailTls::Starttls => Tls::Required(tls()?),
        MailTls::Implicit => Tls::Wrapper(tls()?),
        MailTls::None => Tls::None,
    };
    let mut transport = Transport::builder_dangerous(&server.host).port(server.port).tls(tls).hello_name(hello());
    if let (Some(user), Some(path)) = (&to.user, &to.password_file) {
        let password = secret(path, "password file").await?;
        ctx.secrets().register(password.as_bytes());
        transport = transport.credentials(Credentials::new(user.clone(), password.as_str().to_owned()));
    }
    Ok(transport.build())
}
