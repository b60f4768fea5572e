//! What a server, or the way to it, says instead of doing what it was asked.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use object_store::client::{HttpError, HttpErrorKind};

use crate::ownership::OthersCan;
use crate::store::error::StoreError;

/// What kind of refusal it is: each has another way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// What it is called is no bucket.
    Address,
    /// The bucket is not there.
    NoBucket,
    /// The key is not known, its secret is another one, or it has expired.
    Credentials,
    /// There is no key to ask with.
    NoCredentials,
    /// The key may not do this.
    Denied,
    /// The clocks of this host and the server are too far apart.
    Clock,
    /// The server's certificate is not to be trusted.
    Tls,
    /// The server's name has no address.
    Name,
    /// The bucket is in another region, or asked for at another address.
    Region,
    /// The server does not know such a request.
    Unsupported,
    /// No room is left.
    Full,
    /// The server, or the network, cannot do it at the moment.
    Passing,
    /// Anything else.
    Other,
}

/// A refusal: what was said, and what kind it is.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The file of the key that others could read or replace, where that is the reason.
    pub exposed: Option<(String, OthersCan)>,
    text: String,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, text: impl Into<String>) -> Self {
        Self { kind, exposed: None, text: text.into() }
    }

    /// Of a file of keys that others could read or replace.
    pub(super) fn exposed(what: &str, path: &Path, others: OthersCan) -> Self {
        let path = path.display().to_string();
        let text = format!("{what} {path} {others}");
        Self { exposed: Some((path, others)), ..Self::new(RefusalKind::NoCredentials, text) }
    }

    /// Reads what the library reports: the server's own code where it gave one, else what went wrong on the way.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(own) = refusal_in(error) {
            return own.clone();
        }
        let said = error.to_string();
        if let Some(code) = element(&said, "Code") {
            let message = element(&said, "Message").unwrap_or_default();
            return Self::new(of_code(code), format!("{code}: {message}").trim_end_matches([':', ' ', '.']));
        }
        if let Some(status) = status(&said) {
            return Self::new(of_status(status), format!("the server answers with status {status}"));
        }
        let (kind, text) = of_transport(error);
        Self::new(kind, text)
    }

    /// As an error of the store: of the whole store where nothing else would fare better, else of `act` on `object`.
    pub(super) fn of_store(self, place: &str, act: &'static str, object: &str) -> StoreError {
        use RefusalKind as Kind;
        let transient = self.kind == Kind::Passing;
        match self.kind {
            Kind::Full => StoreError::Full { object: object.to_owned(), place: place.to_owned(), written: 0 },
            Kind::Denied | Kind::Unsupported | Kind::Passing | Kind::Other => {
                StoreError::Failed { act, object: object.to_owned(), transient, source: self.into() }
            }
            _ => StoreError::Unusable { place: place.to_owned(), transient, source: self.into() },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Refusal {}

/// What was refused here, before anything was sent.
fn refusal_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refusal> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        next = cause.source();
    }
    None
}

/// The text of the first `<name>` in what a server said.
fn element<'t>(said: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = said.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim()).filter(|text| !text.is_empty())
}

/// The status, where the library says `status code: 503 Service Unavailable`.
fn status(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("status code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn of_code(code: &str) -> RefusalKind {
    use RefusalKind as Kind;
    match code {
        "NoSuchBucket" => Kind::NoBucket,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AuthFailure"
        | "InvalidSecurity"
        | "XAdminUserNotFound" => Kind::Credentials,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Kind::Denied,
        "RequestTimeTooSkewed" | "RequestExpired" => Kind::Clock,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => Kind::Region,
        "NotImplemented" | "MethodNotAllowed" => Kind::Unsupported,
        "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "EntityTooLarge" => Kind::Full,
        "SlowDown"
        | "InternalError"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "OperationAborted"
        | "ServerBusy"
        | "ConditionalRequestConflict"
        | "503"
        | "Throttling" => Kind::Passing,
        _ => Kind::Other,
    }
}

fn of_status(status: u16) -> RefusalKind {
    match status {
        401 => RefusalKind::Credentials,
        403 => RefusalKind::Denied,
        301 | 307 | 308 => RefusalKind::Region,
        405 | 501 => RefusalKind::Unsupported,
        507 => RefusalKind::Full,
        408 | 429 | 500..=599 => RefusalKind::Passing,
        _ => RefusalKind::Other,
    }
}

/// What went wrong between this host and the server, by the innermost cause that tells it.
fn of_transport(error: &(dyn Error + 'static)) -> (RefusalKind, String) {
    let mut kind = RefusalKind::Other;
    let (mut next, mut innermost) = (Some(error), error.to_string());
    while let Some(cause) = next {
        innermost = cause.to_string();
        if let Some(tls) = tls_error(cause) {
            return (RefusalKind::Tls, tls);
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            kind = of_io(io);
        } else if let Some(http) = cause.downcast_ref::<HttpError>() {
            kind = of_http(http.kind());
        }
        next = cause.source();
    }
    if innermost.contains("lookup address") || innermost.contains("dns error") {
        kind = RefusalKind::Name;
    }
    (kind, innermost)
}

/// What rustls says, also where I/O errors hold it, one in the other: such a one gives the cause of what it holds only.
fn tls_error(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    cause.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| tls_error(inner))
}

fn of_io(error: &io::Error) -> RefusalKind {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof
        | Kind::TimedOut
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::HostUnreachable => RefusalKind::Passing,
        _ => RefusalKind::Other,
    }
}

fn of_http(kind: HttpErrorKind) -> RefusalKind {
    match kind {
        HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted => {
            RefusalKind::Passing
        }
        _ => RefusalKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (RefusalKind, String) {
        let refusal = Refusal::of(&io::Error::other(text.to_owned()));
        (refusal.kind, refusal.to_string())
    }

    #[test]
    fn the_servers_own_words_tell_the_kind_and_nothing_else_of_its_answer_is_shown() {
        let answer = "Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status code: 403 Forbidden: \
            <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message>\
            <StringToSign>AWS4</StringToSign></Error>";
        assert_eq!(of(answer), (RefusalKind::Credentials, "SignatureDoesNotMatch: It does not match".into()));
        let bare = "Server returned non-2xx status code: 503 Service Unavailable: <html>";
        assert_eq!(of(bare), (RefusalKind::Passing, "the server answers with status 503".into()));
        assert_eq!(of("status code: 404 Not Found: ").0, RefusalKind::Other);
        for (code, kind) in [
            ("NoSuchBucket", RefusalKind::NoBucket),
            ("RequestTimeTooSkewed", RefusalKind::Clock),
            ("AccessDenied", RefusalKind::Denied),
            ("SlowDown", RefusalKind::Passing),
            ("QuotaExceeded", RefusalKind::Full),
            ("Odd", RefusalKind::Other),
        ] {
            assert_eq!(of(&format!("<Code>{code}</Code>")), (kind, code.to_owned()));
        }
    }

    #[test]
    fn what_breaks_on_the_way_is_told_apart() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Refusal::of(&reset).kind, RefusalKind::Passing);
        let tls = io::Error::other(io::Error::other(rustls::Error::HandshakeNotComplete));
        assert_eq!(Refusal::of(&tls).kind, RefusalKind::Tls);
        assert_eq!(of("failed to lookup address information: Name or service not known").0, RefusalKind::Name);
        assert!(Refusal::of(&reset).of_store("s3://b", "read", "a").is_transient());
        let gone = Refusal::new(RefusalKind::NoBucket, "x").of_store("s3://b", "read", "a");
        assert!(matches!(gone, StoreError::Unusable { transient: false, .. }));
    }
}
