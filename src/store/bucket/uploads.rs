//! What the library does not ask a server: which uploads are under way, which parts they have, what a file is locked by.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use object_store::Error;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse};
use object_store::path::Path as Key;
use serde::Deserialize;

use super::refusal::{Refusal, RefusalKind};

/// The pauses before a list is asked for again: each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// What lists uploads and parts.
pub(super) struct Uploads {
    pub s3: Arc<AmazonS3>,
    pub http: HttpClient,
    pub region: String,
    /// The address of the bucket.
    pub url: String,
}

impl Uploads {
    /// Key and id of each upload to a key that begins with `prefix`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let (mut found, mut marker) = (Vec::new(), (String::new(), String::new()));
        loop {
            let mut query = format!("uploads=&prefix={}", escaped(prefix));
            if !marker.0.is_empty() {
                query = format!("key-marker={}&upload-id-marker={}&{query}", escaped(&marker.0), escaped(&marker.1));
            }
            let page: UploadList = self.get(&format!("{}/?{query}", self.url)).await?;
            found.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload_id)));
            match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
                (true, Some(key), id) if !key.is_empty() => marker = (key, id.unwrap_or_default()),
                _ => break,
            }
        }
        // A server may take no notice of the prefix.
        found.retain(|(key, _)| key.starts_with(prefix));
        Ok(found)
    }

    /// A setting of the bucket.
    pub async fn setting<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T, Error> {
        self.get(&format!("{}/?{name}=", self.url)).await
    }

    /// How many parts an upload has from its first on without a gap.
    pub async fn parts(&self, key: &Key, upload: &str) -> Result<usize, Error> {
        let (mut numbers, mut marker) = (Vec::new(), 0);
        loop {
            let query = format!("part-number-marker={marker}&uploadId={}", escaped(upload));
            let page: PartList = self.get(&format!("{}/{key}?{query}", self.url)).await?;
            numbers.extend(page.parts.iter().map(|part| part.part_number));
            match page.next_part_number_marker {
                Some(next) if page.is_truncated && next > marker => marker = next,
                _ => break,
            }
        }
        numbers.sort_unstable();
        Ok(numbers.iter().zip(1..).take_while(|(number, wanted)| *number == wanted).count())
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, Error> {
        patient(|| self.get_once(url)).await
    }

    /// Until when Object Lock lets nobody remove a file: for ever by a legal hold. `None` where there is no lock on it, or
    /// this key may not see one. Not every server says of a file what it has from the bucket's `usual` retention.
    pub async fn locked_until(&self, key: &Key, usual: SignedDuration) -> Result<Option<Timestamp>, Error> {
        let url = format!("{}/{key}", self.url);
        let answer = patient(|| async {
            let answer = self.send(Method::HEAD, &url).await?;
            if answer.status().is_success() { Ok(answer) } else { Err(refused(answer.status(), "")) }
        });
        Ok(lock_of(answer.await?.headers(), usual))
    }

    /// What tells the removal of a file from every other one, in a bucket that keeps versions; `None` where the file was not
    /// removed, or the bucket keeps none.
    pub async fn removal(&self, key: &Key) -> Result<Option<String>, Error> {
        // Not every server says it of a HEAD.
        let answer = self.send(Method::GET, &format!("{}/{key}", self.url)).await?;
        let header = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let is_removed = header("x-amz-delete-marker").is_some_and(|value| value == "true");
        // Not every server says which version the mark is.
        Ok(header("x-amz-version-id").or_else(|| header("last-modified")).filter(|_| is_removed))
    }

    async fn send(&self, method: Method, url: &str) -> Result<HttpResponse, Error> {
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "S3", source };
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| bad(error.into()))?;
        let mut request = HttpRequest::new(HttpRequestBody::from(Bytes::new()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let key = self.s3.credentials().get_credential().await?;
        AwsAuthorizer::new(&key, "s3", &self.region).try_authorize(&mut request, None)?;
        self.http.execute(request).await.map_err(|error| bad(error.into()))
    }

    async fn get_once<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, Error> {
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "S3", source };
        let (head, body) = self.send(Method::GET, url).await?.into_parts();
        let body = body.collect().await.map_err(|error| bad(error.into()))?.to_bytes();
        let said = String::from_utf8_lossy(&body);
        if !head.status.is_success() {
            return Err(refused(head.status, &said));
        }
        quick_xml::de::from_str(&said).map_err(|error| bad(error.into()))
    }
}

/// Asks again when the server or the way to it fails for a moment.
async fn patient<T, A: Future<Output = Result<T, Error>>>(ask: impl Fn() -> A) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Err(error) if pause < LAST_PAUSE && Refusal::of(&error).kind == RefusalKind::Passing => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
}

fn refused(status: StatusCode, said: &str) -> Error {
    let source = format!("the server answers with status code: {status}: {said}").into();
    match status {
        StatusCode::NOT_FOUND => Error::NotFound { path: String::new(), source },
        _ => Error::Generic { store: "S3", source },
    }
}

/// The lock that a file's headers tell of, or that it has had since it was written. One without a date that can be read is
/// taken for one without an end.
fn lock_of(headers: &HeaderMap, usual: SignedDuration) -> Option<Timestamp> {
    let header = |name: &str| {
        let text = headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        text.filter(|text| !text.is_empty())
    };
    if header("x-amz-object-lock-legal-hold").is_some_and(|hold| hold.eq_ignore_ascii_case("ON")) {
        return Some(Timestamp::MAX);
    }
    let until = header("x-amz-object-lock-retain-until-date");
    let own = header("x-amz-object-lock-mode").or(until).map(|_| until.and_then(|until| until.parse().ok()));
    let of_bucket = (!usual.is_zero()).then(|| {
        let written = rfc2822::parse(header("last-modified")?).ok()?.timestamp();
        written.checked_add(usual).ok()
    });
    own.into_iter().chain(of_bucket).map(|until| until.unwrap_or(Timestamp::MAX)).max()
}

/// As a signature wants it: what is not plain is escaped, slashes too.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadList {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    uploads: Vec<UploadEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadEntry {
    key: String,
    upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartList {
    #[serde(default)]
    is_truncated: bool,
    next_part_number_marker: Option<u32>,
    #[serde(default, rename = "Part")]
    parts: Vec<PartEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartEntry {
    part_number: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_without_an_end_that_can_be_read_has_none() {
        let lock = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            lock_of(&headers, SignedDuration::ZERO)
        };
        let (mode, date) = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date");
        let hold = "x-amz-object-lock-legal-hold";
        assert_eq!(lock(&[]), None);
        assert_eq!(lock(&[(hold, "OFF"), (mode, ""), (date, "")]), None);
        let until = "2026-12-31T00:00:00.000Z";
        assert_eq!(lock(&[(mode, "COMPLIANCE"), (date, until)]), Some(until.parse().unwrap()));
        for endless in [&[(hold, "ON")][..], &[(mode, "GOVERNANCE")], &[(mode, "COMPLIANCE"), (date, "soon")]] {
            assert_eq!(lock(endless), Some(Timestamp::MAX), "{endless:?}");
        }
        let written = |text: &str| {
            let headers = HeaderMap::from_iter([(http::header::LAST_MODIFIED, text.parse().unwrap())]);
            lock_of(&headers, SignedDuration::from_hours(24)).unwrap().to_string()
        };
        assert_eq!(written("Tue, 01 Dec 2026 02:00:00 GMT"), "2026-12-02T02:00:00Z");
        assert_eq!(written("some day"), Timestamp::MAX.to_string());
    }

    #[test]
    fn the_lists_of_a_server_are_read() {
        let text = r#"<?xml version="1.0"?><ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>k</NextKeyMarker><IsTruncated>true</IsTruncated>
            <Upload><Key>a</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator></Upload>
            <Upload><Key>b</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"#;
        let list: UploadList = quick_xml::de::from_str(text).unwrap();
        assert!(list.is_truncated && list.uploads.len() == 2 && list.uploads[1].upload_id == "2");
        let text = "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></ListPartsResult>";
        let list: PartList = quick_xml::de::from_str(text).unwrap();
        assert_eq!((list.parts[0].part_number, list.is_truncated), (1, false));
        assert_eq!(escaped("a/b c+~"), "a%2Fb%20c%2B~");
    }
}
