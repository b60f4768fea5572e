//! What the library does not ask a server: which uploads are under way, and which parts they have.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Uri};
use http_body_util::BodyExt;
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

    /// Asks for a list, again when the server or the way to it fails for a moment.
    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.get_once(url).await {
                Err(error) if pause < LAST_PAUSE && Refusal::of(&error).kind == RefusalKind::Passing => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
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
            let source = format!("the server answers with status code: {}: {said}", head.status).into();
            return Err(match head.status {
                http::StatusCode::NOT_FOUND => Error::NotFound { path: String::new(), source },
                _ => bad(source),
            });
        }
        quick_xml::de::from_str(&said).map_err(|error| bad(error.into()))
    }
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
