//! Sends one message to one who is told.

use hmac::{Hmac, Mac};
use reqwest::Url;
use sha2::Sha256;

use super::limit::{WITHIN, in_time};
use super::mail;
use super::message::NotifyMessage;
use super::secret::{NotifyFailure, secret};
use crate::ops::Ctx;
use crate::settings::{NotifyKind, NotifyOn, NotifySettings, PingMethod};
use crate::text;
use crate::web;

/// The header with the signature of a webhook's body.
const SIGNATURE: &str = "x-dr-signature";
/// The shortest path of an address that is masked by itself.
const LEAST_SECRET: usize = 8;

/// Sends it, within some seconds.
///
/// # Errors
/// Why it was not sent, in words; the address is never among them.
pub(super) async fn send(ctx: &Ctx, to: &NotifySettings, message: &NotifyMessage) -> Result<(), NotifyFailure> {
    match to.kind {
        // Each who gets it has so long.
        NotifyKind::Mail => mail::mailed(ctx, to, message).await,
        NotifyKind::Ping | NotifyKind::Webhook => in_time(posted(ctx, to, message)).await,
    }
}

async fn posted(ctx: &Ctx, to: &NotifySettings, message: &NotifyMessage) -> Result<(), NotifyFailure> {
    let url = address(ctx, to).await?;
    let server: http::Uri = url.origin().ascii_serialization().parse().map_err(|_| no_address(to))?;
    let client = web::client(&server, to.ca_file.as_deref()).map_err(|error| error.to_string())?;
    let client = client.timeout(WITHIN).build().map_err(in_words)?;
    let request = match (to.kind, to.method.unwrap_or_default()) {
        (NotifyKind::Ping, PingMethod::Get) => client.get(ping_url(url, message.event)),
        (NotifyKind::Ping, PingMethod::Post) => client.post(ping_url(url, message.event)).body(message.text()),
        (NotifyKind::Webhook | NotifyKind::Mail, _) => {
            let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
            let request = client.post(url).header("content-type", "application/json");
            let request = match &to.secret_file {
                Some(path) => {
                    let key = secret(path, "signing secret").await?;
                    ctx.secrets().register(key.as_bytes());
                    request.header(SIGNATURE, signature(key.as_bytes(), &body))
                }
                None => request,
            };
            request.body(body)
        }
    };
    let status = request.send().await.map_err(in_words)?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("the server answers with status {}", status.as_u16()).into()),
    }
}

/// The address, known to the redactor from then on: whoever has it may send there.
pub(super) async fn address(ctx: &Ctx, to: &NotifySettings) -> Result<Url, NotifyFailure> {
    let path = to.url_file.as_ref().ok_or_else(|| no_address(to))?;
    let line = secret(path, "address file").await?;
    ctx.secrets().register(line.as_bytes());
    let url = Url::parse(line.trim()).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let url = url.ok_or_else(|| no_address(to))?;
    for part in [url.path().trim_matches('/'), url.query().unwrap_or_default(), url.password().unwrap_or_default()] {
        if part.len() >= LEAST_SECRET {
            ctx.secrets().register(part.as_bytes());
        }
    }
    Ok(url)
}

fn no_address(to: &NotifySettings) -> String {
    let file = to.url_file.as_ref().map_or_else(|| "`url_file`".to_owned(), |path| path.display().to_string());
    format!("the first line of {file} is no https://HOST/...")
}

/// `URL`, `URL/start` or `URL/fail`.
fn ping_url(mut url: Url, event: NotifyOn) -> Url {
    let last = match event {
        NotifyOn::Start => "start",
        NotifyOn::Failure => "fail",
        NotifyOn::Success => return url,
    };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(last);
    }
    url
}

/// `sha256=...`: the HMAC of the body.
fn signature(key: &[u8], body: &[u8]) -> String {
    // A key of any length is one.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(body).finalize().into_bytes());
    mac.map(|mac| format!("sha256={}", hex::encode(mac))).unwrap_or_default()
}

fn in_words(error: reqwest::Error) -> String {
    text::chain(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_goes_to_the_place_of_its_event_whatever_the_address_ends_with() {
        let at = |url: &str, event| ping_url(Url::parse(url).unwrap(), event).to_string();
        assert_eq!(at("https://h/ping/abc", NotifyOn::Start), "https://h/ping/abc/start");
        assert_eq!(at("https://h/ping/abc/", NotifyOn::Failure), "https://h/ping/abc/fail");
        assert_eq!(at("https://h/ping/abc?create=1", NotifyOn::Failure), "https://h/ping/abc/fail?create=1");
        assert_eq!(at("https://h/ping/abc", NotifyOn::Success), "https://h/ping/abc");
    }

    #[test]
    fn a_body_is_signed_as_rfc_4231_has_it() {
        let signed = signature(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
